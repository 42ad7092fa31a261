"""Register requests as packets, by the names of the spec, and `NodeRegisters`, which carries them out on a native node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from twinphase.device import register_value, register_words
from twinphase.errors import DeviceError
from twinphase.packets import pack
from twinphase_spec.packets import HEADER_WORDS, MAX_REGISTER_WORDS, RegisterOp, RegisterStatus, Stream
from twinphase_spec.registers import RegisterMap

from .node import NativeNode
from .output import NodeOutput

PATIENCE_CLOCKS = 1 << 20


def request_packet(identifier: int, op: RegisterOp, address: int, count: int, words: Sequence[int] = ()) -> bytes:
    """A REGISTER_REQUEST packet."""
    payload = np.array(words, "<u4").tobytes()
    return pack(Stream.REGISTER_REQUEST, identifier, payload, base_ticks=address | count << 32, flags=op)


def write_requests(
    node_map: RegisterMap,
    registers: Mapping[str, int],
    memories: Mapping[str, Sequence[int]] | None = None,
    *,
    first_id: int = 1,
) -> list[bytes]:
    """Packets that write memories (each from its word 0) and then registers by name, with ids from ``first_id`` up.

    Raises DeviceError for a value that does not fit, KeyError for an unknown name.
    """
    writes: list[tuple[int, list[int]]] = []
    for name, values in (memories or {}).items():
        address = node_map.memory(name).address
        for at in range(0, len(values), MAX_REGISTER_WORDS):
            writes.append((address + at, list(values[at : at + MAX_REGISTER_WORDS])))
    for name, value in registers.items():
        register = node_map[name]
        writes.append((register.address, register_words(register, value, f"{node_map.node.name.lower()} node")))
    return [
        request_packet(first_id + i, RegisterOp.WRITE, address, len(words), words)
        for i, (address, words) in enumerate(writes)
    ]


def answer_words(answer: bytes, where: str) -> tuple[int, list[int]]:
    """(id, words read) of a REGISTER_RESPONSE packet. Raises DeviceError when the node refused the request."""
    words = np.frombuffer(answer, "<u4").tolist()
    if words[2] >> 16 != RegisterStatus.OK:
        raise DeviceError(f"{where} refuses request {words[1]} of {words[4]} words at {words[3]:#06x}")
    return words[1], words[HEADER_WORDS:]


class NodeRegisters:
    """Reads and writes a native node's registers by name; the node runs on meanwhile.

    ``outputs`` gathers what the node sent during the requests, answers included.
    """

    def __init__(self, node: NativeNode) -> None:
        self.node = node
        self.outputs: list[NodeOutput] = []
        self._id = 0

    def request(self, op: RegisterOp, address: int, count: int, words: Sequence[int] = ()) -> list[int]:
        """One transaction of 1 to 64 words. Raises DeviceError when it is refused or no answer comes."""
        self._id += 1
        rx = [(self.node.clock, request_packet(self._id, op, address, count, words))]
        for _ in range(PATIENCE_CLOCKS // 512):
            output = self.node.run(self.node.clock + 512, rx=rx)
            rx = []
            self.outputs.append(output)
            for index in np.flatnonzero(output.streams == Stream.REGISTER_RESPONSE):
                identifier, answer = answer_words(output.packet(int(index)), f"{self.node.kind} node")
                if identifier == self._id:
                    return answer
        raise DeviceError(
            f"{self.node.kind} node: request at {address:#06x} was not answered in {PATIENCE_CLOCKS} clocks"
        )

    def read(self, name: str) -> int:
        """The register's value."""
        register = self.node.map[name]
        return register_value(register, self.request(RegisterOp.READ, register.address, register.words))

    def write(self, name: str, value: int) -> None:
        """Set a register."""
        register = self.node.map[name]
        words = register_words(register, value, f"{self.node.kind} node")
        self.request(RegisterOp.WRITE, register.address, register.words, words)

    def read_memory(self, name: str, start: int = 0, count: int | None = None) -> list[int]:
        """``count`` words (all, if None) of a memory from word ``start``."""
        memory = self.node.map.memory(name)
        stop = memory.words if count is None else start + count
        result: list[int] = []
        for at in range(start, stop, MAX_REGISTER_WORDS):
            result += self.request(RegisterOp.READ, memory.address + at, min(MAX_REGISTER_WORDS, stop - at))
        return result

    def write_memory(self, name: str, values: Sequence[int], start: int = 0) -> None:
        """Write words into a memory from word ``start``."""
        memory = self.node.map.memory(name)
        for at in range(0, len(values), MAX_REGISTER_WORDS):
            part = values[at : at + MAX_REGISTER_WORDS]
            self.request(RegisterOp.WRITE, memory.address + start + at, len(part), part)

    def counters(self) -> dict[str, int]:
        """A new snapshot of all counters."""
        before = self.read("SNAPSHOT_COUNT")
        self.write("SNAPSHOT", 1)
        while self.read("SNAPSHOT_COUNT") == before:
            pass
        names = self.node.map.counter_names
        words = self.read_memory("COUNTERS", 0, 2 * len(names))
        return {name: words[2 * i] | words[2 * i + 1] << 32 for i, name in enumerate(names)}
