"""A floating-point server and sifter in a few lines of numpy: what an ideal instrument makes of a link's clicks.

Independent of the gateware and of the integer model; it judges the physics and its expectations.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twinphase_sim.model.sift.symbols import symbols
from twinphase_sim.physics.link import Clicks, Link
from twinphase_sim.physics.slots import band_classes
from twinphase_spec.configure import delay_ticks, gate_ticks
from twinphase_spec.frame import SlotClass
from twinphase_spec.symbols import SymbolConfig


@dataclass(frozen=True, eq=False)
class Gated:
    """Gated clicks: pulse, class, right port (bool), time."""

    pulse: NDArray[np.int64]
    slot_class: NDArray[np.uint8]
    right: NDArray[np.bool_]
    time: NDArray[np.int64]


def gated(link: Link, clicks: Clicks, band: str) -> Gated:
    """Clicks of a band in their gate, delays taken off."""
    channels = (0, 1) if band == "q" else (2, 3)
    chosen = clicks[np.isin(clicks.channels, channels)]
    time = chosen.times_ticks + np.array(delay_ticks(link.lab))[chosen.channels] - link.start_ticks
    pulse, position = np.divmod(time, link.period_ticks)
    start, stop = gate_ticks(link.lab, band)
    slot = pulse % link.frame.frame_pulses // link.frame.slot_pulses
    slot_class = band_classes(link.frame, band)[slot]
    keep = (pulse >= 0) & (position >= start) & (position < stop) & (slot_class != SlotClass.GUARD)
    right = chosen.channels == channels[1]
    swap = link.lab.server.swap_q if band == "q" else link.lab.server.swap_r
    return Gated(pulse[keep], slot_class[keep], right[keep] ^ swap, time[keep] + link.start_ticks)


def window_vectors(link: Link, clicks: Gated, windows: int) -> NDArray[np.complex128]:
    """(D0 - D2) + i (D3 - D1) of every window."""
    reference = clicks.slot_class >= SlotClass.REF0
    reference &= clicks.slot_class <= SlotClass.REF3
    step = clicks.slot_class[reference].astype(int) - SlotClass.REF0
    value = np.where(clicks.right[reference], -1, 1) * np.array([1, -1j, -1, 1j])[step]
    window = clicks.pulse[reference] // link.frame.window_pulses
    result = np.zeros(windows, dtype=complex)
    inside = window < windows
    np.add.at(result, window[inside], value[inside])
    return result


@dataclass(frozen=True, eq=False)
class Measured:
    """What the server finds. Heralds: pulse, right port, time, psi_q (rad)."""

    psi_r: NDArray[np.float64]
    psi_d: NDArray[np.float64]
    pulse: NDArray[np.int64]
    right: NDArray[np.bool_]
    time: NDArray[np.int64]
    psi_q: NDArray[np.float64]


def serve(link: Link, clicks: Clicks, dwindows: int) -> Measured:
    """Phases and heralds of the first ``dwindows`` d-windows (the clicks must reach their end)."""
    windows = dwindows * link.frame.windows_per_dwindow
    q, r = gated(link, clicks, "q"), gated(link, clicks, "r")
    psi_r = np.angle(window_vectors(link, r, windows))
    ratio = link.lab.bands.quantum_hz / link.lab.bands.reference_hz
    psi_rq = np.unwrap(psi_r) * ratio
    psi_d = np.angle((window_vectors(link, q, windows) * np.exp(-1j * psi_rq)).reshape(dwindows, -1).sum(axis=1))
    signal = q.slot_class == SlotClass.SIG
    pulse, first, count = np.unique(q.pulse[signal], return_index=True, return_counts=True)
    single = (count == 1) & (pulse < windows * link.frame.window_pulses)
    pulse, first = pulse[single], first[single]
    window = pulse // link.frame.window_pulses
    psi_q = psi_rq[window] + psi_d[window // link.frame.windows_per_dwindow]
    return Measured(psi_r, psi_d, pulse, q.right[signal][first], q.time[signal][first], psi_q)


@dataclass(frozen=True, eq=False)
class Sifted:
    """Counts of the sifter."""

    x_heralds: int
    x_kept: int
    x_errors: int
    z_alice: NDArray[np.uint8]
    z_bob: NDArray[np.uint8]


def sift(link: Link, measured: Measured, alice: SymbolConfig, bob: SymbolConfig, *, sign: int = 1) -> Sifted:
    """SNS sifting with real numbers; ``sign`` -1 takes psi with the wrong sign."""
    a, b = (symbols(config, measured.pulse.astype(np.uint64)) for config in (alice, bob))
    both_x = a.x & b.x & (a.intensity == b.intensity) & (a.intensity > 0)
    d = (a.slice.astype(float) - b.slice) * (2 * np.pi / 16) + sign * measured.psi_q
    half = np.radians(link.lab.protocol.slice_width_deg) / 2
    shifted = np.mod(d + half, 2 * np.pi)
    keep = both_x & (np.mod(shifted, np.pi) <= 2 * half)
    error = keep & (measured.right != (shifted >= np.pi))
    both_z = ~a.x & ~b.x
    return Sifted(
        int(both_x.sum()),
        int(keep.sum()),
        int(error.sum()),
        a.send[both_z].astype(np.uint8),
        (~b.send[both_z]).astype(np.uint8),
    )


def wrapped(angle: NDArray[np.float64]) -> NDArray[np.float64]:
    """Angle within half a turn of 0."""
    return (angle + np.pi) % (2 * np.pi) - np.pi
