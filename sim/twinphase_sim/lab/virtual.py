"""A whole lab in this process: physics, the server node and both client nodes in lock step, and the messages between them.

All clock counts are the same global time. A client emits pulse n one flight before it reaches the server; herald and psi
packets reach the clients one flight after they left the server, peer packets the other client after two (by way of the
server). So the three nodes can run chunks as long as one flight side by side, each on inputs that are already known.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from socket import socket
from typing import Any, Literal

import numpy as np

from twinphase.errors import DeviceError, TwinphaseError
from twinphase.operate.aligner import PulseAligner
from twinphase_sim.native import ACTUATOR_BITS, Kind, NativeNode, NodeOutput, answer_words, write_requests
from twinphase_sim.physics.clicks import NO_CLICKS, Candidates, Clicks
from twinphase_sim.physics.expect import expectations
from twinphase_sim.physics.link import Link
from twinphase_spec.configure import (
    check_delay,
    client_registers,
    client_table,
    frame_config,
    server_memories,
    server_registers,
)
from twinphase_spec.frame import LAG_CLOCKS
from twinphase_spec.lab import LIGHT_IN_FIBRE_KM_PER_S, Lab
from twinphase_spec.lab_symbols import MESSAGE_CLOCKS
from twinphase_spec.packets import Stream
from twinphase_spec.port_balance import EQUAL_PORTS, Angles, step_registers
from twinphase_spec.symbols import SymbolConfig
from twinphase_spec.units import CLOCK_HZ

from .corrections import Alignment, answers_in
from .keys import client_generator, pair_digest, source_options, start_qrngs
from .light import light_path
from .lines import NODES, Lines, NodeName
from .mesh import Mesh
from .photons import Photons
from .ports import measured_angles
from .world import SETUP_CHUNK_CLOCKS

MAX_CHUNK_CLOCKS = 1 << 17
START_ROUNDING_BITS = 16


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


class VirtualLab:
    """The lab ``lab`` with everything random derived from ``seed``: the same seed gives the same words at the same clocks.

    The constructor compiles the nodes (once), configures them through register requests and starts their frames. Pulse 0
    reaches the server at clock ``start_clock``. ``skip=False`` simulates every clock; ``run_frames=False`` leaves CONTROL to
    the caller. ``angles`` are the server's STEP_R_k; without them they are the lab's, which may have them measured first
    (`ports`). With a ``mesh`` only its node runs here, the others elsewhere (`connect` comes after the compilation). Raises LabError
    for a lab that cannot run, ToolchainError when the nodes cannot be compiled, MeshError for nodes elsewhere.
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
        angles: Angles | None = None,
        mesh: Mesh | None = None,
    ) -> None:
        check_delay(lab, expectations(lab).heralds_per_second)
        self.lab = lab
        self.seed = seed
        self.symbols: dict[str, SymbolConfig] = {
            "alice": client_generator(lab, seed, "alice"),
            "bob": client_generator(lab, seed, "bob"),
        }
        self.names: tuple[NodeName, ...] = NODES if mesh is None else (mesh.node,)
        nodes = NativeNode.several(
            [_gateware(lab, name) for name in self.names], cache=cache, skip=skip, progress=progress
        )
        if angles is None and lab.tracking.ports == "measured" and "server" in self.names:
            angles = measured_angles(lab, seed, cache=cache, progress=progress).words
        self._angles = angles
        self.nodes: dict[NodeName, NativeNode] = dict(zip(self.names, nodes, strict=True))
        start_qrngs(self.nodes, self.symbols)
        flight = round(lab.fibre.flight_s * CLOCK_HZ)
        self.delay_clocks = max(flight, MESSAGE_CLOCKS)
        self._chunk_clocks = min(self.delay_clocks, MAX_CHUNK_CLOCKS)
        self.mesh = mesh
        self._lines = Lines(self.names, self.delay_clocks, mesh)
        self._submitted: dict[NodeName, list[bytes]] = {name: [] for name in self.names}
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(len(NODES), thread_name_prefix="node")
        self._photons: Photons | None = None
        self._alignment: Alignment | None = None
        self._configure(run_frames)
        if mesh is not None:
            mesh.tell(self.clock)

    @property
    def title(self) -> str:
        """As a URL of `twinphase.device.open_device`."""
        return f"lab:{self.lab.name}"

    @property
    def chunk_clocks(self) -> int:
        """The longest step now; 0 while nodes elsewhere are behind. Raises MeshError when one has gone."""
        limit = None if self.mesh is None else self.mesh.limit()
        return self._chunk_clocks if limit is None else max(0, min(self._chunk_clocks, limit - self.clock))

    @property
    def aligner(self) -> PulseAligner | None:
        """Keeps pulses aligned, where the lab asks for it and the server is here."""
        return None if self._alignment is None else self._alignment.aligner

    @property
    def messages(self) -> frozenset[Stream]:
        """None: its nodes get their messages from each other."""
        return frozenset()

    @property
    def real_time(self) -> bool:
        """It runs as fast as it can."""
        return False

    @property
    def waker(self) -> socket | None:
        """Readable when `chunk_clocks` may have grown."""
        return None if self.mesh is None else self.mesh.waker

    @property
    def clock(self) -> int:
        """The clock count of all nodes now."""
        return self.nodes[self.names[0]].clock

    @property
    def seconds(self) -> float:
        """Lab time since pulse 0 reached the server; negative before."""
        return (self.clock - self.start_clock) / CLOCK_HZ

    @property
    def angles(self) -> Angles | None:
        """The server's STEP_R_k at the start; None where it is elsewhere."""
        if "server" not in self.names:
            return None
        a, b, c, d = (self.registers["server"][name] for name in step_registers(EQUAL_PORTS))
        return a, b, c, d

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
        if not start < stop_clock <= start + self._chunk_clocks:
            raise LabStateError(f"a step from clock {start} to {stop_clock}; allowed: 1 to {self._chunk_clocks} clocks")
        inputs: dict[NodeName, list[tuple[int, bytes]]] = {}
        with self._lock:
            for name in self.names:
                inputs[name] = [(start, packet) for packet in self._submitted[name]]
                self._submitted[name].clear()
        for name, packets in inputs.items():
            for line in self._lines.arriving[name]:
                packets += line.arriving(stop_clock)
            packets.sort(key=lambda entry: entry[0])
        answers = answers_in(inputs.get("server", []))
        light = NO_CLICKS if self._photons is None else self._photons.between(start, stop_clock)

        def run(name: NodeName) -> NodeOutput:
            node = self.nodes[name]
            if name == "server":
                columns = light.light if isinstance(light, Candidates) else None
                return node.run(stop_clock, light.times_ticks, light.channels, inputs[name], light=columns)
            return node.run(stop_clock, rx=inputs[name])

        outputs = dict(zip(self.names, self._pool.map(run, self.names), strict=True))
        for name, output in outputs.items():
            for line in self._lines.leaving[name]:
                line.send(output)
        if self.mesh is not None:
            self.mesh.tell(stop_clock)
        if self._alignment is not None:
            self._alignment.take((packet for _, packet in outputs["server"].packets), answers, stop_clock)
        clicked = outputs["server"].clicked if "server" in outputs else None
        clicks = light if clicked is None else light[clicked]
        return LabStep(start, stop_clock, clicks, outputs, inputs)

    def close(self) -> None:
        """Stop the worker threads; harmless when repeated."""
        self._pool.shutdown(cancel_futures=True)
        if self._photons is not None:
            self._photons.close()
        if self.mesh is not None:
            self.mesh.close()

    def __enter__(self) -> VirtualLab:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # Configuration

    def _configure(self, run_frames: bool) -> None:
        """Tables first; they fix how early the frame can start. Then the registers, and CONTROL last."""
        lab = self.lab
        table = {"FRAME_TABLE": client_table(lab)}
        identifiers = dict.fromkeys(NODES, 1)
        self._write(
            identifiers, {name: {} for name in NODES}, {"server": server_memories(lab), "alice": table, "bob": table}
        )
        # Room for the register writes, and for the clients, which emit one flight early and start their anchor LAG earlier.
        earliest = self.clock + self.delay_clocks + 2 * LAG_CLOCKS + 8 * SETUP_CHUNK_CLOCKS
        self.start_clock = -(-earliest >> START_ROUNDING_BITS) << START_ROUNDING_BITS
        if self.mesh is not None:
            self.start_clock = self.mesh.agree_on_start(self.start_clock)
        self.registers: dict[NodeName, dict[str, int]] = {
            "server": server_registers(lab, self.start_clock),
            "alice": self._client_registers("alice", "a"),
            "bob": self._client_registers("bob", "b"),
        }
        if self._angles is not None:
            self.registers["server"] |= step_registers(self._angles)
        self.frame = frame_config(lab, self.start_clock)
        self._write(identifiers, self.registers)
        if run_frames:
            self._write(identifiers, {name: {"CONTROL": 1} for name in NODES})
        if "server" in self.names:
            self._shine(lab)

    def _shine(self, lab: Lab) -> None:
        """Light from pulse 0 on, at ``start_clock``, of ``lab`` and the clients' symbols."""
        self.link = Link(lab, self.seed, self.symbols["alice"], self.symbols["bob"], start_clock=self.start_clock)
        if lab.arms.align:
            windows = self.registers["server"]["ARRIVAL_WINDOWS"]
            self._alignment = Alignment(self.link, self._lines.between, windows=windows, delay_clocks=self.delay_clocks)
        if lab.actuator is not None:
            self.nodes["server"].set_light(light_path(lab))
        self._photons = Photons(lab, self.link)

    def _client_registers(self, role: Literal["alice", "bob"], arm: Literal["a", "b"]) -> dict[str, int]:
        generator = self.symbols[role]
        emission_clock = self.start_clock - self._flight_clocks(arm)
        digest = pair_digest(self.seed)
        return client_registers(self.lab, role, generator.key, emission_clock, generator.nonce, digest=digest)

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
        silent = ", ".join(name for name in self.names if waiting[name])
        raise DeviceError(f"lab:{self.lab.name}: the {silent} node does not answer register requests")


def _gateware(lab: Lab, name: NodeName) -> tuple[Kind, dict[str, Any]]:
    """Kind and options of a node's gateware."""
    if name != "server":
        return "client", {"lanes": lab.lanes, **source_options(lab)}
    dac_bits = ACTUATOR_BITS if lab.actuator is None else lab.actuator.dac_bits
    return "server", {} if dac_bits == ACTUATOR_BITS else {"actuator_bits": dac_bits}
