"""The client node on a board: packets over its serial port or as UDP, modulator codes or DAC words on pins."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module
from amaranth.lib import wiring

from twinphase_hdl.nodes.client import RECEIVED, ClientNode
from twinphase_spec.symbol_ring import RING_SYMBOLS

from .boardlink import SERIAL, BoardLink
from .boards import RING_NUMBER, Board
from .chain_sites import Site
from .clientoptions import RING_LANES, ClientOptions
from .clocking import BoardClock
from .drives import DriveLines, DrivePads
from .modulators import CodeLines, ModulatorPads
from .ports import connect_link
from .qrng import QrngPads


def connect_outputs(m: Module, board: Board, node: ClientNode, options: ClientOptions) -> None:
    """What the node emits, to the pins."""
    if options.outputs == "dac":
        assert board.drive_pins is not None
        m.submodules.modulators = drives = DrivePads(board.drive_pins, lanes=options.lanes)
        m.d.comb += [
            drives.i_valid.eq(node.o_codes_valid),
            drives.i_fraction.eq(node.o_emit_fraction),
            drives.i_q.eq(node.o_drive_q),
            drives.i_r.eq(node.o_drive_r),
        ]
        return
    some = {"number": RING_NUMBER, "columns": max(RING_LANES)} if options.symbols == "ring" else {}
    m.submodules.modulators = pads = ModulatorPads(lanes=options.lanes, **some)
    m.d.comb += [
        pads.i_valid.eq(node.o_codes_valid),
        pads.i_q.eq(node.o_codes_q),
        pads.i_r.eq(node.o_codes_r),
    ]


class ClientTop(wiring.Component):
    """The client node (`twinphase_hdl.nodes.client`), its codes on the board's modulator pins (`ModulatorPads`), or with outputs "dac"
    the words of its modulator tables on the pins of four DACs (`DrivePads`). With symbols "ring" bits of a QRNG come in (`QrngPads`).

    Heralds, final phases and the peer's records come in as packets on the serial port, and the client's own leave there: 3 Mbaud,
    300 kB/s for all of them. With link "udp" they come as datagrams to `NODE_PORT` (docs/udp.md).

    A code is launched `latency` clocks after the clock of its anchor, and the time that an output register and a pad take, alike for all
    lines, later: an offset that START_CLOCK takes off. Not measured: anything beyond the output registers, that is pads, the board's
    wires and connectors, and what 42 lines (64 of DACs) do to each other when they switch together.

    Raises ValueError for a board without the pins.
    """

    channels = 0
    """Detector inputs: none."""

    def __init__(self, board: Board, options: ClientOptions, *, build_hash: int, link: BoardLink = SERIAL) -> None:
        if board.modulator_pins is None:
            raise ValueError("client: the board has no pins for modulators")
        if options.outputs == "dac" and board.drive_pins is None:
            raise ValueError("client: the board has no pins for outputs 'dac'; allowed: 'symbols'")
        if options.symbols == "ring" and board.qrng_pins is None:
            raise ValueError("client: the board has no pins for symbols 'ring'; allowed: 'counter'")
        self._board = board
        self.options = options
        self.link = link
        self.delay_lines: dict[Site, int] = {}
        ring = options.symbols == "ring"
        self._node = ClientNode(
            lanes=options.lanes,
            shared_recall=None if ring else options.recall == "shared",
            symbols=options.symbols,
            ring_symbols=options.ring_symbols or RING_SYMBOLS,
            build_hash=build_hash,
            clock_hz=board.clock_hz,
        )
        super().__init__({})

    @property
    def latency(self) -> int:
        """Clocks from an anchor to its codes or words at the inputs of the output registers."""
        return self._node.latency + (DriveLines if self.options.outputs == "dac" else CodeLines).latency

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.clock = BoardClock(net=self.link.kind == "udp")
        m.submodules.node = node = self._node
        connect_outputs(m, self._board, node, self.options)
        if self.options.symbols == "ring":
            m.submodules.qrng = pads = QrngPads(lanes=self.options.lanes)
            m.d.comb += [
                node.i_qrng.eq(pads.o.payload),
                node.i_qrng_valid.eq(pads.o.valid),
                pads.o.ready.eq(node.o_qrng_ready),
            ]
        connect_link(m, platform, self._board, node, self.link, streams=RECEIVED)
        return m
