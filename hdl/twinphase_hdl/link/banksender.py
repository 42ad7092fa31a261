"""Sends what `banks.BankedTagPacker` has closed."""

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.core.add import add_in_halves, with_carry
from twinphase_hdl.types import word_stream
from twinphase_spec import packets, units
from twinphase_spec.packets import Stream


class Closed(data.Struct):
    """A closed packet."""

    words: 9
    records: 9
    lost: 32
    """Records that were lost since the packet before it was closed."""
    period: units.TIME_BITS - packets.T2_TIME_BITS
    """Its base in T2 periods."""


def wide(word: Value | int) -> Value:
    """A word of 32 bits."""
    return Const(word, 32) if isinstance(word, int) else Cat(word, Const(0, 32 - len(word)))


class BankSender(wiring.Component):
    """Header and payload of closed packets, one at a time, from a memory of two banks that take turns.

    Members
    -------
    i_close, i_closed : In(1), In(Closed) - only while not busy.
    o_busy : Out(1) - a packet is being sent: its bank is in use.
    o_address : Out(9); i_data : In(32) - read port of the memory, one clock latency.
    o : Out(word_stream()) - packets.

    Latency: 6 clocks to the first word. Throughput: a word in 3 clocks. Overflow: none.
    """

    def __init__(self):
        super().__init__(
            {
                "i_close": In(1),
                "i_closed": In(Closed),
                "o_busy": Out(1),
                "o_address": Out(9),
                "i_data": In(32),
                "o": Out(word_stream()),
            }
        )

    def elaborate(self, platform):
        m = Module()
        o = self.o
        closed = Signal(Closed)
        bank = Signal()
        place = Signal(8)
        left = Signal(9)
        header = Signal(init=1)
        sequence, first = Signal(32), Signal(32)
        lost_low, lost_high = Signal(32), Signal(32)
        # Carries are kept in every clock, whatever the state, so that each has the LUT beside its flip-flop for itself.
        low, high = Signal(17), Signal(17)
        no_low_carry, low_carry, no_carry, carry = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            low.eq(lost_low[:16] + closed.lost[:16]),
            high.eq(with_carry(Cat(lost_low[16:], Const(0)), Cat(closed.lost[16:], Const(0)), low_carry)),
        ]
        m.d.sync += [
            no_low_carry.eq(~low[16]),
            low_carry.eq(~no_low_carry),
            no_carry.eq(~high[16]),
            carry.eq(~no_carry),
        ]
        base_ticks = Cat(Const(0, packets.T2_TIME_BITS), closed.period)
        turn = Signal(packets.HEADER_WORDS)
        """One bit: the header word that is next; none in the payload."""
        header_words = (
            packets.MAGIC << 16 | packets.VERSION << 8 | int(Stream.TAG),
            sequence,
            closed.words,
            base_ticks[:32],
            base_ticks[32:],
            lost_low,
            lost_high,
            first,
        )
        header_word = Signal(32)
        """Known long before it goes out, so that nothing but a choice lies between block RAM and ``o``."""
        m.d.sync += header_word.eq(
            reduce(or_, (word & of.replicate(32) for word, of in zip(map(wide, header_words), turn, strict=True)))
        )
        empty = Signal()
        ends = Signal()
        m.d.comb += self.o_address.eq(Cat(place, bank))
        sent, carries = Signal(), Signal()
        add_in_halves(m, sequence, 1, sent)
        add_in_halves(m, first, closed.records, sent)
        add_in_halves(m, lost_high, carry, carries)
        m.d.sync += [sent.eq(0), carries.eq(0)]
        with m.If(self.i_close):
            m.d.sync += closed.eq(self.i_closed)
        with m.FSM():
            with m.State("REST"), m.If(self.i_close):
                m.d.sync += self.o_busy.eq(1)
                m.next = "LOST"
            with m.State("LOST"):
                m.d.sync += [
                    lost_low[:16].eq(low),
                    left.eq(closed.words),
                    empty.eq(closed.words == 0),
                    place.eq(0),
                    header.eq(1),
                    turn.eq(1),
                ]
                m.next = "LOST_CARRY"
            with m.State("LOST_CARRY"):
                m.next = "LOST_HIGH"
            with m.State("LOST_HIGH"):
                m.d.sync += lost_low[16:].eq(high)
                m.next = "CARRY"
            with m.State("CARRY"):
                m.d.sync += carries.eq(1)
                m.next = "FETCH"
            with m.State("FETCH"):
                m.d.sync += ends.eq(Mux(header, turn[-1] & empty, left == 1))
                m.next = "LOAD"
            with m.State("LOAD"):
                m.d.sync += [
                    o.valid.eq(1),
                    turn.eq(turn << 1),
                    header.eq(header & ~turn[-1]),
                    o.payload.data.eq((self.i_data & ~header.replicate(32)) | header_word),
                    o.payload.last.eq(ends),
                ]
                with m.If(~header):
                    m.d.sync += [place.eq(place + 1), left.eq(left - 1)]
                m.next = "OFFER"
            with m.State("OFFER"), m.If(o.ready):
                m.d.sync += o.valid.eq(0)
                with m.If(o.payload.last):
                    m.d.sync += [
                        self.o_busy.eq(0),
                        sent.eq(1),
                        bank.eq(~bank),
                    ]
                    m.next = "REST"
                with m.Else():
                    m.next = "FETCH"
        return m
