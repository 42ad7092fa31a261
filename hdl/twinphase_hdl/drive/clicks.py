"""Clicks with the position of the actuator that acted on their light."""

from itertools import pairwise

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.core.along import carried
from twinphase_hdl.drive.applied import AppliedPhase
from twinphase_hdl.types import Click
from twinphase_spec import actuator, units


class AppliedClicks(wiring.Component):
    """`AppliedPhase` beside the clicks that it is asked for.

    Members
    -------
    i_clock, i_position, i_blank, i_delay : as `AppliedPhase`
    i, i_valid : In(Click), In(1)
        A framed click, at most 2^14 - 1 clocks old.
    o, o_valid : Out(Click), Out(1)
    o_position, o_changing : Out(17), Out(1)
        x in 2^-16 turn that acted on it; that it was changing, or is not known.
    o_idle : Out(1)

    Latency: `latency` clocks. Throughput: a click per clock.
    """

    i_clock: In(units.CLOCK_BITS)
    i_position: In(actuator.LIMIT_BITS)
    i_blank: In(1)
    i_delay: In(actuator.DELAY_BITS)
    i: In(Click)
    i_valid: In(1)
    o: Out(Click)
    o_valid: Out(1)
    o_position: Out(actuator.LIMIT_BITS)
    o_changing: Out(1)
    o_idle: Out(1)

    def __init__(self) -> None:
        self._applied = AppliedPhase()
        super().__init__()

    @property
    def latency(self) -> int:
        """That of the ring."""
        return self._applied.latency

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.applied = applied = self._applied
        valids = [self.i_valid, *(Signal(name=f"valid_{stage}") for stage in range(1, self.latency + 1))]
        m.d.sync += [after.eq(before) for before, after in pairwise(valids)]
        [click] = carried(m, [self.i.as_value()], valids, 0, self.latency, "click")
        m.d.comb += [
            *(
                applied.i_clock.eq(self.i_clock),
                applied.i_position.eq(self.i_position),
                applied.i_blank.eq(self.i_blank),
            ),
            *(applied.i_delay.eq(self.i_delay), applied.i_valid.eq(self.i_valid), applied.i_time.eq(self.i.clock)),
            *(self.o.eq(click), self.o_valid.eq(valids[self.latency])),
            *(self.o_position.eq(applied.o_position), self.o_changing.eq(applied.o_blank)),
            self.o_idle.eq(applied.o_idle & ~self.i_valid & ~Cat(valids[1:]).any()),
        ]
        return m
