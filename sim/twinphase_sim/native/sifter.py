"""Two Verilated block sifters with their recall, Alice and Bob: heralds and psi in, records of both out, for judging them at speed.

Each side is `twinphase_hdl.sift.block.BlockSifter` with `CounterRecall` and `KeySchedule`, joined as the node with a recall of its own
joins them. The harness hands the PEER records of one side to the other, and leaves out the clocks in which a side says that it is idle
and nothing comes for it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from twinphase.errors import ExtraError
from twinphase_spec import sns
from twinphase_spec.packets import HERALD_DTYPE, LIVE_DTYPE, PEER_DTYPE, PSI_DTYPE, SIFTED_DTYPE
from twinphase_spec.registers import CLIENT, CORE_COUNTERS

from .rewrite import for_verilator
from .toolchain import Source, library, model_names, progress_bars

if TYPE_CHECKING:
    from .sifter_top import Setup

COUNTERS = tuple(name for name in CLIENT.counter_names if name not in dict(CORE_COUNTERS))
LEAST_CLOCKS, CLOCKS_PER_HERALD = 1 << 20, 200
"""A play that takes longer has come to a stop."""
FASTEST = ("-O2", "-fno-tree-pre", "-fno-gcse", "-fno-tree-vectorize")
"""For one function of ten thousand lines: what moves values about in it costs more than it saves (-O3 is a fifth slower)."""
PEER_PER_HERALD = 3
"""PEER records of a side: at most two a herald and a few a block."""


@dataclass(frozen=True)
class SideInputs:
    """What one client gets. ``registers``: by name, as in `twinphase_sim.model.client`; those that are not there have reset values.

    ``late_clocks``: before its first herald is offered; ``peer_clocks``: a message of the peer is on its way for so long. ``live_due``:
    for each LIVE record, how many heralds are taken before it is offered; they come 17 clocks apart at least."""

    registers: Mapping[str, int]
    heralds: NDArray[np.void]
    psi: NDArray[np.void]
    late_clocks: int = 0
    peer_clocks: int = 0
    live: NDArray[np.void] = field(default_factory=lambda: np.zeros(0, LIVE_DTYPE))
    live_due: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, np.uint64))


@dataclass(frozen=True)
class SideOutputs:
    """What one client gave. ``cells``, ``bins``, ``counters``: what this play has added to them."""

    sifted: NDArray[np.void]
    peer: NDArray[np.void]
    cells: NDArray[np.uint64]
    bins: NDArray[np.uint64]
    counters: dict[str, int]
    clocks: int
    """In which it was not at rest."""


class Side(ctypes.Structure):
    """As in sifterpair.cpp."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("setup", "heralds", "psi", "live", "live_due")),
        *((name, ctypes.c_uint64) for name in ("herald_count", "psi_count", "live_count")),
        *((name, ctypes.c_void_p) for name in ("sifted", "peer")),
        *((name, ctypes.c_uint64) for name in ("sifted_room", "peer_room", "sifted_count", "peer_count")),
        *((name, ctypes.c_uint64) for name in ("late_clocks", "peer_clocks", "stepped")),
        *((name, ctypes.c_void_p) for name in ("memories", "counters")),
    ]


class NativeSifters:
    """The pair, compiled once and kept as nodes are. Raises ToolchainError or ExtraError when the gateware cannot be compiled."""

    def __init__(self, *, cache: Path | None = None, progress: bool = True) -> None:
        try:
            from .sifter_top import sifter_verilog
        except ModuleNotFoundError as error:
            raise ExtraError("pip install 'twinphase[sim]'") from error
        verilog, self._setup = sifter_verilog()
        header = _header(-(-self._setup.size // 32))
        with progress_bars(progress) as bar:
            source = Source("sifterpair.cpp", ("clocks.h",), FASTEST)
            loaded = library(
                for_verilator(verilog, "client"), header, step=bar("the sifters"), cache=cache, source=source
            )
        loaded.pair_new.restype = ctypes.c_void_p
        loaded.pair_delete.argtypes = [ctypes.c_void_p]
        side, number = ctypes.POINTER(Side), ctypes.c_uint32
        loaded.pair_play.restype = ctypes.c_uint64
        loaded.pair_play.argtypes = [ctypes.c_void_p, side, side, number, number, ctypes.c_uint64]
        self._library, self._pair = loaded, loaded.pair_new()
        self._memories = [np.zeros(sns.CELLS + sns.PSI_BINS, np.uint64) for _ in range(2)]
        self._counters = [np.zeros(len(COUNTERS), np.uint64) for _ in range(2)]

    def close(self) -> None:
        """Free the models."""
        if self._pair is not None:
            self._library.pair_delete(self._pair)
            self._pair = None

    def play(self, alice: SideInputs, bob: SideInputs) -> tuple[SideOutputs, SideOutputs]:
        """Stop both, set them up, play all inputs until both are at rest. Numbers of heralds must be below 2^32 and rising.

        A herald is offered when its number has room in the ring, a psi when a later herald has been taken. RuntimeError when the sifters
        do not come to rest: one waits for what never comes.
        """
        sides, kept = [], []
        for inputs in (alice, bob):
            side, arrays = side_of(inputs, self._setup)
            sides.append(side)
            kept.append(arrays)
        block = alice.registers.get("BLOCK_HERALDS", CLIENT["BLOCK_HERALDS"].reset)
        most = LEAST_CLOCKS + CLOCKS_PER_HERALD * max(alice.psi.size, bob.psi.size)
        clocks = self._library.pair_play(self._pair, sides[0], sides[1], block, sns.RING_HERALDS, most)
        if not clocks:
            raise RuntimeError(f"the sifters are not at rest after {most} clocks")
        outputs = []
        for k, (side, arrays) in enumerate(zip(sides, kept, strict=True)):
            outputs.append(outputs_of(side, arrays, self._memories[k], self._counters[k]))
            self._memories[k], self._counters[k] = arrays["memories"], arrays["counters"]
        return outputs[0], outputs[1]


def side_of(inputs: SideInputs, setup: Setup) -> tuple[Side, dict[str, NDArray[Any]]]:
    """A side for the C++, and the arrays that it points to, which the caller keeps."""
    room = {"sifted": max(inputs.psi.size, 1), "peer": PEER_PER_HERALD * inputs.psi.size + 4096}
    arrays: dict[str, NDArray[Any]] = {
        "setup": np.frombuffer(setup.pack(inputs.registers), "<u4"),
        "heralds": np.ascontiguousarray(inputs.heralds, HERALD_DTYPE),
        "psi": np.ascontiguousarray(inputs.psi, PSI_DTYPE),
        "live": np.ascontiguousarray(inputs.live, LIVE_DTYPE),
        "live_due": np.ascontiguousarray(inputs.live_due, np.uint64),
        "sifted": np.empty(room["sifted"], SIFTED_DTYPE),
        "peer": np.empty(room["peer"], PEER_DTYPE),
        "memories": np.zeros(sns.CELLS + sns.PSI_BINS, np.uint64),
        "counters": np.zeros(len(COUNTERS), np.uint64),
    }
    side = Side(
        **{name: array.ctypes.data for name, array in arrays.items()},
        herald_count=inputs.heralds.size,
        psi_count=inputs.psi.size,
        live_count=inputs.live.size,
        sifted_room=room["sifted"],
        peer_room=room["peer"],
        late_clocks=inputs.late_clocks,
        peer_clocks=inputs.peer_clocks,
    )
    return side, arrays


def outputs_of(
    side: Side,
    arrays: dict[str, NDArray[Any]],
    memories_before: NDArray[np.uint64],
    counters_before: NDArray[np.uint64],
) -> SideOutputs:
    """After a play. RuntimeError for more records than there can be."""
    if side.sifted_count > side.sifted_room or side.peer_count > side.peer_room:
        raise RuntimeError(
            f"the sifters gave {side.sifted_count} SIFTED and {side.peer_count} PEER records: more than there can be"
        )
    memories, counters = arrays["memories"] - memories_before, arrays["counters"] - counters_before
    return SideOutputs(
        sifted=arrays["sifted"][: side.sifted_count],
        peer=arrays["peer"][: side.peer_count],
        cells=memories[: sns.CELLS],
        bins=memories[sns.CELLS :],
        counters=dict(zip(COUNTERS, counters.tolist(), strict=True)),
        clocks=side.stepped,
    )


def _header(setup_words: int) -> str:
    """Text of ``node.h``."""
    constants = {
        "ROOMS": 0,
        "CONTROL_ROOM": 0,
        "SETUP_WORDS": setup_words,
        "COUNTERS": len(COUNTERS),
        "AGREED": COUNTERS.index("blocks_agreed"),
        "DISCARDED": COUNTERS.index("blocks_discarded"),
        "CELL_WORDS": 2 * sns.CELLS,
        "BIN_WORDS": 2 * sns.PSI_BINS,
    }
    inputs = {"HERALD": "i_herald", "PSI": "i_psi", "LIVE": "i_live", "PEER_IN": "i_peer"}
    streams = {**inputs, "PEER_OUT": "o_peer", "SIFTED": "o_sifted"}
    return "\n".join(
        [
            "#pragma once",
            *model_names(),
            "#define CLOCKS(X) X(clk)",
            # Verilator writes a name with two underscores so.
            *(f"#define {name}(member) {port}___05F##member" for name, port in streams.items()),
            *(f"constexpr unsigned {name} = {value};" for name, value in constants.items()),
            "",
        ]
    )
