"""One detector's edges: dead time, delay, queue."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.timetag.queue import TagQueue
from twinphase_spec import units

QUEUE_DEPTH = 512
DELAY_BITS = 22
DEAD_TIME_BITS = 32


class Channel(wiring.Component):
    """Drops edges within the dead time, adds the delay and queues the tag.

    ``t0 = i_clock * 8192 + fine``. An edge is dead if ``(t0 - t_last) mod 2^64 < dead_time`` with t_last the t0 of the last edge
    that was not dead; the first edge is never dead. Others are queued with ``t0 + delay`` (mod 2^64), or dropped if the queue is full.

    The comparison is made without the difference: with the end ``e = t_last + dead_time`` kept in a register,
    an edge is dead if t0 is in [t_last, e), the interval taken modulo 2^64.

    Members
    -------
    i_clock : 51, clock count that the edge belongs to
    i_valid, i_fine : 1, 13 ticks
    i_enable : 1
        Without it, edges do not exist.
    i_dead_time, i_delay : 32 and signed 22, ticks
        A dead time acts one clock after it changes. A change of delay can put two tags out of order.
    o_valid, o_time, o_pending, i_take : head of the queue, as in `TagQueue`
    o_seen, o_dead, o_dropped, o_queued : 1
        Strobes in the clock after the edge: seen, and exactly one of the others.
    o_idle : 1
        Queue empty and no strobe.

    Latency: 1 clock to an empty queue's head. Throughput: one edge per clock.
    Overflow: a full queue drops the edge, which still starts the dead time.
    """

    def __init__(
        self,
        *,
        depth: int = QUEUE_DEPTH,
        time_bits: int = units.TIME_BITS,
        fine_bits: int = units.FRACTION_BITS,
        delay_bits: int = DELAY_BITS,
        dead_time_bits: int = DEAD_TIME_BITS,
    ):
        if not 0 < fine_bits < time_bits or delay_bits >= time_bits or dead_time_bits >= time_bits:
            raise ValueError(
                f"Channel: fine_bits {fine_bits}, delay_bits {delay_bits} and dead_time_bits {dead_time_bits}; "
                f"allowed: below time_bits ({time_bits})"
            )
        super().__init__(
            {
                "i_clock": In(time_bits - fine_bits),
                "i_valid": In(1),
                "i_fine": In(fine_bits),
                "i_enable": In(1),
                "i_dead_time": In(dead_time_bits),
                "i_delay": In(signed(delay_bits)),
                "o_valid": Out(1),
                "o_time": Out(time_bits),
                "o_pending": Out(1),
                "i_take": In(1),
                "o_seen": Out(1),
                "o_dead": Out(1),
                "o_dropped": Out(1),
                "o_queued": Out(1),
                "o_idle": Out(1),
            }
        )
        self._time_bits = time_bits
        # State, here so that a proof can speak of it.
        self.last = Signal(time_bits)
        self.end = Signal(time_bits + 1)  # the top bit is set if the interval [last, end) passes zero
        self.any_last = Signal()
        self.queue = TagQueue(width=time_bits, depth=depth)

    def elaborate(self, platform):
        m = Module()
        m.submodules.queue = queue = self.queue

        seen = Signal()
        time = Signal(self._time_bits)
        m.d.comb += [seen.eq(self.i_valid & self.i_enable), time.eq(Cat(self.i_fine, self.i_clock))]

        last, end, any_last = self.last, self.end, self.any_last
        dead = Signal()
        after_last = time >= last
        before_end = time < end[:-1]
        accepted = seen & ~dead
        m.d.comb += dead.eq(any_last & Mux(end[-1], after_last | before_end, after_last & before_end))
        m.d.sync += end.eq(Mux(accepted, time + self.i_dead_time, last + self.i_dead_time))
        with m.If(accepted):
            m.d.sync += [last.eq(time), any_last.eq(1)]

        m.d.comb += [
            queue.i_push.eq(accepted & ~queue.o_full),
            queue.i_data.eq(time + self.i_delay),
            queue.i_pop.eq(self.i_take),
            self.o_valid.eq(queue.o_valid),
            self.o_time.eq(queue.o_head),
            self.o_pending.eq(queue.o_pending),
            self.o_idle.eq((queue.o_level == 0) & ~self.o_seen),
        ]
        m.d.sync += [
            self.o_seen.eq(seen),
            self.o_dead.eq(seen & dead),
            self.o_dropped.eq(accepted & queue.o_full),
            self.o_queued.eq(accepted & ~queue.o_full),
        ]
        return m
