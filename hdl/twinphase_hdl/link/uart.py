"""Bytes on a wire: 8 data bits, no parity, one stop bit, lowest bit first."""

from amaranth.hdl import Cat, Const, Module, Signal, unsigned
from amaranth.lib import cdc, stream, wiring
from amaranth.lib.wiring import In, Out

MIN_DIVISOR = 4
BITS = 10
"""Start bit, data, stop bit."""


def _check(divisor: int) -> None:
    if divisor < MIN_DIVISOR:
        raise ValueError(f"uart: divisor is {divisor} clocks per bit; allowed: {MIN_DIVISOR} and more")


class UartTransmitter(wiring.Component):
    """Sends bytes at ``clock / divisor`` bit/s.

    Members
    -------
    i : In(stream of 8 bits)
    o : Out(1) - the line, high when idle.

    Latency: 1 clock to the start bit. Throughput: a byte in 10 divisor clocks. Overflow: none, ``i`` waits.
    """

    def __init__(self, *, divisor: int):
        _check(divisor)
        self._divisor = divisor
        super().__init__({"i": In(stream.Signature(8)), "o": Out(1, init=1)})

    def elaborate(self, platform):
        m = Module()
        bits = Signal(BITS, init=(1 << BITS) - 1)
        left = Signal(range(BITS + 1))
        timer = Signal(range(self._divisor))
        m.d.comb += [self.o.eq(bits[0]), self.i.ready.eq(left == 0)]
        with m.If(left == 0), m.If(self.i.valid):
            m.d.sync += [
                bits.eq(Cat(Const(0, 1), self.i.payload, Const(1, 1))),
                left.eq(BITS),
                timer.eq(self._divisor - 1),
            ]
        with m.Elif(timer != 0):
            m.d.sync += timer.eq(timer - 1)
        with m.Else():
            m.d.sync += [bits.eq(Cat(bits[1:], Const(1, 1))), left.eq(left - 1), timer.eq(self._divisor - 1)]
        return m


class UartReceiver(wiring.Component):
    """Takes bytes off the line, sampling each bit in its middle; a byte without stop bit is ignored.

    Members
    -------
    i : In(1) - the line, not synchronous.
    o : Out(stream of 8 bits, always ready)

    Latency: 9.5 bits and 3 clocks from the start edge. Throughput: that of the line. Overflow: the reader must keep up.
    """

    def __init__(self, *, divisor: int):
        _check(divisor)
        self._divisor = divisor
        super().__init__({"i": In(1, init=1), "o": Out(stream.Signature(unsigned(8), always_ready=True))})

    def elaborate(self, platform):
        m = Module()
        line = Signal(init=1)
        m.submodules.synchronizer = cdc.FFSynchronizer(self.i, line, init=1)
        bits = Signal(BITS)
        left = Signal(range(BITS + 1))
        timer = Signal(range(self._divisor))
        m.d.sync += self.o.valid.eq(0)
        with m.If(left == 0), m.If(~line):
            m.d.sync += [left.eq(BITS), timer.eq(self._divisor // 2 - 1)]
        with m.Elif(timer != 0):
            m.d.sync += timer.eq(timer - 1)
        with m.Else():
            m.d.sync += [bits.eq(Cat(bits[1:], line)), left.eq(left - 1), timer.eq(self._divisor - 1)]
            with m.If((left == BITS) & line):
                # A start bit that is over in its middle was none.
                m.d.sync += left.eq(0)
            with m.If(left == 1):
                m.d.sync += [self.o.valid.eq(line), self.o.payload.eq(bits[2:])]
        return m
