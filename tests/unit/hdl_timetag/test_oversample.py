"""Edges from four samples per clock: every rise has its quarter's time, whatever the waveform."""

import pytest
from amaranth.hdl import Module
from amaranth.lib.wiring import Component, In, Out, connect, flipped
from amaranth.sim import Simulator
from hypothesis import example, given, settings
from hypothesis import strategies as st

from twinphase_hdl.timetag.frontend import Edges
from twinphase_hdl.timetag.oversample import INPUT_LATENCY, OversamplingFrontEnd, SampledPins

CHANNELS = 3


class PinsToEdges(Component):
    """The simulation's input box and the finder behind it."""

    def __init__(self, lanes: int):
        self.finder = OversamplingFrontEnd(channels=CHANNELS, lanes=lanes)
        self.pins = SampledPins(channels=CHANNELS)
        super().__init__({"i": In(4 * CHANNELS), "i_invert": In(CHANNELS), "o": Out(Edges(CHANNELS, lanes=lanes))})

    def elaborate(self, platform):
        m = Module()
        m.submodules += [self.finder, self.pins]
        m.d.comb += [
            self.pins.i_samples.as_value().eq(self.i),
            self.finder.i_samples.eq(self.pins.o_samples),
            self.finder.i_invert.eq(self.i_invert),
        ]
        connect(m, self.finder.o, flipped(self.o))
        return m


def edges_of(component: Component, words: list[int], lanes: int, invert: int, latency: int) -> list[list[int]]:
    """Times of each channel's edges, in the order of clock and lane; ``words``: all channels' samples per clock."""
    found: list[list[int]] = [[] for _ in range(CHANNELS)]
    samples = component.i if isinstance(component, PinsToEdges) else component.i_samples.as_value()

    async def bench(ctx):
        ctx.set(component.i_invert, invert)
        for clock, word in enumerate(words + [words[-1]] * latency):
            ctx.set(samples, word)
            valid = ctx.get(component.o.valid)
            for index in range(CHANNELS * lanes):
                if valid >> index & 1:
                    found[index // lanes].append((clock - latency) * 8192 + ctx.get(component.o.fine[index]))
            await ctx.tick()

    simulator = Simulator(component)
    simulator.add_clock(8e-9)
    simulator.add_testbench(bench)
    simulator.run()
    return found


def rises(waveform: list[int], lanes: int) -> list[int]:
    """From a pin's levels, four per clock, by counting quarters: the centre of the first high one."""
    times = [2048 * n + 1024 for n in range(1, len(waveform)) if waveform[n] and not waveform[n - 1]]
    if lanes == 2:
        return times
    return [time for n, time in enumerate(times) if n == 0 or times[n - 1] // 8192 != time // 8192]


words = st.lists(st.integers(0, (1 << 4 * CHANNELS) - 1), min_size=1, max_size=40)


@pytest.mark.parametrize("lanes", [1, 2])
@settings(max_examples=40, deadline=None)
@given(words=words, invert=st.integers(0, (1 << CHANNELS) - 1))
@example(words=[0x555, 0x555, 0x555], invert=0)  # the fastest that there is
@example(words=[0xAAA, 0xAAA, 0xAAA], invert=7)
@example(words=[0xFFF, 0xFFF, 0x000, 0xFFF], invert=0)  # high at reset
@example(words=[0x000, 0x888, 0x111, 0x000], invert=5)  # across a clock's border
@example(words=[0x999, 0x999, 0x666], invert=0)
def test_every_rise_is_found_at_its_quarter(lanes: int, words: list[int], invert: int) -> None:
    waveforms = [
        [(word >> 4 * channel + sample & 1) ^ (invert >> channel & 1) for word in words for sample in range(4)]
        for channel in range(CHANNELS)
    ]
    finder = OversamplingFrontEnd(channels=CHANNELS, lanes=lanes)
    expected = [rises(waveform, lanes) for waveform in waveforms]
    assert edges_of(finder, words, lanes, invert, finder.latency) == expected


@pytest.mark.parametrize("lanes", [1, 2])
def test_fine_times_stay_in_their_lane(lanes: int) -> None:
    """All pairs of clocks of one channel: lane k has quarters of its own part of the clock, and at most one edge."""
    word = [n >> 4 * half & 0xF for n in range(256) for half in range(2)]
    finder = OversamplingFrontEnd(channels=CHANNELS, lanes=lanes)
    found = edges_of(finder, word, lanes, 0, finder.latency)
    assert found[1:] == [[], []]
    assert found[0] == rises([n >> sample & 1 for n in word for sample in range(4)], lanes)
    slots = [time // (8192 // lanes) for time in found[0]]
    assert len(set(slots)) == len(slots)


def test_the_simulation_box_delays_by_the_latency_of_the_part() -> None:
    """A step in quarter 2 of clock 5, through box and finder."""
    unit = PinsToEdges(1)
    words = [0x000] * 5 + [0xC0C] + [0xFFF] * 3
    found = edges_of(unit, words, 1, 0, unit.finder.latency + INPUT_LATENCY)
    step = 5 * 8192 + 1024 + 2 * 2048
    assert found == [[step], [6 * 8192 + 1024], [step]]


@pytest.mark.parametrize("lanes", [0, 3, 4])
def test_other_numbers_of_lanes_are_refused(lanes: int) -> None:
    with pytest.raises(ValueError, match=f"lanes is {lanes}; allowed: 1 or 2"):
        Edges(1, lanes=lanes)
