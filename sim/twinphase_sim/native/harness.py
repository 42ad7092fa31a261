"""The C side of a native node as Python calls it (`harness.cpp`): its structures, what they are made of, and the functions' signatures.

A structure holds addresses of numpy arrays: who makes it keeps them until the call is over.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import astuple, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinphase_spec.frame import Anchor, FrameConfig
from twinphase_spec.units import CLOCK_BITS

CLOCK_MASK = (1 << CLOCK_BITS) - 1
POINTER = ctypes.c_void_p
ANCHOR_FIELDS = tuple(member.name for member in fields(Anchor))


class AnchorWords(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ANCHOR_FIELDS]


class FrameWords(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_uint64)
        for name in ("running", "start_clock", "period", "frame_pulses", "frames_per_window", "windows_per_dwindow")
    ]


class Request(ctypes.Structure):
    """What `NativeNode.run` takes."""

    _fields_ = [
        ("until", ctypes.c_uint64),
        ("edge_ticks", POINTER),
        ("edge_channels", POINTER),
        ("edge_values", POINTER),
        ("edges", ctypes.c_uint64),
        ("rx_clocks", POINTER),
        ("rx_ends", POINTER),
        ("rx_words", POINTER),
        ("rx_packets", ctypes.c_uint64),
        ("tx_ready", POINTER),
        ("tx_ready_length", ctypes.c_uint64),
        ("codes_first", ctypes.c_uint64),
        ("codes_last", ctypes.c_uint64),
        ("skip", ctypes.c_uint32),
        ("word_clocks", ctypes.c_uint32),
        ("light", POINTER),
        ("clicked", POINTER),
    ]


def anchor_words(anchor: Anchor) -> AnchorWords:
    return AnchorWords(*astuple(anchor))


def frame_words(frame: FrameConfig, running: bool) -> FrameWords:
    return FrameWords(
        running=running,
        start_clock=frame.start_clock,
        period=frame.period_q32,
        frame_pulses=frame.frame_pulses,
        frames_per_window=frame.frames_per_window,
        windows_per_dwindow=frame.windows_per_dwindow,
    )


def rx_arrays(
    rx: Sequence[tuple[int, bytes]],
) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint32]]:
    """Clock and end (in words) of each packet, and the words of all. ValueError for packets that are none."""
    for clock, packet in rx:
        if not packet or len(packet) % 4:
            raise ValueError(
                f"the rx packet at clock {clock} has {len(packet)} bytes; allowed: a positive multiple of 4"
            )
    clocks = np.array([clock & CLOCK_MASK for clock, _ in rx], np.uint64)
    ends = np.cumsum([len(packet) // 4 for _, packet in rx], dtype=np.uint64)
    return clocks, ends, np.frombuffer(b"".join(packet for _, packet in rx), "<u4").astype(np.uint32)


def declare(loaded: ctypes.CDLL) -> ctypes.CDLL:
    """It, with the types of its functions."""
    pointer, u64 = POINTER, ctypes.c_uint64
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "node_create": (pointer, []),
        "node_destroy": (None, [pointer]),
        "node_clock": (u64, [pointer]),
        "node_model_clock": (u64, [pointer]),
        "node_cycles": (u64, [pointer]),
        "node_idle": (ctypes.c_int, [pointer]),
        "node_source": (u64, [pointer]),
        "node_load": (None, [pointer, pointer]),
        "node_set_light": (None, [pointer, pointer]),
        "node_set_frame": (None, [pointer, pointer]),
        "node_set_qrng": (None, [pointer, u64, u64]),
        "node_check": (u64, [pointer, pointer, pointer]),
        "node_run": (pointer, [pointer, pointer]),
        "output_free": (None, [pointer]),
        "output_vector": (pointer, [pointer, ctypes.c_int, pointer]),
        "frame_advance": (None, [pointer, pointer, u64, pointer]),
        "frame_clocks_to_close": (u64, [pointer, pointer]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(loaded, name)
        function.restype, function.argtypes = result, arguments
    return loaded
