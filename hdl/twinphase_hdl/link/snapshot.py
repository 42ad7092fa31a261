"""Clock and counters of one instant, for the COUNTERS memory and the STATUS stream."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.types import word_stream
from twinphase_spec import packets, units

MEMORY_WORDS = 128


class Snapshot(wiring.Component):
    """Latches all counters at one clock and copies them, a word per clock, to memory (and to the link).

    A snapshot is due when ``i_snapshot`` is high, and when ``i_clock mod 2^STATUS_BITS = 0`` with ``i_status_enable``; this one is
    also sent as a STATUS record. Both at once share one snapshot. One that becomes due during a copy is taken after it.

    Members
    -------
    i_clock : In(51) - clock count; ticks come from it.
    i_counters : array of In(64), ``counters`` long - in the order of the register map's list.
    i_status_enable : In(1) - STATUS stream enabled.
    i_snapshot : In(1) - strobe.
    i_address : In(7); o_data : Out(32) - read port of COUNTERS, one clock latency; words beyond the counters are 0.
    o_snapshot_count : Out(32) - complete snapshots.
    status : Out(word_stream()) - record words for a `PacketBuffer`; waits when that is not ready.
    o_idle : Out(1) - no snapshot is due or being copied.

    Latency: the latched values are those of three clocks after the tick, two after ``i_snapshot``; a copy takes 2 clocks per
    counter and 3.
    Throughput: one copy at a time. Overflow: two equal requests during one copy become one.
    """

    def __init__(self, *, counters: int):
        if not 1 <= counters <= MEMORY_WORDS // 2:
            raise ValueError(f"snapshot: counters is {counters}; allowed: 1 to {MEMORY_WORDS // 2}")
        self._counters = counters
        super().__init__(
            {
                "i_clock": In(units.CLOCK_BITS),
                "i_counters": In(64).array(counters),
                "i_status_enable": In(1),
                "i_snapshot": In(1),
                "i_address": In(7),
                "o_data": Out(32),
                "o_snapshot_count": Out(32),
                "status": Out(word_stream()),
                "o_idle": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.store = store = memory.Memory(shape=32, depth=MEMORY_WORDS, init=[])
        write, read = store.write_port(), store.read_port()
        m.d.comb += [read.addr.eq(self.i_address), self.o_data.eq(read.data)]

        # Comparing the clock count takes two clocks: a half of the bits each, then both.
        ticks = self.i_clock[: packets.STATUS_BITS]
        half = packets.STATUS_BITS // 2
        zeros = Signal(2)
        ticked = Signal()
        m.d.comb += ticked.eq(zeros.all() & self.i_status_enable)
        m.d.sync += zeros.eq(Cat(ticks[:half] == 0, ticks[half:] == 0))

        shadow = Signal(64 * self._counters)
        left = Signal(range(2 * self._counters + 1))
        # Registers, each of which moves the thousands of flip-flops of the shadow by itself: what decides about them is a clock old.
        latch = Signal()
        copying = Signal()
        sending = Signal()
        status_due = Signal()
        snapshot_due = Signal()
        start = Signal()
        step = Signal()
        asked = Signal()
        m.d.comb += [
            start.eq(~latch & ~copying & (status_due | snapshot_due)),
            self.status.valid.eq(copying & sending),
            self.status.payload.data.eq(shadow[:32]),
            self.status.payload.last.eq(left == 1),
            step.eq(copying & (self.status.ready | ~sending)),
            write.en.eq(step),
            write.data.eq(shadow[:32]),
            asked.eq(((ticks == 0) & self.i_status_enable) | ticked | self.i_snapshot),
            self.o_idle.eq(~(asked | status_due | snapshot_due | latch | copying)),
        ]
        m.d.sync += [
            status_due.eq(ticked | (status_due & ~start)),
            snapshot_due.eq(self.i_snapshot | (snapshot_due & ~start)),
            latch.eq(start),
        ]
        with m.If(start):
            m.d.sync += sending.eq(status_due)
        with m.If(latch | step):
            m.d.sync += shadow.eq(Mux(latch, Cat(*self.i_counters), shadow >> 32))
        with m.If(latch):
            m.d.sync += [copying.eq(1), left.eq(2 * self._counters), write.addr.eq(0)]
        with m.Elif(step):
            m.d.sync += [left.eq(left - 1), write.addr.eq(write.addr + 1)]
            with m.If(left == 1):
                m.d.sync += [copying.eq(0), self.o_snapshot_count.eq(self.o_snapshot_count + 1)]
        return m
