"""Frames in a byte stream (RFC 1055): SLIP_END before and after each, the two special bytes escaped."""

from amaranth.hdl import Module, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from twinphase_spec.packets import SLIP_END, SLIP_ESC, SLIP_ESC_END, SLIP_ESC_ESC


class FrameByte(data.Struct):
    """A byte of a frame; ``last`` on its last byte (`SlipEncoder`), or after it with no byte (`SlipDecoder`)."""

    data: 8
    last: 1


class SlipEncoder(wiring.Component):
    """Frames to bytes.

    Members
    -------
    i : In(stream of FrameByte), ``last`` with the last byte.
    o : Out(stream of 8 bits)

    ``settled``: a byte is there a clock before ``i.valid``, so that what it is can be known from a register.

    Latency: 1 byte. Throughput: a byte per clock, two for an escaped one. Overflow: none, ``i`` waits.
    """

    def __init__(self, *, settled: bool = False):
        self._settled = settled
        super().__init__({"i": In(stream.Signature(FrameByte)), "o": Out(stream.Signature(unsigned(8)))})

    def elaborate(self, platform):
        m = Module()
        special = (self.i.payload.data == SLIP_END) | (self.i.payload.data == SLIP_ESC)
        if self._settled:
            is_special = Signal()
            m.d.sync += is_special.eq(special)
            special = is_special
        following = Signal.like(self.o.payload)
        m.d.comb += following.eq(self.i.payload.data)
        done = self.o.valid & self.o.ready
        with m.FSM():
            with m.State("START"):
                m.d.comb += [self.o.valid.eq(self.i.valid), self.o.payload.eq(SLIP_END)]
                with m.If(done):
                    m.next = "DATA"
            with m.State("DATA"):
                m.d.comb += [
                    self.o.valid.eq(self.i.valid),
                    self.o.payload.eq(self.i.payload.data),
                    self.i.ready.eq(self.o.ready & ~special),
                ]
                with m.If(special):
                    m.d.comb += self.o.payload.eq(SLIP_ESC)
                with m.If(done):
                    with m.If(special):
                        m.next = "ESCAPED"
                    with m.Elif(self.i.payload.last):
                        m.next = "END"
            with m.State("ESCAPED"):
                m.d.comb += [self.o.valid.eq(1), self.o.payload.eq(SLIP_ESC_ESC), self.i.ready.eq(self.o.ready)]
                with m.If(self.i.payload.data == SLIP_END):
                    m.d.comb += self.o.payload.eq(SLIP_ESC_END)
                with m.If(done):
                    m.next = "DATA"
                    with m.If(self.i.payload.last):
                        m.next = "END"
            with m.State("END"):
                m.d.comb += [self.o.valid.eq(1), self.o.payload.eq(SLIP_END)]
                with m.If(done):
                    m.next = "START"
        return m


class SlipDecoder(wiring.Component):
    """Bytes to frames. Bytes before the first SLIP_END form a frame too (its checksum tells what it is worth).

    Members
    -------
    i : In(stream of 8 bits, always ready)
    o : Out(stream of FrameByte, always ready) - ``last``: no byte, the frame has ended; empty frames have only that.

    Latency: 1 clock. Throughput: a byte per clock. Overflow: none. A SLIP_ESC before neither SLIP_ESC_END nor SLIP_ESC_ESC is
    left out, and what follows is taken as it stands: a SLIP_END ends the frame, a SLIP_ESC escapes anew.
    """

    i: In(stream.Signature(unsigned(8), always_ready=True))
    o: Out(stream.Signature(FrameByte, always_ready=True))

    def elaborate(self, platform):
        m = Module()
        escaped = Signal()
        m.d.sync += self.o.valid.eq(0)
        with m.If(self.i.valid):
            m.d.sync += [
                escaped.eq(self.i.payload == SLIP_ESC),
                self.o.valid.eq(self.i.payload != SLIP_ESC),
                self.o.payload.last.eq(self.i.payload == SLIP_END),
                self.o.payload.data.eq(self.i.payload),
            ]
            with m.If(escaped & (self.i.payload == SLIP_ESC_END)):
                m.d.sync += self.o.payload.data.eq(SLIP_END)
            with m.If(escaped & (self.i.payload == SLIP_ESC_ESC)):
                m.d.sync += self.o.payload.data.eq(SLIP_ESC)
        return m
