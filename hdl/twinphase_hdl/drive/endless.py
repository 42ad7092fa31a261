"""Where in its range the modulator is: slew limit, and a fly-back by a whole turn at the window's ends."""

from amaranth.hdl import C, Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.drive.types import WindowLimits
from twinphase_spec import actuator, units

_COARSE = actuator.PHASE_BITS - units.TURN_BITS
"""Bits of a position below those of the window's limits."""
_CLOCK_BITS = (actuator.STEP_CLOCKS - 1).bit_length()


class EndlessDrive(wiring.Component):
    """Position x of 0 to 2 turns that follows ``aim = phase - lock`` modulo one turn. Once per STEP_CLOCKS clocks::

        y = x + max(-slew, min(slew, wrap(aim - x)))        the shorter way
        x = y - 1  if y >= high and it may fly,   y + 1  if y < low and it may fly,   max(0, min(top, y))  else

    It may fly in a step with a slot's start in which no blank goes on (one that ends in the same step does not). A fly-back begins a
    blank; the blank ends in the first step with a slot's start after ``settle + 1`` steps: whole slots are marked. ``high - low`` is
    above one turn, so that behind a fly-back the other end is further away than the noise.

    Members
    -------
    i_phase : In(32)
        2^-32 turn.
    i_lock : In(16)
        2^-16 turn.
    i_slew : In(31)
        2^-32 turn per step.
    i_window : In(WindowLimits)
        2^-16 turn; a position is compared by its bits from 2^-16 turn upwards.
    i_settle : In(16)
        Steps.
    i_slot : In(1)
        Strobe: a slot starts.
    i_clock : In(2)
        Clock count modulo STEP_CLOCKS.
    o_position : Out(33)
        2^-32 turn.
    o_step : Out(1)
        The first clock with a new position.
    o_blank : Out(1)
        The position has flown back and may not have settled. Changes with o_position.
    o_flyback, o_blanked, o_limited : Out(1)
        Strobes with o_step: a fly-back; one more slot in blank; the range's end has cut the step.
    o_idle : Out(1)
        As long as phase and lock stay, so does the position: its steps change nothing.

    Steps take clocks 0 to 3 modulo 4; their result is there in clock 4. Latency: `latency` clocks from i_phase in the clock
    before a step to o_position. The i_slot of a step are those of the clock before it and of its first three.
    Throughput: a step per STEP_CLOCKS clocks. Overflow: none; positions are modulo 2 turns, which a valid window does not reach.
    """

    i_phase: In(actuator.PHASE_BITS)
    i_lock: In(units.TURN_BITS)
    i_slew: In(actuator.SLEW_BITS)
    i_window: In(WindowLimits)
    i_settle: In(actuator.SETTLE_BITS)
    i_slot: In(1)
    i_clock: In(_CLOCK_BITS)
    o_position: Out(actuator.POSITION_BITS, init=1 << actuator.PHASE_BITS)
    o_step: Out(1)
    o_blank: Out(1)
    o_flyback: Out(1)
    o_blanked: Out(1)
    o_limited: Out(1)
    o_idle: Out(1)

    @property
    def latency(self) -> int:
        """The aim's register and a step."""
        return 1 + actuator.STEP_CLOCKS

    def elaborate(self, platform) -> Module:
        m = Module()
        x = self.o_position
        aim = Signal(actuator.PHASE_BITS)
        error, kept = Signal(signed(actuator.PHASE_BITS)), Signal(signed(actuator.PHASE_BITS))
        most, least = Signal(actuator.SLEW_BITS), Signal(signed(actuator.PHASE_BITS))
        over, under = Signal(), Signal()
        y = Signal(signed(actuator.POSITION_BITS + 2))
        deciding = Signal()
        # Of these, only what stands there in the clock of its turn counts: error, then over and under, then y.
        m.d.sync += [
            deciding.eq(self.i_clock == actuator.STEP_CLOCKS - 2),
            aim.eq(self.i_phase - Cat(C(0, _COARSE), self.i_lock)),
            error.eq(aim - x[: actuator.PHASE_BITS]),
            *(kept.eq(error), over.eq(error > most), under.eq(error < least)),
            y.eq(x + Mux(over, most, Mux(under, least, kept))),
        ]
        with m.If(deciding):
            m.d.sync += [most.eq(self.i_slew), least.eq(-self.i_slew)]

        coarse = y >> _COARSE
        above, below, beyond = Signal(), Signal(), Signal()
        m.d.comb += [
            above.eq(coarse >= self.i_window.high),
            below.eq(coarse < self.i_window.low),
            beyond.eq(coarse > self.i_window.top),
        ]
        # Twice the clocks of a step with nothing to do: none of its registers is on its way.
        still = Signal(range(2 * actuator.STEP_CLOCKS + 1))
        at_rest = (aim == (self.i_phase - Cat(C(0, _COARSE), self.i_lock))[: actuator.PHASE_BITS]) & (error == 0)
        m.d.comb += self.o_idle.eq(still == 2 * actuator.STEP_CLOCKS)
        with m.If(~at_rest | self.o_blank | above | below | (aim != x[: actuator.PHASE_BITS])):
            m.d.sync += still.eq(0)
        with m.Elif(~self.o_idle):
            m.d.sync += still.eq(still + 1)

        slot, left = Signal(), Signal(actuator.SETTLE_BITS)
        settled = Signal()
        flies = slot & (~self.o_blank | settled) & (above | below)
        goes_on = self.o_blank & ~(slot & settled)
        m.d.sync += [slot.eq(slot | self.i_slot), settled.eq(left == 0)]
        m.d.sync += [self.o_step.eq(0), self.o_flyback.eq(0), self.o_blanked.eq(0), self.o_limited.eq(0)]
        with m.If(deciding):
            m.d.sync += [
                self.o_step.eq(1),
                slot.eq(self.i_slot),
                self.o_flyback.eq(flies),
                self.o_blanked.eq(flies | (goes_on & slot)),
                self.o_limited.eq((y[-1] | beyond) & ~flies),
                self.o_blank.eq(flies | goes_on),
                left.eq(Mux(flies, self.i_settle, left - ~settled)),
                x.eq(Cat(y[: actuator.PHASE_BITS], y[actuator.PHASE_BITS] ^ flies)),
            ]
            with m.If(~flies & beyond):
                m.d.sync += x.eq(Cat(C(0, _COARSE), self.i_window.top))
            with m.If(~flies & y[-1]):
                m.d.sync += x.eq(0)
        return m
