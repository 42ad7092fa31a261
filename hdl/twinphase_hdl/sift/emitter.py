"""The client's emitter: modulator codes of every pulse, from the anchor, the frame table and the symbols."""

from amaranth.hdl import Array, C, Cat, Module, Mux, Signal, Value, ValueLike, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from twinphase_spec.emission import FRACTION_BITS
from twinphase_spec.frame import FRAME_PULSE_BITS, PULSE_BITS, SLOT_PULSES_BITS, SLOT_RECIPROCAL_SHIFT, SlotClass
from twinphase_spec.registers import CLIENT_LANES, CLIENT_TABLE_ENTRIES
from twinphase_spec.symbols import CODE_BITS, LEVEL_BITS, PHASE_CODE_BITS, SLICE_BITS, Level

from ..core.along import delayed, delayed_in_ram
from ..core.divide import ConstantDivide
from ..types import Anchor, GridConfig
from .columns import ColumnMemory
from .corrections import HALF_BITS, Shift
from .symbols import Symbol

ENTRY_ADDRESS_BITS = (CLIENT_TABLE_ENTRIES - 1).bit_length()
UNUSED_BITS = PHASE_CODE_BITS - SLICE_BITS
"""Lowest bits of a phase, always 0."""
TABLE_READ_CLOCKS = 2
"""Block RAM and the register behind it."""
SHIFT_CLOCKS = 2
"""From the anchor to n and its place."""
LANE_CLOCKS = 3
"""The group after a pulse's is there, then lanes are chosen in two steps."""


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
                    # Only SLICES phases: what is constant needs no lanes.
                    m.d.comb += code.eq(Cat(C(0, UNUSED_BITS), symbol.phase[UNUSED_BITS:], symbol.intensity))
    return codes


class Emitter(wiring.Component):
    """Codes of the pulses that are emitted in the ``lanes`` slots of this clock, for both bands.

    Formula: lane i of a clock with anchor (p, l) has pulse ``n + i``, ``n = p - K``, of place ``(l - K + i) mod L``; byte
    ``place mod lanes`` of table entry ``place div SLOT_PULSES`` gives the classes; codes as in `twinphase_spec.symbols`. Symbols and
    entries come for groups of pulses that begin with a multiple of lanes: a clock's pulses are the last ``lanes - n mod lanes`` of its
    group and the first ones of the next clock's. No state but the pipeline and the table, so that the anchor may jump: outputs are right
    ``latency`` clocks later, of SIG slots as soon as the symbols are, and of the clock before a jump where K is a multiple of lanes.

    Members
    -------
    i_anchor, i_framing : In(Anchor), In(1), pulse (p, a multiple of lanes) and frame_pulse (l) are used; codes only while framing
    i_shift : In(Shift), K, K mod L, F of this clock's slots, and whether they are dark. It changes only between dark clocks, but for F.
    o_asks, o_ask_pulse : Out(1), Out(56), symbols of the group that begins with this pulse are wanted; SHIFT_CLOCKS after the anchor
    i_symbols : In(ArrayLayout(Symbol, lanes)), symbols of the group of ``symbol_latency`` clocks ago
    i_grid : In(GridConfig), frame_pulses, slot_pulses and slot_reciprocal are used
    i_role : In(1), 0 Alice, 1 Bob; all settings are constant while framing
    i_write, i_address, i_data : In(1), In(13), In(32), write port of FRAME_TABLE: half ``address & 1`` of entry ``address >> 1``
    o_valid : Out(1), pulses are emitted; not in the frame's last clock unless K is a multiple of lanes
    o_pulse : Out(56), n of lane 0
    o_fraction : Out(13), F of these slots, ticks; 0 while not valid
    o_q, o_r : Out(ArrayLayout(11, lanes)), codes ``level << 8 | phase`` (phase in 2^-8 turn); 0 while not valid or dark

    Latency: ``latency`` clocks. Throughput: ``lanes`` pulses per clock. Overflow: n wraps. Source: docs/contract.md, docs/alignment.md.

    ``lanes``: 1, 2, 4 or 8; ``symbol_latency``: clocks from o_ask_pulse to its symbols, from 0. ValueError otherwise.
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
                "i_shift": In(Shift),
                "i_grid": In(GridConfig),
                "i_role": In(1),
                "o_asks": Out(1),
                "o_ask_pulse": Out(PULSE_BITS),
                "i_symbols": In(data.ArrayLayout(Symbol, lanes)),
                "i_write": In(1),
                "i_address": In(ENTRY_ADDRESS_BITS + 1),
                "i_data": In(32),
                "o_valid": Out(1),
                "o_pulse": Out(PULSE_BITS),
                "o_fraction": Out(FRACTION_BITS),
                "o_q": Out(data.ArrayLayout(CODE_BITS, lanes)),
                "o_r": Out(data.ArrayLayout(CODE_BITS, lanes)),
            }
        )

    @property
    def _codes_latency(self) -> int:
        """Clocks from the shifted anchor to the codes of its group."""
        return max(self._divide.latency + TABLE_READ_CLOCKS, self._symbol_latency) + 1

    @property
    def latency(self) -> int:
        """Clocks from i_anchor to the codes."""
        return SHIFT_CLOCKS + self._codes_latency + (LANE_CLOCKS if self._lanes > 1 else 0)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        first, place = self._shifted(m)
        framing = delayed(m, self.i_framing, SHIFT_CLOCKS, "framing")
        lane_bits = self._lanes.bit_length() - 1
        m.d.comb += [
            self.o_asks.eq(framing),
            self.o_ask_pulse.eq(Cat(C(0, lane_bits), first[lane_bits:])),
        ]

        # Table entry; a path that is shorter than the pipeline starts later.
        m.submodules.divide = divide = self._divide
        halves = [ColumnMemory(shape=32, depth=CLIENT_TABLE_ENTRIES) for _ in range(2)]
        m.submodules.table_low, m.submodules.table_high = halves
        entry = Signal(8 * CLIENT_LANES)
        entry_wait = self._codes_latency - 1 - divide.latency - TABLE_READ_CLOCKS
        m.d.comb += [
            divide.i_valid.eq(delayed(m, framing, entry_wait, "framing_in")),
            divide.i_x.eq(delayed_in_ram(m, place, entry_wait, "place")),
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

        groups = []
        for lane in range(self._lanes):
            symbol = Signal(Symbol, name=f"symbol{lane}")
            drawn = self.i_symbols[lane].as_value()
            wait = self._codes_latency - 1 - self._symbol_latency
            m.d.comb += symbol.eq(delayed(m, drawn, wait, f"symbol{lane}"))
            groups.append(Cat(modulator_codes(m, entry.word_select(lane, 8), symbol, self.i_role)))

        # What goes along with the codes.
        rest = self.latency - SHIFT_CLOCKS - 1
        valid, straight = delayed(m, framing, rest, "valid"), C(1, 1)
        coming = Cat(groups)
        if self._lanes > 1:
            follows = delayed(m, framing, rest - 1, "follows")
            coming, straight = self._lanes_of(m, groups, delayed_in_ram(m, first[:lane_bits], rest - 1, "lane"))
            emits = valid & (follows | straight)
        else:
            emits = valid
        fraction, dark = self.i_shift.fraction, self.i_shift.dark
        dark_then = delayed_in_ram(m, dark, self.latency - 1, "dark")
        m.d.sync += [
            self.o_valid.eq(emits),
            self.o_pulse.eq(delayed_in_ram(m, first, rest, "pulse")),
            self.o_fraction.eq(Mux(emits, delayed_in_ram(m, fraction, self.latency - 1, "fraction"), 0)),
        ]
        for lane in range(self._lanes):
            codes = coming.word_select(lane, 2 * CODE_BITS)
            for out, code in ((self.o_q, codes[:CODE_BITS]), (self.o_r, codes[CODE_BITS:])):
                m.d.sync += out[lane].eq(Mux(emits & ~dark_then, code, 0))
        return m

    def _shifted(self, m: Module) -> tuple[Signal, Signal]:
        """(n, its place in the frame) of lane 0, SHIFT_CLOCKS after the anchor."""
        pulse, shift = self.i_anchor.pulse, self.i_shift
        low, high, first = Signal(HALF_BITS + 1), Signal(PULSE_BITS - HALF_BITS), Signal(PULSE_BITS)
        above = Signal.like(shift.pulses[HALF_BITS:].as_signed(), name="above")
        apart, place = Signal(signed(FRAME_PULSE_BITS + 1)), Signal(FRAME_PULSE_BITS)
        m.d.sync += [
            low.eq(pulse[:HALF_BITS] - shift.pulses.as_unsigned()[:HALF_BITS]),
            high.eq(pulse[HALF_BITS:]),
            above.eq(shift.pulses.as_unsigned()[HALF_BITS:].as_signed()),
            first.eq(Cat(low[:HALF_BITS], (high - above - low[HALF_BITS])[: PULSE_BITS - HALF_BITS])),
            apart.eq(self.i_anchor.frame_pulse - shift.place),
            place.eq(apart + Mux(apart[-1], self.i_grid.frame_pulses, 0)),
        ]
        return first, place

    def _lanes_of(self, m: Module, groups: list[Value], lane: Value) -> tuple[Value, Value]:
        """Codes of the pulses that begin with ``lane`` of their group, before the last register, and whether lane is 0.

        The group after it has come then: ``lane`` is of the clock in which a group that is registered here is followed by the next.
        """
        lanes, bits = self._lanes, 2 * CODE_BITS
        group, before = Signal(bits * lanes), Signal(bits * lanes)
        window = Cat(before, group[:-bits])
        coarse = Signal(bits * (2 * lanes - 1))
        fine, straight = Signal(min(2, len(lane))), Signal()
        m.d.sync += [
            group.eq(Cat(groups)),
            before.eq(group),
            coarse.eq(Mux(lane[2], window[4 * bits :], window) if len(lane) > 2 else window),
            fine.eq(lane[:2]),
            straight.eq(lane == 0),
        ]
        chosen = Signal(bits * lanes)
        for place in range(lanes):
            choices = [coarse.word_select(place + k, bits) for k in range(1 << len(fine))]
            m.d.comb += chosen.word_select(place, bits).eq(Array(choices)[fine])
        return chosen, straight
