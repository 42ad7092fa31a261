"""Closed packets out: header words, then the payload from a buffer."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.types import word_stream
from twinphase_spec import packets, units


class Descriptor(data.Struct):
    """What the header of a closed packet cannot take from elsewhere."""

    words: 9
    base_clock: units.CLOCK_BITS
    lost: 64


class NumberedDescriptor(data.Struct):
    """Of a stream whose records are not counted here: the header's flags and first_record come with the packet."""

    words: 9
    base_clock: units.CLOCK_BITS
    lost: 64
    flags: 16
    first_record: 32


class PacketSender(wiring.Component):
    """Sends packets of one stream, whose payloads lie in a memory of ``depth`` words, and counts their records.

    Payloads lie one behind the other, all round the memory, or every one is a single record that begins at address 0 (``single``).

    Parameters
    ----------
    stream_number : Stream
    depth : int
    single : bool
    numbered : bool
        The head tells flags and first_record.

    Members
    -------
    i_waiting : In(1) - a closed packet is there, and ``i_head`` describes the oldest one.
    i_head : In(Descriptor, NumberedDescriptor if ``numbered``)
    o_sent : Out(1) - strobe: the oldest packet is done with; ``i_waiting`` and ``i_head`` tell of the next one a clock later.
    o_address, o_read : Out, Out(1) - read port of the memory: ``i_data`` is the word a clock after ``o_read``, ``i_record_end`` tells
        that it is the last of its record (not if ``single`` or ``numbered``).
    o_taken : Out(1) - strobe: the word at ``o_address`` is taken.
    i_data : In(32)
    o : Out(word_stream()) - packets, ``last`` on the last word. The one to take them has a register for its ``ready``, or nearly: it
        moves everything here.
    o_idle : Out(1) - no packet is under way.

    Latency: 3 clocks to the first word. Throughput: a word per clock, one clock between packets. Overflow: none.
    """

    def __init__(self, stream_number: packets.Stream, *, depth: int, single: bool = False, numbered: bool = False):
        self._stream = stream_number
        self._single = single
        self._numbered = numbered
        super().__init__(
            {
                "i_waiting": In(1),
                "i_head": In(NumberedDescriptor if numbered else Descriptor),
                "o_sent": Out(1),
                "o_address": Out(range(depth)),
                "o_read": Out(1),
                "o_taken": Out(1),
                "i_data": In(32),
                **({} if single or numbered else {"i_record_end": In(1)}),
                "o": Out(word_stream()),
                "o_idle": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        active = Signal()
        index = Signal(range(packets.HEADER_WORDS + packets.MAX_PAYLOAD_WORDS))
        sequence = Signal(32)
        if self._numbered:
            records, size = self.i_head.first_record, Cat(self.i_head.words, Const(0, 7), self.i_head.flags)
        else:
            records, size = sequence if self._single else Signal(32, name="records"), self.i_head.words
        """Records of the packets before, and w2."""
        before_last = Signal.like(index)
        in_payload = Signal()
        """index >= HEADER_WORDS."""
        at_last = Signal()
        advance = Signal()
        base_ticks = Cat(Const(0, units.FRACTION_BITS), self.i_head.base_clock)
        header = Array(
            [
                packets.MAGIC << 16 | packets.VERSION << 8 | int(self._stream),
                sequence,
                size,
                base_ticks[:32],
                base_ticks[32:],
                self.i_head.lost[:32],
                self.i_head.lost[32:],
                records,
            ]
        )
        staged = Signal()
        staged_header = Signal()
        staged_last = Signal()
        staged_word = Signal(32)
        fetched = Signal()
        fetched_header = Signal()
        fetched_last = Signal()
        header_word = Signal(32)
        payload_word = Signal(32)
        m.d.comb += [
            advance.eq(~fetched | self.o.ready),
            self.o_read.eq(advance),
            self.o_taken.eq(active & advance & in_payload),
            self.o_sent.eq(active & advance & at_last),
            self.o.valid.eq(fetched),
            self.o.payload.last.eq(fetched_last),
            self.o.payload.data.eq(Mux(fetched_header, header_word, payload_word)),
            self.o_idle.eq(~(active | staged | fetched)),
        ]
        with m.If(advance):
            m.d.sync += [
                staged.eq(active),
                staged_header.eq(~in_payload),
                staged_last.eq(at_last),
                staged_word.eq(header[index[:3]]),
                fetched.eq(staged),
                fetched_header.eq(staged_header),
                fetched_last.eq(staged_last),
                header_word.eq(staged_word),
                payload_word.eq(self.i_data),  # nothing between: block RAM answers late in the clock
            ]
        with m.If(~active):
            m.d.sync += [
                active.eq(self.i_waiting),
                index.eq(0),
                before_last.eq(self.i_head.words + (packets.HEADER_WORDS - 2)),
                in_payload.eq(0),
                at_last.eq(0),
            ]
        with m.Elif(advance):
            m.d.sync += [
                index.eq(index + 1),
                in_payload.eq(in_payload | (index == packets.HEADER_WORDS - 1)),
                at_last.eq(index == before_last),
            ]
        with m.If(self.o_taken):
            m.d.sync += self.o_address.eq(self.o_address + 1)
        if self._single:
            with m.If(~active):
                m.d.sync += self.o_address.eq(0)
        elif not self._numbered:
            # A packet's records are counted on their way out, long before the next packet's header tells of them.
            record_end = Signal()
            with m.If(advance):
                m.d.sync += record_end.eq(self.i_record_end)  # out of block RAM, too
                with m.If(record_end & fetched & ~fetched_header):
                    m.d.sync += records.eq(records + 1)
        with m.If(self.o_sent):
            m.d.sync += active.eq(0)
        self._number_next(m, sequence, self.o_sent)
        return m

    def _number_next(self, m: Module, sequence: Signal, sent: Value) -> None:
        """``sequence``: one more when a packet has been ``sent``."""
        with m.If(sent):
            m.d.sync += sequence.eq(sequence + 1)
