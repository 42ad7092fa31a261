"""Every n-th edge."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .sizes import Sizes


class Divider(wiring.Component):
    """Of the edges every ``i_divider``-th passes, beginning with the first after reset or restart; 0 and 1: all.

    Members
    -------
    i_edge, i_time, i_absent : 1, order_bits, 1
        The slot behind the dead time.
    i_divider : divider_bits
    i_restart : 1
        The count starts again (strobe, together with the change of ``i_divider`` or after it): the next edge passes.
    o_tag, o_time, o_absent : 1, order_bits, 1
        The slot. Without a tag its time is the beginning of its clock.
    o_divided : 1
        Strobe: the slot's edge was left out.

    Latency: 1 clock. Throughput: one edge per clock.
    """

    latency = 1

    def __init__(self, *, sizes: Sizes):
        super().__init__(
            {
                "i_edge": In(1),
                "i_time": In(sizes.order_bits),
                "i_absent": In(1),
                "i_divider": In(sizes.divider_bits),
                "i_restart": In(1),
                "o_tag": Out(1),
                "o_time": Out(sizes.order_bits),
                "o_absent": Out(1),
                "o_divided": Out(1),
            }
        )
        self._fine_bits = sizes.fine_bits
        # State, here so that a proof can speak of it.
        self.number = Signal(sizes.divider_bits, init=2)  # of the next edge; 1 is that which passes
        self.passes = Signal(init=1)

    def elaborate(self, platform):
        m = Module()
        all_pass = Signal()
        m.d.sync += all_pass.eq(~self.i_divider[1:].any())
        with m.If(self.i_edge):
            m.d.sync += [
                self.number.eq(self.number + 1),
                self.passes.eq(Mux(self.passes, all_pass, self.number == self.i_divider)),
            ]
            with m.If(self.passes):
                m.d.sync += self.number.eq(2)
        with m.If(self.i_restart):
            m.d.sync += self.passes.eq(1)
        tag = self.i_edge & self.passes
        m.d.sync += [
            self.o_tag.eq(tag),
            self.o_divided.eq(self.i_edge & ~self.passes),
            self.o_time.eq(self.i_time),
            self.o_absent.eq(self.i_absent),
        ]
        with m.If(~tag):
            m.d.sync += self.o_time[: self._fine_bits].eq(0)
        return m
