"""Heralds in few bits: the packets of HERALD_CODE."""

from amaranth.hdl import C, Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.link.packetstore import PacketStore
from twinphase_hdl.types import word_stream
from twinphase_spec import frame, packets, units
from twinphase_spec.herald_code import BATCH, SETTLE
from twinphase_spec.packets import Stream

from .batchdivisor import BatchDivisor
from .codepacker import DEPTH, CodePacker
from .golomb import HERALDS, DivisorExpander, GolombCoder

STREAM = Stream.HERALD_CODE
HEAD_BITS = 2 * HERALDS.word_bits + 1
"""Of a packet's first herald: its pulse, the divisor, its detector."""
CODE_BITS = packets.MAX_PAYLOAD_WORDS * HERALDS.word_bits - HEAD_BITS
"""Of all others in a packet."""
BATCH_BITS = (BATCH - 1).bit_length()
COUNT_BITS = 16
OPEN_PACKETS_MAX = 16


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

    Latency: free. Throughput: a herald per clock while codes have up to 32 bits, and a word per clock leaves; a packet's end takes up to
    24 clocks. Overflow: none, ``i`` waits.
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
        waits, passes, leaves = Signal(), Signal(), Signal()
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

        # What the packet has room for. A herald is charged for a clock late, and the limit acts a clock late: a code each is kept for
        # these, and one for the herald at hand.
        begin, may_issue, issue, close, beat = Signal(), Signal(), Signal(), Signal(), Signal()
        spare, change = Signal(signed(CODE_BITS.bit_length() + 1)), Signal(signed(8))
        longest = HERALDS.code_bits
        refund = Mux(coder.o_length_valid, longest - coder.o_length, 0)
        m.d.sync += [change.eq(refund - Mux(issue, longest, 0)), spare.eq(spare + change)]
        with m.If(begin):
            m.d.sync += spare.eq(CODE_BITS - 3 * longest)

        # A packet's end waits until the last herald's code is in the queue.
        inside = Signal(coder.latency + 3)
        """As many bits are set as clocks are to go."""
        free, may = Signal(range(DEPTH + 1), init=DEPTH), Signal()
        """Places of the queue that nothing is on its way to; whether there is one, even after what the clock before has claimed."""
        drained = ~inside[0] & may
        m.d.sync += [inside.eq(Mux(issue, -1, inside >> 1)), may.eq(free > 1)]
        claims = issue | begin | close | beat
        with m.If(claims ^ packer.o_popped):
            m.d.sync += free.eq(free + Mux(claims, -1, 1))

        # When to close.
        opened, begun, going = Signal(), Signal(), Signal()
        """There is an open packet; the herald at hand is its first one; its divisor is known by the time its second one's gap is."""
        due, behind = Signal(), Signal()
        """The packet is to be closed, but if ``behind`` not before the herald at hand has gone."""
        flushing, beating, closed = Signal(), Signal(), Signal()
        outstanding = Signal(range(OPEN_PACKETS_MAX + 1))
        """Ends that have not been sent."""
        to_flush = Signal.like(outstanding)
        marked = Signal()
        may_close = ~outstanding[-1]
        settles = due & ~behind & (~opened | close)
        """What is due has been done."""
        stop = Signal()
        """The open packet gets no more: another herald might not fit (that it does, as codes turn out to be shorter, is not waited for),
        or it is due."""
        m.d.comb += [
            may_issue.eq(going & ~(restart | stop) & may),
            issue.eq(waits & may_issue),
            begin.eq(waits & ~opened & drained),
            close.eq(opened & (stop | (waits & restart & ~begun)) & drained & may_close),
            beat.eq(beating & ~opened & ~waits & drained & may_close),
            passes.eq(begun | may_issue),
        ]
        m.d.sync += [
            *(opened.eq((opened & ~close) | begin), begun.eq(begin), going.eq(opened & ~close)),
            stop.eq(opened & ~close & (stop | spare[-1] | (due & ~behind))),
            due.eq((due & ~settles) | tick | asked),
            behind.eq(Mux(tick | asked, waits, behind) & ~leaves),
            flushing.eq((flushing & ~settles) | asked),
            marked.eq(flushing & settles),
            beating.eq(((heartbeat & ~closed & ~opened & enabled) | (beating & enabled)) & ~(beat | begin)),
            closed.eq(close | (closed & ~heartbeat)),
        ]
        sent = store.o_sent
        with m.If((close | beat) ^ sent):
            m.d.sync += outstanding.eq(outstanding + Mux(sent, -1, 1))
        with m.If(marked):
            m.d.sync += to_flush.eq(outstanding - sent)
        with m.Elif(sent & to_flush.any()):
            m.d.sync += to_flush.eq(to_flush - 1)
        m.d.comb += self.o_flushed.eq(~(asked | flushing | marked | to_flush.any()))

        # Gaps.
        first, records = Signal(32), Signal(COUNT_BITS)
        pulse, before, detector = Signal(frame.PULSE_BITS), Signal(frame.PULSE_BITS), Signal()
        stages = Signal(2)
        m.d.sync += [
            stages.eq(Cat(issue, stages)),
            *(coder.i_gap.eq(pulse + ~before), coder.i_detector.eq(detector)),
        ]
        with m.If(issue | begin):
            m.d.sync += [before.eq(pulse), pulse.eq(herald.pulse), records.eq(records + 1)]
            m.d.sync += detector.eq(herald.detector)
        with m.If(begin):
            m.d.sync += [first.eq(herald.number), records.eq(1), expander.i.eq(batches.o)]
        m.d.comb += [coder.i_valid.eq(stages[1]), coder.i_divisor.eq(expander.o)]

        # Into the queue: codes, and between packets an end, a head.
        m.d.comb += [
            packer.i_push.eq(coder.o_valid | begin | close | beat),
            packer.i_bits.eq(coder.o_code),
            packer.i_length.eq(coder.o_code_length),
            packer.i_end.eq(~inside[0] & ~begin),
            packer.i_room.eq(store.o_room),
            *(store.i_put.eq(packer.o_put), store.i_word.eq(packer.o_word)),
            *(store.i_close.eq(packer.o_end), packer.i_ended.eq(store.o_closed), store.i_clock.eq(self.i_clock)),
            Cat(store.i_first_record, store.i_flags).eq(packer.o_end_bits),
        ]
        with m.If(~inside[0]):
            with m.If(waits & ~opened):
                m.d.comb += packer.i_bits.eq(Cat(herald.pulse, batches.o, herald.detector))
                m.d.comb += packer.i_length.eq(HEAD_BITS)
            with m.Else():
                m.d.comb += packer.i_bits.eq(Mux(opened, Cat(first, records), Cat(expected, C(0, COUNT_BITS))))
                m.d.comb += packer.i_length.eq(0)

        ticking = (self.i_clock[:flush_bits] == 0) | zeros[:2].all() | ticks.any()
        quiet = ~Cat(
            self.i.valid, waits, taken, inside, due, stop, beating, self.i_flush, asked, flushing, marked, outstanding
        )
        m.d.comb += self.o_idle.eq(quiet.all() & ~ticking & batches.o_idle & packer.o_idle & store.o_idle)
        return m
