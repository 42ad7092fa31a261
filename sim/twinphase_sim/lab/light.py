"""The light of a lab's server between its actuator and its detectors, as the harness of the node needs it."""

from __future__ import annotations

import numpy as np

from twinphase_sim.native import LightPath
from twinphase_sim.physics.detectors import TICKS_PER_PS
from twinphase_spec.lab import Lab
from twinphase_spec.lab_actuator import CODE_CLOCKS, light_delay_clocks, modulator_turns
from twinphase_spec.registers import CHANNELS
from twinphase_spec.units import ps_to_ticks


def light_path(lab: Lab) -> LightPath:
    """What the lab's actuator does to its four channels, and their detectors."""
    detectors = [getattr(lab.detectors, name) for name in CHANNELS]
    return LightPath(
        turns=modulator_turns(lab),
        delay_clocks=light_delay_clocks(lab) + CODE_CLOCKS,
        dead_ticks=np.array([ps_to_ticks(detector.dead_time_ns * 1000) for detector in detectors]),
        recovery_ticks=np.array([detector.recovery_ns * 1000 * TICKS_PER_PS for detector in detectors]),
        ratio=np.array([lab.bands.quantum_hz / lab.bands.reference_hz if name[0] == "q" else 1.0 for name in CHANNELS]),
    )
