"""A channel's queue: block RAM whose oldest entry always waits in a register."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out


class TagQueue(wiring.Component):
    """First in, first out, ``depth`` entries in all, with the head in a register.

    An entry pushed into an empty queue goes to the head directly, so that it is there in the next clock. Others pass the
    memory and its output register, which is filled ahead so that the queue gives one entry per clock.

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
    o_pending : 1
        There are entries but the oldest is not at the head yet (at most two clocks).
    i_pop : 1
        Takes the head; only with ``o_valid``.
    o_level : 0 .. depth

    Latency: 1 clock through an empty queue. Throughput: one push and one pop per clock.
    """

    def __init__(self, *, width: int, depth: int):
        if depth < 4 or depth & (depth - 1):
            raise ValueError(f"TagQueue: depth is {depth}; allowed: a power of two from 4")
        super().__init__(
            {
                "i_push": In(1),
                "i_data": In(width),
                "o_full": Out(1),
                "o_valid": Out(1),
                "o_head": Out(width),
                "o_pending": Out(1),
                "i_pop": In(1),
                "o_level": Out(range(depth + 1)),
            }
        )
        self.memory = memory.Memory(shape=width, depth=depth, init=[])
        self.read_port = self.memory.read_port()
        # State, here so that a proof can speak of it. The counts have one bit more than an address, so that full and
        # empty differ.
        self.write_count = Signal(range(2 * depth))
        self.read_count = Signal(range(2 * depth))
        self.ready = Signal()  # the memory's output register holds the next entry

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = self.memory
        write, read = self.memory.write_port(), self.read_port

        write_count, read_count, ready = self.write_count, self.read_count, self.ready
        unread = write_count != read_count
        take = ~self.o_valid | self.i_pop  # the head can be replaced
        straight = ~ready & ~unread & take

        m.d.comb += [
            write.addr.eq(write_count),
            write.data.eq(self.i_data),
            write.en.eq(self.i_push & ~straight),
            read.addr.eq(read_count),
            read.en.eq(unread & (~ready | take)),
            self.o_full.eq(self.o_level[-1]),
            self.o_pending.eq(~self.o_valid & (ready | unread)),
        ]
        m.d.sync += [
            write_count.eq(write_count + write.en),
            read_count.eq(read_count + read.en),
            self.o_level.eq(self.o_level + self.i_push - self.i_pop),
        ]
        with m.If(read.en):
            m.d.sync += ready.eq(1)
        with m.Elif(take):
            m.d.sync += ready.eq(0)
        with m.If(take):
            m.d.sync += [
                self.o_valid.eq(ready | (self.i_push & ~unread)),
                self.o_head.eq(Mux(ready, read.data, self.i_data)),
            ]
        return m
