"""Formal proof of the store that plays packets again, and wrong stores that it must reject."""

import pytest
from amaranth.hdl import Signal
from replay_store_proof import ReplayStoreProof
from sby import run_proof

from twinphase_hdl.link.replaystore import ReplayStore

pytestmark = pytest.mark.long


class CommitsElsewhere(ReplayStore):
    """Begins as if words had been kept."""

    def __init__(self, *, depth: int):
        super().__init__(depth=depth)
        self.committed = Signal(range(2 * depth), init=2)


class ForgetsTheOldest(ReplayStore):
    """Knows the oldest packet's place with a bit too few, and so takes full for empty."""

    def __init__(self, *, depth: int):
        super().__init__(depth=depth)
        self.written = Signal(range(depth))


def test_what_is_kept_stays() -> None:
    result = run_proof(ReplayStoreProof(), mode="prove", depth=2, registers=True)
    assert result.status == "PASS", result.log[-3000:]


@pytest.mark.parametrize("wrong", [CommitsElsewhere, ForgetsTheOldest])
def test_wrong_stores_are_rejected(wrong: type[ReplayStore]) -> None:
    result = run_proof(ReplayStoreProof(wrong, lemmas=False), mode="bmc", depth=20, registers=True)
    assert result.status == "FAIL", result.log[-2000:]
