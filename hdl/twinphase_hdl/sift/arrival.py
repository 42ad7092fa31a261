"""Where in the pulse clicks of one-sided slots lie, band by band and arm by arm."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.core.along import delayed
from twinphase_hdl.types import Click, record_words
from twinphase_spec import arrival, frame
from twinphase_spec.frame import SlotClass
from twinphase_spec.packets import Stream

from .bankedsums import BankedSums

PLACES = len(arrival.PLACES)
READ_CLOCKS = 16
"""From one record to the next: more than a packer needs for the words of one."""
SETTLE_CLOCKS = 8
"""Clicks that came before a close are added by then."""


class ArrivalCounts(wiring.Component):
    """Counts of clicks in the eighths of the period, and the sum of their positions, in REF_A and REF_B slots, per band and arm::

        place = 2 band + arm;   bin: eighth of the period of ``position``, by halves of whole ticks (docs/alignment.md)
        count[place, bin] += 1 mod 2^24;   sum[place] += position mod 2^41

    over intervals of ``i_windows`` windows, from window 0 on. At the end of an interval a record of each place leaves.

    Clicks of the next interval come up to LAG_CLOCKS and some before one ends, so there are two banks. A window is twice as long, so that
    a bank has been read and forgotten long before it is used again.

    Members
    -------
    i, i_valid : In(Click), In(1)
        A click; always taken. One that is not framed does not count.
    i_run : In(1)
        0 clears all but a record that waits to be taken.
    i_close : In(1)
        Strobe: a window closes, 0 first. All its clicks have come, the last in this clock; clicks of the window after the next come
        ``latency + READ_CLOCKS`` clocks later at the earliest.
    i_period : In(49)
        P in 2^-32 tick.
    i_windows : In(16)
        Windows per interval, 0: nothing is counted. Stable while ``i_run``.
    o : Out(stream of ARRIVAL record words)
        Four records, READ_CLOCKS clocks apart (`packets.ARRIVAL_DTYPE`).
    o_lost : Out(1)
        Strobe: a record found the one before not taken; the new one is lost.
    o_idle : Out(1)

    Latency: `latency` clocks from i_close to the last record. Throughput: a click per clock. Overflow: counts and sums wrap.
    Source: docs/alignment.md.
    """

    i: In(Click)
    i_valid: In(1)
    i_run: In(1)
    i_close: In(1)
    i_period: In(frame.PERIOD_BITS)
    i_windows: In(arrival.WINDOWS_BITS)
    o: Out(stream.Signature(record_words(Stream.ARRIVAL)))
    o_lost: Out(1)
    o_idle: Out(1)

    @property
    def latency(self) -> int:
        """Clocks from i_close of an interval's last window to its last record."""
        return SETTLE_CLOCKS + 3 + (PLACES - 1) * READ_CLOCKS + arrival.BINS

    def elaborate(self, platform) -> Module:
        m = Module()
        run = self.i_run

        # Windows and intervals. ``last``: the open window is its interval's last; clicks of the next follow long after a close.
        closes, last, on = Signal(), Signal(), Signal()
        window, within = Signal(frame.WINDOW_BITS), Signal(arrival.WINDOWS_BITS)
        bank, read_bank, ended = Signal(), Signal(), Signal(frame.WINDOW_BITS)
        ends = Signal(SETTLE_CLOCKS)
        m.d.sync += [
            closes.eq(self.i_close & run),
            last.eq(within + 1 == self.i_windows),
            on.eq(self.i_windows.any() & run),
            ends.eq(ends << 1),
        ]
        with m.If(closes):
            m.d.sync += [window.eq(window + 1), within.eq(within + 1)]
            with m.If(last):
                m.d.sync += [within.eq(0), bank.eq(~bank), read_bank.eq(bank), ended.eq(window)]
                m.d.sync += ends[0].eq(1)
        with m.If(~run):
            m.d.sync += [window.eq(0), within.eq(0), bank.eq(0), ends.eq(0)]

        # A click's place and bank, then a bit of its bin per clock.
        click = self.i
        counts, odd, place = Signal(), Signal(), Signal(2)
        position = Signal(frame.PERIOD_INT_BITS)
        m.d.sync += [
            counts.eq(self.i_valid & click.framed & (click.slot_class[1:] == SlotClass.REF_A >> 1) & on),
            *(odd.eq(click.window[0]), place.eq(Cat(click.slot_class[0], click.channel[1]))),
            position.eq(click.position),
        ]
        click_bank = Signal()
        m.d.sync += click_bank.eq(bank ^ (last & (odd != window[0])))
        valids, rest, eighth = [counts], position, []
        for k in range(arrival.BIN_BITS):
            half = self.i_period[frame.PERIOD_FRACTION_BITS :] >> k + 1
            over, left = Signal(name=f"over_{k}"), Signal(frame.PERIOD_INT_BITS, name=f"left_{k}")
            valid = Signal(name=f"counts_{k}")
            m.d.sync += [
                over.eq(rest >= half),
                left.eq(Mux(rest >= half, rest - half, rest)),
                valid.eq(valids[-1] & run),
            ]
            eighth.append(delayed(m, over, arrival.BIN_BITS - 1 - k, f"over_{k}"))
            valids.append(valid)
            rest = left
        place = delayed(m, place, arrival.BIN_BITS, "place")
        click_bank = delayed(m, click_bank, arrival.BIN_BITS - 1, "click_bank")
        position = delayed(m, position, arrival.BIN_BITS, "position")

        # Sums, and the reading of a bank.
        reads, read_at = Signal(), Signal(range(PLACES * READ_CLOCKS))
        with m.If(reads):
            m.d.sync += [read_at.eq(read_at + 1), reads.eq(~read_at.all())]
        with m.If(ends[-1]):
            m.d.sync += [reads.eq(1), read_at.eq(0)]
        with m.If(~run):
            m.d.sync += reads.eq(0)
        read_step, read_place = read_at[: (READ_CLOCKS - 1).bit_length()], read_at[(READ_CLOCKS - 1).bit_length() :]
        bins = BankedSums(words=PLACES * arrival.BINS, bits=arrival.COUNT_BITS, add_bits=1)
        sums = BankedSums(words=PLACES, bits=arrival.SUM_BITS, add_bits=frame.PERIOD_INT_BITS)
        m.submodules.bins, m.submodules.sums = bins, sums
        for part in (bins, sums):
            m.d.comb += [
                *(part.i_run.eq(run), part.i_valid.eq(valids[-1]), part.i_bank.eq(click_bank)),
                *(part.i_read_bank.eq(read_bank), part.i_forget.eq(reads & read_at.all())),
            ]
        m.d.comb += [
            *(bins.i_word.eq(Cat(reversed(eighth), place)), bins.i_add.eq(1)),
            *(sums.i_word.eq(place), sums.i_add.eq(position)),
            bins.i_read_word.eq(Cat(read_step[: arrival.BIN_BITS], read_place)),
            sums.i_read_word.eq(read_place),
        ]

        # Records: counts are shifted in as they are read, the last of them with all else.
        step, stepping = Signal.like(read_step), Signal()
        free, takes = Signal(), Signal()
        record_counts = Signal(arrival.BINS * arrival.COUNT_BITS)
        record_window, record_place, record_sum = Signal.like(window), Signal(2), Signal(arrival.SUM_BITS)
        m.d.sync += [step.eq(read_step), stepping.eq(reads)]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(step == 0):
            m.d.sync += free.eq(~self.o.valid)
            m.d.comb += [self.o_lost.eq(stepping & run & self.o.valid), takes.eq(stepping & run & ~self.o.valid)]
        with m.Else():
            m.d.comb += takes.eq(stepping & run & free & (step < arrival.BINS))
        with m.If(takes):
            m.d.sync += record_counts.eq(Cat(record_counts[arrival.COUNT_BITS :], bins.o_data))
            with m.If(step == arrival.BINS - 1):
                m.d.sync += [
                    *(record_window.eq(ended), record_place.eq(read_place), record_sum.eq(sums.o_data)),
                    self.o.valid.eq(1),
                ]
        words = self.o.payload
        m.d.comb += [
            *(words[0].eq(record_window), words[1].eq(record_place)),
            *(words[2].eq(record_sum[:32]), words[3].eq(record_sum[32:])),
            *(words[4 + k].eq(record_counts.word_select(k, arrival.COUNT_BITS)) for k in range(arrival.BINS)),
        ]

        busy = (self.i_valid, self.i_close, closes, *valids, ~bins.o_idle, ends, reads, stepping, self.o.valid)
        m.d.comb += self.o_idle.eq(~Cat(*busy).any())
        return m
