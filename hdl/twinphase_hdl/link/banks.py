"""The tag stream's packer for small parts: one packet is filled while another is sent, in the two halves of one memory."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.core.add import add_in_halves, keep_carry, with_carry
from twinphase_hdl.types import CHANNEL_BITS, Tag, word_stream
from twinphase_spec import packets, units
from twinphase_spec.packets import Stream

from .banksender import BankSender, Closed

PERIOD_BITS = units.TIME_BITS - packets.T2_TIME_BITS
"""Width of a tag's number of T2 periods (2^25 ticks each)."""
PERIOD_CLOCK_BITS = packets.T2_TIME_BITS - units.FRACTION_BITS
"""A T2 period is 2^12 clocks."""
HALF_BITS = PERIOD_BITS // 2
TAG_WORDS = 2
"""Words of a tag with its overflow word, at most."""
BANK_WORDS = packets.MAX_PAYLOAD_WORDS


class BankedTagPacker(wiring.Component):
    """Tags in, packets of T2 words out, as `TagPacker`, in a third of its logic; tags wait for it instead of in it.

    A tag's period is ``p = time >> 25``. The first tag of a packet sets the packet's base, ``p << 25``; a later one with
    ``d = p - (period of the packet's last tag) > 0`` is preceded by an overflow word of ``d``. A tag for which there is no room, or
    whose d does not fit into 25 bits, is lost and counted.

    The open packet closes, between tags and as soon as no other is being sent, when two more words would exceed MAX_PAYLOAD_WORDS; when
    it holds a tag and a flush tick (``i_clock mod 2^FLUSH_BITS = 0``) has passed; empty at a heartbeat tick if nothing was closed since
    the one before.

    Members
    -------
    i : In(stream of Tag) - in the order of their times.
    i_enable : In(1) - 0: tags are taken and forgotten, neither accepted nor lost; no heartbeats.
    i_clock : In(51) - clock count.
    o : Out(word_stream()) - packets, ``last`` on the last word.
    o_idle : Out(1) - nothing changes before the next tag or tick.

    Latency: free. Throughput: a tag in 9 clocks. Overflow: tags without room are lost and counted.
    """

    def __init__(self):
        super().__init__(
            {
                "i": In(stream.Signature(Tag)),
                "i_enable": In(1),
                "i_clock": In(units.CLOCK_BITS),
                "o": Out(word_stream()),
                "o_idle": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.banks = banks = memory.Memory(shape=32, depth=2 * BANK_WORDS, init=[])
        m.submodules.sender = sender = BankSender()
        write, read = banks.write_port(), banks.read_port()
        wiring.connect(m, sender.o, wiring.flipped(self.o))
        m.d.comb += [read.addr.eq(sender.o_address), sender.i_data.eq(read.data)]

        # Ticks are two clocks late, as comparing takes two. Every heartbeat tick is a flush tick.
        flush_bits = packets.FLUSH_BITS[Stream.TAG]
        parts = self.i_clock[:8], self.i_clock[8:flush_bits], self.i_clock[flush_bits : packets.HEARTBEAT_BITS]
        zeros, ticks, enabled = Signal(3), Signal(2), Signal()
        m.d.sync += [
            zeros.eq(Cat(part == 0 for part in parts)),
            ticks.eq(Cat(zeros[:2].all(), zeros.all())),
            enabled.eq(self.i_enable),
        ]

        # The open packet.
        bank = Signal()
        words, records = Signal(range(BANK_WORDS + 1)), Signal(range(BANK_WORDS + 1))
        filled, full = Signal(), Signal()
        base = Signal(PERIOD_BITS)
        lost = Signal(32)
        """Since the last packet was closed: less than one in four clocks, and a packet does not take 2^34 of them."""
        due, beat = Signal(), Signal()
        """A flush tick, a heartbeat tick without a packet since the one before, has passed."""
        closed = Signal()
        """A packet was closed since the last heartbeat tick."""
        close = Signal()
        put = Signal()
        overflow, packet_later = Signal(), Signal()
        lost_one = Signal()
        m.d.sync += [
            due.eq((due | (ticks[0] & filled)) & ~close),
            beat.eq((beat | (ticks[1] & ~closed)) & ~close & enabled),
        ]
        add_in_halves(m, lost, 1, lost_one)
        with m.If(close):
            m.d.sync += closed.eq(1)
        with m.Elif(ticks[1]):
            m.d.sync += closed.eq(0)
        m.d.sync += [write.en.eq(put), write.addr.eq(Cat(words[:-1], bank))]
        with m.If(close):
            m.d.sync += [bank.eq(~bank), words.eq(0), records.eq(0), filled.eq(0), full.eq(0), lost.eq(0)]
        with m.Elif(put):
            m.d.sync += [words.eq(words + 1), filled.eq(1), full.eq(words >= BANK_WORDS - TAG_WORDS)]

        now = Signal(PERIOD_BITS)
        """Of a packet without tags."""
        m.d.sync += now.eq(self.i_clock[PERIOD_CLOCK_BITS:])
        closing = Signal(Closed)
        m.d.comb += [
            closing.words.eq(words),
            closing.records.eq(records),
            closing.lost.eq(lost),
            closing.period.eq(Mux(filled, base, now)),
            sender.i_close.eq(close),
            sender.i_closed.eq(closing),
        ]

        # A tag: how far from the packet's last, whose period is kept inverted, low half and high half; what that means; its words.
        tag = self.i.payload
        period = tag.time[packets.T2_TIME_BITS :]
        last_inverted = Signal(PERIOD_BITS)
        low, high = Signal(HALF_BITS), Signal(PERIOD_BITS - HALF_BITS)
        distance = Cat(low, high)
        no_carry, carry = Signal(), Signal()
        later, beyond = Signal(), Signal()
        low_sum = with_carry(Cat(period[:HALF_BITS], Const(0)), Cat(last_inverted[:HALF_BITS], Const(0)), Const(1, 1))
        m.d.sync += [
            *keep_carry(low, no_carry, low_sum),
            carry.eq(~no_carry),
            high.eq(with_carry(period[HALF_BITS:], last_inverted[HALF_BITS:], carry)),
        ]
        m.d.sync += write.data.eq(Cat(tag.time[: packets.T2_TIME_BITS], tag.channel, Const(0, 1)))
        with m.If(overflow):
            overflow_word = Cat(
                distance[: packets.T2_TIME_BITS], Const(packets.T2_OVERFLOW_CHANNEL, CHANNEL_BITS), Const(1, 1)
            )
            m.d.sync += write.data.eq(overflow_word)
        # The first tag's, which waits while the packet is empty.
        with m.If(~filled):
            m.d.sync += base.eq(period)
        # One bit at a time: low, its carry, high, meaning, whether it is admitted, overflow word, word, gone.
        steps = Signal(8)
        at_admission, at_overflow, at_word, at_end = steps[-4:]
        rests, settles = Signal(init=1), Signal()
        wants, admitted = Signal(), Signal()
        """The packet is to be closed: seen a clock late, so that an end of a step is always between a word and that."""
        begins = rests & ~wants & self.i.valid
        m.d.sync += [
            wants.eq(~sender.o_busy & Mux(filled, full | due, beat)),
            steps.eq(Cat(begins, steps)),
            close.eq(rests & wants),
            settles.eq(close),
            rests.eq((rests & ~wants & ~self.i.valid) | at_end | settles),
            later.eq(filled & distance.any()),
            beyond.eq(distance[packets.T2_TIME_BITS :].any()),
        ]
        with m.If(at_admission):
            m.d.sync += admitted.eq(enabled & ~full & ~(filled & beyond))
        m.d.comb += [
            overflow.eq(at_overflow & admitted & packet_later),
            put.eq(overflow | (at_word & admitted)),
            self.i.ready.eq(at_end),
        ]
        with m.If(at_admission):
            m.d.sync += packet_later.eq(later)
        with m.If(at_end & admitted):
            m.d.sync += [records.eq(records + 1), last_inverted.eq(~period)]
        m.d.comb += lost_one.eq(at_end & ~admitted & enabled)
        m.d.comb += self.o_idle.eq(
            rests
            & ~(self.i.valid | sender.o_busy | due | beat)
            & ~((self.i_clock[:flush_bits] == 0) | zeros[:2].all() | ticks[0] | (filled & full))
        )
        return m
