"""Heralds leave a psi queue with the numbers with which they entered it, whatever is passed over; places for too few ends are rejected."""

import pytest
from herald_numbers_proof import HeraldNumbersProof
from sby import run_proof

pytestmark = pytest.mark.long


@pytest.mark.parametrize(("most", "ends"), [(2, 2), (3, 4), (8, 4)])
def test_numbers_are_kept(most: int, ends: int) -> None:
    """Long enough for both counts of the ends to wrap, and to fill the largest queue twice."""
    result = run_proof(HeraldNumbersProof(most=most, ends=ends), mode="bmc", depth=28, registers=True)
    assert result.status == "PASS", result.log[-2000:]


def test_too_few_ends_are_rejected() -> None:
    result = run_proof(HeraldNumbersProof(most=3, ends=2), mode="bmc", depth=28, registers=True)
    assert result.status == "FAIL", result.log[-2000:]
