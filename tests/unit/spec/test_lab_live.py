"""RECOVERY_PULSES from a lab's dead times, against every place of a click and of the gate behind it."""

import numpy as np
import pytest

from twinphase_spec.configure import gate_ticks, server_registers
from twinphase_spec.lab import Lab, LabError, load_lab
from twinphase_spec.lab_live import blind_ps, recovery_pulses
from twinphase_spec.packets import Stream


def lab_of(preset="seed-370km", *, live=True, left=30.0, right=30.0, server=0.0, gate_ps=None):
    data = load_lab(preset).model_dump()
    data["server"] |= {"live_windows": live, "dead_time_ns": server}
    data["detectors"]["qL"]["dead_time_ns"], data["detectors"]["qR"]["dead_time_ns"] = left, right
    if gate_ps is not None:
        data["frame"]["gate_q_ps"] = gate_ps
    return Lab.model_validate(data)


@pytest.mark.parametrize("preset", ["seed-370km", "metro-50km"])
@pytest.mark.parametrize("gate_ps", [100.0, 700.0, 1000.0])
@pytest.mark.parametrize("dead_ns", [16.0, 30.0, 31.9, 47.3, 1000.0])
def test_the_first_live_gate_after_a_click_finds_the_detector_back(preset, gate_ps, dead_ns):
    lab = lab_of(preset, left=dead_ns, right=16.0, gate_ps=gate_ps)
    start, _ = gate_ticks(lab, "q")
    period = 1_024_000_000_000 // round(lab.frame.pulse_rate_hz)
    found = recovery_pulses(lab, start)
    dead_ticks = int(np.ceil(dead_ns * 1000 * 128 / 125 - 1e-9))
    last = period - 1
    assert (found + 1) * period + start >= last + dead_ticks  # the latest click there is
    assert found * period + start < period + dead_ticks  # and one pulse fewer would not do
    registers = server_registers(lab, 0)
    assert registers["RECOVERY_PULSES"] == found > 0
    assert registers["STREAM_ENABLE"] >> Stream.LIVE & 1


def test_a_programmed_dead_time_hides_clicks_that_blind_anew():
    assert blind_ps(lab_of(left=30, right=40, server=20)) == 40_000
    assert blind_ps(lab_of(left=30, right=40, server=30)) == 40_000
    assert blind_ps(lab_of(left=30, right=40, server=35)) == 75_000
    assert blind_ps(lab_of(left=30, right=40, server=100)) == 140_000


def test_off_by_default_and_refused_beyond_the_register():
    assert not load_lab("seed-370km").server.live_windows
    off = server_registers(lab_of(live=False), 0)
    assert off["RECOVERY_PULSES"] == 0
    assert not off["STREAM_ENABLE"] >> Stream.LIVE & 1
    assert server_registers(lab_of(left=65_000.0), 0)["RECOVERY_PULSES"] < 1 << 16
    with pytest.raises(LabError, match="blind for 66000 pulses after a click; allowed: up to 65535: shorten"):
        server_registers(lab_of(left=66_000.0, gate_ps=1000.0), 0)
