"""Gateware of phase and of the server's part of sift, and the whole server core, against the model, on one shelf.

The stimulus is random from a seed, TWINPHASE_SEED or 1; a failure prints it.
"""

import os

import pytest

from rigs import phase_shelf
from runner import Verilator, build, run

SEED = int(os.environ.get("TWINPHASE_SEED", "1"))


@pytest.fixture(scope="module")
def shelf() -> Verilator:
    return build("phase", phase_shelf())


@pytest.mark.parametrize("bench", ["bench_phase", "bench_herald", "bench_server"])
def test_bench(shelf: Verilator, bench: str) -> None:
    print(f"TWINPHASE_SEED={SEED}")
    run(shelf, "phase", bench, seed=SEED)
