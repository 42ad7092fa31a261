"""Words from one clock to another."""

from amaranth.hdl import Module, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from twinphase_hdl.types import Word, word_stream


class Crossing(wiring.Component):
    """A queue of ``depth`` words, written at one clock and read at another, of any ratio and phase.

    Each side tells the other its count in Gray code through two flip-flops. The memory is LUT RAM that is read without a clock: what is
    read was written two clocks of the reader ago or more. No reset empties it, so that a reset on one side alone breaks no count.

    Members
    -------
    i : In(word_stream()) - domain ``source``.
    o : Out(word_stream()) - domain ``target``; registers.

    Latency: 1 clock of ``source`` and 3 of ``target``. Throughput: a word per clock of the slower one, from a depth of 16 on.
    Overflow: none, ``i`` waits. Source: C. E. Cummings, Simulation and Synthesis Techniques for Asynchronous FIFO Design, SNUG 2002.
    """

    def __init__(self, *, source: str, target: str, depth: int = 16):
        if depth < 4 or depth & (depth - 1):
            raise ValueError(f"crossing: depth is {depth} words; allowed: powers of 2 from 4")
        self._source, self._target = source, target
        self._depth = depth
        super().__init__({"i": In(word_stream()), "o": Out(word_stream())})

    def elaborate(self, platform):
        m = Module()
        m.submodules.words = words = memory.Memory(
            shape=Word, depth=self._depth, init=[], attrs={"ram_style": "distributed"}
        )
        write, read = words.write_port(domain=self._source), words.read_port(domain="comb")
        # One bit more than an address, so that full and empty differ.
        written, taken, written_gray, taken_gray, written_seen, taken_seen = (
            Signal(range(2 * self._depth), reset_less=True, name=name)
            for name in ("written", "taken", "written_gray", "taken_gray", "written_seen", "taken_seen")
        )
        m.submodules += [
            FFSynchronizer(written_gray, written_seen, o_domain=self._target),
            FFSynchronizer(taken_gray, taken_seen, o_domain=self._source),
        ]

        comes = self.i.valid & self.i.ready
        written_next = Signal.like(written)
        # Full: the counts differ by the depth, in Gray code by the two highest bits.
        m.d.comb += [
            self.i.ready.eq(written_gray != taken_seen ^ (3 << len(written) - 2)),
            write.en.eq(comes),
            write.addr.eq(written[:-1]),
            write.data.eq(self.i.payload),
            written_next.eq(written + comes),
        ]
        m.d[self._source] += [written.eq(written_next), written_gray.eq(written_next ^ written_next >> 1)]

        held = Signal(reset_less=True)
        word = Signal(Word, reset_less=True)
        waits, moves = taken_gray != written_seen, ~held | self.o.ready
        taken_next = Signal.like(taken)
        m.d.comb += [
            read.addr.eq(taken[:-1]),
            taken_next.eq(taken + (waits & moves)),
            self.o.valid.eq(held),
            self.o.payload.eq(word),
        ]
        m.d[self._target] += [taken.eq(taken_next), taken_gray.eq(taken_next ^ taken_next >> 1)]
        with m.If(moves):
            m.d[self._target] += [held.eq(waits), word.eq(read.data)]
        return m
