"""Proof that a register write is executed once: a copy of one that was, from the same writer with the same id, is told to be repeated or
old, as long as no id too far ahead, no other writers than there is room for and no long silence have come between.

By induction from any state that the lemmas allow: for any writers and ids, at any pace. Sizes are small, all of them parameters of
the same code.
"""

from amaranth.hdl import Assert, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from twinphase_hdl.link.writes import Writes

WINDOW, OLD_BITS, ID_BITS, ADDRESS_BITS = 4, 4, 5, 2
MEMORY_CLOCKS = 32
VERDICT_CLOCKS = 6
"""From the clock after ``i_first`` to the earliest ``i_keep``."""


class WritesProof(wiring.Component):
    """Two writers are known. One write that goes to the node, any one, is followed (``mark``) while its copies must be recognised.

    ``lemmas=False`` leaves out what is said of the inside, for wrong ones in bounded runs.
    """

    def __init__(self, writes: type[Writes] = Writes, *, lemmas: bool = True):
        super().__init__({"first": In(1), "writer": In(ADDRESS_BITS), "id": In(ID_BITS), "keep": In(1), "mark": In(1)})
        self._writes = writes(
            writers=2,
            window=WINDOW,
            old_bits=OLD_BITS,
            id_bits=ID_BITS,
            address_bits=ADDRESS_BITS,
            memory_clocks=MEMORY_CLOCKS,
        )
        self._lemmas = lemmas

    def elaborate(self, platform):
        m = Module()
        m.submodules.writes = writes = self._writes
        peek = writes.entries.read_port(domain="comb")
        # Requests, each begun at any time, kept at the end or given up.
        pending, since = Signal(), Signal(range(VERDICT_CLOCKS + 1))
        asks, number = Signal(ADDRESS_BITS), Signal(ID_BITS)
        may_keep, kept, executed = Signal(), Signal(), Signal()
        m.d.comb += [
            *(writes.i_first.eq(self.first), writes.i_writer.eq(self.writer), writes.i_id.eq(number)),
            may_keep.eq(pending & (since == VERDICT_CLOCKS) & ~self.first),
            kept.eq(self.keep & may_keep & ~writes.o_old),
            executed.eq(kept & ~writes.o_repeated),
            writes.i_keep.eq(kept),
        ]
        m.d.sync += since.eq(since + (since != VERDICT_CLOCKS))
        with m.If(since == 0):
            m.d.sync += number.eq(self.id)
        with m.If(self.first):
            m.d.sync += [pending.eq(1), since.eq(0), asks.eq(self.writer)]
        with m.Elif(kept):
            m.d.sync += pending.eq(0)

        # The write that is followed, its writer's newest id, the other writer since, clocks since its writer's last write.
        marked, writer, identifier = Signal(), Signal(ADDRESS_BITS), Signal(ID_BITS)
        newest, next_newest = Signal(ID_BITS), Signal(ID_BITS)
        other, has_other = Signal(ADDRESS_BITS), Signal()
        silent = Signal(range(MEMORY_CLOCKS + 1))
        behind, ahead = Signal(ID_BITS), Signal(ID_BITS)
        m.d.comb += [
            behind.eq(newest - number),
            next_newest.eq(Mux(behind < WINDOW, newest, number)),
            ahead.eq(next_newest - identifier),
        ]
        with m.If(self.mark & executed & ~marked):
            m.d.sync += [marked.eq(1), writer.eq(asks), identifier.eq(number), silent.eq(0), has_other.eq(0)]
            m.d.sync += newest.eq(writes.mine.newest)  # it may have been overtaken
        with m.Elif(marked):
            m.d.sync += silent.eq(silent + 1)
            with m.If(silent == MEMORY_CLOCKS):
                m.d.sync += marked.eq(0)
            with m.Elif(kept & (asks == writer)):
                m.d.sync += [silent.eq(0), has_other.eq(0), newest.eq(next_newest)]
                m.d.sync += marked.eq(ahead < 1 << OLD_BITS)
            with m.Elif(kept):
                m.d.sync += [has_other.eq(1), other.eq(asks), marked.eq(~has_other | (asks == other))]
        copy = marked & may_keep & (asks == writer) & (number == identifier)
        m.d.comb += [
            Assert(~copy | writes.o_repeated | writes.o_old, "executed twice"),
            Assert(~(copy & (behind < WINDOW)) | writes.o_repeated, "not answered"),
        ]
        if self._lemmas:
            self._inside(m, peek, asks, marked, writer, identifier, newest, other, has_other, silent)
        return m

    def _inside(self, m, peek, asks, marked, writer, identifier, newest, other, has_other, silent):
        """What holds in every state that can be reached."""
        writes = self._writes
        ticks = -(-MEMORY_CLOCKS // 2)
        behind = Signal(ID_BITS)
        place = Mux(has_other, *reversed(writes.place))
        age = Mux(has_other, *reversed(writes.age))
        m.d.comb += [
            peek.addr.eq(place),
            behind.eq(newest - identifier),
            Assert(writes.asks == asks, "asks"),
            Assert(writes.address[0] != writes.address[1], "a writer is known twice"),
            Assert(writes.place[0] != writes.place[1], "two writers share a place"),
            Assert(writes.wait < ticks, "wait"),
            Assert(~marked | (Mux(has_other, *reversed(writes.address)) == writer), "not known where it should be"),
            Assert(~(marked & has_other) | (writes.address[0] == other), "another one is before it"),
            Assert(~(marked & has_other) | (other != writer), "it is no other"),
            Assert(~marked | (silent <= MEMORY_CLOCKS), "silent"),
            Assert(~marked | (age * ticks + writes.wait + silent >= 3 * ticks - 1), "forgotten early"),
            Assert(~marked | (age <= 3), "age"),
            Assert(~marked | (peek.data.newest == newest), "newest"),
            Assert(~marked | (behind < 1 << OLD_BITS), "too far behind"),
            Assert(~marked | (behind >= WINDOW) | peek.data.seen.bit_select(behind[:2], 1), "has not come"),
        ]
