"""The seed lab with a short flight and small blocks, so that heralds are sifted within milliseconds of lab time."""

from __future__ import annotations

from twinphase_spec.lab import Lab, load_lab
from twinphase_spec.lab_tracking import Tracking


def small_lab() -> Lab:
    """20 km arms of the loss of 185 km; blocks of 32 heralds; d-windows of two windows, or psi 0.16 ms after its herald."""
    lab = load_lab("seed-370km")
    fibre = lab.fibre
    return lab.model_copy(
        update={
            "name": "small",
            "fibre": fibre.model_copy(
                update={
                    "length_a_km": 20.0,
                    "length_b_km": 20.0,
                    "attenuation_db_per_km": fibre.attenuation_db_per_km * fibre.length_a_km / 20,
                }
            ),
            "frame": lab.frame.model_copy(update={"windows_per_dwindow": 2}),
            "tracking": Tracking(most_lag_s=2e-4),
            "protocol": lab.protocol.model_copy(update={"block_heralds": 32}),
        }
    )
