"""A Verilated node as a Python object that runs batches of clocks: `NativeNode`.

Idle skipping. While the gateware says that only its timebase will change (``o_idle``), no word is on its way in or out
and no input is due, the harness loads the timebase with the state that it will have at the next event: the next edge or
rx packet, the next multiple of 2^13 clocks (2^E of shorter tracker epochs while a frame runs), the next window close, the
frame's start, or the end of the run. The loaded
anchor is computed in exact integers from the frame's registers, which the harness reads from the register writes that go
in (a CONTROL write must be on its way at least 64 clocks before the clock START + LAG).

In the clocks that are simulated, rooms of the gateware that rest (``o_awake``) get no clock edge. Skipped and unskipped runs
give the same words at the same clocks.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twinphase_spec.frame import Anchor, FrameConfig
from twinphase_spec.units import FRACTION_BITS

from .compiled import compiled, lanes_of, node_library
from .harness import ANCHOR_FIELDS, CLOCK_MASK, AnchorWords, Request, anchor_words, frame_words, rx_arrays
from .light import LightPath
from .output import NodeOutput, take_output
from .toolchain import Kind, progress_bars
from .verilog import ACTUATOR_BITS, node_inputs, node_map


class NativeNode:
    """One Verilated node; its state lasts from run to run.

    ``kind`` is "server", "client" or "timetagger", ``options`` go to the gateware's ``node_verilog`` (a client's ``lanes``, a time
    tagger's `twinphase_spec.tagger.TaggerOptions`). The gateware
    is compiled once (progress bar on stderr) and kept in ``cache`` (default: the user's cache folder). ``skip=False`` simulates
    every clock. Raises ToolchainError or ExtraError when the gateware cannot be compiled.

    Clocks are 51-bit counts and wrap: a clock always means its next occurrence from now on.
    """

    def __init__(
        self, kind: Kind, *, cache: Path | None = None, skip: bool = True, progress: bool = True, **options: Any
    ) -> None:
        self._start(kind, compiled([(kind, options)], cache, progress)[0], skip, options)

    @classmethod
    def several(
        cls,
        kinds: Sequence[tuple[Kind, dict[str, Any]]],
        *,
        cache: Path | None = None,
        skip: bool = True,
        progress: bool = True,
    ) -> list[Self]:
        """A node for each (kind, options), compiled side by side."""
        nodes = []
        for (kind, options), loaded in zip(kinds, compiled(kinds, cache, progress), strict=True):
            node = cls.__new__(cls)
            node._start(kind, loaded, skip, options)
            nodes.append(node)
        return nodes

    @classmethod
    def from_verilog(
        cls,
        kind: Kind,
        verilog: str,
        *,
        cache: Path | None = None,
        skip: bool = True,
        progress: bool = True,
        **options: Any,
    ) -> Self:
        """A node of other Verilog with the same module name and ports."""
        with progress_bars(progress) as bar:
            loaded = node_library(kind, verilog, options, bar(f"the {kind} node"), cache)
        node = cls.__new__(cls)
        node._start(kind, loaded, skip, options)
        return node

    def _start(self, kind: Kind, loaded: ctypes.CDLL, skip: bool, options: dict[str, Any]) -> None:
        self.kind = kind
        self.map = node_map(kind)
        self.skip = skip
        self.actuator_bits = int(options.get("actuator_bits", ACTUATOR_BITS if kind == "server" else 0))
        self._lanes = lanes_of(options)
        self.inputs = node_inputs(kind, options)
        self._has_light = False
        self._has_qrng = options.get("symbols") == "ring"
        self._library = loaded
        self._node = loaded.node_create()

    def __del__(self) -> None:
        if getattr(self, "_node", None):
            self._library.node_destroy(self._node)
            self._node = None

    @property
    def clock(self) -> int:
        """The clock count now."""
        return self._library.node_clock(self._node)

    @property
    def cycles_simulated(self) -> int:
        """Clocks that were evaluated, not skipped, since the node was made."""
        return self._library.node_cycles(self._node)

    @property
    def idle(self) -> bool:
        """The gateware's ``o_idle``."""
        return bool(self._library.node_idle(self._node))

    @property
    def source(self) -> int:
        """A time tagger's ``o_source``: bit c, channel c wants the internal test oscillator."""
        return self._library.node_source(self._node)

    def set_frame(self, frame: FrameConfig, running: bool) -> None:
        """Tell the harness the frame. Only needed for gateware whose frame is not set by register writes through rx."""
        self._library.node_set_frame(self._node, ctypes.byref(frame_words(frame, running)))

    def set_light(self, light: LightPath) -> None:
        """What the node's actuator does to the light of runs with ``light``. ValueError for a node without."""
        if not self.actuator_bits:
            raise ValueError(f"light was given to a {self.kind} node without an actuator; make it with actuator_bits")
        setup, _arrays = light.words(1 << self.actuator_bits, self.inputs.channels)
        self._library.node_set_light(self._node, ctypes.byref(setup))
        self._has_light = True

    def set_qrng(self, seed: int, *, starved_every: int = 0) -> None:
        """Start the generator of a client with a ring of symbols anew: words of `twinphase_sim.model.sift.qrng`, one per clock.

        ``starved_every``: in clocks that are multiples of it there is none; 0, there always is one. ValueError for other nodes.
        """
        if not self._has_qrng:
            raise ValueError(f"a QRNG was given to a {self.kind} node without a ring; make it with symbols='ring'")
        self._library.node_set_qrng(self._node, seed, starved_every)

    def load(self, anchor: Anchor) -> None:
        """Put the timebase into any state (one clock passes), for instance shortly before a wrap."""
        self._library.node_load(self._node, ctypes.byref(anchor_words(anchor)))

    def run(
        self,
        until_clock: int,
        edges_ticks: ArrayLike = (),
        channels: ArrayLike = (),
        rx: Sequence[tuple[int, bytes]] = (),
        tx_ready: ArrayLike | None = None,
        *,
        hits: ArrayLike | None = None,
        light: ArrayLike | None = None,
        codes: tuple[int, int] | None = None,
        word_clocks: bool = False,
    ) -> NodeOutput:
        """Run until the clock count is ``until_clock``.

        Args:
            edges_ticks: int64 or uint64 (n), sorted: an edge at tick t is presented when the clock count is ``t >> 13``,
                with fine time ``t & 8191``. At most one edge per channel, clock and lane.
            channels: uint8 (n), numbers of the node's channels.
            rx: (clock, packet bytes): the words of a packet are fed from its clock on (at once if that has passed), one
                per clock as the node takes them. What is not taken in this run is fed in the next.
            tx_ready: pattern of 0 and 1; the node's output is taken in clock c if ``pattern[c % len(pattern)]``. None:
                always.
            hits: uint64 (n), of a node with delay lines: what their encoders found, bit 0 the polarity, then the code of each
                chain; with 8 chains (n, 2), the codes of the last four in the second word from bit 1 on. Chains with twins: as many
                words more, at the same places the codes of the TDC clock behind the hit, which count if it has no hit. The
                fine time of ``edges_ticks`` then only says the lane.
            light: float64 (n, 4), with a node that has a light path: the edges are candidates with (theta in turns, energy, base,
                amplitude), of which those click that `native/light.h` says, in the clock in which they come.
            codes: (first, last) clocks, last excluded: record the modulator codes of a client there.
            word_clocks: also record the clock of each word.

        Raises ValueError for edges or packets that cannot be presented.
        """
        ticks = np.ascontiguousarray(np.asarray(edges_ticks).astype(np.int64, copy=False)).view(np.uint64)
        lines = np.ascontiguousarray(channels, dtype=np.uint8)
        if ticks.shape != lines.shape or ticks.ndim != 1:
            raise ValueError(
                f"edges_ticks has shape {ticks.shape} and channels {lines.shape}; give two equally long vectors"
            )
        if len(ticks) and not self.inputs.channels:
            raise ValueError(f"edges were given to a {self.kind} node, which has no inputs for them")
        if codes is not None and self.kind != "client":
            raise ValueError(f"codes were asked of a {self.kind} node; only a client node emits")
        values = np.ascontiguousarray(() if hits is None else hits, dtype=np.uint64)
        if len(values) != (len(ticks) if self.inputs.chains else 0):
            raise ValueError(
                f"{len(values)} hits were given with {len(ticks)} edges; allowed: one per edge where the node has delay lines, else none"
            )
        words = self.inputs.hit_words
        if len(values) and values.size != len(values) * words:
            twins = " with twins" if self.inputs.echoes else ""
            raise ValueError(
                f"hits have shape {values.shape}; allowed with {self.inputs.chains} chains{twins}: {words} words each"
            )
        candidates = np.ascontiguousarray(np.empty((0, 4)) if light is None else light, dtype=np.float64)
        clicked = np.zeros(len(ticks), dtype=np.bool_)
        if light is not None and (candidates.shape != (len(ticks), 4) or not self._has_light):
            raise ValueError(
                f"light has shape {candidates.shape} for {len(ticks)} edges; allowed: a row of 4 for each, after set_light"
            )
        ready = np.ascontiguousarray(() if tx_ready is None else tx_ready, dtype=np.uint8)
        rx_clocks, rx_ends, rx_words = rx_arrays(rx)
        request = Request(
            until=until_clock & CLOCK_MASK,
            edge_ticks=ticks.ctypes.data,
            edge_channels=lines.ctypes.data,
            edge_values=values.ctypes.data,
            edges=len(ticks),
            rx_clocks=rx_clocks.ctypes.data,
            rx_ends=rx_ends.ctypes.data,
            rx_words=rx_words.ctypes.data,
            rx_packets=len(rx_ends),
            tx_ready=ready.ctypes.data,
            tx_ready_length=len(ready),
            codes_first=codes[0] & CLOCK_MASK if codes else 0,
            codes_last=codes[1] & CLOCK_MASK if codes else 0,
            skip=self.skip,
            word_clocks=word_clocks,
            light=None if light is None else candidates.ctypes.data,
            clicked=clicked.ctypes.data,
        )
        kind = ctypes.c_uint32()
        if bad := self._library.node_check(self._node, ctypes.byref(request), ctypes.byref(kind)):
            raise ValueError(self._edge_fault(bad - 1, kind.value, ticks, lines, until_clock))
        address = self._library.node_run(self._node, ctypes.byref(request))
        lanes = self._lanes if self.kind == "client" and codes else None
        output = take_output(self._library, address, lanes, None if light is None else clicked)
        if self._library.node_model_clock(self._node) != self.clock:
            raise RuntimeError(
                f"the {self.kind} node counts clock {self._library.node_model_clock(self._node)} where {self.clock} is due: "
                "its timebase does not obey sim_load"
            )
        return output

    def _edge_fault(
        self, index: int, kind: int, ticks: NDArray[np.uint64], lines: NDArray[np.uint8], until: int
    ) -> str:
        where = (
            f"edge {index} (tick {ticks[index]}, clock {int(ticks[index]) >> FRACTION_BITS}, channel {lines[index]})"
        )
        if kind == 2:
            span_ns = 8 // self.inputs.lanes
            return f"{where} is the second of its channel in its clock; allowed: one edge per channel and clock of {span_ns} ns"
        return (
            f"{where} cannot be presented; allowed: clocks {self.clock} to {until - 1} of this run in rising order, "
            f"channels 0 to {self.inputs.channels - 1}"
        )


def advance(node: NativeNode, frame: FrameConfig, anchor: Anchor, clocks: int) -> Anchor:
    """The anchor ``clocks`` clocks after ``anchor`` as the harness of ``node`` computes it."""
    result = AnchorWords()
    node._library.frame_advance(
        ctypes.byref(frame_words(frame, True)), ctypes.byref(anchor_words(anchor)), clocks, ctypes.byref(result)
    )
    return Anchor(**{name: getattr(result, name) for name in ANCHOR_FIELDS})


def clocks_to_close(node: NativeNode, frame: FrameConfig, anchor: Anchor) -> int:
    """Clocks from ``anchor`` until the anchor is in the next window, as the harness of ``node`` computes it."""
    return node._library.frame_clocks_to_close(
        ctypes.byref(frame_words(frame, True)), ctypes.byref(anchor_words(anchor))
    )
