"""Heralds leave a psi queue with the numbers with which they entered it, whatever is passed over; too few ends are rejected."""

import pytest
from herald_numbers_proof import HeraldNumbersProof
from sby import run_proof

CLOCKS = 14
pytestmark = pytest.mark.long


@pytest.mark.parametrize(("most", "ends"), [(2, 2), (3, 4)])
def test_numbers_are_kept(most: int, ends: int) -> None:
    """In so many clocks up to four ends enter, so that the places of two are used twice."""
    result = run_proof(HeraldNumbersProof(most=most, ends=ends), mode="bmc", depth=CLOCKS, registers=True)
    assert result.status == "PASS", result.log[-2000:]


def test_too_few_ends_are_rejected() -> None:
    result = run_proof(HeraldNumbersProof(most=3, ends=2), mode="bmc", depth=CLOCKS, registers=True)
    assert result.status == "FAIL", result.log[-2000:]
