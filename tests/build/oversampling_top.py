"""A top with nothing but four-fold oversampling of the board's detector pins."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import io, wiring

from twinphase_firmware.boards import Board
from twinphase_firmware.oversampling import OversampledPins, OversamplingClock
from twinphase_hdl.timetag.oversample import OversamplingFrontEnd


class OversamplingTop(wiring.Component):
    """All edges' times meet in one parity on the serial port's pin."""

    def __init__(self, board: Board, *, lanes: int) -> None:
        self._board, self._lanes = board, lanes
        super().__init__({})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.clock = clock = OversamplingClock()
        m.submodules.pins = pins = io.Buffer("i", platform.request("detectors", dir="-"))
        uart = platform.request("uart", self._board.uart, dir={"rx": "-", "tx": "-"} | self._board.uart_flow)
        m.submodules.rx_pin = rx_pin = io.FFBuffer("i", uart.rx)
        m.submodules.tx_pin = tx_pin = io.FFBuffer("o", uart.tx)
        channels = len(pins.i)
        # A register per channel, as a node has, some way from the pin.
        invert = Signal(3 + channels, reset_less=True)
        m.d.sync += invert.eq(Cat(rx_pin.i, invert))
        m.submodules.sampled = sampled = OversampledPins(channels=channels)
        m.submodules.edges = edges = OversamplingFrontEnd(channels=channels, lanes=self._lanes)
        m.d.comb += [
            sampled.i_pins.eq(pins.i),
            sampled.i_edge_clock.eq(clock.o_edge_clock),
            sampled.i_reset.eq(clock.o_reset),
            edges.i_samples.eq(sampled.o_samples),
            edges.i_invert.eq(invert[3:]),
        ]
        m.d.sync += tx_pin.o.eq(edges.o.valid.xor() ^ edges.o.fine.as_value().xor())
        return m
