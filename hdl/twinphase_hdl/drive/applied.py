"""Which phase acted on the light of a click: residual and total phase of its time."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from twinphase_spec import actuator, units


class AppliedPhase(wiring.Component):
    """``total = residual + A(t - delay) mod 2^16``, A the phase that acted in that clock, from a ring of 1024 entries.

    An entry is a group of 2^g clocks whose counts agree but for their g lowest bits: the phase of its last clock, and whether any of
    them was in blank. A click of group G, looked up in group H, is *known* if ``1 <= H - G <= min(1023, whole groups since a
    restart)``. Of one that is not, nothing is said: A = 0, total = residual, blank = 1.

    Parameters
    ----------
    group_log : int
        g, 0 to 6; 3 by default: 65 us back, in steps of 64 ns.

    Members
    -------
    i_clock : In(51)
        Clock count, going up by one per clock but for a restart.
    i_restart : In(1)
        The next clock's count may be any: what was recorded is not known any more.
    i_phase, i_blank : In(16), In(1)
        A in 2^-16 turn in this clock (o_acting of `Actuator`), and its o_blank.
    i_delay : In(16)
        Clocks from a phase at i_phase to the clock count of the clicks on which it has acted.
    i_valid, i_time, i_residual : In(1), In(51), In(16)
        A click: clock count of its time, and the phase left over in 2^-16 turn.
    o_valid, o_residual, o_applied, o_total, o_blank, o_known : Out(1), Out(16), Out(16), Out(16), Out(1), Out(1)

    Latency: `latency` clocks. Throughput: a click per clock. A click's group must be over when it is looked up, one clock after i_valid.
    Overflow: none; phases wrap.
    """

    def __init__(self, *, group_log: int = 3) -> None:
        self._group_log = actuator.check_group_log(group_log)
        super().__init__(
            {
                "i_clock": In(units.CLOCK_BITS),
                "i_restart": In(1),
                "i_phase": In(units.TURN_BITS),
                "i_blank": In(1),
                "i_delay": In(actuator.DELAY_BITS),
                "i_valid": In(1),
                "i_time": In(units.CLOCK_BITS),
                "i_residual": In(units.TURN_BITS),
                "o_valid": Out(1),
                **{f"o_{name}": Out(units.TURN_BITS) for name in ("residual", "applied", "total")},
                "o_blank": Out(1),
                "o_known": Out(1),
            }
        )

    @property
    def latency(self) -> int:
        """Time less delay; age and block RAM; known and the RAM's register; sum."""
        return 4

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.ring = ring = memory.Memory(
            shape=units.TURN_BITS + 1, depth=actuator.RING_ENTRIES, init=[], attrs={"ram_style": "block"}
        )
        read, write = ring.read_port(), ring.write_port()
        g = self._group_log

        begins, ends = Signal(), Signal()
        blank, whole = Signal(), Signal()  # any clock of the group so far; its first clock has been there
        groups = Signal(range(actuator.RING_ENTRIES))
        m.d.comb += [
            begins.eq(self.i_clock[:g] == 0 if g else 1),
            ends.eq(self.i_clock[:g].all() if g else 1),
            write.addr.eq(self.i_clock[g:]),
            write.data.eq(Cat(self.i_phase, self.i_blank | (blank & ~begins))),
            write.en.eq(ends),
        ]
        m.d.sync += [blank.eq(self.i_blank | (blank & ~begins)), whole.eq(whole | begins)]
        with m.If(ends & (whole | begins) & ~groups.all()):
            m.d.sync += groups.eq(groups + 1)
        with m.If(self.i_restart):
            m.d.sync += [whole.eq(0), groups.eq(0)]

        acted = Signal(units.CLOCK_BITS)
        age = Signal(units.CLOCK_BITS - g)
        known_groups = Signal.like(groups)
        known = Signal()
        entry = Signal(units.TURN_BITS + 1)
        valid = self.i_valid
        residual = self.i_residual
        for stage in range(1, self.latency):
            later_valid, later = Signal(name=f"valid_{stage}"), Signal(units.TURN_BITS, name=f"residual_{stage}")
            m.d.sync += [later_valid.eq(valid), later.eq(residual)]
            valid, residual = later_valid, later
        m.d.comb += read.addr.eq(acted[g:])
        m.d.sync += [
            acted.eq(self.i_time - self.i_delay),
            age.eq(self.i_clock[g:] - acted[g:]),
            known_groups.eq(groups),
            # Age 0 is below 1, an age from 1024 on has bits above; the ring's oldest entry is being replaced.
            known.eq((age != 0) & (age <= known_groups)),
            entry.eq(read.data),
            self.o_valid.eq(valid),
            self.o_residual.eq(residual),
            self.o_applied.eq(Mux(known, entry[: units.TURN_BITS], 0)),
            self.o_total.eq(residual + Mux(known, entry[: units.TURN_BITS], Const(0))),
            self.o_blank.eq(entry[-1] | ~known),
            self.o_known.eq(known),
        ]
        return m
