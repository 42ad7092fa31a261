"""Formal proof that the merge loses, duplicates and reorders nothing, and wrong merges that it must reject."""

import pytest
from amaranth.hdl import Const
from proofs import ChannelProof, IndirectQueueProof, MergeProof, QueueProof
from sby import run_proof

from twinphase_hdl.timetag.merge import Merge

pytestmark = pytest.mark.long

DEPTHS = {QueueProof: 4, IndirectQueueProof: 4, ChannelProof: 8, MergeProof: 2}
"""Induction over so many clocks; the channel's is longer than its configuration takes to act."""


class IgnoresHorizon(Merge):
    """Lets every head go at once."""

    def _released(self, time):
        return Const(1)


class LetsHigherChannelFirst(Merge):
    """Wrong order of equal times."""

    def _before(self, a, a_channel, b, b_channel):
        return self._below(a, b) if a_channel < b_channel else ~self._below(b, a)


class DoesNotWait(Merge):
    """Ignores entries on their way to a head."""

    def _waits(self, head_valid):
        return Const(0)


class ComparesUnsigned(Merge):
    """Forgets that times wrap."""

    def _below(self, a, b):
        return a < b


@pytest.mark.parametrize("proof", DEPTHS)
def test_nothing_lost_duplicated_or_reordered(proof) -> None:
    result = run_proof(proof(), mode="prove", depth=DEPTHS[proof])
    assert result.status == "PASS", result.log[-2000:]


@pytest.mark.parametrize("wrong", [IgnoresHorizon, LetsHigherChannelFirst, DoesNotWait, ComparesUnsigned])
def test_wrong_merges_are_rejected(wrong: type[Merge]) -> None:
    result = run_proof(MergeProof(wrong, channels=2, lemmas=False), mode="bmc", depth=8)
    assert result.status == "FAIL", result.log[-2000:]
