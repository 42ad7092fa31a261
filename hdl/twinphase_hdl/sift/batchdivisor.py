"""The divisor of the herald code that follows the rate of heralds."""

from amaranth.hdl import C, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from twinphase_spec import frame, herald_code


class BatchDivisor(wiring.Component):
    """Divisor byte in force for a packet whose first herald is h: with ``j = (h - SETTLE) div BATCH``::

        D = min(n_(BATCH j) - n_(BATCH (j-1)), 2^40 - 1);   c = max(1, (177 D + 2^14) >> 16)
        E = bits of c, less one;   f = ((c << 3) >> E) - 8

    and ``i_divisor`` while two batches' starts, and SETTLE more heralds, have not come since the numbers began anew.

    Members
    -------
    i_taken : In(1) - strobe: the herald of the other inputs has come; they keep it until the next one comes.
    i_number, i_pulse, i_restart : In(32), In(56), In(1) - a herald; whether its number does not follow the one before.
    i_settled : In(1) - ``i_number mod BATCH = SETTLE``.
    i_divisor : In(8)
    o : Out(8) - byte of a packet that begins with this herald.
    o_idle : Out(1)

    Latency: a batch's divisor is there 12 clocks after ``i_taken`` of its herald, four before the first that may use it.
    Throughput: a herald per clock. Overflow: D saturates. Source: docs/heralds.md.
    """

    i_taken: In(1)
    i_number: In(32)
    i_pulse: In(frame.PULSE_BITS)
    i_restart: In(1)
    i_settled: In(1)
    i_divisor: In(8)
    o: Out(8)
    o_idle: Out(1)

    def elaborate(self, platform) -> Module:
        m = Module()
        batch_bits, bits = (herald_code.BATCH - 1).bit_length(), herald_code.SPAN_BITS
        start = Signal(frame.PULSE_BITS)
        """Pulse of the batch's first herald."""
        started, complete = Signal(), Signal()
        """A batch's start, and another one, have come."""
        made, known = Signal(8), Signal()
        """Of the last complete batch."""
        force = Signal(8)
        boundary = ~self.i_number[:batch_bits].any()
        m.d.comb += self.o.eq(
            Mux(self.i_restart, self.i_divisor, Mux(self.i_settled & complete, made, Mux(known, force, self.i_divisor)))
        )
        begin, span = Signal(), Signal(frame.PULSE_BITS)
        m.d.sync += begin.eq(0)
        with m.If(self.i_taken):
            with m.If(boundary):
                m.d.sync += [start.eq(self.i_pulse), span.eq(self.i_pulse - start), begin.eq(1)]
            with m.If(self.i_restart):
                m.d.sync += [started.eq(boundary), complete.eq(0), known.eq(0)]
            with m.Else():
                with m.If(boundary):
                    m.d.sync += [started.eq(1), complete.eq(started)]
                with m.If(self.i_settled & complete):
                    m.d.sync += [force.eq(made), known.eq(1)]

        # One step per clock: saturated, its multiples, 177 D, rounded, c, then c moved up to its highest bit in five steps.
        shifts = [1 << k for k in reversed(range(herald_code.EXPONENT_BITS))]
        steps = Signal(5 + len(shifts))
        m.d.sync += steps.eq((steps << 1) | begin)
        limited = Signal(bits)
        by_17, by_5 = Signal(bits + 5), Signal(bits + 3)
        product, rounded = Signal(bits + 8), Signal(bits + 8)
        m.d.sync += [
            limited.eq(Mux(span[bits:].any(), C(-1, bits), span[:bits])),
            by_17.eq(limited + (limited << 4)),
            by_5.eq(limited + (limited << 2)),
            product.eq(by_17 + (by_5 << 5)),  # 17 + 160 = LN2_NUMERATOR
            rounded.eq(product + herald_code.QUARTER),
        ]
        c = Signal(32)
        exponent = Signal(herald_code.EXPONENT_BITS)
        with m.If(steps[4]):
            m.d.sync += [c.eq(rounded >> herald_code.LN2_SHIFT), exponent.eq(-1)]
        for k, shift in enumerate(shifts):
            with m.If(steps[5 + k] & ~c[32 - shift :].any()):
                m.d.sync += [c.eq(c << shift), exponent[(shift - 1).bit_length()].eq(0)]
        # c = 0 stands for 1: its exponent has become 0, as that of 1 does.
        m.d.comb += made.eq((exponent << herald_code.FRACTION_BITS) | c[28:31])
        m.d.comb += self.o_idle.eq(~(self.i_taken | begin | steps.any()))
        return m
