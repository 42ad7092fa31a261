"""Takes two tags per clock, gives one."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.core.queue import FRONT_DEPTH, Queue
from twinphase_spec import tagger, units

from .merge import tag_layout
from .pairtime import whole_pair_layout


class PairQueue(wiring.Component):
    """The tags of the pairs at ``i`` one by one: ``tags[0]``, then, with ``both``, ``tags[1]``. Up to ``depth`` pairs wait.

    Parameters
    ----------
    time_bits, order_bits : int
        Of a tag; of bounds.
    depth : int
        Pairs: a power of two from 4.
    front_depth : int
        As of `Queue`.

    Members
    -------
    i : stream of `whole_pair_layout`
        ``ready`` comes from a register.
    i_bound : order_bits, ticks
        No tag that is at ``i`` or still to come is below it, modulo 2^order_bits.
    o : stream of Tag
    o_bound : order_bits, ticks
        No tag that is at ``o`` or still to come is below it: the time of the tag at ``o``; else that of the last one there or, if the
        queue was empty in the clock before, what ``i_bound`` was then.
    o_idle : 1
        No tag inside.

    Latency: `latency` = 2 clocks through an empty queue, 3 for the second of a pair. Throughput: a pair per clock in, a tag per clock
    out. Overflow: none; ``i.ready`` holds the sender.
    """

    latency = 2

    def __init__(
        self,
        *,
        time_bits: int = units.TIME_BITS,
        order_bits: int = tagger.ORDER_BITS,
        depth: int = tagger.PAIR_DEPTH,
        front_depth: int = FRONT_DEPTH,
    ):
        self._pair = whole_pair_layout(time_bits)
        # State, here so that a proof can speak of it.
        self.queue = Queue(width=self._pair.size, depth=depth, front_depth=front_depth)
        self.second = Signal()  # the first of the pair at the head has gone
        self._order_bits = order_bits
        super().__init__(
            {
                "i": In(stream.Signature(self._pair)),
                "i_bound": In(order_bits),
                "o": Out(stream.Signature(tag_layout(time_bits))),
                "o_bound": Out(order_bits),
                "o_idle": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.queue = queue = self.queue
        i, o = self.i, self.o
        pair = Signal(self._pair)
        second = self.second
        leaves = Signal()
        m.d.comb += [
            i.ready.eq(~queue.o_full),
            queue.i_push.eq(i.valid & i.ready),
            queue.i_data.eq(i.payload),
            pair.eq(queue.o_head),
            o.valid.eq(queue.o_valid),
            o.payload.eq(Mux(second, pair.tags[1], pair.tags[0])),
            leaves.eq(o.valid & o.ready),
            queue.i_pop.eq(leaves & (~pair.both | second)),
            self.o_idle.eq(queue.o_level == 0),
        ]
        with m.If(leaves):
            m.d.sync += second.eq(pair.both & ~second)

        # While pairs are on their way to the head, the last tag there stands for them.
        before = Signal(self._order_bits)
        m.d.comb += self.o_bound.eq(Mux(o.valid, o.payload.time[: self._order_bits], before))
        with m.If(o.valid | self.o_idle):
            m.d.sync += before.eq(Mux(o.valid, self.o_bound, self.i_bound))
        return m
