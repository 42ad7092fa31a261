"""Live windows: which clicks may give heralds, and the runs of pulses that are not live. Source: docs/live.md.

Clicks come in the order of their times, so that their pulses never fall, and within a pulse their positions neither. What the last click
of an earlier pulse makes not live is then all that matters, and of the same pulse whether its first click came before the gate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twinphase_sim.model.core.framer import Clicks
from twinphase_spec.live import RECOVERY_BITS, RUN_LIMIT
from twinphase_spec.packets import LIVE_DTYPE


@dataclass(frozen=True)
class LiveWindows:
    """``not_live``: per click, a framed one of the quantum band whose pulse is not live. ``runs``: LIVE_DTYPE, each as it is closed by
    later clicks or by silence."""

    not_live: NDArray[np.bool_]
    runs: NDArray[np.void]


def live_windows(clicks: Clicks, recovery_pulses: int, gate_start_ticks: int) -> LiveWindows:
    """Judge every click of a run and find its runs.

    ``recovery_pulses``: RECOVERY_PULSES, 0: all windows are live, no runs. ``gate_start_ticks``: GATE_START_Q. Raises ValueError.
    """
    if not 0 <= recovery_pulses < 1 << RECOVERY_BITS:
        raise ValueError(
            f"live windows: recovery_pulses is {recovery_pulses}; allowed: 0 to {(1 << RECOVERY_BITS) - 1}"
        )
    not_live = np.zeros(clicks.pulse.size, dtype=np.bool_)
    chosen = np.flatnonzero(clicks.framed & (clicks.band == 0))
    if not recovery_pulses or not chosen.size:
        return LiveWindows(not_live, np.zeros(0, dtype=LIVE_DTYPE))
    pulse, early = clicks.pulse[chosen], clicks.position[chosen] < gate_start_ticks
    first_of_pulse = np.flatnonzero(
        np.diff(pulse, prepend=~pulse[:1]) != 0
    )  # prepended value differs from the first pulse
    clicks_of_pulse = np.diff(first_of_pulse, append=pulse.size)
    own = pulse[first_of_pulse]
    shadowed = np.append(False, np.diff(own) <= np.uint64(recovery_pulses))
    began_early = np.repeat(early[first_of_pulse], clicks_of_pulse)
    began_early[first_of_pulse] = False  # a click is judged by those before it
    not_live[chosen] = np.repeat(shadowed, clicks_of_pulse) | began_early
    # Of the clicks of a pulse the first says where a run begins; all end it alike.
    return LiveWindows(not_live, _runs(own + ~early[first_of_pulse], own + np.uint64(recovery_pulses + 1)))


def _runs(firsts: NDArray[np.uint64], ends: NDArray[np.uint64]) -> NDArray[np.void]:
    """Intervals ``[first, end)``, both rising, joined where they touch or overlap, into runs shorter than RUN_LIMIT."""
    opens = np.flatnonzero(np.append(True, firsts[1:] > ends[:-1]))
    closes = np.append(opens[1:], firsts.size)
    run_firsts, run_ends = firsts[opens], ends[closes - 1]
    long = np.flatnonzero(run_ends - run_firsts >= np.uint64(RUN_LIMIT))
    for run in long[::-1].tolist():
        parts, own_ends = [run_firsts[run]], ends[opens[run] : closes[run]]
        while own_ends[-1] - parts[-1] >= np.uint64(RUN_LIMIT):
            # The first click that would make it too long leaves it as it is and opens its own, which begins there.
            parting = np.searchsorted(own_ends, parts[-1] + np.uint64(RUN_LIMIT))
            parts.append(own_ends[parting - 1])
        run_firsts = np.concatenate((run_firsts[:run], parts, run_firsts[run + 1 :]))
        run_ends = np.concatenate((run_ends[:run], parts[1:], run_ends[run:]))
    return live_records(run_firsts, run_ends)


def live_records(firsts: NDArray[np.uint64], ends: NDArray[np.uint64]) -> NDArray[np.void]:
    """LIVE records of runs ``[first, end)``."""
    records = np.zeros(firsts.size, dtype=LIVE_DTYPE)
    records["pulse_low"] = firsts & np.uint64(0xFFFFFFFF)
    records["pulse_high"] = firsts >> np.uint64(32)
    records["length"] = ends - firsts
    return records
