"""Order of HERALD and PSI records: what is taken, missing, late or without room."""

from amaranth.hdl import Module, Signal
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from twinphase_spec.frame import PULSE_BITS
from twinphase_spec.packets import Stream
from twinphase_spec.sns import RING_HERALDS

from ..types import record_words

RING_BITS = (RING_HERALDS - 1).bit_length()


class HeraldIntake(wiring.Component):
    """Puts each herald number, in order, into the ring exactly once: with its record, or as missing.

    Formula: with e the expected number and f the first herald of the oldest unfinished block (all modulo 2^32, signed
    differences): ``h - e < 0`` late; else ``h - f >= RING_HERALDS`` overflow; else e .. h-1 missing, h taken, e = h + 1.
    A flush request makes e .. i_flush_number missing.

    Members
    -------
    i_herald : In(stream of HERALD records)
    i_first : In(32), f
    i_flush, i_flush_number : In(1), In(32), hold until ``o_flushed``
    o_flushed : Out(1), strobe: all numbers up to ``i_flush_number`` are settled
    o_next : Out(32), e
    o_valid : Out(1), ring entry ``o_index`` (13 bits) is ``o_pulse``, ``o_detector``; all meaningless if ``o_missing``
    o_taken, o_late, o_overflow : Out(1), strobes of the counters (missing: o_valid & o_missing)
    o_idle : Out(1), waits for input

    Latency: 1 clock. Throughput: a herald in 2 clocks, a missing number in 1. The input stalls while numbers are filled.
    Source: docs/contract.md, block sifter.
    """

    i_herald: In(stream.Signature(record_words(Stream.HERALD)))
    i_first: In(32)
    i_flush: In(1)
    i_flush_number: In(32)
    o_flushed: Out(1)
    o_next: Out(32)
    o_valid: Out(1)
    o_index: Out(RING_BITS)
    o_missing: Out(1)
    o_pulse: Out(PULSE_BITS)
    o_detector: Out(1)
    o_taken: Out(1)
    o_late: Out(1)
    o_overflow: Out(1)
    o_idle: Out(1)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        words = self.i_herald.payload
        ahead, room = Signal(32), Signal(32)
        m.d.comb += self.o_index.eq(self.o_next)
        with m.FSM(name="herald_fsm"):
            with m.State("IDLE"):
                m.d.comb += self.i_herald.ready.eq(~self.i_flush)
                m.d.comb += self.o_idle.eq(~self.i_herald.valid & ~self.i_flush)
                with m.If(self.i_flush):
                    m.d.sync += ahead.eq(self.i_flush_number - self.o_next)
                    m.next = "FLUSH"
                with m.Elif(self.i_herald.valid):
                    m.d.sync += [
                        ahead.eq(words[0] - self.o_next),
                        room.eq(words[0] - self.i_first),
                        self.o_pulse[:32].eq(words[1]),
                        self.o_pulse[32:].eq(words[2][: PULSE_BITS - 32]),
                        self.o_detector.eq(words[2][31]),
                    ]
                    m.next = "CHECK"
            with m.State("CHECK"):
                with m.If(ahead[31]):
                    m.d.comb += self.o_late.eq(1)
                    m.next = "IDLE"
                with m.Elif(room[RING_BITS:].any()):
                    m.d.comb += self.o_overflow.eq(1)
                    m.next = "IDLE"
                with m.Else():
                    m.d.comb += [self.o_valid.eq(1), self.o_missing.eq(ahead.any()), self.o_taken.eq(~self.o_missing)]
                    with m.If(self.o_taken):
                        m.next = "IDLE"
            with m.State("FLUSH"):
                with m.If(ahead[31]):
                    m.d.comb += self.o_flushed.eq(1)
                    m.next = "IDLE"
                with m.Else():
                    m.d.comb += [self.o_valid.eq(1), self.o_missing.eq(1)]
        with m.If(self.o_valid):
            m.d.sync += [self.o_next.eq(self.o_next + 1), ahead.eq(ahead - 1)]
        return m


class PsiIntake(wiring.Component):
    """Gives each herald number, in order, its final psi exactly once: 0 with flags 0 if skipped or the herald is missing.

    Formula: as `HeraldIntake` with the expected psi number. A psi whose herald has not come (``h - herald_next >= 0``) has
    all heralds up to h flushed before it is taken.

    Members
    -------
    i_psi : In(stream of PSI records)
    i_first : In(32), first herald of the oldest unfinished block
    i_herald_next : In(32), next herald number that the herald intake expects
    o_flush, o_flush_number, i_flushed : Out(1), Out(32), In(1), to the herald intake
    i_herald_valid, i_herald_index, i_herald_missing : In(1), In(13), In(1), ring entries as the herald intake makes them
    o_valid : Out(1), ring entry ``o_index`` (13 bits) has ``o_psi`` (16 bits, 2^-16 turn) and ``o_flags`` (2 bits)
    o_taken, o_late, o_overflow : Out(1), strobes of the counters
    o_idle : Out(1), waits for input and nothing is on its way to the output

    Latency: 3 clocks. Throughput: a psi in 2 clocks, a skipped number in 1. The input stalls while numbers are filled.
    Source: docs/contract.md, block sifter.
    """

    i_psi: In(stream.Signature(record_words(Stream.PSI)))
    i_first: In(32)
    i_herald_next: In(32)
    o_flush: Out(1)
    o_flush_number: Out(32)
    i_flushed: In(1)
    i_herald_valid: In(1)
    i_herald_index: In(RING_BITS)
    i_herald_missing: In(1)
    o_valid: Out(1)
    o_index: Out(RING_BITS)
    o_psi: Out(16)
    o_flags: Out(2)
    o_taken: Out(1)
    o_late: Out(1)
    o_overflow: Out(1)
    o_idle: Out(1)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.missing = missing = memory.Memory(shape=1, depth=RING_HERALDS, init=[])
        mark, look = missing.write_port(), missing.read_port()
        m.d.comb += [
            mark.en.eq(self.i_herald_valid),
            mark.addr.eq(self.i_herald_index),
            mark.data.eq(self.i_herald_missing),
        ]

        number, following = Signal(32), Signal(32)
        psi, flags = Signal(16), Signal(2)
        ahead, room = Signal(32), Signal(32)
        herald_came = Signal()
        settle = Signal()
        waiting = Signal()
        behind = (self.i_psi.payload[0] - self.i_herald_next)[:32]
        m.d.comb += self.o_flush_number.eq(number)
        with m.FSM(name="psi_fsm"):
            with m.State("IDLE"):
                m.d.comb += [self.i_psi.ready.eq(1), waiting.eq(~self.i_psi.valid)]
                with m.If(self.i_psi.valid):
                    m.d.sync += [
                        number.eq(self.i_psi.payload[0]),
                        psi.eq(self.i_psi.payload[1][:16]),
                        flags.eq(self.i_psi.payload[1][16:18]),
                        ahead.eq(self.i_psi.payload[0] - following),
                        room.eq(self.i_psi.payload[0] - self.i_first),
                        herald_came.eq(behind[31]),
                    ]
                    m.next = "CHECK"
            with m.State("CHECK"):
                with m.If(ahead[31]):
                    m.d.comb += self.o_late.eq(1)
                    m.next = "IDLE"
                with m.Elif(room[RING_BITS:].any()):
                    m.d.comb += self.o_overflow.eq(1)
                    m.next = "IDLE"
                with m.Elif(~herald_came):
                    m.next = "FLUSH"
                with m.Else():
                    m.d.comb += [settle.eq(1), self.o_taken.eq(~ahead.any())]
                    with m.If(self.o_taken):
                        m.next = "IDLE"
            with m.State("FLUSH"):
                m.d.comb += self.o_flush.eq(~self.i_flushed)
                with m.If(self.i_flushed):
                    m.d.sync += herald_came.eq(1)
                    m.next = "CHECK"
        with m.If(settle):
            m.d.sync += [following.eq(following + 1), ahead.eq(ahead - 1)]

        # Block RAM is slow to answer: its output is registered before it gates psi.
        given = Signal()
        found, found_given, found_index = Signal(), Signal(), Signal(RING_BITS)
        decided, decided_given, decided_missing = Signal(), Signal(), Signal()
        held_psi, held_flags = Signal(16), Signal(2)
        decided_psi, decided_flags = Signal(16), Signal(2)
        m.d.comb += [given.eq(self.o_taken), look.addr.eq(following), look.en.eq(settle)]
        m.d.sync += [found.eq(settle), decided.eq(found)]
        with m.If(settle):
            m.d.sync += [found_given.eq(given), found_index.eq(following), held_psi.eq(psi), held_flags.eq(flags)]
        with m.If(found):
            m.d.sync += [
                decided_given.eq(found_given),
                decided_missing.eq(look.data),
                self.o_index.eq(found_index),
                decided_psi.eq(held_psi),
                decided_flags.eq(held_flags),
            ]
        with m.If(decided & decided_given & ~decided_missing):
            m.d.comb += [self.o_psi.eq(decided_psi), self.o_flags.eq(decided_flags)]
        m.d.comb += [self.o_valid.eq(decided), self.o_idle.eq(waiting & ~found & ~decided)]
        return m
