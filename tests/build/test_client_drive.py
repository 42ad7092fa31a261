"""DAC words of a client on its board's pins: the model's, in their half of a clock and in time; wiring, and what is refused."""

from __future__ import annotations

import argparse
import random
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Value
from amaranth.sim import Simulator
from client_rig import ClientRig, random_setting, registers_of

from twinphase.errors import TwinphaseError
from twinphase_firmware import command
from twinphase_firmware.boards import BOARDS, find_board
from twinphase_firmware.build import describe, make_plan
from twinphase_firmware.clientoptions import ClientOptions
from twinphase_firmware.drives import DriveLines
from twinphase_firmware.tops import make_top
from twinphase_sim.model.sift.emission import Correction, EmissionSchedule, emitted_codes
from twinphase_sim.model.sift.modulators import ModulatorTable
from twinphase_sim.native import write_requests
from twinphase_spec.drive import DRIVE_BITS, ENTRY_BITS, FULL_SCALE, TABLE_WORDS
from twinphase_spec.emission import FRACTION_BITS, LEAD_SLOTS
from twinphase_spec.registers import CLIENT

BOARD_NAMES = sorted(name for name, board in BOARDS.items() if board.drive_pins is not None)


@pytest.mark.parametrize("lanes", [1, 2])
def test_words_come_out_in_their_half_and_in_step(lanes: int) -> None:
    """Words a clock later, valid and fraction with the words of their codes; the clock's edges where the data are to be taken."""
    draw = random.Random(lanes)
    unit = DriveLines(lanes=lanes)
    given = [
        (
            draw.getrandbits(1),
            draw.getrandbits(FRACTION_BITS),
            *(draw.choices(range(1 << ENTRY_BITS), k=lanes) for _ in "qr"),
        )
        for _ in range(60)
    ]
    seen = []

    async def play(ctx: Any) -> None:
        for valid, fraction, *bands in given:
            ctx.set(unit.i_valid, valid)
            ctx.set(unit.i_fraction, fraction)
            for port, words in zip((unit.i_q, unit.i_r), bands, strict=True):
                ctx.set(port.as_value(), sum(word << ENTRY_BITS * lane for lane, word in enumerate(words)))
            await ctx.tick()
            outputs = (unit.o_valid, unit.o_fraction, unit.o_q, unit.o_r, unit.o_clock)
            seen.append([[ctx.get(Value.cast(output[half])) for half in range(2)] for output in outputs])

    simulator = Simulator(unit)
    simulator.add_clock(8e-9)
    simulator.add_testbench(play)
    simulator.run()
    # A code's word is there two clocks after it (docs/modulators.md), in the output registers' inputs three.
    assert DriveLines.latency == 3
    for clock, (valid, fraction, q, r, edges) in enumerate(seen):
        assert q == [given[clock][2][0], given[clock][2][-1]]
        assert r == [given[clock][3][0], given[clock][3][-1]]
        assert edges == ([1, 0] if lanes == 2 else [0, 1])
        if clock >= 2:
            assert valid == [given[clock - 2][0]] * 2
            assert fraction == [given[clock - 2][1]] * 2


@pytest.mark.parametrize(("lanes", "name"), [pytest.param(1, "ulx3s-85f", marks=pytest.mark.long), (2, "ecpix5-85f")])
def test_the_pins_have_the_models_words(lanes: int, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From registers to the inputs of the output registers: emission, a correction of K and F with its dark slots, tables that are
    written anew, and darkness before and behind the frame; every line in every clock."""
    draw = random.Random(f"drive {lanes}")
    options = ClientOptions(lanes=lanes, recall="shared", outputs="dac")
    rig = ClientRig(find_board(name), options, monkeypatch)
    frame, config = random_setting(draw, lanes)
    begin, bob, table = 10_000, bool(draw.getrandbits(1)), ModulatorTable()
    words = [draw.getrandbits(ENTRY_BITS) for _ in range(TABLE_WORDS)]
    frame_table = [word for byte in frame.table for word in (byte * (0x0101 if lanes == 2 else 1), 0)]
    schedule = EmissionSchedule(lanes=lanes)
    latency = rig.top.latency
    assert latency == {1: 41, 2: 44}[lanes]  # docs/client_board.md
    compared = dict.fromkeys(("light", "dark", "moved"), 0)

    def slots(clock: int) -> np.ndarray:
        return (clock - latency - begin) * lanes + np.arange(lanes)

    def check(since: int) -> None:
        """All clocks from ``since`` on that were watched."""
        shown = rig.widths["fraction"]
        for clock in [clock for clock in rig.seen if clock >= since]:
            lines, those = rig.seen.pop(clock), slots(clock)
            emits = bool(those[0] >= 0)
            codes = emitted_codes(schedule, frame, "bob" if bob else "alice", config, np.maximum(those, 0))
            fraction = int(schedule.at(those).fraction[0]) if emits else 0
            assert lines.valid == (emits, emits), clock
            assert lines.fraction == (fraction >> FRACTION_BITS - shown,) * 2, clock
            for band, code in zip("qr", codes, strict=True):
                intensity, phase = table.drive(band, code if emits else np.zeros_like(code))
                assert getattr(lines, f"{band}_intensity") == (intensity[0], intensity[-1]), clock
                assert getattr(lines, f"{band}_phase") == (phase[0], phase[-1]), clock
            light = emits and bool(schedule.at(those).light.all())
            compared["moved" if light and fraction else "light" if light else "dark"] += 1
        rig.seen.clear()

    async def bench(ctx: Any) -> None:
        ctx.set(rig.node.tx.ready, 1)
        await rig.step(ctx, 5)
        assert all(lines.valid == (0, 0) and lines.q_intensity == (0, 0) for lines in rig.seen.values())
        registers = registers_of(frame, config, bob)
        await rig.send(ctx, write_requests(CLIENT, registers, {"FRAME_TABLE": frame_table}, first_id=1))
        await rig.send(ctx, write_requests(CLIENT, {"CONTROL": 1}, first_id=101))
        await rig.step(ctx, 1300, watch=False)  # until the keys are expanded
        # The table of power-up; the frame begins, over the wrap of its table.
        await rig.jump(ctx, frame, begin - 20)
        rig.seen.clear()
        await rig.step(ctx, 20 + latency + 2 * frame.frame_pulses // lanes)
        check(begin - 19)
        # A correction, waited for in one leap.
        slot = (slots(ctx.get(rig.node.o_clock))[0] + LEAD_SLOTS + 400) & ~7
        correction = Correction(
            slot=int(slot), pulses=draw.choice([-7, 9]), fraction=draw.randrange(4096, 8192) // lanes
        )
        assert schedule.write(correction, int(slot) - LEAD_SLOTS)
        emit = {f"EMIT_{part.upper()}": value for part, value in vars(correction).items()}
        await rig.send(ctx, write_requests(CLIENT, emit, first_id=201))
        await rig.step(ctx, 60, watch=False)
        there = begin + int(slot) // lanes
        await rig.jump(ctx, frame, there - 30)
        await rig.step(ctx, latency + 5, watch=False)
        await rig.step(ctx, 30 + 40 + 2 * frame.frame_pulses // lanes)
        check(there)
        # Other words.
        await rig.send(ctx, write_requests(CLIENT, {}, {"MODULATOR_TABLE": words}, first_id=301))
        for address, word in enumerate(words):
            table.write(address, word)
        await rig.step(ctx, 250, watch=False)
        await rig.step(ctx, 2 * frame.frame_pulses // lanes)
        check(0)
        # The frame stops: dark is the entry of VAC, which may change.
        await rig.send(ctx, write_requests(CLIENT, {"CONTROL": 0}, first_id=401))
        await rig.step(ctx, latency + 100, watch=False)
        for darker in (words[0], words[0] ^ FULL_SCALE):
            await rig.send(
                ctx, write_requests(CLIENT, {}, {"MODULATOR_TABLE": [darker]}, first_id=501 + (darker != words[0]))
            )
            await rig.step(ctx, 60, watch=False)
            await rig.step(ctx, 3)
            for lines in rig.seen.values():
                assert (lines.valid, lines.fraction) == ((0, 0), (0, 0))
                assert lines.q_intensity == (darker & FULL_SCALE,) * 2
                assert lines.q_phase == (darker >> DRIVE_BITS,) * 2
                assert lines.r_intensity == (words[TABLE_WORDS // 2] & FULL_SCALE,) * 2
            rig.seen.clear()

    rig.run(bench)
    assert compared["light"] >= 80 // lanes
    assert compared["dark"] >= 20 + 32 // lanes
    assert compared["moved"] >= 120 // lanes


def test_both_boards_have_pins_for_words() -> None:
    assert BOARD_NAMES == ["ecpix5-85f", "ulx3s-85f"]
    assert all(BOARDS[name].nodes["client"] == ClientOptions(outputs="symbols") for name in BOARD_NAMES)


@pytest.mark.parametrize(
    ("name", "balls"),
    [
        (
            "ecpix5-85f",
            {
                "q_intensity": ("J24", "W26"),
                "q_phase": ("K22", "W22"),
                "r_phase": ("D21", "A24"),
                "fraction": ("C16", "A15"),
            },
        ),
        (
            "ulx3s-85f",
            {
                "q_intensity": ("U18", "G18"),
                "q_phase": ("D18", "E14"),
                "r_phase": ("F4", "B4"),
                "fraction": ("F3", "E13"),
            },
        ),
    ],
)
def test_words_have_their_balls(name: str, balls: dict[str, tuple[str, str]]) -> None:
    """Lowest and highest bit of a word, as docs/client_board.md wires them, and every ball once."""
    pins = BOARDS[name].drive_pins
    assert pins is not None
    connectors = BOARDS[name].platform().connectors
    found = {}
    for group, those in pins.groups().items():
        places = [pin.split(":") for pin in those.split()]
        found[group] = [
            connectors[place.rpartition("_")[0], int(place.rpartition("_")[2])].mapping[pin] for place, pin in places
        ]
    every = [ball for group in found.values() for ball in group]
    assert len(set(every)) == len(every)
    assert {group: (found[group][0], found[group][-1]) for group in balls} == balls


def test_a_client_with_words_has_a_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but the words' pins, all of them behind registers of one kind."""
    monkeypatch.setenv("AMARANTH_ENV_TRELLIS", "")
    board = find_board("ulx3s-85f")
    assert board.drive_pins is not None
    top = make_top("client", board, build_hash=0, options=ClientOptions(lanes=1, recall="shared", outputs="dac"))
    plan = make_plan(board.prepare(top.channels), top, seed=1)
    sites = dict(re.findall(r'LOCATE COMP "(\S+)" SITE "(\w+)"', plan.files["top.lpf"]))
    pins = [pin for pin in sites if pin.startswith("drive_0__")]
    assert len(pins) == sum(len(group.split()) for group in board.drive_pins.groups().values()) == 56
    assert plan.files["top.il"].count("cell \\ODDRX1F") == len(pins)
    assert not [pin for pin in sites if "modulators" in pin or "detectors" in pin]
    assert sites["drive_0__q_phase__io[11]"] == "E14"
    assert describe(top, {}) == {
        "client": {"lanes": 1, "recall": "shared", "outputs": "dac", "symbols": "counter", "ring": 0}
    }
    # docs/client_board.md: a client of one lane takes 38 clocks from anchor to codes, the tables two, the lines' register one
    assert top.latency == 38 + 2 + 1


@pytest.mark.parametrize("lanes", [4, 8])
def test_more_lanes_than_the_pins_hold_are_refused(lanes: int) -> None:
    sentence = rf"outputs is 'dac' with {lanes} lanes, but pins are there for one column of DAC words.*allowed: 1 or 2"
    with pytest.raises(ValueError, match=sentence):
        ClientOptions(lanes=lanes, outputs="dac")
    with pytest.raises(ValueError, match=f"DriveLines: lanes is {lanes}; allowed: 1 or 2"):
        DriveLines(lanes=lanes)


def test_outputs_of_another_name_are_refused() -> None:
    with pytest.raises(ValueError, match="client: outputs is 'analog'; allowed: 'symbols' or 'dac'"):
        ClientOptions(outputs="analog")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--node", "client", "--outputs", "dac"], "outputs is 'dac' with 8 lanes"),
        (["--node", "timetagger", "--outputs", "dac"], "a timetagger has no --outputs; allowed: --frontend"),
    ],
)
def test_a_command_without_room_for_words_is_refused(words: list[str], sentence: str) -> None:
    parser = argparse.ArgumentParser()
    command.configure(parser)
    with pytest.raises(TwinphaseError, match=sentence):
        command.run(parser.parse_args(["ecpix5-85f", *words]))


def test_a_command_asks_for_words() -> None:
    parser = argparse.ArgumentParser()
    command.configure(parser)
    arguments = parser.parse_args(
        ["ecpix5-85f", "--node", "client", "--lanes", "2", "--recall", "shared", "--outputs", "dac"]
    )
    wanted = ClientOptions(lanes=2, recall="shared", outputs="dac")
    assert command.changed_options(ClientOptions(), "client", arguments) == wanted


def test_a_board_without_pins_for_words_is_refused() -> None:
    bare = replace(find_board("ecpix5-85f"), drive_pins=None)
    with pytest.raises(TwinphaseError, match="the board has no pins for outputs 'dac'; allowed: 'symbols'"):
        make_top("client", bare, build_hash=0, options=ClientOptions(lanes=1, outputs="dac"))


def test_pins_of_words_that_do_not_fit_are_refused() -> None:
    pins = BOARDS["ulx3s-85f"].drive_pins
    assert pins is not None
    for changes, sentence in (
        ({"q_phase": "gpio_0:20+"}, "q_phase has 1 pins; allowed: 12"),
        ({"fraction": " ".join(["gpio_0:27+"] * 14)}, "fraction has 14 pins; allowed: at most 13"),
        ({"valid": ""}, "clocks or valid have no pin, or valid several; allowed: clocks, one valid"),
        ({"valid": "gpio_0:0+"}, r"gpio_0:0\+ named twice; allowed: every pin once"),
    ):
        with pytest.raises(ValueError, match=f"drive pins: {sentence}"):
            replace(pins, **changes)
