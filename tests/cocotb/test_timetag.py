"""Gateware of core and timetag against the model, on one shelf."""

import pytest

from rigs import timetag_shelf
from runner import Verilator, build, run


@pytest.fixture(scope="module")
def shelf() -> Verilator:
    return build("timetag", timetag_shelf())


@pytest.mark.parametrize("bench", ["bench_timebase", "bench_framer", "bench_tagger", "bench_source"])
def test_bench(shelf: Verilator, bench: str) -> None:
    run(shelf, "timetag", bench)
