"""The client's emitter: modulator codes of every pulse, from the anchor, the frame table and the symbols."""

from amaranth.hdl import C, Cat, Module, Mux, Signal, ValueLike
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from twinphase_spec.frame import FRAME_PULSE_BITS, PULSE_BITS, SLOT_PULSES_BITS, SLOT_RECIPROCAL_SHIFT, SlotClass
from twinphase_spec.registers import CLIENT_LANES, CLIENT_TABLE_ENTRIES
from twinphase_spec.symbols import CODE_BITS, LEVEL_BITS, PHASE_CODE_BITS, Level

from ..core.along import delayed, delayed_in_ram
from ..core.divide import ConstantDivide
from ..types import Anchor, GridConfig
from .columns import ColumnMemory
from .symbols import Symbol

ENTRY_ADDRESS_BITS = (CLIENT_TABLE_ENTRIES - 1).bit_length()
TABLE_READ_CLOCKS = 2
"""Block RAM and the register behind it."""


def modulator_codes(m: Module, slot: ValueLike, symbol: data.View, bob: ValueLike) -> tuple[Signal, Signal]:
    """Codes (level << 8 | phase) of the q and the r band for a slot byte, combinational; see `twinphase_spec.symbols`."""
    codes = (Signal(CODE_BITS, name="code_q"), Signal(CODE_BITS, name="code_r"))
    for code, slot_class in zip(codes, (slot[:4], slot[4:8]), strict=True):
        with m.Switch(slot_class):
            with m.Case(SlotClass.REF0, SlotClass.REF1, SlotClass.REF2, SlotClass.REF3):
                m.d.comb += code.eq(Cat(C(0, 6), Mux(bob, 0, slot_class[:2]), C(Level.REF, LEVEL_BITS)))
            with m.Case(SlotClass.REF_A):
                m.d.comb += code.eq(Mux(bob, 0, Level.REF << PHASE_CODE_BITS))
            with m.Case(SlotClass.REF_B):
                m.d.comb += code.eq(Mux(bob, Level.REF << PHASE_CODE_BITS, 0))
            if code is codes[0]:
                with m.Case(SlotClass.SIG):
                    m.d.comb += code.eq(Cat(symbol.phase, symbol.intensity))
    return codes


class Emitter(wiring.Component):
    """Codes of the pulses n .. n + lanes - 1 that start in this clock, for both bands.

    Formula: byte ``lane`` of table entry ``l div SLOT_PULSES`` gives the classes; codes as in `twinphase_spec.symbols`.
    No state but the pipeline and the table, so that the anchor may jump: outputs are right ``latency`` clocks later, of SIG slots as soon
    as the symbols are.

    Members
    -------
    i_anchor, i_framing : In(Anchor), In(1), pulse (a multiple of lanes) and frame_pulse are used; codes only while framing
    i_symbols : In(ArrayLayout(Symbol, lanes)), symbols of the pulses of ``symbol_latency`` clocks ago
    i_grid : In(GridConfig), slot_pulses and slot_reciprocal are used
    i_role : In(1), 0 Alice, 1 Bob; all settings are constant while framing
    i_write, i_address, i_data : In(1), In(13), In(32), write port of FRAME_TABLE: half ``address & 1`` of entry ``address >> 1``
    o_valid : Out(1), pulses are emitted
    o_pulse : Out(56), n of lane 0
    o_q, o_r : Out(ArrayLayout(11, lanes)), codes ``level << 8 | phase`` (phase in 2^-8 turn); 0 while not valid

    Latency: ``latency`` clocks. Throughput: ``lanes`` pulses per clock. Overflow: none. Source: docs/contract.md, emitter.

    ``lanes``: 1, 2, 4 or 8; ``symbol_latency``: clocks from an anchor to its symbols, from 0. ValueError otherwise.
    """

    def __init__(self, *, lanes: int = CLIENT_LANES, symbol_latency: int) -> None:
        if lanes not in (1, 2, 4, 8):
            raise ValueError(f"Emitter: lanes is {lanes}; allowed: 1, 2, 4 or 8")
        if symbol_latency < 0:
            raise ValueError(f"Emitter: symbol_latency is {symbol_latency}; allowed: from 0")
        self._lanes = lanes
        self._symbol_latency = symbol_latency
        self._divide = ConstantDivide(
            x_max=1 << FRAME_PULSE_BITS,
            d_min=1,
            d_max=(1 << SLOT_PULSES_BITS) - 1,
            q_bits=ENTRY_ADDRESS_BITS,
            shift=SLOT_RECIPROCAL_SHIFT,
        )
        super().__init__(
            {
                "i_anchor": In(Anchor),
                "i_framing": In(1),
                "i_grid": In(GridConfig),
                "i_role": In(1),
                "i_symbols": In(data.ArrayLayout(Symbol, lanes)),
                "i_write": In(1),
                "i_address": In(ENTRY_ADDRESS_BITS + 1),
                "i_data": In(32),
                "o_valid": Out(1),
                "o_pulse": Out(PULSE_BITS),
                "o_q": Out(data.ArrayLayout(CODE_BITS, lanes)),
                "o_r": Out(data.ArrayLayout(CODE_BITS, lanes)),
            }
        )

    @property
    def latency(self) -> int:
        """Clocks from i_anchor to the codes."""
        return max(self._divide.latency + TABLE_READ_CLOCKS, self._symbol_latency) + 1

    def elaborate(self, platform: object) -> Module:
        m = Module()

        # Table entry; a path that is shorter than the pipeline starts later.
        m.submodules.divide = divide = self._divide
        halves = [ColumnMemory(shape=32, depth=CLIENT_TABLE_ENTRIES) for _ in range(2)]
        m.submodules.table_low, m.submodules.table_high = halves
        entry = Signal(8 * CLIENT_LANES)
        entry_wait = self.latency - 1 - divide.latency - TABLE_READ_CLOCKS
        framing_in = delayed(m, self.i_framing, entry_wait, "framing_in")
        framing = delayed(m, framing_in, self.latency - 1 - entry_wait, "framing")
        m.d.comb += [
            divide.i_valid.eq(framing_in),
            divide.i_x.eq(delayed_in_ram(m, self.i_anchor.frame_pulse, entry_wait, "frame_pulse")),
            divide.i_d.eq(self.i_grid.slot_pulses),
            divide.i_reciprocal.eq(self.i_grid.slot_reciprocal),
        ]
        for number, half in enumerate(halves):
            m.d.comb += [
                half.i_read.eq(1),
                half.i_read_address.eq(divide.o_q),
                half.i_write.eq(self.i_write & (self.i_address[0] == number)),
                half.i_write_address.eq(self.i_address[1:]),
                half.i_write_data.eq(self.i_data),
            ]
        m.d.sync += entry.eq(Cat(half.o_data for half in halves))

        m.d.sync += [
            self.o_valid.eq(framing),
            self.o_pulse.eq(delayed_in_ram(m, self.i_anchor.pulse, self.latency - 1, "pulse")),
        ]
        for lane in range(self._lanes):
            symbol = Signal(Symbol, name=f"symbol{lane}")
            drawn = self.i_symbols[lane].as_value()
            wait = self.latency - 1 - self._symbol_latency
            m.d.comb += symbol.eq(delayed(m, drawn, wait, f"symbol{lane}"))
            code_q, code_r = modulator_codes(m, entry.word_select(lane, 8), symbol, self.i_role)
            m.d.sync += [self.o_q[lane].eq(Mux(framing, code_q, 0)), self.o_r[lane].eq(Mux(framing, code_r, 0))]
        return m
