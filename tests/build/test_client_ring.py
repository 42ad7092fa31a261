"""A client whose symbols come from a QRNG on its board's pins: the generator's bits come out as symbols; wiring, and what is refused."""

from __future__ import annotations

import argparse
import random
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Value
from client_rig import ClientRig, random_setting, registers_of

from twinphase.errors import TwinphaseError
from twinphase_firmware import command
from twinphase_firmware.boards import BOARDS, find_board
from twinphase_firmware.build import describe, make_plan
from twinphase_firmware.clientoptions import BOARD_RING, MOST_RING, ClientOptions
from twinphase_firmware.qrng import QrngPads
from twinphase_firmware.tops import make_top
from twinphase_hdl.sift.qrngqueue import SLACK_WORDS
from twinphase_sim.model.sift.qrng import QrngConfig, qrng_words
from twinphase_sim.model.sift.symbols import codes_of, decode, slot_bytes
from twinphase_sim.native import write_requests
from twinphase_spec.registers import CLIENT
from twinphase_spec.symbols import BOUNDS

BOARD_NAMES = sorted(name for name, board in BOARDS.items() if board.qrng_pins is not None)
LINES = ("clocks", "valid", "q0", "q1", "r0", "r1")
SEED = 8
SITED = ("data__io[0]", "data__io[15]", "clock__io", "valid__io", "ready__io")
ECPIX5_SITES = ("C16", "A23", "C14", "D14", "B14")
ULX3S_SITES = ("A7", "E3", "G3", "F3", "H4")


class Generator:
    """A QRNG at its board's input registers, with a clock of its own: it follows ready ``late`` clocks late, stops by itself now and
    then, and for ``gap_ns`` when ``pauses`` is set. ``sent``: words so far."""

    def __init__(self, rig: ClientRig, *, lanes: int, period_ns: float, late: int, gap_ns: float) -> None:
        self._pins, self._lanes, self._half, self._gap = rig.qrng, lanes, period_ns * 0.5e-9, gap_ns * 1e-9
        self._seen = [False] * late
        self.sent = 0
        self.pauses = False
        self._draw = random.Random(lanes)

    async def bench(self, ctx: Any) -> None:
        clock, data, valid, ready = (self._pins[name] for name in ("clock", "data", "valid", "ready"))
        ctx.set(valid.i[0], 0)
        # The pin's register behind ready, which is the platform's.
        ready_pin = False
        while True:
            ctx.set(clock.i, 0)
            await ctx.delay(self._half)
            ready_before = bool(ctx.get(ready.o))
            ctx.set(clock.i, 1)
            await ctx.delay(self._half / 2)
            self._seen.append(ready_pin)
            ready_pin = ready_before
            sends = self._seen.pop(0) and self._draw.random() < 0.97
            if self.pauses:
                await ctx.delay(self._gap)
                self.pauses = False
            # What input registers show after an edge.
            ctx.set(valid.i[0], sends)
            if sends:
                halves = qrng_words(
                    SEED, np.arange(self._lanes * self.sent, self._lanes * (self.sent + 1), dtype=np.uint64)
                )
                for half, word in enumerate(halves.tolist()):
                    ctx.set(Value.cast(data.i[half]), word)
                self.sent += 1
            else:
                ctx.set(Value.cast(data.i[0]), self._draw.getrandbits(16))
            await ctx.delay(self._half / 2)


@pytest.mark.parametrize(("lanes", "name"), [(2, "ulx3s-85f"), pytest.param(1, "ecpix5-85f", marks=pytest.mark.long)])
def test_the_generators_bits_come_out_as_symbols(lanes: int, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the QRNG's input registers to the inputs of the output registers: each word once and in order, lane by lane, from the frame's
    first pulse on; while the generator stands still pulses are dark, and then the words go on where they had stopped."""
    draw = random.Random(f"ring {lanes}")
    rig = ClientRig(find_board(name), ClientOptions(lanes=lanes, symbols="ring", ring=16384), monkeypatch, LINES)
    generator = Generator(rig, lanes=lanes, period_ns=7.5, late=SLACK_WORDS, gap_ns=2000)
    frame, keys = random_setting(draw, lanes)
    config = QrngConfig(seed=SEED, nonce=0, **{bound: getattr(keys, bound) for bound in BOUNDS})
    begin, bob = 10_000, bool(draw.getrandbits(1))
    frame_table = [word for byte in frame.table for word in (byte * (0x0101 if lanes == 2 else 1), 0)]
    latency = rig.top.latency
    assert latency == {1: 15, 2: 18}[lanes]  # docs/client_board.md
    stop_words: list[int] = []

    async def bench(ctx: Any) -> None:
        ctx.set(rig.node.tx.ready, 1)
        await rig.send(
            ctx, write_requests(CLIENT, registers_of(frame, config, bob), {"FRAME_TABLE": frame_table}, first_id=1)
        )
        await rig.send(ctx, write_requests(CLIENT, {"CONTROL": 1}, first_id=101))
        await rig.step(ctx, 1300, watch=False)  # until the digest's key is expanded
        waiting = generator.sent
        assert 32 < waiting <= 64  # a queue of words waits for the frame, and nothing takes them
        await rig.step(ctx, 100, watch=False)
        assert generator.sent == waiting
        await rig.jump(ctx, frame, begin - 20)
        rig.seen.clear()
        await rig.step(ctx, 20 + latency + 300)
        generator.pauses = True
        stop_words.append(generator.sent)
        await rig.step(ctx, 500)

    rig.run(bench, generator.bench)
    clocks = [clock for clock in sorted(rig.seen) if clock >= begin + latency]
    assert all(rig.seen[clock].valid == (0, 0) for clock in rig.seen if clock < begin + latency)
    assert all(lines.clocks == (0, (1 << rig.widths["clocks"]) - 1) for lines in rig.seen.values())
    pulses = np.arange(len(clocks) * lanes, dtype=np.uint64)
    entries = slot_bytes(frame, pulses)

    def shown(codes: np.ndarray, reference: bool) -> np.ndarray:
        return codes >> 10 | (codes >> 6 & 3) << 1 if reference else codes >> 8 | (codes >> 4 & 15) << 3

    def expected(starved: int) -> tuple[np.ndarray, np.ndarray]:
        """Lines when so many groups found no bits behind the last word before the gap."""
        (stopped,) = stop_words
        groups = pulses.astype(np.int64) // lanes
        fed = (groups < stopped) | (groups >= stopped + starved)
        numbers = pulses.astype(np.int64) - np.where(groups >= stopped + starved, starved * lanes, 0)
        words = qrng_words(SEED, np.maximum(numbers, 0).astype(np.uint64))
        drawn = decode(config, words)
        q, r = codes_of(entries, "bob" if bob else "alice", drawn)
        dark = codes_of(entries, "bob" if bob else "alice", replace_with_vacuum(drawn))[0]
        return shown(np.where(fed, q, dark), False), shown(r, True)

    seen_q = np.array([[getattr(rig.seen[clock], f"q{lane}")[0] for lane in range(lanes)] for clock in clocks])
    seen_r = np.array([[getattr(rig.seen[clock], f"r{lane}")[0] for lane in range(lanes)] for clock in clocks])
    assert all(rig.seen[clock].valid == (1, 1) for clock in clocks)
    assert all(
        getattr(rig.seen[clock], line)[0] == getattr(rig.seen[clock], line)[1] for clock in clocks for line in LINES[2:]
    )
    fits = [starved for starved in range(1, 400) if np.array_equal(expected(starved)[0], seen_q.ravel())]
    assert len(fits) == 1
    assert 150 < fits[0] < 350
    assert np.array_equal(expected(fits[0])[1], seen_r.ravel())
    assert np.unique(seen_q).size > 20


def replace_with_vacuum(drawn: Any) -> Any:
    """Symbols of pulses without bits."""
    return replace(
        drawn, **{name: np.zeros_like(getattr(drawn, name)) for name in ("x", "send", "intensity", "slice", "phase")}
    )


def test_both_boards_have_pins_for_a_generator() -> None:
    assert BOARD_NAMES == ["ecpix5-85f", "ulx3s-85f"]
    assert all(BOARDS[name].nodes["client"] == ClientOptions(symbols="counter") for name in BOARD_NAMES)


@pytest.mark.parametrize(
    ("lanes", "name", "sites", "clocks"),
    [
        (1, "ecpix5-85f", ECPIX5_SITES, 4),
        pytest.param(2, "ecpix5-85f", ECPIX5_SITES, 4, marks=pytest.mark.long),
        pytest.param(2, "ulx3s-85f", ULX3S_SITES, 2, marks=pytest.mark.long),
    ],
)
def test_a_client_with_a_ring_has_a_plan(
    lanes: int, name: str, sites: tuple[str, ...], clocks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The generator's pins as docs/client_board.md wires them, registers of one kind behind them, its clock with a constraint; of the
    outputs two columns, and no pin twice."""
    monkeypatch.setenv("AMARANTH_ENV_TRELLIS", "")
    board = find_board(name)
    top = make_top("client", board, build_hash=0, options=ClientOptions(lanes=lanes, symbols="ring", ring=16384))
    plan = make_plan(board.prepare(top.channels), top, seed=1)
    found = dict(re.findall(r'LOCATE COMP "(\S+)" SITE "(\w+)"', plan.files["top.lpf"]))
    assert len(set(found.values())) == len(found)
    assert tuple(found[f"qrng_0__{line}"] for line in SITED) == sites
    assert len([pin for pin in found if pin.startswith("qrng_0__")]) == 16 + 3
    outputs = [pin for pin in found if pin.startswith("modulators_1__")]
    assert len(outputs) == 2 * (7 + 3) + 1 + clocks
    assert not [pin for pin in found if pin.startswith(("modulators_0__", "drive_0__"))]
    assert plan.files["top.il"].count("cell \\IDDRX1F") == 16 + 1
    assert plan.files["top.il"].count("cell \\ODDRX1F") == len(outputs)
    assert plan.files["top.il"].count("cell \\OFS1P3DX") >= 1
    assert 'FREQUENCY PORT "qrng_0__clock__io" 133333333.0 HZ;' in plan.files["top.lpf"]
    said = {"lanes": lanes, "recall": "own", "outputs": "symbols", "symbols": "ring", "ring": 16384}
    assert describe(top, {}) == {"client": said}


def test_a_ring_has_the_size_that_is_asked_for() -> None:
    assert ClientOptions().ring_symbols == 0
    assert ClientOptions(lanes=1, symbols="ring").ring_symbols == BOARD_RING == 262_144
    assert ClientOptions(lanes=1, symbols="ring", ring=MOST_RING).ring_symbols == MOST_RING == 376_832


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["--symbols", "ring"],
            "symbols is 'ring' with 8 lanes, which take 128 bits of a QRNG in every clock.*allowed: 1 or 2 lanes",
        ),
        (["--symbols", "ring", "--lanes", "4"], "symbols is 'ring' with 4 lanes, which take 64 bits"),
        (
            ["--symbols", "ring", "--lanes", "1", "--outputs", "dac"],
            "with outputs 'dac', whose words leave no 19 pins.*allowed: outputs",
        ),
        (
            ["--symbols", "ring", "--lanes", "1", "--recall", "shared"],
            "recall is 'shared' with symbols 'ring'.*allowed: 'own'",
        ),
        (
            ["--symbols", "ring", "--lanes", "1", "--ring", "1000"],
            "symbol ring: symbols is 1000; allowed: multiples of 16384",
        ),
        (
            ["--symbols", "ring", "--lanes", "1", "--ring", "0"],
            "symbol ring: symbols is 0; allowed: multiples of 16384",
        ),
        (["--symbols", "ring", "--lanes", "1", "--ring", "393216"], "ring is 393216 symbols; allowed: 376832 at most"),
        (
            ["--ring", "16384"],
            "ring is 16384 with symbols 'counter', which keeps none; allowed: symbols 'ring', or no ring",
        ),
    ],
)
def test_a_ring_that_cannot_be_built_is_refused(words: list[str], sentence: str) -> None:
    parser = argparse.ArgumentParser()
    command.configure(parser)
    with pytest.raises(TwinphaseError, match=sentence):
        command.run(parser.parse_args(["ecpix5-85f", "--node", "client", *words]))


def test_a_tagger_has_no_symbols() -> None:
    parser = argparse.ArgumentParser()
    command.configure(parser)
    with pytest.raises(TwinphaseError, match="a timetagger has no --symbols and no --ring; allowed: --frontend"):
        command.run(parser.parse_args(["ecpix5-85f", "--node", "timetagger", "--symbols", "ring", "--ring", "16384"]))


def test_symbols_of_another_name_are_refused() -> None:
    with pytest.raises(ValueError, match="client: symbols is 'qrng'; allowed: 'counter' or 'ring'"):
        ClientOptions(lanes=1, symbols="qrng")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="QrngPads: lanes is 4; allowed: 1 or 2"):
        QrngPads(lanes=4)


def test_a_command_asks_for_a_ring() -> None:
    parser = argparse.ArgumentParser()
    command.configure(parser)
    arguments = parser.parse_args(
        ["ulx3s-85f", "--node", "client", "--lanes", "2", "--symbols", "ring", "--ring", "16384"]
    )
    wanted = ClientOptions(lanes=2, symbols="ring", ring=16384)
    assert command.changed_options(ClientOptions(), "client", arguments) == wanted


def test_a_board_without_pins_for_a_generator_is_refused() -> None:
    bare = replace(find_board("ecpix5-85f"), qrng_pins=None)
    with pytest.raises(TwinphaseError, match="the board has no pins for symbols 'ring'; allowed: 'counter'"):
        make_top("client", bare, build_hash=0, options=ClientOptions(lanes=1, symbols="ring"))


def test_pins_of_a_generator_that_do_not_fit_are_refused() -> None:
    pins = BOARDS["ulx3s-85f"].qrng_pins
    assert pins is not None
    for changes, sentence in (
        ({"data": "gpio_0:4+"}, "data has 1 pins; allowed: 16"),
        ({"clock": ""}, "clock has 0 pins; allowed: 1"),
        ({"ready": "gpio_0:12+"}, r"gpio_0:12\+ named twice; allowed: every pin once"),
    ):
        with pytest.raises(ValueError, match=f"QRNG pins: {sentence}"):
            replace(pins, **changes)
