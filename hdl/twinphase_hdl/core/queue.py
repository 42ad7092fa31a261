"""A deep queue that is fast on both sides: block RAM, its next entries in a few words of LUT RAM, the oldest in a register."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

FRONT_DEPTH = 8
"""Entries of LUT RAM. An entry taken is replaced from block RAM six clocks later, so that six would do for one per clock."""


class Queue(wiring.Component):
    """First in, first out, ``depth`` entries in all: the oldest in a register, the head; some in the front, a short queue of LUT
    RAM that is read at once; the rest in block RAM.

    An entry pushed when none waits behind the front goes there directly, so that an empty queue has it as its head two clocks
    later. Others pass a register, the block RAM, its output and a register. They are fetched ahead, as far as the front has room
    left for what is under way; both are counted in registers, so that ``i_pop``, which comes late in the clock, moves little.

    Parameters
    ----------
    width, depth : int
        Bits per entry; number of entries, a power of two from 4.
    front_depth : int
        Entries of the front, a power of two; smaller ones are for proofs.
    with_rest : bool
        With ``i_rest``.
    direct : bool
        False: every entry passes the block RAM, so that ``i_push`` moves registers only; for pushes that come late in the clock.

    Members
    -------
    i_push, i_data : 1, width
        Must not push when ``o_full``.
    o_full : 1
    o_valid, o_head : 1, width
        Oldest entry.
    o_pending : 1
        There is no head but an entry comes in this clock or is on its way (five clocks at most, six if not ``direct``).
    i_rest : width
        What ``o_head`` is without ``o_valid``, a clock later.
    i_pop : 1
        Takes the head; only with ``o_valid``.
    o_level : 0 .. depth

    Latency: 2 clocks through an empty queue, 6 if not ``direct``. Throughput: one push and one pop per clock.
    """

    def __init__(
        self,
        *,
        width: int,
        depth: int,
        front_depth: int = FRONT_DEPTH,
        with_rest: bool = False,
        direct: bool = True,
    ):
        if depth < 4 or depth & (depth - 1):
            raise ValueError(f"Queue: depth is {depth}; allowed: a power of two from 4")
        if front_depth < 2 or front_depth & (front_depth - 1):
            raise ValueError(f"Queue: front_depth is {front_depth}; allowed: a power of two from 2")
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
                **({"i_rest": In(width)} if with_rest else {}),
            }
        )
        self._with_rest, self._direct = with_rest, direct
        # State, here so that a proof can speak of it. Counts have one bit more than an address, so that full and empty differ.
        self.memory = memory.Memory(shape=width, depth=depth, init=[])
        self.read_port = self.memory.read_port()
        self.front = memory.Memory(shape=width, depth=front_depth, init=[], attrs={"ram_style": "distributed"})
        self.write_count = Signal(range(2 * depth))
        self.read_count = Signal(range(2 * depth))
        self.read_next = Signal(range(2 * depth), init=1)  # read_count + 1, so that it needs only be compared
        self.front_write_count = Signal(range(2 * front_depth))
        self.front_read_count = Signal(range(2 * front_depth))
        self.front_read_next = Signal(range(2 * front_depth), init=1)
        self.front_valid = Signal()  # front_write_count != front_read_count
        self.advanced = Signal()  # an entry left the front in the clock before
        self.claimed = Signal(
            range(front_depth + 1)
        )  # entries in the front or on their way to it, and one that has just left it
        self.entering = (
            Signal()
        )  # an entry is being written to the memory: what decides about it is known late in the clock
        self.entry = Signal(width, reset_less=True)
        self.unread = Signal()  # write_count != read_count
        self.loaded = Signal()  # the memory's output is an entry
        self.staged = Signal()  # so is the register behind it
        self.stage = Signal(width, reset_less=True)  # so that it may be the memory's own output register

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = self.memory
        m.submodules.front = self.front
        write, read = self.memory.write_port(), self.read_port
        front_write, front_read = self.front.write_port(), self.front.read_port(domain="comb")

        room = Signal()
        behind = Signal()
        straight = Signal()
        arriving = Signal()
        advance = Signal()  # the front's oldest entry becomes the head
        last = Signal()
        last_unread = Signal()
        m.d.comb += [
            room.eq(~self.claimed[-1]),
            behind.eq(self.entering | self.unread | self.loaded | self.staged),
            straight.eq(self.i_push & room & ~behind if self._direct else 0),
            arriving.eq(straight | self.staged),
            advance.eq(self.front_valid & (~self.o_valid | self.i_pop)),
            last.eq(self.front_write_count == self.front_read_next),
            last_unread.eq(self.write_count == self.read_next),
            self.o_full.eq(self.o_level[-1]),
            self.o_pending.eq(~self.o_valid & (self.front_valid | behind | self.i_push)),
            write.addr.eq(self.write_count),
            write.data.eq(self.entry),
            write.en.eq(self.entering),
            read.addr.eq(self.read_count),
            read.en.eq(self.unread & room),
            front_write.addr.eq(self.front_write_count),
            front_write.data.eq(Mux(self.staged, self.stage, self.i_data) if self._direct else self.stage),
            front_write.en.eq(arriving),
            front_read.addr.eq(self.front_read_count),
        ]
        m.d.sync += [
            self.entering.eq(self.i_push & ~straight),
            self.entry.eq(self.i_data),
            self.unread.eq(write.en | (self.unread & ~(read.en & last_unread))),
            self.loaded.eq(read.en),
            self.staged.eq(self.loaded),
            self.stage.eq(read.data),
            self.front_valid.eq(arriving | (self.front_valid & ~(advance & last))),
            self.o_valid.eq(self.front_valid | (self.o_valid & ~self.i_pop)),
        ]
        if self._with_rest:
            with m.If(~self.o_valid | self.i_pop):
                m.d.sync += self.o_head.eq(Mux(self.front_valid, front_read.data, self.i_rest))
        else:
            with m.If(advance):
                m.d.sync += self.o_head.eq(front_read.data)
        # Counts move by an enable: that something leaves is known late in the clock, too late for a carry chain, and for what decides
        # about fetching in the same clock.
        claims = read.en | straight
        m.d.sync += self.advanced.eq(advance)
        with m.If(claims ^ self.advanced):
            m.d.sync += self.claimed.eq(self.claimed + Mux(claims, 1, -1))
        with m.If(self.i_push ^ self.i_pop):
            m.d.sync += self.o_level.eq(self.o_level + Mux(self.i_push, 1, -1))
        for moves, count in ((write.en, self.write_count), (arriving, self.front_write_count)):
            with m.If(moves):
                m.d.sync += count.eq(count + 1)
        for moves, count, following in (
            (read.en, self.read_count, self.read_next),
            (advance, self.front_read_count, self.front_read_next),
        ):
            with m.If(moves):
                m.d.sync += [count.eq(following), following.eq(following + 1)]
        return m
