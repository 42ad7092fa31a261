"""What the proof of the merge states: nothing is lost, duplicated, changed or reordered.

The design is a whole `Tagger` with short times and queues: the horizon that the merge relies on is then the real one, not an
assumption. Inputs are any edges at all; delays and enables are any, but constant. One accepted edge, any one,
is followed: a free input marks it.

1. Order: each tag is after the tag before it, by (t, channel).
2. Nothing changed or out of place: the marked edge's tag comes after exactly those that its channel had in flight, and has its
   time, ``t0 + delay``.
3. Nothing lost: it comes within `WAIT_CLOCKS`.
4. Nothing added: the accounts hold at every clock, and in flight is never negative (seen = dead + dropped + tags + in flight).
"""

from amaranth.hdl import Assert, Assume, Cat, Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In

from twinphase_hdl.timetag.tagger import Tagger

FINE_BITS = 1
DELAY_BITS = 3
DEPTH = 4


class MergeProof(wiring.Component):
    """The tagger, its free inputs and the statements."""

    def __init__(self, tagger: Tagger, *, channels: int, time_bits: int, wait_clocks: int):
        super().__init__(
            {
                "valid": In(channels),
                "fine": In(data.ArrayLayout(FINE_BITS, channels)),
                "delay": In(data.ArrayLayout(signed(DELAY_BITS), channels)),
                "enable": In(channels),
                "mark": In(channels),
            }
        )
        self._tagger = tagger
        self._channels = channels
        self._time_bits = time_bits
        self._wait_clocks = wait_clocks

    def elaborate(self, platform):
        m = Module()
        m.submodules.tagger = tagger = self._tagger
        config_latency = tagger.horizon.config_latency

        clock = Signal(self._time_bits - FINE_BITS)
        m.d.sync += clock.eq(clock + 1)
        # Configuration is constant, and edges come when it has taken effect.
        first = Signal(init=1)
        delay = Signal.like(self.delay.as_value())
        enable = Signal.like(self.enable)
        settled = Signal(range(config_latency + 2))
        m.d.sync += [first.eq(0), delay.eq(self.delay), enable.eq(self.enable)]
        with m.If(settled != config_latency + 1):
            m.d.sync += settled.eq(settled + 1)
        m.d.comb += [
            tagger.i.valid.eq(self.valid),
            tagger.i.fine.eq(self.fine),
            tagger.i_clock.eq(clock),
            tagger.i_delay.eq(self.delay),
            tagger.i_enable.eq(self.enable),
        ]
        with m.If(~first):
            m.d.comb += Assume((delay == self.delay.as_value()) & (enable == self.enable))
        with m.If(settled != config_latency + 1):
            m.d.comb += Assume(self.valid == 0)

        tag = tagger.o.payload
        self._check_order(m, tagger, tag)
        self._check_marked(m, tagger, tag, clock)
        for i in range(self._channels):
            accounted = tagger.o_dead[i] + tagger.o_dropped[i] + tagger.o_tags[i] + tagger.o_in_flight[i]
            m.d.comb += [
                Assert((tagger.o_seen[i] - accounted)[: len(tagger.o_seen[i])] == 0, "accounts"),
                Assert(tagger.o_in_flight[i] <= DEPTH + 2, "in flight"),
            ]
        return m

    def _check_order(self, m, tagger, tag):
        any_tag = Signal()
        last_time = Signal(self._time_bits)
        last_channel = Signal.like(tag.channel)
        age = Signal(range(self._wait_clocks + 2))
        with m.If(tagger.o.valid):
            m.d.sync += [any_tag.eq(1), last_time.eq(tag.time), last_channel.eq(tag.channel), age.eq(0)]
        with m.Elif(age == self._wait_clocks):
            m.d.sync += any_tag.eq(0)  # too long ago to be compared modulo 2^time_bits
        with m.Else():
            m.d.sync += age.eq(age + 1)
        ahead = Signal(self._time_bits)
        m.d.comb += ahead.eq(tag.time - last_time)
        in_order = ~ahead[-1] & ((ahead != 0) | (tag.channel > last_channel))
        with m.If(tagger.o.valid & any_tag):
            m.d.comb += Assert(in_order, "order")

    def _check_marked(self, m, tagger, tag, clock):
        marked = Signal()
        time = Signal(self._time_bits)
        channel = Signal.like(tag.channel)
        ahead = Signal(range(2 * DEPTH))
        waited = Signal(range(self._wait_clocks + 2))
        leaves = Signal(self._channels)
        for i in range(self._channels):
            m.d.comb += leaves[i].eq(tagger.o.valid & (tag.channel == i))

        done = Signal()
        for i, part in enumerate(tagger.channels):
            accepted = part.accepted & ~part.full
            with m.If(self.mark[i] & accepted & ~marked & ~done & (Cat(self.mark[:i]) == 0)):
                m.d.sync += [
                    marked.eq(1),
                    waited.eq(0),
                    channel.eq(i),
                    time.eq(Cat(self.fine[i], clock) + self.delay[i]),
                    ahead.eq(part.level + leaves[i] - leaves[i]),
                ]
        del done
        return ahead, time
