"""A deep queue in block RAM alone, for parts without LUT RAM."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out


class TurnQueue(wiring.Component):
    """First in, first out, ``depth`` entries in all: the oldest in a register behind the memory, to which they come one at a time.

    Parameters
    ----------
    width, depth : int
        Bits per entry; number of entries, a power of two from 4.

    Members
    -------
    i_push, i_data : 1, width
        Must not push when ``o_full``.
    o_full : 1
    o_valid, o_head : 1, width
        Oldest entry.
    o_behind : 1
        An entry is on its way to the head.
    i_pop : 1
        Takes the head; only with ``o_valid``.

    Latency: `latency` = 5 clocks through an empty queue. Throughput: a push per clock, a pop in 3 clocks.
    """

    latency = 5

    def __init__(self, *, width: int, depth: int):
        if depth < 4 or depth & (depth - 1):
            raise ValueError(f"TurnQueue: depth is {depth}; allowed: a power of two from 4")
        self._depth = depth
        super().__init__(
            {
                "i_push": In(1),
                "i_data": In(width),
                "o_full": Out(1),
                "o_valid": Out(1),
                "o_head": Out(width),
                "o_behind": Out(1),
                "i_pop": In(1),
            }
        )
        self.memory = memory.Memory(shape=width, depth=depth, init=[])

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = self.memory
        write, read = self.memory.write_port(), self.memory.read_port()
        level = Signal(range(self._depth + 1))
        waiting = Signal(range(self._depth + 1))
        """Entries of the memory that have not been read."""
        pushed, unread, loaded = Signal(), Signal(), Signal()
        """An entry came a clock ago; known a clock late, ``waiting != 0``: the next read is three clocks later; the memory's output is an
        entry."""
        m.d.sync += [pushed.eq(self.i_push), unread.eq(waiting != 0)]
        m.d.comb += [
            read.en.eq(unread & ~loaded & ~self.o_valid),
            write.en.eq(self.i_push),
            write.data.eq(self.i_data),
            self.o_full.eq(level[-1]),
            self.o_behind.eq(pushed | unread | loaded),
        ]
        m.d.sync += [loaded.eq(read.en), self.o_valid.eq(loaded | (self.o_valid & ~self.i_pop))]
        with m.If(loaded):
            m.d.sync += self.o_head.eq(read.data)
        for count, more, less in ((level, self.i_push, self.i_pop), (waiting, self.i_push, read.en)):
            with m.If(more ^ less):
                m.d.sync += count.eq(count + Mux(more, 1, -1))
        with m.If(write.en):
            m.d.sync += write.addr.eq(write.addr + 1)
        with m.If(read.en):
            m.d.sync += read.addr.eq(read.addr + 1)
        return m
