"""Gateware of core and timetag against the model, on one shelf.

The stimulus is random from a seed, TWINPHASE_SEED or 1; a failure prints it.
"""

import os

import pytest

from rigs import timetag_shelf
from runner import Verilator, build, run

SEED = int(os.environ.get("TWINPHASE_SEED", "1"))


@pytest.fixture(scope="module")
def shelf() -> Verilator:
    return build("timetag", timetag_shelf())


@pytest.mark.parametrize("bench", ["bench_timebase", "bench_framer", "bench_tagger", "bench_source"])
def test_bench(shelf: Verilator, bench: str) -> None:
    print(f"TWINPHASE_SEED={SEED}")
    run(shelf, "timetag", bench, seed=SEED)
