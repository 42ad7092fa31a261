"""A Verilated node with its Ethernet core as a Python object: Ethernet frames in, Ethernet frames out.

Three clocks (125 MHz of the node and of GMII, 62.5 MHz of the core), every clock evaluated, in batches.
"""

from __future__ import annotations

import ctypes
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .rewrite import with_registers_in_place, with_short_memories
from .toolchain import PREFIX, Source, library, progress_bars

PREAMBLE = b"\x55" * 7 + b"\xd5"
LEAST_BYTES = 60
"""Of a frame without its check sequence; shorter ones are padded, as a network card does."""
CHECK_BYTES = 4


@dataclass(frozen=True, kw_only=True)
class LineFrame:
    """What left on GMII as a frame: ``data`` without preamble and check sequence; ``sound``: both were right."""

    data: bytes
    sound: bool


def line_bytes(frame: bytes, preamble: bytes = PREAMBLE) -> bytes:
    """Preamble, frame (padded) and check sequence as they go over a line."""
    padded = frame.ljust(LEAST_BYTES, b"\0")
    return preamble + padded + zlib.crc32(padded).to_bytes(CHECK_BYTES, "little")


def read_line(data: bytes) -> LineFrame:
    """The frame in bytes that were sent one after the other."""
    body, check = data[len(PREAMBLE) : -CHECK_BYTES], data[-CHECK_BYTES:]
    sound = data.startswith(PREAMBLE) and len(body) >= LEAST_BYTES and zlib.crc32(body).to_bytes(4, "little") == check
    return LineFrame(data=body, sound=sound)


class NativeWire:
    """A Verilated module ``native`` with ports ``clk, net_clk, gmii_clk, i_rx_dv, i_rx_data, o_tx_en, o_tx_data``.

    Compiled once and kept as nodes are. Raises ToolchainError or ExtraError when it cannot be compiled.
    """

    def __init__(self, verilog: str, *, title: str = "the Ethernet node", cache: Path | None = None) -> None:
        header = f'#include "{PREFIX}.h"\nusing Model = {PREFIX};\n'
        quick = with_short_memories(with_registers_in_place(verilog))
        with progress_bars(True) as bar:
            loaded = library(quick, header, step=bar(title), cache=cache, source=Source("wire.cpp"))
        pointer, number = ctypes.c_void_p, ctypes.c_uint64
        loaded.wire_create.restype = pointer
        for name in ("destroy", "now", "waiting"):
            getattr(loaded, f"wire_{name}").argtypes = [pointer]
            getattr(loaded, f"wire_{name}").restype = None if name == "destroy" else number
        loaded.wire_put.argtypes = [pointer, ctypes.c_char_p, pointer, ctypes.c_uint32]
        loaded.wire_run.argtypes = [pointer, number, ctypes.c_uint32, pointer, pointer]
        loaded.wire_run.restype = ctypes.c_uint32
        self._library = loaded
        self._wire = loaded.wire_create()

    def __del__(self) -> None:
        if getattr(self, "_wire", None):
            self._library.wire_destroy(self._wire)
            self._wire = None

    @property
    def clock(self) -> int:
        """Clocks of 125 MHz so far."""
        return int(self._library.wire_now(self._wire))

    @property
    def waiting_bytes(self) -> int:
        """Bytes that are still to go in."""
        return int(self._library.wire_waiting(self._wire))

    def put(self, lines: Sequence[bytes]) -> None:
        """What comes from the line next: frames as `line_bytes` makes them, or anything else."""
        lengths = (ctypes.c_uint32 * len(lines))(*map(len, lines))
        self._library.wire_put(self._wire, b"".join(lines), lengths, len(lines))

    def run_lines(self, clocks: int, *, one: bool = False) -> list[bytes]:
        """Runs so many clocks, or with ``one`` until a frame has left. The bytes of every frame that left."""
        data, lengths = ctypes.c_void_p(), ctypes.c_void_p()
        count = self._library.wire_run(self._wire, clocks, one, ctypes.byref(data), ctypes.byref(lengths))
        if not count:
            return []
        sizes = (ctypes.c_uint32 * count).from_address(lengths.value or 0)
        text = ctypes.string_at(data.value or 0, sum(sizes))
        found, start = [], 0
        for size in sizes:
            found.append(text[start : start + size])
            start += size
        return found

    def run(self, clocks: int, *, one: bool = False) -> list[LineFrame]:
        """As `run_lines`, read."""
        return [read_line(data) for data in self.run_lines(clocks, one=one)]
