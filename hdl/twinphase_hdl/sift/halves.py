"""Two tables in one block RAM, whose depth would be half unused by either."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out


class HalvedMemory(wiring.Component):
    """Two tables of ``depth`` words each, written and read as if they were memories of their own, some clocks later.

    Both are written out of registers, table 1 in the first clock in which table 0 is not. Reads take turns.

    Members
    -------
    i_write : In(ArrayLayout(1, 2)), table k is written: table 0 not in two clocks in a row, table 1 in every fourth at most
    i_write_index, i_word : In(ArrayLayout(.., 2)), place and word, with ``i_write``
    i_index : In(ArrayLayout(.., 2)), place that is read of each table
    o_word : Out(ArrayLayout(.., 2)), what is there: of an index that has held for `latency` clocks, a word written `latency` clocks ago
        and before

    Latency: `latency` clocks, at most. Overflow: none. Source: docs/digest.md.

    ``width``, ``depth``: bits of a word, words of a table, a power of two.
    """

    latency = 7
    """Two until it is written, two until its turn, one in block RAM, two in registers behind it."""

    def __init__(self, *, width: int, depth: int) -> None:
        if depth < 2 or depth & (depth - 1):
            raise ValueError(f"HalvedMemory: depth is {depth}; allowed: a power of two from 2")
        self._width, self._depth = width, depth
        bits = depth.bit_length() - 1
        super().__init__(
            {
                "i_write": In(data.ArrayLayout(1, 2)),
                "i_write_index": In(data.ArrayLayout(bits, 2)),
                "i_word": In(data.ArrayLayout(width, 2)),
                "i_index": In(data.ArrayLayout(bits, 2)),
                "o_word": Out(data.ArrayLayout(width, 2)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.words = words = memory.Memory(shape=self._width, depth=2 * self._depth, init=[])
        write, read = words.write_port(), words.read_port()
        own, waits = Signal(), Signal()
        places = [Signal.like(self.i_write_index[k], name=f"place{k}") for k in range(2)]
        words_in = [Signal(self._width, reset_less=True, name=f"word{k}") for k in range(2)]
        m.d.sync += [own.eq(self.i_write[0]), places[0].eq(self.i_write_index[0]), words_in[0].eq(self.i_word[0])]
        with m.If(self.i_write[1]):
            m.d.sync += [waits.eq(1), places[1].eq(self.i_write_index[1]), words_in[1].eq(self.i_word[1])]
        with m.Elif(~own):
            m.d.sync += waits.eq(0)
        turn, read_turn, held_turn = Signal(), Signal(), Signal()
        m.d.comb += [
            write.en.eq(own | waits),
            write.addr.eq(Cat(Mux(own, places[0], places[1]), ~own)),
            write.data.eq(Mux(own, words_in[0], words_in[1])),
            read.addr.eq(Cat(Mux(turn, self.i_index[1], self.i_index[0]), turn)),
        ]
        # Registers right behind block RAM, which no reset clears: the block RAM takes the first one in.
        held = Signal(self._width, reset_less=True)
        m.d.sync += [turn.eq(~turn), read_turn.eq(turn), held_turn.eq(read_turn), held.eq(read.data)]
        for k in range(2):
            shown = Signal(self._width, reset_less=True, name=f"shown{k}")
            with m.If(held_turn == k):
                m.d.sync += shown.eq(held)
            m.d.comb += self.o_word[k].eq(shown)
        return m
