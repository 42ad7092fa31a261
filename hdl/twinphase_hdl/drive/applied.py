"""Where the actuator was when a click's light passed it."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from twinphase_spec import actuator, smoothing, units

_LOW = smoothing.CLOCK_LOW_BITS


class AppliedPhase(wiring.Component):
    """Position x that acted on a click of clock count t, ``x(t - delay)``, from a ring of 1024 entries.

    An entry is a group of 2^g clocks whose counts agree but for their g lowest bits: the position of its last clock, and whether any of
    them was in blank. A click of group G, looked up in group H, is *known* if ``1 <= H - G <= RING_REACH``. Of others nothing is
    said: x = 0, blank = 1.

    In the clock in which the low bits of the count do not go on from the ones before (a simulator has skipped, while o_idle was high) all
    before counts as it is then: o_idle says that the ring holds nothing else.

    Parameters
    ----------
    group_log : int
        g, 0 to 6; 3 by default: 65 us back, in steps of 64 ns.

    Members
    -------
    i_clock : In(51)
        Clock count.
    i_position, i_blank : In(17), In(1)
        x in 2^-16 turn in this clock (o_acting of `Actuator`), and its o_blank.
    i_delay : In(16)
        Clocks from a position at i_position to the clock count of the clicks on which it has acted.
    i_valid, i_time : In(1), In(14)
        A click: the low bits of its clock count, which is at most 2^14 - 1 clocks ago.
    o_valid, o_position, o_blank : Out(1), Out(17), Out(1)
    o_idle : Out(1)
        Neither position nor blank has changed for longer than the ring goes back.

    Latency: `latency` clocks. Throughput: a click per clock. A click's group must be over when it is looked up, one clock after i_valid.
    Overflow: none; positions of clicks that are too old are not known.
    """

    def __init__(self, *, group_log: int = 3) -> None:
        self._group_log = actuator.check_group_log(group_log)
        super().__init__(
            {
                "i_clock": In(units.CLOCK_BITS),
                "i_position": In(actuator.LIMIT_BITS),
                "i_blank": In(1),
                "i_delay": In(actuator.DELAY_BITS),
                "i_valid": In(1),
                "i_time": In(_LOW),
                "o_valid": Out(1),
                "o_position": Out(actuator.LIMIT_BITS),
                "o_blank": Out(1),
                "o_idle": Out(1),
            }
        )

    @property
    def latency(self) -> int:
        """Age of the click; time less delay; block RAM; the RAM's register; choice."""
        return 5

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.ring = ring = memory.Memory(
            shape=actuator.LIMIT_BITS + 1, depth=actuator.RING_ENTRIES, init=[], attrs={"ram_style": "block"}
        )
        read, write = ring.read_port(), ring.write_port()
        g = self._group_log

        # The ring is written group by group. ``groups`` of them are whole since the count last went on from another one.
        expected = Signal(_LOW + 1)
        jumped = Signal()
        begins, ends = Signal(), Signal()
        blank, whole = Signal(), Signal()  # any clock of the group so far; its first clock has been there
        groups = Signal(range(actuator.RING_ENTRIES))
        before = Signal(actuator.LIMIT_BITS + 1)
        now = Cat(self.i_position, self.i_blank)
        m.d.sync += expected.eq(self.i_clock + 1)
        m.d.comb += [
            jumped.eq(expected != self.i_clock[: len(expected)]),
            begins.eq(self.i_clock[:g] == 0 if g else 1),
            ends.eq(self.i_clock[:g].all() if g else 1),
            write.addr.eq(self.i_clock[g:]),
            write.data.eq(Cat(self.i_position, self.i_blank | (blank & ~begins & ~jumped))),
            write.en.eq(ends),
        ]
        m.d.sync += [blank.eq(self.i_blank | (blank & ~begins & ~jumped)), whole.eq((whole & ~jumped) | begins)]
        with m.If(jumped):
            m.d.sync += [groups.eq(ends & begins), before.eq(now)]
        with m.Elif(ends & (whole | begins) & ~groups.all()):
            m.d.sync += groups.eq(groups + 1)

        # Still for as long as the ring goes back, and a group more at either end.
        last = Signal.like(before)
        still = Signal(actuator.RING_LOG + 2)
        m.d.sync += last.eq(now)
        with m.If(last != now):
            m.d.sync += still.eq(0)
        with m.Elif(ends & ~still[-1]):
            m.d.sync += still.eq(still + 1)
        m.d.comb += self.o_idle.eq(still[-1] | ((still > actuator.RING_ENTRIES) & ~self.i_valid))

        # 1: how long ago; 2: the time of action; 3: its group's age, and block RAM; 4: the RAM's register; 5: choice.
        valid = self.i_valid
        for stage in range(1, self.latency):
            later = Signal(name=f"valid_{stage}")
            m.d.sync += later.eq(valid)
            valid = later
        bits = actuator.DELAY_BITS + 1
        ago = Signal(_LOW)
        clocks = [Signal(bits, name=f"clock_{stage}") for stage in (1, 2)]
        wholes = [Signal.like(groups, name=f"groups_{stage}") for stage in (1, 2, 3)]
        acted, age = Signal(bits), Signal(bits - g)
        entry = Signal.like(before)
        known, inside = Signal(), Signal()
        m.d.comb += read.addr.eq(acted[g:])
        m.d.sync += [
            *(ago.eq(self.i_clock - self.i_time), clocks[0].eq(self.i_clock), wholes[0].eq(Mux(jumped, 0, groups))),
            *(acted.eq(clocks[0] - ago - self.i_delay), clocks[1].eq(clocks[0]), wholes[1].eq(wholes[0])),
            *(age.eq(clocks[1][g:] - acted[g:]), wholes[2].eq(wholes[1])),
            *(entry.eq(read.data), known.eq((age != 0) & (age <= actuator.RING_REACH)), inside.eq(age <= wholes[2])),
            self.o_valid.eq(valid),
            Cat(self.o_position, self.o_blank).eq(
                Mux(known, Mux(inside, entry, before), 1 << actuator.LIMIT_BITS),
            ),
        ]
        return m
