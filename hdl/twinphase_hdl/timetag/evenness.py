"""Whether hits are spread evenly over the codes, from the sums of groups of codes, bit by bit."""

from amaranth.hdl import C, Cat, Module, Mux, Signal, signed
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from twinphase_spec.tdc import MIN_GROUPS

FEWEST, MOST = -3, 2
NEXT = 0
"""The next v for each (v, bit of min, bit of max), three bits each."""
for _word in range(32):
    _v = (_word & 7) - (_word & 4) * 2
    NEXT |= (max(FEWEST, min(MOST, 2 * _v + 3 * (_word >> 3 & 1) - 2 * (_word >> 4 & 1))) & 7) << 3 * _word


class Evenness(wiring.Component):
    """Judges the groups of one polarity. With G the sums of the groups strictly between the first and the last that is not zero::

        o_even = (number of G >= MIN_GROUPS) and min(G) > 0 and 2 max(G) <= 3 min(G)

    A group is known to be interior when the next comes that is not zero; until then it waits in ``before``. Sums lie in LUT RAM, which
    needs no beginning: nothing of one counts before it is written. They are gone through with the highest bit first, so that
    comparisons take a few LUT: the first bit that differs decides. The last
    condition takes ``v = 2 v + 3 min_i - 2 max_i`` over the bits; what is still to come lies between -2 and 3 times the weight
    of the last bit, so that v may stop at -3 and 2, and the sign of v is that of ``3 min - 2 max``.

    Members
    -------
    i_start : 1
        Forgets everything.
    i_turn : 1
        A bit of a pass, ``bits`` clocks one after the other.
    i_place : bits of bits - 1
        Where the bit lies: different ones, in any order, the same in every pass.
    i_commit : 1
        In the second pass of a group.
    i_bit : 1
        The group's sum, highest bit first; the same in both passes.
    i_done : 1
        After each pass.
    o_even : 1
        After one more pass, with ``i_commit`` low, behind the last group.

    Latency: after ``i_done``. Source: docs/timetagger.md.
    """

    def __init__(self, *, bits: int):
        super().__init__(
            {
                "i_start": In(1),
                "i_turn": In(1),
                "i_place": In(range(bits)),
                "i_commit": In(1),
                "i_bit": In(1),
                "i_done": In(1),
                "o_even": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        rings = data.StructLayout({"most": 1, "least": 1, "before": 1})
        ram = memory.Memory(shape=rings, depth=1 << len(self.i_place), init=[], attrs={"ram_style": "distributed"})
        m.submodules.rings = ram
        write, read = ram.write_port(), ram.read_port(domain="comb")
        most, least, old = read.data.most, read.data.least, read.data.before
        some = Signal()  # the group is not zero
        above, not_above = Signal(), Signal()
        below, not_below = Signal(), Signal()
        seen = Signal(2)  # bit 0: a group, bit 1: a second one, so that the one before is not the first
        interior = Signal(range(MIN_GROUPS + 1))
        gap = Signal()  # zero since the last that is not
        holes = Signal()
        v = Signal(signed(3))

        take = Signal()
        take_most, take_least, take_before = Signal(), Signal(), Signal()
        m.d.comb += [
            take.eq(self.i_commit & some & seen[1]),
            take_most.eq(take & (above | (interior == 0))),
            take_least.eq(take & (below | (interior == 0))),
            take_before.eq(self.i_commit & some),
            read.addr.eq(self.i_place),
            write.addr.eq(self.i_place),
            write.en.eq(self.i_turn),
            write.data.most.eq(Mux(take_most, old, most)),
            write.data.least.eq(Mux(take_least, old, least)),
            write.data.before.eq(Mux(take_before, self.i_bit, old)),
        ]
        with m.If(self.i_turn & ~self.i_commit):
            m.d.sync += [
                some.eq(some | self.i_bit),
                above.eq(above | (old & ~most & ~not_above)),
                not_above.eq(not_above | (~old & most & ~above)),
                below.eq(below | (~old & least & ~not_below)),
                not_below.eq(not_below | (old & ~least & ~below)),
                v.eq(C(NEXT, 96).word_select(Cat(v, least, most), 3)),
            ]
        m.d.comb += self.o_even.eq((interior == MIN_GROUPS) & ~holes & (v >= 0))
        with m.If(self.i_done & self.i_commit):
            m.d.sync += [signal.eq(0) for signal in (some, above, not_above, below, not_below, v)]
            with m.If(some):
                m.d.sync += [seen.eq(Cat(C(1, 1), seen[0])), gap.eq(0), holes.eq(holes | gap)]
                with m.If(seen[1] & (interior != MIN_GROUPS)):
                    m.d.sync += interior.eq(interior + 1)
            with m.Elif(seen[0]):
                m.d.sync += gap.eq(1)
        with m.If(self.i_start):
            m.d.sync += [
                signal.eq(0) for signal in (some, above, not_above, below, not_below, v, seen, interior, gap, holes)
            ]
        return m
