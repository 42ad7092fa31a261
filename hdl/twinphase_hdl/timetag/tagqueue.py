"""A channel's tags in order, queued, and their lower bound."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.core.queue import FRONT_DEPTH, Queue

from .front import Front
from .sizes import Sizes


class TagQueue(wiring.Component):
    """``t = max(i_time, t of the last tag queued)``, into a queue; what leaves is a `Front`.

    Corrections differ by less than a clock, so that a tag can only be before that of the slot before it: times of other tags, and the
    high bits, need no comparison. (A change of the delay may put the next tag before the last one.)

    The time of a slot becomes the bound when no tag before it is behind the queue's head, which shows the bound when there is no tag. The
    bound of an absent channel lies a quarter of the range ahead: it holds nobody up.

    Parameters
    ----------
    lanes : int
    depth, front_depth : int
        Of the `Queue`, whose head is the front.

    Members
    -------
    i_tag, i_time, i_absent : 1, order_bits, 1
        The slot; without a tag, no later tag's ``i_time`` is below this one.
    o : Front
        Without channel.
    o_queued, o_dropped : 1
        Strobes, in the clock after the slot.
    o_busy : 1

    Latency: `latency` = 3 clocks from a tag to an idle front, 2 from a bound.
    Throughput: one tag per clock. Overflow: a tag that finds ``depth`` tags in the queue is dropped.
    """

    latency = 3

    def __init__(self, *, lanes: int, depth: int, sizes: Sizes, front_depth: int = FRONT_DEPTH):
        front = Front(order_bits=sizes.order_bits, channel_bits=0)
        super().__init__(
            {
                "i_tag": In(1),
                "i_time": In(sizes.order_bits),
                "i_absent": In(1),
                "o": Out(front),
                "o_queued": Out(1),
                "o_dropped": Out(1),
                "o_busy": Out(1),
            }
        )
        self._bits = sizes.order_bits
        self._since_bits = min(sizes.near_bits(lanes) + 2, sizes.order_bits)
        # State, here so that a proof can speak of it.
        self.queue = Queue(width=sizes.order_bits, depth=depth, front_depth=front_depth, with_rest=True)
        self.tag = Signal()
        self.time = Signal(sizes.order_bits)
        self.bound = Signal.like(self.o.time)

    def elaborate(self, platform):
        m = Module()
        m.submodules.queue = queue = self.queue
        top = self._bits - 1

        # Successive slots' tags are less than half the range of `since` apart.
        since = Signal(self._since_bits)
        m.d.comb += since.eq(self.i_time - self.time)
        time = Signal.like(self.time)
        m.d.comb += time.eq(Mux(self.o_queued & self.i_tag & since[-1], self.time, self.i_time))
        m.d.sync += [self.tag.eq(self.i_tag), self.time.eq(time)]
        m.d.comb += [
            self.o_queued.eq(self.tag & ~queue.o_full),
            self.o_dropped.eq(self.tag & queue.o_full),
            queue.i_push.eq(self.o_queued),
            queue.i_data.eq(self.time),
            queue.i_pop.eq(queue.o_valid & self.o.ready),
            queue.i_rest.eq(self.bound),
            self.o.valid.eq(queue.o_valid),
            self.o.time.eq(queue.o_head),
        ]
        # Nothing is behind the head: when that has gone, the slot's time is the newest bound, also that of a tag. One that is being
        # queued is there when the head looks at the bound.
        behind = Signal()
        m.d.comb += behind.eq(queue.front_valid | queue.unread | queue.loaded | queue.staged)
        with m.If(~behind):
            m.d.sync += self.bound.eq(Cat(time[: top - 1], time[top - 1 :] + self.i_absent))
        m.d.comb += self.o_busy.eq(queue.o_valid | behind | self.tag)
        return m
