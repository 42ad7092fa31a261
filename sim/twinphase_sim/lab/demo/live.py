"""The demo's figures of live windows (docs/live.md)."""

from __future__ import annotations

from typing import Any

from twinphase.batch import Batch
from twinphase.measure.live import LiveWindows, SignalPulses
from twinphase_spec.configure import gate_ticks
from twinphase_spec.frame import FrameConfig
from twinphase_spec.lab import Lab
from twinphase_spec.lab_live import recovery_pulses
from twinphase_spec.packets import Stream

from .receive import Received


def live_figures(lab: Lab, frame: FrameConfig, server: Received, share_expected: float) -> dict[str, Any] | None:
    """Live windows among the SIG windows from the frame's start to the end of the newest run; None where the lab does not ask for them.

    Windows of heralds that found no room (``unjoined``) are taken off. Exact where no record was lost.
    """
    if not lab.server.live_windows:
        return None
    windows = LiveWindows(SignalPulses(frame.table, frame.slot_pulses), recovery_pulses(lab, gate_ticks(lab, "q")[0]))
    windows.update(Batch(records={Stream.LIVE: server.records[Stream.LIVE]}), whole=True)
    live, signal = windows.count(0, windows.known_pulse), int(windows.signal.below(windows.known_pulse))
    if live is None or not signal:
        return None
    live -= server.counters.get("unjoined", 0)
    return {
        "live_windows": live,
        "signal_windows": signal,
        "share": live / signal,
        "share_expected": share_expected,
        "lost_records": server.losses.get("streams", {}).get("live", 0),
    }


def live_rows(figures: dict[str, Any] | None) -> list[tuple[object, ...]]:
    """For the page: measured and expected share."""
    if figures is None:
        return []
    label = f"live windows (of {figures['signal_windows']:,} SIG; {figures['lost_records']} records lost)"
    return [(label, f"{figures['share']:.3%}", f"{figures['share_expected']:.3%}")]
