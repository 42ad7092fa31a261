"""The DAC words of a client's modulators on pins: which bits come out, and in which half of a clock. Wiring: docs/client_board.md."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.core.along import delayed
from twinphase_hdl.sift.modulators import Drive, ModulatorTables
from twinphase_spec.emission import FRACTION_BITS

from .clientoptions import DAC_LANES
from .drivepins import DrivePins
from .modulators import launch


class DriveLines(wiring.Component):
    """DAC words of ``lanes`` pulses per clock as one column of lines with a value in each half of a clock: with one lane its pulse for
    the whole clock, with two lanes that of lane 0 in the first half and that of lane 1 in the second.

    Members
    -------
    i_valid, i_fraction : In(1), In(13), in step with the emitter's codes
    i_q, i_r : In(ArrayLayout(Drive, lanes)), their words, `ModulatorTables.latency` clocks later
    o_valid : Out(ArrayLayout(1, 2)), i_valid, first half first
    o_clock : Out(ArrayLayout(1, 2)): one lane 0, 1, so that it rises in the middle of the data; two lanes 1, 0, so that it rises with the
        data of the first half and falls with those of the second
    o_fraction : Out(ArrayLayout(13, 2)), in step with the pulses that it moves
    o_q, o_r : Out(ArrayLayout(Drive, 2)), words of each half. While not valid the codes are dark, and these the entries of VAC, phase 0;
        0 at power-up, as that entry is.

    Latency: ``latency`` clocks from the codes (o_clock: constant). Throughput: ``lanes`` pulses per clock. Overflow: none.
    ``lanes``: 1 or 2. ValueError otherwise.
    """

    latency = ModulatorTables.latency + 1

    def __init__(self, *, lanes: int) -> None:
        if lanes not in DAC_LANES:
            raise ValueError(f"DriveLines: lanes is {lanes}; allowed: 1 or 2")
        self._lanes = lanes
        super().__init__(
            {
                "i_valid": In(1),
                "i_fraction": In(FRACTION_BITS),
                "i_q": In(data.ArrayLayout(Drive, lanes)),
                "i_r": In(data.ArrayLayout(Drive, lanes)),
                "o_valid": Out(data.ArrayLayout(1, 2)),
                "o_clock": Out(data.ArrayLayout(1, 2)),
                "o_fraction": Out(data.ArrayLayout(FRACTION_BITS, 2)),
                "o_q": Out(data.ArrayLayout(Drive, 2)),
                "o_r": Out(data.ArrayLayout(Drive, 2)),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        double = self._lanes == max(DAC_LANES)
        valid = delayed(m, self.i_valid, ModulatorTables.latency, "valid")
        fraction = delayed(m, self.i_fraction, ModulatorTables.latency, "fraction")
        m.d.comb += [self.o_clock[0].eq(double), self.o_clock[1].eq(not double)]
        for half, lane in enumerate((0, self._lanes - 1)):
            m.d.sync += [
                self.o_valid[half].eq(valid),
                self.o_fraction[half].eq(fraction),
                self.o_q[half].eq(self.i_q[lane]),
                self.o_r[half].eq(self.i_r[lane]),
            ]
        return m


class DrivePads(wiring.Component):
    """`DriveLines` on the ``pins`` of the platform's resource ``drive``.

    Every line and the bus clock come from the same kind of output register (double data rate), so that they are launched together.

    Members: i_valid, i_fraction, i_q, i_r as those of `DriveLines`.
    """

    def __init__(self, pins: DrivePins, *, lanes: int) -> None:
        self._names = tuple(pins.groups())
        self._lines = DriveLines(lanes=lanes)
        members = {name: member for name, member in self._lines.signature.members.items() if name.startswith("i_")}
        super().__init__(members)

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.lines = lines = self._lines
        m.d.comb += [getattr(lines, name).eq(getattr(self, name)) for name in self.signature.members]
        pins = platform.request("drive", 0, dir=dict.fromkeys(self._names, "-"))
        for name in self._names:
            port = getattr(pins, name)
            if name == "clocks":
                values = lines.o_clock
            elif name == "valid":
                values = lines.o_valid
            elif name == "fraction":
                values = [value[FRACTION_BITS - len(port) :] for value in lines.o_fraction]
            else:
                band, _, word = name.partition("_")
                values = [half[word] for half in getattr(lines, f"o_{band}")]
            launch(m, name, port, (values[0], values[1]))
        return m
