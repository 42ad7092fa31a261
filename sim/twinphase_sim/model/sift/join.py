"""Psi join: the final psi_q of every herald whose d-window is closed. Source: ``phase.join`` of docs/contract.md."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from twinphase_sim.model.phase.tracker import Track
from twinphase_sim.model.sift.herald import Heralds
from twinphase_spec.packets import FLAG_D_VALID, FLAG_R_VALID, PSI_DTYPE


def join_psi(heralds: Heralds, track: Track) -> NDArray[np.void]:
    """PSI records, ``psi_q = (psi_rq(w) + psi_d(W)) mod 2^16``; ``track`` begins with window 0 of the frame."""
    count = int(np.count_nonzero(heralds.dwindow < track.dphase.size))  # d-windows rise with the numbers
    window, dwindow = heralds.window[:count], heralds.dwindow[:count]
    records = np.zeros(count, dtype=PSI_DTYPE)
    records["number"] = heralds.records["number"][:count]
    records["psi_turns"] = track.psi_rq[window] + track.psi_d[dwindow]
    records["flags"] = track.r_valid[window] * FLAG_R_VALID | track.d_valid[dwindow] * FLAG_D_VALID
    return records
