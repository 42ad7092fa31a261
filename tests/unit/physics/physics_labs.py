"""Small labs and keys for the tests of the physics."""

from __future__ import annotations

from typing import Any

from twinphase_spec.configure import symbol_config
from twinphase_spec.lab import Lab, load_lab
from twinphase_spec.symbols import SymbolConfig


def changed(lab: Lab, **changes: Any) -> Lab:
    """The lab with other values; nested keys with two underscores: ``fibre__drift_rad_per_s=1.0``."""
    data = lab.model_dump()
    for key, value in changes.items():
        *path, last = key.split("__")
        part = data
        for name in path:
            part = part[name]
        part[last] = value
    return Lab.model_validate(data)


def both_clients(**values: float) -> dict[str, float]:
    """Changes of both clients alike."""
    return {f"clients__{user}__{key}": value for user in ("alice", "bob") for key, value in values.items()}


def short_lab(**changes: Any) -> Lab:
    """A short link with unequal arms: 125 MHz, a table of single-pulse slots with every class, about 2 % clicks per pulse."""
    classes = ["SIG", "REF0", "REF1", "SIG", "REF2", "REF3", "REF_A", "REF_B", "VAC", "GUARD", "SIG", "SIG"]
    slots = [{"q": q, "r": r, "repeat": 1} for q, r in zip(classes, classes[3:] + classes[:3], strict=True)]
    values: dict[str, Any] = {
        "frame__slots": slots,
        "frame__slot_pulses": 2,
        "frame__frames_per_window": 1000,
        "fibre__extra_loss_b_db": 5.0,
        "fibre__drift_rad_per_s": 4000.0,
        "lasers__visibility": 0.9,
        **both_clients(mu_0=0.02, mu_1=0.1, mu_2=0.3, mu_z=0.5, reference_q=0.3, reference_r=0.2),
    }
    return changed(load_lab("metro-50km"), **(values | changes))


def symbol_configs(lab: Lab) -> tuple[SymbolConfig, SymbolConfig]:
    """Generators of Alice and Bob under two fixed keys."""
    return symbol_config(lab.clients.alice, (11, 22, 33, 44)), symbol_config(lab.clients.bob, (55, 66, 77, 88))
