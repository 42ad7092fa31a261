"""Proof that a `MergeNode` loses, duplicates, changes and reorders nothing, and that the bounds it shows are right.

Both sides are any streams that keep the promise of `Front`; the output is shown to be one again, in the order of (time, side), so
that the proof carries over to a tree of any number of levels. By induction, from any state that the lemmas allow: it holds for
runs of any length. Widths are small, the code is that of the large ones.

Times are modulo 2^ORDER_BITS; ``base`` goes on, and everything inside or shown stays within REACH of it: the contract's condition
that what is compared is closer together than half the range.
"""

from amaranth.hdl import Assert, Assume, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from twinphase_hdl.timetag.mergenode import MergeNode


class MergeNodeProof(wiring.Component):
    """``lemmas=False`` leaves out what is said of the inside, for wrong nodes in bounded runs."""

    ORDER_BITS, SIDE_BITS, REACH = 5, 1, 6

    def __init__(self, node: type[MergeNode] = MergeNode, *, lemmas: bool = True):
        super().__init__(
            {
                "valid": In(2),
                "left": In(self.ORDER_BITS),
                "right": In(self.ORDER_BITS),
                "left_channel": In(self.SIDE_BITS),
                "right_channel": In(self.SIDE_BITS),
                "ready": In(1),
                "step": In(1),
                "mark": In(1),
            }
        )
        self._node = node(order_bits=self.ORDER_BITS, left_bits=self.SIDE_BITS, right_bits=self.SIDE_BITS)
        self._lemmas = lemmas

    def _distance(self, a: Value, b: Value | int) -> Value:
        return (a - b)[: self.ORDER_BITS].as_signed()

    def _later(self, a: Value, b: Value) -> Value:
        return Mux(self._distance(a, b) > 0, a, b)

    def elaborate(self, platform):
        m = Module()
        m.submodules.node = node = self._node
        o, buffer = node.o, node.buffer
        base = Signal(self.ORDER_BITS)
        m.d.sync += base.eq(base + self.step)

        def near(time: Value) -> Value:
            distance = self._distance(time, base)
            return (distance >= -self.REACH) & (distance < self.REACH)

        # The sides, and the highest bound that each has ever shown (or that follows from the base).
        promises = []
        taken = []
        for k, (side, time, channel) in enumerate(
            ((node.i_left, self.left, self.left_channel), (node.i_right, self.right, self.right_channel))
        ):
            promise = Signal(self.ORDER_BITS, init=(1 << self.ORDER_BITS) - self.REACH, name=f"promise_{k}")
            before = Signal(1 + self.ORDER_BITS + self.SIDE_BITS, name=f"before_{k}")
            held = Signal(name=f"held_{k}")
            shown = Cat(self.valid[k], time, channel)
            m.d.comb += [
                side.valid.eq(self.valid[k]),
                side.time.eq(time),
                side.channel.eq(channel),
                Assume(near(time)),
                Assume(~held | (shown == before)),
                Assume(~self.valid[k] | (self._distance(time, promise) >= 0)),
            ]
            m.d.sync += [
                before.eq(shown),
                held.eq(side.valid & ~side.ready),
                promise.eq(self._later(self._later(promise, time), base + self.step - self.REACH)),
            ]
            promises.append(promise)
            taken.append(side.valid & side.ready)
        # What is held back stays in reach.
        m.d.comb += [
            o.ready.eq(self.ready),
            Assume(~o.valid | near(o.time)),
            Assume(~buffer.spare_valid | near(buffer.spare_time)),
        ]
        m.d.comb += Assert(~(taken[0] & taken[1]), "both sides left at once")

        self._order(m, base, promises)
        self._followed(m, taken)
        self._progress(m)
        return m

    def _order(self, m: Module, base: Signal, promises: list[Signal]) -> None:
        o, buffer = self._node.o, self._node.buffer
        leaves = o.valid & o.ready
        last_any, last_time, last_side = Signal(), Signal(self.ORDER_BITS), Signal()
        promise = Signal(self.ORDER_BITS, init=(1 << self.ORDER_BITS) - self.REACH)
        shown = self._later(promise, o.time)
        old = self._distance(last_time, base + self.step) < -self.REACH
        with m.If(leaves):
            m.d.sync += [
                last_any.eq(self._distance(o.time, base + self.step) >= -self.REACH),
                last_time.eq(o.time),
                last_side.eq(o.channel[-1]),
            ]
        with m.Elif(old):
            m.d.sync += last_any.eq(0)
        m.d.sync += promise.eq(self._later(shown, base + self.step - self.REACH))

        with m.If(o.valid):
            m.d.comb += Assert(self._distance(o.time, promise) >= 0, "below a bound that was shown")
            with m.If(last_any):
                distance = self._distance(o.time, last_time)
                m.d.comb += Assert((distance > 0) | ((distance == 0) & (o.channel[-1] >= last_side)), "order")
        if not self._lemmas:
            return
        # What has been taken in is before all that is to come; a tag from the right is strictly before the left's next.
        for any_tag, time, side in (
            (last_any, last_time, last_side),
            (o.valid, o.time, o.channel[-1]),
            (buffer.spare_valid, buffer.spare_time, buffer.spare_channel[-1]),
        ):
            with m.If(any_tag):
                m.d.comb += [
                    Assert(self._distance(promises[0], time) >= side, "before the left's next"),
                    Assert(self._distance(promises[1], time) >= 0, "before the right's next"),
                    Assert(self._distance(time, base) < self.REACH, "not ahead of what may be shown"),
                ]
        with m.If(buffer.spare_valid):
            distance = self._distance(buffer.spare_time, o.time)
            m.d.comb += [
                Assert((distance > 0) | ((distance == 0) & (buffer.spare_channel[-1] >= o.channel[-1])), "inside"),
                Assert(self._distance(buffer.spare_time, shown) >= 0, "second place below a bound"),
                Assert(o.valid, "second place without a first"),
            ]
        for side in promises:
            m.d.comb += [
                Assert(self._distance(side, base) >= -self.REACH, "promise in reach"),
                Assert(self._distance(side, base) < self.REACH, "promise not ahead"),
                Assert(self._distance(side, promise) >= 0, "own bounds not above those shown by the sides"),
                Assert(o.valid | (self._distance(side, o.time) >= 0), "bound shown not above those of the sides"),
            ]
        m.d.comb += [
            Assert(self._distance(promise, base) >= -self.REACH, "own promise in reach"),
            Assert(o.valid | (self._distance(o.time, base) >= -self.REACH - 2), "bound in reach"),
            Assert(~last_any | (self._distance(last_time, base) >= -self.REACH), "last tag in reach"),
        ]
        with m.If(last_any):
            m.d.comb += Assert(self._distance(promise, last_time) >= 0, "last tag was shown")

    def _followed(self, m: Module, taken: list[Value]) -> None:
        """Any one tag that enters (``mark``) leaves unchanged, behind those that were before it; nothing else leaves."""
        node, o, buffer = self._node, self._node.o, self._node.buffer
        tag = Signal(self.ORDER_BITS + self.SIDE_BITS + 1)
        marked, ahead = Signal(), Signal()
        leaves = o.valid & o.ready
        inside = Signal(4)
        entering = Mux(
            taken[0],
            Cat(node.i_left.time, node.i_left.channel, Const(0, 1)),
            Cat(node.i_right.time, node.i_right.channel, Const(1, 1)),
        )
        m.d.sync += inside.eq(inside + (taken[0] | taken[1]) - leaves)
        m.d.comb += Assert(inside == o.valid + buffer.spare_valid, "lost or duplicated")
        with m.If((taken[0] | taken[1]) & self.mark & ~marked):
            m.d.sync += [marked.eq(1), tag.eq(entering), ahead.eq(o.valid & ~leaves)]
        with m.Elif(marked & leaves):
            m.d.sync += ahead.eq(0)
            with m.If(~ahead):
                m.d.sync += marked.eq(0)
                m.d.comb += Assert(Cat(o.time, o.channel) == tag, "changed")
        if self._lemmas:
            with m.If(marked & ahead):
                m.d.comb += Assert(
                    buffer.spare_valid & (Cat(buffer.spare_time, buffer.spare_channel) == tag), "in the second place"
                )
            with m.Elif(marked):
                m.d.comb += Assert(o.valid & (Cat(o.time, o.channel) == tag), "in the first place")

    def _progress(self, m: Module) -> None:
        """What may leave does, in every clock in which the output takes."""
        node, o = self._node, self._node.o
        first = self._distance(node.i_right.time, node.i_left.time) >= 0
        may = Mux(first, node.i_left.valid, node.i_right.valid)
        could = Signal()
        m.d.sync += could.eq(may & ~node.buffer.spare_valid)
        m.d.comb += [
            Assert(~could | o.valid, "progress"),
            Assert(node.buffer.spare_valid | (node.i_left.ready == first), "the left's turn"),
            Assert(node.buffer.spare_valid | (node.i_right.ready == ~first), "the right's turn"),
        ]
