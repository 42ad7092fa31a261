"""What goes onto a board: a node with its pins, clock and serial link."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module
from amaranth.lib import io, wiring

from twinphase.errors import TwinphaseError
from twinphase_hdl.link.serial import SerialLink
from twinphase_hdl.nodes.server import ServerNode
from twinphase_spec.registers import CHANNELS
from twinphase_spec.units import CLOCK_HZ

from .boards import BAUD, Board
from .clocking import BoardClock


class ServerTop(wiring.Component):
    """The server node on a board: four detector pins through DDR input registers, packets over the serial port.

    One more register behind the DDR input lets metastable samples settle; this and the input register delay all channels
    alike by two clocks (16 ns), a constant offset of the node's time that no measurement between its channels sees.
    """

    def __init__(self, board: Board, *, build_hash: int) -> None:
        self._board = board
        self._build_hash = build_hash
        super().__init__({})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.clock = BoardClock()
        m.submodules.node = node = ServerNode(frontend="ddr", build_hash=self._build_hash)
        m.submodules.pins = pins = io.DDRBuffer("i", platform.request("detectors", dir="-"))
        for channel in range(len(CHANNELS)):
            m.d.sync += node.i_samples[channel].eq(Cat(pins.i[0][channel], pins.i[1][channel]))

        uart = platform.request("uart", self._board.uart, dir={"rx": "-", "tx": "-"} | self._board.uart_flow)
        m.submodules.rx_pin = rx_pin = io.FFBuffer("i", uart.rx)
        m.submodules.tx_pin = tx_pin = io.FFBuffer("o", uart.tx)
        m.submodules.serial = serial = SerialLink(divisor=round(CLOCK_HZ / BAUD))
        wiring.connect(m, node.tx, serial.tx)
        wiring.connect(m, serial.rx, node.rx)
        m.d.comb += [serial.i_line.eq(rx_pin.i), tx_pin.o.eq(serial.o_line)]
        return m


def make_top(node: str, board: Board, *, build_hash: int) -> wiring.Component:
    """The top of ``node`` for ``board``. TwinphaseError for a node that has no board top."""
    if node != "server":
        raise TwinphaseError(f"node {node!r} has no board top; allowed: server")
    return ServerTop(board, build_hash=build_hash)
