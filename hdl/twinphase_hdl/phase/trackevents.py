"""What the click tracker's channels find and lose: strobes for counters, and which have a phase."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.phase.clicktracker import ClickPhase
from twinphase_spec import smoothing, tracking

CHANNELS = len(smoothing.CHANNELS)
EVENTS = ("starts", "lost", "faded", "jumps", "unlocked")
"""Of a channel, in this order."""


class TrackEvents(wiring.Component):
    """Tells events from the outputs of a `ClickTracker` of two channels, L and b being locked and broke, L' and b' those of the channel's
    output before (b' = 0 after a turn)::

        starts = STARTING;  lost = TURN, L' and not L;  faded = click, L' and not L
        jumps  = L' and L and not b' and b, not STARTING;  unlocked = TURN and not L

    Members
    -------
    i_run : In(1) - 0 forgets L', b' and what is under way.
    i, i_valid : In(ClickPhase), In(1) - of the tracker.
    o_events : Out(10) - strobes of EVENTS, of channel 0 first.
    o_locked : Out(2) - L of each channel's last output.
    o_idle : Out(1)

    Latency: `latency` clocks from an output to its strobes and to o_locked, which change together. Throughput: an output per clock.
    Overflow: none.
    Source: docs/phase.md, events.
    """

    i_run: In(1)
    i: In(ClickPhase)
    i_valid: In(1)
    o_events: Out(len(EVENTS) * CHANNELS)
    o_locked: Out(CHANNELS)
    o_idle: Out(1)

    latency = 2
    """Clocks: taken, told."""

    def elaborate(self, platform) -> Module:
        m = Module()
        came = Signal(CHANNELS)
        turn, starting, locked, broke = Signal(), Signal(), Signal(), Signal()
        m.d.sync += [
            *(came[c].eq(self.i_valid & self.i_run & (self.i.channel[0] == c)) for c in range(CHANNELS)),
            *(turn.eq(self.i.kind == tracking.TURN), starting.eq(self.i.kind == tracking.STARTING)),
            *(locked.eq(self.i.locked), broke.eq(self.i.broke)),
        ]
        m.d.sync += self.o_events.eq(0)
        for c in range(CHANNELS):
            was_locked, was_broke = self.o_locked[c], Signal(name=f"was_broke_{c}")
            gone = was_locked & ~locked
            events = {
                "starts": starting,
                "lost": turn & gone,
                "faded": ~turn & gone,
                "jumps": was_locked & locked & ~was_broke & broke & ~starting,
                "unlocked": turn & ~locked,
            }
            with m.If(came[c]):
                m.d.sync += [
                    *(was_locked.eq(locked), was_broke.eq(broke & ~turn)),
                    *(self.o_events[len(EVENTS) * c + k].eq(events[name]) for k, name in enumerate(EVENTS)),
                ]
            with m.If(~self.i_run):
                m.d.sync += was_broke.eq(0)
        with m.If(~self.i_run):
            m.d.sync += [v.eq(0) for v in (came, self.o_events, self.o_locked)]
        m.d.comb += self.o_idle.eq(~(self.i_valid | came.any() | self.o_events.any()))
        return m
