"""Which edges are too close to the one before."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .sizes import Sizes


class DeadTime(wiring.Component):
    """Removes edges within the dead time and within the after-pulse veto.

    With d = ``i_time - t_last``, t_last the time of the last accepted edge: dead if ``d < dead_time``, else vetoed if
    ``veto_from <= d < veto_to``, else accepted. Without an accepted edge since reset, and when d is 2^dead_time_bits or more, an
    edge is accepted (*far*).

    An edge in the second stage is compared with the last accepted edge that is known, and with the edge in the third stage, of which
    it is decided in the same clock whether it is accepted; a clock later the one or the other counts. The two edges are in
    successive slots and so close together that the second comparison is short. The first stage is a register, since edges come from
    far away and the comparisons take long.

    Members
    -------
    i_edge, i_time, i_absent : 1, order_bits, 1
        The slot (`Entry`); the time of one without an edge is its clock's beginning. Slots come in every clock, less than
        2^(order_bits - 1) ticks apart, so that none is missed when an edge gets far.
    i_dead_time, i_veto_from, i_veto_to : dead_time_bits, ticks
        Act after two clocks.
    o_edge, o_time, o_absent : 1, order_bits, 1
        The slot; its edge is an accepted one.
    o_distance, o_far : dead_time_bits, 1
        d of an accepted edge.
    o_dead, o_vetoed : 1
        Strobes for the slot's edge.
    o_busy : 1

    ``beginning``: time of the first stage before the first slot, see `apart`.

    Latency: `latency` = 3 clocks. Throughput: one edge per clock.
    """

    latency = 3

    def __init__(self, *, lanes: int, sizes: Sizes, beginning: int = 0):
        bits = sizes.dead_time_bits
        super().__init__(
            {
                "i_edge": In(1),
                "i_time": In(sizes.order_bits),
                "i_absent": In(1),
                "i_dead_time": In(bits),
                "i_veto_from": In(bits),
                "i_veto_to": In(bits),
                "o_edge": Out(1),
                "o_time": Out(sizes.order_bits),
                "o_absent": Out(1),
                "o_distance": Out(bits),
                "o_far": Out(1),
                "o_dead": Out(1),
                "o_vetoed": Out(1),
                "o_busy": Out(1),
            }
        )
        self._bits = bits
        self._beginning = beginning
        self._near_bits = sizes.near_bits(lanes)
        # State, here so that a proof can speak of it.
        self.last = Signal(sizes.order_bits)
        self.far = Signal(init=1)
        self.came = Signal()  # an edge in the first stage
        self.edge = Signal()  # of the third stage
        self.time = Signal(sizes.order_bits)
        self.was_accepted = Signal()  # the edge before that of the third stage, in the slot before

    def elaborate(self, platform):
        m = Module()
        bits, near_bits = self._bits, self._near_bits
        limits = {"dead_time": self.i_dead_time, "veto_from": self.i_veto_from, "veto_to": self.i_veto_to}

        # First stage.
        came_time, came_absent = Signal.like(self.i_time, init=self._beginning), Signal()
        m.d.sync += [self.came.eq(self.i_edge), came_time.eq(self.i_time), came_absent.eq(self.i_absent)]

        # Second stage: distances and comparisons.
        distance = Signal(len(self.i_time))
        near = Signal(near_bits)
        absent, is_far = Signal(), Signal()
        distance_last, distance_near = Signal(bits), Signal(near_bits)
        m.d.comb += [
            distance.eq(came_time - self.last),
            near.eq(came_time[:near_bits] - self.time[:near_bits]),
        ]
        below_last: dict[str, Value] = {}
        below_near: dict[str, Value] = {}
        for name, given in limits.items():
            limit, beyond = Signal(bits, name=name), Signal(name=f"{name}_beyond")
            below_last[name], below_near[name] = Signal(name=f"below_{name}"), Signal(name=f"near_below_{name}")
            m.d.sync += [
                limit.eq(given),
                beyond.eq(given[near_bits:].any()),
                below_last[name].eq(distance[:bits] < limit),
                below_near[name].eq(beyond | (near < limit[:near_bits])),
            ]
        m.d.sync += [
            self.edge.eq(self.came),
            self.time.eq(came_time),
            absent.eq(came_absent),
            is_far.eq(self.far | distance[bits:].any()),
            distance_last.eq(distance),
            distance_near.eq(near),
        ]

        # Third stage: the decision.
        def dead_and_vetoed(below: dict[str, Value]) -> tuple[Value, Value]:
            vetoed = ~below["dead_time"] & ~below["veto_from"] & below["veto_to"]
            return below["dead_time"], vetoed

        dead, vetoed, accepted = Signal(), Signal(), Signal()
        for result, by_near, by_last in zip(
            (dead, vetoed), dead_and_vetoed(below_near), dead_and_vetoed(below_last), strict=True
        ):
            m.d.comb += result.eq(self.edge & Mux(self.was_accepted, by_near, ~is_far & by_last))
        m.d.comb += accepted.eq(self.edge & ~dead & ~vetoed)
        with m.If(accepted):
            m.d.sync += [self.last.eq(self.time), self.far.eq(0)]
        with m.Elif(is_far & ~self.was_accepted):  # far from the edge that still is the last
            m.d.sync += self.far.eq(1)
        m.d.sync += [
            self.was_accepted.eq(accepted),
            self.o_edge.eq(accepted),
            self.o_time.eq(self.time),
            self.o_absent.eq(absent),
            self.o_distance.eq(Mux(self.was_accepted, distance_near, distance_last)),
            self.o_far.eq(is_far & ~self.was_accepted),
            self.o_dead.eq(dead),
            self.o_vetoed.eq(vetoed),
        ]
        m.d.comb += self.o_busy.eq(self.came | self.edge | self.o_edge | self.o_dead | self.o_vetoed)
        return m
