"""Tags in, packets of PicoQuant T2 words out."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, memory, stream, wiring
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


class Waiting(data.Struct):
    """A tag in the encoder's queue, and how many periods it is behind the tag before it."""

    time: packets.T2_TIME_BITS
    period: PERIOD_BITS
    channel: CHANNEL_BITS
    distance: packets.T2_TIME_BITS


class Reach(data.Struct):
    """What a distance means to a packet that has a tag."""

    later: 1
    """It takes an overflow word ..."""
    beyond: 1
    """... or is too far for one."""


class T2Encoder(wiring.Component):
    """Tags as T2 words, relative to the packet that a `PacketBuffer` has open.

    A tag's period is ``p = time >> 25``. The first tag of a packet sets the packet's base, ``p << 25``; a later one with
    ``d = p - (period of the packet's last tag) > 0`` is preceded by one overflow word of ``d``.
    Both form one record, admitted or lost whole. ``d`` is at most 2^25 - 1, as a packet is flushed every 32 periods; a tag
    for which it is not (the link stood still for 1100 s, or time was set back) is lost, also when the packet closes in the
    very clock in which it comes.

    Members
    -------
    i : In(stream of Tag, always ready) - in the order of their times.
    i_filled, i_empty, i_admit : In(1) - ``o_filled``, ``o_empty`` and ``o_admit`` of the packet buffer.
    o : Out(word_stream()) - record words to the packet buffer.
    o_base : Out(51) - base of its open packet in clocks (a multiple of 2^12).
    o_refuse : Out(1) - to the packet buffer: the tag is out of reach.
    o_lost : Out(2) - so many tags were lost in this clock without being offered to the buffer.
    o_idle : Out(1) - no tag is held.

    Latency: 4 clocks when nothing waits. Throughput: a tag per clock; an overflow word takes a clock more, the first tag that
    finds room after one that was lost takes three. QUEUE_TAGS tags wait meanwhile. Overflow: ``o_lost``. Source: PicoQuant,
    T2 record format of HydraHarp V2 and MultiHarp.
    """

    QUEUE_TAGS = 16

    def __init__(self):
        super().__init__(
            {
                "i": In(stream.Signature(Tag, always_ready=True)),
                "i_filled": In(1),
                "i_empty": In(1),
                "i_admit": In(1),
                "o": Out(word_stream()),
                "o_base": Out(units.CLOCK_BITS),
                "o_refuse": Out(1),
                "o_lost": Out(2),
                "o_idle": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # Sixteen entries belong into LUT RAM. What decides is read a tag ahead of the rest, and goes into registers.
        distributed = {"ram_style": "distributed"}
        m.submodules.queue = queue = memory.Memory(shape=Waiting, depth=self.QUEUE_TAGS, init=[], attrs=distributed)
        m.submodules.reaches = reaches = memory.Memory(shape=Reach, depth=self.QUEUE_TAGS, init=[], attrs=distributed)
        write, read = queue.write_port(), queue.read_port(domain="comb")
        reach_write, reach_read = reaches.write_port(), reaches.read_port(domain="comb")
        # Tags written and held: one bit more than addresses, so that full and empty differ.
        written = Signal(len(write.addr) + 1)
        fetched = Signal.like(written)

        # Way in: distances from tag to tag, as if none were lost behind the queue.
        places = Signal(signed(len(written)), init=self.QUEUE_TAGS - 2)
        """Free ones but one, beside the held tag's: negative when there is none. One that comes free is seen a clock late."""
        made_place = Signal()
        room = ~places[-1]
        enter = Signal()
        came = Signal(2)
        tag = Signal(Tag)
        gap = Signal(PERIOD_BITS)
        m.d.comb += [
            enter.eq(self.i.valid & room),
            write.en.eq(came[1]),
            write.addr.eq(written),
            reach_write.en.eq(came[1]),
            reach_write.addr.eq(written),
        ]
        m.d.sync += [
            came.eq(Cat(enter, came)),
            write.data.time.eq(tag.time),
            write.data.period.eq(tag.time[packets.T2_TIME_BITS :]),
            write.data.channel.eq(tag.channel),
            write.data.distance.eq(gap),
            *_reach(reach_write.data, gap),
        ]
        with m.If(enter):
            m.d.sync += [
                tag.eq(self.i.payload),
                gap.eq((self.i.payload.time >> packets.T2_TIME_BITS) - (tag.time >> packets.T2_TIME_BITS)),
            ]
        with m.If(enter ^ made_place):
            m.d.sync += places.eq(places + Mux(made_place, 1, -1))
        with m.If(came[1]):
            m.d.sync += written.eq(written + 1)

        # Way out: the held tag's words.
        held = Signal()
        place = Signal(range(self.QUEUE_TAGS))
        """The held tag's in the queue."""
        current = read.data
        reach = Signal(Reach)
        second = Signal()
        """The held tag's overflow word is out."""
        unsure = Signal()
        """The tag before the held one was lost: how far the packet's last tag is must be found out first."""
        measured = Signal(3)
        """Steps of that: the difference of periods, what it means, and that ``reach`` tells of it."""
        last_period = Signal(PERIOD_BITS)
        base = Signal(PERIOD_BITS)
        from_last = Signal(PERIOD_BITS)
        last_reach = Signal(Reach)
        distance = Signal(packets.T2_TIME_BITS)
        overflow = Signal()
        proceed = Signal()
        lost = Signal()
        waits = Signal()
        m.d.comb += [
            read.addr.eq(place),
            reach_read.addr.eq(fetched),
            waits.eq(written != fetched),
            overflow.eq(reach.later & ~self.i_empty),
            distance.eq(Mux(measured[2], from_last, current.distance)),
            self.o.valid.eq(held & ~unsure),
            self.o.payload.last.eq(~(overflow & self.i_admit)),  # a record that is lost has one word
            self.o.payload.data.eq(
                Mux(
                    overflow,
                    Cat(distance, Const(packets.T2_OVERFLOW_CHANNEL, CHANNEL_BITS), Const(1, 1)),
                    Cat(current.time, current.channel, Const(0, 1)),
                )
            ),
            self.o_refuse.eq(reach.beyond & self.i_filled),
            proceed.eq(~held | ~self.i_admit | ~(unsure | overflow)),
            lost.eq(held & ~second & (~self.i_admit | (self.o_refuse & ~unsure))),
            self.o_lost.eq((self.i.valid & ~room) + (held & unsure & ~self.i_admit)),
            self.o_base.eq(base << PERIOD_CLOCK_BITS),
            self.o_idle.eq(~(self.i.valid | came.any() | waits | held)),
        ]
        m.d.sync += [
            made_place.eq(proceed & waits),
            from_last.eq(current.period - last_period),
            *_reach(last_reach, from_last),
        ]
        with m.If(proceed):
            m.d.sync += [
                held.eq(waits),
                fetched.eq(fetched + waits),
                place.eq(fetched),
                reach.eq(reach_read.data),
                second.eq(0),
                measured.eq(0),
                unsure.eq(unsure | lost),
            ]
        with m.Elif(unsure):
            m.d.sync += measured.eq(Cat(1, measured))
            with m.If(measured[1]):
                m.d.sync += [unsure.eq(0), reach.eq(last_reach)]
        with m.Else():
            m.d.sync += [second.eq(1), reach.later.eq(0)]
        with m.If(self.o.valid & self.i_admit & ~self.o_refuse):
            m.d.sync += last_period.eq(current.period)
        with m.If(self.i_empty & ~second):
            # Also without a tag: whichever enters the empty packet has set it last.
            m.d.sync += base.eq(current.period)
        return m


def _reach(reach, gap) -> tuple:
    """Assignments of the fields of ``reach`` for a difference ``gap`` of periods."""
    beyond = gap[packets.T2_TIME_BITS :].any()
    return reach.later.eq(~beyond & gap[: packets.T2_TIME_BITS].any()), reach.beyond.eq(beyond)


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
            encoder.i_filled.eq(buffer.o_filled),
            encoder.i_empty.eq(buffer.o_empty),
            encoder.i_admit.eq(buffer.o_admit),
            buffer.i_base.eq(encoder.o_base),
            buffer.i_refuse.eq(encoder.o_refuse),
            buffer.i_lost.eq(encoder.o_lost),
            buffer.i_enable.eq(self.i_enable),
            buffer.i_clock.eq(self.i_clock),
            self.o_idle.eq(buffer.o_idle & encoder.o_idle),
        ]
        return m
