"""The clients' symbols by pulse index: gateware of `twinphase_spec.symbols`."""

from amaranth.hdl import Module, Mux, Signal, ValueLike
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from twinphase_spec import frame, symbols
from twinphase_spec.symbols import Intensity

KEY_LAYOUT = data.ArrayLayout(32, symbols.KEY_WORDS)


class SymbolSettings(data.Struct):
    """Registers of `twinphase_spec.symbols.SymbolConfig`: key and thresholds."""

    key: KEY_LAYOUT
    z_threshold: 16
    send_threshold: 16
    vac_threshold: 16
    mu1_threshold: 16


class Symbol(data.Struct):
    """A decoded symbol."""

    x: 1
    """1: X window, 0: Z window."""
    send: 1
    """Z window that sends; 0 in X windows."""
    intensity: 2
    """`twinphase_spec.symbols.Intensity`."""
    slice: symbols.SLICE_BITS
    """Phase slice (of meaning in X windows only)."""
    phase: symbols.PHASE_CODE_BITS
    """Modulator phase in 2^-8 turn; ``slice << 4`` in X windows."""


class SymbolBits(wiring.Component):
    """64 generator bits of a pulse index, one per clock. **Not secure**: see `twinphase_spec.symbols`.

    Anything else with the same ports and a constant ``latency`` can take its place.

    Formula: ROUNDS times ``x = (rotr(x, 8) + y) ^ (k[i mod 4] + i); y = rotl(y, 3) ^ x``, from ``x, y = n >> 32, n``.

    Members
    -------
    i_key : In(ArrayLayout(32, 4)), constant while symbols are in use
    i_pulse : In(56), pulse index n
    o_bits : Out(64), bits of the n that was at ``i_pulse`` ``latency`` clocks ago

    Latency: one clock per round. Throughput: one per clock. No overflow: sums wrap at 32 bits.
    Source: Beaulieu et al., ePrint 2013/404 (round function of Speck64).
    """

    i_key: In(KEY_LAYOUT)
    i_pulse: In(frame.PULSE_BITS)
    o_bits: Out(symbols.BITS)

    latency = symbols.ROUNDS
    """Clocks from i_pulse to o_bits."""

    def elaborate(self, platform: object) -> Module:
        m = Module()
        x, y = Signal(32, name="x_in"), Signal(32, name="y_in")
        m.d.comb += [x.eq(self.i_pulse[32:]), y.eq(self.i_pulse[:32])]
        for i in range(symbols.ROUNDS):
            mixed = Signal(32, name=f"mixed{i}")
            x_next, y_next = Signal(32, name=f"x{i}"), Signal(32, name=f"y{i}")
            round_key = (self.i_key[i % symbols.KEY_WORDS] + i)[:32]
            m.d.comb += mixed.eq((x.rotate_right(8) + y)[:32] ^ round_key)
            m.d.sync += [x_next.eq(mixed), y_next.eq(y.rotate_left(3) ^ mixed)]
            x, y = x_next, y_next
        m.d.comb += [self.o_bits[:32].eq(y), self.o_bits[32:].eq(x)]
        return m


def decode_symbol(m: Module, bits: ValueLike, settings: data.View, symbol: data.View) -> None:
    """Drive ``symbol`` (`Symbol`) in the combinational domain of ``m`` from 64 generator ``bits``."""
    draw, level_draw = bits[0:16], bits[16:32]
    sent = level_draw < settings.send_threshold
    level = Mux(
        level_draw < settings.vac_threshold,
        Intensity.VAC,
        Mux(level_draw < settings.mu1_threshold, Intensity.MU_1, Intensity.MU_2),
    )
    m.d.comb += [
        symbol.x.eq(draw >= settings.z_threshold),
        symbol.send.eq(~symbol.x & sent),
        symbol.intensity.eq(Mux(symbol.x, level, Mux(sent, Intensity.MU_Z, Intensity.VAC))),
        symbol.slice.eq(bits[36:40]),
        symbol.phase[4:].eq(bits[36:40]),
        symbol.phase[:4].eq(Mux(symbol.x, 0, bits[32:36])),
    ]


class SymbolGenerator(wiring.Component):
    """The symbol of a pulse index, one per clock.

    Formula: `decode_symbol` of `SymbolBits`.

    Members
    -------
    i_settings : In(SymbolSettings), constant while symbols are in use
    i_pulse : In(56), pulse index n
    o_symbol : Out(Symbol), symbol of the n that was at ``i_pulse`` ``latency`` clocks ago

    Latency: that of `SymbolBits` and one clock. Throughput: one per clock. Source: `twinphase_spec.symbols`.
    """

    i_settings: In(SymbolSettings)
    i_pulse: In(frame.PULSE_BITS)
    o_symbol: Out(Symbol)

    latency = SymbolBits.latency + 1
    """Clocks from i_pulse to o_symbol."""

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.bits = bits = SymbolBits()
        decoded = Signal(Symbol)
        m.d.comb += [bits.i_key.eq(self.i_settings.key), bits.i_pulse.eq(self.i_pulse)]
        decode_symbol(m, bits.o_bits, self.i_settings, decoded)
        m.d.sync += self.o_symbol.eq(decoded)
        return m
