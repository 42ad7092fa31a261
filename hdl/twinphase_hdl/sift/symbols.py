"""The clients' symbols: settings, layout, and what a word of the key stream means."""

from amaranth.hdl import C, Cat, Module, Mux, Signal, Value
from amaranth.lib import data

from twinphase_spec import symbols
from twinphase_spec.symbols import BOUND_BITS, DRAW_BITS, Intensity

from .keyschedule import KEY_LAYOUT


class SymbolSettings(data.Struct):
    """Registers of `twinphase_spec.symbols.SymbolConfig`."""

    key: KEY_LAYOUT
    nonce: symbols.NONCE_BITS
    sent_below: BOUND_BITS
    z_below: BOUND_BITS
    vacuum_below: BOUND_BITS
    mu1_below: BOUND_BITS
    slices_z: symbols.SLICE_BITS
    slices_x: symbols.SLICE_BITS


class Symbol(data.Struct):
    """A decoded symbol."""

    x: 1
    """1: X window, 0: Z window."""
    send: 1
    """Z window that sends; 0 in X windows."""
    intensity: 2
    """`twinphase_spec.symbols.Intensity`."""
    slice: symbols.SLICE_BITS
    """Phase slice."""
    phase: symbols.PHASE_CODE_BITS
    """Modulator phase in 2^-8 turn: ``slice << 4``."""


DECODE_CLOCKS = 2


def decoded(m: Module, word: Value, settings: data.View, name: str) -> data.View:
    """The `Symbol` of a ``word`` of the key stream (16 bits), DECODE_CLOCKS later; a word per clock.

    Formula: `twinphase_spec.symbols`; the first bound above u counts.
    """
    below = Signal(len(symbols.BOUNDS), name=f"{name}_below", reset_less=True)
    number = Signal(symbols.SLICE_BITS, name=f"{name}_slice", reset_less=True)
    symbol = Signal(Symbol, name=name, reset_less=True)
    draw = word[symbols.WORD_BITS - DRAW_BITS :]
    sent, z, vacuum, mu_1 = below
    is_x = ~sent & ~z
    slice_bits = Signal(symbols.SLICE_BITS, name=f"{name}_slice_bits")
    m.d.comb += slice_bits.eq(number & Mux(is_x, settings.slices_x, settings.slices_z))
    m.d.sync += [
        *(below[k].eq(draw < settings[bound]) for k, bound in enumerate(symbols.BOUNDS)),
        number.eq(word[: symbols.SLICE_BITS]),
        symbol.x.eq(is_x),
        symbol.send.eq(sent),
        symbol.slice.eq(slice_bits),
        symbol.phase.eq(Cat(C(0, symbols.PHASE_CODE_BITS - symbols.SLICE_BITS), slice_bits)),
        symbol.intensity.eq(
            Mux(
                sent,
                Intensity.MU_Z,
                Mux(z | vacuum, Intensity.VAC, Mux(mu_1, Intensity.MU_1, Intensity.MU_2)),
            )
        ),
    ]
    return symbol
