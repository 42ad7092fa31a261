"""Records in, packets out: one per data stream of a node."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.types import word_stream
from twinphase_spec import packets, units

QUEUED_PACKETS = 16
"""Closed packets that wait for the link, at most."""


class Descriptor(data.Struct):
    """What the header of a closed packet cannot take from elsewhere."""

    words: 9
    base_clock: units.CLOCK_BITS
    lost: 64
    first_record: 32


class PacketBuffer(wiring.Component):
    """Closes packets over a stream of record words and sends them, headers and all (`twinphase_spec.packets`).

    ``last`` on the input ends a record. A record is admitted as a whole, at its first word, when there is room for
    ``record_words`` words both in the buffer and in the open packet; it is lost otherwise (``lossless``: it waits instead).
    The open packet closes, between records and when fewer than 16 closed ones wait,

    * when ``record_words`` more words would exceed MAX_PAYLOAD_WORDS,
    * when ``i_clock mod 2^FLUSH_BITS = 0`` and it holds a record,
    * empty, when ``i_clock mod 2^HEARTBEAT_BITS = 0``, the stream is enabled and nothing was closed since the last such clock
      (a packet closed at that clock itself does not count for the next one).

    A close takes no clock from the input: a record that arrives with it is the first of the next packet.

    Members
    -------
    i : In(word_stream()) - record words, one per clock.
    i_enable : In(1) - 0: records are taken and forgotten, neither accepted nor lost; no heartbeats.
    i_clock : In(51) - clock count; it acts on the input of a clock later.
    i_base : In(51) - base of the open packet in clocks, used when it holds a record and ``own_base`` is set.
    i_refuse : In(1) - the record that starts in this clock is not to be admitted.
    i_lost : In(1) - a record was lost before it reached this.
    o : Out(word_stream()) - packets, ``last`` on the last word.
    o_empty : Out(1) - a record admitted in this clock is the first of its packet.
    o_admit : Out(1) - a record that starts in this clock is admitted.
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
                "i_lost": In(1),
                "o": Out(word_stream()),
                "o_empty": Out(1),
                "o_admit": Out(1),
                "o_idle": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.ring = ring = memory.Memory(shape=32, depth=self._depth, init=[])
        # Sixteen entries belong into LUT RAM; block RAM would be five blocks per stream.
        m.submodules.queue = queue = memory.Memory(
            shape=Descriptor, depth=QUEUED_PACKETS, init=[], attrs={"ram_style": "distributed"}
        )
        write, read = ring.write_port(), ring.read_port()
        queue_write, queue_read = queue.write_port(), queue.read_port(domain="comb")
        free = Signal(range(self._depth + 1), init=self._depth)
        # Packets closed, described in the queue, and sent: one bit more than addresses, so that full and empty differ.
        closes = Signal(len(queue_write.addr) + 1)
        described = Signal.like(closes)
        sent = Signal.like(closes)

        # Input side: the open packet. Clock count and ticks are one clock late, as comparing takes one.
        clock = Signal(units.CLOCK_BITS)
        flush = Signal()
        heartbeat = Signal()
        tick = Signal()
        now_flush = self.i_clock[: packets.FLUSH_BITS[self._stream]] == 0
        now_heartbeat = self.i_clock[: packets.HEARTBEAT_BITS] == 0
        m.d.comb += tick.eq(now_flush | now_heartbeat)
        m.d.sync += [clock.eq(self.i_clock), flush.eq(now_flush), heartbeat.eq(now_heartbeat)]

        count = Signal(range(packets.MAX_PAYLOAD_WORDS + 1))
        filled = Signal()
        """count != 0."""
        full = Signal()
        """Another record might not fit."""
        accepted = Signal(32)
        first_record = Signal(32)
        inside = Signal()
        """In the middle of a record."""
        taking = Signal()
        """In the middle of a record that was admitted."""
        closed = Signal()
        """A packet was closed since the last heartbeat tick."""
        late_flush = Signal()
        """A flush tick fell into a record."""
        may_close = Signal(init=1)
        """Fewer than QUEUED_PACKETS closed packets wait; one that was sent counts for a clock more."""
        close = Signal()
        was_reading = Signal()
        transfer = Signal()
        m.d.comb += [
            close.eq(
                ~taking
                & may_close
                & (full | ((flush | late_flush) & filled) | (heartbeat & self.i_enable & ~filled & ~closed))
            ),
            self.o_empty.eq(~filled | close),
            self.o_admit.eq(self.i_enable & (free >= self._record_words) & (~full | close) & ~self.i_refuse),
            self.i.ready.eq((inside | self.o_admit | ~self.i_enable) if self._lossless else 1),
            transfer.eq(self.i.valid & self.i.ready),
            write.data.eq(self.i.payload.data),
            write.en.eq(transfer & Mux(inside, taking, self.o_admit)),
        ]
        with m.If(transfer):
            m.d.sync += [inside.eq(~self.i.payload.last), taking.eq(~self.i.payload.last & write.en)]
            with m.If(~inside & self.o_admit):
                m.d.sync += accepted.eq(accepted + 1)
        with m.If(write.en):
            m.d.sync += write.addr.eq(write.addr + 1)
        queued = Signal.like(closes)
        m.d.comb += queued.eq(closes - sent)
        m.d.sync += [
            may_close.eq(~((queued == QUEUED_PACKETS) | ((queued == QUEUED_PACKETS - 1) & close))),
            filled.eq((filled & ~close) | write.en),
            full.eq(~close & (full | (write.en & (count == packets.MAX_PAYLOAD_WORDS - self._record_words)))),
            late_flush.eq((flush | late_flush) & taking),
        ]
        # Both counts move by an enable: what decides comes late in the clock, too late for a carry chain.
        with m.If(close):
            m.d.sync += count.eq(write.en)
        with m.Elif(write.en):
            m.d.sync += count.eq(count + 1)
        with m.If(write.en ^ was_reading):
            m.d.sync += free.eq(free + Mux(was_reading, 1, -1))
        with m.If(close):
            m.d.sync += [first_record.eq(accepted), closes.eq(closes + 1)]
        with m.If(heartbeat):
            m.d.sync += closed.eq(0)
        with m.Elif(close):
            m.d.sync += closed.eq(1)

        # Losses are added a clock late, and the descriptor is written a clock late: they agree.
        lost = Signal(64)
        losses = Signal(2)
        describe = Signal()
        m.d.sync += [
            losses.eq(self.i_lost + (transfer & ~inside & self.i_enable & ~self.o_admit)),
            describe.eq(close),
            queue_write.data.words.eq(count),
            queue_write.data.first_record.eq(first_record),
            queue_write.data.base_clock.eq(clock),
        ]
        if self._own_base:
            period_clock_bits = packets.T2_TIME_BITS - units.FRACTION_BITS
            m.d.sync += queue_write.data.base_clock.eq(
                Mux(filled, self.i_base, clock[period_clock_bits:] << period_clock_bits)
            )
        m.d.comb += [queue_write.en.eq(describe), queue_write.addr.eq(described), queue_write.data.lost.eq(lost)]
        with m.If(losses != 0):
            m.d.sync += lost.eq(lost + losses)
        with m.If(describe):
            m.d.sync += described.eq(described + 1)

        # Output side: header words of the oldest closed packet, then its payload.
        head = queue_read.data
        active = Signal()
        index = Signal(range(packets.HEADER_WORDS + packets.MAX_PAYLOAD_WORDS))
        sequence = Signal(32)
        advance = Signal()
        finish = Signal()
        reading = Signal()
        before_last = Signal.like(index)
        in_payload = Signal()
        """index >= HEADER_WORDS."""
        at_last = Signal()
        base_ticks = Cat(Const(0, units.FRACTION_BITS), head.base_clock)
        header = Array(
            [
                packets.MAGIC << 16 | packets.VERSION << 8 | int(self._stream),
                sequence,
                head.words,
                base_ticks[:32],
                base_ticks[32:],
                head.lost[:32],
                head.lost[32:],
                head.first_record,
            ]
        )
        staged = Signal()
        staged_header = Signal()
        staged_last = Signal()
        staged_word = Signal(32)
        fetched = Signal()
        fetched_last = Signal()
        header_out = Signal()
        header_word = Signal(32)
        payload_word = Signal(32)
        m.d.comb += [
            advance.eq(~self.o.valid | self.o.ready),
            reading.eq(active & advance & in_payload),
            finish.eq(active & advance & at_last),
            read.en.eq(advance),
            queue_read.addr.eq(sent),
        ]
        with m.If(advance):
            m.d.sync += [
                staged.eq(active),
                staged_header.eq(~in_payload),
                staged_last.eq(at_last),
                staged_word.eq(header[index[:3]]),
                fetched.eq(staged),
                fetched_last.eq(staged_last),
                header_out.eq(staged_header),
                header_word.eq(staged_word),
                payload_word.eq(read.data),  # nothing between: block RAM answers late in the clock
                self.o.valid.eq(fetched),
                self.o.payload.last.eq(fetched_last),
                self.o.payload.data.eq(Mux(header_out, header_word, payload_word)),
            ]
        with m.If(~active):
            m.d.sync += [
                active.eq(described != sent),
                index.eq(0),
                before_last.eq(head.words + (packets.HEADER_WORDS - 2)),
                in_payload.eq(0),
                at_last.eq(0),
            ]
        with m.Elif(advance):
            m.d.sync += [
                index.eq(index + 1),
                in_payload.eq(in_payload | (index == packets.HEADER_WORDS - 1)),
                at_last.eq(index == before_last),
            ]
        with m.If(reading):
            m.d.sync += read.addr.eq(read.addr + 1)
        with m.If(finish):
            m.d.sync += [active.eq(0), sent.eq(sent + 1), sequence.eq(sequence + 1)]

        # Room that a read makes is seen a clock late, which keeps the link's ready out of the input side.
        m.d.sync += was_reading.eq(reading)
        m.d.comb += self.o_idle.eq(
            ~(
                self.i.valid
                | inside
                | close
                | tick
                | late_flush
                | active
                | staged
                | fetched
                | self.o.valid
                | (closes != sent)
            )
        )
        return m


class StreamPacker(wiring.Component):
    """Packets of whole records: `PacketBuffer` behind a shift register that takes a record and sends its words in order.

    Members
    -------
    i : In(stream of ArrayLayout(32, record_words)) - element 0 first on the wire.
    i_enable, i_clock, o, o_idle : as in `PacketBuffer`.

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
    ):
        self._record_words = packets.RECORD_WORDS[stream_number] if record_words is None else record_words
        self._lossless = lossless
        self._buffer = PacketBuffer(stream_number, record_words=self._record_words, depth=depth, lossless=lossless)
        super().__init__(
            {
                "i": In(stream.Signature(data.ArrayLayout(32, self._record_words))),
                "i_enable": In(1),
                "i_clock": In(units.CLOCK_BITS),
                "o": Out(word_stream()),
                "o_idle": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.buffer = buffer = self._buffer
        wiring.connect(m, buffer.o, wiring.flipped(self.o))
        m.d.comb += [buffer.i_enable.eq(self.i_enable), buffer.i_clock.eq(self.i_clock)]

        words = Signal(32 * self._record_words)
        left = Signal(range(self._record_words + 1))
        step = Signal()
        m.d.comb += [
            step.eq(~buffer.i.valid | buffer.i.ready),
            # The room in a lossless buffer is known too late in the clock to be told to whoever sends.
            self.i.ready.eq((left == 0) if self._lossless else (left == 0) | ((left == 1) & step)),
            self.o_idle.eq(buffer.o_idle & (left == 0) & ~self.i.valid),
        ]
        with m.If(step):
            m.d.sync += [
                buffer.i.valid.eq(left != 0),
                buffer.i.payload.data.eq(words[:32]),
                buffer.i.payload.last.eq(left == 1),
            ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [words.eq(self.i.payload.as_value()), left.eq(self._record_words)]
        with m.Elif((left != 0) & step):
            m.d.sync += [words.eq(words >> 32), left.eq(left - 1)]
        return m
