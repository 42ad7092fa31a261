"""A whole lab in this process: physics, the server node and both client nodes in lock step, and the messages between them.

All clock counts are the same global time. A client emits pulse n one flight before it reaches the server; herald and psi
packets reach the clients one flight after they left the server, peer packets the other client after two (by way of the
server). So the three nodes can run chunks as long as one flight side by side, each on inputs that are already known.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from twinphase.errors import DeviceError, TwinphaseError
from twinphase_sim.native import ACTUATOR_BITS, Kind, NativeNode, NodeOutput, answer_words, write_requests
from twinphase_sim.physics.candidates import CandidateStream
from twinphase_sim.physics.clicks import NO_CANDIDATES, NO_CLICKS, Candidates, Clicks, join_clicks
from twinphase_sim.physics.expect import expectations
from twinphase_sim.physics.link import MARGIN_TICKS, Link
from twinphase_spec.configure import (
    check_delay,
    client_registers,
    client_table,
    frame_config,
    server_memories,
    server_registers,
    symbol_config,
)
from twinphase_spec.frame import LAG_CLOCKS
from twinphase_spec.lab import LIGHT_IN_FIBRE_KM_PER_S, Lab
from twinphase_spec.packets import Stream
from twinphase_spec.symbols import KEY_WORDS, SymbolConfig
from twinphase_spec.units import CLOCK_HZ, FRACTION_BITS, TICKS_PER_CLOCK

from .light import light_path
from .messages import DelayLine
from .world import SETUP_CHUNK_CLOCKS

NodeName: TypeAlias = str
NODES: tuple[NodeName, ...] = ("server", "alice", "bob")
MIN_DELAY_CLOCKS = 4096
"""Messages take at least this long (33 us) also over the shortest fibre: switches and sockets are not instant."""
MAX_CHUNK_CLOCKS = 1 << 17
START_ROUNDING_BITS = 16
PHYSICS_SECONDS = 2.0**-6
"""Clicks are drawn this far ahead, beside the nodes."""


class LabStateError(TwinphaseError):
    """The virtual lab cannot do what was asked; the text says why."""


@dataclass(frozen=True)
class LabStep:
    """One chunk of lab time, clocks ``start_clock`` to before ``stop_clock``."""

    start_clock: int
    stop_clock: int
    clicks: Clicks
    """The edges given to the server node (with the physics' truth)."""
    outputs: dict[NodeName, NodeOutput]
    """What left each node in these clocks."""
    inputs: dict[NodeName, list[tuple[int, bytes]]]
    """(clock, packet) that was handed to each node's link."""


def client_key(seed: int, role: Literal["alice", "bob"]) -> tuple[int, int, int, int]:
    """The key of a client's generator that belongs to a lab's seed."""
    words = np.random.default_rng([seed, 0x6B6579, int(role == "bob")]).integers(0, 1 << 32, KEY_WORDS)
    return tuple(words.tolist())  # type: ignore[return-value]


class VirtualLab:
    """The lab ``lab`` with everything random derived from ``seed``: the same seed gives the same words at the same clocks.

    The constructor compiles the nodes (once), configures them through register requests and starts their frames. Pulse 0
    reaches the server at clock ``start_clock``. ``skip=False`` simulates every clock; ``run_frames=False`` leaves CONTROL to
    the caller. Raises LabError for a lab that cannot run, ToolchainError when the nodes cannot be compiled.
    """

    def __init__(
        self,
        lab: Lab,
        seed: int = 1,
        *,
        cache: Path | None = None,
        skip: bool = True,
        progress: bool = True,
        run_frames: bool = True,
    ) -> None:
        check_delay(lab, expectations(lab).heralds_per_second)
        self.lab = lab
        self.seed = seed
        client: tuple[Kind, dict[str, Any]] = ("client", {"lanes": lab.lanes})
        dac_bits = ACTUATOR_BITS if lab.actuator is None else lab.actuator.dac_bits
        server: tuple[Kind, dict[str, Any]] = (
            "server",
            {} if dac_bits == ACTUATOR_BITS else {"actuator_bits": dac_bits},
        )
        nodes = NativeNode.several([server, client, client], cache=cache, skip=skip, progress=progress)
        self.nodes: dict[NodeName, NativeNode] = dict(zip(NODES, nodes, strict=True))
        flight = round(lab.fibre.flight_s * CLOCK_HZ)
        self.delay_clocks = max(flight, MIN_DELAY_CLOCKS)
        self.chunk_clocks = min(self.delay_clocks, MAX_CHUNK_CLOCKS)
        self._lines: dict[tuple[NodeName, NodeName], DelayLine] = {
            ("server", "alice"): DelayLine((Stream.HERALD, Stream.PSI), self.delay_clocks),
            ("server", "bob"): DelayLine((Stream.HERALD, Stream.PSI), self.delay_clocks),
            ("alice", "bob"): DelayLine((Stream.PEER,), 2 * self.delay_clocks),
            ("bob", "alice"): DelayLine((Stream.PEER,), 2 * self.delay_clocks),
        }
        self._submitted: dict[NodeName, list[bytes]] = {name: [] for name in NODES}
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(len(NODES), thread_name_prefix="node")
        self._physics = ThreadPoolExecutor(1, thread_name_prefix="physics")
        self._configure(run_frames)

    @property
    def title(self) -> str:
        """As a URL of `twinphase.device.open_device`."""
        return f"lab:{self.lab.name}"

    @property
    def names(self) -> tuple[str, ...]:
        return NODES

    @property
    def clock(self) -> int:
        """The clock count of all nodes now."""
        return self.nodes["server"].clock

    @property
    def seconds(self) -> float:
        """Lab time since pulse 0 reached the server; negative before."""
        return (self.clock - self.start_clock) / CLOCK_HZ

    @property
    def cycles_simulated(self) -> dict[NodeName, int]:
        """Clocks evaluated, not skipped, per node."""
        return {name: node.cycles_simulated for name, node in self.nodes.items()}

    def submit(self, name: str, packet: bytes) -> None:
        """Hand a packet (a register request) to a node's link at the start of the next chunk. Safe from any thread."""
        if not packet or len(packet) % 4:
            raise LabStateError(
                f"a packet of {len(packet)} bytes was handed to the {name} node; it must be whole words"
            )
        with self._lock:
            self._submitted[name].append(packet)

    def advance(self, seconds: float) -> Iterator[LabStep]:
        """Run the lab, chunk by chunk, for ``seconds`` of lab time after ``self.clock``, at most one flight per chunk."""
        stop = self.clock + round(seconds * CLOCK_HZ)
        while self.clock < stop:
            yield self.step(min(stop, self.clock + self.chunk_clocks))

    def run_to(self, seconds: float) -> Iterator[LabStep]:
        """Run the lab until ``seconds`` after pulse 0 reached the server."""
        yield from self.advance(seconds - self.seconds)

    def step(self, stop_clock: int) -> LabStep:
        """One chunk; ``stop_clock`` is at most ``chunk_clocks`` ahead."""
        start = self.clock
        if not start < stop_clock <= start + self.chunk_clocks:
            raise LabStateError(f"a step from clock {start} to {stop_clock}; allowed: 1 to {self.chunk_clocks} clocks")
        inputs: dict[NodeName, list[tuple[int, bytes]]] = {}
        with self._lock:
            for name in NODES:
                inputs[name] = [(start, packet) for packet in self._submitted[name]]
                self._submitted[name].clear()
        for (_, receiver), line in self._lines.items():
            inputs[receiver] += line.arriving(stop_clock)
        for packets in inputs.values():
            packets.sort(key=lambda entry: entry[0])
        light = self._clicks_before(stop_clock)

        def run(name: NodeName) -> NodeOutput:
            node = self.nodes[name]
            if name == "server":
                columns = light.light if isinstance(light, Candidates) else None
                return node.run(stop_clock, light.times_ticks, light.channels, inputs[name], light=columns)
            return node.run(stop_clock, rx=inputs[name])

        outputs = dict(zip(NODES, self._pool.map(run, NODES), strict=True))
        for (sender, _), line in self._lines.items():
            line.send(outputs[sender])
        clicked = outputs["server"].clicked
        clicks = light if clicked is None else light[clicked]
        return LabStep(start, stop_clock, clicks, outputs, inputs)

    def close(self) -> None:
        """Stop the worker threads; harmless when repeated."""
        self._pool.shutdown(cancel_futures=True)
        self._physics.shutdown(cancel_futures=True)

    def __enter__(self) -> VirtualLab:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # Configuration

    def _configure(self, run_frames: bool) -> None:
        """Tables first; they fix how early the frame can start. Then the registers, and CONTROL last."""
        lab = self.lab
        self._clicks: Clicks = NO_CLICKS if lab.actuator is None else NO_CANDIDATES
        table = {"FRAME_TABLE": client_table(lab)}
        identifiers = dict.fromkeys(NODES, 1)
        self._write(
            identifiers, {name: {} for name in NODES}, {"server": server_memories(lab), "alice": table, "bob": table}
        )
        # Room for the register writes, and for the clients, which emit one flight early and start their anchor LAG earlier.
        earliest = self.clock + self.delay_clocks + 2 * LAG_CLOCKS + 8 * SETUP_CHUNK_CLOCKS
        self.start_clock = -(-earliest >> START_ROUNDING_BITS) << START_ROUNDING_BITS
        keys = {role: client_key(self.seed, role) for role in ("alice", "bob")}  # type: ignore[arg-type]
        self.symbols: dict[str, SymbolConfig] = {
            "alice": symbol_config(lab.clients.alice, keys["alice"]),
            "bob": symbol_config(lab.clients.bob, keys["bob"]),
        }
        self.registers: dict[NodeName, dict[str, int]] = {
            "server": server_registers(lab, self.start_clock),
            "alice": client_registers(lab, "alice", keys["alice"], self.start_clock - self._flight_clocks("a")),
            "bob": client_registers(lab, "bob", keys["bob"], self.start_clock - self._flight_clocks("b")),
        }
        self.frame = frame_config(lab, self.start_clock)
        self._write(identifiers, self.registers)
        if run_frames:
            self._write(identifiers, {name: {"CONTROL": 1} for name in NODES})
        self.link = Link(lab, self.seed, self.symbols["alice"], self.symbols["bob"], start_clock=self.start_clock)
        self._candidates = None if lab.actuator is None else CandidateStream(self.link)
        if lab.actuator is not None:
            self.nodes["server"].set_light(light_path(lab))
        self._drawn_pulse = 0
        self._physics_chunk = max(1, round(lab.frame.pulse_rate_hz * PHYSICS_SECONDS))
        self._next: Future[Clicks] = self._draw()
        self._next.result()  # compiles kernels the first time: that belongs to the start, not to the first chunk

    def _flight_clocks(self, arm: Literal["a", "b"]) -> int:
        length_km = self.lab.fibre.length_a_km if arm == "a" else self.lab.fibre.length_b_km
        return round(length_km / LIGHT_IN_FIBRE_KM_PER_S * CLOCK_HZ)

    def _write(
        self,
        identifiers: dict[NodeName, int],
        registers: dict[NodeName, dict[str, int]],
        tables: dict[NodeName, dict[str, list[int]]] | None = None,
    ) -> None:
        """Write registers and frame tables of all nodes and wait until every write is answered."""
        waiting: dict[NodeName, set[int]] = {}
        packets: dict[NodeName, list[bytes]] = {}
        for name, node in self.nodes.items():
            memories = tables[name] if tables else {}
            first = identifiers[name]
            packets[name] = write_requests(node.map, registers[name], memories, first_id=first)
            identifiers[name] += len(packets[name])
            waiting[name] = set(range(first, identifiers[name]))
        for _ in range(1 << 12):
            if not any(waiting.values()):
                return
            stop = self.clock + SETUP_CHUNK_CLOCKS
            for name, node in self.nodes.items():
                output = node.run(stop, rx=[(node.clock, packet) for packet in packets.pop(name, [])])
                for index in np.flatnonzero(output.streams == Stream.REGISTER_RESPONSE).tolist():
                    waiting[name].discard(answer_words(output.packet(index), f"lab:{self.lab.name} {name}")[0])
        silent = ", ".join(name for name in NODES if waiting[name])
        raise DeviceError(f"lab:{self.lab.name}: the {silent} node does not answer register requests")

    # Physics

    def _draw(self) -> Future[Clicks]:
        first, self._drawn_pulse = self._drawn_pulse, self._drawn_pulse + self._physics_chunk
        if self._candidates is not None:
            return self._physics.submit(self._candidates.before, self.link.pulse_ticks(self._drawn_pulse))
        return self._physics.submit(self.link.clicks, first, self._drawn_pulse)

    def _clicks_before(self, stop_clock: int) -> Clicks:
        """The clicks of this chunk, or with an actuator its candidates; the physics' next chunks are drawn meanwhile."""
        stop_ticks = stop_clock << FRACTION_BITS
        parts = [self._clicks]
        while self._drawn_until(behind=True) - MARGIN_TICKS < stop_ticks:
            parts.append(self._next.result())
            self._next = self._draw()
        held = _concatenate(parts, self.clock * TICKS_PER_CLOCK)
        ready = int(np.searchsorted(held.times_ticks, stop_ticks))
        self._clicks = held[ready:]
        return held[:ready]

    def _drawn_until(self, behind: bool) -> int:
        """Tick up to which clicks have been taken (``behind``) or asked for."""
        return self.link.pulse_ticks(self._drawn_pulse - behind * self._physics_chunk)


def _concatenate(parts: list[Clicks], from_ticks: int) -> Clicks:
    """``parts`` one after the other, without what lies before ``from_ticks``."""
    joined = join_clicks(parts)
    return joined[int(np.searchsorted(joined.times_ticks, from_ticks)) :]
