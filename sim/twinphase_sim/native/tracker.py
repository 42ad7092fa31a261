"""The Verilated click tracker alone: entries in, outputs out, for judging the gateware itself at speed.

Clocks in which nothing is on its way are left out: what an entry finds depends on the events of the last WRITE clocks only, and on the
turns before it, which are left their distance.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from twinphase.errors import ExtraError
from twinphase_spec import tracking
from twinphase_spec.tracking_config import ChannelConfig

from .toolchain import PREFIX, Source, library, progress_bars

DRAIN_CLOCKS = 64
"""From the last entry on, more than its latency; and no click is offered longer after the one before."""
TURN_CLOCKS = 512
"""No turn is offered longer after the entry before it: it must not come sooner after the last turn than docs/tracking.md allows."""


@dataclass(frozen=True)
class TrackerOutputs:
    """Outputs in their order: fields of the gateware's ``ClickPhase`` by name, and the clock in which each came."""

    clock: NDArray[np.uint64]
    fields: dict[str, NDArray[np.int64]]


@dataclass(frozen=True)
class _Layout:
    """Fields of a packed word: name, first bit, bits, whether signed."""

    fields: tuple[tuple[str, int, int, bool], ...]
    words: int

    def pack(self, values: dict[str, NDArray[np.int64]], count: int) -> NDArray[np.uint32]:
        bits = np.zeros((count, 32 * self.words), dtype=np.uint8)
        for name, first, width, _ in self.fields:
            if name in values:
                column = np.broadcast_to(values[name], count).astype("<u8").view(np.uint8).reshape(count, 8)
                bits[:, first : first + width] = np.unpackbits(column, axis=1, bitorder="little")[:, :width]
        return np.packbits(bits, axis=1, bitorder="little").view("<u4").reshape(count, self.words)

    def unpack(self, words: NDArray[np.uint32]) -> dict[str, NDArray[np.int64]]:
        bits = np.unpackbits(
            np.ascontiguousarray(words).view(np.uint8).reshape(len(words), -1), axis=1, bitorder="little"
        )
        result = {}
        for name, first, width, signed in self.fields:
            column = np.zeros((len(words), 64), dtype=np.uint8)
            column[:, :width] = bits[:, first : first + width]
            if signed:
                column[:, width:] = bits[:, first + width - 1 : first + width]
            result[name] = np.packbits(column, axis=1, bitorder="little").view("<i8").reshape(-1)
        return result


class _Play(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_uint64) for name in ("entries", "configs", "outputs")),
        ("epoch_bits", ctypes.c_uint32),
        *(
            (name, ctypes.c_void_p)
            for name in ("config_words", "entry_words", "idle", "taken", "output_words", "output_clocks")
        ),
    ]


class NativeTracker:
    """A click tracker of ``channels`` channels, compiled once and kept as nodes are. Every `play` starts from reset.

    Raises ToolchainError or ExtraError when the gateware cannot be compiled.
    """

    def __init__(self, channels: int, *, cache: Path | None = None, progress: bool = True) -> None:
        self.channels = channels
        verilog, self._entry, self._config, self._output = _gateware(channels)
        header = "\n".join(
            [
                f'#include "{PREFIX}.h"',
                f"using Model = {PREFIX};",
                f"constexpr unsigned ENTRY_WORDS = {self._entry.words}, CONFIG_WORDS = {self._config.words};",
                f"constexpr unsigned OUTPUT_WORDS = {self._output.words};",
                f"constexpr int DRAIN = {DRAIN_CLOCKS};",
                "",
            ]
        )
        with progress_bars(progress) as bar:
            loaded = library(verilog, header, step=bar("the click tracker"), cache=cache, source=Source("tracker.cpp"))
        loaded.tracker_play.restype, loaded.tracker_play.argtypes = ctypes.c_uint64, [ctypes.c_void_p]
        self._library = loaded

    def play(
        self,
        configs: Sequence[ChannelConfig],
        entries: dict[str, NDArray[np.int64]],
        idle: NDArray[np.int64],
        *,
        epoch_bits: int = tracking.EPOCH_BITS,
    ) -> tuple[TrackerOutputs, NDArray[np.uint64]]:
        """Outputs, and the clock in which each entry was taken.

        ``entries``: columns ``turn, time, channel, port, reference`` (n); ``idle`` (n): clocks from the one after the entry before was
        taken until an entry is offered. ValueError for other columns or another number of configurations.
        """
        names = {name for name, *_ in self._entry.fields}
        if set(entries) != names or len(configs) != self.channels:
            raise ValueError(
                f"click tracker: columns {sorted(entries)}, {len(configs)} configurations; allowed: {sorted(names)}, {self.channels}"
            )
        count = len(idle)
        events = int(np.where(entries["turn"], self.channels, 1).sum())
        words = {
            name: np.array([vars(config)[name.rpartition(".")[2]] for config in configs], dtype=np.int64)
            for name, *_ in self._config.fields
            if name != "channel"
        }
        columns: list[NDArray[np.uint32]] = [
            self._config.pack({"channel": np.arange(self.channels), **words}, self.channels),
            self._entry.pack(entries, count),
            np.ascontiguousarray(
                np.minimum(idle, np.where(entries["turn"], TURN_CLOCKS, DRAIN_CLOCKS)), dtype=np.uint32
            ),
        ]
        taken = np.zeros(count, dtype=np.uint64)
        outputs = np.zeros((events, self._output.words), dtype=np.uint32)
        clocks = np.zeros(events, dtype=np.uint64)
        addresses = [column.ctypes.data for column in columns]
        addresses += [taken.ctypes.data, outputs.ctypes.data, clocks.ctypes.data]
        request = _Play(count, self.channels, events, epoch_bits, *addresses)
        came = self._library.tracker_play(ctypes.byref(request))
        if came != events:
            raise RuntimeError(f"the click tracker gave {came} outputs for {events} events")
        return TrackerOutputs(clock=clocks, fields=self._output.unpack(outputs)), taken


def _gateware(channels: int) -> tuple[str, _Layout, _Layout, _Layout]:
    """Verilog with the top module ``native``, and the layouts of entries, configuration words and outputs."""
    try:
        from amaranth.back import verilog
        from amaranth.lib import data

        from twinphase_hdl.phase.clickconfig import ChannelWords
        from twinphase_hdl.phase.clickqueue import ClickEntry
        from twinphase_hdl.phase.clicktracker import ClickPhase, ClickTracker
    except ModuleNotFoundError as error:
        raise ExtraError("pip install 'twinphase[sim]'") from error

    def fields(shape, first: int = 0, prefix: str = ""):  # type: ignore[no-untyped-def]
        for name, field in data.Layout.cast(shape):
            if hasattr(field.shape, "as_shape") or isinstance(field.shape, data.Layout):
                yield from fields(field.shape, first + field.offset, f"{prefix}{name}.")
            else:
                shape_of = field.shape if hasattr(field.shape, "width") else None
                width = field.width
                yield f"{prefix}{name}", first + field.offset, width, bool(shape_of is not None and shape_of.signed)

    def layout(shape) -> _Layout:  # type: ignore[no-untyped-def]
        return _Layout(tuple(fields(shape)), -(-data.Layout.cast(shape).size // 32))

    text = verilog.convert(ClickTracker(channels=channels), name="native", emit_src=False, strip_internal_attrs=True)
    return text, layout(ClickEntry), layout(ChannelWords), layout(ClickPhase)
