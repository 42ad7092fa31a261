"""The client on boards: what comes out on which pin and when, the top's files, and what is refused."""

from __future__ import annotations

import argparse
import re
from dataclasses import replace

import pytest
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from twinphase.errors import TwinphaseError
from twinphase_firmware import command
from twinphase_firmware.boardlink import BoardLink
from twinphase_firmware.boards import BOARDS, find_board
from twinphase_firmware.build import describe, make_plan
from twinphase_firmware.clientoptions import ClientOptions
from twinphase_firmware.clienttop import ClientTop
from twinphase_firmware.modulatorpins import COLUMNS, Q_LINES, R_LINES, ModulatorPins
from twinphase_firmware.modulators import CodeLines
from twinphase_firmware.tops import make_top
from twinphase_hdl.nodes.client import RECEIVED
from twinphase_spec.packets import Stream
from twinphase_spec.symbols import SLICES, Level
from twinphase_spec.tagger import TaggerOptions

CLIENT_BOARDS = sorted(name for name, board in BOARDS.items() if "client" in board.nodes)
LINES = COLUMNS * (Q_LINES + R_LINES)

SYMBOL_CODES = [
    level << 8 | phase << 4 for level in (Level.VAC, Level.MU_1, Level.MU_2, Level.MU_Z) for phase in range(SLICES)
]
STEP_CODES = [0, *(Level.REF << 8 | step << 6 for step in range(4))]
CLOCK = st.tuples(
    st.booleans(),
    st.lists(st.sampled_from(SYMBOL_CODES + STEP_CODES), min_size=8, max_size=8),
    st.lists(st.sampled_from(STEP_CODES), min_size=8, max_size=8),
)


def q_code(lines: int) -> int:
    """The code that q lines stand for: the level on lines 0 to 2, the phase's upper four bits on lines 3 to 6."""
    return (lines & 7) << 8 | (lines >> 3) << 4


def r_code(lines: int) -> int:
    """The code that r lines stand for: reference on line 0, quarter turns on lines 1 and 2."""
    return (lines & 1) << 10 | (lines >> 1) << 6


@pytest.mark.parametrize("lanes", [1, 2, 4, 8])
@settings(max_examples=8, deadline=None)
@given(clocks=st.lists(CLOCK, min_size=1, max_size=12))
def test_every_code_comes_out_whole_in_its_half(lanes: int, clocks: list[tuple[bool, list[int], list[int]]]) -> None:
    """What a receiver reads from the columns in the halves of a clock, in the order of time, are the codes of the clock before."""
    unit = CodeLines(lanes=lanes)
    columns = min(lanes, COLUMNS)
    assert unit.columns == columns
    seen = []

    async def play(ctx) -> None:
        for valid, q, r in clocks:
            ctx.set(unit.i_valid, valid)
            for lane in range(lanes):
                ctx.set(unit.i_q[lane], q[lane])
                ctx.set(unit.i_r[lane], r[lane])
            await ctx.tick()
            halves = [
                (
                    ctx.get(unit.o_valid[half]),
                    [q_code(ctx.get(unit.o_q[half][column])) for column in range(columns)],
                    [r_code(ctx.get(unit.o_r[half][column])) for column in range(columns)],
                )
                for half in range(2)
            ]
            seen.append((halves, [ctx.get(unit.o_clock[half]) for half in range(2)]))

    simulator = Simulator(unit)
    simulator.add_clock(8e-9)
    simulator.add_testbench(play)
    simulator.run()
    for (valid, q, r), (halves, clock) in zip(clocks, seen, strict=True):
        if lanes == 8:
            assert halves == [(valid, q[:4], r[:4]), (valid, q[4:], r[4:])]
            assert clock == [1, 0]
        else:
            assert halves == [(valid, q[:lanes], r[:lanes])] * 2
            assert clock == [0, 1]


@pytest.mark.parametrize("name", CLIENT_BOARDS)
def test_a_client_has_pins_and_a_plan(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMARANTH_ENV_TRELLIS", "")
    board = find_board(name)
    top = make_top("client", board, build_hash=0, options=ClientOptions(lanes=1, recall="shared"))
    assert isinstance(top, ClientTop)
    plan = make_plan(board.prepare(top.channels), top, seed=1)
    sites = dict(re.findall(r'LOCATE COMP "(\S+)" SITE "(\w+)"', plan.files["top.lpf"]))
    assert len(set(sites.values())) == len(sites)
    pins = [pin for pin in sites if pin.startswith("modulators_0__")]
    clocks = len(board.modulator_pins.clocks.split())
    assert len(pins) == LINES + 1 + clocks
    assert plan.files["top.il"].count("cell \\ODDRX1F") == len(pins)
    assert not [pin for pin in sites if "detectors" in pin or "pulser" in pin]
    assert "place_chains" not in plan.files["build_top.sh"]
    assert describe(top, {}) == {
        "client": {"lanes": 1, "recall": "shared", "outputs": "symbols", "symbols": "counter", "ring": 0}
    }
    # docs/client_board.md: a client of one lane takes 38 clocks from anchor to codes, the lines' register one
    assert top.latency == 38 + 1


def link_streams(text: str) -> set[int]:
    """Stream numbers that a link over UDP compares the first byte of a datagram with, in the RTLIL of a top."""
    receiver = re.search(r"module \\top\.udp\.receiver$(.*?)^end$", text, re.M | re.S)
    assert receiver is not None
    compared = re.findall(r"cell \$eq \$\d+\n(.*?)\n  end", receiver[1], re.S)
    return {
        int(re.search(r"connect \\B \d+'([01]+)", cell)[1], 2) for cell in compared if re.search(r"A \S+ \[7:0\]", cell)
    }


@pytest.mark.long
def test_a_client_over_udp_hears_its_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMARANTH_ENV_TRELLIS", "")
    board, options = find_board("ecpix5-85f"), ClientOptions(lanes=1, recall="shared")
    top = make_top("client", board, build_hash=0, options=options, link=BoardLink(kind="udp"))
    text = str(make_plan(board.prepare(top.channels), top, seed=1).files["top.il"])
    assert link_streams(text) == {Stream.REGISTER_REQUEST, Stream.SUBSCRIBE, *RECEIVED}
    assert "module \\top.udp.streams\n" in text


def test_both_boards_have_clients() -> None:
    assert CLIENT_BOARDS == ["ecpix5-85f", "ulx3s-85f"]
    assert all(BOARDS[name].nodes["client"] == ClientOptions(lanes=8, recall="own") for name in CLIENT_BOARDS)


@pytest.mark.parametrize(
    ("node", "options", "sentence"),
    [
        ("client", TaggerOptions(), "node 'client' was given TaggerOptions; allowed: ClientOptions"),
        ("server", ClientOptions(), "node 'server' was given ClientOptions; allowed: TaggerOptions"),
    ],
)
def test_options_of_another_node_are_refused(node: str, options: TaggerOptions | ClientOptions, sentence: str) -> None:
    with pytest.raises(TwinphaseError, match=sentence):
        make_top(node, find_board("ecpix5-85f"), build_hash=0, options=options)


def test_a_board_without_modulator_pins_is_refused() -> None:
    board = find_board("ulx3s-25f")
    with pytest.raises(TwinphaseError, match="no top for ulx3s-25f; allowed: timetagger"):
        make_top("client", board, build_hash=0)
    bare = replace(board, nodes={"client": ClientOptions()})
    with pytest.raises(TwinphaseError, match="ulx3s-25f: client: the board has no pins for modulators"):
        make_top("client", bare, build_hash=0)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--lanes", "3"], "client: lanes is 3; allowed: 1, 2, 4 or 8"),
        (["--recall", "shared"], "recall is 'shared' with 8 lanes, which take a block in every clock; allowed: 'own'"),
        (["--chains", "2"], "a client has no --chains; allowed: --lanes, --recall, --outputs, --symbols, --ring"),
        (
            ["--taps", "64", "--channels", "2"],
            "a client has no --channels and no --taps; allowed: --lanes, --recall, --outputs, --symbols, --ring",
        ),
    ],
)
def test_a_command_that_cannot_be_built_is_refused(words: list[str], sentence: str) -> None:
    parser = argparse.ArgumentParser()
    command.configure(parser)
    arguments = parser.parse_args(["ulx3s-85f", "--node", "client", *words])
    with pytest.raises(TwinphaseError, match=sentence):
        command.run(arguments)


def test_a_tagger_has_no_recall() -> None:
    parser = argparse.ArgumentParser()
    command.configure(parser)
    arguments = parser.parse_args(["ulx3s-85f", "--node", "timetagger", "--recall", "own"])
    with pytest.raises(
        TwinphaseError,
        match=r"a timetagger has no --recall; allowed: --frontend, --channels, --lanes, --chains, --taps, --merge$",
    ):
        command.run(arguments)


def test_a_command_changes_what_it_names() -> None:
    parser = argparse.ArgumentParser()
    command.configure(parser)
    arguments = parser.parse_args(["ulx3s-85f", "--node", "client", "--lanes", "4", "--recall", "shared"])
    assert command.changed_options(ClientOptions(), "client", arguments) == ClientOptions(lanes=4, recall="shared")


def test_pins_that_do_not_fit_are_refused() -> None:
    pins = BOARDS["ulx3s-85f"].modulator_pins
    assert pins is not None
    with pytest.raises(ValueError, match=r"band r has columns of \[2, 3, 3, 3\] pins; allowed: 4 columns of 3"):
        replace(pins, r=("gpio_0:1+ gpio_0:1-", *pins.r[1:]))
    with pytest.raises(ValueError, match=r"band q has columns of \[7\] pins; allowed: 4 columns of 7"):
        replace(pins, q=pins.q[:1])
    with pytest.raises(ValueError, match=r"gpio_0:0- named twice"):
        ModulatorPins(clocks="gpio_0:0-", valid=pins.valid, q=pins.q, r=pins.r)


def test_lanes_of_lines_are_refused() -> None:
    with pytest.raises(ValueError, match="CodeLines: lanes is 3; allowed: 1, 2, 4 or 8"):
        CodeLines(lanes=3)
