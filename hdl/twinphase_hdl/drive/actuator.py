"""The phase actuator: from the tracker's target to a DAC's codes, and the phase that acts."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.core.along import delayed
from twinphase_hdl.drive.code import DacCode
from twinphase_hdl.drive.endless import EndlessDrive
from twinphase_hdl.drive.hold import TargetHold
from twinphase_hdl.drive.table import DriveTable
from twinphase_hdl.drive.target import TargetScale
from twinphase_hdl.drive.types import ActuatorSettings, Target
from twinphase_spec import actuator, units

_ROUND = actuator.PHASE_BITS - units.TURN_BITS


class Actuator(wiring.Component):
    """`TargetScale`, `TargetHold`, `EndlessDrive`, `DriveTable` and `DacCode`, one behind the other.

    ``A = x mod 1`` is taken off the light's phase: with a target that is the total phase, what is left is the lock point.

    Parameters
    ----------
    bits : int
        Of the DAC, 10 to 16.
    slope_log : int
        log2 of the clocks over which the slope for coasting is taken.

    Members
    -------
    i, i_valid : In(Target), In(1)
        At most one word per clock.
    i_settings : In(ActuatorSettings)
    i_slot : In(1)
        Strobe: a slot starts (early by what lies between o_code and the light).
    i_write, i_address, i_data : In(1), In(11), In(18)
        Table words, as `DriveTable`.
    i_taken : In(1)
        Strobe: the driver takes o_code. A driver that always follows ties it to 1.
    i_clock : In(51)
        Clock count: steps and intervals go by it.
    o_code : Out(bits)
    o_position, o_acting : Out(17), Out(17)
        x in 2^-16 turn, rounded: of o_code, and of the code taken last (from the clock after i_taken on).
    o_blank : Out(1)
        With o_position: what is measured meanwhile is not to be used.
    o_idle : Out(1)
        Without a new word everything stays as it is, but for a driver that has not taken the last code.
    o_held, o_flyback, o_blanked, o_limited : Out(1)
        The target is lost; strobes to be counted: fly-backs, slots in blank, steps that the range's end has cut.

    Latency: `latency` clocks from i_valid to o_code for a word that waits neither for the scaler nor for a step (up to 3 clocks).
    Throughput: a word per SCALE_PERIOD clocks (of more, the newest), a code per STEP_CLOCKS. Overflow: see the parts.
    Error: `twinphase_spec.modulator.error_budget`, below 3 mrad rms for 10 bits over 1.25 turns.
    """

    def __init__(self, *, bits: int, slope_log: int = actuator.DEFAULT_SLOPE_LOG) -> None:
        self._scale, self._hold = TargetScale(), TargetHold(slope_log=slope_log)
        self._endless, self._table, self._code = EndlessDrive(), DriveTable(), DacCode(bits=bits)
        super().__init__(
            {
                "i": In(Target),
                "i_valid": In(1),
                "i_settings": In(ActuatorSettings),
                "i_slot": In(1),
                "i_write": In(1),
                "i_address": In(actuator.TABLE_LOG + 1),
                "i_data": In(actuator.WORD_BITS),
                "i_taken": In(1),
                "o_code": Out(bits),
                "i_clock": In(units.CLOCK_BITS),
                "o_position": Out(actuator.LIMIT_BITS),
                "o_acting": Out(actuator.LIMIT_BITS),
                "o_blank": Out(1),
                "o_idle": Out(1),
                **{f"o_{name}": Out(1) for name in ("held", "flyback", "blanked", "limited")},
            }
        )

    @property
    def latency(self) -> int:
        """Sum of the parts'."""
        return sum(part.latency for part in (self._scale, self._hold, self._endless, self._table, self._code))

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.scale = scale = self._scale
        m.submodules.hold = hold = self._hold
        m.submodules.endless = endless = self._endless
        m.submodules.table = table = self._table
        m.submodules.code = code = self._code
        settings = self.i_settings
        m.d.comb += [
            *(scale.i.eq(self.i), scale.i_valid.eq(self.i_valid), scale.i_ratio.eq(settings.ratio)),
            *(hold.i_phase.eq(scale.o_phase), hold.i_locked.eq(scale.o_locked), hold.i_valid.eq(scale.o_valid)),
            *(hold.i_coast.eq(settings.coast), hold.i_seek.eq(settings.seek), hold.i_speed.eq(settings.speed)),
            *(endless.i_phase.eq(hold.o_phase), endless.i_lock.eq(settings.lock)),
            *(endless.i_slew.eq(settings.slew), endless.i_window.eq(settings.window)),
            *(endless.i_settle.eq(settings.settle), endless.i_slot.eq(self.i_slot)),
            *(endless.i_clock.eq(self.i_clock), hold.i_clock.eq(self.i_clock)),
            *(table.i_position.eq(endless.o_position), table.i_step.eq(endless.o_step), table.i_bank.eq(settings.bank)),
            *(table.i_write.eq(self.i_write), table.i_address.eq(self.i_address), table.i_data.eq(self.i_data)),
            *(code.i_word.eq(table.o_word), code.i_dither.eq(settings.dither), code.i_taken.eq(self.i_taken)),
            *(self.o_code.eq(code.o_code), self.o_held.eq(hold.o_held), self.o_flyback.eq(endless.o_flyback)),
            *(self.o_blanked.eq(endless.o_blanked), self.o_limited.eq(endless.o_limited)),
        ]
        # What goes with the position moves once per step, so that two registers are enough for the table's time.
        rounded = (endless.o_position[_ROUND:] + endless.o_position[_ROUND - 1])[: actuator.LIMIT_BITS]
        beside, looked_up = Signal(actuator.LIMIT_BITS + 1), Signal(actuator.LIMIT_BITS + 1)
        shown = delayed(m, endless.o_step, table.latency + code.latency - 1 - actuator.STEP_CLOCKS, "step")
        with m.If(endless.o_step):
            m.d.sync += [beside.eq(Cat(rounded, endless.o_blank)), looked_up.eq(beside)]
        with m.If(shown):
            m.d.sync += Cat(self.o_position, self.o_blank).eq(looked_up)
        with m.If(self.i_taken):
            m.d.sync += self.o_acting.eq(self.o_position)

        # The last position takes so long to its code.
        after = table.latency + code.latency + 2 * actuator.STEP_CLOCKS
        rest = Signal(range(after + 1))
        moving = ~(scale.o_idle & hold.o_idle & endless.o_idle) | self.i_valid | self.i_write | settings.dither
        with m.If(moving):
            m.d.sync += rest.eq(0)
        with m.Elif(rest != after):
            m.d.sync += rest.eq(rest + 1)
        m.d.comb += self.o_idle.eq(~moving & (rest == after))
        return m
