"""A top with nothing but delay lines: what they cost and how they are placed, and netlists to tamper with."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import io, wiring

from twinphase_firmware.boards import Board
from twinphase_firmware.build import build_environment, make_plan
from twinphase_firmware.chain_sites import Site, chain_sites
from twinphase_firmware.clocking import BoardClock
from twinphase_firmware.delayline import DelayLine, TestOscillator
from twinphase_spec.tdc import chain_taps, has_twins


class DelayLineTop(wiring.Component):
    """The board's four detector pins (more channels than four share them) on delay lines, whose taps meet in a pipelined parity."""

    def __init__(
        self,
        board: Board,
        *,
        channels: int,
        chains: int,
        taps: int,
        lanes: int,
        middle_row: int | None = None,
    ):
        self._board, self._lanes, self._taps = board, lanes, taps
        twins = has_twins(taps, lanes)
        along = chain_taps(taps, twins)
        self._sites = chain_sites(
            board.part, channels=channels, chains=chains, taps=along, twins=twins, middle_row=middle_row
        )
        self.delay_lines: dict[Site, int] = {site: along for sites in self._sites for site in sites}
        super().__init__({})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.clock = BoardClock(lanes=self._lanes)
        m.submodules.oscillator = oscillator = TestOscillator()
        m.submodules.pins = pins = io.Buffer("i", platform.request("detectors", dir="-"))
        uart = platform.request("uart", self._board.uart, dir={"rx": "-", "tx": "-"} | self._board.uart_flow)
        m.submodules.rx_pin = rx_pin = io.FFBuffer("i", uart.rx)
        m.submodules.tx_pin = tx_pin = io.FFBuffer("o", uart.tx)
        parities = []
        for channel, sites in enumerate(self._sites):
            m.submodules[f"line{channel}"] = line = DelayLine(taps=self._taps, sites=sites)
            m.d.comb += [
                line.i_pin.eq(pins.i[channel % len(pins.i)]),
                line.i_test.eq(oscillator.o_clock),
                line.i_source.eq(rx_pin.i),
                line.i_invert.eq(channel // len(pins.i)),
            ]
            parities.append(self._parity(m, list(Value.cast(line.o_taps)), f"parity{channel}") ^ line.o_level)
        m.d.sync += tx_pin.o.eq(self._parity(m, parities, "parity"))
        return m

    @staticmethod
    def _parity(m: Module, bits: list[Any], name: str) -> Any:
        while len(bits) > 1:
            level = []
            for first in range(0, len(bits), 4):
                parity = Signal(name=f"{name}_{len(bits)}_{first}", reset_less=True)
                m.d.tdc += parity.eq(Value.cast(sum(bits[first + 1 : first + 4], start=bits[first]))[0])
                level.append(parity)
            bits = level
        return bits[0]


def build_lines(top: DelayLineTop, board: Board, folder: Path, *, seed: int = 1) -> Path:
    """Synthesises, places and routes; what the tools wrote is in ``folder``."""
    os.environ["AMARANTH_ENV_TRELLIS"] = ""
    make_plan(board.prepare(), top, seed=seed).execute_local(str(folder), env=build_environment())
    return folder
