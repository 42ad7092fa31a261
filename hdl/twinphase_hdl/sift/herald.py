"""Heralds: signal pulses with exactly one click."""

from amaranth.hdl import C, Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.core.queue import Queue
from twinphase_hdl.types import Herald, MarkedClick
from twinphase_spec import frame, smoothing, units
from twinphase_spec.frame import SlotClass

RING_WINDOW_BITS = 10
"""Low bits of a window that a waiting herald keeps: eight of the longest d-windows, one block RAM of phases."""
RING_DWINDOW_BITS = 10
"""Low bits of a d-window that a waiting herald keeps. With those of a window 20 bits: 4096 heralds are five block RAMs of four bits
each, with no multiplexer behind them."""
OUTPUTS = 2
"""Registers for heralds behind the queue: with one, every second clock would pass."""


class PendingHerald(data.Struct):
    """What heralds that wait for their psi are known by; they wait in the order of their numbers. Each join keeps what it needs."""

    window: RING_WINDOW_BITS
    dwindow: RING_DWINDOW_BITS
    time: smoothing.TIME_BITS
    """Low bits of its click's clock count."""
    applied_q: units.TURN_BITS
    """What the actuator has taken off, 2^-16 turn at the quantum wavelength."""
    blank: 1


class _Pulse(data.Struct):
    """A signal pulse with a click."""

    pulse: frame.PULSE_BITS
    detector: 1
    psi: units.TURN_BITS
    flags: 2
    pending: PendingHerald


class HeraldFinder(wiring.Component):
    """Announces SIG pulses of the q band with exactly one gated click, numbered 0, 1, 2 ... in rising n.

    A pulse is held until a click of a later pulse comes or its hold time is over; what it has by then is all it gets. For a period
    below k + 1 clocks (k = period div 8192 ticks, 0 to 15) a second click of a pulse comes out of the merge at most::

        (k + 1) + 2 (4 (k + 2) - 1) = 9 k + 15  clocks after the first:

    the merge's horizon needs k + 1 clocks from the first click to the second, and each of four channels has at most one edge in
    each of the k + 2 clocks that the pulse touches, all of which leave at one per two clocks or faster. The hold time
    ``9 k + 16`` clocks is longer by one. Queues that are backlogged delay clicks but keep their order.

    Parameters
    ----------
    queue_heralds : int
        Heralds that may wait for ``o`` (a power of two from 4): a HERALD record takes the packer three clocks, a code one.

    Members
    -------
    i_run : In(1)
        0 forgets the held pulse and restarts the numbers; announced heralds still leave.
    i, i_valid : In(MarkedClick), In(1)
        A framed click; always taken.
    i_swap : In(1)
        Exchanges detectors L and R.
    i_period : In(49)
        Pulse period in 2^-32 tick.
    i_refuse : In(1)
        No pulse gets a number.
    o : Out(stream of Herald)
        psi and flags are those of the single click's mark, 0 if it is blank.
    o_pending, o_number, o_pending_valid : Out(PendingHerald), Out(32), Out(1)
        For the psi queue, in the clock in which the herald takes its number.
    o_heralds, o_multiple, o_unjoined : Out(1)
        Strobes: a herald announced; a pulse with more clicks; a single click that found the queue to ``o`` full, or was refused.
    o_waiting : Out(16)
        Announced heralds that have not left, at most `waiting_max`.
    o_idle : Out(1)

    Latency: hold time + `latency` clocks from a click to its strobe, less if a later pulse clicks before; 4 more to ``o``: 25 clocks for
    periods below a clock, none waiting.
    Throughput: one click, and one herald, per clock, in and out. Overflow: counted by o_unjoined; such a pulse takes no
    number.
    """

    i_run: In(1)
    i: In(MarkedClick)
    i_valid: In(1)
    i_swap: In(1)
    i_period: In(frame.PERIOD_BITS)
    i_refuse: In(1)
    o: Out(stream.Signature(Herald))
    o_pending: Out(PendingHerald)
    o_number: Out(32)
    o_pending_valid: Out(1)
    o_heralds: Out(1)
    o_multiple: Out(1)
    o_unjoined: Out(1)
    o_waiting: Out(16)
    o_idle: Out(1)

    def __init__(self, *, queue_heralds: int = 512) -> None:
        if queue_heralds < 4 or queue_heralds & (queue_heralds - 1):
            raise ValueError(f"HeraldFinder: queue_heralds is {queue_heralds}; allowed: a power of two from 4")
        self._queue_heralds = queue_heralds
        self.waiting_max = queue_heralds + OUTPUTS
        super().__init__()

    @property
    def latency(self) -> int:
        """Clocks from a click to its strobe beyond the hold time: taken, picked, compared, held, judged."""
        return 5

    def elaborate(self, platform) -> Module:
        m = Module()
        # 1: take them, as they come from far away, and pick those that count.
        source, mark = self.i.click, self.i.mark
        # (Proofs know the registers by their names.)
        taken, click = Signal(_Pulse), Signal(_Pulse)
        kept, is_signal, clicked = (Signal(name=name) for name in ("kept", "is_signal", "clicked"))
        m.d.sync += [
            kept.eq(self.i_valid & source.framed & source.gated),
            is_signal.eq((source.slot_class == SlotClass.SIG) & (source.channel[1:] == 0)),
            clicked.eq(kept & is_signal),
        ]
        with m.If(self.i_valid):
            m.d.sync += [
                taken.pulse.eq(source.pulse),
                taken.detector.eq(source.channel[0] ^ self.i_swap),
                taken.pending.window.eq(source.window),
                taken.pending.dwindow.eq(source.dwindow),
                taken.pending.time.eq(self.i.time),
                taken.pending.applied_q.eq(mark.applied_q),
                taken.pending.blank.eq(mark.blank),
                *(taken.psi.eq(mark.psi), taken.flags.eq(Cat(mark.r_valid, mark.d_valid))),
            ]
        with m.If(kept):
            m.d.sync += click.eq(taken)
            with m.If(taken.pending.blank):
                m.d.sync += [click.psi.eq(0), click.flags.eq(0)]

        # 2: compare each with the one before. Pulses come in rising order: what is held is always the pulse of the latest click.
        latest = Signal(_Pulse)
        arrived, same = (Signal(name=name) for name in ("arrived", "same"))
        m.d.sync += arrived.eq(clicked)
        with m.If(clicked):
            m.d.sync += [latest.eq(click), same.eq(click.pulse == latest.pulse)]

        # 3: hold a pulse until nothing more can come for it.
        held = Signal(_Pulse)
        holding, more = (Signal(name=name) for name in ("holding", "more"))
        period_clocks = self.i_period[frame.PERIOD_FRACTION_BITS + units.FRACTION_BITS :]
        clocks_left = Signal(8)
        over = Signal()
        """clocks_left == 0."""
        finish = Signal()
        m.d.comb += finish.eq(holding & Mux(arrived, ~same, over))
        with m.If(arrived & holding & same):
            m.d.sync += more.eq(1)
        with m.Elif(arrived):
            m.d.sync += [
                *(held.eq(latest), holding.eq(1), more.eq(0)),
                *(clocks_left.eq((period_clocks << 3) + period_clocks + 16), over.eq(0)),
            ]
        with m.Elif(finish):
            m.d.sync += holding.eq(0)
        with m.If(holding & ~over & ~(arrived & ~same)):
            m.d.sync += [clocks_left.eq(clocks_left - 1), over.eq(clocks_left == 1)]

        # 4: judge it, and take a number only if there is room.
        pulse = Signal(_Pulse)
        judged, multiple = (Signal(name=name) for name in ("judged", "multiple"))
        m.d.sync += judged.eq(finish)
        with m.If(finish):
            m.d.sync += [pulse.eq(held), multiple.eq(more)]
        number = Signal(32)
        herald = Signal(Herald)
        room, full = Signal(), Signal()
        m.d.comb += [
            room.eq(~(full | self.i_refuse)),
            herald.number.eq(number),
            herald.pulse.eq(pulse.pulse),
            herald.detector.eq(pulse.detector),
            *(herald.psi.eq(pulse.psi), herald.flags.eq(pulse.flags)),
            self.o_multiple.eq(judged & multiple),
            self.o_heralds.eq(judged & ~multiple & room),
            self.o_unjoined.eq(judged & ~multiple & ~room),
            *(self.o_pending.eq(pulse.pending), self.o_number.eq(number)),
            self.o_pending_valid.eq(self.o_heralds),
        ]
        with m.If(self.o_heralds):
            m.d.sync += number.eq(number + 1)

        # 5: into the queue a clock later, as the psi queue may be far away: heralds that wait are counted at the decision.
        m.submodules.queue = queue = Queue(width=Herald.as_shape().size, depth=self._queue_heralds)
        waiting = Signal(range(self._queue_heralds + 1))
        one_less = waiting == self._queue_heralds - 1
        m.d.sync += [
            queue.i_push.eq(self.o_heralds),
            queue.i_data.eq(herald),
            full.eq(~queue.i_pop & (waiting[-1] | (one_less & self.o_heralds))),
        ]
        with m.If(self.o_heralds ^ queue.i_pop):
            m.d.sync += waiting.eq(waiting + Mux(self.o_heralds, 1, -1))

        # 6: two registers, as who takes heralds says so late in the clock.
        behind, two = Signal(Herald, reset_less=True), Signal()
        """The herald after the one at ``o``; there is one."""
        leaves = self.o.valid & self.o.ready
        m.d.comb += [queue.i_pop.eq(queue.o_valid & ~two), self.o_waiting.eq(waiting + self.o.valid + two)]
        m.d.sync += [
            self.o.valid.eq(queue.i_pop | two | (self.o.valid & ~self.o.ready)),
            two.eq((two | queue.i_pop) & self.o.valid & ~self.o.ready),
        ]
        with m.If(queue.i_pop):
            m.d.sync += behind.eq(queue.o_head)
        with m.If(leaves | ~self.o.valid):
            m.d.sync += self.o.payload.eq(Mux(two, behind, queue.o_head))

        with m.If(~self.i_run):
            m.d.sync += [v.eq(0) for v in (kept, clicked, arrived, holding, judged, number)]
        quiet = ~self.i_valid & ~kept & ~clicked & ~arrived & ~holding & ~judged
        m.d.comb += self.o_idle.eq(quiet & (waiting == 0) & ~self.o.valid)
        return m


def herald_record(herald: data.View) -> Value:
    """The three words of a HERALD record (`packets.HERALD_DTYPE`) as one value, the first word lowest."""
    return Cat(herald.number, herald.pulse, C(0, 95 - 32 - frame.PULSE_BITS), herald.detector)


def causal_record(herald: data.View) -> Value:
    """The two words of a PSI_CAUSAL record (`packets.PSI_DTYPE`) as one value, the first word lowest."""
    return Cat(herald.number, herald.psi, herald.flags, C(0, 16 - len(herald.flags)))
