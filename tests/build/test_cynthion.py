"""Cynthion: samples of two input registers' clocks in one, its PLL, and which links it and other boards have."""

from types import SimpleNamespace

import pytest
from amaranth.hdl import Const, ResetSignal, Signal
from amaranth.sim import Simulator

from twinphase.errors import TwinphaseError
from twinphase_firmware import pairedpins, usbport
from twinphase_firmware.boardlink import BoardLink
from twinphase_firmware.boards import BOARDS, find_board
from twinphase_firmware.build import KEEP_READS_OF, describe_link, make_plan
from twinphase_firmware.pairedpins import PairedClock, PairedPins, PairGears
from twinphase_firmware.pll import solve_pll
from twinphase_firmware.tops import make_top
from twinphase_hdl.timetag.oversample import SampledPins
from twinphase_spec.tagger import TaggerOptions
from twinphase_spec.units import CLOCK_HZ


def test_four_samples_follow_each_other_without_gap_or_repetition():
    """Both clocks rise together at every second edge; an input register hands a pair on a period after it was taken."""
    dut, seen = PairGears(channels=2), []
    simulator = Simulator(dut)
    simulator.add_clock(8e-9, domain="sync", phase=4e-9)
    simulator.add_clock(4e-9, domain="edge", phase=4e-9)
    levels = [[0x9F3A_61C5_2B74_D08E >> n & 1 for n in range(60)], [0x3C5A_F00F_1234_5678 >> n & 1 for n in range(60)]]

    async def pins(context):
        for pair in range(30):
            for channel in range(2):
                low, high = levels[channel][2 * pair : 2 * pair + 2]
                context.set(dut.i_pairs[channel], low | high << 1)
            await context.tick("edge")

    async def watch(context):
        async for _, _, first, second in context.tick("sync").sample(dut.o_samples[0], dut.o_samples[1]):
            seen.append((int(first), int(second)))

    simulator.add_testbench(pins)
    simulator.add_testbench(watch, background=True)
    simulator.run()
    for channel in range(2):
        got = [word[channel] >> k & 1 for word in seen[2:14] for k in range(4)]
        text, whole = "".join(map(str, got)), "".join(map(str, levels[channel]))
        assert text in whole
        # Words are halves of two clocks of `sync`, which edges of them it cuts is constant.
        assert whole.index(text) % 2 == 0


def test_the_bus_is_reset_once_and_long_enough(monkeypatch):
    """For 68 us from the release of the registers, whose first step must change one bit."""
    oscillator = Signal()
    monkeypatch.setattr(pairedpins, "board_inputs", lambda m, platform: (oscillator, Const(0)))
    monkeypatch.setattr(pairedpins, "make_pll", lambda *_, **__: Const(1))
    monkeypatch.setattr(pairedpins, "release_registers", lambda *_: None)
    m = PairedClock(usb=True).elaborate(SimpleNamespace(default_clk_frequency=60e6))
    reset = Signal()
    m.d.comb += reset.eq(ResetSignal("usb"))
    seen = []

    async def run(context):
        for _ in range(5000):
            context.set(oscillator, 1)
            await context.delay(1e-9)
            context.set(oscillator, 0)
            await context.delay(1e-9)
            seen.append(context.get(reset))

    simulator = Simulator(m)
    simulator.add_clock(8e-9, domain="sync")
    simulator.add_clock(4e-9, domain="edge")
    simulator.add_testbench(run)
    simulator.run()
    assert seen == [1] * 4095 + [0] * (5000 - 4095) or seen == [1] * 4094 + [0] * (5000 - 4094)
    first = (1 << pairedpins.USB_RESET_BITS) - 1
    assert (first ^ first - 1).bit_count() == 1


def test_the_latency_is_that_of_the_simulation_box():
    assert PairedPins.latency == SampledPins.latency


def test_the_oscillator_makes_both_clocks_exactly():
    dividers = solve_pll(60e6, 2 * CLOCK_HZ)
    assert 60e6 * dividers.clkfb_div == 2 * CLOCK_HZ * dividers.clki_div
    assert 60e6 / dividers.clki_div >= 10e6
    assert dividers.vco_hz / dividers.half_div == CLOCK_HZ


def test_links_that_a_board_does_not_have_are_refused():
    cynthion, ecpix = find_board("cynthion"), find_board("ecpix5-85f")
    for board, kind, says in (
        (cynthion, "serial", "link 'serial' on a board without a serial port for a node; allowed: 'usb'"),
        (cynthion, "udp", "without an Ethernet PHY"),
        (ecpix, "usb", "link 'usb' on a board without a USB PHY"),
    ):
        with pytest.raises(TwinphaseError, match=says):
            make_top("timetagger", board, build_hash=0, link=BoardLink(kind=kind))
    with pytest.raises(TwinphaseError, match="front end 'delay line'; allowed: 'oversampling'"):
        make_top("timetagger", cynthion, build_hash=0, options=TaggerOptions(frontend="delay line"))
    with pytest.raises(TwinphaseError, match="9 channels were asked for; allowed: 8"):
        cynthion.prepare(9)


def test_boards_have_their_link_unless_asked_otherwise():
    for board in BOARDS.values():
        top = make_top("timetagger", board, build_hash=0) if "timetagger" in board.nodes else None
        if top is not None:
            own = {"cynthion": "usb", "butterstick": "udp"}
            assert top.link.kind == board.link == own.get(board.name, "serial")


def test_strange_links_are_refused():
    with pytest.raises(ValueError, match="link is 'radio'; allowed: 'serial', 'udp', 'usb'"):
        BoardLink(kind="radio")
    with pytest.raises(ValueError, match="USB serial number is 'a b'"):
        BoardLink(kind="usb", usb_serial="a b")


def test_the_manifest_says_what_nobody_has_checked():
    said = describe_link(BoardLink(kind="usb", usb_serial="k-2"), {"not_checked": "delays", "tools": {"yosys": "1"}})
    assert said["link"] == {"kind": "usb", "serial": "k-2"}
    assert said["not_checked"] == f"delays; {usbport.NOT_CHECKED}"
    assert "ULPI" in said["not_checked"]
    assert set(said["tools"]) == {"yosys", "luna-usb"}


@pytest.mark.long
def test_the_plan_has_the_pins_and_leaves_the_memories_of_usb_as_they_are():
    board = find_board("cynthion")
    top = make_top("timetagger", board, build_hash=0, options=TaggerOptions(channels=2, frontend="oversampling"))
    files = make_plan(board.prepare(2), top, seed=1).files
    assert KEEP_READS_OF.format(kind="usb") in files["top.ys"]
    assert "module \\top.usb.device" in files["top.il"]
    for pin in ("A8", "D16", "E16", "J13", "C9", "B4", "E6", "H2"):
        assert f'SITE "{pin}"' in files["top.lpf"]
