"""Proof that a `PairQueue` loses, duplicates, changes and reorders no tag of the pairs that come, and that it holds what it offers.

By induction, from any state that the lemmas allow: it holds for runs of any length. Widths and depth are small, the code is that of
the large ones. What the bounds promise is left to the tests by simulation.
"""

from amaranth.hdl import Assert, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In
from queue_counts import assert_counts, assert_place

from twinphase_hdl.timetag.pairqueue import PairQueue
from twinphase_hdl.timetag.pairtime import whole_pair_layout


class PairQueueProof(wiring.Component):
    """One pair that comes, any one, is followed (``mark``); ``position`` is the number of pairs before it."""

    TIME_BITS, ORDER_BITS, DEPTH, FRONT_DEPTH = 3, 2, 4, 2

    def __init__(self, queue: type[PairQueue] = PairQueue, *, lemmas: bool = True):
        super().__init__({"valid": In(1), "pair": In(whole_pair_layout(self.TIME_BITS)), "ready": In(1), "mark": In(1)})
        self._lemmas = lemmas
        self._pairs = queue(
            time_bits=self.TIME_BITS, order_bits=self.ORDER_BITS, depth=self.DEPTH, front_depth=self.FRONT_DEPTH
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.pairs = pairs = self._pairs
        queue = pairs.queue
        i, o = pairs.i, pairs.o
        shown = Signal.like(Value.cast(o.payload))
        m.d.comb += [
            i.valid.eq(self.valid),
            i.payload.eq(self.pair),
            o.ready.eq(self.ready),
            shown.eq(o.payload),
        ]
        comes, leaves = i.valid & i.ready, o.valid & o.ready

        held, offered = Signal(), Signal.like(shown)
        m.d.sync += [held.eq(o.valid & ~o.ready), offered.eq(shown)]
        m.d.comb += Assert(~held | (o.valid & (shown == offered)), "did not hold")

        marked, second = Signal(), Signal()  # second: the first of the pair that is followed has left
        position = Signal.like(queue.o_level)
        value = Signal.like(Value.cast(self.pair))
        tags = whole_pair_layout(self.TIME_BITS)(value)
        with m.If(self.mark & comes & ~marked):
            m.d.sync += [marked.eq(1), second.eq(0), value.eq(self.pair), position.eq(queue.o_level - queue.i_pop)]
        with m.Elif(marked & leaves):
            with m.If(position != 0):
                m.d.sync += position.eq(position - queue.i_pop)
            with m.Else():
                m.d.comb += Assert(shown == Mux(second, tags.tags[1], tags.tags[0]), "changed, lost or out of order")
                m.d.comb += Assert(queue.i_pop == (second == tags.both), "half of a pair, or a single tag twice")
                m.d.sync += [second.eq(1), marked.eq(tags.both & ~second)]
        m.d.comb += Assert(pairs.o_idle == (queue.o_level == 0), "idle with a tag inside, or never")
        if self._lemmas:
            counts = assert_counts(m, queue, depth=self.DEPTH, front_depth=self.FRONT_DEPTH)
            assert_place(m, queue, counts, marked=marked, position=position, value=value)
            m.d.comb += Assert(~pairs.second | (queue.o_valid & queue.o_head[-1]), "second of a single tag, or of none")
            with m.If(marked):
                m.d.comb += [
                    Assert(~second | ((position == 0) & tags.both), "its second"),
                    Assert((position != 0) | (second == pairs.second), "which of the two"),
                ]
        return m
