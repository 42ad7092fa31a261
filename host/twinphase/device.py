"""One abstract device: a board on UDP, a serial port or USB, a virtual node, or a recording.

A `Device` yields decoded record batches and gives access to registers by their names in the spec's map. A device that
speaks packets (everything but a recording) derives from `PacketDevice` and supplies three methods: ``receive``,
``request`` and ``close``. `open_device` finds the class for a URL; further schemes come from the entry point group
``twinphase.devices`` (name: scheme; value: a callable that takes the URL and returns a Device).
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import entry_points
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from twinphase_spec.packets import MAX_REGISTER_WORDS, RegisterOp, Stream
from twinphase_spec.registers import ID_MAGIC, INTERFACE_VERSION, MAPS, Access, Memory, NodeType, Register, RegisterMap
from twinphase_spec.units import CLOCK_HZ, TAGGER_CLOCKS_HZ

from .batch import Batch, in_host_ticks
from .errors import DeviceError
from .extras import load_entry_point
from .packet_block import PacketBlock
from .packets import Decoder, StreamState

IDENTITY_WORDS = 6
DEVICE_GROUP = "twinphase.devices"


@dataclass(frozen=True, kw_only=True)
class Identity:
    """The identity registers of a node, checked against this host's spec."""

    node: NodeType
    interface_version: int
    clock_hz: int
    map_hash: int
    build_hash: int

    @property
    def map(self) -> RegisterMap:
        """The register map of the node's type."""
        return MAPS[self.node]

    def as_dict(self) -> dict[str, int | str]:
        """For JSON: the node type by name, the rest as numbers."""
        return asdict(self) | {"node": self.node.name.lower()}


def check_identity(words: Sequence[int], url: str) -> Identity:
    """The identity from register words 0 to 5. Raises DeviceError, which says what to do, when this host does not fit."""
    magic, node, version, clock_hz, map_hash, build_hash = words
    if magic != ID_MAGIC:
        raise DeviceError(
            f"{url} answers ID_MAGIC {magic:#010x} instead of {ID_MAGIC:#010x}: it is no Twinphase node; check the address"
        )
    if version != INTERFACE_VERSION:
        raise DeviceError(
            f"{url} has interface version {version}, this host {INTERFACE_VERSION}: install the Twinphase release that the "
            "bitstream was built with, or build and load a new bitstream"
        )
    if node not in MAPS:
        raise DeviceError(f"{url} has node type {node}, which this host does not know: update Twinphase on the host")
    node_map = MAPS[NodeType(node)]
    if map_hash != node_map.hash:
        raise DeviceError(
            f"{url} has register map {map_hash:#010x}, this host {node_map.hash:#010x}: install the Twinphase release that "
            "the bitstream was built with, or build and load a new bitstream"
        )
    if clock_hz != CLOCK_HZ and not (node == NodeType.TIMETAGGER and clock_hz in TAGGER_CLOCKS_HZ):
        raise DeviceError(
            f"{url} runs at {clock_hz} Hz, this host counts {CLOCK_HZ} Hz: build a bitstream for {CLOCK_HZ} Hz"
        )
    return Identity(
        node=NodeType(node), interface_version=version, clock_hz=clock_hz, map_hash=map_hash, build_hash=build_hash
    )


class Device(ABC):
    """A node, live or recorded. A context manager: leaving it closes the device.

    Everything that fails raises `DeviceError` with one sentence.
    """

    url: str = ""
    lab: str | None = None
    """Name of the lab that the node belongs to, where the device knows it."""
    receive_buffer_bytes: int | None = None
    """What the system gave a socket for packets that nobody has taken yet."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Release everything. Closing twice is harmless."""

    @abstractmethod
    def identity(self) -> Identity:
        """The checked identity of the node."""

    @property
    def map(self) -> RegisterMap:
        """The node's register map."""
        return self.identity().map

    @abstractmethod
    def batches(self, timeout_s: float = 0.1) -> Iterator[Batch]:
        """Decoded records as they come, at least one batch (maybe empty) every ``timeout_s``; ends when the device ends."""

    @property
    @abstractmethod
    def streams(self) -> Mapping[Stream, StreamState]:
        """What is known of each stream so far: packets, records, losses, damage."""

    @property
    @abstractmethod
    def damage(self) -> Mapping[str, int]:
        """Damaged packets by what was wrong with them."""

    @property
    def transport_losses(self) -> dict[str, int]:
        """Packets lost on this host before they could be decoded, by place; they also show as lost packets."""
        return {}

    @property
    def silent_s(self) -> float:
        """For how long somebody has waited for the node in vain."""
        return 0.0

    @property
    def advice(self) -> list[str]:
        """What the user can do against losses on this host, a sentence each."""
        return []

    @abstractmethod
    def read(self, register: str | Register) -> int:
        """The register's value (sign-extended when the map says signed)."""

    @abstractmethod
    def write(self, register: str | Register, value: int) -> None:
        """Set a register. DeviceError when the value does not fit or the register is read-only."""

    @abstractmethod
    def read_memory(self, memory: str | Memory, start: int = 0, count: int | None = None) -> NDArray[np.uint32]:
        """``count`` words (all, if None) of a memory from word ``start``."""

    @abstractmethod
    def write_memory(self, memory: str | Memory, values: Sequence[int] | NDArray[Any], start: int = 0) -> None:
        """Write words into a memory from word ``start``."""

    def _register(self, register: str | Register) -> Register:
        if isinstance(register, Register):
            return register
        try:
            return self.map[register]
        except KeyError as error:
            raise DeviceError(f"{self.url}: {error.args[0]}") from error

    def _memory(self, memory: str | Memory, start: int, count: int | None) -> tuple[Memory, int]:
        if isinstance(memory, str):
            try:
                memory = self.map.memory(memory)
            except KeyError as error:
                raise DeviceError(f"{self.url}: {error.args[0]}") from error
        count = memory.words - start if count is None else count
        if start < 0 or count < 0 or start + count > memory.words:
            raise DeviceError(
                f"{self.url}: words {start} to {start + count - 1} of {memory.name} do not exist; it has {memory.words}"
            )
        return memory, count


class PacketDevice(Device):
    """A device that speaks packets: implement `receive`, `request` and `close`; the rest is here."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._identity: Identity | None = None
        self._decoder: Decoder | None = None

    @abstractmethod
    def receive(self, timeout_s: float) -> list[bytes] | None:
        """Raw packets of the data streams in order of arrival, as many as are there, or some thousand of them.

        Waits up to ``timeout_s`` for the first; [] when none came; None when the device has ended and all was handed out.
        """

    def receive_block(self, timeout_s: float) -> PacketBlock | None:
        """As `receive`, in one array."""
        packets = self.receive(timeout_s)
        return None if packets is None else PacketBlock.of(packets)

    @abstractmethod
    def request(self, op: RegisterOp, address: int, count: int, words: Sequence[int] = ()) -> Sequence[int]:
        """One register transaction of 1 to 64 words: the words read, or nothing for a write.

        Retried with the same id until answered; DeviceError when no answer comes or the node answers BAD_REQUEST.
        """

    def identity(self) -> Identity:
        if self._identity is None:
            self._identity = check_identity(self.request(RegisterOp.READ, 0, IDENTITY_WORDS), self.url)
        return self._identity

    @property
    def decoder(self) -> Decoder:
        """The decoder of this device's packets, with the state of each stream."""
        if self._decoder is None:
            self._decoder = Decoder(self.map)
        return self._decoder

    @property
    def streams(self) -> Mapping[Stream, StreamState]:
        return self.decoder.streams

    @property
    def damage(self) -> Mapping[str, int]:
        return dict(self.decoder.damage)

    def batches(self, timeout_s: float = 0.1) -> Iterator[Batch]:
        decoder = self.decoder
        while (block := self.receive_block(timeout_s)) is not None:
            yield in_host_ticks(decoder.decode(block), self.identity().clock_hz)
        yield in_host_ticks(decoder.finish(), self.identity().clock_hz)

    def read(self, register: str | Register) -> int:
        entry = self._register(register)
        words = self.request(RegisterOp.READ, entry.address, entry.words)
        return register_value(entry, words)

    def write(self, register: str | Register, value: int) -> None:
        entry = self._register(register)
        if entry.access is Access.RO:
            raise DeviceError(f"{self.url}: {entry.name} is read-only")
        self.request(RegisterOp.WRITE, entry.address, entry.words, register_words(entry, value, self.url))

    def read_memory(self, memory: str | Memory, start: int = 0, count: int | None = None) -> NDArray[np.uint32]:
        entry, count = self._memory(memory, start, count)
        words: list[int] = []
        for at in range(start, start + count, MAX_REGISTER_WORDS):
            size = min(MAX_REGISTER_WORDS, start + count - at)
            words += self.request(RegisterOp.READ, entry.address + at, size)
        return np.array(words, np.uint32)

    def write_memory(self, memory: str | Memory, values: Sequence[int] | NDArray[Any], start: int = 0) -> None:
        words = [int(value) for value in values]
        entry, _ = self._memory(memory, start, len(words))
        if entry.access is Access.RO:
            raise DeviceError(f"{self.url}: {entry.name} is read-only")
        if any(not 0 <= word < 1 << entry.width for word in words):
            raise DeviceError(
                f"{self.url}: a word for {entry.name} does not fit; allowed: 0 to {(1 << entry.width) - 1}"
            )
        for at in range(0, len(words), MAX_REGISTER_WORDS):
            part = words[at : at + MAX_REGISTER_WORDS]
            self.request(RegisterOp.WRITE, entry.address + start + at, len(part), part)

    def counters(self, timeout_s: float = 2.0) -> dict[str, int]:
        """A new snapshot of all counters of the node, taken at one clock."""
        before = self.read("SNAPSHOT_COUNT")
        self.write("SNAPSHOT", 1)
        deadline = time.monotonic() + timeout_s
        while self.read("SNAPSHOT_COUNT") == before:
            if time.monotonic() > deadline:
                raise DeviceError(f"{self.url} took no snapshot within {timeout_s:g} s: is its clock running?")
            time.sleep(0.001)
        names = self.map.counter_names
        words = self.read_memory("COUNTERS", 0, 2 * len(names))
        return {name: int(words[2 * i]) | int(words[2 * i + 1]) << 32 for i, name in enumerate(names)}


def register_value(register: Register, words: Sequence[int]) -> int:
    """The value of a register from its one or two words."""
    value = sum(int(word) << 32 * i for i, word in enumerate(words)) & ((1 << register.width) - 1)
    return value - (1 << register.width) if register.signed and value >> (register.width - 1) else value


def register_words(register: Register, value: int, where: str) -> list[int]:
    """The one or two words that set a register; signed values may be given negative or in two's complement."""
    low = -(1 << (register.width - 1)) if register.signed else 0
    wide = value >= 0 and register.signed and value <= 0xFFFFFFFF  # a sign-extended 32-bit word, as configure.py writes
    if not wide and not low <= value < 1 << register.width:
        raise DeviceError(
            f"{where}: {register.name} cannot hold {value}; allowed: {low} to {(1 << (register.width - bool(low))) - 1}"
        )
    return [(value >> 32 * i) & 0xFFFFFFFF for i in range(register.words)]


def open_device(url: str) -> Device:
    """The device behind ``udp://host:port``, ``serial:///dev/ttyUSB0?baud=3000000``, ``usb://SERIAL``, a recording's path, or
    ``scheme:...`` of an entry point in the group ``twinphase.devices``. Its identity is checked. Raises DeviceError."""
    scheme, colon, _ = url.partition(":")
    if url.startswith("udp://"):
        from .transport.udp import UdpDevice

        return UdpDevice(url)
    if url.startswith("serial://"):
        from .transport.serial import SerialDevice

        return SerialDevice(url)
    if url.startswith("usb://"):
        from .transport.usb import UsbDevice

        return UsbDevice(url)
    if colon and len(scheme) > 1:  # one letter is a drive
        found = {point.name: point for point in entry_points(group=DEVICE_GROUP)}
        if scheme in found:
            return load_entry_point(found[scheme])(url)
        known = ", ".join(sorted({"udp", "serial", "usb", *found}))
        raise DeviceError(f"{url} has the unknown scheme {scheme!r}; known: {known}, or the path of a recording")
    from .recording.reader import Recording

    return Recording(url)
