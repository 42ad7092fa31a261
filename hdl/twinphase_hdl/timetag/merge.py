"""Brings the tags of all channels into one order."""

from collections.abc import Iterable
from functools import reduce
from operator import and_, or_

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.types import CHANNEL_BITS, Tag
from twinphase_spec import units

ORDER_BITS = 28
"""Times are compared modulo 2^28 ticks, correct for differences below 2^27 ticks (16,384 clocks).

Waiting tags are closer together than that: the horizon passes a tag at most 512 clocks after it was queued (delays span less
than 2^22 ticks), and then the four queues of 512 empty at one tag per clock, but for a few clocks when a queue that ran empty refills.
"""


def tag_layout(time_bits: int) -> type[Tag] | data.StructLayout:
    """`Tag`, or the same with a shorter time."""
    if time_bits == units.TIME_BITS:
        return Tag
    return data.StructLayout({"time": time_bits, "channel": CHANNEL_BITS})


class Merge(wiring.Component):
    """Emits the tags of all channels in the order of (t, channel), at most one per clock.

    Each channel has a head register. A head leaves when it is below the horizon and no other head is before it, unless a channel without
    head has entries on their way. All comparisons, and whether something is to be waited for, are made a clock before, with
    the heads that will be there then, so that what leaves is decided from registers. Everything behind takes it at once.

    Parameters
    ----------
    channels, time_bits, order_bits : int
        Times are compared modulo 2^order_bits.

    Members
    -------
    i_valid, i_pending, i_time : channels, channels, array of time_bits
        Fronts of the queues, in rising order per channel, and which queues have none but will not be empty in the next clock.
    i_horizon : order_bits, ticks
        Of the next clock: no tag that is not in a queue then is below it.
    o_take : channels
        Takes the fronts.
    o : stream of Tag
        Always taken.
    o_idle : 1
        No tag inside or at the output.

    Latency: 2 clocks from a front that may leave. Throughput: one tag per clock.
    """

    def __init__(self, *, channels: int = 4, time_bits: int = units.TIME_BITS, order_bits: int = ORDER_BITS):
        if not 1 <= channels < 1 << CHANNEL_BITS:
            raise ValueError(f"Merge: channels is {channels}; allowed: 1 to {(1 << CHANNEL_BITS) - 1}")
        if not 2 <= order_bits <= time_bits:
            raise ValueError(f"Merge: order_bits is {order_bits}; allowed: 2 to time_bits ({time_bits})")
        super().__init__(
            {
                "i_valid": In(channels),
                "i_pending": In(channels),
                "i_time": In(data.ArrayLayout(time_bits, channels)),
                "i_horizon": In(order_bits),
                "o_take": Out(channels),
                "o": Out(stream.Signature(tag_layout(time_bits), always_ready=True)),
                "o_idle": Out(1),
            }
        )
        self._channels = range(channels)
        self._order_bits = order_bits
        # State, here so that a proof can speak of it.
        self.heads = [Signal(time_bits, name=f"head_{i}") for i in self._channels]
        self.head_valid = Signal(channels)
        self.waits = Signal()
        self.before = {(i, j): Signal(name=f"before_{i}_{j}") for j in self._channels for i in range(j)}

    def _below(self, a: Value, b: Value) -> Value:
        """a < b, modular."""
        return (a[: self._order_bits] - b[: self._order_bits])[self._order_bits - 1]

    def _before(self, a: Value, a_channel: int, b: Value, b_channel: int) -> Value:
        """Tag a leaves before tag b: of equal times the lower channel is first."""
        return self._below(a, b) if a_channel > b_channel else ~self._below(b, a)

    def _released(self, time: Value) -> Value:
        """No tag before ``time`` is still to come."""
        return self._below(time, self.i_horizon)

    def _waits(self, loads: Value) -> Value:
        """In the next clock a head will be missing that could be the first."""
        return (loads & self.i_pending).any()

    def elaborate(self, platform):
        m = Module()
        channels = self._channels
        heads, head_valid = self.heads, self.head_valid
        released = Signal(len(channels))
        leaves = Signal(len(channels))
        loads = Signal(len(channels))  # heads that are replaced, by nothing if there is no front
        m.d.comb += [
            loads.eq(~head_valid | leaves),
            self.o_take.eq(loads & self.i_valid),
            self.o_idle.eq(~head_valid.any() & ~self.o.valid),
        ]

        m.d.sync += self.waits.eq(self._waits(loads))

        # Head i before head j.
        before: dict[tuple[int, int], Value] = {}
        for (i, j), first in self.before.items():
            entering_i, entering_j = self.i_time[i], self.i_time[j]
            m.d.sync += first.eq(
                Mux(
                    loads[i],
                    Mux(
                        loads[j],
                        self._before(entering_i, i, entering_j, j),
                        self._before(entering_i, i, heads[j], j),
                    ),
                    Mux(loads[j], self._before(heads[i], i, entering_j, j), first),
                )
            )
            before[i, j] = first
            before[j, i] = ~first

        for i in channels:
            is_first = reduce(and_, (~head_valid[j] | before[i, j] for j in channels if j != i), ~self.waits)
            m.d.comb += leaves[i].eq(head_valid[i] & released[i] & is_first)
            m.d.sync += released[i].eq(Mux(loads[i], self._released(self.i_time[i]), self._released(heads[i])))
            with m.If(loads[i]):
                m.d.sync += [head_valid[i].eq(self.i_valid[i]), heads[i].eq(self.i_time[i])]

        def chosen(values: Iterable[Value | int]) -> Value:
            return reduce(or_, (Mux(leaves[i], value, 0) for i, value in enumerate(values)))

        m.d.sync += self.o.valid.eq(leaves.any())
        with m.If(leaves.any()):
            m.d.sync += [
                self.o.payload.time.eq(chosen(heads)),
                self.o.payload.channel.eq(chosen(channels)),
            ]
        return m
