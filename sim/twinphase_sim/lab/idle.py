"""A lab whose nodes wait to be set up and started from outside, as boards do (``twinphase serve LAB --idle``, ``twinphase run``).

Nothing is written to the nodes and nothing carried between them here. What its physics must know of them it sees in the register
writes that reach them: keys and nonces of the clients' symbols, and when who starts. Light is there from when all three run on, pulse
0 of each client one flight after it was emitted, however well that meets the server's grid. Corrections of the emission act on it once
the client's gateware has taken them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from twinphase.device import register_value
from twinphase_sim.model.sift.emission import Correction
from twinphase_sim.native import NodeOutput, answer_words, request_packet
from twinphase_spec.configure import client_symbols
from twinphase_spec.frame import LAG_CLOCKS
from twinphase_spec.lab import Lab, LabError
from twinphase_spec.packets import HEADER_WORDS, RegisterOp, Stream
from twinphase_spec.port_balance import EQUAL_PORTS
from twinphase_spec.registers import CLIENT

from .corrections import CLIENTS, FIRST_ID
from .lines import NODES, NodeName
from .virtual import LabStateError, LabStep, VirtualLab

PS_PER_CLOCK = 8000
MOST_LATE_CLOCKS = 125_000
"""A millisecond: what an arm of a lab can be late by."""


class IdleLab(VirtualLab):
    """The lab ``lab`` with ``seed`` for its physics. Raises LabError, ToolchainError.

    Where a client starts so early or late that its pulses miss the server's by more than a millisecond `step` raises LabError."""

    def __init__(self, lab: Lab, seed: int = 1, *, cache: Path | None = None, progress: bool = True) -> None:
        self._written: dict[NodeName, dict[int, int]] = {name: {} for name in NODES}
        self._asked: dict[int, Correction] = {}
        self._id = FIRST_ID
        self._taken = dict.fromkeys(CLIENTS, 0)
        super().__init__(lab, seed, cache=cache, progress=progress, angles=EQUAL_PORTS)
        self._lines.leaving = {name: [] for name in NODES}

    @property
    def messages(self) -> frozenset[Stream]:
        """What the server says to clients, and the clients to each other."""
        return frozenset((Stream.HERALD_CODE, Stream.PSI, Stream.LIVE, Stream.PEER))

    @property
    def real_time(self) -> bool:
        """Whoever starts it counts on clocks that pass no faster than his own."""
        return True

    def submit(self, name: str, packet: bytes) -> None:
        """As of every lab; register writes are looked at."""
        super().submit(name, packet)
        words = [int.from_bytes(packet[at : at + 4], "little") for at in range(0, len(packet), 4)]
        if (
            len(words) > HEADER_WORDS
            and words[0] & 0xFF == Stream.REGISTER_REQUEST
            and words[2] >> 16 == RegisterOp.WRITE
        ):
            written = {words[3] + k: word for k, word in enumerate(words[HEADER_WORDS:])}
            self._written[name] |= written
            if name in CLIENTS and CLIENT["EMIT_FRACTION"].address in written:
                self._ask(name)

    def step(self, stop_clock: int) -> LabStep:
        """As of every lab; before it the light goes on or off with the nodes."""
        running = all(self._of(name, "CONTROL") & 1 for name in NODES)
        if running and self._photons is None:
            self._start_light()
        if not running and self._photons is not None:
            self._photons.close()
            self._photons = None
        step = super().step(stop_clock)
        for name in CLIENTS:
            self._hear(name, step.outputs[name])
        return step

    def _ask(self, client: str) -> None:
        """A correction has been written; has the client taken it?"""
        self._id += 1
        pulses = self._of(client, "EMIT_PULSES")
        signed = register_value(CLIENT["EMIT_PULSES"], [pulses])
        self._asked[self._id] = Correction(
            slot=self._of(client, "EMIT_SLOT"), pulses=signed, fraction=self._of(client, "EMIT_FRACTION")
        )
        super().submit(client, request_packet(self._id, RegisterOp.READ, CLIENT["EMIT_TAKEN"].address, 1))

    def _hear(self, client: str, output: NodeOutput) -> None:
        for index in np.flatnonzero(output.streams == Stream.REGISTER_RESPONSE).tolist():
            identifier, values = answer_words(output.packet(index), client)
            correction = self._asked.pop(identifier, None)
            if correction is None or values == [
                self._taken[client]
            ]:  # somebody else's answer, or a write that was refused or repeated
                continue
            self._taken[client] = values[0]
            if self._photons is not None:
                try:
                    self.link.correct(CLIENTS.index(client), correction)
                except ValueError as error:
                    raise LabStateError(f"{client}: {error}") from error

    def _configure(self, run_frames: bool) -> None:
        """Nobody has started anything."""
        self.start_clock, self.registers = 0, {name: {} for name in NODES}

    def _start_light(self) -> None:
        lab, late = self.lab, {}
        self.start_clock = self._of("server", "START_CLOCK")
        for role, arm in (("alice", "a"), ("bob", "b")):
            emission = self._of(role, "START_CLOCK") + LAG_CLOCKS
            clocks = emission + self._flight_clocks(arm) - self.start_clock  # type: ignore[arg-type]
            if abs(clocks) > MOST_LATE_CLOCKS:
                raise LabError(
                    f"lab {lab.name}: pulse 0 of {role} comes {clocks} clocks after its place on the server's grid; allowed: "
                    f"{MOST_LATE_CLOCKS} either way: start {role} earlier or later"
                )
            own = getattr(lab.arms, arm)
            late[arm] = own.model_copy(update={"offset_ps": own.offset_ps + PS_PER_CLOCK * clocks})
            if lab.clients.symbols == "aes":
                key = tuple(self._of(role, f"KEY_{k}") for k in range(4))
                nonce = self._of(role, "NONCE_0") << 32 | self._of(role, "NONCE_1")
                self.symbols[role] = client_symbols(lab, role, key, nonce)  # type: ignore[arg-type]
        self._shine(lab.model_copy(update={"arms": lab.arms.model_copy(update={**late, "align": False})}))

    def _of(self, name: NodeName, register: str) -> int:
        """What was written to a node's register, 0 before."""
        entry = self.nodes[name].map[register]
        words = self._written[name]
        return sum(words.get(entry.address + k, 0) << 32 * k for k in range(entry.words))
