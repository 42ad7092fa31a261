"""The iCE40's own parts: PLL, half clock, samples; and that its plan runs its tools."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from amaranth.hdl import ClockDomain, ClockSignal, Module
from amaranth.sim import Simulator
from hypothesis import given
from hypothesis import strategies as st

from twinphase.errors import TwinphaseError
from twinphase_firmware import ice40_pll
from twinphase_firmware.boards import find_board
from twinphase_firmware.build import make_plan
from twinphase_firmware.ice40 import HalfClock, PairGearbox
from twinphase_firmware.tops import make_top
from twinphase_hdl.timetag.oversample import INPUT_LATENCY
from twinphase_spec.tagger import PARTS, TaggerOptions


def test_the_board_makes_twice_120_mhz() -> None:
    found = ice40_pll.solve_pll(12e6, 240e6)
    assert 12e6 / (found.divr + 1) * (found.divf + 1) / 2**found.divq == 240e6
    assert found.filter_range == 1
    with pytest.raises(ValueError, match="no PLL setting makes 250 MHz from 12 MHz"):
        ice40_pll.solve_pll(12e6, 250e6)
    with pytest.raises(ValueError, match="PLL output is 300 MHz; allowed: 16 to 275 MHz"):
        ice40_pll.solve_pll(12e6, 300e6)


@given(st.integers(1, 200), st.integers(1, 400))
def test_solutions_keep_the_data_sheet_limits(input_mhz: int, output_mhz: int) -> None:
    try:
        found = ice40_pll.solve_pll(input_mhz * 1e6, output_mhz * 1e6)
    except ValueError:
        return  # out of the data sheet's range, or no exact ratio
    vco_mhz = input_mhz * (found.divf + 1) / (found.divr + 1)
    assert 533 <= vco_mhz <= 1066
    assert vco_mhz == output_mhz * 2**found.divq
    assert 10 <= input_mhz / (found.divr + 1) <= 133


@pytest.mark.parametrize("start", [0, 1])
def test_samples_of_a_clock_come_together(start: int) -> None:
    """Pins sampled at both edges of ``edge``: what was sampled in a clock of ``sync`` leaves INPUT_LATENCY clocks later, in order."""
    m = Module()
    m.domains.edge, m.domains.sync = ClockDomain("edge", reset_less=True), ClockDomain("sync", reset_less=True)
    m.submodules.half, m.submodules.gearbox = half, gearbox = HalfClock(), PairGearbox(channels=2)
    m.d.comb += [ClockSignal("sync").eq(half.o_clock), gearbox.i_take.eq(half.o_take)]
    rises: list[int] = []
    words: list[tuple[int, int]] = []
    edges = 60
    levels = [[(13 * k * k + 7 * k + 3 * c) >> 2 & 1 for k in range(2 * edges)] for c in range(2)]

    async def bench(ctx):
        before = 0
        for edge in range(edges):
            # Of edge k, at which this clock of `edge` begins: input registers and those behind them show what came from k - 1 on.
            for c in range(2):
                pair = levels[c][2 * (edge - 1) : 2 * edge] if edge else [0, 0]
                ctx.set(gearbox.i_pairs[c], pair[0] | pair[1] << 1)
            ctx.set(half.i_run, edge >= start + 2)
            clock = ctx.get(half.o_clock)
            if clock and not before:
                rises.append(edge)
            if before and not clock:  # stable since the rise, half a clock before
                words.append((ctx.get(gearbox.o_samples[0]), ctx.get(gearbox.o_samples[1])))
            before = clock
            await ctx.tick("edge")

    simulator = Simulator(m)
    simulator.add_clock(4e-9, domain="edge")
    simulator.add_testbench(bench)
    simulator.run()
    assert len(rises) > 20
    assert [b - a for a, b in itertools.pairwise(rises)] == [2] * (len(rises) - 1)
    for n in range(4, len(words)):
        # ``words[n]`` is there from rise n on, and taken at rise n + 1, the end of a clock: two before that of its samples' clock.
        first = 2 * rises[n - INPUT_LATENCY]
        for c in range(2):
            assert words[n][c] == sum(levels[c][first + j] << j for j in range(4)), (n, c)


def test_the_plan_runs_the_tools_of_the_family() -> None:
    board = find_board("ice40-hx8k")
    top = make_top("timetagger", board, build_hash=0)
    plan = make_plan(board.prepare(top.channels), top, seed=3, family=board.family, clock_hz=board.clock_hz)
    script = plan.files["build_top.sh"]
    assert '"$NEXTPNR_ICE40"' in script
    assert "--freq 120" in script
    assert "--seed 3" in script
    assert "timing-allow-fail" not in script
    assert "pack.py" not in script
    assert "set_frequency clk12_0__io 12.0" in plan.files["top.pcf"]
    assert (
        "scratchpad -set synth_ice40.abc9.W 1000; synth_ice40 -dffe_min_ce_use 8 -run begin:map_luts"
        in plan.files["top.ys"]
    )
    assert top.options.left_out == PARTS
    assert top.options.burst == 512


@pytest.mark.parametrize(
    "options", [TaggerOptions(channels=2, frontend="oversampling"), TaggerOptions(channels=2, small=True)]
)
def test_only_the_small_tagger_fits(options: TaggerOptions) -> None:
    with pytest.raises(TwinphaseError, match="allowed on iCE40HX8K-CT256: a small one, oversampled"):
        make_top("timetagger", find_board("ice40-hx8k"), build_hash=0, options=options)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"channels": 3}, "small with 3 channels, .*; allowed: 2 channels, 1 lane, 'simulation' or 'oversampling'"),
        ({"lanes": 2}, "small with 2 channels, 2 lanes"),
        ({"frontend": "delay line"}, "front end 'delay line'; allowed"),
        ({"small": False}, "burst is 512; allowed: 1024, others only with small"),
        ({"burst": 600}, "queue depth is 1024; allowed: at least 1112"),
    ],
)
def test_options_that_do_not_go_together(changes: dict, sentence: str) -> None:
    own = find_board("ice40-hx8k").nodes["timetagger"]
    with pytest.raises(ValueError, match=sentence):
        replace(own, **changes)
