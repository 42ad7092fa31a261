"""Which tags are sent on: gates, time window and conditional filter."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.timetag.epochs import Epochs
from twinphase_hdl.timetag.filter import Filter
from twinphase_hdl.timetag.gate import AGE_BITS, Gate, WritePort
from twinphase_hdl.types import CHANNEL_BITS, Tag
from twinphase_spec import tagger, units


class Selector(wiring.Component):
    """`Gate`, then `Filter`: every tag either leaves in order, or is counted by one of two strobes.

    Parameters
    ----------
    channels : int
        1 to 32. Bits of masks beyond them are not kept.
    depth : int
        Of the filter's lookahead; smaller ones are for proofs and tests.

    Members
    -------
    i : stream of Tag
        In the order of time. ``ready`` comes from a register.
    i_bound : ORDER_BITS, ticks
        No tag that has not been transferred at ``i`` before this clock is below it. It must rise in silence for the filter to decide; it
        may stand still, and lie behind any tag.
    gate_table, gate_from, gate_to, filter_mask : write ports (enable, address, data) of 8, 28, 28, 32 bits
        A word per channel; a word counts for tags transferred from the next clock on, a mask also for tags inside.
    i_filter_window : 22, ticks
    i_window_from, i_window_until, i_window_enable : 64, 64, channels
    o : stream of Tag
    o_epochs : Epochs, with ``o``
    o_gated, o_gated_channel, o_filtered, o_filtered_channel : 1, 6, 1, 6
        Strobes: a tag was left out.
    o_idle : 1
        No tag inside.

    Latency: `latency` = 6 clocks while no tag waits in the filter. Throughput: one tag per clock; while tags wait in the filter at
    least one in four clocks. Overflow: none, ``i`` waits.
    """

    latency = Gate.latency + Filter.latency

    def __init__(self, *, channels: int, depth: int = tagger.FILTER_DEPTH):
        if not 1 <= channels <= tagger.MAX_CHANNELS:
            raise ValueError(f"Selector: channels is {channels}; allowed: 1 to {tagger.MAX_CHANNELS}")
        super().__init__(
            {
                "i": In(stream.Signature(Tag)),
                "i_bound": In(tagger.ORDER_BITS),
                "gate_table": In(WritePort(8)),
                "gate_from": In(WritePort(tagger.GATE_BITS)),
                "gate_to": In(WritePort(tagger.GATE_BITS)),
                "filter_mask": In(WritePort(32)),
                "i_filter_window": In(tagger.FILTER_WINDOW_BITS),
                "i_window_from": In(units.TIME_BITS),
                "i_window_until": In(units.TIME_BITS),
                "i_window_enable": In(channels),
                "o": Out(stream.Signature(Tag)),
                "o_epochs": Out(Epochs),
                "o_gated": Out(1),
                "o_gated_channel": Out(CHANNEL_BITS),
                "o_filtered": Out(1),
                "o_filtered_channel": Out(CHANNEL_BITS),
                "o_idle": Out(1),
            }
        )
        self.gate = Gate(channels=channels)
        self.filter = Filter(channels=channels, depth=depth)

    def elaborate(self, platform):
        m = Module()
        m.submodules.gate = gate = self.gate
        m.submodules.filter = filter_ = self.filter
        for name in ("gate_table", "gate_from", "gate_to"):
            wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(gate, name))
        wiring.connect(m, filter_.o, wiring.flipped(self.o))
        bound = Signal(AGE_BITS)
        none_before = Signal()
        m.d.sync += [bound.eq(self.i_bound), none_before.eq(gate.o_idle & ~gate.i_valid)]
        m.d.comb += [
            self.i.ready.eq(filter_.o_room),
            gate.i_valid.eq(self.i.valid & self.i.ready),
            gate.i.eq(self.i.payload),
            gate.i_window_from.eq(self.i_window_from),
            gate.i_window_until.eq(self.i_window_until),
            gate.i_window_enable.eq(self.i_window_enable),
            filter_.i_valid.eq(gate.o_passed),
            filter_.i.eq(gate.o),
            filter_.i_epochs.eq(gate.o_epochs),
            filter_.i_bound.eq(bound),
            filter_.i_none_before.eq(none_before),
            filter_.filter_mask.enable.eq(self.filter_mask.enable),
            filter_.filter_mask.address.eq(self.filter_mask.address),
            filter_.filter_mask.data.eq(self.filter_mask.data),
            filter_.i_window.eq(self.i_filter_window),
            self.o_epochs.eq(filter_.o_epochs),
            self.o_filtered.eq(filter_.o_filtered),
            self.o_filtered_channel.eq(filter_.o_filtered_channel),
            self.o_idle.eq(gate.o_idle & filter_.o_idle & ~self.o_gated),
        ]
        # Registered, as the counters may be anywhere on the die.
        m.d.sync += [self.o_gated.eq(gate.o_gated), self.o_gated_channel.eq(gate.o.channel)]
        return m
