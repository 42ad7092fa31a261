"""Formal proof of the merge tree's node, and wrong nodes that it must reject."""

import pytest
from amaranth.hdl import Module, Mux, Signal
from merge_node_proof import MergeNodeProof
from sby import run_proof

from twinphase_hdl.timetag.front import FrontBuffer
from twinphase_hdl.timetag.mergenode import MergeNode

pytestmark = pytest.mark.long


class LetsHigherChannelFirst(MergeNode):
    """Wrong order of equal times."""

    def _left_first(self, left, right):
        return (left - right)[len(left) - 1]


class ComparesUnsigned(MergeNode):
    """Forgets that times wrap."""

    def _left_first(self, left, right):
        return left <= right


class IgnoresBounds(MergeNode):
    """Lets a tag go that is alone."""

    def _left_first(self, left, right):
        return Mux(self.i_left.valid & self.i_right.valid, super()._left_first(left, right), self.i_left.valid)


class TakesTheLater(MergeNode):
    def _left_first(self, left, right):
        return ~super()._left_first(left, right)


class ForgetsWhatIsHeld(FrontBuffer):
    """One place, always ready."""

    def elaborate(self, platform):
        m = Module()
        i, o = self.i, self.o
        m.d.comb += i.ready.eq(1)
        with m.If(~o.valid | o.ready | i.valid):
            m.d.sync += [o.valid.eq(i.valid), o.time.eq(i.time), o.channel.eq(i.channel)]
        return m


class ShowsBoundsOfTheLater(FrontBuffer):
    """A bound that is higher than what it was given."""

    def elaborate(self, platform):
        m = Module()
        i, o = self.i, self.o
        free = Signal()
        m.d.comb += [i.ready.eq(free), free.eq(~o.valid | o.ready)]
        with m.If(free):
            m.d.sync += [o.valid.eq(i.valid), o.time.eq(Mux(i.valid, i.time, i.time + 1)), o.channel.eq(i.channel)]
        return m


def _with_buffer(buffer: type[FrontBuffer]):
    def make(*, order_bits: int, left_bits: int, right_bits: int) -> MergeNode:
        node = MergeNode(order_bits=order_bits, left_bits=left_bits, right_bits=right_bits)
        node.buffer = buffer(order_bits=order_bits, channel_bits=left_bits + 1)
        return node

    return make


WRONG = {
    "higher channel first": LetsHigherChannelFirst,
    "unsigned": ComparesUnsigned,
    "ignores bounds": IgnoresBounds,
    "the later": TakesTheLater,
    "forgets": _with_buffer(ForgetsWhatIsHeld),
    "high bounds": _with_buffer(ShowsBoundsOfTheLater),
}


def test_nothing_lost_duplicated_or_reordered() -> None:
    result = run_proof(MergeNodeProof(), mode="prove", depth=2)
    assert result.status == "PASS", result.log[-2000:]


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_nodes_are_rejected(wrong: str) -> None:
    result = run_proof(MergeNodeProof(WRONG[wrong], lemmas=False), mode="bmc", depth=10)
    assert result.status == "FAIL", result.log[-2000:]
