"""Mode pairing: which herald is the second of a pair, and what it then stands for."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from twinphase_spec import symbols
from twinphase_spec.frame import PULSE_BITS

from .digest import BLOCK_BITS
from .tables import PAIR_SPAN_BITS, RuleTables


class Recalled(data.Struct):
    """What a client's own side of a herald, or of the pair whose second it is, is; all zero but ``missing`` for a missing herald."""

    x: 1
    intensity: 2
    slice: symbols.SLICE_BITS
    detector: 1
    key: 1
    """Bit 0 of a Z word."""
    missing: 1
    """With pairs: or not the second of one."""


class PairFinder(wiring.Component):
    """Says of each herald of a block whether it is the second of a pair.

    Formula: herald j is, if it and herald j - 1 of the same block are present, j - 1 is not one itself, and
    ``(n_j - n_(j-1)) mod 2^56 <= i_span``.

    Members
    -------
    i_block_heralds : In(12)
    i_span : In(32), constant while heralds come
    i_valid, i_pulse, i_missing : In(1, 56, 1), the next herald
    o_second, o_unpaired : Out(1), Out(1), of the herald that was at the inputs `latency` clocks ago: it is; it is present and is not.
        Meaningless, unpaired 0, for clocks without a herald.

    Latency: `latency` clocks (difference; compared; decided). Throughput: one per clock. Overflow: none. Source: docs/rules.md, pairs.
    """

    i_block_heralds: In(BLOCK_BITS)
    i_span: In(PAIR_SPAN_BITS)
    i_valid: In(1)
    i_pulse: In(PULSE_BITS)
    i_missing: In(1)
    o_second: Out(1)
    o_unpaired: Out(1)

    latency = 3

    def elaborate(self, platform: object) -> Module:
        m = Module()
        position, last_position = Signal(BLOCK_BITS), Signal(BLOCK_BITS)
        pulse, pairable = Signal(PULSE_BITS), Signal()  # of the herald before; it is there, and not the last of a block
        ends = position == last_position
        m.d.sync += last_position.eq(self.i_block_heralds - 1)
        with m.If(self.i_valid):
            m.d.sync += [
                position.eq(Mux(ends, 0, position + 1)),
                pulse.eq(self.i_pulse),
                pairable.eq(~self.i_missing & ~ends),
            ]

        came, present, neighbours, distance = Signal(), Signal(), Signal(), Signal(PULSE_BITS)
        compared, compared_present, compared_neighbours, near, far = Signal(), Signal(), Signal(), Signal(), Signal()
        m.d.sync += [
            came.eq(self.i_valid),
            present.eq(~self.i_missing),
            neighbours.eq(pairable & ~self.i_missing),
            distance.eq(self.i_pulse - pulse),
            *(compared.eq(came), compared_present.eq(present), compared_neighbours.eq(neighbours)),
            near.eq(distance[:PAIR_SPAN_BITS] <= self.i_span),
            far.eq(distance[PAIR_SPAN_BITS:].any()),
        ]
        second, last_second = Signal(), Signal()
        m.d.comb += second.eq(compared_neighbours & near & ~far & ~last_second)
        m.d.sync += [self.o_second.eq(second), self.o_unpaired.eq(compared & compared_present & ~second)]
        with m.If(compared):
            m.d.sync += last_second.eq(second)
        return m


class PairSymbol(wiring.Component):
    """A herald's entry in the ring: its own symbol, or, with pairs, what a second stands for.

    Members
    -------
    i_rules : In(RuleTables), constant while heralds come
    i_pairs : In(1), heralds are looked at in pairs
    i_valid, i_missing : In(1), In(1), the next herald; with pairs, one that is not a second counts as missing
    i_x, i_intensity, i_slice, i_detector : In(1, 2, 4, 1), its symbol (also where it is not a second), any where there is no herald
    o_entry : Out(Recalled), `latency` clocks later

    Formula: with nibble ``(i_(j-1) << 2 | i_j)`` of RULE_PAIR: x is bit 0, intensity bits 1-2, key bit 3; slice
    ``slice_j - slice_(j-1) mod 16``; detector ``detector_j xor detector_(j-1)``. Without pairs its own symbol, key bit
    ``x << 2 | i`` of RULE_KEY.

    Latency: `latency` clocks (differences; tables). Throughput: one per clock. Overflow: none. Source: docs/rules.md.
    """

    i_rules: In(RuleTables)
    i_pairs: In(1)
    i_valid: In(1)
    i_missing: In(1)
    i_x: In(1)
    i_intensity: In(2)
    i_slice: In(symbols.SLICE_BITS)
    i_detector: In(1)
    o_entry: Out(Recalled)

    latency = 2

    def elaborate(self, platform: object) -> Module:
        m = Module()
        first = Signal(data.StructLayout({"intensity": 2, "slice": symbols.SLICE_BITS, "detector": 1}))
        with m.If(self.i_valid):
            m.d.sync += [
                first.intensity.eq(self.i_intensity),
                first.slice.eq(self.i_slice),
                first.detector.eq(self.i_detector),
            ]
        missing, x, intensities = Signal(), Signal(), Signal(4)
        own_slice, detector = Signal(symbols.SLICE_BITS), Signal()
        m.d.sync += [
            *(missing.eq(self.i_missing), x.eq(self.i_x), intensities.eq(Cat(self.i_intensity, first.intensity))),
            own_slice.eq(self.i_slice - Mux(self.i_pairs, first.slice, 0)),
            detector.eq(self.i_detector ^ (first.detector & self.i_pairs)),
        ]
        pair, entry = Signal(4), Signal(Recalled)
        m.d.comb += pair.eq(self.i_rules.pair.word_select(intensities, 4))
        with m.If(missing):
            m.d.comb += entry.missing.eq(1)
        with m.Else():
            m.d.comb += [entry.slice.eq(own_slice), entry.detector.eq(detector)]
            with m.If(self.i_pairs):
                m.d.comb += Cat(entry.x, entry.intensity, entry.key).eq(pair)
            with m.Else():
                m.d.comb += [
                    *(entry.x.eq(x), entry.intensity.eq(intensities[:2])),
                    entry.key.eq(self.i_rules.key.bit_select(Cat(intensities[:2], x), 1)),
                ]
        m.d.sync += self.o_entry.eq(entry)
        return m
