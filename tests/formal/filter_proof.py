"""A `Filter` decides every tag that comes once and in their order: it leaves unchanged, or one strobe says that it was left out.

From reset, for any times (rising, of one epoch), channels, masks that change at will, windows, bounds and pauses behind it; two channels,
a lookahead of four tags. Tags have a number, which is in their time. Which of them pass is not proven here: the model says that.
"""

from amaranth.hdl import Array, Assert, Assume, Cat, Const, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from twinphase_hdl.timetag.filter import Filter
from twinphase_hdl.timetag.gate import Gate

NUMBER_BITS = 5


class FilterProof(wiring.Component):
    valid: In(1)
    late: In(1)
    channel: In(1)
    bound: In(NUMBER_BITS + 1)
    none_before: In(1)
    mask_write: In(1)
    mask_address: In(1)
    mask: In(2)
    window: In(3)
    ready: In(1)

    def __init__(self, filter_: Filter | None = None):
        super().__init__()
        self.filter = Filter(channels=2, depth=4) if filter_ is None else filter_

    def elaborate(self, platform):
        m = Module()
        m.submodules.filter = dut = self.filter
        came, decided = Signal(NUMBER_BITS), Signal(NUMBER_BITS)
        time = Cat(self.late, came)
        rooms = Signal(Gate.latency)  # what the gate holds may still come when there is no room
        m.d.sync += rooms.eq(Cat(dut.o_room, rooms))
        m.d.comb += [
            Assume(~self.valid | rooms[-1]),
            Assume(~self.none_before | (self.bound <= Cat(Const(0, 1), came))),
            dut.i_valid.eq(self.valid),
            dut.i.time.eq(time),
            dut.i.channel.eq(self.channel),
            dut.i_bound.eq(self.bound),
            dut.i_none_before.eq(self.none_before),
            dut.filter_mask.enable.eq(self.mask_write),
            dut.filter_mask.address.eq(self.mask_address),
            dut.filter_mask.data.eq(self.mask),
            dut.i_window.eq(self.window),
            dut.o.ready.eq(self.ready),
        ]
        tags = Array(Signal(2, name=f"tag_{number}") for number in range(1 << NUMBER_BITS))
        with m.If(self.valid):
            m.d.sync += [came.eq(came + 1), tags[came].eq(Cat(self.late, self.channel))]

        # What was decided in the clock before: a tag has come to the output, or the strobe is there.
        moved, before = Signal(init=1), Signal(NUMBER_BITS + 2)
        now = Cat(dut.o.payload.time[: NUMBER_BITS + 1], dut.o.payload.channel[0])
        sent = dut.o.valid & moved
        m.d.sync += [moved.eq(~dut.o.valid | dut.o.ready), before.eq(now), decided.eq(decided + sent + dut.o_filtered)]
        late, channel = tags[decided][0], tags[decided][1]
        there = decided != came
        m.d.comb += [
            Assert(~(sent & dut.o_filtered), "one at a time"),
            Assert(~dut.o_filtered | (there & (dut.o_filtered_channel == channel)), "left out: the next one"),
            Assert(~sent | (there & (now == Cat(late, decided, channel))), "sent: the next one"),
            Assert(~sent | ~Cat(dut.o.payload.time[NUMBER_BITS + 1 :], dut.o.payload.channel[1:]).any(), "unchanged"),
            Assert(moved | (dut.o.valid & (now == before)), "holds"),
            Assert(~dut.o_idle | ~there, "none is left when it says so"),
        ]
        return m
