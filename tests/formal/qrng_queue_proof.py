"""Proof that a `QrngQueue` loses, duplicates, changes and reorders no word of a generator that keeps the slack, whatever its pauses and
the reader's.

By induction, from any state that the lemmas allow: it holds for runs of any length. Both sides have one clock here; that counts cross in
Gray code is what makes it hold at two, and is left to the tests by simulation. Width, depth and slack are small, the code is that of the
large ones.
"""

from functools import reduce
from operator import xor

from amaranth.hdl import Assert, Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from twinphase_hdl.sift.qrngqueue import UNDER_WAY_WORDS, QrngQueue


def gray(value: Value) -> Value:
    return value ^ value >> 1


def number(code: Value) -> Value:
    """That a Gray code means."""
    return Cat(reduce(xor, code[bit:]) for bit in range(len(code)))


class QrngQueueProof(wiring.Component):
    """Words go through two registers of the pins to the queue, and ready through one to its pin. One of those that are taken, any, is
    followed (``mark``). ``keeps``: the generator keeps the slack, and all are taken; else it sends whatever it likes."""

    WIDTH, DEPTH, SLACK = 2, 16, 2

    def __init__(self, queue: type[QrngQueue] = QrngQueue, *, keeps: bool = True, lemmas: bool = True):
        super().__init__({"valid": In(1), "word": In(self.WIDTH), "ready": In(1), "mark": In(1)})
        self._keeps, self._lemmas = keeps, lemmas
        self._queue = queue(width=self.WIDTH, source="sync", depth=self.DEPTH, slack=self.SLACK)

    def elaborate(self, platform):
        m = Module()
        m.submodules.queue = queue = self._queue
        valid, pin, begun, since = Signal(2), Signal(), Signal(), Signal(range(self.SLACK + 1))
        sends = Signal()  # a word comes: if ``valid``, and as the slack allows
        word, arrived = Signal(self.WIDTH), Signal(self.WIDTH)
        m.d.sync += [
            *(valid.eq(Cat(sends, valid[0])), word.eq(self.word), arrived.eq(word)),
            *(pin.eq(queue.o_go), begun.eq(begun | pin)),
            since.eq(Mux(pin, 0, since + (sends & (since != self.SLACK)))),
        ]
        m.d.comb += [
            queue.i_valid.eq(valid[1]),
            queue.i_word.eq(arrived),
            queue.o.ready.eq(self.ready),
            sends.eq(self.valid & (pin | (begun & (since < self.SLACK)) if self._keeps else 1)),
        ]
        if self._keeps:
            m.d.sync += Assert(~queue.i_valid | queue.comes, "lost")

        # Words leave by their number, each once; one that is followed leaves as it came.
        leaves = queue.o.valid & self.ready
        held, offered = Signal(), Signal(self.WIDTH)
        left = Signal.like(queue.written)
        m.d.sync += [held.eq(queue.o.valid & ~self.ready), offered.eq(queue.o.payload), left.eq(left + leaves)]
        m.d.sync += Assert(~held | (queue.o.valid & (queue.o.payload == offered)), "did not hold")
        marked, place, value = Signal(), Signal.like(queue.written), Signal(self.WIDTH)
        with m.If(self.mark & queue.comes & ~marked):
            m.d.sync += [marked.eq(1), place.eq(queue.written), value.eq(queue.i_word)]
        with m.Elif(marked & leaves & (left == place)):
            m.d.sync += marked.eq(0)
            m.d.sync += Assert(queue.o.payload == value, "changed or out of order")
        inside = Signal.like(queue.written)
        m.d.comb += inside.eq(queue.written - left)
        m.d.sync += [
            Assert(~leaves | (inside != 0), "of nothing"),
            Assert(inside <= self.DEPTH + 1, "more than there are places"),
        ]
        if self._lemmas:
            self._assert_counts(m, left, (marked, place, value))
            if self._keeps:
                self._assert_room(m, begun, pin, valid, since)
        return m

    def _assert_counts(self, m, left, followed):
        queue, (marked, place, value) = self._queue, followed
        fill, unseen, ahead, stale, known = (Signal.like(queue.written, name=f"lemma{k}") for k in range(5))
        m.d.comb += [
            fill.eq(queue.written - queue.taken_known),
            unseen.eq(queue.written - number(queue.written_seen)),
            ahead.eq(number(queue.written_seen) - queue.taken),
            stale.eq(queue.taken - number(queue.taken_seen)),
            known.eq(number(queue.taken_seen) - queue.taken_known),
            Assert(queue.written_gray == gray(queue.written), "written, in Gray code"),
            Assert(queue.taken_gray == gray(queue.taken), "taken, in Gray code"),
            Assert(unseen <= 2, "written and not seen"),
            Assert(ahead <= self.DEPTH, "seen and not taken"),
            Assert(stale <= 2, "taken and not seen"),
            Assert(known <= 1, "seen and not known"),
            Assert(fill <= self.DEPTH, "depth"),
            Assert(unseen + ahead + stale + known == fill, "counts in a row"),
            Assert(left == (queue.taken - queue.o.valid)[: len(left)], "left"),
        ]
        peek = queue.memory.read_port(domain="comb")
        position = Signal.like(left)
        m.d.comb += [peek.addr.eq(place[:-1]), position.eq(place - left)]
        with m.If(marked):
            m.d.comb += Assert(position < (queue.written - left)[: len(left)], "inside")
            with m.If(queue.o.valid & (position == 0)):
                m.d.comb += Assert(queue.o.payload == value, "at the reader")
            with m.Else():
                m.d.comb += Assert(peek.data == value, "in the memory")

    def _assert_room(self, m, begun, pin, valid, since):
        """What may still come, before the pause and behind it, has room."""
        queue = self._queue
        started, fill = queue.started, Signal.like(queue.written)
        room = Signal(range(2 * self.DEPTH))
        under_way = valid[0] + valid[1]
        going = Mux(queue.level < queue.limit, UNDER_WAY_WORDS - 2, 2) + self.SLACK
        m.d.comb += [
            fill.eq(queue.written - queue.taken_known),
            room.eq(Mux(queue.o_go, going, Mux(pin, 1 + self.SLACK, self.SLACK - since))),
            Assert(since <= self.SLACK, "slack"),
            Assert(~(begun | pin | queue.o_go) | started[-1], "started"),
            Assert(started.all() | ~started[-1], "started in a row"),
            Assert(~valid.any() | begun | pin, "begun"),
            Assert((fill <= queue.level + 1) | ~started[-1], "level"),
            Assert(~begun | (fill + under_way + room <= self.DEPTH), "room"),
        ]
