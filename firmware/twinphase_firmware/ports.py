"""Which of a board's ports a node's packets take."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from amaranth.hdl import Module

from twinphase_spec.packets import Stream
from twinphase_spec.tagger import TaggerOptions

from .boardlink import BoardLink
from .boards import Board
from .clientoptions import ClientOptions
from .ethernet import check_packages, connect_udp
from .serialport import connect_serial
from .usbport import check_packages as check_usb_packages
from .usbport import connect_usb


def check_link(board: Board, options: TaggerOptions | ClientOptions, link: BoardLink) -> None:
    """ValueError where the board or the node's clocks do not allow ``link``; ExtraError where packages are missing that write it."""
    if link.kind == "serial" and board.uart is None:
        raise ValueError(f"link 'serial' on a board without a serial port for a node; allowed: {board.link!r}")
    if link.kind == "usb":
        if board.ulpi is None:
            raise ValueError("link 'usb' on a board without a USB PHY that is known here; allowed: 'serial'")
        check_usb_packages()
    if link.kind != "udp":
        return
    if board.rgmii is None:
        raise ValueError(f"link 'udp' on a board without an Ethernet PHY that is known here; allowed: {board.link!r}")
    if isinstance(options, TaggerOptions) and options.frontend == "oversampling":
        raise ValueError("link 'udp' with front end 'oversampling', whose clock has no half; allowed: 'serial'")
    check_packages()


def connect_link(
    m: Module,
    platform: Any,
    board: Board,
    node: Any,
    link: BoardLink,
    *,
    small: bool = False,
    streams: Iterable[Stream] = (),
) -> None:
    """The node's packets to and from ``link``; ``small``: over a serial port without memory; ``streams``: what the node takes besides
    requests, of which UDP must be told (the other links hand on whatever comes)."""
    if link.kind == "udp":
        connect_udp(m, platform, board, node, link, streams=streams)
    elif link.kind == "usb":
        connect_usb(m, platform, board, node, link)
    else:
        connect_serial(m, platform, board, node, small=small)
