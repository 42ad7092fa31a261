"""The timebase of parts whose carry chains are too slow for the clock count."""

from amaranth.hdl import Module, Mux, Signal

from twinphase_spec import units

from .timebase import Timebase


class SplitTimebase(Timebase):
    """As `Timebase`; no carry chain of the clock count is longer than half of it."""

    def _count(self, m: Module) -> list:
        clock, load, loaded = self.o_anchor.clock, self.sim_load, self.sim_anchor.clock
        half = units.CLOCK_BITS // 2
        full = Signal()  # the lower half is all ones; known a clock before
        m.d.sync += full.eq(Mux(load, loaded[:half].all(), clock[:half] == (1 << half) - 2))
        return [
            clock[:half].eq(Mux(load, loaded[:half], clock[:half] + 1)),
            clock[half:].eq(Mux(load, loaded[half:], clock[half:] + full)),
        ]
