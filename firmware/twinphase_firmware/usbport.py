"""A node's packets through the board's USB 2.0 PHY."""

from __future__ import annotations

from importlib import metadata
from typing import Any

from amaranth.hdl import Module
from amaranth.lib import wiring

from twinphase.errors import ExtraError

from .boardlink import BoardLink
from .boards import Board

NOT_CHECKED = (
    "set-up and hold of the ULPI pins against the PHY's 60 MHz clock, which the FPGA drives out of a pin; ports of less than high speed "
    "(480 Mb/s), at which the device has no endpoints that a host allows"
)
"""What a manifest says of a board with this link."""


def check_packages() -> dict[str, str]:
    """Version of the package with the USB device. Raises ExtraError."""
    try:
        return {"luna-usb": metadata.version("luna-usb")}
    except metadata.PackageNotFoundError as error:
        raise ExtraError("pip install 'twinphase[build]'") from error


def connect_usb(m: Module, platform: Any, board: Board, node: Any, link: BoardLink) -> None:
    """The node's packets to and from the board's PHY, in domain ``usb``. ValueError for a board without one."""
    from twinphase_hdl.link.usb import UsbLink

    if board.ulpi is None:
        raise ValueError(f"link 'usb': {board.name} has no USB PHY; allowed: 'serial'")
    m.submodules.usb = usb = UsbLink(bus=platform.request(*board.ulpi), serial=link.usb_serial)
    wiring.connect(m, node.tx, usb.tx)
    wiring.connect(m, usb.rx, node.rx)
