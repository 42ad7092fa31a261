"""Live windows of drawn clicks, through the server's model, against the share and the heralds that a lab expects."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "physics"))
from physics_labs import changed, symbol_configs
from run_seeds import run_seed

from twinphase_sim.model.server import run_server
from twinphase_sim.physics.expect import expectations
from twinphase_sim.physics.link import Link
from twinphase_spec.configure import server_memories, server_registers
from twinphase_spec.frame import SlotClass
from twinphase_spec.lab import load_lab
from twinphase_spec.units import CLOCK_HZ

RECOVERING: dict[str, Any] = {f"detectors__{name}__recovery_ns": 20.0 for name in ("qL", "qR")}


@pytest.mark.parametrize(
    ("name", "seconds", "changes"),
    [
        ("metro-50km", 0.04, {}),
        ("metro-50km", 0.04, RECOVERING),
        ("seed-370km", 0.05, {"detectors__qL__dead_time_ns": 200.0}),
        ("seed-370km", 0.05, {"server__dead_time_ns": 500.0}),
    ],
)
def test_live_share_and_heralds_are_those_expected(name: str, seconds: float, changes: dict[str, Any]) -> None:
    """SIG pulses in runs, and heralds, within 5 sigma: k runs of nearly one length are Poisson, so that what they cover has a relative
    sigma of 1/sqrt(k), of up to twice that where they overlap or the phase of few fringes shapes them; heralds are Poisson. 1 % of what
    is covered and 0.5 % of the heralds more for the form of dead time by mean counts."""
    seed = run_seed(77)
    lab = changed(load_lab(name), server__live_windows=True, **changes)
    expected = expectations(lab)
    link = Link(lab, seed, *symbol_configs(lab), start_clock=5000)
    frame = link.frame
    pulses = round(seconds * lab.frame.pulse_rate_hz)
    clicks = link.clicks(0, pulses)
    until = 5000 + round(seconds * CLOCK_HZ) + (1 << 14)
    table = server_memories(lab).get("SMOOTH_TABLE")
    run = run_server(server_registers(lab, 5000), frame, clicks.times_ticks, clicks.channels, until, smooth_table=table)
    is_signal = np.repeat(np.array(frame.table) & 15 == SlotClass.SIG, frame.slot_pulses)
    signal = np.resize(is_signal, pulses)
    dead = np.zeros(pulses + (1 << 16), dtype=np.int64)
    firsts = run.live["pulse_low"].astype(np.int64)
    dead[firsts] += 1
    dead[firsts + run.live["length"]] -= 1
    live = int(np.count_nonzero(signal & (np.cumsum(dead)[:pulses] == 0)))
    total = int(np.count_nonzero(signal))
    covered = 1 - expected.live_share
    assert abs(1 - live / total - covered) < covered * (10 / np.sqrt(run.live.size) + 0.01)
    heralds = expected.heralds_per_second * seconds
    assert abs(run.heralds.size - heralds) < 5 * np.sqrt(heralds) + 0.005 * heralds + 5
    # Live windows cost heralds, and what they cost is what the counter says.
    plain = expectations(changed(lab, server__live_windows=False))
    assert plain.live_share == 1
    assert expected.heralds_per_second < plain.heralds_per_second
    lost = (plain.heralds_per_second - expected.heralds_per_second) * seconds
    assert abs(run.counters["not_live"] - lost) < 5 * np.sqrt(lost) + 0.1 * lost + 0.005 * heralds + 5
