"""A clock from outside: pins and dividers of the builds that take it, a small design through place and route, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import io, wiring

from twinphase.cli import main
from twinphase.errors import TwinphaseError
from twinphase_firmware.boardlink import SERIAL
from twinphase_firmware.boards import BOARDS, find_board
from twinphase_firmware.build import build_environment, make_plan
from twinphase_firmware.clientoptions import ClientOptions
from twinphase_firmware.clocking import BoardClock
from twinphase_firmware.reference import check_reference

PINS = {"ecpix5-85f": "C14", "ulx3s-85f": "G3", "ulx3s-25f": "G3"}
TAKEN = [(name, node) for name in PINS for node in BOARDS[name].nodes]


class Pins(wiring.Component):
    """The clock and all pins of a node."""

    link = SERIAL

    def __init__(self, *resources: str) -> None:
        self._resources = resources
        super().__init__({})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.clock = BoardClock(lanes=1)
        for name in self._resources:
            for k, pin in enumerate(wires(platform.request(name, dir="-"))):
                m.submodules[f"{name}_{k}"] = io.Buffer(pin.direction, pin)
        return m


def wires(port: Any) -> list[Any]:
    """Of a resource with or without parts."""
    return [port] if isinstance(port, io.PortLike) else [getattr(port, name) for name in vars(port)]


RESOURCES = {
    "server": ("detectors", "pulser", "actuator"),
    "timetagger": ("detectors", "pulser"),
    "client": ("modulators",),
}


@pytest.mark.parametrize(("name", "node"), TAKEN)
def test_every_node_of_these_boards_has_the_pin_free(name: str, node: str) -> None:
    """The oscillator's pin is not in the design, and nobody else has the reference's."""
    board = find_board(name)
    check_reference(board, board.nodes[node], 10_000_000)
    channels = getattr(board.nodes[node], "channels", 0)
    top = Pins(*RESOURCES[node])
    constraints = str(make_plan(board.prepare(channels, reference_hz=10_000_000), top, seed=1).files["top.lpf"])
    assert f'LOCATE COMP "reference_0__io" SITE "{PINS[name]}"' in constraints
    assert 'FREQUENCY PORT "reference_0__io" 10000000.0 HZ' in constraints
    assert constraints.count("FREQUENCY") == 1
    assert constraints.count(f'SITE "{PINS[name]}"') == 1
    assert constraints.count("LOCATE") > 5
    assert "reference_0" not in str(make_plan(board.prepare(channels), top, seed=1).files["top.lpf"])


class Divided(wiring.Component):
    """The clock's 24th power of two on the test pulser's pin."""

    link = SERIAL

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.clock = BoardClock(lanes=2)
        m.submodules.pin = pin = io.Buffer("o", platform.request("pulser", dir="-"))
        slow, fast = Signal(24), Signal(2)
        m.d.sync += slow.eq(slow + 1)
        m.d.tdc += fast.eq(fast + 1)
        m.d.comb += pin.o.eq(slow[-1] ^ fast[-1])
        return m


@pytest.mark.long
@pytest.mark.parametrize("name", ["ecpix5-85f", "ulx3s-85f"])
def test_the_pin_reaches_a_pll(name: str, tmp_path) -> None:
    """nextpnr routes pin to PLL and derives both outputs' clocks from the pin's."""
    board = find_board(name)
    plan = make_plan(board.prepare(0, reference_hz=10_000_000), Divided({}), seed=1)
    plan.execute_local(str(tmp_path), env=build_environment())
    log = (tmp_path / "top.tim").read_text()
    assert (tmp_path / "top.bit").stat().st_size > 10_000
    assert log.count("(PASS at 125.") >= 1
    assert log.count("(PASS at 250.") >= 1
    assert "FAIL" not in log


def test_what_cannot_take_it_is_refused_before_anything_is_built(capsys, tmp_path) -> None:
    for name in sorted(BOARDS.keys() - PINS.keys()):
        with pytest.raises(TwinphaseError, match=rf"board {name} has no pin for a clock from outside"):
            check_reference(find_board(name), None, 10_000_000)
    board = find_board("ecpix5-85f")
    for options, what in (
        (ClientOptions(lanes=1, symbols="ring"), "symbols 'ring'"),
        (ClientOptions(lanes=1, recall="shared", outputs="dac"), "outputs 'dac'"),
    ):
        with pytest.raises(TwinphaseError, match=rf"client with {what}: no pin is left"):
            check_reference(board, options, 10_000_000)
    for hz in (5_000_000, 7_999_999, 500_000_000):
        with pytest.raises(TwinphaseError, match=r"cannot be taken: PLL input is .* allowed: 8 to 400 MHz$"):
            check_reference(board, ClientOptions(), hz)
    with pytest.raises(
        TwinphaseError,
        match=r"a clock of 10\.0001 MHz cannot be taken: no PLL setting .*; 10, 25, 50, 100 and 125 MHz can",
    ):
        check_reference(board, ClientOptions(), 10_000_100)
    assert main(["build", "versa-ecp5-5g", "--node", "timetagger", "--reference", "10", "--out", str(tmp_path)]) == 2
    assert "versa-ecp5-5g has no pin for a clock from outside" in capsys.readouterr().err
    assert main(["build", "ulx3s-25f", "--node", "timetagger", "--reference", "0", "--out", str(tmp_path)]) == 2
    assert "--reference is 0" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("mhz", [10, 25, 50, 100, 125])
def test_frequencies_that_are_named_work_for_all_nodes(mhz: int) -> None:
    for name, node in TAKEN:
        check_reference(find_board(name), BOARDS[name].nodes[node], mhz * 1_000_000)
