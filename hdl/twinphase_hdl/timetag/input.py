"""One channel of the time tagger, from its edges to its ordered, queued tags."""

from amaranth.hdl import Cat, Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.core.queue import FRONT_DEPTH
from twinphase_spec import tagger

from .apart import apart
from .deadtime import DeadTime
from .divider import Divider
from .entry import Entry
from .front import Front
from .sizes import Sizes
from .tagqueue import TagQueue
from .walk import WalkTable


def config_members(sizes: Sizes) -> dict[str, wiring.Member]:
    """What a channel is configured with; the walk table is written through its last three."""
    return {
        "i_enable": In(1),
        "i_pulser": In(1),
        "i_delay": In(signed(sizes.delay_bits)),
        "i_dead_time": In(sizes.dead_time_bits),
        "i_veto_from": In(sizes.dead_time_bits),
        "i_veto_to": In(sizes.dead_time_bits),
        "i_divider": In(sizes.divider_bits),
        "i_divider_restart": In(1),
        "i_walk_shift": In(sizes.walk_shift_bits),
        "i_walk_write": In(1),
        "i_walk_address": In(sizes.walk_index_bits),
        "i_walk_data": In(signed(sizes.walk_bits)),
    }


def strobe_members(lanes: int) -> dict[str, wiring.Member]:
    """What a channel counts, as numbers of edges per clock."""
    return {
        "o_seen": Out(range(lanes + 1)),
        "o_generated": Out(1),
        "o_overrun": Out(1),
        "o_dead": Out(1),
        "o_vetoed": Out(1),
        "o_divided": Out(1),
        "o_dropped": Out(1),
        "o_queued": Out(1),
    }


class InputChannel(wiring.Component):
    """Edges of one channel in, its tags out: enable and pulser, lane queue, dead time, veto, divider, time walk, delay, order, queue.

    ``t0 = i_clock * 2^fine_bits + fine``; ``t = max(t0 + walk + i_delay, t of the tag queued before)``, modulo 2^order_bits, with what
    `Entry`, `DeadTime`, `Divider`, `WalkTable` and `TagQueue` say of it. Every edge is counted once where it comes in
    (seen or generated) and once where it ends (overrun, dead, vetoed, divided, dropped or as a tag at ``o``).

    A slot without a tag goes the same way with the time of its clock's beginning, without walk: the bound. It is right because
    a correction reaches back by half a clock at most, and as long as delay, walk and enable change only while nothing is inside.

    Parameters
    ----------
    lanes : int
        Edges per clock, 1 or 2.
    depth : int
        Tags of the queue, a power of two, at least what `tagger.check_depth` asks for.
    sizes : Sizes
    for_proof : bool
        Accepts any depth.
    front_depth : int
        As of `Queue`.
    number : int
        Of the channel, see `apart`.

    Members
    -------
    i_valid, i_fine : lanes, array of lanes x fine_bits ticks
    i_clock : coarse_bits
        Low bits of the clock count that the edges of this clock belong to. It goes on by one per clock, or, while ``o_idle``, jumps
        ahead by less than 2^(coarse_bits - 2) clocks and then by one for 32 clocks or more, until all bounds have followed.
    i_pulse, i_pulse_fine : 1, fine_bits
        The test pulser's edge.
    i_enable, i_pulser : 1
        An enabled channel has its pin's edges, or with i_pulser those of the pulser.
    i_delay : signed delay_bits, ticks
    i_dead_time, i_veto_from, i_veto_to : dead_time_bits, ticks
    i_divider, i_divider_restart : divider_bits, 1
        The strobe comes with a change of the divider or after it.
    i_walk_shift, i_walk_write, i_walk_address, i_walk_data : see `WalkTable`
    o : Front
        Without channel bits.
    o_seen, o_generated, o_overrun, o_dead, o_vetoed, o_divided, o_dropped, o_queued
        Strobes: numbers of edges (0 .. lanes for seen, else 0 or 1), each some clocks after what it counts.
    o_idle : 1
        No edge and no tag inside, and no strobe set.

    Latency: `latency` = 13 clocks from the edge to ``o``, 14 with a lane queue, without contention. Throughput: one edge per clock.
    Overflow: a full lane queue is an overrun, a full queue drops.
    """

    def __init__(
        self,
        *,
        lanes: int = 1,
        depth: int = tagger.QUEUE_DEPTH,
        sizes: Sizes | None = None,
        for_proof: bool = False,
        front_depth: int = FRONT_DEPTH,
        number: int = 0,
    ):
        sizes = sizes or Sizes()
        if not for_proof:
            tagger.check_depth(depth)
        self._sizes = sizes
        # Here so that a proof can speak of them.
        first, second = apart(number, sizes)
        self.entry = Entry(lanes=lanes, sizes=sizes, beginning=first)
        self.dead_time = DeadTime(lanes=lanes, sizes=sizes, beginning=second << sizes.fine_bits)
        self.divider = Divider(sizes=sizes)
        self.walk = WalkTable(sizes=sizes)
        self.queue = TagQueue(lanes=lanes, depth=depth, sizes=sizes, front_depth=front_depth)
        super().__init__(
            {
                "i_valid": In(lanes),
                "i_fine": In(data.ArrayLayout(sizes.fine_bits, lanes)),
                "i_clock": In(sizes.coarse_bits),
                "i_pulse": In(1),
                "i_pulse_fine": In(sizes.fine_bits),
                **config_members(sizes),
                "o": Out(Front(order_bits=sizes.order_bits, channel_bits=0)),
                **strobe_members(lanes),
                "o_idle": Out(1),
            }
        )
        self.tags = [Signal(name=f"tag_{k}") for k in range(5)]  # tags under way to the queue

    @property
    def latency(self) -> int:
        """Clocks from an edge to the front."""
        return self.entry.latency + self.dead_time.latency + self.walk.latency + 1 + self.queue.latency

    def elaborate(self, platform):
        m = Module()
        m.submodules.entry = entry = self.entry
        m.submodules.dead_time = dead_time = self.dead_time
        m.submodules.divider = divider = self.divider
        m.submodules.walk = walk = self.walk
        m.submodules.queue = queue = self.queue

        m.d.comb += [
            *(
                getattr(entry, name).eq(getattr(self, name))
                for name in ("i_valid", "i_fine", "i_clock", "i_pulse", "i_pulse_fine", "i_enable", "i_pulser")
            ),
            *(getattr(dead_time, name).eq(getattr(self, name)) for name in ("i_dead_time", "i_veto_from", "i_veto_to")),
            dead_time.i_edge.eq(entry.o_edge),
            dead_time.i_time.eq(Cat(entry.o_fine, entry.o_clock)),
            dead_time.i_absent.eq(entry.o_absent),
            divider.i_edge.eq(dead_time.o_edge),
            divider.i_time.eq(dead_time.o_time),
            divider.i_absent.eq(dead_time.o_absent),
            divider.i_divider.eq(self.i_divider),
            divider.i_restart.eq(self.i_divider_restart),
            walk.i_distance.eq(dead_time.o_distance),
            walk.i_far.eq(dead_time.o_far),
            walk.i_none.eq(~self.tags[1]),
            walk.i_shift.eq(self.i_walk_shift),
            walk.i_write.eq(self.i_walk_write),
            walk.i_address.eq(self.i_walk_address),
            walk.i_data.eq(self.i_walk_data),
        ]

        # The delay is added while the walk is being read; then both.
        bits = self._sizes.order_bits
        delayed = [Signal(bits, name=f"time_{k}") for k in range(4)]
        absent = [Signal(name=f"absent_{k}") for k in range(5)]
        corrected = Signal(bits)
        m.d.sync += [
            delayed[0].eq(divider.o_time + self.i_delay),
            Cat(delayed[1:]).eq(Cat(delayed)),
            corrected.eq(delayed[-1] + walk.o_walk),
            Cat(self.tags).eq(Cat(divider.o_tag, *self.tags[:-1])),
            Cat(absent).eq(Cat(divider.o_absent, *absent[:-1])),
        ]
        m.d.comb += [
            queue.i_tag.eq(self.tags[-1]),
            queue.i_time.eq(corrected),
            queue.i_absent.eq(absent[-1]),
        ]
        wiring.connect(m, queue.o, wiring.flipped(self.o))

        m.d.comb += [
            self.o_seen.eq(entry.o_seen),
            self.o_generated.eq(entry.o_generated),
            self.o_overrun.eq(entry.o_overrun),
            self.o_dead.eq(dead_time.o_dead),
            self.o_vetoed.eq(dead_time.o_vetoed),
            self.o_divided.eq(divider.o_divided),
            self.o_dropped.eq(queue.o_dropped),
            self.o_queued.eq(queue.o_queued),
            self.o_idle.eq(
                ~(
                    entry.o_busy
                    | entry.o_overrun
                    | dead_time.o_busy
                    | divider.o_tag
                    | divider.o_divided
                    | Cat(self.tags).any()
                    | queue.o_busy
                )
            ),
        ]
        return m
