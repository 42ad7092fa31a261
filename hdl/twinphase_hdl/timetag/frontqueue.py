"""A short queue of tags that shows a bound while it is empty."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from .front import Front


class FrontQueue(wiring.Component):
    """``FrontBuffer`` with LUT RAM for its second place: ``depth`` tags and the oldest one, in a register, wait in all.

    Bounds pass to the register when nothing waits; the memory holds tags only. Nothing is lost: a bound that finds a tag waiting is
    replaced by the one that the input shows later. (`Queue` of ``core`` is for deep ones: block RAM, and a clock more.)

    Parameters
    ----------
    order_bits, channel_bits : int
        Of the fronts.
    depth : int
        A power of two from 2; up to 16 cost the same on ECP5.

    Members
    -------
    i, o : Front

    Latency: 1 clock. Throughput: one tag per clock. Overflow: none, ``i.ready``, from a register, holds the sender.
    """

    latency = 1

    def __init__(self, *, order_bits: int, channel_bits: int, depth: int):
        if depth < 2 or depth & (depth - 1):
            raise ValueError(f"FrontQueue: depth is {depth}; allowed: a power of two from 2")
        front = Front(order_bits=order_bits, channel_bits=channel_bits)
        super().__init__({"i": In(front), "o": Out(front)})
        # State, here so that a proof can speak of it.
        self.memory = memory.Memory(
            shape=order_bits + channel_bits, depth=depth, init=[], attrs={"ram_style": "distributed"}
        )
        self.level = Signal(range(depth + 1))
        self.waits = Signal()  # level != 0
        self.write_index = Signal(range(depth))
        self.read_index = Signal(range(depth))

    def elaborate(self, platform):
        m = Module()
        i, o = self.i, self.o
        m.submodules.memory = self.memory
        write, read = self.memory.write_port(), self.memory.read_port(domain="comb")
        comes, free, stored, fetched = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            i.ready.eq(~self.level[-1]),
            comes.eq(i.valid & i.ready),
            free.eq(~o.valid | o.ready),
            stored.eq(comes & (self.waits | ~free)),
            fetched.eq(self.waits & free),
            # What comes is written as long as there is room, and counts only if it is stored: the enable is early.
            write.en.eq(i.ready),
            write.addr.eq(self.write_index),
            write.data.eq(Cat(i.time, i.channel)),
            read.addr.eq(self.read_index),
        ]
        with m.If(free):
            m.d.sync += [
                o.valid.eq(self.waits | i.valid),
                Cat(o.time, o.channel).eq(Mux(self.waits, read.data, Cat(i.time, i.channel))),
            ]
        # ``o.ready`` comes late in the clock and moves enables alone: the level's direction does not need it.
        m.d.sync += self.waits.eq(stored | (self.waits & ~(free & (self.level == 1))))
        with m.If(stored ^ fetched):
            m.d.sync += self.level.eq(self.level + Mux(comes, 1, -1))
        for moves, index in ((stored, self.write_index), (fetched, self.read_index)):
            with m.If(moves):
                m.d.sync += index.eq(index + 1)
        return m
