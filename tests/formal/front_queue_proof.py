"""Proof that a `FrontQueue` loses, duplicates, changes and reorders nothing, and that a bound it shows is one that it was given.

By induction, from any state that the lemmas allow: it holds for runs of any length. Width and depth are small, the code is that of
the large ones.
"""

from amaranth.hdl import Assert, Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from twinphase_hdl.timetag.frontqueue import FrontQueue


class FrontQueueProof(wiring.Component):
    """One tag that comes, any one, is followed (``mark``); ``position`` is the number of tags before it.

    ``lemmas=False`` leaves out what is said of the inside, for wrong queues in bounded runs.
    """

    DEPTH, ORDER_BITS, CHANNEL_BITS = 4, 3, 1

    def __init__(self, queue: type[FrontQueue] = FrontQueue, *, lemmas: bool = True):
        super().__init__(
            {
                "valid": In(1),
                "time": In(self.ORDER_BITS),
                "channel": In(self.CHANNEL_BITS),
                "ready": In(1),
                "mark": In(1),
            }
        )
        self._queue = queue(order_bits=self.ORDER_BITS, channel_bits=self.CHANNEL_BITS, depth=self.DEPTH)
        self._lemmas = lemmas

    def elaborate(self, platform):
        m = Module()
        m.submodules.queue = queue = self._queue
        i, o = queue.i, queue.o
        peek = queue.memory.read_port(domain="comb")
        m.d.comb += [i.valid.eq(self.valid), i.time.eq(self.time), i.channel.eq(self.channel), o.ready.eq(self.ready)]
        comes, leaves = i.valid & i.ready, o.valid & o.ready

        inside = Signal(range(self.DEPTH + 3))
        m.d.sync += inside.eq(inside + comes - leaves)
        m.d.comb += [
            Assert(inside <= self.DEPTH + 1, "more than there are places"),
            Assert(o.valid == (inside != 0), "lost, duplicated or late"),
            Assert(i.ready | (inside == self.DEPTH + 1), "held without need"),
        ]
        began, held = Signal(), Signal()
        given, shown = Signal(self.ORDER_BITS), Signal(self.ORDER_BITS + self.CHANNEL_BITS)
        m.d.sync += [began.eq(1), given.eq(i.time), held.eq(o.valid & ~o.ready), shown.eq(Cat(o.time, o.channel))]
        m.d.comb += [
            Assert(~began | o.valid | (o.time == given), "a bound that was not shown, or not the newest"),
            Assert(~held | (o.valid & (Cat(o.time, o.channel) == shown)), "did not hold"),
        ]

        marked, position = Signal(), Signal.like(inside)
        value = Signal.like(shown)
        with m.If(self.mark & comes & ~marked):
            m.d.sync += [marked.eq(1), value.eq(Cat(i.time, i.channel)), position.eq(inside - leaves)]
        with m.Elif(marked & leaves):
            m.d.sync += [position.eq(position - 1), marked.eq(position != 0)]
            m.d.comb += Assert((position != 0) | (Cat(o.time, o.channel) == value), "changed")
        if self._lemmas:
            m.d.comb += [
                Assert(inside == queue.level + o.valid, "level"),
                Assert(queue.level <= self.DEPTH, "depth"),
                Assert(queue.waits == (queue.level != 0), "waits"),
                Assert(
                    (queue.write_index - queue.read_index)[: len(queue.read_index)]
                    == queue.level[: len(queue.read_index)],
                    "indices",
                ),
                peek.addr.eq(queue.read_index + position - 1),
                Assert(~marked | (position < inside), "position"),
                Assert(~marked | (Mux(position == 0, Cat(o.time, o.channel), peek.data) == value), "where it waits"),
            ]
        return m
