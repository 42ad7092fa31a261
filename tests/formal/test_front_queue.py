"""Formal proof of the queue of fronts, and wrong queues that it must reject."""

import pytest
from amaranth.hdl import Signal
from front_queue_proof import FrontQueueProof
from sby import run_proof

from twinphase_hdl.timetag.frontqueue import FrontQueue

pytestmark = pytest.mark.long


class FullTooLate(FrontQueue):
    """Takes a tag more than there are places."""

    def __init__(self, **sizes):
        super().__init__(**sizes)
        self.level = Signal(range(2 * sizes["depth"] + 1))


class BeginsElsewhere(FrontQueue):
    """Gives what is before the first tag."""

    def __init__(self, **sizes):
        super().__init__(**sizes)
        self.read_index = Signal.like(self.read_index, init=1)


class KeepsWaiting(FrontQueue):
    """Begins as if a tag waited."""

    def __init__(self, **sizes):
        super().__init__(**sizes)
        self.waits = Signal(init=1)


def test_nothing_lost_duplicated_or_reordered() -> None:
    result = run_proof(FrontQueueProof(), mode="prove", depth=2)
    assert result.status == "PASS", result.log[-2000:]


@pytest.mark.parametrize("wrong", [FullTooLate, BeginsElsewhere, KeepsWaiting])
def test_wrong_queues_are_rejected(wrong: type[FrontQueue]) -> None:
    result = run_proof(FrontQueueProof(wrong, lemmas=False), mode="bmc", depth=10)
    assert result.status == "FAIL", result.log[-2000:]
