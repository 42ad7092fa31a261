"""The tags of two channels in one order, with whole times: one comparison after another."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.core.add import keep_carry, with_carry
from twinphase_spec import tagger, units

from .merge import tag_layout

SIDES = 2


class TurnMerge(wiring.Component):
    """As a `MergeNode` of two channels and `WholeTime`, for parts whose carry chains are too slow for a comparison per clock.

    With e = time of a side's tag or, when there is none, its bound, as of one clock: side 0's tag leaves if ``e_0 <= e_1``, side 1's if
    ``e_1 < e_0`` (modulo 2^order_bits). What comes until it has left is not before either. Its whole time is the one with these low bits
    that is nearest to the clock count; of two equally near ones the earlier.

    Members
    -------
    i_valid : 2; i_time, i_bound : arrays of 2 x order_bits
        Of `TurnChannel`.
    o_pop : 2
    i_clock : 51, clock count
    o : stream of Tag
    o_idle : 1
        No tag has been taken.

    Latency: 10 clocks, and 5 for every look before that found a bound lower. Throughput: a tag in 11 clocks and those that ``o`` waits
    for. Overflow: none.
    """

    def __init__(self):
        bits = tagger.ORDER_BITS
        super().__init__(
            {
                "i_valid": In(SIDES),
                "i_time": In(data.ArrayLayout(bits, SIDES)),
                "i_bound": In(data.ArrayLayout(bits, SIDES)),
                "o_pop": Out(SIDES),
                "i_clock": In(units.CLOCK_BITS),
                "o": Out(stream.Signature(tag_layout(units.TIME_BITS))),
                "o_idle": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        o = self.o
        bits, fine_bits = tagger.ORDER_BITS, units.FRACTION_BITS
        half, coarse_bits = bits // 2, bits - fine_bits
        time = o.payload.time
        valid = Signal(SIDES)
        inverted, other_side = Signal(bits), Signal(bits)
        no_carry, carry, right = Signal(), Signal(), Signal()
        now_inverted = Signal(coarse_bits)
        high = Signal(units.TIME_BITS - bits)
        high_half = len(high) // 2
        steps, steps_back, no_high_carry, high_carry = Signal(), Signal(), Signal(), Signal()
        upper = Signal()
        """The clock count is in the upper half of the range of the low bits: only the next range could be nearer, else the one before."""
        step = Cat(steps, steps_back.replicate(len(high) - 1))
        """1 or -1 if a range next to that of the clock count is nearer."""
        chosen = Signal()
        # A clock after the choice: the head that follows is there long before the next look.
        m.d.sync += self.o_pop.eq(0)
        m.d.comb += [
            chosen.eq(Mux(right, valid[1], valid[0])),
            upper.eq(~now_inverted[-1]),
        ]
        compared = Signal(coarse_bits)
        below = Signal()
        """The time is below the clock count, the highest bit of both left out."""
        m.d.comb += compared.eq(time[fine_bits : bits - 1] + now_inverted[:-1] + 1)
        with m.FSM() as fsm:
            with m.State("LOOK"):
                m.d.sync += [
                    valid.eq(self.i_valid),
                    inverted.eq(~Mux(self.i_valid[0], self.i_time[0], self.i_bound[0])),
                    other_side.eq(Mux(self.i_valid[1], self.i_time[1], self.i_bound[1])),
                ]
                with m.If(self.i_valid.any()):
                    m.next = "LOW"
            with m.State("LOW"):
                # other - one: inverted[...] is one's.
                m.d.sync += no_carry.eq(
                    ~with_carry(Cat(other_side[:half], 0), Cat(inverted[:half], 0), Const(1, 1))[half]
                )
                m.next = "CARRY"
            with m.State("CARRY"):
                m.d.sync += carry.eq(~no_carry)
                m.next = "HIGH"
            with m.State("HIGH"):
                m.d.sync += right.eq(with_carry(other_side[half:], inverted[half:], carry)[-1])
                m.next = "CHOOSE"
            with m.State("CHOOSE"):
                m.d.sync += [
                    time[:bits].eq(Mux(right, other_side, ~inverted)),
                    o.payload.channel.eq(right),
                    now_inverted.eq(~self.i_clock[:coarse_bits]),
                    high.eq(self.i_clock[coarse_bits:]),
                ]
                m.next = "LOOK"
                with m.If(chosen):
                    m.d.sync += self.o_pop.eq(Mux(right, 0b10, 0b01))
                    m.next = "BELOW"
            with m.State("BELOW"):
                m.d.sync += below.eq(~compared[-1])
                m.next = "RANGE"
            with m.State("RANGE"):
                nearer = (time[bits - 1] != upper) & (below == upper)
                m.d.sync += [steps.eq(nearer), steps_back.eq(nearer & ~upper)]
                m.next = "WHOLE_LOW"
            with m.State("WHOLE_LOW"):
                m.d.sync += keep_carry(
                    time[bits : bits + high_half], no_high_carry, high[:high_half] + step[:high_half]
                )
                m.next = "WHOLE_CARRY"
            with m.State("WHOLE_CARRY"):
                m.d.sync += high_carry.eq(~no_high_carry)
                m.next = "WHOLE_HIGH"
            with m.State("WHOLE_HIGH"):
                m.d.sync += time[bits + high_half :].eq(with_carry(high[high_half:], step[high_half:], high_carry))
                m.d.sync += o.valid.eq(1)
                m.next = "OFFER"
            with m.State("OFFER"), m.If(o.ready):
                m.d.sync += o.valid.eq(0)
                m.next = "LOOK"
            m.d.comb += self.o_idle.eq(fsm.ongoing("LOOK"))
        return m
