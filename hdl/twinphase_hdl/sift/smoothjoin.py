"""Smooth join: the smoothed phase at each herald's own time, once it is known."""

from amaranth.hdl import Cat, Module, Mux, ResetInserter, Signal, Value
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.phase.smoothpass import CHANNELS
from twinphase_hdl.sift.columns import DEPTHS, ColumnMemory
from twinphase_hdl.sift.covered import CoveredTimes
from twinphase_hdl.sift.herald import PendingHerald
from twinphase_hdl.sift.heraldnumbers import HeraldNumbers
from twinphase_hdl.sift.smoothvalue import SmoothedPhase
from twinphase_hdl.sift.waiting import WaitingHeralds
from twinphase_hdl.types import PhaseCover, PhaseInterval, record_words
from twinphase_spec import smoothing, units
from twinphase_spec.packets import Stream

MADE = 4
"""Records that may be on their way to the output's register."""


class _Waiting(data.Struct):
    """What is kept of a `PendingHerald`."""

    time: smoothing.TIME_BITS
    applied_q: units.TURN_BITS
    blank: 1
    resumes: 1


class _Made(data.Struct):
    """A record without its number."""

    psi: units.TURN_BITS
    flags: 2


class SmoothJoin(wiring.Component):
    """Gives every herald, in their order, its PSI record: number and `SmoothedPhase` at its time t, when

        both channels are covered up to a time above t, and the heralds that had come by then have left the node.

    A herald whose mark is blank has psi 0 with flags 0, and so has one that was held up (by ``o``, or by heralds that do not leave):
    if, when its turn comes, the latest cover of a channel is more than 127 blocks of 16 intervals (63 with E + g = 15) above t, so that
    an interval of its may be being replaced; or if it has waited for 2^23 clocks (67 ms), as counted from cover to cover of channel 0, at
    least. One that has waited for twice that is never given a phase. Until then the low bits of times tell their order: a herald comes
    less than 2^22 clocks before it is covered, since a node step has 2^15 clocks at most (E + g <= 15; above, all have psi 0
    and flags 0).

    Parameters
    ----------
    pending_heralds : int
        Heralds that may wait, 1 to 16384.

    Members
    -------
    i_run : In(1)
        0 empties the queue and restarts the numbers; a record in the output register still leaves. While PSI_SOURCE is 0 it is 0,
        so that no covers ask for heralds to leave.
    i, i_valid : In(PendingHerald), In(1)
        A herald that waits from now on, in the order of their times. Must not be valid while ``o_full`` is high.
    i_number, i_resumes : In(32), In(1)
        Its number; whether others before it were passed over, so that the records' numbers go on with this one (`HeraldNumbers`).
    i_interval, i_interval_valid, i_cover, i_cover_valid : In(PhaseInterval), In(1), In(PhaseCover), In(1)
        From `Smoother`.
    i_epoch_bits, i_step : In(5), In(ArrayLayout(3, 2))
        E, and g of each channel. They do not change while ``i_run`` is 1.
    o : Out(stream of PSI record words)
    o_flush, i_flushed : Out(1), In(1)
        Strobe: the heralds that have come are to leave now; high when they have, low from the clock after the strobe. One strobe
        at a time. A herald has come to its packer when its time is covered: a cover is 2^13 clocks old at least.
    o_full, o_leaves : Out(1), Out(1)
        ``pending_heralds`` heralds wait; strobe: one that waited does so no longer.
    o_idle : Out(1)
        Nothing moves by itself; heralds may wait for their covers.

    Latency: `latency` clocks from i_cover to the first record, if the heralds leave at once. Throughput: a record per 8 clocks.
    Overflow: ``o_full``; phases wrap.
    Source: docs/phase.md, smooth join.
    """

    i_run: In(1)
    i: In(PendingHerald)
    i_valid: In(1)
    i_number: In(32)
    i_resumes: In(1)
    i_interval: In(PhaseInterval)
    i_interval_valid: In(1)
    i_cover: In(PhaseCover)
    i_cover_valid: In(1)
    i_epoch_bits: In(5)
    i_step: In(data.ArrayLayout(smoothing.SMOOTH_STEP_BITS, CHANNELS))
    o: Out(stream.Signature(record_words(Stream.PSI)))
    o_flush: Out(1)
    i_flushed: In(1)
    o_full: Out(1)
    o_leaves: Out(1)
    o_idle: Out(1)

    def __init__(self, *, pending_heralds: int = smoothing.PENDING_HERALDS) -> None:
        if not 1 <= pending_heralds <= max(DEPTHS):
            raise ValueError(f"SmoothJoin: pending_heralds is {pending_heralds}; allowed: 1 to {max(DEPTHS)}")
        self.pending_heralds = pending_heralds
        self._phase = SmoothedPhase()
        super().__init__()

    @property
    def latency(self) -> int:
        """Cover kept, flush asked for, flushed, compared, decided; the phase; into the queue and out of it."""
        return 5 + self._phase.latency + 2

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.waiting = waiting = ResetInserter(~self.i_run)(WaitingHeralds(most=self.pending_heralds))
        m.submodules.phase = phase = ResetInserter(~self.i_run)(self._phase)
        m.submodules.covered = covered = CoveredTimes()
        releases = Signal()
        """The oldest herald's phase is asked for; it waits no longer."""
        head, head_valid = self._oldest(m, releases)
        room, records_busy = self._records(m, releases, head.resumes)

        m.d.comb += [
            *(waiting.i_enters.eq(self.i_valid), waiting.i_leaves.eq(releases), self.o_full.eq(waiting.o_full)),
            self.o_leaves.eq(releases),
            waiting.i_quarter.eq(covered.o_quarter),
            *(covered.i_run.eq(self.i_run), covered.i_time.eq(head.time)),
            *(covered.i_cover.eq(self.i_cover), covered.i_cover_valid.eq(self.i_cover_valid)),
            *(self.o_flush.eq(covered.o_flush), covered.i_flushed.eq(self.i_flushed)),
            *(phase.i_interval.eq(self.i_interval), phase.i_interval_valid.eq(self.i_interval_valid)),
            phase.i_start.eq(releases),
            phase.i_time.eq(head.time),
            phase.i_applied_q.eq(head.applied_q),
            phase.i_known.eq(covered.o_kept & ~waiting.o_gone & ~head.blank),
        ]
        for part in (covered, phase):
            m.d.comb += [part.i_epoch_bits.eq(self.i_epoch_bits), part.i_step.eq(self.i_step)]

        compared, due = Signal(), Signal()
        m.d.comb += due.eq(compared & covered.o_known & (covered.o_covered | waiting.o_gone))
        m.d.sync += [
            compared.eq(head_valid & ~releases & self.i_run),
            releases.eq(due & ~releases & phase.o_ready & room & self.i_run),
        ]
        m.d.comb += self.o_idle.eq(
            ~(self.i_valid | self.i_interval_valid | covered.o_busy | releases | records_busy)
            & Mux(head_valid, compared & ~due, waiting.o_waiting == 0)
        )
        return m

    def _oldest(self, m: Module, releases: Signal) -> tuple[data.View, Signal]:
        """The queue: the oldest herald in a register, the others in block RAM, of which the next one is read again and again."""
        depth = min(depth for depth in DEPTHS if depth >= self.pending_heralds)
        m.submodules.heralds = heralds = ColumnMemory(shape=_Waiting, depth=depth)
        entering, enters = Signal(_Waiting), Signal()
        # A bit more than an address, so that full and empty differ.
        write_count, read_count, unread = Signal(range(2 * depth)), Signal(range(2 * depth)), Signal()
        following, settled, takes, taken = Signal(_Waiting, reset_less=True), Signal(), Signal(), Signal(2)
        """What was read, right if ``settled`` and none was taken in the two clocks before."""
        head, head_valid = Signal(_Waiting), Signal()
        m.d.comb += [
            heralds.i_write.eq(enters),
            heralds.i_write_address.eq(write_count),
            heralds.i_write_data.eq(entering),
            heralds.i_read.eq(1),
            heralds.i_read_address.eq(read_count),
            takes.eq(settled & unread & ~taken.any() & ~head_valid),
        ]
        m.d.sync += [
            *(getattr(entering, name).eq(getattr(self.i, name)) for name in ("time", "applied_q", "blank")),
            *(entering.resumes.eq(self.i_resumes), enters.eq(self.i_valid)),
            *(unread.eq(write_count != read_count), settled.eq(unread)),
            *(following.eq(heralds.o_data), taken.eq(Cat(takes, taken))),
        ]
        with m.If(enters):
            m.d.sync += write_count.eq(write_count + 1)
        with m.If(takes):
            m.d.sync += [head.eq(following), head_valid.eq(1), read_count.eq(read_count + 1)]
        with m.If(releases):
            m.d.sync += head_valid.eq(0)
        with m.If(~self.i_run):
            m.d.sync += [value.eq(0) for value in (enters, write_count, read_count, unread, settled, taken, head_valid)]
        return head, head_valid

    def _records(self, m: Module, releases: Signal, resumes: Value) -> tuple[Value, Value]:
        """Phases that are made go through a short queue into the output's register, so that one that is asked for has a place.

        Whether there is room for one more, and whether there is any.
        """
        m.submodules.made = made = memory.Memory(shape=_Made, depth=MADE, init=[], attrs={"ram_style": "distributed"})
        write, read = made.write_port(), made.read_port(domain="comb")
        asked, level, takes = Signal(range(MADE + 1)), Signal(range(MADE + 1)), Signal()
        """Asked for, and made, and not in the output's register."""
        m.submodules.numbers = numbers = ResetInserter(~self.i_run)(HeraldNumbers())
        resumed = Signal(MADE)
        """Of those that are asked for, the oldest in bit 0."""
        with m.If(takes):
            m.d.sync += resumed.eq(resumed >> 1)
        for place in range(MADE):
            with m.If(releases & (asked - takes == place)):
                m.d.sync += resumed[place].eq(resumes)
        m.d.comb += [
            *(numbers.i_end.eq(self.i_valid & self.i_resumes), numbers.i_number.eq(self.i_number)),
            *(numbers.i_leaves.eq(takes), numbers.i_resumes.eq(resumed[0])),
            write.en.eq(self._phase.o_valid),
            write.data.psi.eq(self._phase.o_psi),
            write.data.flags.eq(self._phase.o_flags),
            # Who takes records says so late in the clock; one per two clocks is fast enough.
            takes.eq((level != 0) & ~self.o.valid),
        ]
        for count, more in ((asked, releases), (level, self._phase.o_valid)):
            with m.If(more ^ takes):
                m.d.sync += count.eq(count + Mux(more, 1, -1))
        for moves, port in ((write.en, write), (takes, read)):
            place = Signal(range(MADE))
            m.d.comb += port.addr.eq(place)
            with m.If(moves):
                m.d.sync += place.eq(place + 1)
            with m.If(~self.i_run):
                m.d.sync += place.eq(0)
        with m.If(takes & self.i_run):
            m.d.sync += [
                self.o.valid.eq(1),
                Value.cast(self.o.payload).eq(Cat(numbers.o_number, read.data.psi, read.data.flags)),
            ]
        with m.Elif(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(~self.i_run):
            m.d.sync += [value.eq(0) for value in (asked, level)]
        return ~asked[-1], (asked != 0) | self.o.valid
