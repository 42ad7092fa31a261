"""Symbols in counter mode, by AES-128: those that a client emits, and those that it recalls for heralds."""

from amaranth.hdl import C, Cat, Module, Mux, ResetInserter, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from twinphase_spec import frame, symbols
from twinphase_spec.registers import CLIENT_LANES

from ..core.along import delayed
from .aes import BLOCK_BYTES, AesCore, AesPipeline
from .keyschedule import KeySchedule, ScheduleWord
from .symbols import DECODE_CLOCKS, Symbol, SymbolSettings, decoded

PLACE_BITS = symbols.BLOCK_PULSES.bit_length() - 1
"""Bits of a pulse's place in its block."""
CHOICE_CLOCKS = 2
"""A word of a block is chosen in two steps, four to one and two to one."""


def counter_block(settings: data.View, number: Value) -> list[Value]:
    """Bytes of the counter block of block ``number``, byte 0 first."""
    low = Cat(number, C(0, 64 - len(number)))
    return [half[8 * k : 8 * k + 8] for half in (settings.nonce, low) for k in reversed(range(8))]


def block_words(block: data.View) -> list[Value]:
    """The 8 words of a block of the key stream, in the order of their pulses."""
    return [Cat(block[k + 1], block[k]) for k in range(0, BLOCK_BYTES, 2)]


def chosen(m: Module, words: list[Value], place: Value) -> Signal:
    """Word ``place`` of a block, CHOICE_CLOCKS later."""
    halves = [Signal(symbols.WORD_BITS, name=f"word_of_half{k}", reset_less=True) for k in range(2)]
    word, upper = Signal(symbols.WORD_BITS, reset_less=True), Signal()
    for k, half in enumerate(halves):
        m.d.sync += half.eq(Cat(words[4 * k : 4 * k + 4]).word_select(place[:2], symbols.WORD_BITS))
    m.d.sync += [upper.eq(place[2]), word.eq(Mux(upper, halves[1], halves[0]))]
    return word


class CounterRecall(wiring.Component):
    """The symbol of any pulse, by index, from an `AesCore` of its own.

    Formula: `twinphase_spec.symbols`.

    Members
    -------
    i_settings : In(SymbolSettings), constant while symbols are in use
    i_word : In(ScheduleWord), the key schedule, before the first pulse
    i_pulse : In(stream of 56 bits), pulse indices
    o_valid, o_symbol : Out(1), Out(Symbol), in the order of the pulses

    Latency: 46 clocks from the transfer, up to 36 more while four others are under way. Throughput: four pulses in 40 clocks, 12.5
    million a second at 125 MHz; others wait outside. No overflow. A reset drops what is under way. Source: docs/symbols.md.
    """

    i_settings: In(SymbolSettings)
    i_word: In(ScheduleWord)
    i_pulse: In(stream.Signature(frame.PULSE_BITS))
    o_valid: Out(1)
    o_symbol: Out(Symbol)

    latency = AesCore.latency + CHOICE_CLOCKS + DECODE_CLOCKS
    """Clocks from a pulse's transfer to o_valid, at least."""

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.core = core = AesCore(tag_bits=PLACE_BITS)
        place, number = self.i_pulse.payload[:PLACE_BITS], self.i_pulse.payload[PLACE_BITS:]
        m.d.comb += [
            core.i_key.eq(self.i_settings.key),
            core.i_word.eq(self.i_word),
            core.i_valid.eq(self.i_pulse.valid),
            core.i_tag.eq(place),
            *(a.eq(b) for a, b in zip(core.i_block, counter_block(self.i_settings, number), strict=True)),
            self.i_pulse.ready.eq(core.o_ready),
            self.o_valid.eq(delayed(m, core.o_valid, CHOICE_CLOCKS + DECODE_CLOCKS, "valid")),
            self.o_symbol.eq(decoded(m, chosen(m, block_words(core.o_block), core.o_tag), self.i_settings, "recalled")),
        ]
        return m


class CounterSymbols(wiring.Component):
    """Symbols of the ``lanes`` pulses of each clock, and of any pulse, by index.

    Formula: `twinphase_spec.symbols`.

    An `AesPipeline` gives the pulses of each clock. With 8 lanes each clock needs a block of its own, and recall has a `CounterRecall`.
    With fewer, a block lasts for 8 / lanes clocks; ``shared``: recall has the pipeline in the others.

    Members
    -------
    i_settings : In(SymbolSettings); whenever the key changes, it is expanded anew
    o_ready : Out(1), the key is expanded; pulses must not come before
    i_framing, i_pulse : In(1), In(56), pulses i_pulse .. i_pulse + lanes - 1 are asked for, a multiple of lanes that grows by lanes with
        each clock. After a jump to within a block, symbols are right from the next block on.
    o_symbols : Out(ArrayLayout(Symbol, lanes)), symbols of the ``i_pulse`` of ``latency`` clocks ago
    i_recall : In(stream of 56 bits), pulse indices of heralds
    o_recalled_valid, o_recalled : Out(1), Out(Symbol), their symbols, in their order
    i_stop : In(1), drops what is being recalled

    Latency: `latency` from i_pulse to o_symbols, `recall_latency` from a transfer at i_recall to o_recalled_valid. Throughput: ``lanes``
    pulses per clock; recall: four pulses in 40 clocks, or shared ``1 - lanes / 8`` per clock while framing, else one per clock. No
    overflow: heralds wait outside. Source: docs/symbols.md.

    ``lanes``: 1, 2, 4 or 8. ``shared``: default with fewer than 8 lanes. ValueError otherwise.
    """

    def __init__(self, *, lanes: int = CLIENT_LANES, shared: bool | None = None) -> None:
        if lanes not in (1, 2, 4, 8):
            raise ValueError(f"CounterSymbols: lanes is {lanes}; allowed: 1, 2, 4 or 8")
        if shared and lanes == symbols.BLOCK_PULSES:
            raise ValueError(
                "CounterSymbols: shared with 8 lanes, which need a block in every clock; allowed: fewer lanes"
            )
        self._lanes = lanes
        self._shared = lanes < symbols.BLOCK_PULSES if shared is None else shared
        super().__init__(
            {
                "i_settings": In(SymbolSettings),
                "o_ready": Out(1),
                "i_framing": In(1),
                "i_pulse": In(frame.PULSE_BITS),
                "o_symbols": Out(data.ArrayLayout(Symbol, lanes)),
                "i_recall": In(stream.Signature(frame.PULSE_BITS)),
                "o_recalled_valid": Out(1),
                "o_recalled": Out(Symbol),
                "i_stop": In(1),
            }
        )

    @property
    def _block_latency(self) -> int:
        """Clocks from i_pulse or i_recall to the pipeline's block."""
        return AesPipeline.latency + self._shared

    @property
    def latency(self) -> int:
        """Clocks from i_pulse to o_symbols."""
        return self._block_latency + (self._lanes < symbols.BLOCK_PULSES) + DECODE_CLOCKS

    @property
    def recall_latency(self) -> int:
        """Clocks from a transfer at i_recall to o_recalled_valid; without a pipeline to share, up to 36 more, as `CounterRecall`."""
        return self._block_latency + CHOICE_CLOCKS + DECODE_CLOCKS if self._shared else CounterRecall.latency

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.schedule = schedule = KeySchedule()
        m.submodules.pipeline = pipeline = AesPipeline()
        begins = Signal()  # the pulses of this clock begin a block
        number = Signal(frame.PULSE_BITS - PLACE_BITS)
        m.d.comb += [
            schedule.i_key.eq(self.i_settings.key),
            self.o_ready.eq(schedule.o_ready),
            pipeline.i_word.eq(schedule.o_word),
            begins.eq(~self.i_pulse[self._lanes.bit_length() - 1 : PLACE_BITS].any()),
            *(a.eq(b) for a, b in zip(pipeline.i_block, counter_block(self.i_settings, number), strict=True)),
        ]
        words = block_words(pipeline.o_block)
        if self._shared:
            self._recall_by_pipeline(m, begins, number, words)
        else:
            m.d.comb += number.eq(self.i_pulse[PLACE_BITS:])
            m.submodules.recall = recall = ResetInserter(self.i_stop)(CounterRecall())
            m.d.comb += [
                recall.i_settings.eq(self.i_settings),
                recall.i_word.eq(schedule.o_word),
                self.o_recalled_valid.eq(recall.o_valid),
                self.o_recalled.eq(recall.o_symbol),
            ]
            wiring.connect(m, wiring.flipped(self.i_recall), recall.i_pulse)

        if self._lanes < symbols.BLOCK_PULSES:
            held = Signal(8 * BLOCK_BYTES, reset_less=True)
            begun = delayed(m, begins, self._block_latency, "begun")
            m.d.sync += held.eq(Mux(begun, Cat(words), held >> symbols.WORD_BITS * self._lanes))
            words = [held.word_select(lane, symbols.WORD_BITS) for lane in range(self._lanes)]
        for lane in range(self._lanes):
            m.d.comb += self.o_symbols[lane].eq(decoded(m, words[lane], self.i_settings, f"symbol{lane}"))
        return m

    def _recall_by_pipeline(self, m: Module, begins: Signal, number: Signal, words: list[Value]) -> None:
        """Blocks of heralds in the clocks that begin no block of the emission."""
        emits = Signal()
        travel = data.StructLayout({"valid": 1, "place": PLACE_BITS})
        entering = Signal(travel)
        recalled = self.i_recall
        m.d.comb += [emits.eq(self.i_framing & begins), recalled.ready.eq(~emits)]
        m.d.sync += [
            number.eq(Mux(emits, self.i_pulse, recalled.payload)[PLACE_BITS:]),
            entering.valid.eq(recalled.valid & ~emits & ~self.i_stop),
            entering.place.eq(recalled.payload[:PLACE_BITS]),
        ]
        for k in range(AesPipeline.latency):
            following = Signal(travel, name=f"recall{k}")
            m.d.sync += [following.place.eq(entering.place), following.valid.eq(entering.valid & ~self.i_stop)]
            entering = following
        valid = entering.valid
        for k in range(CHOICE_CLOCKS + DECODE_CLOCKS):
            later = Signal(name=f"recalled{k}")
            m.d.sync += later.eq(valid & ~self.i_stop)
            valid = later
        m.d.comb += [
            self.o_recalled_valid.eq(valid),
            self.o_recalled.eq(decoded(m, chosen(m, words, entering.place), self.i_settings, "recalled")),
        ]
