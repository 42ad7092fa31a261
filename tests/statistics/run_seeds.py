"""Seeds of the statistics tests: printed (shown when a test fails) and set with the variable TWINPHASE_SEED."""

from __future__ import annotations

import os


def run_seed(default: int) -> int:
    """The seed to use."""
    seed = int(os.environ.get("TWINPHASE_SEED", default))
    print(f"seed {seed} (set TWINPHASE_SEED to change it)")
    return seed
