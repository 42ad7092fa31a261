"""How long after a click windows are not live: RECOVERY_PULSES from the dead times of a lab (docs/live.md)."""

from __future__ import annotations

from .lab import Lab, LabError
from .live import RECOVERY_BITS
from .units import TICKS_PER_SECOND

PS_PER_SECOND = 10**12


def blind_ps(lab: Lab) -> float:
    """T: for how long after a tag of the quantum band a detector may be blind without a further tag.

    The longer of the two detectors' dead times. A programmed dead time that is longer than one of them hides clicks, the last just
    before its end, which makes the detector dead anew: then both, one after the other.
    """
    dead_ns = lab.detectors.qL.dead_time_ns, lab.detectors.qR.dead_time_ns
    hidden_ns = lab.server.dead_time_ns if lab.server.dead_time_ns > min(dead_ns) else 0.0
    return 1000 * (hidden_ns + max(dead_ns))


def recovery_pulses(lab: Lab, gate_start_ticks: int) -> int:
    """``R = ceil((P + T - g) / P) - 1``: no window is live whose gate begins before both detectors are back. 0 without ``live_windows``.

    ``gate_start_ticks``: g, GATE_START_Q. Raises LabError for an R that the register cannot hold.
    """
    if not lab.server.live_windows:
        return 0
    period = TICKS_PER_SECOND // round(lab.frame.pulse_rate_hz)
    blind = -(-round(blind_ps(lab) * TICKS_PER_SECOND) // PS_PER_SECOND)
    pulses = -(-(blind - gate_start_ticks) // period)
    if pulses >> RECOVERY_BITS:
        raise LabError(
            f"lab {lab.name}: server.live_windows is true and a detector may be blind for {pulses} pulses after a click; allowed: "
            f"up to {(1 << RECOVERY_BITS) - 1}: shorten the dead times or set live_windows to false"
        )
    return pulses
