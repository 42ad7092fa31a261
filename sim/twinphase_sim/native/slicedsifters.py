"""256 pairs of block sifters at once, as gates in vectors of 512 lanes: what `NativeSifters` does for one pair, several times as fast.

The module is the same (`sifter_top`), made into look-up tables of three inputs by Yosys (`gates`), evaluated for all lanes together
(`slices`): a lane costs the same whatever it does, where Verilator's model takes branches. A play gives what it gives in
`NativeSifters`, but for clocks.
"""

from __future__ import annotations

import ctypes
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinphase.errors import ExtraError
from twinphase_spec import sns
from twinphase_spec.registers import CLIENT

from .sifter import CLOCKS_PER_HERALD, COUNTERS, LEAST_CLOCKS, Side, SideInputs, SideOutputs, outputs_of, side_of
from .toolchain import CXX_FLAGS, LINK_FLAGS, SOURCES, Step, compiler, content_hash, cpu, kept, progress_bars, run_tool

PAIRS = 256
FLAGS = (*(flag for flag in CXX_FLAGS if flag != "-O3"), "-O1", *LINK_FLAGS)
PARTS = ("gates.py", "slices.py", "slices.h", "slicedlanes.h", "slicedpair.cpp")
OUTPUTS = (
    *(f"i_{name}__ready" for name in ("herald", "psi", "live", "peer")),
    *(f"o_{name}__{part}" for name in ("peer", "sifted") for part in ("payload", "valid")),
    *("o_copying", "o_cell", "o_bin", "o_counters", "o_idle", "o_settled"),
)
Play = tuple[SideInputs, SideInputs]
"""Alice's and Bob's."""


class SlicedSifters:
    """The pairs, compiled once and kept as nodes are. Raises ToolchainError or ExtraError when the gateware cannot be compiled.

    ``stalls``: PEER and SIFTED records are taken in half of the clocks, drawn for each side, not in all."""

    def __init__(self, *, stalls: bool = False, cache: Path | None = None, progress: bool = True) -> None:
        try:
            from .sifter_top import sifter_rtlil
        except ModuleNotFoundError as error:
            raise ExtraError("pip install 'twinphase[sim]'") from error
        rtlil, self._setup = sifter_rtlil()
        with progress_bars(progress) as bar:
            loaded = _library(rtlil, self._setup.size, bar("256 pairs of sifters"), cache)
        side, number, handle = ctypes.POINTER(Side), ctypes.c_uint32, ctypes.c_void_p
        loaded.slices_new.restype = handle
        loaded.slices_delete.argtypes = [handle]
        loaded.slices_stick.argtypes = [handle, number, number]
        loaded.slices_start.argtypes = [handle, number, side, side, number, number, ctypes.c_uint64]
        loaded.slices_run.argtypes = [handle, handle, handle]
        self._library, self._slices = loaded, loaded.slices_new(stalls)
        self._memories = np.zeros((PAIRS, 2, sns.CELLS + sns.PSI_BINS), np.uint64)
        self._counters = np.zeros((PAIRS, 2, len(COUNTERS)), np.uint64)

    def close(self) -> None:
        """Free the models."""
        if self._slices is not None:
            self._library.slices_delete(self._slices)
            self._slices = None

    def stick(self, flipflop: int, pair: int) -> None:
        """An error for a comparison to find: from now on this flip-flop (modulo their number) of a pair's Bob is 1."""
        self._library.slices_stick(self._slices, flipflop, PAIRS + pair)

    def play(
        self, plays: Iterable[Play], stopped: Callable[[], bool] = lambda: False
    ) -> Iterator[tuple[int, tuple[SideOutputs, SideOutputs] | str]]:
        """Play all; a pair that is done gets the next one. Gives the place of each play and what `NativeSifters.play` gives, as they
        end, or why it gave nothing. ``clocks`` are those from start to rest, both sides' alike.

        The first PAIRS plays are on the pairs from 0 on. It ends early when ``stopped()``, asked every 4096 clocks; with what is left
        running then, or when it is not read to its end, the sifters are closed.
        """
        left, running = enumerate(plays), dict[int, tuple[int, list[Side], list[dict[str, NDArray[Any]]]]]()
        free = list(range(PAIRS))[::-1]
        finished, stuck = np.zeros(PAIRS, np.uint32), np.zeros(PAIRS, np.uint8)
        try:
            while not stopped():
                while free and (following := next(left, None)) is not None:
                    pair, (number, inputs) = free.pop(), following
                    running[pair] = (number, *self._start(pair, inputs))
                if not running:
                    return
                count = self._library.slices_run(self._slices, finished.ctypes.data, stuck.ctypes.data)
                for pair, is_stuck in zip(finished[:count].tolist(), stuck[:count].tolist(), strict=True):
                    number, sides, arrays = running.pop(pair)
                    free.append(pair)
                    yield number, self._outputs(pair, sides, arrays, is_stuck)
        finally:
            if running:
                self.close()

    def _start(self, pair: int, inputs: Play) -> tuple[list[Side], list[dict[str, NDArray[Any]]]]:
        if self._slices is None:
            raise RuntimeError("the sifters are closed")
        made = [side_of(side, self._setup) for side in inputs]
        sides, arrays = [side for side, _ in made], [kept for _, kept in made]
        block = inputs[0].registers.get("BLOCK_HERALDS", CLIENT["BLOCK_HERALDS"].reset)
        most = LEAST_CLOCKS + CLOCKS_PER_HERALD * max(side.psi.size for side in inputs)
        self._library.slices_start(self._slices, pair, sides[0], sides[1], block, sns.RING_HERALDS, most)
        return sides, arrays

    def _outputs(
        self, pair: int, sides: list[Side], arrays: list[dict[str, NDArray[Any]]], is_stuck: int
    ) -> tuple[SideOutputs, SideOutputs] | str:
        try:
            made = [outputs_of(sides[k], arrays[k], self._memories[pair, k], self._counters[pair, k]) for k in range(2)]
        except RuntimeError as error:
            return str(error)
        finally:
            for k in range(2):
                self._memories[pair, k], self._counters[pair, k] = arrays[k]["memories"], arrays[k]["counters"]
        return f"the sifters are not at rest after {sides[0].stepped} clocks" if is_stuck else (made[0], made[1])


def _library(rtlil: str, setup_bits: int, step: Step, cache: Path | None) -> ctypes.CDLL:
    """From the cache or compiled now, under the key of everything that decides it."""
    from .gates import netlist, yosys
    from .slices import gates_header

    cxx, version = compiler()
    constants = {
        "SETUP_BITS": setup_bits,
        "COUNTERS": len(COUNTERS),
        "AGREED": COUNTERS.index("blocks_agreed"),
        "DISCARDED": COUNTERS.index("blocks_discarded"),
        "CELL_WORDS": 2 * sns.CELLS,
        "BIN_WORDS": 2 * sns.PSI_BINS,
        "CELL_BITS": (2 * sns.CELLS - 1).bit_length(),
        "BIN_BITS": (2 * sns.PSI_BINS - 1).bit_length(),
    }
    head = "#pragma once\n" + "".join(f"constexpr unsigned {name} = {value};\n" for name, value in constants.items())
    sources = "".join((SOURCES / name).read_text() for name in PARTS)
    key = content_hash(rtlil, sources, head, " ".join(FLAGS), version, yosys(), cpu())

    def make(path: Path) -> None:
        step("Yosys", 0.1)
        made = netlist(rtlil, "twinphase_client")
        with tempfile.TemporaryDirectory(prefix=key, dir=path.parent) as temporary:
            work = Path(temporary)
            (work / "gates.h").write_text(head + gates_header(made, inputs=made.inputs, outputs=OUTPUTS))
            step("g++", 0.5)
            found = [f"-I{work}", f"-I{SOURCES}", str(SOURCES / "slicedpair.cpp"), "-o", str(work / "library.so")]
            run_tool([cxx, *FLAGS, *found], "g++")
            os.replace(work / "library.so", path)

    return kept(key, make, cache)
