"""A client's modulator codes on pins: which bits come out, and in which half of a clock. Wiring: docs/client_board.md."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import C, Cat, Module, Value
from amaranth.lib import data, io, wiring
from amaranth.lib.wiring import In, Out

from twinphase_spec.symbols import CODE_BITS, PHASE_CODE_BITS, SLICE_BITS

from .modulatorpins import COLUMNS, Q_LINES, QUARTER_BITS, R_LINES


def q_lines(code: Value) -> Value:
    """The `Q_LINES` of a code of the q band. What is left out, the phase's lower bits, is 0 in every code of a symbol or a step."""
    return Cat(code[PHASE_CODE_BITS:], code[PHASE_CODE_BITS - SLICE_BITS : PHASE_CODE_BITS])


def r_lines(code: Value) -> Value:
    """The `R_LINES` of a code of the r band, whose level is REF or VAC and whose phase is a quarter turn's multiple."""
    return Cat(code[CODE_BITS - 1], code[PHASE_CODE_BITS - QUARTER_BITS : PHASE_CODE_BITS])


def launch(m: Module, name: str, port: Any, halves: tuple[Value, Value]) -> None:
    """Output registers ``<name>_pins`` at double data rate for ``port``: the values of both halves of a clock, first half first, as often
    side by side as the port is wide."""
    m.submodules[f"{name}_pins"] = buffer = io.DDRBuffer("o", port)
    m.d.comb += [buffer.o[half].eq(value.replicate(len(port) // len(value))) for half, value in enumerate(halves)]


class CodeLines(wiring.Component):
    """Codes of ``lanes`` pulses per clock as lines with a value in each half of a clock.

    There are ``columns = min(lanes, 4)`` pulses side by side: with up to 4 lanes column c is lane c for the whole clock, with 8 lanes
    it is lane c in the first half and lane 4 + c in the second.

    Members
    -------
    i_valid : In(1)
    i_q, i_r : In(ArrayLayout(11, lanes)), codes ``level << 8 | phase`` (`twinphase_spec.symbols`), 0 while not valid
    o_valid : Out(ArrayLayout(1, 2)), i_valid, first half first
    o_clock : Out(ArrayLayout(1, 2)): up to 4 lanes 0, 1, so that it rises in the middle of the data; 8 lanes 1, 0, so that it rises with
        the data of the first half and falls with those of the second
    o_q, o_r : Out(ArrayLayout(ArrayLayout(lines, columns), 2)), `q_lines` and `r_lines` of each column, first half first

    Latency: 1 clock (o_clock: constant). Throughput: ``lanes`` pulses per clock. Overflow: none. ValueError for lanes other than
    1, 2, 4, 8.
    """

    latency = 1

    def __init__(self, *, lanes: int) -> None:
        if lanes not in (1, 2, 4, 8):
            raise ValueError(f"CodeLines: lanes is {lanes}; allowed: 1, 2, 4 or 8")
        self._lanes = lanes
        self.columns = min(lanes, COLUMNS)
        super().__init__(
            {
                "i_valid": In(1),
                "i_q": In(data.ArrayLayout(CODE_BITS, lanes)),
                "i_r": In(data.ArrayLayout(CODE_BITS, lanes)),
                "o_valid": Out(data.ArrayLayout(1, 2)),
                "o_clock": Out(data.ArrayLayout(1, 2)),
                "o_q": Out(data.ArrayLayout(data.ArrayLayout(Q_LINES, self.columns), 2)),
                "o_r": Out(data.ArrayLayout(data.ArrayLayout(R_LINES, self.columns), 2)),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        second = self._lanes - self.columns
        """Lane of column 0 in the second half."""
        m.d.comb += [self.o_clock[0].eq(second > 0), self.o_clock[1].eq(second == 0)]
        for half, first_lane in enumerate((0, second)):
            m.d.sync += self.o_valid[half].eq(self.i_valid)
            for column in range(self.columns):
                lane = first_lane + column
                m.d.sync += [
                    self.o_q[half][column].eq(q_lines(self.i_q[lane])),
                    self.o_r[half][column].eq(r_lines(self.i_r[lane])),
                ]
        return m


class ModulatorPads(wiring.Component):
    """`CodeLines` on the pins of the platform's resource ``modulators``; pins of columns that are not there stay 0.

    ``number``, ``columns``: of the resource, and how many columns it has.

    Every line and the bus clock come from the same kind of output register (double data rate), so that they are launched together.

    Members: i_valid, i_q, i_r as those of `CodeLines`.
    """

    def __init__(self, *, lanes: int, number: int = 0, columns: int = COLUMNS) -> None:
        self._lines = CodeLines(lanes=lanes)
        self._number, self._columns = number, columns
        members = {name: member for name, member in self._lines.signature.members.items() if name.startswith("i_")}
        super().__init__(members)

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.lines = lines = self._lines
        m.d.comb += [getattr(lines, name).eq(getattr(self, name)) for name in self.signature.members]
        names = ("clocks", "valid", *(f"{band}{column}" for band in "qr" for column in range(self._columns)))
        pins = platform.request("modulators", self._number, dir=dict.fromkeys(names, "-"))

        launch(m, "clocks", pins.clocks, (lines.o_clock[0], lines.o_clock[1]))
        launch(m, "valid", pins.valid, (lines.o_valid[0], lines.o_valid[1]))
        for column in range(self._columns):
            for band, halves in (("q", lines.o_q), ("r", lines.o_r)):
                there = column < lines.columns
                values = (halves[0][column], halves[1][column]) if there else (C(0, 1), C(0, 1))
                launch(m, f"{band}{column}", getattr(pins, f"{band}{column}"), values)
        return m
