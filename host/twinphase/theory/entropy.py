"""Binary entropy, shared by key rates and bounds."""

from __future__ import annotations

import math


def binary_entropy(probability: float) -> float:
    """``H(p) = -p log2 p - (1-p) log2 (1-p)`` in bit, H(0) = H(1) = 0. ValueError outside of 0 to 1."""
    if not 0 <= probability <= 1:
        raise ValueError(f"binary entropy of {probability}; allowed: 0 to 1")
    if probability in (0, 1):
        return 0.0
    return -probability * math.log2(probability) - (1 - probability) * math.log2(1 - probability)
