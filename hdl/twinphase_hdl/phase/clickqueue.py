"""The click tracker's entries, and the events that they become."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from twinphase_spec import tracking, units

CHANNEL_BITS = (tracking.CHANNELS - 1).bit_length()


class ClickEntry(data.Struct):
    """A click, or the turn to an epoch e."""

    turn: 1
    time: tracking.EVENT_CLOCK_BITS
    """Clock count of the click; 2^E e of the turn."""
    channel: CHANNEL_BITS
    """Of a click: below the number of channels."""
    port: 1
    """`tracking.LEFT` or `RIGHT`."""
    reference: units.TURN_BITS
    """r, 2^-16 turn."""


class ClickEvent(data.Struct):
    """What the pipeline does for one channel: a click, its part of a turn, or its reset."""

    reset: 1
    turn: 1
    """Set for a reset as well."""
    time: tracking.EVENT_CLOCK_BITS
    channel: CHANNEL_BITS
    port: 1
    reference: units.TURN_BITS


def check_channels(who: str, channels: int) -> None:
    """ValueError for a number of channels that no tracker has."""
    if not 1 <= channels <= tracking.CHANNELS:
        raise ValueError(f"{who}: channels is {channels}; allowed: 1 to {tracking.CHANNELS}")


class ClickQueue(wiring.Component):
    """One event of each click, ``channels`` events of each turn, in the order of the channels; before the first, a reset of each channel.

    An entry is taken when the one before it has issued its last event, and not before the resets have been written.

    Parameters
    ----------
    channels : int
        1 to 32.

    Members
    -------
    i_run : In(1)
        0 forgets what is under way; when it becomes 1, every channel is reset.
    i : In(stream of ClickEntry)
    o, o_valid : Out(ClickEvent), Out(1)

    Latency: `latency` = 1 clock from the transfer of an entry to its first event; `start_up` clocks from i_run to i.ready.
    Throughput: an event per clock. Overflow: none, what waits stays outside.
    Source: docs/tracking.md.
    """

    def __init__(self, *, channels: int) -> None:
        check_channels("ClickQueue", channels)
        self._channels = channels
        super().__init__(
            {
                "i_run": In(1),
                "i": In(stream.Signature(ClickEntry)),
                "o": Out(ClickEvent),
                "o_valid": Out(1),
            }
        )

    @property
    def latency(self) -> int:
        """Clocks from transfer to event."""
        return 1

    @property
    def start_up(self) -> int:
        """Clocks from i_run to i.ready: the resets' issue, and until the first click sees the last of them."""
        return self._channels + tracking.WRITE + 1

    def elaborate(self, platform) -> Module:
        m = Module()
        entry = self.i.payload
        clocks = Signal(range(self.start_up + 1))
        started, more = Signal(), Signal()
        # Channels of a turn that are still to be issued, less one.
        left = Signal(CHANNEL_BITS)

        m.d.comb += self.i.ready.eq(started & ~more)
        with m.If(~self.i_run):
            m.d.sync += [self.o_valid.eq(0), started.eq(0), more.eq(0), clocks.eq(0)]
        with m.Elif(~started):
            m.d.sync += [
                clocks.eq(clocks + 1),
                started.eq(clocks == self.start_up - 1),
                self.o_valid.eq(clocks < self._channels),
                self.o.channel.eq(clocks),
                self.o.reset.eq(1),
                self.o.turn.eq(1),
                self.o.time.eq(0),
            ]
        with m.Elif(more):
            m.d.sync += [self.o.channel.eq(self.o.channel + 1), left.eq(left - 1), more.eq(left != 0)]
        with m.Else():
            m.d.sync += [
                self.o_valid.eq(self.i.valid),
                self.o.reset.eq(0),
                self.o.turn.eq(entry.turn),
                self.o.time.eq(entry.time),
                self.o.channel.eq(Mux(entry.turn, 0, entry.channel)),
                self.o.port.eq(entry.port),
                self.o.reference.eq(entry.reference),
            ]
            if self._channels > 1:
                m.d.sync += [left.eq(self._channels - 2), more.eq(self.i.valid & entry.turn)]
        return m
