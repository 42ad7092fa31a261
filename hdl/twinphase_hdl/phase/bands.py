"""The click tracker of a pair's two bands, with its configuration, its nodes, its records and its events."""

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from twinphase_hdl.phase.clickconfig import ChannelWords
from twinphase_hdl.phase.clickepoch import CHOICE_BITS
from twinphase_hdl.phase.clickqueue import ClickEntry
from twinphase_hdl.phase.clicktracker import ClickPhase, ClickTracker
from twinphase_hdl.phase.nodes import PhaseNodes
from twinphase_hdl.phase.trackevents import EVENTS, TrackEvents
from twinphase_hdl.types import PhaseNode, record_words
from twinphase_spec import fixed, smoothing, units
from twinphase_spec.packets import Stream

CHANNELS = len(smoothing.CHANNELS)


class BandTracker(wiring.Component):
    """`ClickTracker` of two channels, `PhaseNodes` and `TrackEvents`. While i_run is 0, the channels' words are written in turn, one per
    clock.

    Members
    -------
    i_run, i_epoch_bits : In(1), In(5)
    i_words : In(ArrayLayout(ChannelWords, 2))
        Configuration of each channel; its ``channel`` does not count. It stands still from two clocks before i_run rises.
    i : In(stream of ClickEntry)
    i_ratio, i_every, i_applied : In(signed(32)), In(4), In(16)
        See `PhaseNodes`.
    o, o_valid : Out(ClickPhase), Out(1)
        State after each click and turn.
    o_node, o_node_valid : Out(PhaseNode), Out(1)
    o_record, o_lost : Out(stream of TRACK record words), Out(1)
    o_events, o_locked : Out(10), Out(2)
        See `TrackEvents`.
    o_idle : Out(1)
        Nothing is under way.

    Latency: `latency` clocks from an entry to ``o``, of a turn `node_latency` to its node; `start_up` clocks from i_run to i.ready.
    Throughput: an event per clock. Overflow: see the parts.
    Source: docs/tracking.md, docs/phase.md.
    """

    i_run: In(1)
    i_epoch_bits: In(CHOICE_BITS)
    i_words: In(data.ArrayLayout(ChannelWords, CHANNELS))
    i: In(stream.Signature(ClickEntry))
    i_ratio: In(signed(fixed.RATIO_FRACTION_BITS))
    i_every: In(smoothing.EVERY_BITS)
    i_applied: In(units.TURN_BITS)
    o: Out(ClickPhase)
    o_valid: Out(1)
    o_node: Out(PhaseNode)
    o_node_valid: Out(1)
    o_record: Out(stream.Signature(record_words(Stream.TRACK)))
    o_lost: Out(1)
    o_events: Out(len(EVENTS) * CHANNELS)
    o_locked: Out(CHANNELS)
    o_idle: Out(1)

    def __init__(self) -> None:
        self._tracker = ClickTracker(channels=CHANNELS)
        self._nodes = PhaseNodes()
        super().__init__()

    @property
    def latency(self) -> int:
        """Clocks from an entry to the state after it."""
        return self._tracker.latency

    @property
    def node_latency(self) -> int:
        """Clocks from a turn's entry to the node of channel 0; that of channel 1 is a clock later."""
        return self._tracker.latency + self._nodes.latency

    @property
    def start_up(self) -> int:
        """Clocks from i_run to i.ready."""
        return self._tracker.start_up

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.tracker = tracker = self._tracker
        m.submodules.nodes = nodes = self._nodes
        m.submodules.events = events = TrackEvents()
        connect(m, flipped(self.i), tracker.i)
        connect(m, nodes.o_record, flipped(self.o_record))

        which = Signal(range(CHANNELS))
        words = Signal(ChannelWords, reset_less=True)
        writes = Signal()
        m.d.sync += [
            *(which.eq(~which), writes.eq(~self.i_run)),
            *(words.eq(self.i_words[which]), words.channel.eq(which)),
        ]
        m.d.comb += [
            tracker.i_run.eq(self.i_run),
            tracker.i_epoch_bits.eq(self.i_epoch_bits),
            tracker.i_config.eq(words),
            tracker.i_config_valid.eq(writes),
            *(nodes.i.eq(tracker.o), nodes.i_valid.eq(tracker.o_valid)),
            *(self.o.eq(tracker.o), self.o_valid.eq(tracker.o_valid)),
            *(events.i.eq(tracker.o), events.i_valid.eq(tracker.o_valid), events.i_run.eq(self.i_run)),
            *(self.o_events.eq(events.o_events), self.o_locked.eq(events.o_locked)),
            *(getattr(nodes, f"i_{name}").eq(getattr(self, f"i_{name}")) for name in ("run", "ratio", "epoch_bits")),
            *(nodes.i_every.eq(self.i_every), nodes.i_applied.eq(self.i_applied)),
            *(self.o_node.eq(nodes.o), self.o_node_valid.eq(nodes.o_valid), self.o_lost.eq(nodes.o_lost)),
        ]

        # What is under way in the tracker: the resets when it starts, then everything from an entry's transfer to its last output.
        entry = tracker.latency + CHANNELS
        longest = tracker.start_up + entry
        left = Signal(range(longest + 1), init=longest)
        with m.If(~self.i_run):
            m.d.sync += left.eq(longest)
        with m.Elif(self.i.valid & self.i.ready):
            m.d.sync += left.eq(entry)
        with m.Elif(left != 0):
            m.d.sync += left.eq(left - 1)
        m.d.comb += self.o_idle.eq(nodes.o_idle & events.o_idle & ~self.i.valid & ~(self.i_run & (left != 0)))
        return m
