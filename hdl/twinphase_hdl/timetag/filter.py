"""The selector's conditional filter: tags pass near tags of other channels."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.core.queue import Queue
from twinphase_hdl.timetag.epochs import Epochs, Recent, Skipped
from twinphase_hdl.timetag.gate import AGE_BITS, WritePort, lookup
from twinphase_hdl.types import CHANNEL_BITS, Tag
from twinphase_spec import tagger, units

ENTRY_DEPTH = 16
ROOM_MARGIN = 8
"""Places kept for six tags that the last look at the level did not see, on their way through the gate; the ring is never quite full."""


class Filter(wiring.Component):
    """A tag (t, c) with ``mask = FILTER_MASK[c]`` without bit c passes if mask = 0, or if there is a tag (t', c') with c' in the mask
    and ``|t - t'| <= window``, before it or behind it.

    Tags wait for that in the lookahead, a queue of ``depth`` tags; its oldest is decided when such a tag has come, or the next tag or
    the bound says that none will come, or the lookahead is full. Tags that need not wait go round the lookahead, if it is empty.
    A tag enters the lookahead only when those that it is too late for have left, so that the latest tag of each channel is all
    that has to be compared.

    Members
    -------
    i_valid, i, i_epochs : 1, Tag, Epochs
        Times not falling. When ``o_room`` falls, three tags may still follow those that are sent in its clock.
    i_bound, i_none_before : AGE_BITS, 1
        With ``i_none_before`` no tag that is still to come at ``i``, in this clock or later, is below the bound.
    filter_mask : write port
    i_window : 22, ticks
    o_room : 1
        Tags may come.
    o, o_epochs : stream of Tag; Epochs that count from the tag sent before it
    o_filtered, o_filtered_channel : 1, 6
        Strobe: a tag was left out.
    o_idle : 1
        No tag inside.

    Latency: `latency` = 3 clocks when nothing waits. Throughput: one tag per clock; with tags that wait, one in four clocks at least.
    """

    latency = 3

    def __init__(self, *, channels: int, depth: int = tagger.FILTER_DEPTH):
        super().__init__(
            {
                "i_valid": In(1),
                "i": In(Tag),
                "i_epochs": In(Epochs),
                "i_bound": In(AGE_BITS),
                "i_none_before": In(1),
                "filter_mask": In(WritePort(channels)),
                "i_window": In(tagger.FILTER_WINDOW_BITS),
                "o_room": Out(1, init=1),
                "o": Out(stream.Signature(Tag)),
                "o_epochs": Out(Epochs),
                "o_filtered": Out(1),
                "o_filtered_channel": Out(CHANNEL_BITS),
                "o_idle": Out(1),
            }
        )
        self._channels = channels
        self._channel_bits = max((channels - 1).bit_length(), 1)
        self.queue = Queue(width=units.TIME_BITS + self._channel_bits + len(Signal(Epochs).as_value()), depth=depth)
        self._depth = depth
        # State, here so that a proof can speak of it: the entry's places, the next tag, whether the lookahead is empty.
        self.written, self.taken = Signal(range(ENTRY_DEPTH)), Signal(range(ENTRY_DEPTH))
        self.waiting = Signal()
        self.there = Signal()
        self.empty = Signal(init=1)
        self.examined = Signal()

    def elaborate(self, platform):
        m = Module()
        m.submodules.queue = queue = self.queue

        # What comes waits in a short queue, so that its room can be told early.
        width = queue.i_data.shape().width
        entry = memory.Memory(shape=width, depth=ENTRY_DEPTH, init=[], attrs={"ram_style": "distributed"})
        m.submodules.entry = entry
        entry_write, entry_read = entry.write_port(), entry.read_port(domain="comb")
        written, taken, waiting = self.written, self.taken, self.waiting
        level = Signal(range(ENTRY_DEPTH))
        take = Signal()
        one_waits = Signal()
        m.d.comb += [
            one_waits.eq(written == (taken + 1)[: len(taken)]),
            entry_write.addr.eq(written),
            entry_write.data.eq(Cat(self.i.time, self.i.channel[: self._channel_bits], self.i_epochs)),
            entry_write.en.eq(self.i_valid),
            entry_read.addr.eq(taken),
        ]
        m.d.sync += [
            self.o_room.eq(level <= ENTRY_DEPTH - ROOM_MARGIN),
            level.eq(written - taken),
            waiting.eq(self.i_valid | (waiting & ~(take & one_waits))),  # written != taken
        ]
        with m.If(self.i_valid):
            m.d.sync += written.eq(written + 1)
        with m.If(take):
            m.d.sync += taken.eq(taken + 1)

        # The next tag; without one the bound takes its place.
        there, quiet = self.there, Signal()
        tag, decoded, masks = Signal(width), Signal(self._channels), Signal(len(self._in_pairs(self.filter_mask.data)))
        far = Signal()  # it is further from the one before than the comparison reaches
        earliest, latest = Signal(AGE_BITS), Signal(AGE_BITS)  # of tags that are near to it
        leaves, loads, entry_channel = Signal(), Signal(), self._channel(entry_read.data)
        head_channel = self._channel(queue.o_head)
        entry_mask, head_mask = lookup(
            m, "mask", self._channels, self._channels, self.filter_mask, entry_channel, head_channel
        )
        m.d.comb += take.eq(waiting & loads)
        with m.If(loads):
            time = Mux(waiting, entry_read.data[:AGE_BITS], self.i_bound)
            m.d.sync += [
                there.eq(waiting),
                quiet.eq(~waiting & ~self.i_valid & self.i_none_before),
                tag.eq(entry_read.data),
                decoded.eq(self._decoded(entry_channel)),
                masks.eq(self._in_pairs(entry_mask & ~self._decoded(entry_channel))),
                far.eq(waiting & self._epochs(entry_read.data).more),
                earliest.eq(time - self.i_window),
                latest.eq(entry_read.data[:AGE_BITS] + self.i_window),
            ]

        # The oldest tag of the lookahead. It is examined in the first clock in which it is there.
        examined, head_filtered = self.examined, Signal()
        near_others = Signal.like(masks)  # pairs of channels, one of its mask with a tag near to it
        empty = self.empty
        near, beyond, full = Signal(self._channels), Signal(), Signal()
        passes, pop, push, straight, free = (Signal() for _ in range(5))
        may_join, joins, over = Signal(), Signal(), Signal()
        head_time = queue.o_head[:AGE_BITS]
        recent = Recent(m, self._epochs(tag), leaves, decoded, "filter")
        # Limits are set a clock late, since it is late in the clock that a tag is known to leave. It is near to all that wait.
        entered, entered_latest = Signal(self._channels), Signal(AGE_BITS)
        m.d.sync += [entered.eq(decoded & leaves.replicate(self._channels)), entered_latest.eq(latest)]
        for channel in range(self._channels):
            limit = Signal(AGE_BITS, name=f"latest_{channel}")  # of tags that are near to the channel's last
            with m.If(entered[channel]):
                m.d.sync += limit.eq(entered_latest)
            m.d.comb += near[channel].eq(~_below(limit, head_time))
        own = self._decoded(head_channel)
        in_mask = Signal(self._channels)
        others = head_mask & ~own
        # The next tag, or the bound, has a clock to be compared with the oldest; what came out holds until one of them leaves, and is
        # looked at while the head is examined.
        stays = queue.o_valid & ~pop
        m.d.comb += beyond.eq(_below(head_time, earliest))
        m.d.sync += [
            may_join.eq(there & ~joins & ~beyond),
            over.eq(Mux(there, ~joins, quiet) & beyond),
            examined.eq(stays),
            # Nothing is pushed behind a head before it has been examined.
            near_others.eq(
                Mux(
                    examined,
                    near_others | (self._in_pairs(decoded & in_mask) & push.replicate(len(near_others))),
                    self._in_pairs(((near & recent.held) | entered) & others),
                )
            ),
            empty.eq(~push & (empty | (pop & (queue.o_level == 1)))),
        ]
        with m.If(~examined):
            m.d.sync += [in_mask.eq(others), head_filtered.eq(others.any())]
        m.d.comb += [
            passes.eq(~head_filtered | near_others.any()),
            full.eq(queue.o_full),
            pop.eq(examined & Mux(passes, free, full | far | over)),
            straight.eq(there & empty & ~masks.any() & free),
            joins.eq(examined & may_join & ~full & ~far),
            push.eq(Mux(empty, there & masks.any(), joins)),
            leaves.eq(straight | push),
            loads.eq(~there | leaves),
            queue.i_push.eq(push),
            queue.i_data.eq(tag),
            queue.i_pop.eq(pop),
        ]

        # What passes.
        sent = Mux(empty, tag, queue.o_head)
        out = Signal(width)
        left_out = pop & ~passes
        sends = straight | (examined & passes & free)
        m.d.comb += [
            free.eq(~self.o.valid | self.o.ready),
            self.o.payload.time.eq(out[: units.TIME_BITS]),
            self.o.payload.channel.eq(self._channel(out)),
            self.o_epochs.eq(self._epochs(out)),
            self.o_idle.eq(~waiting & ~there & empty & ~self.o.valid & ~self.o_filtered),
        ]
        skipped = Skipped(m, self._epochs(sent), sends, left_out, "filter")
        m.d.sync += [
            self.o.valid.eq(sends | (self.o.valid & ~self.o.ready)),
            self.o_filtered.eq(left_out),
            self.o_filtered_channel.eq(head_channel),
        ]
        with m.If(free):
            m.d.sync += out.eq(Cat(sent[: units.TIME_BITS + self._channel_bits], skipped.now))
        return m

    def _decoded(self, channel: Value) -> Value:
        return (1 << channel)[: self._channels]

    def _in_pairs(self, channels: Value) -> Value:
        """For every two channels whether one of them is set: less registers, and less to join, where only a whole mask is asked for."""
        return Cat(channels[k : k + 2].any() for k in range(0, self._channels, 2))

    def _channel(self, entry: Value) -> Value:
        return entry[units.TIME_BITS : units.TIME_BITS + self._channel_bits]

    def _epochs(self, entry: Value) -> data.View:
        return data.View(Epochs, entry[units.TIME_BITS + self._channel_bits :])


def _below(a: Value, b: Value) -> Value:
    """a < b, modular."""
    return (a - b)[AGE_BITS - 1]
