"""Records in, packets out: one per data stream of a node."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.types import Word, word_stream
from twinphase_spec import packets, units

from .sender import PacketSender

QUEUED_PACKETS = 16
"""Closed packets that wait for the link, at most."""


class PacketBuffer(wiring.Component):
    """Closes packets over a stream of record words and sends them, headers and all (`twinphase_spec.packets`).

    ``last`` on the input ends a record. A record is admitted as a whole, at its first word, when there is room for
    ``record_words`` words both in the buffer and in the open packet; it is lost otherwise (``lossless``: it waits instead).
    The open packet closes, between records and when fewer than 16 closed ones wait,

    * when ``record_words`` more words would exceed MAX_PAYLOAD_WORDS,
    * when ``i_clock mod 2^FLUSH_BITS = 0``, or after ``i_flush``, and it holds a record,
    * empty, when ``i_clock mod 2^HEARTBEAT_BITS = 0``, the stream is enabled and nothing was closed since the last such clock
      (a packet closed at that clock itself does not count for the next one).

    A close takes no clock from the input: a record that arrives with it is the first of the next packet.

    Members
    -------
    i : In(word_stream()) - record words, one per clock.
    i_enable : In(1) - 0: records are taken and forgotten, neither accepted nor lost; no heartbeats. It acts on the records of a
        clock later.
    i_clock : In(51) - clock count; it acts on the input of two clocks later.
    i_base : In(51) - base of the open packet in clocks, a multiple of 2^12, used when it holds a record and ``own_base`` is set.
    i_refuse : In(1) - the record that starts in this clock is not to be admitted; 0 within a record.
    i_lost : In(2) - so many records were lost before they reached this.
    i_flush : In(1) - strobe: what has come until now is to leave.
    o_flushed : Out(1) - nothing that came before the last ``i_flush`` is still here, but for last words of a packet under way.
    o : Out(word_stream()) - packets, ``last`` on the last word.
    o_filled : Out(1) - the open packet has a word.
    o_empty : Out(1) - a record that starts in this clock is the first of its packet.
    o_admit : Out(1) - a record that starts in this clock is admitted, unless ``i_refuse`` (``lossless``: in the next clock).
    o_idle : Out(1) - nothing changes before the next input word or tick.

    Latency: free. Throughput: a word per clock in; out a word per clock and one clock between packets. Overflow: above.
    """

    def __init__(
        self,
        stream_number: packets.Stream,
        *,
        record_words: int,
        depth: int = 2 * packets.MAX_PAYLOAD_WORDS,
        lossless: bool = False,
        own_base: bool = False,
    ):
        if not 1 <= record_words < packets.MAX_PAYLOAD_WORDS:
            raise ValueError(f"packer: record_words is {record_words}; allowed: 1 to {packets.MAX_PAYLOAD_WORDS - 1}")
        if depth < 2 * packets.MAX_PAYLOAD_WORDS or depth & (depth - 1):
            raise ValueError(
                f"packer: depth is {depth} words; allowed: powers of 2 from {2 * packets.MAX_PAYLOAD_WORDS}"
            )
        self._stream = stream_number
        self._record_words = record_words
        self._depth = depth
        self._lossless = lossless
        self._own_base = own_base
        super().__init__(
            {
                "i": In(word_stream()),
                "i_enable": In(1),
                "i_clock": In(units.CLOCK_BITS),
                "i_base": In(units.CLOCK_BITS),
                "i_refuse": In(1),
                "i_lost": In(2),
                "i_flush": In(1),
                "o_flushed": Out(1),
                "o": Out(word_stream()),
                "o_filled": Out(1),
                "o_empty": Out(1),
                "o_admit": Out(1),
                "o_idle": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.ring = ring = memory.Memory(shape=Word, depth=self._depth, init=[])
        # Sixteen entries belong into LUT RAM; block RAM would be four blocks per stream.
        period_clock_bits = packets.T2_TIME_BITS - units.FRACTION_BITS if self._own_base else 0
        """Low bits of the base in clocks that are always 0."""
        described_as = data.StructLayout({"words": 9, "base": units.CLOCK_BITS - period_clock_bits, "lost": 64})
        m.submodules.queue = queue = memory.Memory(
            shape=described_as, depth=QUEUED_PACKETS, init=[], attrs={"ram_style": "distributed"}
        )
        m.submodules.sender = sender = PacketSender(self._stream, depth=self._depth)
        write, read = ring.write_port(), ring.read_port()
        queue_write, queue_read = queue.write_port(), queue.read_port(domain="comb")

        # Clock count and ticks are two clocks late, as comparing takes two. Every heartbeat tick is a flush tick.
        flush_bits = packets.FLUSH_BITS[self._stream]
        clock = Signal(units.CLOCK_BITS)
        former_clock = Signal(units.CLOCK_BITS)
        zeros = Signal(3)
        parts = self.i_clock[:8], self.i_clock[8:flush_bits], self.i_clock[flush_bits : packets.HEARTBEAT_BITS]
        heartbeat = Signal()
        m.d.sync += [
            clock.eq(self.i_clock),
            former_clock.eq(clock),
            zeros.eq(Cat(part == 0 for part in parts)),
            heartbeat.eq(zeros.all()),
        ]

        # Limits are counted down below zero, so that the sign alone tells that one is reached.
        limit = packets.MAX_PAYLOAD_WORDS - self._record_words
        spare = Signal(signed(self._depth.bit_length()), init=self._depth - self._record_words)
        """Free words of the buffer beyond those of a record."""
        places = Signal(signed(packets.MAX_PAYLOAD_WORDS.bit_length()), init=limit)
        """``limit`` less the words in the open packet: negative when another record might not fit."""
        queued = Signal(range(QUEUED_PACKETS + 1))
        """Closed packets that have not been sent; one that was sent counts for a clock more."""
        enabled = Signal()
        filled = Signal()
        """The open packet has a word."""
        inside = Signal()
        """In the middle of a record."""
        taking = Signal()
        """In the middle of a record that was admitted."""
        closed = Signal()
        """A packet was closed since the last heartbeat tick."""
        due = Signal()
        """A flush tick is there, or fell into the record that is being taken; or a flush has been asked for."""
        asked = Signal()
        """``i_flush`` a clock ago: the clock counts may have rested until then."""
        flushing, flushing_on = Signal(), Signal()
        """The open packet has something that came before the flush, in this clock and in the next."""
        marked = Signal()
        to_flush = Signal.like(queued)
        """Closed packets that came before ``i_flush`` and have not been sent."""
        full = places[-1]
        may_close = ~queued[-1]
        close = Signal()
        admit = Signal()
        transfer = Signal()
        start = Signal()
        """A first word would be that of a record that is admitted."""
        put = Signal()
        m.d.comb += [
            close.eq(~taking & may_close & Mux(filled, full | due, heartbeat & enabled & ~closed)),
            self.o_filled.eq(filled),
            self.o_empty.eq(~filled | (may_close & (full | due))),
            self.o_admit.eq(enabled & ~spare[-1] & (~full | may_close)),
            transfer.eq(self.i.valid & self.i.ready),
            start.eq(~inside & admit),
            put.eq(transfer & ~self.i_refuse & (taking | start)),
        ]
        if self._lossless:
            # What was admitted a clock ago and not used up since is still admitted.
            m.d.comb += self.i.ready.eq(inside | admit | ~enabled)
            m.d.sync += admit.eq(self.o_admit & ~put)
        else:
            m.d.comb += [self.i.ready.eq(1), admit.eq(self.o_admit)]
        m.d.sync += [
            enabled.eq(self.i_enable),
            filled.eq((filled & ~close) | put),
            *(asked.eq(self.i_flush), flushing.eq(flushing_on)),
            due.eq(zeros[:2].all() | (due & taking) | flushing_on),
            marked.eq(flushing & ~flushing_on),
        ]
        with m.If(transfer):
            m.d.sync += [inside.eq(~self.i.payload.last), taking.eq(~self.i.payload.last & put)]
        # Counts move by an enable: what decides comes late in the clock, too late for a carry chain.
        with m.If(close):
            m.d.sync += places.eq(limit - put)
        with m.Elif(put):
            m.d.sync += places.eq(places - 1)
        made_room, left_queue = Signal(), Signal()
        with m.If(put ^ made_room):
            m.d.sync += spare.eq(spare + Mux(made_room, 1, -1))
        with m.If(close ^ left_queue):
            m.d.sync += queued.eq(queued + Mux(left_queue, -1, 1))
        m.d.comb += [
            flushing_on.eq(asked | (flushing & filled & ~close)),
            self.o_flushed.eq(~(asked | flushing | marked | to_flush.any())),
        ]
        with m.If(marked):
            m.d.sync += to_flush.eq(queued - left_queue)
        with m.Elif(left_queue & to_flush.any()):
            m.d.sync += to_flush.eq(to_flush - 1)
        with m.If(heartbeat):
            m.d.sync += closed.eq(0)
        with m.Elif(close):
            m.d.sync += closed.eq(1)

        # A word is written a clock later, long before its packet can be read.
        m.d.sync += [write.en.eq(put), write.data.eq(self.i.payload)]
        with m.If(write.en):
            m.d.sync += write.addr.eq(write.addr + 1)

        # Losses are counted a clock late, and the descriptor is written a clock late: they agree.
        lost = Signal(64)
        lost_here = Signal()
        lost_before = Signal(2)
        describe = Signal()
        m.d.sync += [
            lost_here.eq(enabled & transfer & ~inside & ~put),
            lost_before.eq(Mux(enabled, self.i_lost, 0)),
            describe.eq(close),
            queue_write.data.words.eq(limit - places),
            queue_write.data.base.eq(former_clock[period_clock_bits:]),
        ]
        if self._own_base:
            with m.If(filled):
                m.d.sync += queue_write.data.base.eq(self.i_base[period_clock_bits:])
        m.d.comb += [
            queue_write.en.eq(describe),
            queue_write.data.lost.eq(lost),
        ]
        with m.If(lost_here | lost_before.any()):
            m.d.sync += lost.eq(lost + (lost_before + lost_here)[:2])

        # Packets described and sent: one bit more than addresses, so that full and empty differ.
        described = Signal(len(queue_write.addr) + 1)
        sent = Signal.like(described)
        with m.If(describe):
            m.d.sync += described.eq(described + 1)
        with m.If(sender.o_sent):
            m.d.sync += sent.eq(sent + 1)
        m.d.comb += [
            queue_write.addr.eq(described),
            queue_read.addr.eq(sent),
            sender.i_waiting.eq(described != sent),
            sender.i_head.words.eq(queue_read.data.words),
            sender.i_head.base_clock.eq(queue_read.data.base << period_clock_bits),
            sender.i_head.lost.eq(queue_read.data.lost),
            sender.i_data.eq(read.data.data),
            sender.i_record_end.eq(read.data.last),
            read.addr.eq(sender.o_address),
            read.en.eq(sender.o_read),
        ]
        wiring.connect(m, sender.o, wiring.flipped(self.o))
        # Room that a read makes is seen a clock late, which keeps the link's ready out of the input side.
        m.d.sync += [made_room.eq(sender.o_taken), left_queue.eq(sender.o_sent)]
        ticking = (self.i_clock[:flush_bits] == 0) | zeros[:2].all()
        m.d.comb += self.o_idle.eq(
            sender.o_idle
            & ~(self.i.valid | inside | close | ticking | write.en | (queued != 0))
            & ~(self.i_flush | asked | flushing | marked | to_flush.any())
        )
        return m


class StreamPacker(wiring.Component):
    """Packets of whole records: `PacketBuffer` behind a shift register that takes a record and sends its words in order.

    Members
    -------
    i : In(stream of ArrayLayout(32, record_words)) - element 0 first on the wire.
    i_enable, i_clock, i_flush, o_flushed, o, o_idle : as in `PacketBuffer`.
    i_lost : In(1), only with ``counts_lost`` - strobe: a record was lost before it reached this.

    Latency: free. Throughput: a record in ``record_words`` clocks (lossless: one more); between them ``i`` waits. Overflow:
    records that find no room are lost and counted, with ``lossless`` they wait.
    """

    def __init__(
        self,
        stream_number: packets.Stream,
        *,
        record_words: int | None = None,
        depth: int = 2 * packets.MAX_PAYLOAD_WORDS,
        lossless: bool = False,
        counts_lost: bool = False,
    ):
        self._counts_lost = counts_lost
        self._record_words = packets.RECORD_WORDS[stream_number] if record_words is None else record_words
        self._lossless = lossless
        self._buffer = PacketBuffer(stream_number, record_words=self._record_words, depth=depth, lossless=lossless)
        super().__init__(
            {
                "i": In(stream.Signature(data.ArrayLayout(32, self._record_words))),
                "i_enable": In(1),
                "i_clock": In(units.CLOCK_BITS),
                "i_flush": In(1),
                "o_flushed": Out(1),
                "o": Out(word_stream()),
                "o_idle": Out(1),
                **({"i_lost": In(1)} if counts_lost else {}),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.buffer = buffer = self._buffer
        wiring.connect(m, buffer.o, wiring.flipped(self.o))
        m.d.comb += [
            *(buffer.i_enable.eq(self.i_enable), buffer.i_clock.eq(self.i_clock)),
            *(buffer.i_flush.eq(self.i_flush), self.o_flushed.eq(buffer.o_flushed)),
        ]

        lost_before = self.i_lost if self._counts_lost else Const(0)
        m.d.comb += buffer.i_lost.eq(lost_before)

        words = Signal(32 * self._record_words)
        left = Signal(self._record_words)
        """As many bits are set as words are left: that there is one, or more than one, is a bit."""
        any_left, more_left = left[0], left[1:2].any()
        step = Signal()
        m.d.comb += self.o_idle.eq(buffer.o_idle & ~any_left & ~self.i.valid & ~lost_before)
        if self._lossless:
            # Whether the buffer takes a word is known too late in the clock to be told to whoever sends.
            m.d.comb += [step.eq(~buffer.i.valid | buffer.i.ready), self.i.ready.eq(~any_left)]
        else:
            m.d.comb += [step.eq(1), self.i.ready.eq(~more_left)]
        with m.If(step):
            m.d.sync += [
                buffer.i.valid.eq(any_left),
                buffer.i.payload.data.eq(words[:32]),
                buffer.i.payload.last.eq(~more_left),
            ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [words.eq(self.i.payload.as_value()), left.eq(~0)]
        with m.Elif(step):
            m.d.sync += [words.eq(Cat(words[32:], words[-32:])), left.eq(left >> 1)]
        return m
