"""Heralds from the packets of HERALD_CODE."""

from amaranth.hdl import C, Cat, Module, ResetInserter, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.core.add import with_carry
from twinphase_hdl.types import record_words, word_stream
from twinphase_spec import frame
from twinphase_spec.herald_code import DIVISOR_SHIFT, HEAD_WORDS
from twinphase_spec.packets import HEADER_WORDS, Stream

from .golomb import DivisorExpander
from .golombreader import GolombReader

HEAD_PLACES = HEADER_WORDS - 1 + HEAD_WORDS
"""Words from w1 to the last one before the code."""
SIZE_PLACE, NUMBER_PLACE = 1, HEADER_WORDS - 2
"""Of w2 and w7."""


class EarlyExpander(DivisorExpander):
    """Knows from a register whether m has a remainder's bits, as carry chains begin with it."""

    def _known(self, m: Module, at: Value, some: Value) -> tuple[Value, Value]:
        known = Signal()
        m.d.sync += known.eq(some)
        return ~known, known


class HeraldDecoder(wiring.Component):
    """HERALD records of the packets of HERALD_CODE, as docs/heralds.md says.

    The last word of a packet is taken when all its records have been, so that whatever comes behind it comes after them.

    Members
    -------
    i : In(word_stream()) - whole packets from w1 on.
    o : Out(stream of HERALD records)
    o_malformed : Out(1) - strobe: a packet's code was not exactly its heralds, or a pulse is none of 56 bits; those before have
        left. A clock after what shows it.
    o_idle : Out(1) - nothing changes before the next word.

    Latency: free. Throughput: a herald in 4 clocks, see `GolombReader`. Overflow: none.
    """

    i: In(word_stream())
    o: Out(stream.Signature(record_words(Stream.HERALD)))
    o_malformed: Out(1)
    o_idle: Out(1)

    def elaborate(self, platform) -> Module:
        m = Module()
        beyond = Signal()
        """The pulse that has been added up does not exist."""
        reader = GolombReader()
        m.submodules.reader = ResetInserter(beyond)(reader)
        m.submodules.expander = expander = EarlyExpander()
        word, last = self.i.payload.data, self.i.payload.last
        number, count = Signal(32), Signal(16)
        pulse = Signal(frame.PULSE_BITS)
        started = Signal()
        peeked = Signal()
        """The reader has the packet's last word, which still waits here."""
        m.d.comb += [
            *(reader.i_divisor.eq(expander.o), reader.i_start.eq(started), reader.i_count.eq(count)),
            *(reader.i.payload.data.eq(word), reader.i.payload.last.eq(last)),
        ]
        m.d.sync += [started.eq(0), self.o_malformed.eq(0)]

        # Pulses: the sum, then whether there is such a pulse.
        total, adding, detector = Signal(frame.PULSE_BITS + 1), Signal(), Signal()
        given = reader.o.payload
        release = ~self.o.valid | self.o.ready
        m.d.comb += [reader.o.ready.eq(~adding), beyond.eq(adding & total[-1])]
        with m.If(~adding):
            # The first herald has no gap.
            gap = Cat(given.gap & (~given.first).replicate(frame.PULSE_BITS), C(0, 1))
            m.d.sync += [
                *(adding.eq(reader.o.valid), detector.eq(given.detector)),
                total.eq(with_carry(Cat(pulse, C(0, 1)), gap, ~given.first)),
            ]
        with m.Elif(release | beyond):
            m.d.sync += adding.eq(0)
        with m.If(release):
            m.d.sync += self.o.valid.eq(adding & ~beyond)
        with m.If(release & adding):
            now = total[: frame.PULSE_BITS]
            m.d.sync += [
                *(pulse.eq(now), number.eq(number + 1)),
                *(self.o.payload[0].eq(number), self.o.payload[1].eq(now[:32])),
                self.o.payload[2].eq(Cat(now[32:], C(0, 63 - frame.PULSE_BITS), detector)),
            ]

        # Packets.
        place = Signal(HEAD_PLACES, init=1)
        """One bit per word."""
        given_all = ~(adding | self.o.valid)
        with m.FSM(name="packet"):
            with m.State("HEAD"):
                m.d.comb += [self.i.ready.eq(1), self.o_idle.eq(~(self.i.valid | self.o_malformed))]
                with m.If(self.i.valid):
                    m.d.sync += place.eq(place.rotate_left(1))
                    with m.If(place[SIZE_PLACE]):
                        m.d.sync += count.eq(word[16:])
                    with m.If(place[NUMBER_PLACE]):
                        m.d.sync += number.eq(word)
                    with m.If(place[-2]):
                        m.d.sync += pulse[:32].eq(word)
                    with m.If(place[-1]):
                        m.d.sync += [pulse[32:].eq(word), expander.i.eq(word[DIVISOR_SHIFT:]), started.eq(count.any())]
                        m.next = "CODE"
                        with m.If(~count.any()):
                            m.next = "DROP"
                    with m.If(last):
                        # Without payload, as a heartbeat is, or with not enough of it.
                        m.d.sync += [place.eq(1), started.eq(0)]
                        m.d.sync += self.o_malformed.eq(count.any() | ~place[NUMBER_PLACE])
                        m.next = "HEAD"
            with m.State("CODE"):
                m.d.comb += [
                    reader.i.valid.eq(self.i.valid & ~peeked & ~started),
                    self.i.ready.eq(reader.i.ready & ~peeked & ~last),
                ]
                with m.If(reader.i.valid & reader.i.ready & last):
                    m.d.sync += peeked.eq(1)
                with m.If(reader.o_done):
                    m.next = "DONE"
                with m.If(reader.o_bad | beyond):
                    m.next = "DROP"
            with m.State("DONE"):
                m.d.comb += self.i.ready.eq(given_all)
                m.d.sync += peeked.eq(0)
                with m.If(given_all):
                    m.next = "HEAD"
                with m.If(beyond):
                    m.next = "DROP"
            with m.State("DROP"):
                m.d.sync += peeked.eq(0)
                m.d.comb += self.i.ready.eq(~last | given_all)
                with m.If(self.i.valid & last & given_all):
                    m.d.sync += self.o_malformed.eq(1)
                    m.next = "HEAD"
        return m
