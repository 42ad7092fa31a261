"""Heralds in few bits: the packets of HERALD_CODE."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.core.along import delayed
from twinphase_hdl.link.packetstore import WAITING_PACKETS, PacketStore
from twinphase_hdl.types import word_stream
from twinphase_spec import frame, packets, units
from twinphase_spec.herald_code import BATCH, SETTLE
from twinphase_spec.packets import Stream

from .batchdivisor import BatchDivisor
from .codepacker import DEPTH, CodePacker
from .codepairs import CodePairs
from .golomb import HERALDS, DivisorExpander, GolombCoder

STREAM = Stream.HERALD_CODE
HEAD_BITS = 2 * HERALDS.word_bits + 1
"""Of a packet's first herald: its pulse, the divisor, its detector."""
CODE_BITS = packets.MAX_PAYLOAD_WORDS * HERALDS.word_bits - HEAD_BITS
"""Of all others in a packet."""
BATCH_BITS = (BATCH - 1).bit_length()
COUNT_BITS = 16


class PlacedHerald(data.Struct):
    """What is announced of a herald."""

    number: 32
    pulse: frame.PULSE_BITS
    detector: 1


class HeraldCoder(wiring.Component):
    """Packets of HERALD_CODE, as docs/heralds.md says.

    A herald is charged to its packet with the longest code until the length of its own is known, ten clocks later, and a packet closes
    when three more of the longest might not fit. A herald whose number does not follow the one before begins a new packet, and the
    batches anew.

    Members
    -------
    i : In(stream of PlacedHerald)
    i_divisor : In(8) - register HERALD_DIVISOR.
    i_enable : In(1) - 0: heralds are taken and only counted into their batches; no heartbeats.
    i_clock : In(51) - clock count.
    i_flush : In(1) - strobe: what has come until now is to leave.
    o_flushed : Out(1) - nothing that came before the last ``i_flush`` is still here, but for last words of a packet under way.
    o : Out(word_stream()) - packets, ``last`` on the last word.
    o_idle : Out(1) - nothing changes before the next herald or tick.

    Latency: free. Throughput: a herald per clock for as long as one likes while codes have up to 16 bits, and words leave as they come;
    while codes have up to 32, a packet's end takes up to 16 clocks. Overflow: none, ``i`` waits.
    """

    i: In(stream.Signature(PlacedHerald))
    i_divisor: In(8)
    i_enable: In(1)
    i_clock: In(units.CLOCK_BITS)
    i_flush: In(1)
    o_flushed: Out(1)
    o: Out(word_stream())
    o_idle: Out(1)

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.batches = batches = BatchDivisor()
        m.submodules.expander = expander = DivisorExpander()
        m.submodules.coder = coder = GolombCoder()
        m.submodules.pairs = pairs = CodePairs()
        m.submodules.packer = packer = CodePacker()
        m.submodules.store = store = PacketStore(STREAM, ahead=CodePacker.AHEAD)
        wiring.connect(m, store.o, wiring.flipped(self.o))

        # Clock count and ticks are late, as comparing takes two. Every heartbeat tick is a flush tick.
        flush_bits = packets.FLUSH_BITS[STREAM]
        zeros, ticks = Signal(3), Signal(2)
        parts = self.i_clock[:8], self.i_clock[8:flush_bits], self.i_clock[flush_bits : packets.HEARTBEAT_BITS]
        asked, enabled = Signal(), Signal()
        m.d.sync += [
            zeros.eq(Cat(part == 0 for part in parts)),
            ticks.eq(Cat(zeros[:2].all(), zeros.all())),
            *(asked.eq(self.i_flush), enabled.eq(self.i_enable)),
        ]
        tick, heartbeat = ticks

        # The herald at hand, and what is known of it.
        waits, passes, leaves, beating = Signal(), Signal(), Signal(), Signal()
        take, taken = Signal(), Signal()
        herald, restart, settled = Signal(PlacedHerald), Signal(), Signal()
        expected = Signal(32)
        m.d.comb += [self.i.ready.eq(~waits | passes), leaves.eq(waits & passes), take.eq(self.i.valid & self.i.ready)]
        m.d.sync += [waits.eq((take & enabled) | (waits & ~leaves)), taken.eq(take)]
        number = self.i.payload.number
        with m.If(take):
            m.d.sync += expected.eq(number + 1)
        with m.If(self.i.ready):  # what is no herald is not looked at
            m.d.sync += [
                herald.eq(self.i.payload),
                restart.eq(number != expected),
                settled.eq(number[:BATCH_BITS] == SETTLE),
            ]
        m.d.comb += [
            *(batches.i_taken.eq(taken), batches.i_number.eq(herald.number), batches.i_pulse.eq(herald.pulse)),
            *(batches.i_restart.eq(restart), batches.i_settled.eq(settled), batches.i_divisor.eq(self.i_divisor)),
        ]

        # A herald at hand leaves at once: coded, or as the head of a packet, which ends the one before.
        may, opened, ending = Signal(), Signal(), Signal()
        """There is a place in the queue; there is an open packet; an end is under way."""
        stop = Signal()
        """The open packet gets no more: another herald might not fit (that it does, as codes turn out to be shorter, is not waited for),
        or it is due."""
        issue, begin, end, beat = Signal(), Signal(), Signal(), Signal()
        after_pairs = coder.latency + 3
        """Stages from a herald at hand to its entry."""
        heads, ends, inside = (Signal(after_pairs, name=name) for name in ("heads", "ends", "inside"))
        """Bit k: a head, an end, anything is in stage k + 1. Of the first two there is one at most, kept aside."""
        apart, old_lengths = Signal(), Signal()
        """No head is in a stage; lengths that come are of codes before it."""
        begins = ~opened | stop | restart
        m.d.comb += [
            issue.eq(waits & may & (~begins | (apart & ~(opened & ending)))),
            begin.eq(issue & begins),
            end.eq((begin & opened) | (opened & stop & ~waits & may & ~ending)),
            beat.eq(beating & ~opened & ~waits & may & ~ending),
            passes.eq(issue),
        ]
        claims = issue | end | beat
        m.d.sync += [
            *(heads.eq(Cat(begin, heads)), ends.eq(Cat(end | beat, ends)), inside.eq(Cat(claims, inside))),
            ending.eq(end | beat | (ending & ~store.o_closed)),
            *(apart.eq(~(begin | heads[:-1].any())), old_lengths.eq(begin | heads[: after_pairs - 3].any())),
        ]
        free = Signal(range(DEPTH + 1), init=DEPTH)
        """Places of the queue that nothing is on its way to; ``may``: there is one, even after what two clocks before have claimed."""
        m.d.sync += [may.eq(free > 2), free.eq(free + packer.o_popped + pairs.o_joined - inside[0])]

        # What the packet has room for. A herald is charged for a clock late, and the limit acts a clock late: a code each is kept for
        # these, and one for the herald at hand. Lengths of the packet before come for a while.
        spare, change = Signal(signed(CODE_BITS.bit_length() + 1)), Signal(signed(8))
        longest = HERALDS.code_bits
        refund = Mux(coder.o_length_valid & ~old_lengths, longest - coder.o_length, 0)
        m.d.sync += [change.eq(refund - Mux(issue & ~begins, longest, 0)), spare.eq(spare + change)]
        with m.If(heads[0]):
            m.d.sync += spare.eq(CODE_BITS - 3 * longest)

        # When to close.
        due, behind = Signal(), Signal()
        """The packet is to be closed, but if ``behind`` not before the herald at hand has gone."""
        flushing, closed = Signal(), Signal()
        outstanding = Signal(range(WAITING_PACKETS + 2))
        """Ends that have not been sent: closed ones, and one under way."""
        to_flush = Signal.like(outstanding)
        flushed, marked = Signal(), Signal()
        settles = due & ~behind & (~opened | end)
        """What is due has been done."""
        m.d.sync += [
            opened.eq((opened & ~end) | begin),
            stop.eq(opened & ~end & (stop | (spare[-1] & ~heads[0]) | (due & ~behind))),
            due.eq((due & ~settles) | tick | asked),
            behind.eq(Mux(tick | asked, waits, behind) & ~leaves),
            flushing.eq((flushing & ~settles) | asked),
            *(flushed.eq(flushing & settles), marked.eq(flushed)),
            beating.eq(((heartbeat & ~closed & ~opened & enabled) | (beating & enabled)) & ~(beat | begin)),
            closed.eq(end | (closed & ~heartbeat)),
        ]
        sent = store.o_sent
        with m.If(ends[0] ^ sent):
            m.d.sync += outstanding.eq(outstanding + Mux(sent, -1, 1))
        with m.If(marked):
            m.d.sync += to_flush.eq(outstanding - sent)
        with m.Elif(sent & to_flush.any()):
            m.d.sync += to_flush.eq(to_flush - 1)
        m.d.comb += self.o_flushed.eq(~(asked | flushing | flushed | marked | to_flush.any()))

        # Gaps, as late as their divisor is known; heads, and what ended packets are known by.
        first, records = Signal(32), Signal(COUNT_BITS)
        pulse, before, detector = Signal(frame.PULSE_BITS), Signal(frame.PULSE_BITS), Signal()
        gap = Signal(frame.PULSE_BITS)
        head = Signal(HEAD_BITS)
        with m.If(issue):
            m.d.sync += [before.eq(pulse), pulse.eq(herald.pulse), detector.eq(herald.detector)]
            m.d.sync += records.eq(records + 1)
        with m.If(begin):
            m.d.sync += [first.eq(herald.number), records.eq(1), expander.i.eq(batches.o)]
            m.d.sync += head.eq(Cat(herald.pulse, batches.o, herald.detector))
        with m.If(end | beat):
            m.d.sync += [
                store.i_first_record.eq(Mux(opened, first, expected)),
                store.i_flags.eq(Mux(opened, records, 0)),
            ]
        m.d.sync += [gap.eq(pulse + ~before), coder.i_gap.eq(gap)]
        m.d.comb += [
            coder.i_valid.eq(delayed(m, issue & ~begins, 3, "issued")),
            coder.i_detector.eq(delayed(m, detector, 2, "detector_of_gap")),
            coder.i_divisor.eq(expander.o),
        ]

        # Into the queue, and out of it into the store.
        m.d.comb += [
            *(pairs.i_push.eq(inside[-1]), pairs.i_whole.eq(~coder.o_valid), pairs.i_end.eq(ends[-1])),
            pairs.i_bits.eq(Mux(coder.o_valid, coder.o_code, Mux(heads[-1], head, 0))),
            pairs.i_length.eq(Mux(coder.o_valid, coder.o_code_length, Mux(heads[-1], HEAD_BITS, 0))),
            *(packer.i_push.eq(pairs.o_push), packer.i_end.eq(pairs.o_end)),
            *(packer.i_bits.eq(pairs.o_bits), packer.i_length.eq(pairs.o_length)),
            packer.i_room.eq(store.o_room),
            *(store.i_put.eq(packer.o_put), store.i_word.eq(packer.o_word)),
            *(store.i_close.eq(packer.o_end), packer.i_ended.eq(store.o_closed), store.i_clock.eq(self.i_clock)),
        ]

        ticking = (self.i_clock[:flush_bits] == 0) | zeros[:2].all() | ticks.any()
        quiet = ~Cat(
            self.i.valid,
            waits,
            taken,
            inside,
            due,
            stop,
            beating,
            self.i_flush,
            asked,
            flushing,
            flushed,
            marked,
            outstanding,
        )
        parts_idle = batches.o_idle & pairs.o_idle & packer.o_idle & store.o_idle
        m.d.comb += self.o_idle.eq(quiet.all() & ~ticking & parts_idle)
        return m
