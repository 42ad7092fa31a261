"""Packets that are kept until they are whole, then read as often as there are receivers."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.types import word_stream
from twinphase_spec import packets

from .skid import Skid

MAX_PACKET_WORDS = packets.HEADER_WORDS + packets.MAX_PAYLOAD_WORDS
MARGIN = 2
"""Words that may come before ``o_room`` has followed."""


class PacketHead(data.Struct):
    """What the header of a waiting packet says."""

    stream: 8
    sequence: 32
    """w1."""
    words: MAX_PACKET_WORDS.bit_length()
    """Of the whole packet."""


class ReplayStore(wiring.Component):
    """A ring of ``depth`` words: a packet's words come one by one, and a verdict with its last one; kept packets wait, first in,
    first out.

    The oldest kept packet shows its head and is played, from its first word to its last one, whenever that is asked for, until it
    is freed. It is for the one who keeps a packet to see that it has MAX_PACKET_WORDS at most, ``depth - MARGIN - 1`` in a shallow store
    for proofs, and as many as its w2 says.

    Members
    -------
    i_put, i_word : In(1), In(32) - a word; only with ``o_room``.
    o_room : Out(1) - a word may come in this clock.
    i_keep, i_forget : In(1), In(1) - the packet ends, with the word that comes in this clock; it is whole, or is to be forgotten.
    o_waits, o_head : Out(1), Out(PacketHead) - a kept packet is there, not being played.
    i_play, i_free : In(1), In(1) - strobes, with ``o_waits``: play it; it is done with.
    o : Out(word_stream()) - its words, every one in the clock after the one before if ``ready`` stays high.

    Latency: 6 clocks from ``i_keep`` to ``o_waits`` when empty and from ``i_free`` to the next, 4 from ``i_play`` to the first word.
    Throughput: a word per clock in and out. Overflow: none, ``o_room`` is heeded.
    """

    def __init__(self, *, depth: int):
        if depth < 16 or depth & (depth - 1):
            raise ValueError(f"replay store: depth is {depth} words; allowed: powers of 2 from 16")
        super().__init__(
            {
                "i_put": In(1),
                "i_word": In(32),
                "o_room": Out(1),
                "i_keep": In(1),
                "i_forget": In(1),
                "o_waits": Out(1),
                "o_head": Out(PacketHead),
                "i_play": In(1),
                "i_free": In(1),
                "o": Out(word_stream()),
            }
        )
        # Here so that a proof can speak of them. A word of the ring has a bit more, for `last`; pointers have one bit more than
        # addresses, so that full and empty differ.
        self.depth = depth
        self.ring = memory.Memory(shape=33, depth=depth, init=[])
        self.written = Signal(range(2 * depth))
        self.committed = Signal(range(2 * depth))
        self.oldest = Signal(range(2 * depth))

    def elaborate(self, platform):
        m = Module()
        m.submodules.ring = ring = self.ring
        m.submodules.skid = skid = Skid()
        write, read = ring.write_port(), ring.read_port()
        wiring.connect(m, skid.o, wiring.flipped(self.o))

        following = Signal.like(self.written)
        m.d.comb += [
            following.eq(self.written + self.i_put),
            write.en.eq(self.i_put),
            write.addr.eq(self.written[:-1]),
            write.data.eq(Cat(self.i_word, self.i_keep)),
        ]
        m.d.sync += [
            self.written.eq(Mux(self.i_forget, self.committed, following)),
            self.o_room.eq((self.written - self.oldest)[: len(self.written)] < self.depth - MARGIN),
        ]
        with m.If(self.i_keep):
            m.d.sync += self.committed.eq(following)

        at = Signal.like(self.oldest)
        """Next word to be read."""
        fetching, loaded, held = Signal(), Signal(), Signal()
        current = Signal(33)
        last_taken = Signal()
        step = Signal(range(4))
        m.d.comb += [
            read.addr.eq(at[:-1]),
            read.en.eq(skid.i.ready),
            skid.i.valid.eq(held),
            skid.i.payload.eq(current),
            last_taken.eq(self.o.valid & self.o.ready & self.o.payload.last),
        ]
        with m.If(skid.i.ready):
            ends = loaded & read.data[-1]
            m.d.sync += [loaded.eq(fetching & ~ends), held.eq(loaded), current.eq(read.data), at.eq(at + 1)]
            with m.If(ends):
                m.d.sync += fetching.eq(0)
        with m.FSM():
            with m.State("EMPTY"):
                m.d.sync += [at.eq(self.oldest), step.eq(0)]
                with m.If(self.oldest != self.committed):
                    m.next = "HEAD"
            with m.State("HEAD"):  # nothing is being played: the pipeline moves
                m.d.sync += step.eq(step + 1)
                with m.Switch(step):
                    with m.Case(1):
                        m.d.sync += self.o_head.stream.eq(read.data[:8])
                    with m.Case(2):
                        m.d.sync += self.o_head.sequence.eq(read.data[:32])
                    with m.Case(3):
                        m.d.sync += self.o_head.words.eq(read.data[: len(self.o_head.words)] + packets.HEADER_WORDS)
                        m.next = "WAITS"
            with m.State("WAITS"):
                m.d.comb += self.o_waits.eq(1)
                m.d.sync += at.eq(self.oldest)
                with m.If(self.i_free):
                    m.d.sync += self.oldest.eq(self.oldest + self.o_head.words)
                    m.next = "EMPTY"
                with m.Elif(self.i_play):
                    m.d.sync += fetching.eq(1)
                    m.next = "PLAYS"
            with m.State("PLAYS"), m.If(last_taken):
                m.next = "WAITS"
        return m
