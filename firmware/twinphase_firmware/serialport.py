"""A node's packets on the board's serial port."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module
from amaranth.lib import io, wiring

from twinphase_hdl.link.serial import SerialLink

from .boards import BAUD, Board


def connect_serial(m: Module, platform: Any, board: Board, node: Any, *, small: bool = False) -> None:
    """The node's packets to and from the board's serial port; ``small``: without memory. ValueError for a board
    without one."""
    if board.uart is None:
        raise ValueError(f"link 'serial': {board.name} has no serial port for a node; allowed: {board.link!r}")
    uart = platform.request("uart", board.uart, dir={"rx": "-", "tx": "-"} | board.uart_flow)
    m.submodules.rx_pin = rx_pin = io.FFBuffer("i", uart.rx)
    m.submodules.tx_pin = tx_pin = io.FFBuffer("o", uart.tx)
    m.submodules.serial = serial = SerialLink(divisor=round(board.clock_hz / BAUD), checked=not small)
    wiring.connect(m, node.tx, serial.tx)
    wiring.connect(m, serial.rx, node.rx)
    m.d.comb += [serial.i_line.eq(rx_pin.i), tx_pin.o.eq(serial.o_line)]
