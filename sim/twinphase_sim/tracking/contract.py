"""What the judge asks of an estimator: two compiled functions, a state and constants.

``update(state, constants, clock, reference_rad, port)`` takes one click, in place: the clock of 125 MHz in which it came (they never
fall), what the reference and the shifter add to psi, ``reference_rad = k pi/2 + shift``, and the port, 0 for L and 1 for R.

``predict(state, constants, clock) -> (phase_rad, locked)`` is the estimate of psi at a clock at or after the last click, from all
clicks so far; it must not change the state. ``locked`` is False until there is an estimate worth steering by.

State and constants are numpy arrays of any dtype, so a fixed-point model fits in as well as a floating-point one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Estimator:
    """One estimator, ready to start."""

    name: str
    update: Callable[[NDArray[Any], NDArray[Any], int, float, int], None]
    predict: Callable[[NDArray[Any], NDArray[Any], int], tuple[float, bool]]
    state: NDArray[Any]
    """As after a reset; every run works on a copy."""
    constants: NDArray[Any]
