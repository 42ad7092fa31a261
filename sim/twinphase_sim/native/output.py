"""What a run of a native node gave: packets and modulator codes, as numpy views of the harness's own buffers."""

from __future__ import annotations

import ctypes
import weakref
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from twinphase_spec.actuator import LIMIT_BITS
from twinphase_spec.symbols import CODE_BITS

_WORDS, _CODES_Q, _CODES_R, _ENDS, _CLOCKS, _WORD_CLOCKS, _CODES_CLOCK, _CODES_PULSE, _ACTED_CLOCK, _ACTED = range(10)


@dataclass(frozen=True)
class Codes:
    """Modulator codes of the clocks in which the emitter's output was valid; n clocks, lanes pulses in each."""

    clock: NDArray[np.uint64]
    """(n) clock counts."""
    pulse: NDArray[np.uint64]
    """(n) pulse index of lane 0."""
    q: NDArray[np.uint16]
    """(n, lanes) ``level << 8 | phase`` of the quantum band."""
    r: NDArray[np.uint16]
    """(n, lanes) the same of the reference band."""


@dataclass(frozen=True)
class Acted:
    """Where the actuator was: one element per change."""

    clock: NDArray[np.uint64]
    """Clock count from which on it was there."""
    position: NDArray[np.int64]
    """x in 2^-16 turn (`o_acting`)."""
    blank: NDArray[np.bool_]


@dataclass(frozen=True)
class NodeOutput:
    """Packets in the order in which they left the node. The words of packet p are ``words[ends[p-1]:ends[p]]``."""

    words: NDArray[np.uint32]
    ends: NDArray[np.uint64]
    clocks: NDArray[np.uint64]
    """(packets) clock in which the last word of each packet was taken."""
    word_clocks: NDArray[np.uint64]
    """(words) clock in which each word was taken, if it was asked for; otherwise empty."""
    codes: Codes | None = field(default=None)
    clicked: NDArray[np.bool_] | None = field(default=None)
    """(edges) of a run with light: which candidates became edges."""
    acted: Acted | None = field(default=None)
    """Of a run with light."""

    def __len__(self) -> int:
        return len(self.ends)

    @property
    def streams(self) -> NDArray[np.uint8]:
        """(packets) stream number of each packet: the low byte of its first word."""
        starts = np.concatenate(([0], self.ends[:-1])).astype(np.intp)
        return self.words[starts[: len(self)]].astype(np.uint8)

    def packet(self, index: int) -> bytes:
        """Bytes of packet ``index``."""
        start = int(self.ends[index - 1]) if index else 0
        return self.words[start : int(self.ends[index])].tobytes()

    @property
    def packets(self) -> list[tuple[int, bytes]]:
        """(clock of the last word, bytes) of each packet."""
        data = self.words.tobytes()
        ends = [0, *self.ends.tolist()]
        return [
            (clock, data[4 * start : 4 * end])
            for clock, start, end in zip(self.clocks.tolist(), ends[:-1], ends[1:], strict=True)
        ]


def take_output(
    library: ctypes.CDLL, address: int, lanes: int | None, clicked: NDArray[np.bool_] | None = None
) -> NodeOutput:
    """Wraps the harness's output at ``address`` without copying; it is freed with the last array that looks into it."""
    owner = _Owner()
    weakref.finalize(owner, library.output_free, address)

    def vector(which: int, dtype: type[np.generic]) -> NDArray[np.generic]:
        count = ctypes.c_uint64()
        start = library.output_vector(address, which, ctypes.byref(count))
        if not count.value:
            return np.empty(0, dtype)
        return np.asarray(_View(start, count.value, np.dtype(dtype), owner))

    codes = None
    if lanes is not None:
        clock = vector(_CODES_CLOCK, np.uint64)
        codes = Codes(
            clock=clock,  # type: ignore[arg-type]
            pulse=vector(_CODES_PULSE, np.uint64),  # type: ignore[arg-type]
            q=_unpack(vector(_CODES_Q, np.uint32), len(clock), lanes),
            r=_unpack(vector(_CODES_R, np.uint32), len(clock), lanes),
        )
    acted = None
    if clicked is not None:
        states = vector(_ACTED, np.uint64).astype(np.int64)
        acted = Acted(
            clock=vector(_ACTED_CLOCK, np.uint64),  # type: ignore[arg-type]
            position=states & ((1 << LIMIT_BITS) - 1),
            blank=(states >> LIMIT_BITS).astype(np.bool_),
        )
    return NodeOutput(
        words=vector(_WORDS, np.uint32),  # type: ignore[arg-type]
        ends=vector(_ENDS, np.uint64),  # type: ignore[arg-type]
        clocks=vector(_CLOCKS, np.uint64),  # type: ignore[arg-type]
        word_clocks=vector(_WORD_CLOCKS, np.uint64),  # type: ignore[arg-type]
        codes=codes,
        clicked=clicked,
        acted=acted,
    )


class _Owner:
    """Lives as long as a view of the output does."""


class _View:
    """A vector of the output for numpy's array interface; numpy keeps it, and so the owner, alive."""

    def __init__(self, start: int, count: int, dtype: np.dtype[np.generic], owner: _Owner) -> None:
        self._owner = owner
        self.__array_interface__ = {"version": 3, "shape": (count,), "typestr": dtype.str, "data": (start, True)}


def _unpack(words: NDArray[np.generic], clocks: int, lanes: int) -> NDArray[np.uint16]:
    if not clocks:
        return np.empty((0, lanes), np.uint16)
    bits = np.unpackbits(words.reshape(clocks, -1).view(np.uint8), axis=1, bitorder="little")
    lanes_bits = bits[:, : CODE_BITS * lanes].reshape(clocks, lanes, CODE_BITS).astype(np.uint16)
    return (lanes_bits << np.arange(CODE_BITS, dtype=np.uint16)).sum(axis=2, dtype=np.uint16)
