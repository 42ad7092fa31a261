"""The reference phase carried to the quantum wavelength."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from twinphase_spec import fixed, units

RATIO_BITS = fixed.RATIO_FRACTION_BITS
SCALING_LATENCY = RATIO_BITS + 1
"""Clocks from request to result: the request and one clock per bit of C."""


class ScaleRequest(data.Struct):
    """Unwrapped phase U in 2^-16 turn and C = nu_q / nu_r - 1 in 2^-32."""

    unwrapped: signed(fixed.UNWRAPPED_BITS)
    ratio: signed(RATIO_BITS)


class PhaseScaler(wiring.Component):
    """``psi = (U + ((U * C) >> 32)) mod 2^16``, U and C signed, arithmetic shift of the full product.

    Only product bits 32 to 47 reach the result, so that a product modulo 2^48 is exact. It is summed bit by bit of C, top
    bit first, as if C were unsigned; a negative C is less than that by 2^32, the result by U.

    Members
    -------
    i : In(stream of ScaleRequest)
    o : Out(stream of unsigned(16))
        2^-16 turn.

    Latency: `latency` clocks from the transfer of i to o.valid. Throughput: one request at a time. Overflow: none; phases wrap.
    """

    i: In(stream.Signature(ScaleRequest))
    o: Out(stream.Signature(units.TURN_BITS))

    @property
    def latency(self) -> int:
        """SCALING_LATENCY."""
        return SCALING_LATENCY

    def elaborate(self, platform) -> Module:
        m = Module()
        unwrapped = Signal(signed(fixed.UNWRAPPED_BITS))
        ratio = Signal(RATIO_BITS)
        product = Signal(fixed.UNWRAPPED_BITS)
        bit = Signal(range(RATIO_BITS))
        negative = Signal()
        busy, done = Signal(), Signal()

        m.d.comb += [
            self.i.ready.eq(~busy & ~done),
            self.o.valid.eq(done),
            self.o.payload.eq(Mux(negative, 0, unwrapped) + (product >> fixed.RATIO_FRACTION_BITS)),
        ]
        # While nothing is under way the registers follow the input: a request moves one of them only.
        with m.If(busy):
            m.d.sync += [
                ratio.eq(ratio << 1),
                bit.eq(bit - 1),
                product.eq((product << 1) + Mux(ratio[-1], unwrapped, 0)),
            ]
            with m.If(bit == 0):
                m.d.sync += [busy.eq(0), done.eq(1)]
        with m.Elif(~done):
            m.d.sync += [
                unwrapped.eq(self.i.payload.unwrapped),
                ratio.eq(self.i.payload.ratio),
                negative.eq(self.i.payload.ratio < 0),
                product.eq(0),
                bit.eq(RATIO_BITS - 1),
                busy.eq(self.i.valid),
            ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += done.eq(0)
        return m
