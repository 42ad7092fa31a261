"""Supplies that the gateware sets: its pulses, put through the regulator's circuit, give the volts that were asked for."""

import pytest
from amaranth.sim import Simulator

from twinphase_firmware.boards import BOARDS
from twinphase_firmware.portvolts import ALLOWED_V, DUTY_BITS, SETTLING_SECONDS, PortVolts, control_volts

PERIOD = 1 << DUTY_BITS


def regulated(share: float) -> float:
    """The port's volts where the control pin is at 3.3 V for ``share`` of the time: as much current leaves the 0.6 V node over 13 kohm as
    comes over 53.6 and 68 kohm."""
    through_control = (3.3 * share - 0.6) / 68.0
    return 0.6 + 53.6 * (0.6 / 13.0 - through_control)


@pytest.mark.parametrize("wrong", [0.0, 1.1, 3.4, 5.0])
def test_other_volts_are_refused(wrong):
    with pytest.raises(ValueError, match=r"; allowed: 1\.2 to 3\.3 V"):
        PortVolts((3.3, wrong))


def test_ports_get_their_volts_and_are_enabled_when_these_have_settled():
    asked = (3.3, 1.8, ALLOWED_V[0], 2.5)
    clock_hz = 40e3
    dut = PortVolts(asked, clock_hz=clock_hz)
    high, enabled = [0] * len(asked), []

    async def testbench(ctx):
        for clock in range(3 * PERIOD):
            await ctx.tick()
            if PERIOD <= clock < 2 * PERIOD:
                levels = ctx.get(dut.o_control)
                for port in range(len(asked)):
                    high[port] += levels >> port & 1
            enabled.append(ctx.get(dut.o_enable))

    simulator = Simulator(dut)
    simulator.add_clock(1 / clock_hz)
    simulator.add_testbench(testbench)
    simulator.run()
    for volts, count in zip(asked, high, strict=True):
        assert regulated(count / PERIOD) == pytest.approx(volts, abs=0.0013)  # half a step
    first = enabled.index(1)
    assert first / clock_hz >= SETTLING_SECONDS == pytest.approx(0.068)
    assert all(enabled[first:])


def test_a_stuck_control_pin_is_known_to_exceed_the_part():
    """Why the enable waits: 0 V at the pin are more than an I/O supply of the part may have."""
    assert regulated(0.0) == pytest.approx(3.547, abs=0.001)
    assert 0 < control_volts(3.3) < control_volts(1.2) < 3.3


def test_detector_pins_have_the_supply_of_their_level():
    """LVCMOS33 needs 3.3 V."""
    for board in BOARDS.values():
        if board.port_volts:
            name, number = board.connector
            assert board.port_volts[f"{name.upper()} {number}"] == 3.3
