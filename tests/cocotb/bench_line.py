"""Delay lines: every edge, flag, scale and copied word against the oracle, clock by clock."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadOnly, RisingEdge

from line_oracle import Channel, Line
from line_rig import INPUTS, OUTPUTS, SIZES, LineRig
from twinphase_spec import tdc

Stimulus = tuple[int, int, list[list[list[int]]]]
"""valid and polarity as in the front end, codes[channel][chain][lane]."""
CLOCKS_BACK = 2
"""Clocks after which the scale that acts on a hit at the input shows."""


class LineBench:
    """A rig, its oracle, and what is not checked in the clock it happens."""

    def __init__(self, dut: Any, name: str, *, step: int, last: int, shared: bool = False) -> None:
        sizes = SIZES[name]
        self.channels, self.lanes, self.chains = sizes["channels"], sizes["lanes"], sizes["chains"]
        self.bits, self.twins = tdc.code_bits(sizes["taps"]), tdc.has_twins(sizes["taps"], sizes["lanes"])
        rig = LineRig(**sizes)
        self.latency = rig.frontend.latency
        self.input_widths, self.output_widths = rig.widths(INPUTS), rig.widths(OUTPUTS)
        self.dut, self.i, self.o = dut, getattr(dut, f"{name}__i"), getattr(dut, f"{name}__o")
        self.step, self.i_step = step, getattr(dut, f"{name}__i_step")
        getattr(dut, f"{name}__i_last").value = last
        self.i.value = 0
        self.i_step.value = step
        self.shared = shared
        self.oracle = [
            Channel(
                [Line(self.bits, self.lanes, step, last, shared, self.twins) for _ in range(self.chains)], self.lanes
            )
            for _ in range(self.channels)
        ]
        self.now = 0
        self.hold, self.reset, self.dump = 0, 0, -1
        self.expected: dict[int, list[int | None]] = {}
        self.uncalibrated: dict[int, list[int]] = {}
        self.scales: dict[int, list[int]] = {}
        self.busy: list[int] = [0]
        self.words: dict[int, int] = {}
        self.dumps = 0
        self.edges = 0
        self.nonuniform_seen = 0

    @property
    def lines(self) -> list[Line]:
        return [line for channel in self.oracle for line in channel.lines]

    async def start(self) -> None:
        cocotb.start_soon(Clock(self.dut.clk, 8, unit="ns").start())
        self.dut.rst.value = 1
        for _ in range(2):
            await RisingEdge(self.dut.clk)
        await FallingEdge(self.dut.clk)
        self.dut.rst.value = 0
        for _ in range(2):  # step and last are decoded in a register
            await RisingEdge(self.dut.clk)
        # Block RAM keeps what the test before left. A reset clears counts, not tables, which hold from the first accepted one on.
        self.reset = (1 << self.channels) - 1
        await self.settle()

    def silence(self) -> Stimulus:
        return 0, 0, [[[0] * self.lanes for _ in range(self.chains)] for _ in range(self.channels)]

    async def run(self, stimuli: Iterator[Stimulus], clocks: int, until: Callable[[], bool] = lambda: False) -> int:
        """Clocks until the condition holds, at most ``clocks``."""
        for count in range(clocks):
            if until():
                return count
            await self.clock(*next(stimuli))
        return clocks

    async def clock(self, valid: int, polarity: int, codes: list[list[list[int]]]) -> None:
        now = self.now
        await FallingEdge(self.dut.clk)
        flat = 0
        for place, code in enumerate(code for channel in codes for chain in channel for code in chain):
            flat |= code << place * self.bits
        dumps = self.dump >= 0
        values = (valid, polarity, self.hold, self.reset, self.shared, dumps, max(self.dump, 0), flat)
        word = low = 0
        for value, width in zip(values, self.input_widths, strict=True):
            word |= int(value) << low
            low += width
        self.i.value = word
        if self.step != self.lines[0].step:
            for line in self.lines:
                line.step = self.step
            self.i_step.value = self.step
        await ReadOnly()
        self.check(int(self.o.value), now)

        fines: list[int | None] = []
        missed = []
        for c, channel in enumerate(self.oracle):
            v, p = valid >> c * self.lanes & (1 << self.lanes) - 1, polarity >> c * self.lanes & (1 << self.lanes) - 1
            dump = self.dump - c * self.chains if dumps and 0 <= self.dump - c * self.chains < self.chains else None
            held, reset = bool(self.hold >> c & 1), bool(self.reset >> c & 1)
            fine, without = channel.clock(now, v, p, codes[c], held, reset, dump)
            fines += fine
            missed.append(without)
        self.expected[now + self.latency] = fines
        self.uncalibrated[now + 1] = missed
        self.dump = -1
        self.now += 1

    def check(self, word: int, now: int) -> None:
        fields = {}
        for name, width in zip(OUTPUTS, self.output_widths, strict=True):
            fields[name] = word & (1 << width) - 1
            word >>= width
        fines = self.expected.pop(now, [None] * (self.channels * self.lanes))
        seen = [
            fields["fine"] >> 13 * i & 8191 if fields["valid"] >> i & 1 else None
            for i in range(self.channels * self.lanes)
        ]
        assert seen == fines, f"clock {now}: edges {seen}, expected {fines}"
        self.edges += sum(fine is not None for fine in fines)
        bits = self.lanes.bit_length()
        missed = [fields["o_uncalibrated"] >> bits * c & (1 << bits) - 1 for c in range(self.channels)]
        assert missed == self.uncalibrated.pop(now, [0] * self.channels), f"clock {now}: uncalibrated"
        for c, channel in enumerate(self.oracle):
            resetting = self.reset >> c & 1
            calibrated = all(line.calibrated for line in channel.lines) and not resetting
            assert fields["o_calibrated"] >> c & 1 == calibrated, f"clock {now}: calibrated"
        if fields["o_bin_write"]:
            self.words[fields["o_bin_address"]] = fields["o_bin_data"]
        self.dumps += fields["o_dump_done"]
        self.last_fields = fields

    async def settle(self) -> None:
        """Silence until it says idle, then what shows only later."""
        for _ in range(3 * tdc.busy_clocks(self.bits)):
            await self.clock(*self.silence())
            self.reset = 0
            busy = any(line.busy for line in self.lines)
            if not busy and self.last_fields["o_idle"]:
                break
            assert not (busy and self.last_fields["o_idle"] and self.last_fields["o_busy"])
        else:
            raise AssertionError("never idle")
        for c, channel in enumerate(self.oracle):
            first = channel.lines[0]
            scale = self.last_fields["o_scale"] >> 16 * c & 65535
            assert scale == first.sigma & 65535, f"scale {scale}, expected {first.sigma & 65535}"
            assert self.last_fields["o_scale_limit"] >> c & 1 == any(line.limit for line in channel.lines)
            assert self.last_fields["o_nonuniform"] >> c & 1 == any(line.nonuniform for line in channel.lines)
            assert not self.last_fields["o_busy"] >> c & 1

    async def check_dump(self, number: int) -> None:
        """Copies a line and compares every word."""
        self.words.clear()
        done = self.dumps
        self.dump = number
        await self.settle()
        assert self.dumps == done + 1
        line = self.lines[number]
        assert len(line.dumped) == 2 << self.bits
        used = 1 if self.shared else 2
        for i, (count, entry) in enumerate(line.dumped):
            assert self.words[2 * i] == count, f"bin {i}: count {self.words[2 * i]}, expected {count}"
            if i >> self.bits < used and line.acceptances:
                assert self.words[2 * i + 1] == entry, f"bin {i}: entry {self.words[2 * i + 1]}, expected {entry}"
        assert len(self.words) == 4 << self.bits


class Light:
    """Hits whose codes are those of a chain of ``reach`` taps per TDC clock, with bins of very different widths."""

    def __init__(self, bench: LineBench, seed: int, *, rate: float = 1.0, reach: int = 110) -> None:
        self.bench, self.random = bench, random.Random(seed)
        self.rate, self.reach = rate, reach
        self.widths = []  # in any order, but the same in each group
        for _ in range(0, 1 << bench.bits, 16):
            self.widths += self.random.sample([0.2] * 3 + [1.0] * 10 + [1.8] * 3, 16)
        self.phase = self.random.random()
        self.same = 0.0  # probability that a hit repeats the code before it
        self.only: list[int] | None = None
        self.scale = 1.0

    def code(self, where: float, chain: int) -> int:
        if self.only is not None:
            return self.random.choice(self.only)
        total = 0.0
        place = where * self.reach * self.scale
        for code, width in enumerate(self.widths):
            total += width
            if total > place or code == len(self.widths) - 1:
                return max(0, code - chain)
        raise AssertionError

    def __iter__(self) -> Iterator[Stimulus]:
        bench, rng = self.bench, self.random
        ramp = [self.code(i / 512, 0) for i in range(512)] if self.only is None else [0]
        before = 0
        key = (self.scale, self.reach)
        far: int | None = None  # the code that the next lane shows if it has no hit
        while True:
            if key != (self.scale, self.reach):
                key = (self.scale, self.reach)
                ramp = [self.code(i / 512, 0) for i in range(512)]
            valid = polarity = 0
            codes = []
            for c in range(bench.channels):
                rows = [[0] * bench.lanes for _ in range(bench.chains)]
                for k in range(bench.lanes):
                    if rng.random() >= self.rate:
                        if bench.twins:  # long after a hit a lane may show anything
                            rows[0][k] = rng.randrange(1 << bench.bits) if far is None else far
                            far = None
                        continue
                    place = c * bench.lanes + k
                    valid |= 1 << place
                    polarity |= rng.getrandbits(1) << place
                    if self.same and rng.random() < self.same:
                        code = before
                    elif self.only is not None:
                        code = rng.choice(self.only)
                    else:
                        # Far more even than light, so that few hits make a table.
                        self.phase = (self.phase + 0.6180339887498949) % 1
                        code = ramp[int(self.phase * 512)]
                    before = code
                    if bench.twins:
                        far = self.code(1 + (self.phase if self.only is None else rng.random()), 0)
                    for h in range(bench.chains):
                        rows[h][k] = max(0, code - h)
                codes.append(rows)
            yield valid, polarity, codes


@cocotb.test()
async def every_hit_of_full_rate_has_its_edge(dut: Any) -> None:
    """First table, switch of banks and halving, a hit in every clock, with repeats of codes within the pipeline."""
    bench = LineBench(dut, "line", step=10, last=11)
    await bench.start()
    light = Light(bench, cocotb.RANDOM_SEED)
    stimuli = iter(light)
    line = bench.lines[0]
    await bench.run(stimuli, 14000, lambda: line.calibrated)
    assert line.acceptances == 1
    assert not bench.edges
    light.same = 0.1
    await bench.run(stimuli, 26000, lambda: line.halvings == 1)
    assert line.halvings == 1
    assert line.acceptances == 2
    light.same = 0.9
    await bench.run(stimuli, 500)
    await bench.settle()
    await bench.check_dump(0)


@cocotb.test()
async def tables_that_are_not_even_are_refused(dut: Any) -> None:
    """One code, two clusters with a hole, few groups, one polarity only; hits go on as they were."""
    bench = LineBench(dut, "line", step=5, last=25)
    await bench.start()
    light = Light(bench, cocotb.RANDOM_SEED, rate=0.5)
    line = bench.lines[0]
    for only in ([77], [*range(0, 16), *range(96, 112)], [*range(0, 80)]):
        light.only = list(only)
        before = line.refusals
        await bench.run(iter(light), 12000, lambda before=before: line.refusals > before)
        assert line.refusals == before + 1
    await bench.settle()
    await bench.check_dump(0)
    assert line.nonuniform
    assert not line.calibrated
    assert line.n == 0
    assert not bench.edges


@cocotb.test()
async def lanes_chains_and_channels_are_independent(dut: Any) -> None:
    """Two lanes, two chains: reset and hold of one channel, dumps asked for while busy, edges in every lane."""
    bench = LineBench(dut, "lines", step=11, last=12)
    await bench.start()
    light = Light(bench, cocotb.RANDOM_SEED, rate=0.8)
    stimuli = iter(light)
    bench.hold = 2
    first, second = bench.oracle
    await bench.run(stimuli, 14000, lambda: all(line.calibrated for line in first.lines))
    assert all(line.calibrated for line in first.lines)
    assert second.lines[0].n == 0
    bench.hold, bench.dump = 0, 3
    await bench.run(stimuli, 50)
    bench.dump = 0  # channel 0 collects, line 3 copies
    await bench.run(stimuli, 5000)
    bench.reset = 1
    await bench.run(stimuli, 3)
    bench.reset = 0
    await bench.run(stimuli, 20000, lambda: second.lines[1].calibrated)
    assert bench.edges > 5000
    assert second.lines[1].calibrated
    assert not first.lines[0].calibrated
    await bench.settle()
    for number in (3, 0):
        await bench.check_dump(number)


@cocotb.test()
async def one_table_for_both_polarities(dut: Any) -> None:
    """SHARED; then a chain that drifts, so that the scale follows and the histogram starts again; then light that is not even."""
    bench = LineBench(dut, "line", step=11, last=25, shared=True)
    await bench.start()
    light = Light(bench, cocotb.RANDOM_SEED, reach=120)
    light.widths = [1.0] * len(light.widths)  # the edge of a wide bin in the tent is not even
    stimuli = iter(light)
    line = bench.lines[0]
    await bench.run(stimuli, 14000, lambda: line.calibrated)
    assert line.calibrated
    bench.step = 25  # no table from here on
    await bench.run(stimuli, 1500)
    scales = set()
    light.scale = 1.004
    for _ in range(60):
        await bench.run(stimuli, 512, lambda: line.restarts == 1)
        scales.add(line.sigma)
        if line.restarts:
            break
    assert line.restarts == 1
    assert line.busy
    assert len(scales) > 3
    assert not line.uneven_windows
    await bench.settle()
    assert not line.nonuniform
    await bench.run(stimuli, 2000, lambda: line.hits == 0)  # the window that has begun is of one light
    # One code only, then even light: both start the histogram again, and the scale stays.
    for only, restarts in (([0], 2), (None, 3)):
        light.only = only
        stimuli = iter(light)
        before = line.extended
        await bench.run(stimuli, 2000, lambda restarts=restarts: line.restarts == restarts)
        assert line.restarts == restarts
        assert line.extended == before or only is None
        await bench.settle()
        assert line.nonuniform
    bench.step = 11
    await bench.run(stimuli, 14000, lambda: line.acceptances == 2)
    assert line.acceptances == 2
    await bench.settle()
    assert not line.nonuniform
    await bench.check_dump(0)


@cocotb.test()
async def echoes_measure_what_lies_beyond_the_span(dut: Any) -> None:
    """Twins: tables of both polarities with hits in neighbouring TDC clocks; a chain that becomes faster reaches codes of which there
    were echoes only, the first of them opened by a restart; a table that is refused; RESET between a hit and its echo."""
    bench = LineBench(dut, "twins", step=12, last=13)
    await bench.start()
    light = Light(bench, cocotb.RANDOM_SEED, rate=0.4, reach=410)
    stimuli = iter(light)
    line = bench.lines[0]
    await bench.run(stimuli, 200_000, lambda: line.halvings == 1)
    assert line.halvings == 1
    assert not line.refusals
    await bench.settle()
    await bench.check_dump(0)
    bench.step = 25
    assert all(end is not None for end in line.ends)
    assert sum(map(sum, line.e)) > line.n // 20
    light.scale = 1.006
    stimuli = iter(light)
    await bench.run(stimuli, 60_000, lambda: line.restarts == 1)
    assert line.restarts == 1
    assert line.opened
    await bench.settle()
    bench.hold = 1  # so that nothing of this is collected
    light.only = [code + near for code, _ in filter(None, line.ends) for near in (-1, 0, 1)]
    await bench.run(iter(light), 500)
    await bench.settle()
    assert line.opened_hits > 50
    bench.hold = 0
    light.only = [*range(0, 80)]
    bench.step = 10
    before = line.refusals
    await bench.run(iter(light), 50_000, lambda: line.refusals > before)
    assert line.refusals == before + 1
    light.only, light.rate = None, 0.5
    stimuli = iter(light)
    await bench.run(stimuli, 300)
    bench.reset = 1
    await bench.run(stimuli, 1)
    await bench.settle()
    await bench.check_dump(0)
    assert not any(map(sum, line.e))
