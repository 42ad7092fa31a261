"""Formal proof of the queue between a wide merge and what takes one tag per clock, and wrong queues that it must reject."""

import pytest
from pair_queue_proof import PairQueueProof
from rejection import wrong
from sby import run_proof

from twinphase_hdl.timetag import pairqueue

pytestmark = pytest.mark.long

WRONG = {
    "both at once": ("queue.i_pop.eq(leaves & (~pair.both | second))", "queue.i_pop.eq(leaves)"),
    "second first": ("Mux(second, pair.tags[1], pair.tags[0])", "Mux(second, pair.tags[0], pair.tags[1])"),
    "single twice": ("second.eq(pair.both & ~second)", "second.eq(~second)"),
    "takes when full": ("i.ready.eq(~queue.o_full)", "i.ready.eq(1)"),
}


def test_nothing_lost_duplicated_or_reordered() -> None:
    result = run_proof(PairQueueProof(), mode="prove", depth=4)
    assert result.status == "PASS", result.log[-2000:]


@pytest.mark.parametrize("what", WRONG)
def test_wrong_queues_are_rejected(what: str) -> None:
    queue = wrong(pairqueue, "PairQueue", *WRONG[what])
    result = run_proof(PairQueueProof(queue, lemmas=False), mode="bmc", depth=12)
    assert result.status == "FAIL", result.log[-2000:]
