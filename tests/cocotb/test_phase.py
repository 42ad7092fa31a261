"""Gateware of phase and of the server's part of sift, and the whole server core, against the model, on one shelf."""

import pytest

from rigs import phase_shelf
from runner import Verilator, build, run


@pytest.fixture(scope="module")
def shelf() -> Verilator:
    return build("phase", phase_shelf())


@pytest.mark.parametrize("bench", ["bench_phase", "bench_herald", "bench_server"])
def test_bench(shelf: Verilator, bench: str) -> None:
    run(shelf, "phase", bench)
