"""What is known of the phase at the time of every click."""

from itertools import pairwise

from amaranth.hdl import C, Cat, Module, Mux, Signal, signed
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.core.along import carried
from twinphase_hdl.core.stages import Stages
from twinphase_hdl.phase.clickepoch import CHOICE_BITS, LEAST, EpochLength
from twinphase_hdl.phase.clickextrapolate import CLOCKS_BITS, Extrapolation
from twinphase_hdl.phase.clicktime import PIECE
from twinphase_hdl.types import Click, MarkedClick, PhaseNode
from twinphase_spec import actuator, fixed, smoothing, units

RATIO_BITS = fixed.RATIO_FRACTION_BITS
_BASE_BITS = 20
"""Low bits of a node's time. A kept node is at most two of the longest epochs older than a click, and a click's time is within 2^13
clocks of the present."""
_WHOLE, _KEPT, _WAY = 2, 4, 6
"""Stages in which t is known, the node's words are registers, and the slope's way begins."""
_SUM = _WAY + 3


class _Kept(data.Struct):
    """Nodes of both channels to one epoch."""

    base: _BASE_BITS
    """2^E e."""
    phase_r: smoothing.STEP_BITS
    slope_r: smoothing.SLOPE_BITS
    locked_r: 1
    phase_d: smoothing.STEP_BITS
    locked_d: 1


class PhaseMarks(wiring.Component):
    """Marks a click of time t in epoch ``e = t >> E`` by the nodes r, d of channels 0, 1 to e - 1 (phase F, slope G)::

        psi  = (F_r + ((G_r (t - 2^E (e - 1))) >> 12) + F_d) mod 2^32 >> 16 - A_q        mod 2^16
        rq   = (F_r + ((G_r (t - 2^E (e - 1))) >> 12)) mod 2^32 >> 16
        A    = x mod 2^16,   A_q = (x + ((x C) >> 32)) mod 2^16

    A node that is not kept, or was not locked, is not valid: its F and G are 0. The nodes of the last two epochs are kept.

    Members
    -------
    i_run : In(1)
        0 forgets all nodes; clicks go on.
    i, i_valid : In(Click), In(1)
        A framed click, its time less than 2^13 clocks from now.
    i_clock : In(51)
        Clock count.
    i_position, i_blank : In(17), In(1)
        With the click: x, the position of the actuator that acted on it, in 2^-16 turn, and whether that was changing or is not known.
        `drive.clicks` tells them, before this.
    i_ratio : In(signed(32))
        C in 2^-32.
    i_epoch_bits : In(5)
        E; it stands still while i_run is 1.
    i_node, i_node_valid : In(PhaseNode), In(1)
        Channel 0, and channel 1 of the same epoch in a later clock.
    o, o_valid : Out(MarkedClick), Out(1)
    o_idle : Out(1)

    Latency: `latency` clocks, constant. A click that comes a clock after channel 1's node or later finds both. Throughput: a click per
    clock. Overflow: phases wrap.
    Source: docs/phase.md, marks.
    """

    i_run: In(1)
    i: In(Click)
    i_valid: In(1)
    i_clock: In(units.CLOCK_BITS)
    i_position: In(actuator.LIMIT_BITS)
    i_blank: In(1)
    i_ratio: In(signed(RATIO_BITS))
    i_epoch_bits: In(CHOICE_BITS)
    i_node: In(PhaseNode)
    i_node_valid: In(1)
    o: Out(MarkedClick)
    o_valid: Out(1)
    o_idle: Out(1)

    @property
    def latency(self) -> int:
        """Clocks from a click to its mark."""
        return _SUM + 3

    def elaborate(self, platform) -> Module:
        m = Module()
        stages = Stages(m)
        length = EpochLength(m, self.i_epoch_bits)
        last = self.latency
        valids = [self.i_valid, *(Signal(name=f"valid_{stage}") for stage in range(1, last + 1))]
        m.d.sync += [after.eq(before) for before, after in pairwise(valids)]

        # t, from the clock count beside it and its own low bits.
        low_bits = smoothing.CLOCK_LOW_BITS
        behind = stages.after("behind", 0, lambda: (self.i.clock - self.i_clock[:low_bits])[:low_bits].as_signed())
        clock = stages.given("clock", 0, self.i_clock[: smoothing.TIME_BITS])
        time = stages.after("time", 1, lambda clock, behind: (clock + behind)[: smoothing.TIME_BITS], clock, behind)
        parity = stages.after("parity", _WHOLE, length.parity, time)

        # The node to e - 1: the other epoch's of the two kept.
        kept = self._nodes(m, length, parity.at(_KEPT - 1))
        words = stages.after("kept", _KEPT - 1, lambda: kept)
        there, found_words = words.at(_KEPT)[-1], data.View(_Kept, words.at(_KEPT)[:-1])
        node = {name: stages.given(name, _KEPT, found_words[name]) for name, _ in data.Layout.cast(_Kept)}
        there = stages.given("there", _KEPT, there)
        since = stages.after(
            "since", _KEPT, lambda time, base: (time[:_BASE_BITS] - base)[:_BASE_BITS], time, node["base"]
        )

        # 2^E <= since < 2^(E+1).
        distance = since.at(_WAY - 1)
        found = (distance == (length.clocks(distance) | length.unit)) & there.at(_WAY - 1)
        r_valid = stages.after("r_valid", _WAY - 1, lambda locked: found & locked, node["locked_r"])
        d_valid = stages.after("d_valid", _WAY - 1, lambda locked: found & locked, node["locked_d"])

        # The phases.
        m.submodules.extrapolation = extrapolation = Extrapolation()
        m.d.comb += [
            extrapolation.i_slope.eq(Mux(r_valid.at(_WAY), node["slope_r"].at(_WAY), 0)),
            extrapolation.i_clocks.eq(since.at(_WAY)[:CLOCKS_BITS]),
        ]
        phase_r = stages.after("valid_r", _WAY, lambda phase, valid: Mux(valid, phase, 0), node["phase_r"], r_valid)
        phase_d = stages.after("valid_d", _WAY, lambda phase, valid: Mux(valid, phase, 0), node["phase_d"], d_valid)
        bits = smoothing.STEP_BITS
        high = bits - units.TURN_BITS
        way = stages.given("way", _WAY + extrapolation.latency, extrapolation.o)
        total_r = stages.after("total_r", _SUM, lambda phase, way: (phase + way)[:bits], phase_r, way)
        total = stages.after("total", _SUM + 1, lambda r, d: (r + d)[:bits], total_r, phase_d)
        applied, blank, applied_q = self._applied(stages)
        psi = stages.after(
            "psi", _SUM + 2, lambda total, less: (total[high:] - less)[: units.TURN_BITS], total, applied_q
        )

        [click] = carried(m, [self.i.as_value()], valids, 0, last, "click")
        [low_time] = carried(m, [time.at(_WHOLE)], valids, _WHOLE, last, "time")
        m.d.comb += [
            self.o_valid.eq(valids[last]),
            self.o.click.eq(click),
            self.o.time.eq(low_time),
            self.o.mark.psi.eq(psi.at(last)),
            self.o.mark.rq.eq(total_r.at(last)[high:]),
            self.o.mark.r_valid.eq(r_valid.at(last)),
            self.o.mark.d_valid.eq(d_valid.at(last)),
            self.o.mark.applied.eq(applied.at(last)[: units.TURN_BITS]),
            self.o.mark.applied_q.eq(applied_q.at(last)),
            self.o.mark.blank.eq(blank.at(last)),
            self.o_idle.eq(~(self.i_valid | Cat(valids[1:]).any() | self.i_node_valid)),
        ]
        return m

    def _nodes(self, m: Module, length: EpochLength, parity) -> Cat:
        """Keeps the nodes. Those of the epochs of the other parity, and in the highest bit whether there are any."""
        m.submodules.kept = ring = memory.Memory(shape=_Kept, depth=2, init=[], attrs={"ram_style": "distributed"})
        write, read = ring.write_port(), ring.read_port(domain="comb")
        there = Signal(2)
        fresh = Signal(_Kept, reset_less=True)
        place = Signal(reset_less=True)
        node, second = self.i_node, self.i_node_valid & self.i_node.channel
        with m.If(self.i_node_valid & ~self.i_node.channel):
            m.d.sync += [
                place.eq(node.epoch[0]),
                fresh.base.eq(Cat(C(0, LEAST), node.epoch[: _BASE_BITS - LEAST]) << length.beyond),
                *(fresh.phase_r.eq(node.phase), fresh.slope_r.eq(node.slope), fresh.locked_r.eq(node.locked)),
            ]
        m.d.comb += [
            write.addr.eq(place),
            write.data.eq(fresh),
            *(write.data.phase_d.eq(node.phase), write.data.locked_d.eq(node.locked)),
            write.en.eq(second),
            read.addr.eq(~parity),
        ]
        with m.If(second):
            m.d.sync += there.bit_select(place, 1).eq(1)
        with m.If(~self.i_run):
            m.d.sync += there.eq(0)
        return Cat(read.data.as_value(), there.bit_select(~parity, 1))

    def _applied(self, stages: Stages) -> tuple:
        """A, blank, and A_q, whose product is exact: ``((x C_low >> 17) + x C_high) >> 15``."""
        applied = stages.given("applied", 0, self.i_position)
        blank = stages.given("blank", 0, self.i_blank)
        left = stages.operand("applied_factor", 0, self.i_position)
        low = stages.operand("ratio_low", 0, self.i_ratio[:PIECE])
        high = stages.operand("ratio_high", 0, self.i_ratio[PIECE:].as_signed())
        low = stages.after("applied_low", 1, lambda a, c: a * c, left, low)
        high = stages.after("applied_high", 1, lambda a, c: a * c, left, high)
        rest = RATIO_BITS - PIECE
        more = stages.after("more", 2, lambda low, high: ((low >> PIECE) + high) >> rest, low, high)
        return applied, blank, stages.after("applied_q", 3, lambda a, b: (a + b)[: units.TURN_BITS], applied, more)
