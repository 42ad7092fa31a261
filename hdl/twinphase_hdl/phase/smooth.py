"""Fixed-lag smoother of the tracker's phases, on a grid of nodes."""

from amaranth.hdl import Cat, Const, Module, Mux, ResetInserter, Signal
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from twinphase_spec import smoothing

from ..types import PhaseCover, PhaseInterval, PhaseNode
from .smoothpass import BLOCK_BITS, CHANNELS, MOST_STEP, NODES, PASS_NODES, PassRequest, SmoothPass, StoredNode
from .smoothstep import GAINS


class Smoother(wiring.Component):
    """Phases that know what came after them, from the nodes of both tracker channels.

    Of each channel every 2^g-th node is kept, with its link: both it and the one before are locked, and nothing broke between. When
    node K = 16 (b + 2) + l has come, `SmoothPass` gives block b; passes of both channels are done one after the other, channel 0 first.

    Before the run's first node there is none: what the ring holds from an earlier run is known by the number of nodes that have come.
    A ring has `NODES` = 128 nodes: a pass over 96 of them that begins at once, or after one of the other channel, has read them before
    the nodes that replace them come, 16 000 clocks after K at the earliest.

    Members
    -------
    i_run : In(1)
        0 for a clock forgets nodes and passes; nothing of them comes out after it.
    i_node, i_node_valid : In(PhaseNode), In(1)
        Always taken; every epoch's node of each channel, in order, those of a channel 256 clocks apart or more (512 on average).
    i_epoch_bits, i_step, i_later : In(5), In(ArrayLayout(3, 2)), In(ArrayLayout(6, 2))
        E, 9 to 16; g and l of each channel. They stay as they were in the last clock in which ``i_run`` was 0.
    i_gains : In(ArrayLayout(ArrayLayout(signed(18), 4), 2))
        H11, H12, H21, H22 (2^-16) of each channel. A pass has those of the clock in which its node K is put into the ring.
    o_interval, o_interval_valid : Out(PhaseInterval), Out(1)
        From the top of a block down.
    o_cover, o_cover_valid : Out(PhaseCover), Out(1)
        After the last interval of a block.
    o_idle : Out(1)

    Latency: `latency` clocks from node K to o_cover_valid with l = 63, ``step_clocks`` less for each step less; as much more if a pass of
    the other channel runs. Throughput: 16 nodes of both channels in twice that time. Overflow: see `SmoothStep`; none of nodes.
    Source: docs/phase.md, smoother.
    """

    i_run: In(1)
    i_node: In(PhaseNode)
    i_node_valid: In(1)
    i_epoch_bits: In(5)
    i_step: In(data.ArrayLayout(smoothing.SMOOTH_STEP_BITS, CHANNELS))
    i_later: In(data.ArrayLayout(smoothing.SMOOTH_LATER_BITS, CHANNELS))
    i_gains: In(data.ArrayLayout(GAINS, CHANNELS))
    o_interval: Out(PhaseInterval)
    o_interval_valid: Out(1)
    o_cover: Out(PhaseCover)
    o_cover_valid: Out(1)
    o_idle: Out(1)

    def __init__(self) -> None:
        super().__init__()
        self._pass = SmoothPass()

    @property
    def step_clocks(self) -> int:
        """Of a pass, per node."""
        return self._pass.step_clocks

    @property
    def latency(self) -> int:
        """Node taken, picked and due; then the pass."""
        return 3 + self._pass.latency

    def elaborate(self, platform) -> Module:
        m = Module()
        rests = Signal(init=1)
        """A register beside the pass that it clears; no pass is due in its first clock."""
        m.d.sync += rests.eq(~self.i_run)
        m.submodules.back = back = ResetInserter(rests)(self._pass)
        m.submodules.nodes = nodes = memory.Memory(
            shape=StoredNode, depth=CHANNELS * NODES, init=[], attrs={"ram_style": "block"}
        )
        write, read = nodes.write_port(), nodes.read_port()

        # 1: take the node; 2: pick it, if it is on the grid. That at which a pass begins is l nodes past a coarser one.
        taken, node, came, picked, last = Signal(PhaseNode), Signal(PhaseNode), Signal(), Signal(), Signal()
        arrived = Signal()
        size = self.i_step[taken.channel]
        off_grid = Cat(taken.epoch[k] & (size > k) for k in range(MOST_STEP)).any()
        past = Signal(data.ArrayLayout(MOST_STEP + BLOCK_BITS, CHANNELS))
        """l nodes, in epochs."""
        m.d.sync += [past[c].eq(self.i_later[c] << self.i_step[c]) for c in range(CHANNELS)]
        away = taken.epoch[: MOST_STEP + BLOCK_BITS] ^ past[taken.channel]
        off_block = Cat(away[k] & (size + BLOCK_BITS > k) for k in range(MOST_STEP + BLOCK_BITS)).any()
        m.d.sync += [
            *(taken.eq(self.i_node), came.eq(self.i_node_valid)),
            *(node.eq(taken), arrived.eq(came), picked.eq(~off_grid), last.eq(~off_block)),
        ]

        # 3: into the ring, and what is known of each channel.
        locked, broken = Signal(data.ArrayLayout(1, CHANNELS)), Signal(data.ArrayLayout(1, CHANNELS))
        """Of each channel: of the last node kept; since it."""
        place = Signal(data.ArrayLayout((NODES - 1).bit_length(), CHANNELS))
        there = Signal(data.ArrayLayout(PASS_NODES.bit_length(), CHANNELS))
        due, requests = Signal(CHANNELS), Signal(data.ArrayLayout(PassRequest, CHANNELS))
        channel = node.channel
        keep, broke = Signal(), Signal()
        m.d.comb += [
            keep.eq(arrived & picked),
            broke.eq(broken[channel] | node.broke),
            write.en.eq(keep),
            write.addr.eq(Cat(place[channel], channel)),
            write.data.phase.eq(node.phase),
            write.data.slope.eq(node.slope),
            write.data.linked.eq(node.locked & locked[channel] & ~broke),
            read.addr.eq(Cat(back.o_place, back.o_channel)),
            back.i_node.eq(read.data),
        ]
        more = Signal(range(PASS_NODES + 1))
        m.d.comb += more.eq(Mux(there[channel] == PASS_NODES, PASS_NODES, there[channel] + 1))
        with m.If(arrived):
            m.d.sync += broken[channel].eq(broke & ~picked)
        with m.If(keep):
            m.d.sync += [
                *(locked[channel].eq(node.locked), place[channel].eq(place[channel] + 1), there[channel].eq(more)),
            ]

        # A pass for each block: the lower channel first.
        start = due.any() & ~back.o_busy
        chosen = ~due[0]
        m.d.comb += [
            back.i_start.eq(start),
            back.i_request.eq(requests[chosen]),
            back.i_epoch_bits.eq(self.i_epoch_bits),
            back.i_step.eq(self.i_step),
            back.i_later.eq(self.i_later),
        ]
        for k in range(CHANNELS):
            request = requests[k]
            m.d.comb += request.channel.eq(Const(k))
            with m.If(start & (chosen == k)):
                m.d.sync += due[k].eq(0)
            with m.If(keep & last & (channel == k)):
                m.d.sync += [
                    due[k].eq(1),
                    *(request.place.eq(place[k]), request.there.eq(more), request.epoch.eq(node.epoch)),
                    request.gains.eq(self.i_gains[k]),
                ]

        with m.If(~self.i_run):
            m.d.sync += [value.eq(0) for value in (came, arrived, locked, broken, there, due)]
        m.d.comb += [
            *(self.o_interval.eq(back.o_interval), self.o_interval_valid.eq(back.o_interval_valid)),
            *(self.o_cover.eq(back.o_cover), self.o_cover_valid.eq(back.o_cover_valid)),
            self.o_idle.eq(
                ~(self.i_node_valid | came | arrived | due.any() | back.o_busy)
                & ~(back.o_interval_valid | back.o_cover_valid | (rests == self.i_run))
            ),
        ]
        return m
