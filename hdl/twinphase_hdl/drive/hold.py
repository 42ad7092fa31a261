"""The target phase between words and without them: kept, going on with the last slope, or going round."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from twinphase_spec import actuator

_LOOK_AHEAD = 8
"""Clocks at the end of an interval in which it is awake."""


class TargetHold(wiring.Component):
    """``o_phase = phase + (coasted >> s)``: the last locked phase, and what has been coasted since it was lost.

    Once per interval of 2^s clocks that was locked throughout: ``slope = phase now - phase an interval ago``, the shorter way, so that
    coasting by 2^-s of it per clock needs no division.

    Seeking, it goes round at a steady speed instead: all phases of light that a cold start needs pass by, whatever the reference's own
    steps are.

    Parameters
    ----------
    slope_log : int
        s, 4 to 20.

    Members
    -------
    i_phase, i_locked, i_valid : In(32), In(1), In(1)
        2^-32 turn. A word that is not locked begins the hold, a locked one ends it.
    i_coast : In(1)
        0: in hold the phase stays where it is.
    i_seek, i_speed : In(1), In(22)
        In hold go round by i_speed, 2^-32 turn per clock, whatever i_coast says.
    i_clock : In(s)
        Clock count modulo 2^s.
    o_phase : Out(32)
        2^-32 turn.
    o_held : Out(1)
        The last word was not locked, or there was none.
    o_idle : Out(1)
        Nothing coasts or seeks, no interval ends and no word has just come.

    Latency: `latency` clocks from i_valid to o_phase. Throughput: one word per clock.
    Overflow: phases wrap; a slope of half a turn or more per interval (3815 turns/s for s = 14) is taken for one of less.
    """

    def __init__(self, *, slope_log: int = actuator.DEFAULT_SLOPE_LOG) -> None:
        self._slope_log = actuator.check_slope_log(slope_log)
        super().__init__(
            {
                "i_phase": In(actuator.PHASE_BITS),
                "i_locked": In(1),
                "i_valid": In(1),
                "i_coast": In(1),
                "i_seek": In(1),
                "i_speed": In(actuator.SEEK_BITS),
                "i_clock": In(self._slope_log),
                "o_phase": Out(actuator.PHASE_BITS),
                "o_held": Out(1, init=1),
                "o_idle": Out(1),
            }
        )

    @property
    def latency(self) -> int:
        """The word's register, and the sum's."""
        return 2

    def elaborate(self, platform) -> Module:
        m = Module()
        phase, mark = Signal(actuator.PHASE_BITS), Signal(actuator.PHASE_BITS)
        slope = Signal(signed(actuator.PHASE_BITS))
        coasted = Signal(actuator.PHASE_BITS + self._slope_log)
        step = Signal(signed(coasted.shape().width))
        last = Signal()
        clean = Signal()  # locked since the mark

        m.d.sync += last.eq(self.i_clock == (1 << self._slope_log) - 2)
        came = Signal(self.latency)
        m.d.sync += came.eq(Cat(self.i_valid, came))
        ends = self.i_clock[_LOOK_AHEAD.bit_length() - 1 :].all()
        goes = self.o_held & (self.i_coast | self.i_seek)
        m.d.comb += self.o_idle.eq(~(self.i_valid | came.any() | ends | last | goes))
        m.d.sync += self.o_phase.eq(phase + coasted[self._slope_log :])
        m.d.sync += step.eq(Mux(self.i_seek, self.i_speed << self._slope_log, slope))
        with m.If(goes):
            m.d.sync += coasted.eq(coasted + step)
        with m.If(self.i_valid):
            m.d.sync += self.o_held.eq(~self.i_locked)
            with m.If(self.i_locked):
                m.d.sync += [phase.eq(self.i_phase), coasted.eq(0)]
        m.d.sync += clean.eq(clean & ~self.o_held)
        with m.If(last):
            m.d.sync += [mark.eq(phase), clean.eq(~self.o_held)]
            with m.If(clean & ~self.o_held):
                m.d.sync += slope.eq(phase - mark)
        return m
