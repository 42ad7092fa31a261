"""A time tagger on its bench in this process: light sources and detectors, delay lines, and the Verilated node."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from twinphase.errors import DeviceError
from twinphase_sim.native import NativeNode, NodeOutput, answer_words, write_requests
from twinphase_sim.physics.bench import BenchPhysics
from twinphase_sim.physics.delay_lines import LOOKAHEAD_CLOCKS, DelayLines, LineHits
from twinphase_spec.bench import Bench
from twinphase_spec.packets import Stream
from twinphase_spec.tagger import TaggerOptions
from twinphase_spec.tagger_config import tagger_registers
from twinphase_spec.units import CLOCK_HZ, FRACTION_BITS, TICKS_PER_CLOCK

from .virtual import LabStateError
from .world import SETUP_CHUNK_CLOCKS

NODE = "tagger"
CHUNK_CLOCKS = 1 << 16
OSCILLATOR_HZ = 9.6875e6
"""Nominal frequency of the part's oscillator; it is off by some percent and in no phase with the clock."""
OSCILLATOR_JITTER_PS = 60.0
"""Of each period (rms): the phase walks."""
OSCILLATOR_AHEAD = 64
FIRST_STEP = 14
"""The first table is made of 2^14 hits of the oscillator, about 2 ms."""
PATIENCE_CHUNKS = 1 << 12
OPTIONS = TaggerOptions(frontend="delay line", lanes=2)
"""The gateware's by default: the ECPIX-5's, 8 channels with a delay line of 256 taps at 250 MHz."""


class Oscillator:
    """Edges of the internal test oscillator: regular but for a frequency error and a random walk of its phase."""

    def __init__(self, seed: int):
        self._rng = np.random.default_rng([seed, 0x6F7363])
        self._period = TICKS_PER_CLOCK * CLOCK_HZ / OSCILLATOR_HZ * self._rng.uniform(0.9, 1.1)
        self._walk = OSCILLATOR_JITTER_PS * 128 / 125
        self._drawn = np.zeros(1)
        """Times in ticks, ahead of what was given."""

    def edges(self, until_ticks: int) -> NDArray[np.int64]:
        """Edges before ``until_ticks`` that no earlier call gave."""
        missing = (until_ticks - self._drawn[-1]) / self._period
        if missing >= 0:
            steps = self._rng.normal(self._period, self._walk, int(1.01 * missing) + OSCILLATOR_AHEAD)
            self._drawn = np.concatenate((self._drawn, self._drawn[-1] + np.cumsum(steps)))
        ticks = np.rint(self._drawn).astype(np.int64)
        ready = int(np.searchsorted(ticks, until_ticks))
        self._drawn = self._drawn[ready:]
        return ticks[:ready]


@dataclass(frozen=True)
class BenchStep:
    """One chunk: the edges at the pins (ticks, channels), and what the node sent."""

    start_clock: int
    stop_clock: int
    times_ticks: NDArray[np.int64]
    channels: NDArray[np.uint8]
    """Of the edges that the node was given for these clocks; with delay lines up to LOOKAHEAD_CLOCKS later."""
    hits: LineHits | None
    """What the node got of them through delay lines."""
    outputs: dict[str, NodeOutput]


class VirtualBench:
    """The bench ``bench`` with everything random derived from ``seed``.

    The constructor compiles the node (once), lets the test oscillator calibrate its delay lines, and writes the bench's tagger
    configuration. Light comes from ``start_clock`` on. ``options``: of the gateware. Raises ValueError for a bench
    that does not fit it, ToolchainError when it cannot be compiled.
    """

    def __init__(
        self,
        bench: Bench,
        seed: int = 1,
        *,
        options: TaggerOptions = OPTIONS,
        cache: Path | None = None,
        skip: bool = True,
        progress: bool = True,
    ) -> None:
        self.bench = bench
        self.options = options
        self.registers, self.memories = tagger_registers(bench.tagger, self.options.channels)
        self.node = NativeNode("timetagger", cache=cache, skip=skip, progress=progress, **vars(self.options))
        self._submitted: list[bytes] = []
        self._lock = threading.Lock()
        self._lines = DelayLines(self.options, seed) if self.options.frontend == "delay line" else None
        self._oscillator = Oscillator(seed)
        self._physics: BenchPhysics | None = None
        self._identifier = 0
        self.start_clock = 0
        self._configure(seed)

    @property
    def title(self) -> str:
        """As a URL of `twinphase.device.open_device`."""
        return f"bench:{self.bench.name}"

    @property
    def names(self) -> tuple[str, ...]:
        return (NODE,)

    waker = None
    """It waits for nobody."""
    messages: frozenset[Stream] = frozenset()
    real_time = False

    @property
    def chunk_clocks(self) -> int:
        return CHUNK_CLOCKS

    @property
    def clock(self) -> int:
        """The node's clock count now."""
        return self.node.clock

    @property
    def seconds(self) -> float:
        """Time since the light came on; negative before."""
        return (self.clock - self.start_clock) / CLOCK_HZ

    @property
    def cycles_simulated(self) -> dict[str, int]:
        """Clocks evaluated, not skipped."""
        return {NODE: self.node.cycles_simulated}

    def submit(self, name: str, packet: bytes) -> None:
        """Hand a packet (a register request) to the node's link at the start of the next step. Safe from any thread."""
        if not packet or len(packet) % 4:
            raise LabStateError(f"a packet of {len(packet)} bytes was handed to the {name}; it must be whole words")
        with self._lock:
            self._submitted.append(packet)

    def step(self, stop_clock: int) -> BenchStep:
        """One chunk; ``stop_clock`` is at most ``chunk_clocks`` ahead."""
        start = self.clock
        if not start < stop_clock <= start + CHUNK_CLOCKS:
            raise LabStateError(f"a step from clock {start} to {stop_clock}; allowed: 1 to {CHUNK_CLOCKS} clocks")
        with self._lock:
            packets, self._submitted = self._submitted, []
        rx = [(start, packet) for packet in packets]
        times, channels = self._edges(stop_clock + (LOOKAHEAD_CLOCKS if self._lines else 0))
        hits = None
        if self._lines is None:
            output = self.node.run(stop_clock, times, channels, rx)
        else:
            hits = self._lines.hits(times, channels, stop_clock)
            output = self.node.run(stop_clock, hits.ticks, hits.channels, rx, hits=hits.values)
        return BenchStep(start, stop_clock, times, channels, hits, {NODE: output})

    def close(self) -> None:
        """Nothing runs beside the caller."""

    def __enter__(self) -> VirtualBench:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _edges(self, until_clock: int) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Edges of pins, and of the oscillator in the channels that want it, in the order of time."""
        until = until_clock << FRACTION_BITS
        ticks = self._oscillator.edges(until)
        source = self.node.source if self._lines else 0
        parts = [(ticks, channel) for channel in range(self.options.channels) if source >> channel & 1]
        times = [part for part, _ in parts]
        channels = [np.full(part.size, channel, np.uint8) for part, channel in parts]
        if self._physics is not None:
            light = self._physics.edges(until_clock)
            kept = (source >> light.channels.astype(np.int64) & 1) == 0
            times.append(light.times_ticks[kept])
            channels.append(light.channels[kept])
        if not times:
            return np.empty(0, np.int64), np.empty(0, np.uint8)
        joined, numbers = np.concatenate(times), np.concatenate(channels)
        order = np.lexsort((numbers, joined))
        return joined[order], numbers[order]

    def _configure(self, seed: int) -> None:
        """Registers and tables as the bench's tagger file says, with the first calibration before the pins are looked at."""
        everything = (1 << self.options.channels) - 1
        if self._lines is not None:
            step = min(FIRST_STEP, self.registers["CAL_STEP"])
            first = {"CAL_STEP": step, "CAL_SHARED": self.registers["CAL_SHARED"], "CAL_SOURCE": everything}
            self._write({"CAL_RESET": everything})
            self._write({"CAL_RESET": 0})
            self.step(self.clock + CHUNK_CLOCKS)  # what was collected is being cleared
            self._write(first)
            enough = self.clock + round(2.5 * (1 << step) / OSCILLATOR_HZ * CLOCK_HZ)
            while self.clock < enough:
                self.step(self.clock + CHUNK_CLOCKS)
        # Channels come last, when the oscillator's last hits have passed.
        self._write({name: value for name, value in self.registers.items() if name != "CHANNEL_ENABLE"}, self.memories)
        self._write({"CHANNEL_ENABLE": self.registers["CHANNEL_ENABLE"]})
        self.start_clock = self.clock + CHUNK_CLOCKS
        self._physics = BenchPhysics(self.bench, seed, start_clock=self.start_clock)

    def _write(self, registers: dict[str, int], memories: dict[str, list[int]] | None = None) -> None:
        """Write and wait until every write is answered."""
        packets = write_requests(self.node.map, registers, memories, first_id=self._identifier + 1)
        waiting = set(range(self._identifier + 1, self._identifier + 1 + len(packets)))
        self._identifier += len(packets)
        for packet in packets:
            self.submit(NODE, packet)
        for _ in range(PATIENCE_CHUNKS):
            output = self.step(self.clock + SETUP_CHUNK_CLOCKS).outputs[NODE]
            for index in np.flatnonzero(output.streams == Stream.REGISTER_RESPONSE).tolist():
                waiting.discard(answer_words(output.packet(index), self.title)[0])
            if not waiting:
                return
        raise DeviceError(f"{self.title}: the time tagger does not answer register requests")
