"""A pass of the smoother: back over the nodes that have come, a block of intervals out."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from twinphase_spec import smoothing, tracking

from ..types import PhaseCover, PhaseInterval
from .smoothstep import GAINS, STEP, STEP_BITS, SmoothStep

CHANNELS = len(smoothing.CHANNELS)
NODES = 128
"""Nodes that a channel's ring keeps: 32 more than a pass reads, so that they come while it runs."""
PASS_NODES = 2 * smoothing.BLOCK + smoothing.MOST_LATER + 1
"""Of the longest lag."""
BLOCK_BITS = (smoothing.BLOCK - 1).bit_length()
INDEX_BITS = (smoothing.INTERVALS - 1).bit_length()
MOST_STEP = (1 << smoothing.SMOOTH_STEP_BITS) - 1
EPOCH_LOW_BITS = max(smoothing.TIME_BITS - tracking.EPOCH_LEAST, INDEX_BITS + MOST_STEP)
"""Low bits of a node's epoch that its time and its index need."""
MOST_SHIFT = tracking.EPOCH_BITS - tracking.EPOCH_LEAST + MOST_STEP
"""Of a slope: by E + g - 9."""
SLOPE_EXTRA = 3
"""``((B >> 8) 2^(E + g)) >> 12`` is the slope, shifted left by E + g - 9, and right by 3."""
SHIFTED_BITS = STEP_BITS + SLOPE_EXTRA
COVER_SHIFT = tracking.EPOCH_LEAST + BLOCK_BITS
"""A block has 2^(E + g - 9 + COVER_SHIFT) clocks."""


class StoredNode(data.Struct):
    """What a ring keeps of a node."""

    phase: STEP_BITS
    linked: 1
    """To the one before."""
    slope: signed(smoothing.SLOPE_BITS)


class PassRequest(data.Struct):
    """The node K = 16 (b + 2) + l has come."""

    channel: 1
    place: (NODES - 1).bit_length()
    """Of node K in the channel's ring; the earlier ones lie before it."""
    there: range(PASS_NODES + 1)
    """Nodes of the run up to K, itself included, or PASS_NODES."""
    epoch: EPOCH_LOW_BITS
    """Low bits of K's e."""
    gains: GAINS
    """H11, H12, H21, H22, 2^-16."""


class SmoothPass(wiring.Component):
    """Block b of one channel: from K = 16 (b + 2) + l back to 16 b by `SmoothStep`, intervals k = 16 b + 15 ... 16 b, and their cover::

        start = f' of k,   way = wrap_32(f - f'),   valid: k + 1 is linked to k;   cover = 16 (b + 1) 2^(E + g) mod 2^26

    with the steps ``s_k = sat_32(((B >> 8) 2^(E + g)) >> 12)``. A node that is not there is one with phase 0 that is not linked.

    Members
    -------
    i_start, i_request : In(1), In(PassRequest)
        Only while ``o_busy`` is low.
    i_epoch_bits, i_step, i_later : In(5), In(ArrayLayout(3, 2)), In(ArrayLayout(6, 2))
        E, 9 to 16; g and l of each channel. All hold during a pass.
    o_channel, o_place, i_node : Out(1), Out(7), In(StoredNode)
        The ring's read port: the node at ``o_place`` comes a clock later.
    o_interval, o_interval_valid, o_cover, o_cover_valid : Out(PhaseInterval), Out(1), Out(PhaseCover), Out(1)
    o_busy : Out(1)
        The last output comes in the first clock in which it is low again.

    Latency: `latency` clocks from i_start to o_cover_valid with l = 63, ``step_clocks`` less for each step less; intervals are
    ``step_clocks`` apart and the last comes 1 clock before the cover. Throughput: one pass at a time. Overflow: steps saturate; no other.
    Source: docs/phase.md, smoother.
    """

    i_start: In(1)
    i_request: In(PassRequest)
    i_epoch_bits: In(5)
    i_step: In(data.ArrayLayout(smoothing.SMOOTH_STEP_BITS, CHANNELS))
    i_later: In(data.ArrayLayout(smoothing.SMOOTH_LATER_BITS, CHANNELS))
    o_channel: Out(1)
    o_place: Out((NODES - 1).bit_length())
    i_node: In(StoredNode)
    o_interval: Out(PhaseInterval)
    o_interval_valid: Out(1)
    o_cover: Out(PhaseCover)
    o_cover_valid: Out(1)
    o_busy: Out(1)

    def __init__(self) -> None:
        super().__init__()
        self._step = SmoothStep()

    @property
    def node_clocks(self) -> int:
        """Clocks of node K: read in two, kept, its slope shifted, taken over."""
        return 3 + MOST_SHIFT + 1

    @property
    def step_clocks(self) -> int:
        """Clocks of a step: as for K, with the start of the step instead of the taking over, and its latency."""
        return self.node_clocks + self._step.latency

    @property
    def latency(self) -> int:
        """Request kept; block shifted out of the epoch, its time set and shifted; nodes; cover."""
        setting = 1 + MOST_STEP + 1 + COVER_SHIFT + MOST_SHIFT
        return setting + self.node_clocks + (PASS_NODES - 1) * self.step_clocks + 1

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.step = step = self._step
        request, number = Signal(PassRequest), Signal(range(PASS_NODES))
        """``number``: K - k."""
        turns, shift = Signal(range(COVER_SHIFT + MOST_SHIFT)), Signal(range(MOST_SHIFT + 1))
        """Clocks of a shift by a bit per clock: it moves in the first ones and rests in the others."""
        block, following = Signal(EPOCH_LOW_BITS), Signal(INDEX_BITS - BLOCK_BITS)
        """K, and b + 2, low bits."""
        here, node = Signal(), Signal(StoredNode, reset_less=True)
        """The node as read: block RAM answers late in the clock."""
        phase, linked, shifted = Signal(STEP_BITS), Signal(), Signal(signed(SHIFTED_BITS))
        later_phase, later_step, later_linked = Signal(STEP_BITS), Signal(STEP), Signal()
        size = self.i_step[request.channel]
        later = Signal(smoothing.SMOOTH_LATER_BITS)
        """l: nodes of the pass above those of two blocks."""
        m.d.comb += [
            following.eq(block[BLOCK_BITS:]),
            self.o_channel.eq(request.channel),
            self.o_place.eq(request.place),
            step.i_phase.eq(later_phase),
            step.i_step.eq(later_step),
            step.i_node_phase.eq(phase),
            step.i_node_step.eq(shifted >> SLOPE_EXTRA),
            step.i_linked.eq(later_linked),
            step.i_gains.eq(request.gains),
        ]
        m.d.sync += [
            *(self.o_interval_valid.eq(0), self.o_cover_valid.eq(0)),
            *(shift.eq(self.i_epoch_bits - tracking.EPOCH_LEAST + size), later.eq(self.i_later[request.channel])),
            *(node.eq(self.i_node), here.eq(number < request.there)),
        ]

        def ends(clocks: int):
            """The last of ``clocks`` clocks of a shift."""
            m.d.sync += turns.eq(Mux(turns == clocks - 1, 0, turns + 1))
            return turns == clocks - 1

        with m.FSM() as fsm:
            with m.State("REST"), m.If(self.i_start):
                m.d.sync += [request.eq(self.i_request), block.eq(self.i_request.epoch), number.eq(0)]
                m.next = "BLOCK"
            with m.State("BLOCK"):
                with m.If(turns < size):
                    m.d.sync += block.eq(block >> 1)
                with m.If(ends(MOST_STEP)):
                    m.next = "TIME"
            with m.State("TIME"):
                m.d.sync += self.o_cover.time.eq(block[BLOCK_BITS:] - 1 - later[BLOCK_BITS:])
                m.next = "COVER"
            with m.State("COVER"):
                with m.If(turns < shift + COVER_SHIFT):
                    m.d.sync += self.o_cover.time.eq(self.o_cover.time << 1)
                with m.If(ends(COVER_SHIFT + MOST_SHIFT)):
                    m.next = "READ"
            with m.State("READ"):
                m.next = "READ ON"
            with m.State("READ ON"):
                m.next = "KEEP"
            with m.State("KEEP"):
                m.d.sync += [
                    phase.eq(Mux(here, node.phase, 0)),
                    linked.eq(here & node.linked),
                    shifted.eq(node.slope),
                ]
                m.next = "SHIFT"
            with m.State("SHIFT"):
                with m.If(turns < shift):
                    # What would lose its sign is at its limit, and stays there.
                    limit = Cat((~shifted[-1]).replicate(SHIFTED_BITS - 1), shifted[-1])
                    m.d.sync += shifted.eq(Mux(shifted[-1] ^ shifted[-2], limit, shifted << 1))
                with m.If(ends(MOST_SHIFT)):
                    m.next = "STEP"
                    with m.If(number == 0):
                        m.next = "FIRST"
            with m.State("FIRST"):
                self._go_back(m, number, request.place)
                m.d.sync += [
                    later_phase.eq(phase),
                    later_step.eq(shifted >> SLOPE_EXTRA),
                    later_linked.eq(linked),
                ]
                m.next = "READ"
            with m.State("STEP"):
                m.d.comb += step.i_start.eq(1)
                m.next = "STEPPED"
            with m.State("STEPPED"), m.If(step.o_done):
                self._go_back(m, number, request.place)
                m.d.sync += [
                    *(later_phase.eq(step.o_phase), later_step.eq(step.o_step), later_linked.eq(linked)),
                    self.o_interval_valid.eq(number > smoothing.BLOCK + later),
                    self.o_interval.channel.eq(request.channel),
                    self.o_interval.index.eq(Cat((later - number)[:BLOCK_BITS], following - 2 - later[BLOCK_BITS:])),
                    self.o_interval.start.eq(step.o_phase),
                    self.o_interval.way.eq(later_phase - step.o_phase),
                    self.o_interval.valid.eq(later_linked),
                ]
                m.next = "READ"
                with m.If(number == 2 * smoothing.BLOCK + later):
                    m.next = "COVERED"
            with m.State("COVERED"):
                m.d.sync += [self.o_cover_valid.eq(1), self.o_cover.channel.eq(request.channel)]
                m.next = "REST"
        m.d.comb += self.o_busy.eq(~fsm.ongoing("REST"))
        return m

    @staticmethod
    def _go_back(m: Module, number: Signal, place: Signal) -> None:
        m.d.sync += [number.eq(number + 1), place.eq(place - 1)]
