"""Target words carried to the wavelength that the modulator acts on."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.drive.types import Target
from twinphase_spec import actuator

_HALF = 16
"""Bits of a factor: one multiplier of 16 by 16 makes the product, lowest column first."""
_PRODUCTS = 7
"""Products of halves that reach the lowest 64 bits of the product."""
LATENCY = 5 + _PRODUCTS


class TargetScale(wiring.Component):
    """``o_phase = (U + ((U C) >> 32)) mod 2^32``, U signed 64, C signed 32; the rest of U + U C / 2^32 are whole turns.

    As if C were unsigned; a negative C is less than that by 2^32, the result by U.

    Members
    -------
    i, i_valid : In(Target), In(1)
        A word, at most one per clock. It waits until the multiplier is free, unless a newer one takes its place.
    i_ratio : In(signed(32))
        C, taken with the word.
    o_phase, o_locked, o_valid : Out(32), Out(1), Out(1)
        Fraction of a turn in 2^-32, for one clock.
    o_idle : Out(1)
        No word is there or on its way.

    Latency: `latency` clocks for a word that need not wait, up to `SCALE_PERIOD` - 1 more. Throughput: every word at one per
    SCALE_PERIOD clocks; of more, the newest. Overflow: none; phases wrap.
    """

    i: In(Target)
    i_valid: In(1)
    i_ratio: In(signed(actuator.RATIO_BITS))
    o_phase: Out(actuator.PHASE_BITS)
    o_locked: Out(1)
    o_valid: Out(1)
    o_idle: Out(1)

    @property
    def latency(self) -> int:
        """LATENCY."""
        return LATENCY

    def elaborate(self, platform) -> Module:
        m = Module()
        waiting, waits = Signal(Target), Signal()
        u, c = Signal(actuator.TARGET_BITS), Signal(actuator.RATIO_BITS)
        base, locked = Signal(actuator.PHASE_BITS), Signal()
        place = Signal(range(actuator.SCALE_PERIOD), init=_PRODUCTS)
        free = place == _PRODUCTS

        with m.If(free & waits):
            m.d.sync += [
                u.eq(waiting.phase),
                c.eq(self.i_ratio),
                base.eq(Mux(self.i_ratio < 0, 0, waiting.phase)),
                locked.eq(waiting.locked),
                place.eq(0),
                waits.eq(0),
            ]
        with m.Elif(~free):
            # Halves of C alternate; a half of U stays for both.
            m.d.sync += [place.eq(place + 1), c.eq(Cat(c[_HALF:], c[:_HALF]))]
            with m.If(place[0]):
                m.d.sync += u.eq(u >> _HALF)
        with m.If(self.i_valid):
            m.d.sync += [waiting.eq(self.i), waits.eq(1)]

        # Registers before and behind the multiplier are its own; ``places`` go along. A column ends with every even product.
        a, b, product = Signal(_HALF), Signal(_HALF), Signal(2 * _HALF)
        total = Signal(2 * _HALF + 2)
        middle = Signal(_HALF)
        in_factors, in_product, in_total = (
            Signal.like(place, name=f"in_{name}") for name in ("factors", "product", "total")
        )
        m.d.sync += [
            *(a.eq(u[:_HALF]), b.eq(c[:_HALF]), product.eq(a * b)),
            *(in_factors.eq(place), in_product.eq(in_factors), in_total.eq(in_product)),
            total.eq(Mux(in_product == 0, 0, Mux(in_product[0], total >> _HALF, total)) + product),
        ]
        with m.If(in_total == _PRODUCTS - 3):
            m.d.sync += middle.eq(total[:_HALF])

        # The next word may have begun before the last column is there.
        own_base, own_locked = Signal.like(base), Signal()
        with m.If(in_factors == _PRODUCTS - 1):
            m.d.sync += [own_base.eq(base), own_locked.eq(locked)]
        m.d.sync += [
            self.o_valid.eq(in_total == _PRODUCTS - 1),
            self.o_phase.eq(Cat(middle, total[:_HALF]) + own_base),
            self.o_locked.eq(own_locked),
        ]
        under_way = Signal(self.latency)
        m.d.sync += under_way.eq(Cat(self.i_valid | waits | ~free, under_way))
        m.d.comb += self.o_idle.eq(~(self.i_valid | waits | ~free | under_way.any() | self.o_valid))
        return m
