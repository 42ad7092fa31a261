"""A level on one pin, by the density of its ones."""

from amaranth.hdl import C, Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from twinphase_spec import actuator

ORDERS = (1, 2)
_HEADROOM_BITS = 5
"""Of v beyond the level, its sign included: it is within -+16 scales where it is set back at 8."""


class SigmaDelta(wiring.Component):
    """One bit per clock whose mean is ``level / 2^bits``, with an error ``e_n = v_n - o_n 2^bits``::

        first order    v_n = level + e_(n-1)                   o_n = v_n >= 2^bits
        second order   v_n = level + 2 e_(n-1) - e_(n-2)       o_n = v_n >= 2^(bits - 1), level clamped to 3/16 .. 13/16 of the scale

    The sum of what has gone in, less that of what came out, is an error (first order) or the difference of two (second), so that the
    mean is exact. The errors' noise is shaped by ``(1 - z^-1)^order``: if they were white, the rms of what passes an ideal low-pass
    of ``clock / (2 OSR)`` would be, in units of the scale, ``pi^order / sqrt(12 (2 order + 1)) OSR^-(order + 1/2)``:
    ``0.524 OSR^-1.5`` and ``1.274 OSR^-2.5``. Slow levels leave about half of that in first order, and up to 1.8 times in second,
    whose errors are more than half a scale.

    Parameters
    ----------
    order : int
        1 or 2.
    bits : int
        Of the level, 4 and more.

    Members
    -------
    i : In(bits)
    o : Out(1)

    Latency: `latency` clocks from a level to a bit that knows it. Throughput: a level per clock. Overflow: a level that jumps
    in step with the second order's errors can pump them up; a v beyond 8 scales sets both errors back to 0, and two bits are 0.
    Source: J. C. Candy, IEEE Trans. Commun. 33 (1985) 249.
    """

    def __init__(self, *, order: int, bits: int = 16) -> None:
        if order not in ORDERS:
            raise ValueError(f"SigmaDelta: order is {order}; allowed: 1 or 2")
        if bits < actuator.CLAMP_BITS:
            raise ValueError(f"SigmaDelta: bits is {bits}; allowed: {actuator.CLAMP_BITS} and more")
        self._order, self._bits = order, bits
        super().__init__({"i": In(bits), "o": Out(1)})

    @property
    def latency(self) -> int:
        """The sum; in second order clamp, difference, sum and bit."""
        return 1 if self._order == 1 else 4

    def elaborate(self, platform) -> Module:
        m = Module()
        if self._order == 1:
            error = Signal(self._bits)
            m.d.sync += Cat(error, self.o).eq(self.i + error)
        else:
            self._second_order(m)
        return m

    def _second_order(self, m: Module) -> None:
        bits = self._bits
        coarse = self.i[bits - actuator.CLAMP_BITS :]
        low, high = (C(end << bits - actuator.CLAMP_BITS, bits) for end in (actuator.CLAMP_LOW, actuator.CLAMP_HIGH))
        level = Signal(bits)
        m.d.sync += level.eq(Mux(coarse < actuator.CLAMP_LOW, low, Mux(coarse >= actuator.CLAMP_HIGH, high, self.i)))
        # v_(n+1) = t + 2 (v - o 2^bits), t = level_(n+1) - e_(n-1): what a bit takes away comes in behind the long sums.
        v, t = Signal(signed(bits + _HEADROOM_BITS)), Signal(signed(bits + _HEADROOM_BITS))
        next_v, next_t = Signal.like(v), Signal.like(t)
        one = ~v[-1] & v[bits - 1 :].any()
        far = v[-1] ^ v[-2]
        m.d.comb += [next_v.eq(t + (v << 1)), next_t.eq(level - v)]
        m.d.sync += [
            self.o.eq(one),
            v.eq(Cat(next_v[: bits + 1], next_v[bits + 1 :] - one)),
            t.eq(Cat(next_t[:bits], next_t[bits:] + one)),
        ]
        with m.If(far):
            m.d.sync += [v.eq(0), t.eq(0)]
