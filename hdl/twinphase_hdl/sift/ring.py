"""Symbols from a quantum random number generator: drawn once as they are emitted, kept in a ring, recalled by index."""

from amaranth.hdl import C, Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from twinphase_spec import frame, symbols
from twinphase_spec.registers import CLIENT_LANES
from twinphase_spec.symbol_ring import (
    CODE_SYMBOL_BITS,
    LAG_PULSES,
    QRNG_BITS_PER_PULSE,
    VOID,
    WORD_SYMBOLS,
    RingConfig,
)

from ..core.along import delayed
from .ringmemory import WORD_BITS, RingMemory
from .symbols import DECODE_CLOCKS, Symbol, SymbolSettings, decoded
from .turns import GroupTurns

PLACE_BITS = WORD_SYMBOLS.bit_length() - 1
"""Bits of a pulse's place in its word."""
NUMBER_BITS = frame.PULSE_BITS - PLACE_BITS


class RingSymbols(wiring.Component):
    """Symbols of the ``lanes`` pulses of each clock from a stream of random bits, and those of the last pulses, by index.

    Formula: `twinphase_spec.symbols`, for what becomes of bits; docs/symbols.md, for which pulses take them and which are held.

    Members
    -------
    i_settings : In(SymbolSettings), constant while framing; key and nonce are not used
    o_ready : Out(1), 1: there is nothing to wait for
    i_framing, i_pulse : In(1), In(56), pulses i_pulse .. i_pulse + lanes - 1 are asked for, a multiple of lanes. Any jump is allowed.
    i_bits : In(stream of 16 * lanes bits), a word per group that is drawn: lane i in bits 16 i to 16 i + 15. Taken only for a group.
    o_symbols : Out(ArrayLayout(Symbol, lanes)), symbols of the ``i_pulse`` of ``latency`` clocks ago; vacuum (all zero) if passed or
        starved
    i_recall : In(stream of 56 bits), pulse indices of heralds; always ready
    o_recalled_valid, o_recalled : Out(1), Out(Symbol), their symbols, in their order; slice and phase of a vacuum are 0
    o_recalled_refused : Out(1), with them: there is none, and ``o_recalled`` is all zero
    i_stop : In(1), drops what is being recalled
    o_starved : Out(1), strobe: a group found no bits
    o_busy : Out(1), a group is on its way to the ring

    Latency: ``latency`` from i_pulse to o_symbols, ``recall_latency`` from a transfer at i_recall to o_recalled_valid, both constant.
    Throughput: ``lanes`` pulses and one recall per clock. Overflow: what the ring no longer holds is refused. Source: docs/symbols.md.

    ``lanes``: 1, 2, 4 or 8; ``ring``: its size. ValueError otherwise.
    """

    latency = GroupTurns.latency + DECODE_CLOCKS + 1
    """Clocks from i_pulse to o_symbols."""

    def __init__(self, *, lanes: int = CLIENT_LANES, ring: RingConfig | None = None) -> None:
        if lanes not in (1, 2, 4, 8):
            raise ValueError(f"RingSymbols: lanes is {lanes}; allowed: 1, 2, 4 or 8")
        self._lanes = lanes
        self.ring = RingConfig() if ring is None else ring
        self._memory = RingMemory(ring=self.ring)
        super().__init__(
            {
                "i_settings": In(SymbolSettings),
                "o_ready": Out(1),
                "i_framing": In(1),
                "i_pulse": In(frame.PULSE_BITS),
                "i_bits": In(stream.Signature(QRNG_BITS_PER_PULSE * lanes)),
                "o_symbols": Out(data.ArrayLayout(Symbol, lanes)),
                "i_recall": In(stream.Signature(frame.PULSE_BITS)),
                "o_recalled_valid": Out(1),
                "o_recalled": Out(Symbol),
                "o_recalled_refused": Out(1),
                "i_stop": In(1),
                "o_starved": Out(1),
                "o_busy": Out(1),
            }
        )

    @property
    def recall_latency(self) -> int:
        """Clocks from a transfer at i_recall to o_recalled_valid (index; age; judged; place; memory; two steps to a lane; symbol)."""
        return 4 + self._memory.latency + 3

    def elaborate(self, platform: object) -> Module:
        m = Module()
        lane_bits = self._lanes.bit_length() - 1
        m.submodules.turns = turns = GroupTurns(bits=frame.PULSE_BITS - lane_bits, most=LAG_PULSES // self._lanes)
        m.submodules.memory = ram = self._memory
        fed = turns.o_draws & self.i_bits.valid
        m.d.comb += [
            self.o_ready.eq(1),
            turns.i_asks.eq(self.i_framing),
            turns.i_group.eq(self.i_pulse[lane_bits:]),
            self.i_bits.ready.eq(turns.o_draws),
        ]
        m.d.sync += self.o_starved.eq(turns.o_draws & ~self.i_bits.valid)

        # Symbols of the group, and what the ring keeps of them.
        drawn, forgets, has, asked = (
            delayed(m, value, DECODE_CLOCKS, name)
            for value, name in (
                (turns.o_draws, "drawn"),
                (turns.o_forgets, "forgets"),
                (fed, "has"),
                (turns.o_asked, "asked"),
            )
        )
        group = delayed(m, turns.o_group, DECODE_CLOCKS, "group")
        under_way = Signal(self.latency + 2)
        m.d.sync += under_way.eq(Cat(self.i_framing, under_way))
        m.d.comb += self.o_busy.eq(under_way.any())
        kept = []
        for lane in range(self._lanes):
            word = self.i_bits.payload.word_select(lane, QRNG_BITS_PER_PULSE)
            symbol = decoded(m, word, self.i_settings, f"symbol{lane}")
            m.d.sync += self.o_symbols[lane].eq(Mux(has, symbol.as_value(), 0))
            low = Mux(symbol.intensity == symbols.Intensity.VAC, symbol.x, symbol.slice)
            kept.append(Mux(has, Cat(low, symbol.intensity), VOID))

        # A word grows from above; what of it was not drawn is void.
        shift = CODE_SYMBOL_BITS * self._lanes
        growing, number = Signal(WORD_BITS, reset_less=True), Signal(NUMBER_BITS, reset_less=True)
        slot = group[: PLACE_BITS - lane_bits]
        written, forgot = Signal(), Signal()
        before = Mux(forgets, Cat(C(VOID, CODE_SYMBOL_BITS) for _ in range(WORD_SYMBOLS)), growing)
        with m.If(drawn):
            m.d.sync += growing.eq(Cat(before, *kept)[shift:])
        m.d.sync += [
            number.eq(group[PLACE_BITS - lane_bits :]),
            written.eq(drawn & slot.all()),
            forgot.eq(forgets | ~asked),
        ]

        # What is held: ``held`` words before ``following``, the last of them in the place before ``place``.
        following, place = Signal(NUMBER_BITS, reset_less=True), Signal(range(self.ring.words))
        last, full = Signal(), Signal()
        held = Signal(range(self.ring.held_words + 1))
        with m.If(written):
            m.d.sync += [
                following.eq(number + 1),
                place.eq(Mux(last, 0, place + 1)),
                last.eq(place == self.ring.words - 2),
            ]
        with m.If(forgot):
            m.d.sync += [held.eq(written), full.eq(0)]
        with m.Elif(written & ~full):
            m.d.sync += [held.eq(held + 1), full.eq(held == self.ring.held_words - 1)]
        m.d.comb += [ram.i_write.eq(written), ram.i_write_address.eq(place), ram.i_write_data.eq(growing)]
        self._recall(m, ram, following, place, held)
        return m

    def _recall(self, m: Module, ram: RingMemory, following: Value, place: Value, held: Value) -> None:
        """Looks heralds up.

        Place, age and number held are of one clock; the memory's first row is read four clocks after it, and so after the words that
        count there were written, and all rows before any of them is overwritten.
        """
        m.d.comb += self.i_recall.ready.eq(1)
        wanted = Signal(frame.PULSE_BITS, reset_less=True)
        age, place_then, held_then = Signal(NUMBER_BITS), Signal.like(place), Signal.like(held)
        young, come, reaches = Signal(), Signal(), Signal()
        bits = len(held)
        back, address = Signal(range(-self.ring.words, self.ring.words)), Signal.like(place)
        known = Signal()
        m.d.sync += [
            wanted.eq(self.i_recall.payload),
            *(age.eq(following - wanted[PLACE_BITS:]), place_then.eq(place), held_then.eq(held)),
            young.eq(~age[bits:].any()),
            come.eq(age[:bits].any()),
            reaches.eq(age[:bits] <= held_then),
            back.eq(place_then - age[:bits]),
            address.eq(Mux(back[-1], back + self.ring.words, back)),
            known.eq(young & come & reaches),
        ]
        m.d.comb += ram.i_read_address.eq(address)
        valid: Value = self.i_recall.valid & ~self.i_stop
        for k in range(self.recall_latency):
            later = Signal(name=f"recall{k}")
            m.d.sync += later.eq(valid & ~self.i_stop if k else valid)
            valid = later

        # Lane of the word, in two steps, then the symbol.
        waits = 3 + ram.latency
        lane = delayed(m, wanted[:PLACE_BITS], waits, "lane")
        halves = [Signal(CODE_SYMBOL_BITS, name=f"half{k}", reset_less=True) for k in range(2)]
        upper, code = Signal(), Signal(CODE_SYMBOL_BITS, reset_less=True)
        for k, half in enumerate(halves):
            part = ram.o_data[4 * CODE_SYMBOL_BITS * k :][: 4 * CODE_SYMBOL_BITS]
            m.d.sync += half.eq(part.word_select(lane[:2], CODE_SYMBOL_BITS))
        m.d.sync += [upper.eq(lane[2]), code.eq(Mux(upper, halves[1], halves[0]))]
        held_still = delayed(m, known, ram.latency + 2, "known")
        low, intensity = code[: symbols.SLICE_BITS], code[symbols.SLICE_BITS :]
        vacuum, sent = intensity == symbols.Intensity.VAC, intensity == symbols.Intensity.MU_Z
        number = Mux(vacuum, 0, low)
        refused = ~held_still | (code == VOID)
        symbol = Signal(Symbol)
        m.d.comb += [
            symbol.x.eq(Mux(vacuum, low[0], ~sent)),
            symbol.send.eq(sent),
            symbol.intensity.eq(intensity),
            symbol.slice.eq(number),
            symbol.phase.eq(Cat(C(0, symbols.PHASE_CODE_BITS - symbols.SLICE_BITS), number)),
        ]
        m.d.comb += self.o_recalled_valid.eq(valid)
        m.d.sync += [self.o_recalled.eq(Mux(refused, 0, symbol.as_value())), self.o_recalled_refused.eq(refused)]
