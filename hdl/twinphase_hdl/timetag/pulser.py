"""A test signal: regular edges with a fine time, and a pin that shows them."""

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from twinphase_spec import units

PERIOD_BITS = 32
HIGH_CLOCKS = 4
SHORT_PERIOD = 8
"""A period below this has no room for a long pulse."""


class Pulser(wiring.Component):
    """While a channel wants it, an edge every ``max(i_period, 2)`` clocks, the first one ``max(i_period, 1)`` clocks after enabling.

    Members
    -------
    i_enable : 1
        PULSER_MASK is not 0.
    i_period : 32, clocks
        A shorter one ends the current period at once if that is already longer.
    i_fine : 13, ticks
    o_pulse, o_fine : 1, 13
        Strobe of an edge and its time within the clock.
    o_pin : 1
        High from the clock of the strobe on for 4 clocks, in periods shorter than 8 for one.
    o_idle : 1
        Not enabled, no strobe, and the pin is low.

    Latency: 1 clock from ``i_fine`` to ``o_fine``.
    """

    i_enable: In(1)
    i_period: In(PERIOD_BITS)
    i_fine: In(units.FRACTION_BITS)
    o_pulse: Out(1)
    o_fine: Out(units.FRACTION_BITS)
    o_pin: Out(1)
    o_idle: Out(1)

    def elaborate(self, platform):
        m = Module()
        short = Signal()
        later = Signal(HIGH_CLOCKS - 2)  # o_pulse of the clocks before
        ends = self._ends(m)
        m.d.comb += self.o_idle.eq(~self.i_enable & ~self.o_pulse & ~self.o_pin)
        m.d.sync += [
            short.eq(~self.i_period[SHORT_PERIOD.bit_length() - 1 :].any()),
            self.o_pulse.eq(ends),
            self.o_fine.eq(self.i_fine),
            later.eq(Cat(self.o_pulse, later)),
            self.o_pin.eq(ends | (~short & (self.o_pulse | later.any()))),
        ]
        return m

    def _ends(self, m: Module) -> Value:
        """An edge is due; not in the clock of ``o_pulse``."""
        count = Signal(PERIOD_BITS, init=1)  # clocks since the last edge, its own included
        ends = Signal()
        # A period may change in any clock and acts at once: a comparison in halves, beside each other.
        half = PERIOD_BITS // 2
        high, period_high = count[half:], self.i_period[half:]
        over = (high > period_high) | ((high == period_high) & (count[:half] >= self.i_period[:half]))
        m.d.comb += ends.eq(over & ~self.o_pulse & self.i_enable)
        m.d.sync += count.eq(count + 1)
        with m.If(ends | ~self.i_enable):
            m.d.sync += count.eq(1)
        return ends
