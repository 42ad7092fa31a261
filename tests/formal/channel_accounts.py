"""Proof of the loss identity of a small channel: at every clock, of each channel,

``seen + generated = overrun + dead + vetoed + divided + dropped + left + in flight``, with in flight = the edges that really are in
registers, lane queue, queue and front. It is shown stage by stage, with a counter of what passes on from each: added up, these
counters fall out, and the identity is left.

By induction from any state that the lemmas allow. Counters have 4 bits and wrap; queues have 4 places.
"""

from amaranth.hdl import Assert, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In
from queue_counts import assert_counts

from twinphase_hdl.timetag.input import InputChannel
from twinphase_hdl.timetag.sizes import Sizes

COUNTER_BITS = 4
SIZES = Sizes(
    order_bits=9,
    fine_bits=1,
    delay_bits=3,
    dead_time_bits=5,
    divider_bits=2,
    walk_bits=1,
    walk_index_bits=1,
    walk_shift_bits=4,
    lane_depth=4,
)


class ChannelAccounts(wiring.Component):
    """One channel; configuration and all edges are free in every clock."""

    DEPTH, FRONT_DEPTH = 4, 2

    def __init__(self, lanes: int, make: type[InputChannel] = InputChannel):
        self.channel = make(lanes=lanes, depth=self.DEPTH, sizes=SIZES, for_proof=True, front_depth=self.FRONT_DEPTH)
        members = self.channel.signature.members
        self._inputs = [name for name in members if name.startswith("i_")]
        super().__init__({**{name: members[name] for name in self._inputs}, "ready": In(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.channel = channel = self.channel
        m.d.comb += [
            *(getattr(channel, name).eq(getattr(self, name)) for name in self._inputs),
            channel.o.ready.eq(self.ready),
        ]
        left = channel.o.valid & channel.o.ready
        counters = {
            name: self._count(m, name, getattr(channel, f"o_{name}"))
            for name in ("seen", "generated", "overrun", "dead", "vetoed", "divided", "dropped")
        }
        counters["left"] = self._count(m, "left", left)
        self._stages(m, counters)
        return m

    def _count(self, m: Module, name: str, number: Value) -> Signal:
        counter = Signal(COUNTER_BITS, name=f"count_{name}")
        m.d.sync += counter.eq(counter + number)
        return counter

    def _stages(self, m: Module, counters: dict[str, Signal]) -> None:
        """Edges whose beginning has been counted and whose end has not: each is in exactly one place.

        The identity is that of all stages together: what passes on from one is what comes to the next.
        """
        channel = self.channel
        entry, dead_time, divider, queue = channel.entry, channel.dead_time, channel.divider, channel.queue
        in_lanes = self._rows(m) if entry.queue is not None else Const(0)
        # Per stage: what came in, what ended there, the places (numbers of edges), what passes on.
        stages = (
            (
                counters["seen"] + counters["generated"],
                counters["overrun"],
                in_lanes + entry.o_edge + entry.o_overrun - entry.o_seen - entry.o_generated,
                entry.o_edge,
            ),
            (
                None,
                counters["dead"] + counters["vetoed"],
                dead_time.came + dead_time.edge + dead_time.o_edge + dead_time.o_dead + dead_time.o_vetoed,
                dead_time.o_edge,
            ),
            (None, counters["divided"], divider.o_tag + divider.o_divided, divider.o_tag),
            (None, Const(0), sum(channel.tags, Const(0)), channel.tags[-1]),
            (None, counters["dropped"], queue.tag, queue.o_queued),
            (None, counters["left"], self._queued(m), None),
        )
        came: Value = Const(0)
        any_inside: Value = (in_lanes != 0) | entry.o_edge
        for k, (first, ended, places, passing) in enumerate(stages):
            in_stage, here = Signal(COUNTER_BITS, name=f"inside_{k}"), Signal(COUNTER_BITS, name=f"balance_{k}")
            passed = self._count(m, f"passed_{k}", passing) if passing is not None else Const(0)
            came = first if first is not None else came
            m.d.comb += [
                in_stage.eq(places),
                here.eq(came - ended - passed),
                Assert(here == in_stage, f"identity of stage {k}"),
            ]
            came = passed
            if k:
                any_inside |= in_stage.any()
        m.d.comb += Assert(~channel.o_idle | ~any_inside, "idle with edges inside")

    def _queued(self, m: Module) -> Value:
        """Tags in the queue, with lemmas of its own proof."""
        queue = self.channel.queue
        assert_counts(m, queue.queue, depth=self.DEPTH, front_depth=self.FRONT_DEPTH)
        return queue.queue.o_level

    def _rows(self, m: Module) -> Value:
        """Edges in the lane queue, from its rows."""
        lanes = self.channel.entry.queue
        depth = SIZES.lane_depth
        waiting = Signal(range(depth + 1))
        m.d.comb += waiting.eq(Mux(lanes.waiting, (lanes.write_place - lanes.read_place)[: len(lanes.write_place)], 0))
        edges = lanes.row.valid[0] + lanes.row.valid[1]
        for k in range(depth):
            peek = lanes.rows.read_port(domain="comb")
            m.d.comb += peek.addr.eq(lanes.read_place + k)
            here = k < waiting
            edges += Mux(here, peek.data.valid[0] + peek.data.valid[1], 0)
            m.d.comb += Assert(~here | peek.data.valid.any(), "a row without edges waits")
        m.d.comb += [
            Assert(lanes.waiting == (lanes.write_place != lanes.read_place), "rows that wait"),
            Assert(~lanes.waiting | lanes.row.valid.any(), "rows wait behind none"),
            Assert(lanes.o_level == edges, "lane level"),
            Assert(lanes.o_level < depth, "lane queue too full"),
            Assert(lanes.nearly == (lanes.o_level == depth - 1), "nearly full"),
        ]
        return edges
