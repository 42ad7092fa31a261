"""LIVE records of each block, and the hash of their list: what the block digest says of live windows."""

from amaranth.hdl import C, Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from twinphase_spec.digest import DIGEST_BITS, LIVE_COUNT_BITS, LIVE_PRESENT, LIVE_QUEUE
from twinphase_spec.frame import PULSE_BITS
from twinphase_spec.packets import Stream

from ..core.queue import Queue
from ..types import record_words
from .digest import BLOCK_BITS, HELD_BITS
from .field import FieldMultiplier
from .halves import HalvedMemory

HIGH_BITS = PULSE_BITS - 32
RECORD_BITS = 96


def above(m: Module, a: Value, b: Value) -> Value:
    """Whether ``a > b`` a clock ago: halves are compared in one clock, what that means comes with the registers."""
    middle = len(a) // 2
    high, same, low = Signal(), Signal(), Signal()
    m.d.sync += [
        *(high.eq(a[middle:] > b[middle:]), same.eq(a[middle:] == b[middle:])),
        low.eq(a[:middle] > b[:middle]),
    ]
    return high | (same & low)


class LiveLists(wiring.Component):
    """Splits the LIVE records among blocks and hashes each block's list.

    Formula: docs/digest.md: with B_b the highest pulse of a herald of blocks 0 .. b, block b has the records that come next up to the
    first with ``first > B_b``, which says that the list is complete; ``u = 1; for each record: u = ((u xor F) g xor L) g`` in GF(2^64).

    Records wait in a queue for the herald behind them. As B_b only rises, a record is taken as soon as any herald of its block has a
    pulse as high as its first, so that a list may be much longer than the queue. B of blocks that end before their list does, and the
    lists' hashes, are kept by the owner.

    Members
    -------
    i_enable : In(1), 0: records that come are ignored; constant while in use
    i_block_heralds, i_key : In(12), In(64), g; constant while in use
    i_live : In(stream of LIVE records), always ready
    i_herald_valid, i_pulse, i_missing : In(1, 56, 1), next herald, not in two clocks in a row
    o_boundary_valid, o_boundary : Out(1), Out(56), strobe: B of the next block, to be stored
    o_index : Out(8), block (number modulo 256) whose list is under way
    i_boundary : In(56), its B as it was stored, `HalvedMemory.latency` clocks later
    o_list_valid, o_list : Out(1), Out(65), strobe: hash of its list, to be stored; bit 64: the block is not to be sifted, as records
        of it were lost here or are too many
    o_blocks : Out(9), lists so far, modulo 512
    o_taken, o_overflow : Out(1), strobes: a record came a clock ago and has, or has not found room
    o_idle : Out(1), nothing changes without a record or herald

    Latency: a list counts in ``o_blocks`` about 16 clocks after the record that completes it, if none waits. Throughput: a record in 16
    clocks, and 14 more for a list's end (the next block's B is read). Overflow: a record that finds ``depth`` of them waiting is dropped;
    the next one that does not knows it, and spoils all blocks that it may have belonged to: those that this next one completes and the
    one that has it. Source: docs/digest.md.

    ``depth``: of the queue, a power of two from 4.
    """

    i_enable: In(1)
    i_block_heralds: In(BLOCK_BITS)
    i_key: In(DIGEST_BITS)
    i_live: In(stream.Signature(record_words(Stream.LIVE)))
    i_herald_valid: In(1)
    i_pulse: In(PULSE_BITS)
    i_missing: In(1)
    o_boundary_valid: Out(1)
    o_boundary: Out(PULSE_BITS)
    o_index: Out(HELD_BITS - 1)
    i_boundary: In(PULSE_BITS)
    o_list_valid: Out(1)
    o_list: Out(DIGEST_BITS + 1)
    o_blocks: Out(HELD_BITS)
    o_taken: Out(1)
    o_overflow: Out(1)
    o_idle: Out(1)

    def __init__(self, *, depth: int = LIVE_QUEUE) -> None:
        self._queue = Queue(width=RECORD_BITS + 1, depth=depth)
        super().__init__()

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.queue = queue = self._queue
        m.submodules.multiplier = multiplier = FieldMultiplier()

        # Records in, through a register, as they come from afar. One that follows a lost one knows it.
        lost, settling = Signal(), Signal(8)
        comes, record = Signal(), Signal(RECORD_BITS, reset_less=True)
        m.d.comb += [
            self.i_live.ready.eq(1),
            queue.i_push.eq(comes & ~queue.o_full),
            queue.i_data.eq(Cat(record, lost)),
            self.o_taken.eq(queue.i_push),
            self.o_overflow.eq(comes & queue.o_full),
        ]
        m.d.sync += [
            comes.eq(self.i_live.valid & self.i_enable),
            record.eq(self.i_live.payload.as_value()),
            settling.eq(Cat(comes, settling)),
        ]
        with m.If(comes):
            m.d.sync += lost.eq(queue.o_full)

        # The highest pulse so far, two clocks after its herald; a clock later it goes to the store, if the herald is its block's last.
        stored = Signal(HELD_BITS)
        highest = self.o_boundary
        position, last_position = Signal(BLOCK_BITS), Signal(BLOCK_BITS)
        ends = position == last_position
        # That a herald comes is known late in the clock: it moves one register only.
        came, judged = Signal(), Signal()
        pulse, pulse_judged = Signal(PULSE_BITS), Signal(PULSE_BITS)
        present, present_judged, last_judged = Signal(), Signal(), Signal()
        rises = present_judged & above(m, pulse, highest)
        news = Signal()
        """What a record waits for may have come."""
        m.d.sync += [
            last_position.eq(self.i_block_heralds - 1),
            *(came.eq(self.i_herald_valid), judged.eq(came)),
            *(pulse.eq(self.i_pulse), present.eq(~self.i_missing)),
            *(present_judged.eq(present), last_judged.eq(ends), pulse_judged.eq(pulse)),
            self.o_boundary_valid.eq(judged & last_judged),
            stored.eq(stored + self.o_boundary_valid),
        ]
        with m.If(came):
            m.d.sync += position.eq(Mux(ends, 0, position + 1))
        with m.If(judged & rises):
            m.d.sync += highest.eq(pulse_judged)

        # B of the list's block: the stored one if the block has ended, when it has been read for sure.
        is_open = stored == self.o_blocks
        known, boundary = Signal(), Signal(PULSE_BITS, reset_less=True)
        reading = Signal(range(HalvedMemory.latency + 2))
        closes = Signal()
        with m.If(is_open | closes):
            m.d.sync += [reading.eq(0), known.eq(0)]
        with m.Elif(reading != HalvedMemory.latency + 1):
            m.d.sync += reading.eq(reading + 1)
        with m.Else():
            m.d.sync += known.eq(1)
        with m.If(~known):
            m.d.sync += boundary.eq(self.i_boundary)

        # One record at a time.
        first, rest, after_lost = Signal(PULSE_BITS), Signal(RECORD_BITS - PULSE_BITS), Signal()
        high = 32 + HIGH_BITS
        head = queue.o_head
        limit, final, usable = Signal(PULSE_BITS), Signal(), Signal()
        beyond = above(m, first, limit)
        waits, word = Signal(), Signal(DIGEST_BITS, reset_less=True)
        starts, gives = waits & ~multiplier.o_busy, Signal()
        begun, spoilt, count = Signal(), Signal(), Signal(LIVE_COUNT_BITS)
        rests = Signal()
        present_bit = Cat(C(0, LIVE_PRESENT.bit_length() - 1 - PULSE_BITS), C(1, 1))
        m.d.sync += waits.eq(gives | (waits & ~starts))
        m.d.comb += [
            multiplier.i_start.eq(starts),
            multiplier.i_a.eq(multiplier.o_product ^ word),
            multiplier.i_b.eq(self.i_key),
            multiplier.i_clear.eq(closes),
            self.o_index.eq(self.o_blocks),
            self.o_list_valid.eq(closes),
            self.o_list.eq(Cat(multiplier.o_product[0] ^ ~begun, multiplier.o_product[1:], spoilt | after_lost)),
        ]
        with m.FSM(name="list_fsm"):
            with m.State("TAKE"):
                m.d.comb += [queue.i_pop.eq(queue.o_valid), rests.eq(~queue.o_valid & ~queue.o_pending)]
                m.d.sync += [
                    first.eq(head[:PULSE_BITS]),
                    rest.eq(Cat(head[64:RECORD_BITS], head[high:64])),
                    after_lost.eq(head[RECORD_BITS]),
                ]
                with m.If(queue.o_valid):
                    m.next = "LIMIT"
            with m.State("LIMIT"):
                m.d.sync += [limit.eq(Mux(known, boundary, highest)), final.eq(known), usable.eq(known | is_open)]
                m.next = "COMPARE"
            with m.State("COMPARE"):
                m.next = "DECIDE"
            with m.State("DECIDE"):
                m.next = "LIMIT"
                with m.If(usable):
                    with m.If(~beyond):
                        m.next = "FIRST"
                    with m.Elif(final):
                        m.next = "CLOSE"
                    with m.Else():
                        m.next = "HOLD"
            with m.State("HOLD"):
                m.d.comb += rests.eq(~news)
                m.d.sync += news.eq(0)
                with m.If(news):
                    m.next = "LIMIT"
            with m.State("FIRST"), m.If(~waits):
                # A list begins with the product 0 and its first word's lowest bit inverted, which is u = 1.
                m.d.comb += gives.eq(1)
                m.d.sync += [word.eq(Cat(first, present_bit) ^ ~begun), begun.eq(1), count.eq(count + 1)]
                m.d.sync += spoilt.eq(spoilt | after_lost | count.all())
                m.next = "LENGTH"
            with m.State("LENGTH"), m.If(~waits):
                m.d.comb += gives.eq(1)
                m.d.sync += word.eq(rest)
                m.next = "TAKE"
            with m.State("CLOSE"), m.If(~waits & ~multiplier.o_busy):
                m.d.comb += closes.eq(1)
                m.d.sync += [self.o_blocks.eq(self.o_blocks + 1), begun.eq(0), spoilt.eq(0), count.eq(0)]
                m.next = "LIMIT"
        with m.If((judged & rises) | self.o_boundary_valid):
            m.d.sync += news.eq(1)
        m.d.comb += self.o_idle.eq(
            rests
            & ~(waits | multiplier.o_busy | came | judged | self.o_boundary_valid)
            & ~(self.i_live.valid | comes | settling.any())
        )
        return m
