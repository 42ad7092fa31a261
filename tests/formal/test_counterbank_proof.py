"""Bounded proof that the counter bank loses and adds nothing, and that the proof can fail."""

import pytest
from counterbank_proof import CounterBankProof
from sby import run_proof

pytestmark = pytest.mark.long

DEPTH = 46
"""Clocks: more than three sweeps of 13."""


def test_counts_are_conserved() -> None:
    result = run_proof(CounterBankProof(), mode="bmc", depth=DEPTH)
    assert result.status == "PASS", result.log[-2000:]


def test_a_step_lost_at_the_capture_is_found() -> None:
    result = run_proof(CounterBankProof(wrong=True), mode="bmc", depth=DEPTH)
    assert result.status == "FAIL", result.log[-2000:]
