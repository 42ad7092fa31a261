"""Many wide counters of rare events in a little LUT RAM, with one adder for all."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

WORDS, WORD_BITS = 32, 32
QUEUE = 32


class RareCounts(wiring.Component):
    """``counter[k] += 1`` for every strobe of ``i_steps``, modulo 2^64: strobes wait in a queue and are added one after the other.

    From the clock after ``i_hold`` rises to that after it falls nothing is added and ``i_address`` reads the counters. It may only
    rise in a clock in which ``o_settled`` is high: then counters and ``o_levels`` are those of the clock before.

    Parameters
    ----------
    counters : int
        1 to 16.
    levels : int
        Bits of state that are to be seen at the same instant as the counters.
    first_word : int
        Address of the first counter's lower word; address a is that of word ``a mod 32``.

    Members
    -------
    i_steps : In(counters) - strobes.
    i_levels, o_levels : In(levels), Out(levels) - what changes in the clock of a step, and the same as the counters know it.
    i_hold : In(1); o_settled : Out(1) - all steps up to the clock before have been added, and o_levels is what i_levels was in it.
    i_address : In(5); o_data : Out(32) - lower words are even; in the clock of the address, if ``i_hold`` was high in the one before.
        Unused words are 0.

    Latency: at most ``4 + 7 counters`` clocks for a step that need not wait. Throughput: a clock with steps in as many.
    Overflow: counters wrap; where QUEUE - 1 clocks with steps wait, those that come then are lost: the user knows that his are rarer.
    """

    def __init__(self, *, counters: int, levels: int, first_word: int = 0) -> None:
        if not 1 <= counters <= WORDS // 2:
            raise ValueError(f"RareCounts: counters is {counters}; allowed: 1 to {WORDS // 2}")
        if first_word % 2:
            raise ValueError(f"RareCounts: first_word is {first_word}; allowed: even numbers")
        self._counters, self._first = counters, first_word % WORDS
        self.store = memory.Memory(shape=WORD_BITS, depth=WORDS, init=[])
        super().__init__(
            {
                "i_steps": In(counters),
                "i_levels": In(levels),
                "o_levels": Out(levels),
                "i_hold": In(1),
                "o_settled": Out(1),
                "i_address": In(WORDS.bit_length() - 1),
                "o_data": Out(WORD_BITS),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.store = store = self.store
        write, read = store.write_port(), store.read_port(domain="comb")
        m.submodules.queue = queue = memory.Memory(shape=self._counters, depth=QUEUE, init=[])
        push, head = queue.write_port(), queue.read_port(domain="comb")

        # A reset does not clear the memory: a round of zeros does.
        clears, place = Signal(init=1), Signal(len(write.addr))
        high, carry, word = Signal(), Signal(), Signal(WORD_BITS)
        total = Signal(WORD_BITS + 1)
        left = Signal(self._counters)
        """Steps of the clock that is worked off, those of the next counter first."""
        stages = Signal(3)
        """Of a word: read, added, written."""
        # What rises with o_settled comes too late in the clock for an address; in that clock nothing is left to be added.
        held = Signal()
        m.d.sync += held.eq(self.i_hold)
        m.d.comb += [
            read.addr.eq(Mux(held, self.i_address, place)),
            self.o_data.eq(read.data),
            write.addr.eq(place),
            write.data.eq(Mux(clears, 0, total[:WORD_BITS])),
            write.en.eq(clears | stages[2]),
        ]
        m.d.sync += [word.eq(read.data), total.eq(Cat(word, Const(0)) + carry), stages.eq(stages << 1)]

        # Steps and levels come from far away.
        steps, levels = Signal(self._counters), Signal.like(self.i_levels)
        some, waits = Signal(), Signal()
        m.d.comb += [some.eq(steps.any()), waits.eq(push.addr != head.addr)]
        m.d.comb += [push.data.eq(steps), push.en.eq(some)]
        m.d.sync += [steps.eq(self.i_steps), levels.eq(self.i_levels)]
        with m.If(some):
            m.d.sync += push.addr.eq(push.addr + 1)

        with m.If(clears):
            m.d.sync += place.eq(place + 1)
            with m.If(place.all()):
                m.d.sync += clears.eq(0)
        with m.Elif(stages[2]):
            m.d.sync += [place.eq(place + 1), high.eq(~high), carry.eq(total[-1])]
            with m.If(~high):
                m.d.sync += stages.eq(1)
            with m.Else():
                m.d.sync += left.eq(left >> 1)
        with m.Elif(stages.any()):
            pass
        with m.Elif(left.any()):
            with m.If(left[0]):
                m.d.sync += [stages.eq(1), carry.eq(1), high.eq(0)]
            with m.Else():
                m.d.sync += [left.eq(left >> 1), place.eq(place + 2)]
        with m.Elif(waits & ~held):
            m.d.sync += [left.eq(head.data), head.addr.eq(head.addr + 1), place.eq(self._first)]

        # Where nothing was left to be added a clock ago, nothing is but for what has come since.
        rested, added = Signal(), Signal()
        m.d.sync += rested.eq(~(clears | stages.any() | left.any() | waits | some))
        m.d.comb += [
            added.eq(rested & ~some),
            self.o_settled.eq(added & (self.o_levels == levels)),
        ]
        with m.If(added & ~held):
            m.d.sync += self.o_levels.eq(levels)
        return m
