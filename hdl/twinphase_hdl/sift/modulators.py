"""Modulator codes to DAC words: a table per band, read by every lane in every clock."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from twinphase_spec.drive import BAND_WORDS, BANDS, DRIVE_BITS, ENTRY_BITS, TABLE_WORDS, entry_address, identity_table
from twinphase_spec.registers import CLIENT_LANES
from twinphase_spec.symbols import CODE_BITS, PHASE_CODE_BITS, SLICE_BITS, Level

LEVELS_BELOW_REF = Level.REF.value
ADDRESS_BITS = (TABLE_WORDS - 1).bit_length()
QUARTER = 1 << SLICE_BITS - 2
"""Entries from one reference step to the next."""


class Drive(data.Struct):
    """Words of a band's two DACs."""

    intensity: DRIVE_BITS
    phase: DRIVE_BITS


class ModulatorTables(wiring.Component):
    """``entry[band][code >> 4]`` for every lane and both bands.

    Each lane has its own copy in LUT RAM, of the entries that codes can name: in the q band all phases of the levels below REF and the
    four steps of REF, in the r band those of VAC and REF. At power-up `twinphase_spec.drive.identity_table`.

    Members
    -------
    i_write, i_address, i_data : In(1), In(8), In(24), write port of MODULATOR_TABLE; entries that no code names are not kept
    i_q, i_r : In(ArrayLayout(11, lanes)), codes of the emitter
    o_q, o_r : Out(ArrayLayout(Drive, lanes)), words of the codes of ``latency`` clocks ago

    Latency: ``latency`` clocks. Throughput: ``lanes`` codes of both bands per clock, while entries are written as well: a code gets the
    entry before or after. No overflow. Source: docs/modulators.md.

    ``lanes``: 1, 2, 4 or 8. ValueError otherwise.
    """

    latency = 2

    def __init__(self, *, lanes: int = CLIENT_LANES) -> None:
        if lanes not in (1, 2, 4, 8):
            raise ValueError(f"ModulatorTables: lanes is {lanes}; allowed: 1, 2, 4 or 8")
        self._lanes = lanes
        super().__init__(
            {
                "i_write": In(1),
                "i_address": In(ADDRESS_BITS),
                "i_data": In(ENTRY_BITS),
                "i_q": In(data.ArrayLayout(CODE_BITS, lanes)),
                "i_r": In(data.ArrayLayout(CODE_BITS, lanes)),
                "o_q": Out(data.ArrayLayout(Drive, lanes)),
                "o_r": Out(data.ArrayLayout(Drive, lanes)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        step, level = self.i_address[:SLICE_BITS], self.i_address[SLICE_BITS : ADDRESS_BITS - 1]
        of_r = self.i_address[-1]
        quarter, is_quarter = step[SLICE_BITS - 2 :], step[: SLICE_BITS - 2] == 0
        is_ref = level == Level.REF
        symbols = self.i_write & ~of_r & ~level[-1]
        steps_q = self.i_write & ~of_r & is_ref & is_quarter
        steps_r = self.i_write & of_r & (is_ref | (level == Level.VAC)) & is_quarter
        identity = identity_table()
        q, r = (identity[BAND_WORDS * k : BAND_WORDS * (k + 1)] for k in range(len(BANDS)))
        ref = entry_address("q", Level.REF << PHASE_CODE_BITS)
        ref_q, ref_r, dark_r = q[ref::QUARTER][:4], r[ref::QUARTER][:4], r[::QUARTER][:4]
        for lane in range(self._lanes):
            code_q, code_r = self.i_q[lane], self.i_r[lane]
            bright = code_q[-1]
            of_symbol = self._read(
                m,
                f"symbols{lane}",
                q[:ref],
                symbols,
                self.i_address[: SLICE_BITS + 2],
                code_q[PHASE_CODE_BITS - SLICE_BITS : CODE_BITS - 1],
            )
            of_step = self._read(
                m, f"steps_q{lane}", ref_q, steps_q, quarter, code_q[PHASE_CODE_BITS - 2 : PHASE_CODE_BITS]
            )
            place_r = Value.cast(code_r[PHASE_CODE_BITS - 2 : PHASE_CODE_BITS])
            entry_r = self._read(
                m,
                f"steps_r{lane}",
                dark_r + ref_r,
                steps_r,
                (quarter | level[-1] << 2)[:3],
                (place_r | code_r[-1] << 2)[:3],
            )
            was_bright = Signal(name=f"bright{lane}")
            m.d.sync += [
                was_bright.eq(bright),
                self.o_q[lane].eq(Mux(was_bright, of_step, of_symbol)),
                self.o_r[lane].eq(entry_r),
            ]
        return m

    def _read(
        self, m: Module, name: str, init: list[int], write: Value, write_address: Value, address: Value
    ) -> Signal:
        """The entry at ``address``, a clock later, of a copy of its own."""
        m.submodules[name] = copy = memory.Memory(
            shape=ENTRY_BITS, depth=len(init), init=init, attrs={"ram_style": "distributed"}
        )
        port, read = copy.write_port(), copy.read_port(domain="comb")
        entry = Signal(ENTRY_BITS, name=f"{name}_entry", reset_less=True)
        m.d.comb += [port.en.eq(write), port.addr.eq(write_address), port.data.eq(self.i_data), read.addr.eq(address)]
        m.d.sync += entry.eq(read.data)
        return entry
