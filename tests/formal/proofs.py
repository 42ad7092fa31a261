"""Three proofs that add up to: the tagger loses, duplicates, changes and reorders nothing.

* `QueueProof`: what is pushed into a `Queue` comes out once, unchanged, in order, and is its head within four clocks of being
  the oldest.
* `ChannelProof`: what a `Channel` pushes has the time ``t0 + delay``, which is not below the `Horizon` of that clock, and each
  edge is either dead, by the contract's formula, or dropped by a full queue, or pushed.
* `MergeProof`: given queues like that, the `Merge` emits each entry once, unchanged, in the order of (t, channel), and
  always emits the first head when nothing is to be waited for.

All are by induction from any state that the lemmas allow, so they hold for runs of any length. Sizes are small, behaviour is that of
the large ones, since all of them are parameters of the same code.
"""

from amaranth.hdl import Assert, Assume, Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In
from queue_counts import assert_counts, assert_place

from twinphase_hdl.core.queue import Queue
from twinphase_hdl.timetag.channel import Channel
from twinphase_hdl.timetag.horizon import Horizon
from twinphase_hdl.timetag.merge import Merge


class QueueProof(wiring.Component):
    """One pushed entry, any one, is followed (``mark``); ``position`` is the number of entries before it."""

    push: In(1)
    data: In(4)
    pop: In(1)
    mark: In(1)

    DEPTH = 4
    FRONT_DEPTH = 2
    DIRECT = True

    def elaborate(self, platform):
        m = Module()
        sizes = {"depth": self.DEPTH, "front_depth": self.FRONT_DEPTH}
        m.submodules.queue = queue = Queue(width=len(self.data), **sizes, direct=self.DIRECT)
        m.d.comb += [
            queue.i_push.eq(self.push),
            queue.i_data.eq(self.data),
            queue.i_pop.eq(self.pop),
            Assume(~(self.push & queue.o_full)),
            Assume(~self.pop | queue.o_valid),
        ]

        marked = Signal()
        value = Signal.like(self.data)
        position = Signal.like(queue.o_level)
        late = Signal(3)
        with m.If(self.mark & self.push & ~marked):
            m.d.sync += [marked.eq(1), value.eq(self.data), position.eq(queue.o_level - self.pop)]
        with m.Elif(marked & self.pop):
            m.d.sync += position.eq(position - 1)
            with m.If(position == 0):
                m.d.comb += Assert(queue.o_head == value, "changed")
                m.d.sync += marked.eq(0)
        m.d.sync += late.eq(Mux(queue.o_pending, late + 1, 0))

        longest = 5 if self.DIRECT else 6
        # Lemmas: the counts count what is held, and the marked entry is where its position says.
        counts = assert_counts(m, queue, depth=self.DEPTH, front_depth=self.FRONT_DEPTH)
        assert_place(m, queue, counts, marked=marked, position=position, value=value)
        m.d.comb += [
            Assert((queue.o_valid | queue.o_pending) == ((queue.o_level != 0) | self.push), "empty"),
            Assert(late <= longest, "late"),
            Assert(
                (late < longest - 4) | queue.o_valid | queue.front_valid | queue.loaded | queue.staged | queue.unread,
                "written",
            ),
            Assert((late < longest - 3) | queue.o_valid | queue.front_valid | queue.loaded | queue.staged, "read"),
            Assert((late < longest - 2) | queue.o_valid | queue.front_valid | queue.staged, "staged"),
            Assert((late < longest - 1) | queue.o_valid | queue.front_valid, "in front"),
            Assert((late < longest) | queue.o_valid, "arrived"),
        ]
        return m


class IndirectQueueProof(QueueProof):
    """Of a queue all of whose entries pass the block RAM."""

    DIRECT = False


class ChannelProof(wiring.Component):
    """A channel beside another one whose delay also bounds the horizon. Delays, enables and dead time are any, but constant."""

    TIME_BITS, FINE_BITS, DELAY_BITS, DEAD_TIME_BITS = 7, 2, 4, 4

    def __init__(self):
        super().__init__(
            {
                "valid": In(1),
                "fine": In(self.FINE_BITS),
                "take": In(1),
                "dead_time": In(self.DEAD_TIME_BITS),
                "delay": In(data.ArrayLayout(signed(self.DELAY_BITS), 2)),
                "enable": In(2),
            }
        )

    def elaborate(self, platform):
        m = Module()
        sizes = {"fine_bits": self.FINE_BITS, "delay_bits": self.DELAY_BITS}
        clock_bits = self.TIME_BITS - self.FINE_BITS
        m.submodules.channel = channel = Channel(
            depth=4, time_bits=self.TIME_BITS, dead_time_bits=self.DEAD_TIME_BITS, **sizes
        )
        m.submodules.horizon = horizon = Horizon(channels=2, clock_bits=clock_bits, order_bits=self.TIME_BITS, **sizes)
        clock = Signal(clock_bits)
        m.d.sync += clock.eq(clock + 1)
        m.d.comb += [
            channel.i_clock.eq(clock),
            channel.i_valid.eq(self.valid),
            channel.i_fine.eq(self.fine),
            channel.i_enable.eq(self.enable[0]),
            channel.i_dead_time.eq(self.dead_time),
            channel.i_delay.eq(self.delay[0]),
            channel.i_take.eq(self.take & channel.o_valid),
            horizon.i_clock.eq(clock),
            horizon.i_enable.eq(self.enable),
            horizon.i_delay.eq(self.delay),
        ]

        # Constant configuration, in effect before the first edge.
        settling = Signal(range(16), init=horizon.config_latency + 1)
        config = Cat(self.dead_time, self.delay.as_value(), self.enable)
        config_before = Signal.like(config)
        first = Signal(init=1)
        m.d.sync += [first.eq(0), config_before.eq(config)]
        with m.If(~first):
            m.d.comb += Assume(config == config_before)
        with m.If(settling != 0):
            m.d.sync += settling.eq(settling - 1)
            m.d.comb += Assume(~self.valid)

        # The channel decides a clock after the edge, and pushes in the clock after that.
        edge, time, tag_time = Signal(), Signal(self.TIME_BITS), Signal(self.TIME_BITS)
        m.d.sync += [
            edge.eq(self.valid & self.enable[0]),
            time.eq(Cat(self.fine, clock)),
            tag_time.eq(Cat(self.fine, clock) + self.delay[0]),
        ]
        last, any_last = Signal(self.TIME_BITS), Signal()
        since_last = Signal(self.TIME_BITS)
        dead = Signal()
        m.d.comb += [since_last.eq(time - last), dead.eq(any_last & (since_last < self.dead_time))]
        with m.If(edge & ~dead):
            m.d.sync += [last.eq(time), any_last.eq(1)]

        accepted, accepted_time = Signal(), Signal(self.TIME_BITS)
        m.d.sync += [accepted.eq(edge & ~dead), accepted_time.eq(tag_time)]
        pushed, full = channel.queue.i_push, channel.queue.o_full
        horizon_now, above = Signal(self.TIME_BITS), Signal(self.TIME_BITS)
        m.d.sync += horizon_now.eq(horizon.o_horizon)
        m.d.comb += [
            above.eq(channel.queue.i_data - horizon_now),
            Assert(pushed == (accepted & ~full), "which edges are pushed"),
        ]
        with m.If(pushed):
            m.d.comb += [
                Assert(channel.queue.i_data == accepted_time, "time"),
                Assert(above < (1 << self.DELAY_BITS) + (2 << self.FINE_BITS), "below the horizon"),
            ]
        m.d.comb += [
            Assert((channel.last == last) & (channel.any_last == any_last), "lemma: last"),
            Assert(first | (channel.end == last + self.dead_time), "lemma: end"),
        ]
        strobes = [channel.o_dead, channel.o_dropped, channel.o_queued]
        m.d.comb += Assert(sum(strobes) == channel.o_seen, "accounts")
        return m


class MergeProof(wiring.Component):
    """A merge between queues that are any that keep these rules (assumed; proven of the real ones above):

    a front stays until it is taken; a queue empties only by being taken; the fronts of a queue rise; what comes
    into an empty queue is not below the horizon. The horizon moves by any step, and what waits is never further from
    it than ``REACH``, an eighth of the range of the comparisons (see `twinphase_hdl.timetag.merge.ORDER_BITS`).

    Without ``lemmas`` only what is to be proven is asserted: for merges that must be rejected for what they do.
    """

    TIME_BITS = 5
    REACH = 1 << (TIME_BITS - 3)
    STEP_BITS = 2
    START = (1 << TIME_BITS) - 4
    """Of the horizon: shortly before it wraps, so that short counterexamples reach the wrap."""

    def __init__(self, merge: type[Merge] = Merge, *, channels: int = 3, lemmas: bool = True):
        super().__init__(
            {
                "step": In(self.STEP_BITS),
                "valid": In(channels),
                "pending": In(channels),
                "time": In(data.ArrayLayout(self.TIME_BITS, channels)),
            }
        )
        self._channels = range(channels)
        self._with_lemmas = lemmas
        self._merge = merge(channels=channels, time_bits=self.TIME_BITS, order_bits=self.TIME_BITS)

    def _distance(self, later: Value, earlier: Value) -> Value:
        """``later - earlier``, modular, signed."""
        return (later - earlier)[: self.TIME_BITS].as_signed()

    def elaborate(self, platform):
        m = Module()
        m.submodules.merge = merge = self._merge
        m.d.comb += [
            merge.i_valid.eq(self.valid),
            merge.i_pending.eq(self.pending),
            merge.i_time.eq(self.time),
        ]
        horizon = Signal(self.TIME_BITS, init=self.START)  # of this clock
        m.d.sync += horizon.eq(merge.i_horizon)
        m.d.comb += merge.i_horizon.eq(horizon + self.step)

        self._nothing_lost_or_added(m)
        floors = [self._queue(m, i, horizon) for i in self._channels]
        self._order(m, horizon, floors)
        return m

    def _queue(self, m: Module, i: int, horizon: Signal) -> Signal:
        """Rules of queue i. Returns the least time that its front or, without one, its next front can have."""
        merge = self._merge
        valid, pending, time, take = self.valid[i], self.pending[i], self.time[i], merge.o_take[i]
        started = Signal()
        valid_before, pending_before, take_before = Signal(), Signal(), Signal()
        time_before = Signal(self.TIME_BITS)
        floor = Signal(self.TIME_BITS, init=self.START, name=f"floor_{i}")
        m.d.sync += [
            started.eq(1),
            valid_before.eq(valid),
            pending_before.eq(pending),
            take_before.eq(take),
            time_before.eq(time),
        ]
        m.d.comb += Assume(~(valid & pending))
        with m.If(valid_before & ~take_before):
            m.d.comb += Assume(valid & (time == time_before))
        with m.If(pending_before):
            m.d.comb += Assume(valid | pending)
        with m.If(~valid_before & ~pending_before):
            m.d.comb += Assume(~valid)
        with m.If(self._with_lemmas & ~merge.head_valid[i]):
            m.d.comb += [
                Assert(~valid_before, "lemma: a head was there to take"),
                Assert(merge.waits | ~(valid | (pending & pending_before)), "lemma: waits for what is there"),
            ]
        with m.If(~started):
            m.d.comb += Assume(~valid & ~pending)

        # What may come next: later than what was taken; in an empty queue, not below the horizon.
        with m.If(valid & take):
            m.d.sync += floor.eq(time + 1)
        with m.Elif(~valid & (~pending | ~(valid_before | pending_before)) & (self._distance(horizon, floor) > 0)):
            m.d.sync += floor.eq(horizon)
        with m.If(valid):
            m.d.comb += [
                Assume(self._distance(time, floor) >= 0),
                Assume(self._distance(time, horizon) < self.REACH),
                Assume(self._distance(time, horizon) > -self.REACH),
            ]
        # Nothing waits so long that the times' wrapping would matter.
        for waits, what in ((merge.head_valid[i], merge.heads[i]), (valid, time), (pending, floor)):
            with m.If(waits):
                m.d.comb += Assume(self._distance(what, horizon + self.step) > -self.REACH)
        return floor

    def _nothing_lost_or_added(self, m: Module) -> None:
        """A head came from a front that was taken, and goes to the output exactly when it makes room."""
        merge = self._merge
        for i in self._channels:
            take_before, held_before = Signal(), Signal()
            front_before, head_before = Signal(self.TIME_BITS), Signal(self.TIME_BITS)
            m.d.sync += [
                take_before.eq(merge.o_take[i]),
                held_before.eq(merge.head_valid[i]),
                front_before.eq(self.time[i]),
                head_before.eq(merge.heads[i]),
            ]
            emitted = merge.o.valid & (merge.o.payload.channel == i)
            m.d.comb += [
                Assert(~merge.o_take[i] | self.valid[i], "took what is not there"),
                Assert(emitted == (held_before & (take_before | ~merge.head_valid[i])), "lost or duplicated"),
            ]
            with m.If(take_before):
                m.d.comb += Assert(merge.head_valid[i] & (merge.heads[i] == front_before), "changed on entering")
            with m.Elif(merge.head_valid[i]):
                m.d.comb += Assert(held_before & (merge.heads[i] == head_before), "changed while waiting")
            with m.If(emitted):
                m.d.comb += Assert(merge.o.payload.time == head_before, "changed on leaving")
        m.d.comb += Assert(~merge.o.valid | (merge.o.payload.channel < len(self._channels)), "channel")

    def _order(self, m: Module, horizon: Signal, floors: list[Signal]) -> None:
        merge, tag = self._merge, self._merge.o.payload

        # The last tag so far, as (t, channel); its t is pulled along when it is so long ago that times would wrap.
        any_last = Signal()
        last_time, last_channel = Signal.like(tag.time), Signal.like(tag.channel)
        so_far_time, so_far_channel = Signal.like(tag.time), Signal.like(tag.channel)
        any_so_far = Signal()
        m.d.comb += [
            any_so_far.eq(any_last | merge.o.valid),
            so_far_time.eq(Mux(merge.o.valid, tag.time, last_time)),
            so_far_channel.eq(Mux(merge.o.valid, tag.channel, last_channel)),
        ]
        forget = self._distance(horizon, so_far_time) > self.REACH
        m.d.sync += [
            any_last.eq(any_so_far & ~forget),
            last_time.eq(so_far_time),
            last_channel.eq(so_far_channel),
        ]

        def after(time: Value, channel: int | Value, than_time: Value, than_channel: int | Value) -> Value:
            distance = self._distance(time, than_time)
            return (distance > 0) | ((distance == 0) & (channel > than_channel))

        with m.If(merge.o.valid & any_last):
            m.d.comb += Assert(after(tag.time, tag.channel, last_time, last_channel), "order")

        # Progress: when nothing is to be waited for and all heads are below the horizon, one leaves.
        could = Signal()
        all_released = Const(1)
        for i in self._channels:
            distance = self._distance(horizon, merge.heads[i])
            all_released &= ~merge.head_valid[i] | (distance > 0)
        m.d.sync += could.eq(
            merge.head_valid.any() & all_released & ~(~merge.head_valid & (self.valid | self.pending)).any()
        )
        m.d.comb += Assert(~could | merge.o.valid, "progress")

        if not self._with_lemmas:
            return
        oldest = self.REACH + (1 << self.STEP_BITS)

        # Lemmas: the comparisons that are kept are right; emitted tags are below the horizon; what is still inside or to come is
        # after them; all of it is close to the horizon.
        for (i, j), first in merge.before.items():
            with m.If(merge.head_valid[i] & merge.head_valid[j]):
                m.d.comb += Assert(first == after(merge.heads[j], j, merge.heads[i], i), "kept comparison")
        with m.If(any_so_far):
            m.d.comb += [
                Assert(self._distance(so_far_time, horizon) < 0, "below the horizon"),
                Assert(self._distance(so_far_time, horizon) >= -oldest, "last tag in reach"),
            ]
        for i, floor in enumerate(floors):
            head, held = merge.heads[i], merge.head_valid[i]
            m.d.comb += [
                Assert(self._distance(floor, horizon) <= self.REACH, "floor not too far ahead"),
                Assert(self._distance(floor, horizon) >= -oldest, "floor not too old"),
            ]
            with m.If(held):
                m.d.comb += [
                    Assert(self._distance(floor, head) > 0, "floor above the head"),
                    Assert(self._distance(head, horizon) > -self.REACH, "head not too old"),
                    Assert(self._distance(head, horizon) < self.REACH, "head not too far ahead"),
                    Assert(~any_so_far | after(head, i, so_far_time, so_far_channel), "head after the last tag"),
                ]
            with m.Elif(self.valid[i] | self.pending[i]):
                m.d.comb += Assert(
                    ~any_so_far | after(floor, i, so_far_time, so_far_channel), "next front after the last tag"
                )
