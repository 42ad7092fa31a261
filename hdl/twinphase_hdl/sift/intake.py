"""Order of HERALD and PSI records: what is taken, missing, late or without room."""

from amaranth.hdl import Module, Mux, Signal
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
    o_flushed : Out(1), strobe: all numbers up to ``i_flush_number`` are settled; ``i_flush`` ends with the next clock
    o_next : Out(32), e
    o_valid : Out(1), ring entry ``o_index`` (13 bits) is ``o_pulse``, ``o_detector``; all meaningless if ``o_missing``
    i_ready : In(1), the ring takes an entry; without it none is valid
    o_taken, o_late, o_overflow : Out(1), strobes of the counters (missing: o_valid & o_missing)
    o_idle : Out(1), waits for input

    Latency: 3 clocks (taken, differences, their meaning), a strobe of late or overflow 3 as well. Throughput: a herald in 4 clocks,
    a missing number in 1. The input stalls while numbers are filled, and while the ring takes none. Source: docs/contract.md, block
    sifter.
    """

    i_herald: In(stream.Signature(record_words(Stream.HERALD)))
    i_first: In(32)
    i_flush: In(1)
    i_flush_number: In(32)
    o_flushed: Out(1)
    o_next: Out(32)
    o_valid: Out(1)
    i_ready: In(1)
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
        number = Signal(32)
        ahead = Signal(32)
        room = Signal(32)
        flushing = Signal()
        # With room, it is the low bits of ``ahead`` that count. Whether none is missing any more is known a clock before it is needed.
        last = Signal()
        skipped = [last.eq(~ahead[:RING_BITS].any()), ahead[:RING_BITS].eq(ahead[:RING_BITS] - 1)]
        m.d.comb += self.o_index.eq(self.o_next)
        m.d.sync += [self.o_late.eq(0), self.o_overflow.eq(0)]
        with m.FSM(name="herald_fsm"):
            with m.State("IDLE"):
                m.d.comb += self.i_herald.ready.eq(~self.i_flush)
                m.d.comb += self.o_idle.eq(~(self.i_herald.valid | self.i_flush | self.o_late | self.o_overflow))
                m.d.sync += [
                    flushing.eq(self.i_flush),
                    number.eq(Mux(self.i_flush, self.i_flush_number, words[0])),
                    self.o_pulse[:32].eq(words[1]),
                    self.o_pulse[32:].eq(words[2][: PULSE_BITS - 32]),
                    self.o_detector.eq(words[2][31]),
                ]
                with m.If(self.i_flush | self.i_herald.valid):
                    m.next = "DIFFER"
            with m.State("DIFFER"):
                m.d.sync += [ahead.eq(number - self.o_next), room.eq(number - self.i_first)]
                m.next = "CHECK"
            with m.State("CHECK"):
                m.d.sync += skipped
                with m.If(ahead[31]):
                    m.d.comb += self.o_flushed.eq(flushing)
                    m.d.sync += self.o_late.eq(~flushing)
                    m.next = "IDLE"
                with m.Elif(room[RING_BITS:].any()):  # not of a flush, whose psi found room
                    m.d.sync += self.o_overflow.eq(1)
                    m.next = "IDLE"
                with m.Else():
                    m.next = "PLACE"
            with m.State("PLACE"), m.If(self.i_ready):
                m.d.comb += [self.o_valid.eq(1), self.o_missing.eq(flushing | ~last), self.o_taken.eq(~self.o_missing)]
                m.d.sync += skipped
                m.d.sync += self.o_next.eq(self.o_next + 1)
                with m.If(last):
                    m.d.comb += self.o_flushed.eq(flushing)
                    m.next = "IDLE"
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
    i_ready : In(1), a number may be settled; its psi comes three clocks later, and none is settled meanwhile
    o_valid : Out(1), ring entry ``o_index`` (13 bits) has ``o_psi`` (16 bits, 2^-16 turn) and ``o_flags`` (2 bits)
    o_present : Out(1), with o_valid: its herald is not missing
    o_taken, o_late, o_overflow : Out(1), strobes of the counters
    o_idle : Out(1), waits for input and nothing is on its way to the output

    Latency: 6 clocks (taken, differences, their meaning; block RAM, its register, output). Throughput: a psi or a skipped number in 4
    clocks. The input stalls while numbers are filled, and without ``i_ready``. Source: docs/contract.md, block sifter.
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
    i_ready: In(1)
    o_valid: Out(1)
    o_index: Out(RING_BITS)
    o_psi: Out(16)
    o_flags: Out(2)
    o_present: Out(1)
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
        ahead, room, behind = Signal(32), Signal(32), Signal(32)
        last = Signal()
        skipped = [last.eq(~ahead[:RING_BITS].any()), ahead[:RING_BITS].eq(ahead[:RING_BITS] - 1)]
        settle, on_the_way = Signal(), Signal()
        waiting = Signal()
        m.d.comb += self.o_flush_number.eq(number)
        m.d.sync += [self.o_late.eq(0), self.o_overflow.eq(0)]
        with m.FSM(name="psi_fsm"):
            with m.State("IDLE"):
                m.d.comb += [self.i_psi.ready.eq(1), waiting.eq(~self.i_psi.valid)]
                m.d.sync += [
                    number.eq(self.i_psi.payload[0]),
                    psi.eq(self.i_psi.payload[1][:16]),
                    flags.eq(self.i_psi.payload[1][16:18]),
                ]
                with m.If(self.i_psi.valid):
                    m.next = "DIFFER"
            with m.State("DIFFER"):
                m.d.sync += [
                    ahead.eq(number - following),
                    room.eq(number - self.i_first),
                    behind.eq(number - self.i_herald_next),
                ]
                m.next = "CHECK"
            with m.State("CHECK"):
                m.d.sync += skipped
                with m.If(ahead[31]):
                    m.d.sync += self.o_late.eq(1)
                    m.next = "IDLE"
                with m.Elif(room[RING_BITS:].any()):
                    m.d.sync += self.o_overflow.eq(1)
                    m.next = "IDLE"
                with m.Elif(behind[31]):
                    m.next = "SETTLE"
                with m.Else():
                    m.next = "FLUSH"
            with m.State("FLUSH"):
                m.d.comb += self.o_flush.eq(1)
                with m.If(self.i_flushed):
                    m.next = "DIFFER"
            with m.State("SETTLE"), m.If(self.i_ready & ~on_the_way):
                m.d.comb += [settle.eq(1), self.o_taken.eq(last)]
                m.d.sync += skipped
                m.d.sync += following.eq(following + 1)
                with m.If(last):
                    m.next = "IDLE"

        # Whether the herald is missing comes out of block RAM two clocks later; psi goes along, from where it stays for one clock more.
        found, decided = (Signal(name=name) for name in ("found", "decided"))
        found_given, found_index = Signal(), Signal(RING_BITS)
        decided_given, decided_index = Signal(), Signal(RING_BITS)
        decided_missing = Signal(reset_less=True)
        decided_psi, decided_flags = Signal(16), Signal(2)
        given, given_psi, given_flags = Signal(), Signal(16), Signal(2)
        m.d.comb += look.addr.eq(following)
        m.d.sync += [
            *(found.eq(settle), found_given.eq(last), found_index.eq(following)),
            *(decided.eq(found), decided_given.eq(found_given), decided_index.eq(found_index)),
            *(decided_missing.eq(look.data), decided_psi.eq(psi), decided_flags.eq(flags)),
            *(self.o_valid.eq(decided), self.o_index.eq(decided_index)),
            *(given_psi.eq(decided_psi), given_flags.eq(decided_flags), given.eq(decided_given & ~decided_missing)),
            self.o_present.eq(~decided_missing),
        ]
        m.d.comb += [
            *(self.o_psi.eq(Mux(given, given_psi, 0)), self.o_flags.eq(Mux(given, given_flags, 0))),
            on_the_way.eq(found | decided | self.o_valid),
            self.o_idle.eq(waiting & ~(on_the_way | self.o_late | self.o_overflow)),
        ]
        return m
