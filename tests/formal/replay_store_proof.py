"""Proof that a `ReplayStore` keeps what it was told to keep: no word overwrites one of a packet that waits or is under way, a kept
packet's words stay what they were, its last one and no other marked as such, until it is freed, and what is forgotten leaves no trace.

By induction from any state that the lemmas allow: for runs of any length, any words and verdicts. It is taken for granted that only
what is kept is freed, which the words that packets have see to. That they are played in order is the benches' to show.
"""

from amaranth.hdl import Assert, Assume, Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from twinphase_hdl.link.replaystore import MARGIN, ReplayStore

DEPTH = 16


class ReplayStoreProof(wiring.Component):
    """One word that comes, any one, is followed (``mark``) from its coming until its packet is forgotten or freed.

    ``lemmas=False`` leaves out what is said of the inside, for wrong stores in bounded runs.
    """

    def __init__(self, store: type[ReplayStore] = ReplayStore, *, lemmas: bool = True):
        super().__init__(
            {
                "put": In(1),
                "word": In(32),
                "keep": In(1),
                "forget": In(1),
                "play": In(1),
                "free": In(1),
                "ready": In(1),
                "mark": In(1),
            }
        )
        self._store = store(depth=DEPTH)
        self._lemmas = lemmas

    def elaborate(self, platform):
        m = Module()
        m.submodules.store = store = self._store
        peek = store.ring.read_port(domain="comb")
        taken, used, kept = Signal(), Signal.like(store.written), Signal.like(store.written)
        m.d.comb += [
            taken.eq(self.put & store.o_room),
            used.eq(store.written - store.oldest),
            kept.eq(store.committed - store.oldest),
            *(store.i_put.eq(taken), store.i_word.eq(self.word)),
            *(store.i_keep.eq(self.keep & taken), store.i_forget.eq(self.forget & ~store.i_keep)),
            *(store.i_play.eq(self.play & store.o_waits & ~self.free), store.i_free.eq(self.free & store.o_waits)),
            store.o.ready.eq(self.ready),
            Assume(~store.i_free | ((store.o_head.words != 0) & (store.o_head.words <= kept))),
            Assert(used < DEPTH, "no place is left for what comes"),
            Assert(kept <= used, "kept more than came"),
        ]

        # The followed word: its place among the words that are there, and whether its packet is kept.
        marked, held, last = Signal(), Signal(), Signal()
        place = Signal.like(used)
        value = Signal(32)
        freed = Mux(store.i_free, store.o_head.words, 0)
        with m.If(self.mark & taken & ~marked & ~store.i_forget):
            m.d.sync += [marked.eq(1), value.eq(self.word), last.eq(store.i_keep), held.eq(store.i_keep)]
            m.d.sync += place.eq(used - freed)
        with m.Elif(marked):
            gone = Mux(held, freed > place, store.i_forget)
            m.d.sync += [marked.eq(~gone), held.eq(held | store.i_keep), place.eq(place - freed)]
        m.d.comb += [
            peek.addr.eq((store.oldest + place)[: len(peek.addr)]),
            Assert(~marked | (peek.data == Cat(value, last)), "overwritten"),
            Assert(~marked | (held == (place < kept)), "kept what was not, or the other way round"),
        ]
        if self._lemmas:
            m.d.comb += [
                Assert(~store.o_room | (used <= DEPTH - MARGIN), "room"),
                Assert(~marked | (place < used), "place"),
            ]
        return m
