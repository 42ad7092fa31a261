"""Clock and counters of one instant, for the COUNTERS memory and the STATUS stream."""

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.types import KeptRecord
from twinphase_spec import packets, units

MEMORY_WORDS = 128
GROUP_WORDS = 8
RARE_BITS = 5
CHOICE_CLOCKS = 3
"""From a word's turn to the word, the turn's own register counted."""


class Snapshot(wiring.Component):
    """Latches all counters at one clock and copies them, a word in three clocks, to memory.

    A snapshot is due when ``i_snapshot`` is high, and when ``i_clock mod 2^STATUS_BITS = 0`` with ``i_status_enable``; this one is
    also to be sent as a STATUS record. Both at once share one snapshot. One that becomes due during a copy or while a record waits
    to be sent is taken after it.

    Parameters
    ----------
    counters : int
        What comes as 64 bits, the clock count among them.
    rare : int
        Counters behind them that a `RareCounts` keeps, which it holds from the latch to the end of the copy.

    Members
    -------
    i_clock : In(51) - clock count; ticks come from it.
    i_counters : array of In(64), ``counters`` long - in the order of the register map's list, the clock count first.
    i_status_enable : In(1) - STATUS stream enabled.
    i_snapshot : In(1) - strobe.
    i_address : In(7); o_data : Out(32) - read port of COUNTERS, one clock latency; words beyond the counters are 0.
    o_latch : Out(1) - strobe: the counters of this clock are latched.
    i_wait : In(1) - what others copy of the same clock, from the clock after ``o_latch`` on, is not complete: nor is the snapshot.
    o_snapshot_count : Out(32) - complete snapshots.
    status : Out(KeptRecord) - the memory, for the STATUS stream.
    o_hold : Out(1), i_settled : In(1), o_word : Out(5), i_word : In(32), only with ``rare`` - hold, settled, address and data of it;
        a word of number k in the memory is asked for with k modulo 32.
    o_idle : Out(1) - no snapshot is due, being copied or waiting.

    Latency: the latched values are those of three clocks after the tick, two after ``i_snapshot``, later where rare counters have not
        settled; a copy takes `copy_clocks`, and lasts as long as ``i_wait``.
    Throughput: one copy at a time. Overflow: two equal requests during one copy become one.
    """

    def __init__(self, *, counters: int, rare: int = 0):
        if not 1 <= counters <= MEMORY_WORDS // 2 - rare:
            raise ValueError(
                f"snapshot: counters is {counters} with {rare} rare ones; allowed: 1 to {MEMORY_WORDS // 2} in all"
            )
        self._counters, self._rare = counters, rare
        super().__init__(
            {
                "i_clock": In(units.CLOCK_BITS),
                "i_counters": In(64).array(counters),
                "i_status_enable": In(1),
                "i_snapshot": In(1),
                "i_address": In(7),
                "o_data": Out(32),
                "o_latch": Out(1),
                "i_wait": In(1),
                "o_snapshot_count": Out(32),
                "status": Out(KeptRecord(address_bits=(MEMORY_WORDS - 1).bit_length())),
                "o_idle": Out(1),
                **({"o_hold": Out(1), "i_settled": In(1), "o_word": Out(RARE_BITS), "i_word": In(32)} if rare else {}),
            }
        )

    @property
    def copy_clocks(self) -> int:
        """Clocks from the latch to the last word: two words per counter."""
        return CHOICE_CLOCKS * 2 * (self._counters + self._rare) + 1

    def elaborate(self, platform):
        m = Module()
        # Thousands of flip-flops take the counters and are otherwise at rest.
        shadow = [Signal(64, name=f"shadow_{k}") for k in range(self._counters)]
        m.submodules.store = store = memory.Memory(shape=32, depth=MEMORY_WORDS, init=[])
        write, read, status_read = store.write_port(), store.read_port(), store.read_port()
        m.d.comb += [
            read.addr.eq(self.i_address),
            self.o_data.eq(read.data),
            status_read.addr.eq(self.status.address),
            status_read.en.eq(self.status.read),
            self.status.data.eq(status_read.data),
            self.status.clock.eq(shadow[0]),
        ]

        # Comparing the clock count takes two clocks: a half of the bits each, then both.
        ticks = self.i_clock[: packets.STATUS_BITS]
        half = packets.STATUS_BITS // 2
        zeros = Signal(2)
        ticked = Signal()
        m.d.comb += ticked.eq(zeros.all() & self.i_status_enable)
        m.d.sync += zeros.eq(Cat(ticks[:half] == 0, ticks[half:] == 0))

        # One word at a time has its turn; it comes out in two clocks, first of its group and then of all groups.
        latch = Signal()
        with m.If(latch):
            m.d.sync += Cat(shadow).eq(Cat(self.i_counters))
        words = [counter[low : low + 32] for counter in shadow for low in (0, 32)]
        turn = Signal(len(words))
        index = Signal(write.addr.shape())
        groups = []
        for first in range(0, len(words), GROUP_WORDS):
            group = Signal(32, name=f"group_{first}")
            members = zip(words[first : first + GROUP_WORDS], turn[first : first + GROUP_WORDS], strict=True)
            m.d.sync += group.eq(reduce(or_, (word & its_turn.replicate(32) for word, its_turn in members)))
            groups.append(group)
        rare, last, settled = Signal(), turn[-1], Const(1)
        if self._rare:
            # The words of the others come from their own memory, by the address of the copy.
            others, end = Signal(32), Signal()
            m.d.sync += [
                others.eq(self.i_word & rare.replicate(32)),
                end.eq(index == 2 * (self._counters + self._rare) - 1),
            ]
            m.d.comb += self.o_word.eq(index)
            groups.append(others)
            last, settled = end, self.i_settled
        word = Signal(32)
        m.d.sync += word.eq(reduce(or_, groups))

        copying = Signal()
        chosen = Signal(CHOICE_CLOCKS)
        """Highest bit: ``word`` is that of the turn."""
        sending = Signal()
        status_due = Signal()
        snapshot_due = Signal()
        start = Signal()
        step = Signal()
        asked = Signal()
        m.d.comb += [
            start.eq(~latch & ~copying & ~self.status.waits & (status_due | snapshot_due) & settled),
            step.eq(chosen[-1] & ~(turn[-1] & self.i_wait)),
            self.o_latch.eq(latch),
            write.en.eq(step),
            write.addr.eq(index),
            write.data.eq(word),
            asked.eq(((ticks == 0) & self.i_status_enable) | ticked | self.i_snapshot),
            self.o_idle.eq(~(asked | status_due | snapshot_due | latch | copying | self.status.waits)),
        ]
        m.d.sync += [
            status_due.eq(ticked | (status_due & ~start)),
            snapshot_due.eq(self.i_snapshot | (snapshot_due & ~start)),
            latch.eq(start),
        ]
        with m.If(start):
            m.d.sync += sending.eq(status_due)
        with m.If(latch):
            m.d.sync += [copying.eq(1), turn.eq(1), index.eq(0), rare.eq(0)]
        with m.If(step):
            m.d.sync += [turn.eq(turn << 1), index.eq(index + 1), rare.eq(rare | turn[-1])]
            with m.If(last):
                m.d.sync += [copying.eq(0), self.o_snapshot_count.eq(self.o_snapshot_count + 1)]
                m.d.sync += self.status.waits.eq(sending)
        with m.If(self.status.sent):
            m.d.sync += self.status.waits.eq(0)
        with m.If(~chosen[-1] | step):
            m.d.sync += chosen.eq(Cat(latch | (step & ~last), chosen))
        if self._rare:
            m.d.comb += self.o_hold.eq(start | latch | copying)
        return m
