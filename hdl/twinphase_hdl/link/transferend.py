"""Where a USB transfer ends: a byte stream gets a mark on the last byte before a pause."""

from amaranth.hdl import Module, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .slip import FrameByte


class TransferEnd(wiring.Component):
    """Passes bytes on, each of them only when the next one is there or none has come for ``idle_clocks``: then it is marked ``last``.

    Whether a byte is the last is known only after it, so one is held back. What is marked ends a transfer, with a short packet or an
    empty one, and the host hands over what it has. A byte is also marked when ``transfer_clocks`` have passed since the first one
    behind the last mark: a host that asks for much at a time is not kept waiting by a stream that never pauses and never fills it.

    Members
    -------
    i : In(stream of 8 bits)
    o : Out(stream of FrameByte)

    Latency: 2 clocks from the next byte, or ``idle_clocks + 2``. Throughput: a byte per clock. Overflow: none, ``i`` waits. Raises
    ValueError unless ``1 <= idle_clocks <= transfer_clocks``.
    """

    def __init__(self, *, idle_clocks: int, transfer_clocks: int):
        if not 1 <= idle_clocks <= transfer_clocks:
            raise ValueError(
                f"transfer end: {idle_clocks} idle clocks and {transfer_clocks} in all; allowed: at least 1, and not less in all"
            )
        self._idle_clocks, self._transfer_clocks = idle_clocks, transfer_clocks
        super().__init__({"i": In(stream.Signature(unsigned(8))), "o": Out(stream.Signature(FrameByte))})

    def elaborate(self, platform):
        m = Module()
        held = Signal()
        byte = Signal(8)
        idle = Signal(range(self._idle_clocks + 1))
        lasted = Signal(range(self._transfer_clocks + 1))
        ends, free, moves = Signal(), Signal(), Signal()
        m.d.comb += [
            ends.eq((idle == self._idle_clocks) | (lasted == self._transfer_clocks)),
            free.eq(~self.o.valid | self.o.ready),
            moves.eq(held & free & (self.i.valid | ends)),
            self.i.ready.eq(~held | moves),
        ]
        with m.If(free):
            m.d.sync += self.o.valid.eq(moves)
        with m.If(moves):
            m.d.sync += [self.o.payload.data.eq(byte), self.o.payload.last.eq(ends), held.eq(0)]
        # A byte that cannot go on, or is followed by another, waits for no pause.
        with m.If(self.i.valid | ~held | moves):
            m.d.sync += idle.eq(0)
        with m.Elif(idle != self._idle_clocks):
            m.d.sync += idle.eq(idle + 1)
        with m.If(moves & ends):
            m.d.sync += lasted.eq(0)
        with m.Elif(lasted != self._transfer_clocks):
            m.d.sync += lasted.eq(lasted + (held | (lasted != 0)))
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [held.eq(1), byte.eq(self.i.payload)]
        return m
