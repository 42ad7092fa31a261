"""What a register map is: registers, memories and counters of a node, and its forms as JSON, SVD and a documentation page.

Addresses count 32-bit words. A register of 64 bits takes two addresses, low word first. Reading has no side effect; a
write of any word is idempotent. What is wider than 32 bits and changes by itself (clock, counters) is read from a
snapshot, taken by a write of 1 to SNAPSHOT and on every status tick, all at one clock.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from enum import IntEnum, StrEnum
from xml.etree import ElementTree

INTERFACE_VERSION = 1


class NodeType(IntEnum):
    """What NODE_TYPE reads."""

    SERVER = 1
    CLIENT = 2
    TIMETAGGER = 3
    UDP_LINK = 4
    """No node: a board's link over UDP, beside its node."""


class Access(StrEnum):
    """RW: host writes, node reads. RO: node drives. W1: a write gives the node a one-clock strobe, reads 0."""

    RW = "rw"
    RO = "ro"
    W1 = "w1"


@dataclass(frozen=True, kw_only=True)
class Register:
    """One register of ``width`` bits at word ``address``."""

    name: str
    address: int
    width: int
    doc: str
    access: Access = Access.RW
    reset: int = 0
    signed: bool = False
    secret: bool = False
    """Never written into a recording."""

    @property
    def words(self) -> int:
        """Addresses taken: 1 or 2."""
        return 1 if self.width <= 32 else 2


@dataclass(frozen=True, kw_only=True)
class Memory:
    """``words`` addresses from ``address``; ``width`` bits of each word are kept."""

    name: str
    address: int
    words: int
    width: int
    doc: str
    access: Access = Access.RW


@dataclass(frozen=True, kw_only=True)
class RegisterMap:
    """All registers, memories and counters of one node type."""

    node: NodeType
    registers: tuple[Register, ...]
    memories: tuple[Memory, ...]
    counters: tuple[tuple[str, str], ...]
    """(name, description) of the 64-bit counters, in the order of the COUNTERS memory and of a STATUS record."""

    def __post_init__(self) -> None:
        taken: dict[int, str] = {}
        entries: list[Register | Memory] = [*self.registers, *self.memories]
        for entry in entries:
            for address in range(entry.address, entry.address + entry.words):
                if address in taken:
                    raise ValueError(f"registers: {entry.name} and {taken[address]} share address {address:#x}")
                taken[address] = entry.name

    def __getitem__(self, name: str) -> Register:
        for register in self.registers:
            if register.name == name:
                return register
        raise KeyError(f"no register {name} in the {self.node.name.lower()} map")

    def memory(self, name: str) -> Memory:
        """The memory called ``name``. KeyError when there is none."""
        for memory in self.memories:
            if memory.name == name:
                return memory
        raise KeyError(f"no memory {name} in the {self.node.name.lower()} map")

    @property
    def counter_names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.counters)

    @property
    def status_words(self) -> int:
        """32-bit words of a STATUS record."""
        return 2 * len(self.counters)

    def to_json(self) -> str:
        """The map as JSON text, the source of `hash`."""
        entries = asdict(self)
        for register in entries["registers"]:
            if not register["secret"]:
                del register["secret"]  # said of those few alone
        return json.dumps({"interface_version": INTERFACE_VERSION, **entries}, indent=1, sort_keys=True)

    @property
    def hash(self) -> int:
        """32 bits that change with any entry; MAP_HASH reads it."""
        return int.from_bytes(hashlib.sha256(self.to_json().encode()).digest()[:4], "little")

    def to_svd(self) -> str:
        """The map as a CMSIS-SVD document (byte addresses)."""
        device = ElementTree.Element("device", schemaVersion="1.3")
        for tag, text in (("name", f"twinphase_{self.node.name.lower()}"), ("version", str(INTERFACE_VERSION))):
            ElementTree.SubElement(device, tag).text = text
        ElementTree.SubElement(device, "width").text = "32"
        peripheral = ElementTree.SubElement(ElementTree.SubElement(device, "peripherals"), "peripheral")
        ElementTree.SubElement(peripheral, "name").text = "NODE"
        ElementTree.SubElement(peripheral, "baseAddress").text = "0x0"
        registers = ElementTree.SubElement(peripheral, "registers")
        access = {Access.RW: "read-write", Access.RO: "read-only", Access.W1: "write-only"}
        for register in self.registers:
            for word in range(register.words):
                element = ElementTree.SubElement(registers, "register")
                suffix = "" if register.words == 1 else ("_LOW", "_HIGH")[word]
                reset = (register.reset >> 32 * word) & 0xFFFFFFFF
                for tag, text in (
                    ("name", register.name + suffix),
                    ("description", register.doc),
                    ("addressOffset", hex(4 * (register.address + word))),
                    ("access", access[register.access]),
                    ("resetValue", hex(reset)),
                ):
                    ElementTree.SubElement(element, tag).text = text
        for memory in self.memories:
            element = ElementTree.SubElement(registers, "register")
            for tag, text in (
                ("dim", str(memory.words)),
                ("dimIncrement", "4"),
                ("name", memory.name + "[%s]"),
                ("description", memory.doc),
                ("addressOffset", hex(4 * memory.address)),
                ("access", access[memory.access]),
            ):
                ElementTree.SubElement(element, tag).text = text
        ElementTree.indent(device)
        return ElementTree.tostring(device, encoding="unicode", xml_declaration=True) + "\n"

    def to_markdown(self) -> str:
        """The documentation page."""
        what = "link over UDP" if self.node is NodeType.UDP_LINK else f"{self.node.name.lower()} node"
        title = f"# Registers of the {what}"
        lines = [title, "", f"Interface version {INTERFACE_VERSION}, map hash `{self.hash:#010x}`. Word addresses.", ""]
        lines += ["| address | name | bits | access | reset | meaning |", "|---|---|---|---|---|---|"]
        lines += [
            f"| `{r.address:#06x}` | {r.name} | {r.width}{' signed' if r.signed else ''} | {r.access} | {r.reset:#x} | {r.doc} |"
            for r in self.registers
        ]
        if not self.memories:
            return "\n".join(lines) + "\n"
        lines += ["", "| addresses | memory | bits | access | meaning |", "|---|---|---|---|---|"]
        lines += [
            f"| `{m.address:#06x}`-`{m.address + m.words - 1:#06x}` | {m.name} | {m.width} | {m.access} | {m.doc} |"
            for m in self.memories
        ]
        lines += ["", "| counter | meaning |", "|---|---|", *(f"| {name} | {doc} |" for name, doc in self.counters)]
        return "\n".join(lines) + "\n"
