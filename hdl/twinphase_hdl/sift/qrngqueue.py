"""Words of a quantum random number generator from its clock to the node's."""

from functools import reduce
from operator import xor

from amaranth.hdl import C, Cat, Module, Signal
from amaranth.lib import memory, stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

SLACK_WORDS = 16
"""Words that may still come after the pause was called."""
UNDER_WAY_WORDS = 5
"""Words that come between the one with which the queue is at its limit and the pause at the pin: a clock each for the difference of
counts, the comparison and the pin's register, and two in the input registers."""
DEPTH = 64
START_CLOCKS = 4


class QrngQueue(wiring.Component):
    """A queue of ``depth`` words, written at a generator's clock and read at another, of any ratio and phase.

    A generator cannot be made to wait within a clock: it is told to pause at ``depth - slack - UNDER_WAY_WORDS`` words, and may then
    still send ``slack``. Words beyond are dropped whole, and never take the place of one that was not read.

    Each side tells the other its count in Gray code through two flip-flops. The memory is LUT RAM that is read without a clock: what is
    read was written two clocks of the reader ago or more. The first words after the part's reset, until each register of the
    generator's clock has left it, are not taken.

    Members
    -------
    i_valid, i_word : In(1), In(width), domain ``source``: a word comes
    o_go : Out(1), domain ``source``, a register: 0, pause
    o : Out(stream of ``width`` bits), domain ``target``, registers

    Latency: 1 clock of ``source`` and 3 of ``target``. Throughput: a word per clock of the slower one, if what comes after ``o_go`` has
    risen comes within ``slack`` clocks. Overflow: words beyond the slack are dropped. Source: as `twinphase_hdl.link.crossing`.

    ``depth``: a power of two; ``slack``: so that half of ``depth`` is left before the pause. ValueError otherwise.
    """

    def __init__(
        self, *, width: int, source: str, target: str = "sync", depth: int = DEPTH, slack: int = SLACK_WORDS
    ) -> None:
        if depth < 16 or depth & (depth - 1):
            raise ValueError(f"QrngQueue: depth is {depth}; allowed: powers of two from 16")
        self.limit = depth - slack - UNDER_WAY_WORDS
        """Words with which the pause is called."""
        if slack < 0 or self.limit < depth // 2:
            raise ValueError(
                f"QrngQueue: slack is {slack} of {depth} words; allowed: 0 to {depth // 2 - UNDER_WAY_WORDS}"
            )
        self._source, self._target, self._depth = source, target, depth
        super().__init__({"i_valid": In(1), "i_word": In(width), "o_go": Out(1), "o": Out(stream.Signature(width))})
        # State, here so that a proof can speak of it. Counts have one bit more than an address, so that full and empty differ.
        self.memory = memory.Memory(shape=width, depth=depth, init=[], attrs={"ram_style": "distributed"})
        for name in ("written", "written_gray", "written_seen", "taken", "taken_gray", "taken_seen", "taken_known"):
            setattr(self, name, Signal(range(2 * depth), reset_less=True, name=name))
        self.level = Signal(range(2 * depth), reset_less=True)
        self.started = Signal(START_CLOCKS)
        self.full = Signal()
        self.comes = Signal()  # a word is written

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.words = words = self.memory
        write, read = words.write_port(domain=self._source), words.read_port(domain="comb")
        bits = len(self.written)
        m.submodules += [
            FFSynchronizer(self.written_gray, self.written_seen, o_domain=self._target),
            FFSynchronizer(self.taken_gray, self.taken_seen, o_domain=self._source),
        ]

        written_next = Signal.like(self.written)
        # Full: the counts differ by the depth, in Gray code by the two highest bits.
        m.d.comb += [
            self.full.eq(self.written_gray == self.taken_seen ^ (3 << bits - 2)),
            self.comes.eq(self.i_valid & self.started[-1] & ~self.full),
            write.en.eq(self.comes),
            write.addr.eq(self.written[:-1]),
            write.data.eq(self.i_word),
            written_next.eq(self.written + self.comes),
        ]
        m.d[self._source] += [
            self.started.eq(Cat(C(1, 1), self.started)),
            self.written.eq(written_next),
            self.written_gray.eq(written_next ^ written_next >> 1),
            self.taken_known.eq(Cat(reduce(xor, self.taken_seen[bit:]) for bit in range(bits))),
            self.level.eq(self.written - self.taken_known),
            self.o_go.eq(self.started[-1] & (self.level < self.limit)),
        ]

        held = Signal(reset_less=True)
        word = Signal.like(self.i_word, reset_less=True)
        waits, moves = self.taken_gray != self.written_seen, ~held | self.o.ready
        taken_next = Signal.like(self.taken)
        m.d.comb += [
            read.addr.eq(self.taken[:-1]),
            taken_next.eq(self.taken + (waits & moves)),
            self.o.valid.eq(held),
            self.o.payload.eq(word),
        ]
        m.d[self._target] += [self.taken.eq(taken_next), self.taken_gray.eq(taken_next ^ taken_next >> 1)]
        with m.If(moves):
            m.d[self._target] += [held.eq(waits), word.eq(read.data)]
        return m
