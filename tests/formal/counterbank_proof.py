"""The counter bank conserves steps: a snapshot shows the sums of all of them up to one clock, and at rest the memory has all.

From reset, for any steps, requests and pauses of the link over several sweeps; counters of 10 bits in two words, so that the lowest
bits wrap several times.
"""

from amaranth.hdl import Assert, Assume, Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from twinphase_hdl.core.counterbank import CounterBank


class CounterBankProof(wiring.Component):
    """``wrong``: the sums that the proof keeps forget steps of captures, to see that the proof notices."""

    strobe: In(1)
    level: In(2)
    snapshot: In(1)
    ready: In(1)

    WIDTH = 10

    def __init__(self, *, wrong: bool = False):
        self._wrong = wrong
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        steps = {"strobe": range(0, 2), "level": range(-1, 2)}
        m.submodules.bank = bank = CounterBank(steps=steps, width=self.WIDTH)
        clock = Signal(self.WIDTH)
        m.d.sync += clock.eq(clock + 1)
        level = self.level.as_signed()
        m.d.comb += [
            Assume(level != -2),
            bank.i_clock.eq(clock + 1),
            bank.i_steps.strobe.eq(self.strobe),
            bank.i_steps.level.eq(level),
            bank.i_snapshot.eq(self.snapshot),
            bank.status.ready.eq(self.ready),
        ]

        sums = [Signal(self.WIDTH, name=f"sum_{k}") for k in range(2)]
        captured = [Signal(self.WIDTH, name=f"captured_{k}") for k in range(3)]
        counted = ~bank.capture if self._wrong else 1
        for total, step in zip(sums, (self.strobe, level), strict=True):
            m.d.sync += total.eq(total + Mux(counted, step, 0))
        with m.If(bank.capture):
            m.d.sync += [captured[0].eq(clock + 1), captured[1].eq(sums[0]), captured[2].eq(sums[1])]

        half = self.WIDTH // 2
        count, checking = Signal.like(bank.o_snapshot_count), Signal()
        m.d.sync += count.eq(bank.o_snapshot_count)
        m.d.comb += checking.eq(count != bank.o_snapshot_count)
        stored = []
        for bank_number in range(2):
            for place in range(6):
                peek = bank.memory.read_port(domain="comb")
                m.d.comb += peek.addr.eq(bank_number << len(bank.i_address) | place)
                stored.append(peek.data)
        for k in range(3):
            shown = Cat(stored[6 + 2 * k : 8 + 2 * k])
            m.d.comb += Assert(~checking | (shown == captured[k]), f"snapshot {k}")
        started = Signal()
        m.d.sync += started.eq(started | bank.capture)
        for k in range(2):
            total = Mux(bank.shown, Cat(stored[8 + 2 * k : 10 + 2 * k]), Cat(stored[2 + 2 * k : 4 + 2 * k]))
            m.d.comb += Assert(~(started & bank.o_idle) | (total == sums[k]), f"rest {k}")
        assert 2 * half == self.WIDTH
        return m
