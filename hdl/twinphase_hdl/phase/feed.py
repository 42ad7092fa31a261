"""Clicks to the click tracker, by a schedule that their times alone make."""

from amaranth.hdl import Cat, Module, Mux, ResetInserter, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.core.queue import Queue
from twinphase_hdl.phase.clickepoch import CHOICE_BITS, EpochLength
from twinphase_hdl.phase.clickqueue import ClickEntry
from twinphase_hdl.types import MarkedClick
from twinphase_spec import smoothing, tracking, units
from twinphase_spec.frame import SlotClass

LOW_BITS = smoothing.CLOCK_LOW_BITS
_STEP_BITS = units.TURN_BITS - 2
"""A reference step is a quarter of a turn."""
_QUEUED = 2
"""Clocks from a click at the input to its writing into the queue."""
_LET_GO = 3
"""An entry leaves the queue in clock T + 3, T as in the contract."""


_WAKE = 8
"""Clocks before an entry is let go in which it is awake, that what follows the time does so again."""


class _Waiting(data.Struct):
    """A click in the queue."""

    clock: LOW_BITS
    parity: 1
    """Lowest bit of its epoch."""
    channel: 1
    port: 1
    reference: units.TURN_BITS


class TrackerFeed(wiring.Component):
    """Gated clicks of REF(k) slots and the turns to epochs, in the order of their times, as entries of a `ClickTracker`::

        channel    0 for band r, 1 for band q           port   L or R, exchanged by SWAP
        reference  STEP_k - A for band r,  k 2^14 + rq - A_q for band q
        T_i        max(T_(i-1) + cost_(i-1), t_i + HOLD),  cost 1 for a click, 2 for a turn: clock in which entry i is let go

    A click is not tracked, and counted, if its mark is blank, if it is of band q and its r is not valid, if it would be in the queue
    after clock t + HOLD, if it finds the queue full, or if it is older than the first turn. That is the turn to the first e with
    ``2^E e >= START_CLOCK`` whose ``2^E e + HOLD`` i_run has not missed.

    Members
    -------
    i_run, i_framing : In(1), In(1)
        i_run = 0 forgets everything. Turns begin only while the frame runs or is going to (`Timebase.o_framing`).
    i, i_valid : In(MarkedClick), In(1)
        In the order of the times.
    i_clock, i_start_clock : In(51), In(51)
    i_epoch_bits, i_hold : In(5), In(9)
        E and HOLD. They and START_CLOCK stand still while i_run is 1.
    i_swap : In(2)
        Bit 0 exchanges L and R of the q band, bit 1 of the r band.
    i_steps : In(ArrayLayout(16, 4))
        STEP_k, what REF(k) of the r band adds, in 2^-16 turn. Stand still like i_hold.
    o : Out(stream of ClickEntry)
    o_untracked : Out(2)
        Clicks that were found not to be tracked: 0 to 2, as one may be late while another one is older than the first turn.
    o_idle, o_wait : Out(1), Out(16)
        Nothing changes before an entry's time is near, for so many clocks at most.

    Latency: `latency` clocks from T to the transfer, if ``o`` is ready as a tracker of two channels is. Throughput: a click per clock.
    Overflow: FEED_DEPTH clicks wait.
    Source: docs/phase.md, feed.
    """

    i_run: In(1)
    i_framing: In(1)
    i: In(MarkedClick)
    i_valid: In(1)
    i_clock: In(units.CLOCK_BITS)
    i_start_clock: In(units.CLOCK_BITS)
    i_epoch_bits: In(CHOICE_BITS)
    i_hold: In(smoothing.HOLD_BITS)
    i_swap: In(2)
    i_steps: In(data.ArrayLayout(units.TURN_BITS, 4))
    o: Out(stream.Signature(ClickEntry))
    o_untracked: Out(2)
    o_idle: Out(1)
    o_wait: Out(tracking.EPOCH_BITS)

    @property
    def latency(self) -> int:
        """Clocks from T to the transfer."""
        return _LET_GO + 2

    def elaborate(self, platform) -> Module:
        m = Module()
        length = EpochLength(m, self.i_epoch_bits)
        queue = Queue(width=_Waiting.as_shape().size, depth=smoothing.FEED_DEPTH)
        m.submodules.queue = ResetInserter(~self.i_run)(queue)
        comes, refused = self._enter(m, length, queue)

        # The clock count less HOLD, two clocks late, and the turn that it has come to.
        count, held = Signal(units.CLOCK_BITS, reset_less=True), Signal(units.CLOCK_BITS, reset_less=True)
        reached, started = Signal(), Signal(reset_less=True)
        turn_waits, turn_low, turn_parity = Signal(), Signal(LOW_BITS, reset_less=True), Signal(reset_less=True)
        m.d.sync += [
            count.eq(self.i_clock - self.i_hold),
            held.eq(count),
            reached.eq(~length.clocks(count).any()),
            started.eq(~(count - self.i_start_clock)[units.CLOCK_BITS - 1]),
        ]

        # What goes next. A click that is due and was in time is older than any turn that has not come yet.
        head = data.View(_Waiting, queue.o_head)
        less = Signal(LOW_BITS + 1)
        m.d.comb += less.eq(head.clock - held[:LOW_BITS])
        due = queue.o_valid & less[LOW_BITS - 1]
        older = head.parity != turn_parity
        picked, moves, turned = Signal(), Signal(), Signal()
        pick_click, pick_turn = Signal(), Signal()
        m.d.comb += [
            moves.eq(~picked | ~self.o.valid | self.o.ready),
            pick_click.eq(moves & due & (older | ~turn_waits)),
            pick_turn.eq(moves & turn_waits & ~(due & older)),
            queue.i_pop.eq(pick_click),
        ]
        with m.If(pick_turn):
            m.d.sync += [turn_waits.eq(0), turned.eq(1)]
        with m.If(reached & started & self.i_framing):
            m.d.sync += [turn_waits.eq(1), turn_low.eq(held), turn_parity.eq(length.parity(held))]

        # Its t: the clock count's high bits, less one where the low bits have wrapped since.
        entry = Signal(ClickEntry, reset_less=True)
        high, wrapped = Signal(units.CLOCK_BITS - LOW_BITS, reset_less=True), Signal(reset_less=True)
        with m.If(moves):
            m.d.sync += [
                picked.eq(pick_turn | (pick_click & turned)),
                entry.turn.eq(pick_turn),
                entry.time.eq(Mux(pick_turn, turn_low, head.clock)),
                *(entry.channel.eq(head.channel), entry.port.eq(head.port), entry.reference.eq(head.reference)),
                high.eq(held[LOW_BITS:]),
                wrapped.eq(Mux(pick_turn, turn_low > held[:LOW_BITS], ~less[-1])),
            ]
        with m.If(~self.o.valid | self.o.ready):
            m.d.sync += [
                self.o.valid.eq(picked),
                self.o.payload.eq(entry),
                self.o.payload.time.eq(Cat(entry.time[:LOW_BITS], high - wrapped)),
            ]

        # A register each: that a click is picked is known late in the clock.
        untracked = Signal(2)
        m.d.sync += untracked.eq(Cat(refused, pick_click & ~turned))
        m.d.comb += self.o_untracked.eq(untracked[0] + untracked[1])
        with m.If(~self.i_run):
            m.d.sync += [v.eq(0) for v in (turn_waits, turned, picked, self.o.valid, untracked)]

        # Clocks until the queue's head is near its time, and since a turn was.
        turns = self.i_run & self.i_framing
        near = length.clocks((self.i_clock - self.i_hold + _WAKE)[: tracking.EPOCH_BITS])
        ahead, until = Signal(LOW_BITS), Signal(LOW_BITS)
        rests = queue.o_valid & (until != 0)
        m.d.comb += [
            ahead.eq(head.clock + self.i_hold - _WAKE - self.i_clock[:LOW_BITS]),
            until.eq(Mux(ahead[-1], 0, ahead)),
        ]
        turning = (turns & (near <= _WAKE + _LET_GO)) | (self.i_run & turn_waits)
        waiting = (queue.o_level != 0) & ~rests
        until_turn = Mux(turns, (length.unit - near)[: tracking.EPOCH_BITS], (1 << tracking.EPOCH_BITS) - 1)
        m.d.comb += [
            self.o_idle.eq(~(turning | comes | waiting | picked | self.o.valid | self.o_untracked.any())),
            self.o_wait.eq(Mux(rests & (until < until_turn), until, until_turn)),
        ]
        return m

    def _enter(self, m: Module, length: EpochLength, queue: Queue) -> tuple:
        """Clicks into the queue. Whether one is on its way, and whether one is refused in this clock."""
        click, mark = self.i.click, self.i.mark
        band_r = click.channel[1]
        waiting = Signal(_Waiting, reset_less=True)
        wanted, good, limit = Signal(), Signal(reset_less=True), Signal(LOW_BITS, reset_less=True)
        lead = Signal(LOW_BITS, reset_less=True)
        from_turn, less = Signal(units.TURN_BITS, reset_less=True), Signal(units.TURN_BITS, reset_less=True)
        k = click.slot_class[:2]
        of_q = Cat(mark.rq[:_STEP_BITS], (mark.rq[_STEP_BITS:] + k)[:2])
        # REF0 .. REF3 are 4 .. 7.
        is_reference = click.slot_class[2:] == SlotClass.REF0 >> 2
        m.d.sync += [
            lead.eq(_QUEUED - self.i_hold),
            wanted.eq(self.i_valid & click.framed & click.gated & is_reference),
            good.eq(~mark.blank & (band_r | mark.r_valid)),
            limit.eq(self.i_clock[:LOW_BITS] + lead),
            waiting.clock.eq(self.i.time),
            waiting.parity.eq(length.parity(self.i.time)),
            waiting.channel.eq(~band_r),
            waiting.port.eq(click.channel[0] ^ Mux(band_r, self.i_swap[1], self.i_swap[0])),
            from_turn.eq(Mux(band_r, self.i_steps[k], of_q)),
            less.eq(Mux(band_r, mark.applied, mark.applied_q)),
        ]
        entering = Signal(_Waiting, reset_less=True)
        enters, in_time = Signal(), Signal(reset_less=True)
        push = Signal()
        m.d.sync += [
            enters.eq(wanted),
            # It is written into the queue in the clock whose count less HOLD is the limit, and must be there in clock t + HOLD.
            in_time.eq(good & (limit - waiting.clock)[LOW_BITS - 1]),
            entering.eq(waiting),
            entering.reference.eq(from_turn - less),
        ]
        m.d.comb += [
            push.eq(enters & in_time & ~queue.o_full),
            queue.i_push.eq(push),
            queue.i_data.eq(entering),
        ]
        with m.If(~self.i_run):
            m.d.sync += [wanted.eq(0), enters.eq(0)]
        return self.i_valid | wanted | enters, enters & ~push
