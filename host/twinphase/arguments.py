"""Checks of numbers from a command line, in one sentence each."""

from __future__ import annotations

import math

from .errors import TwinphaseError


def check_positive(option: str, value: float | None) -> None:
    """Refuse a number that is not finite and above 0; None (not given) passes. Raises TwinphaseError."""
    if value is not None and not (value > 0 and math.isfinite(value)):
        raise TwinphaseError(f"{option} is {value:g}; allowed: more than 0, and finite")


def check_seed(value: int) -> None:
    """Refuse a negative seed. Raises TwinphaseError."""
    if value < 0:
        raise TwinphaseError(f"--seed is {value}; allowed: 0 and up")
