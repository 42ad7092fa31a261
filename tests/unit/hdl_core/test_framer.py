"""Timebase and framer together against the definition in `twinphase_spec.frame`."""

import random

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In
from hdl_core_bench import anchor_fields, grid, random_frame, simulate

from twinphase_hdl.core.framer import Framer
from twinphase_hdl.core.timebase import Timebase
from twinphase_hdl.types import GridConfig
from twinphase_spec.frame import LAG_CLOCKS, SlotClass

GATE_Q, GATE_R = (100, 900), (0, 1 << 17)


class Bench(wiring.Component):
    config: In(GridConfig)

    def __init__(self):
        super().__init__()
        self.timebase, self.framer = Timebase(), Framer()

    def elaborate(self, platform):
        m = Module()
        m.submodules.timebase, m.submodules.framer = timebase, framer = self.timebase, self.framer
        m.d.comb += [
            timebase.i_config.eq(self.config),
            framer.i_config.eq(self.config),
            framer.i_anchor.eq(timebase.o_anchor),
            framer.i_framing.eq(timebase.o_framing),
            *(getattr(framer, f"i_gate_start_{b}").eq(g[0]) for b, g in (("q", GATE_Q), ("r", GATE_R))),
            *(getattr(framer, f"i_gate_stop_{b}").eq(g[1]) for b, g in (("q", GATE_Q), ("r", GATE_R))),
        ]
        return m


def click(frame, time: int, channel: int) -> tuple[dict[str, int], str]:
    """Fields of the click, and its counter."""
    x = (time - frame.start_clock * 8192) << 32
    if x < 0:
        return {"channel": channel, "framed": 0, "gated": 0, "clock": time // 8192 % (1 << 14)}, "unframed"
    n, rest = divmod(x, frame.period_q32)
    in_frame = n % frame.frame_pulses
    window = n // frame.frame_pulses // frame.frames_per_window
    band_r = channel >> 1
    slot_class = frame.table[in_frame // frame.slot_pulses] >> 4 * band_r & 15
    start, stop = (GATE_Q, GATE_R)[band_r]
    gated = start <= rest >> 32 < stop and slot_class != SlotClass.GUARD
    fields = {
        "channel": channel,
        "framed": 1,
        "gated": int(gated),
        "slot_class": slot_class,
        "pulse": n,
        "position": rest >> 32,
        "window": window,
        "dwindow": window // frame.windows_per_dwindow,
        "clock": time // 8192 % (1 << 14),
    }
    if not gated:
        return fields, "background"
    if slot_class >= SlotClass.REF0:
        return fields, ("reference_q", "reference_r")[band_r]
    return fields, "signal" if slot_class == SlotClass.SIG and not band_r else "other"


@pytest.mark.parametrize("seed", range(8))
def test_equals_the_definition(seed: int) -> None:
    rng = random.Random(seed)
    start = rng.choice([20_000, 1 << 45])
    frame = random_frame(rng, start)
    dut = Bench()
    framer = dut.framer
    counters = ("unframed", "background", "signal", "reference_q", "reference_r", "other")
    assert framer.latency == 32

    async def bench(ctx):
        ctx.set(dut.config, grid(frame))
        for address, entry in enumerate(frame.table):
            ctx.set(framer.i_table_address, address)
            ctx.set(framer.i_table_data, entry)
            ctx.set(framer.i_table_en, 1)
            await ctx.tick()
        ctx.set(framer.i_table_en, 0)
        ctx.set(dut.timebase.i_run, 1)
        await ctx.tick().repeat(3)
        first = start + LAG_CLOCKS
        places = [start - 3, start + 100, first - 10, first - 1, first + rng.randrange(10**7)]
        places += [frame.close_clock(w) - rng.randrange(20) for w in (0, 1, frame.windows_per_dwindow * 2 - 1)]
        for place in places:
            ctx.set(dut.timebase.sim_load, 1)
            ctx.set(dut.timebase.sim_anchor, anchor_fields(frame.anchor_at(place)))
            await ctx.tick()
            ctx.set(dut.timebase.sim_load, 0)
            due = []
            for clock in range(place, place + 60 + framer.latency):
                assert ctx.get(framer.o_valid) == (len(due) >= framer.latency and due[-framer.latency] is not None)
                if ctx.get(framer.o_valid):
                    fields, counter = due[-framer.latency]
                    for name, value in fields.items():
                        assert ctx.get(getattr(framer.o, name)) == value, (name, place, clock)
                    assert [name for name in counters if ctx.get(getattr(framer, f"o_{name}"))] == [counter]
                if clock < place + 60 and rng.random() < 0.9:
                    # From the anchor's own time to a delay of 2 us ahead; near pulse edges often.
                    oldest = (clock - LAG_CLOCKS) * 8192
                    time = rng.randrange(oldest, oldest + (LAG_CLOCKS + 256) * 8192)
                    if rng.random() < 0.4:
                        time = rng.choice([oldest, oldest + 1, start * 8192, start * 8192 - 1, clock * 8192])
                        time = min(max(time, oldest), oldest + (LAG_CLOCKS + 256) * 8192)
                    elif rng.random() < 0.5 and time >= start * 8192:
                        n = ((time - start * 8192) << 32) // frame.period_q32
                        time = max(oldest, start * 8192 + (n * frame.period_q32 >> 32) + rng.randrange(2))
                    channel = rng.randrange(4)
                    due.append(click(frame, time, channel))
                    ctx.set(framer.i.payload, {"time": time, "channel": channel})
                else:
                    due.append(None)
                ctx.set(framer.i.valid, due[-1] is not None)
                await ctx.tick()
            assert not ctx.get(framer.o_busy)

    simulate(dut, bench)


def test_no_frame_no_framing() -> None:
    """run = 0, and a START that had passed before run."""
    frame = random_frame(random.Random(0), 0)
    dut = Bench()

    async def bench(ctx):
        ctx.set(dut.config, grid(frame))
        await ctx.tick().repeat(3)
        for run in (0, 1):
            fields = dict.fromkeys(anchor_fields(frame.anchor_at(0)), 0) | {"clock": LAG_CLOCKS + 500}
            ctx.set(dut.timebase.sim_anchor, fields)
            ctx.set(dut.timebase.sim_load, 1)
            await ctx.tick()
            ctx.set(dut.timebase.sim_load, 0)
            ctx.set(dut.timebase.i_run, run)
            ctx.set(dut.framer.i.payload, {"time": (LAG_CLOCKS + 500) * 8192, "channel": 1})
            ctx.set(dut.framer.i.valid, 1)
            await ctx.tick()
            ctx.set(dut.framer.i.valid, 0)
            await ctx.tick().repeat(dut.framer.latency - 1)
            assert ctx.get(dut.framer.o_valid)
            assert ctx.get(dut.framer.o_unframed)
            assert not ctx.get(dut.framer.o.framed)
            await ctx.tick()
            assert not ctx.get(dut.framer.o_busy)

    simulate(dut, bench)
