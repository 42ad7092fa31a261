"""Formal proof of the queue behind a QRNG's pins, and wrong queues that it must reject."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from qrng_queue_proof import QrngQueueProof
from rejection import rejected, wrong
from sby import run_proof

from twinphase_hdl.sift import qrngqueue

pytestmark = pytest.mark.long

WRONG = {
    "a word twice": (
        "taken_next.eq(self.taken + (waits & moves))",
        "taken_next.eq(self.taken + (waits & self.o.ready))",
    ),
    "a word that never came": ("self.taken_gray != self.written_seen, ~held", "self.started.any(), ~held"),
}
FULL = {
    "pause a clock too late": ("self.limit = depth - slack - UNDER_WAY_WORDS", "self.limit = depth - slack - 4", True),
    "a word over another": ("self.i_valid & self.started[-1] & ~self.full", "self.i_valid & self.started[-1]", False),
}
"""Code, what stands in its place, and whether the generator keeps the slack. A solver takes minutes until the queue is full."""


@pytest.mark.parametrize("keeps", [True, False])
def test_nothing_lost_duplicated_or_reordered(keeps: bool) -> None:
    """With a generator that does not keep the slack words are lost, but none is read twice, changed, or out of order."""
    result = run_proof(QrngQueueProof(keeps=keeps), mode="prove", depth=4)
    assert result.status == "PASS", result.log[-2000:]


@pytest.mark.parametrize("what", WRONG)
def test_wrong_queues_are_rejected(what: str) -> None:
    result = run_proof(QrngQueueProof(wrong(qrngqueue, "QrngQueue", *WRONG[what]), lemmas=False), mode="bmc", depth=18)
    assert result.status == "FAIL", result.log[-2000:]


def drive(draw: random.Random, proof: Any) -> Callable[[Any], None]:
    """A generator that sends whenever it may, or always, and a reader that has stopped or takes now and then."""
    takes = draw.choice((0.0, 0.3))

    def step(context: Any) -> None:
        context.set(proof.valid, 1)
        context.set(proof.word, draw.getrandbits(QrngQueueProof.WIDTH))
        context.set(proof.ready, draw.random() < takes)
        context.set(proof.mark, draw.random() < 0.2)

    return step


@pytest.mark.parametrize("keeps", [True, False])
def test_the_right_queue_is_not_rejected(keeps: bool) -> None:
    proof = QrngQueueProof(keeps=keeps, lemmas=False)
    assert not rejected(proof, drive, runs=20, clocks=60)


@pytest.mark.parametrize("what", FULL)
def test_queues_that_are_wrong_when_full_are_rejected(what: str) -> None:
    right, instead, keeps = FULL[what]
    proof = QrngQueueProof(wrong(qrngqueue, "QrngQueue", right, instead), keeps=keeps, lemmas=False)
    assert rejected(proof, drive, runs=20, clocks=60)
