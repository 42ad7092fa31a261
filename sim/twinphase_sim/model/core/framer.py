"""Framer: where every tag falls on the pulse grid and in the slot table.

Source: `twinphase_spec.frame` and the framer of docs/contract.md::

    x = (t - START * 8192) * 2^32,   n = x div P_q32,   position = (x mod P_q32) >> 32
    l = n mod L,  frame = n div L,  slot = l div M,  window = frame div F,  dwindow = window div W
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twinphase_spec.frame import LAG_CLOCKS, WINDOW_BITS, FrameConfig, SlotClass
from twinphase_spec.units import FRACTION_BITS

Gates = tuple[tuple[int, int], tuple[int, int]]
"""((GATE_START_Q, GATE_STOP_Q), (GATE_START_R, GATE_STOP_R)) in ticks into the pulse."""

WINDOW_MASK = np.uint64((1 << WINDOW_BITS) - 1)


@dataclass(frozen=True)
class Clicks:
    """Framed tags in the order of the tags. Where ``framed`` is False, all later fields are 0 and mean nothing."""

    times_ticks: NDArray[np.uint64]
    channel: NDArray[np.uint8]
    framed: NDArray[np.bool_]
    gated: NDArray[np.bool_]
    """In the gate of its band and not in a GUARD slot."""
    slot_class: NDArray[np.uint8]
    """`SlotClass` of its slot in its channel's band."""
    pulse: NDArray[np.uint64]
    position: NDArray[np.uint32]
    """Ticks into the pulse."""
    window: NDArray[np.uint32]
    dwindow: NDArray[np.uint32]

    @property
    def band(self) -> NDArray[np.uint8]:
        """0 quantum, 1 reference."""
        return self.channel >> np.uint8(1)

    @property
    def reference(self) -> NDArray[np.bool_]:
        """Gated clicks in REF(k) slots of their band."""
        return self.gated & (self.slot_class >= SlotClass.REF0) & (self.slot_class <= SlotClass.REF3)

    @property
    def signal(self) -> NDArray[np.bool_]:
        """Gated clicks of the quantum band in SIG slots."""
        return self.gated & (self.band == 0) & (self.slot_class == SlotClass.SIG)

    def counters(self) -> dict[str, int]:
        """The server's counters of framing, each tag in exactly one."""
        reference, signal = self.reference, self.signal
        return {
            "unframed": int(np.count_nonzero(~self.framed)),
            "background": int(np.count_nonzero(self.framed & ~self.gated)),
            "signal": int(np.count_nonzero(signal)),
            "reference_q": int(np.count_nonzero(reference & (self.band == 0))),
            "reference_r": int(np.count_nonzero(reference & (self.band == 1))),
            "other": int(np.count_nonzero(self.gated & ~reference & ~signal)),
        }


def divide_period(ticks: NDArray[np.uint64], period_q32: int) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
    """Pulse index and position: ``ticks * 2^32`` divided by ``period_q32``, exact for all ticks below 2^63.

    The float quotient is off by at most n 2^-51 + 1 (n <= 2^95 / P_q32), so the true remainder of that estimate is below
    2^44 + P_q32 <= 2^50 in magnitude and its low 64 bits, which wrapping arithmetic gives, are all of it.
    """
    estimate = (ticks.astype(np.float64) * (2.0**32 / period_q32)).astype(np.uint64)
    remainder = ((ticks << np.uint64(32)) - estimate * np.uint64(period_q32)).view(np.int64)
    correction, remainder = np.divmod(remainder, np.int64(period_q32))
    return estimate + correction.view(np.uint64), (remainder >> 32).astype(np.uint32)


def frame_clicks(
    frame: FrameConfig, gates: Gates, times_ticks: NDArray[np.uint64], channels: NDArray[np.uint8]
) -> Clicks:
    """Every tag on the grid of ``frame``.

    The distance from the frame's start is taken modulo 2^64 and read as signed, as the hardware does by differences from
    its anchor: a frame may run across the wrap of the clock count, for up to 2^63 ticks (104 days).
    """
    times = np.asarray(times_ticks, dtype=np.uint64)
    channels = np.asarray(channels, dtype=np.uint8)
    if times.shape != channels.shape or times.ndim != 1:
        raise ValueError(
            f"framer: times {times.shape} and channels {channels.shape} must be one-dimensional and of equal length"
        )
    since_start = times - np.uint64(frame.start_clock << FRACTION_BITS)
    framed = since_start.view(np.int64) >= 0
    pulse, position = divide_period(np.where(framed, since_start, np.uint64(0)), frame.period_q32)
    frame_index, frame_pulse = np.divmod(pulse, np.uint64(frame.frame_pulses))
    entry = np.array(frame.table, dtype=np.uint8)[(frame_pulse // np.uint64(frame.slot_pulses)).astype(np.int64)]
    band = channels >> np.uint8(1)
    slot_class = np.where(band == 0, entry & np.uint8(15), entry >> np.uint8(4))
    start, stop = np.array(gates, dtype=np.uint32).T
    in_gate = (position >= start[band]) & (position < stop[band])
    window = frame_index // np.uint64(frame.frames_per_window)
    dwindow = window // np.uint64(frame.windows_per_dwindow)
    return Clicks(
        times_ticks=times,
        channel=channels,
        framed=framed,
        gated=framed & in_gate & (slot_class != SlotClass.GUARD),
        slot_class=np.where(framed, slot_class, np.uint8(0)),
        pulse=pulse,
        position=position,
        window=(window & WINDOW_MASK).astype(np.uint32),
        dwindow=(dwindow & WINDOW_MASK).astype(np.uint32),
    )


def closed_windows(frame: FrameConfig, clock: int) -> int:
    """Number of windows closed when the clock count is ``clock``: those with ``close_clock(w) <= clock``."""
    anchor_ticks = max(0, clock - LAG_CLOCKS - frame.start_clock) << FRACTION_BITS
    return (anchor_ticks << 32) // (frame.window_pulses * frame.period_q32)
