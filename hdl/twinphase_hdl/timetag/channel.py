"""One detector's edges: dead time, delay, queue."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.core.queue import Queue
from twinphase_spec import units

QUEUE_DEPTH = 512
DELAY_BITS = 22
DEAD_TIME_BITS = 32


class _Within:
    """Whether ``time`` is in [start, end) modulo its range, in two clocks: comparisons, then what follows from them."""

    def __init__(self, m: Module, name: str, time: Value, start: Value, end: Value):
        """The bit of ``end`` above the range of ``time`` says that the interval passes zero."""
        self._after_start, self._before_end = Signal(name=f"{name}_after"), Signal(name=f"{name}_before")
        self._passes_zero = Signal(name=f"{name}_passes_zero")
        m.d.sync += [
            self._after_start.eq(time >= start),
            self._before_end.eq(time < end[:-1]),
            self._passes_zero.eq(end[-1]),
        ]

    def __call__(self) -> Value:
        """A clock after ``time``."""
        return Mux(self._passes_zero, self._after_start | self._before_end, self._after_start & self._before_end)


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
        A dead time acts two clocks after it changes. A change of delay can put two tags out of order.
    o_valid, o_time, o_pending, i_take : head of the queue, as in `Queue`
    o_seen, o_dead, o_dropped, o_queued : 1
        Strobes three clocks after the edge: seen, and exactly one of the others.
    o_idle : 1
        No edge inside, queue empty and no strobe.

    Latency: `latency` = 4 clocks to the head of an empty queue. Throughput: one edge per clock.
    Overflow: a full queue drops the edge, which still starts the dead time.
    """

    latency = 4

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
        self.queue = Queue(width=time_bits, depth=depth)

    def elaborate(self, platform):
        m = Module()
        m.submodules.queue = queue = self.queue

        time = Signal(self._time_bits)
        m.d.comb += time.eq(Cat(self.i_fine, self.i_clock))

        # First clock: the edge, what becomes of it, and where it lies after the last accepted edge and after the edge just
        # before it, of which it is not known yet whether it was accepted.
        edge, edge_time, edge_end = Signal(), Signal(self._time_bits), Signal(self._time_bits + 1)
        edge_tag = Signal(self._time_bits)
        any_last = Signal()
        m.d.sync += [
            edge.eq(self.i_valid & self.i_enable),
            edge_time.eq(time),
            edge_end.eq(time + self.i_dead_time),
            edge_tag.eq(time + self.i_delay),
            any_last.eq(self.any_last),
        ]
        within_last = _Within(m, "last", time, self.last, self.end)
        within_edge = _Within(m, "edge", time, edge_time, edge_end)

        # Second clock: the decision.
        decided, accepted, was_accepted = Signal(), Signal(), Signal()
        tag_time = Signal(self._time_bits)
        dead = Mux(was_accepted, within_edge(), any_last & within_last())
        m.d.comb += accepted.eq(edge & ~dead)
        m.d.sync += [
            decided.eq(edge),
            was_accepted.eq(accepted),
            tag_time.eq(edge_tag),
            self.end.eq(Mux(accepted, edge_end, self.last + self.i_dead_time)),
        ]
        with m.If(accepted):
            m.d.sync += [self.last.eq(edge_time), self.any_last.eq(1)]

        # Third clock: the queue.
        m.d.comb += [
            queue.i_push.eq(was_accepted & ~queue.o_full),
            queue.i_data.eq(tag_time),
            queue.i_pop.eq(self.i_take),
            self.o_valid.eq(queue.o_valid),
            self.o_time.eq(queue.o_head),
            self.o_pending.eq(queue.o_pending),
            self.o_idle.eq((queue.o_level == 0) & ~edge & ~decided & ~self.o_seen),
        ]
        m.d.sync += [
            self.o_seen.eq(decided),
            self.o_dead.eq(decided & ~was_accepted),
            self.o_dropped.eq(was_accepted & queue.o_full),
            self.o_queued.eq(was_accepted & ~queue.o_full),
        ]
        return m
