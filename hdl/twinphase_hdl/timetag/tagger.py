"""From the edges of a front end to one ordered stream of tags, every edge accounted for."""

from amaranth.hdl import Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.core.rooms import Rooms
from twinphase_hdl.timetag.channel import DEAD_TIME_BITS, DELAY_BITS, QUEUE_DEPTH, Channel
from twinphase_hdl.timetag.frontend import Edges
from twinphase_hdl.timetag.horizon import Horizon
from twinphase_hdl.timetag.merge import ORDER_BITS, Merge, tag_layout
from twinphase_spec import units


def channel_rooms(channels: int) -> tuple[str, ...]:
    """A room for each channel."""
    return tuple(f"channel_{i}" for i in range(channels))


class Tagger(wiring.Component):
    """Channels, merge and their counters.

    An edge in clock c has ``t0 = (c - frontend_latency) * 8192 + fine``. At every clock and per channel:
    ``o_seen = o_dead + o_dropped + o_tags + o_in_flight``.

    Parameters
    ----------
    channels : int
    frontend_latency : int
        ``latency`` of the front end that drives ``i``.
    rooms : Rooms
        Of the node, those of `channel_rooms` among them.
    depth, time_bits, fine_bits, delay_bits, dead_time_bits, order_bits, counter_bits : int
        Sizes; smaller ones are for proofs.

    Members
    -------
    i : Edges, from a front end
    i_clock : 51, the timebase's clock count
    i_enable : channels
    i_delay, i_dead_time : arrays of signed 22 and 32, ticks
        See `Channel` and `Horizon` for changes while edges come.
    o : stream of Tag, always taken
    o_seen, o_dead, o_dropped, o_tags, o_in_flight : arrays of 64
        Counters; they wrap.
    o_idle : 1
        No edge or tag is inside or at the output, and no counter is about to change.

    Latency: `latency` = 6 clocks from an edge to its tag if no tag with a smaller time can come, otherwise when the horizon has passed
    it. Throughput: one tag per clock.
    """

    latency = Channel.latency + 2
    """Channel and merge."""

    def __init__(
        self,
        *,
        channels: int = 4,
        frontend_latency: int = 0,
        depth: int = QUEUE_DEPTH,
        time_bits: int = units.TIME_BITS,
        fine_bits: int = units.FRACTION_BITS,
        delay_bits: int = DELAY_BITS,
        dead_time_bits: int = DEAD_TIME_BITS,
        order_bits: int = ORDER_BITS,
        counter_bits: int = 64,
        rooms: Rooms | None = None,
    ):
        if frontend_latency < 0:
            raise ValueError(f"Tagger: frontend_latency is {frontend_latency}; allowed: 0 or more clocks")
        clock_bits = time_bits - fine_bits
        counters = Out(data.ArrayLayout(counter_bits, channels))
        super().__init__(
            {
                "i": In(Edges(channels, fine_bits)),
                "i_clock": In(clock_bits),
                "i_enable": In(channels),
                "i_delay": In(data.ArrayLayout(signed(delay_bits), channels)),
                "i_dead_time": In(data.ArrayLayout(dead_time_bits, channels)),
                "o": Out(stream.Signature(tag_layout(time_bits), always_ready=True)),
                "o_seen": counters,
                "o_dead": counters,
                "o_dropped": counters,
                "o_tags": counters,
                "o_in_flight": counters,
                "o_idle": Out(1),
            }
        )
        self.frontend_latency = frontend_latency
        self.channels = [
            Channel(
                depth=depth,
                time_bits=time_bits,
                fine_bits=fine_bits,
                delay_bits=delay_bits,
                dead_time_bits=dead_time_bits,
            )
            for _ in range(channels)
        ]
        self.horizon = Horizon(
            channels=channels,
            clock_bits=clock_bits,
            fine_bits=fine_bits,
            delay_bits=delay_bits,
            order_bits=order_bits,
        )
        self.merge = Merge(channels=channels, time_bits=time_bits, order_bits=order_bits)
        self._rooms = rooms if rooms is not None else Rooms(channel_rooms(channels))
        self._in_flight_bits = (depth + 3).bit_length()

    def elaborate(self, platform):
        m = Module()
        m.submodules.horizon = horizon = self.horizon
        m.submodules.merge = merge = self.merge

        # The clock count of the edges that come now, but for the last register.
        clock: Value = self.i_clock
        if self.frontend_latency > 1:
            clock = Signal.like(self.i_clock)
            m.d.sync += clock.eq(self.i_clock - (self.frontend_latency - 2))

        def clock_of_edges(name: str) -> Value:
            """A copy for each channel, so that it can lie beside it; synthesis must not make one of them again."""
            if not self.frontend_latency:
                return self.i_clock
            copy = Signal.like(self.i_clock, name=name, attrs={"keep": 1})
            m.d.sync += copy.eq(clock)
            return copy

        m.d.comb += [
            horizon.i_clock.eq(clock_of_edges("horizon_clock")),
            horizon.i_enable.eq(self.i_enable),
            horizon.i_delay.eq(self.i_delay),
            merge.i_horizon.eq(horizon.o_horizon),
        ]
        wiring.connect(m, merge.o, wiring.flipped(self.o))

        idle = merge.o_idle
        for i, channel in enumerate(self.channels):
            self._rooms.put(m, f"channel_{i}", channel.o_idle, **{f"channel_{i}": channel})
            m.d.comb += [
                channel.i_clock.eq(clock_of_edges(f"clock_{i}")),
                channel.i_valid.eq(self.i.valid[i]),
                channel.i_fine.eq(self.i.fine[i]),
                channel.i_enable.eq(self.i_enable[i]),
                channel.i_dead_time.eq(self.i_dead_time[i]),
                channel.i_delay.eq(self.i_delay[i]),
                channel.i_take.eq(merge.o_take[i]),
                merge.i_valid[i].eq(channel.o_valid),
                merge.i_pending[i].eq(channel.o_pending),
                merge.i_time[i].eq(channel.o_time),
            ]
            idle &= channel.o_idle

            # All counters of a channel follow their strobes by one clock, so that the sum holds at every clock.
            left = Signal(name=f"left_{i}")
            in_flight = Signal(self._in_flight_bits, name=f"in_flight_{i}")
            m.d.comb += [
                left.eq(self.o.valid & (self.o.payload.channel == Const(i))),
                self.o_in_flight[i].eq(in_flight),
            ]
            with m.If(channel.o_queued ^ left):
                m.d.sync += in_flight.eq(in_flight + Mux(left, -1, 1))
            for strobe, counter in (
                (channel.o_seen, self.o_seen),
                (channel.o_dead, self.o_dead),
                (channel.o_dropped, self.o_dropped),
                (left, self.o_tags),
            ):
                with m.If(strobe):
                    m.d.sync += counter[i].eq(counter[i] + 1)
        m.d.comb += self.o_idle.eq(idle)
        return m
