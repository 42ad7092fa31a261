"""Tags in, packets of PicoQuant T2 words out."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.types import CHANNEL_BITS, Tag, word_stream
from twinphase_spec import packets, units

from .packer import PacketBuffer

PERIOD_BITS = units.TIME_BITS - packets.T2_TIME_BITS
"""Width of a tag's number of T2 periods (2^25 ticks each)."""
PERIOD_CLOCK_BITS = packets.T2_TIME_BITS - units.FRACTION_BITS
"""A T2 period is 2^12 clocks."""
TAG_WORDS = 2
"""Words of a tag with its overflow word, at most."""


class T2Encoder(wiring.Component):
    """Tags as T2 words, relative to the packet that a `PacketBuffer` has open.

    A tag's period is ``p = time >> 25``. The first tag of a packet sets the packet's base, ``p << 25``; a later one with
    ``d = p - (period of the packet's last tag) > 0`` is preceded by one overflow word of ``d``.
    Both form one record, admitted or lost whole. ``d`` is at most 2^25 - 1, as a packet is flushed every 32 periods; a tag
    for which it is not (the link stood still for 1100 s, or time was set back) is lost.

    Members
    -------
    i : In(stream of Tag, always ready) - in the order of their times.
    i_empty, i_admit : In(1) - ``o_empty`` and ``o_admit`` of the packet buffer.
    o : Out(word_stream()) - record words to the packet buffer.
    o_base : Out(51) - base of its open packet in clocks (a multiple of 2^12).
    o_refuse : Out(1) - to the packet buffer: the tag is out of reach.
    o_lost : Out(1) - strobe: a tag found the queue full.
    o_idle : Out(1) - no tag is held.

    Latency: 4 clocks when nothing waits. Throughput: a tag per clock, an overflow word takes a clock more; QUEUE_TAGS tags wait
    for it. Overflow: ``o_lost``. Source: PicoQuant, T2 record format of HydraHarp V2 and MultiHarp.
    """

    QUEUE_TAGS = 16

    def __init__(self):
        super().__init__(
            {
                "i": In(stream.Signature(Tag, always_ready=True)),
                "i_empty": In(1),
                "i_admit": In(1),
                "o": Out(word_stream()),
                "o_base": Out(units.CLOCK_BITS),
                "o_refuse": Out(1),
                "o_lost": Out(1),
                "o_idle": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.queue = queue = fifo.SyncFIFOBuffered(width=units.TIME_BITS + CHANNEL_BITS, depth=self.QUEUE_TAGS)
        waiting = Signal(Tag)
        following = Signal(Tag)
        follows = Signal()
        spare = Signal(Tag)
        spared = Signal()
        """A tag left the queue before ``following`` was free, so that reading the queue need not know whether it is."""
        held = Signal()
        tag_time = Signal(packets.T2_TIME_BITS)
        channel = Signal(CHANNEL_BITS)
        period = Signal(PERIOD_BITS)
        last_period = Signal(PERIOD_BITS)
        base = Signal(PERIOD_BITS)
        paid = Signal()
        """The held tag's overflow word is out."""
        current = Signal()
        """The held tag's period is that of the packet's last tag; still right when it has left."""
        stays_current = Signal()
        apart = Signal()
        """The held tag's distance from the packet's last tag is not 0 ..."""
        near = Signal()
        """... and below 2^25."""
        distance = Signal(packets.T2_TIME_BITS)
        later = Signal()
        leave = Signal()
        proceed = Signal()
        m.d.comb += [
            queue.w_data.eq(self.i.payload),
            queue.w_en.eq(self.i.valid),
            self.o_lost.eq(self.i.valid & ~queue.w_rdy),
            waiting.eq(queue.r_data),
            queue.r_en.eq(~spared),
            proceed.eq(~held | leave),
            later.eq(apart & ~paid & ~self.i_empty),
            self.o_refuse.eq(later & ~near),
            self.o.valid.eq(held),
            self.o.payload.last.eq(~(later & near)),
            self.o.payload.data.eq(
                Mux(
                    later,
                    Cat(distance, Const(packets.T2_OVERFLOW_CHANNEL, CHANNEL_BITS), Const(1, 1)),
                    Cat(tag_time, channel, Const(0, 1)),
                )
            ),
            leave.eq(self.o.ready & self.o.payload.last),
            stays_current.eq(Mux(held & self.o.ready & ~paid, self.i_admit, current)),
            self.o_base.eq(base << PERIOD_CLOCK_BITS),
            self.o_idle.eq(~(self.i.valid | held | follows | spared | queue.r_rdy)),
        ]
        m.d.sync += current.eq(stays_current)
        with m.If(held & self.o.ready):
            # A record that is not admitted leaves the packet as it was.
            m.d.sync += paid.eq(~self.o.payload.last)
            with m.If(self.i_admit & ~paid):
                m.d.sync += last_period.eq(period)
            with m.If(self.i_empty & ~paid):
                m.d.sync += base.eq(period)
        with m.If(~spared):
            m.d.sync += spare.eq(waiting)
        with m.If(~follows | proceed):
            m.d.sync += [
                follows.eq(spared | queue.r_rdy),
                following.eq(Mux(spared, spare, waiting)),
                spared.eq(0),
            ]
        with m.Elif(queue.r_rdy):
            m.d.sync += spared.eq(1)
        with m.If(proceed):
            # Whether the held tag becomes the packet's last one is known late, so both distances are there.
            next_period = following.time[packets.T2_TIME_BITS :]
            from_held = Signal(PERIOD_BITS)
            from_last = Signal(PERIOD_BITS)
            m.d.comb += [from_held.eq(next_period - period), from_last.eq(next_period - last_period)]
            m.d.sync += [
                held.eq(follows),
                tag_time.eq(following.time[: packets.T2_TIME_BITS]),
                channel.eq(following.channel),
                apart.eq(Mux(stays_current, next_period != period, next_period != last_period)),
                near.eq(
                    Mux(stays_current, from_held[packets.T2_TIME_BITS :] == 0, from_last[packets.T2_TIME_BITS :] == 0)
                ),
                distance.eq(Mux(stays_current, from_held, from_last)),
            ]
            with m.If(follows):
                m.d.sync += [
                    period.eq(next_period),
                    current.eq(stays_current & (next_period == period)),
                ]
        return m


class TagPacker(wiring.Component):
    """The tag stream's packer: `T2Encoder` and its `PacketBuffer`.

    Members
    -------
    i : In(stream of Tag, always ready) - in the order of their times.
    i_enable, i_clock, o, o_idle : as in `PacketBuffer`.

    Latency: free. Throughput: a tag per clock while there is room for it. Overflow: tags without room are lost and counted.
    """

    def __init__(self, *, depth: int = 2048):
        self._buffer = PacketBuffer(packets.Stream.TAG, record_words=TAG_WORDS, depth=depth, own_base=True)
        super().__init__(
            {
                "i": In(stream.Signature(Tag, always_ready=True)),
                "i_enable": In(1),
                "i_clock": In(units.CLOCK_BITS),
                "o": Out(word_stream()),
                "o_idle": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.buffer = buffer = self._buffer
        m.submodules.encoder = encoder = T2Encoder()
        wiring.connect(m, wiring.flipped(self.i), encoder.i)
        wiring.connect(m, encoder.o, buffer.i)
        wiring.connect(m, buffer.o, wiring.flipped(self.o))
        m.d.comb += [
            encoder.i_empty.eq(buffer.o_empty),
            encoder.i_admit.eq(buffer.o_admit),
            buffer.i_base.eq(encoder.o_base),
            buffer.i_refuse.eq(encoder.o_refuse),
            buffer.i_lost.eq(encoder.o_lost & self.i_enable),
            buffer.i_enable.eq(self.i_enable),
            buffer.i_clock.eq(self.i_clock),
            self.o_idle.eq(buffer.o_idle & encoder.o_idle),
        ]
        return m
