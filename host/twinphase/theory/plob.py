"""The repeaterless bound on point-to-point key distribution."""

from __future__ import annotations

import math


def plob_bound(transmittance: float) -> float:
    """``-log2(1 - eta)`` bit per channel use (Pirandola, Laurenza, Ottaviani, Banchi, Nat. Commun. 8, 15043 (2017)).

    ``transmittance``: of the whole channel between the users (both arms of a twin-field link), with or without the detector's
    efficiency: state which. Per clock slot when every slot, references included, counts as a use. ValueError outside
    of 0 to below 1.
    """
    if not 0 <= transmittance < 1:
        raise ValueError(f"plob: transmittance is {transmittance}; allowed: 0 to below 1")
    return -math.log1p(-transmittance) / math.log(2)
