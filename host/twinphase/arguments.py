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


def host_and_port(option: str, text: str, *, host: str | None = None, port: int | None = None) -> tuple[str, int]:
    """``HOST:PORT``, where ``host`` or ``port`` is given also without that part. Raises TwinphaseError."""
    name, colon, number = text.rpartition(":")
    if not colon:
        name, number = ("", text) if host is not None else (text, "")
    name, number = name or (host or ""), number or ("" if port is None else str(port))
    if not name or not number.isascii() or not number.isdigit() or int(number) > 65535:
        parts = "[HOST:]PORT" if host is not None else "HOST[:PORT]" if port is not None else "HOST:PORT"
        raise TwinphaseError(f"{option} is {text!r}; allowed: {parts}, a port up to 65535")
    return name, int(number)
