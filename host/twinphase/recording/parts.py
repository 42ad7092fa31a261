"""A stream as a row of complete Parquet files, ``phase-0001.parquet``, ``phase-0002.parquet``, ...

Records gather in memory and become a new part every few seconds. A part appears under its name only when it is whole, so
that an interrupted run or a full disk leaves readable files and loses at most the part that was being made.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..errors import RecordingError


class PartWriter:
    """Parts of one stream. OSError when a part cannot be written; its records are then still waiting."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.parts = 0
        self.records = 0
        """Records in complete parts."""
        self._waiting: list[Mapping[str, NDArray[Any]]] = []

    @property
    def waiting(self) -> int:
        """Records in memory."""
        return sum(len(next(iter(columns.values()))) for columns in self._waiting)

    def append(self, columns: Mapping[str, NDArray[Any]]) -> None:
        """Add records, given as columns of equal length."""
        self._waiting.append({name: np.array(column) for name, column in columns.items()})

    def flush(self) -> None:
        """Make a part of what waits."""
        if not self._waiting:
            return
        names = self._waiting[0].keys()
        table = pa.table({name: np.concatenate([part[name] for part in self._waiting]) for name in names})
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        final = self.folder / f"{self.name}-{self.parts + 1:04d}.parquet"
        unfinished = final.with_suffix(".unfinished")
        try:
            unfinished.write_bytes(memoryview(sink.getvalue()))
            os.replace(unfinished, final)
        except OSError:
            unfinished.unlink(missing_ok=True)
            raise
        self.parts += 1
        self.records += table.num_rows
        self._waiting = []


def part_paths(folder: Path, name: str) -> list[Path]:
    """The parts of a stream in order."""
    paths = folder.glob(f"{name}-*.parquet")
    return sorted(paths, key=lambda path: int(number) if (number := path.stem.rpartition("-")[2]).isdigit() else -1)


def read_parts(folder: Path, name: str) -> Iterator[dict[str, NDArray[Any]]]:
    """Columns of each part in order. Raises RecordingError when one is damaged."""
    for path in part_paths(folder, name):
        try:
            table = pq.read_table(path)
        except (pa.ArrowException, OSError) as error:
            raise RecordingError(
                f"{path} is damaged ({str(error).splitlines()[0]}); remove it to read the rest"
            ) from error
        yield {column: table[column].to_numpy() for column in table.column_names}
