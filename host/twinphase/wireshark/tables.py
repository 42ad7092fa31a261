"""The Lua text of the dissector: tables of streams, records, counters and registers, written from the spec, then the code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from twinphase_spec import packets as wire
from twinphase_spec.packets import HEADER_DTYPE, RECORD_DTYPES, RECORD_WORDS, RegisterOp, RegisterStatus, Stream
from twinphase_spec.registers import MAPS, Memory, Register, RegisterMap
from twinphase_spec.udp_registers import UDP_LINK, UDP_REGISTER_PORT_OFFSET
from twinphase_spec.units import CLOCK_HZ, TICKS_PER_CLOCK

from ..transport.udp import DEFAULT_PORT

PORTS = 3
"""Default ports of a server and two clients on one computer."""
CODE = Path(__file__).with_name("dissector.lua")


def dissector() -> str:
    """The whole script for Wireshark."""
    head = (
        f"-- Wireshark dissector of Twinphase {version('twinphase')}, written by `twinphase dissector` from the protocol's spec.\n"
        f"local SPEC = {lua(tables())}\n\n"
    )
    return head + CODE.read_text(encoding="utf-8")


def tables() -> dict[str, Any]:
    """What the dissector knows of the protocol."""
    return {
        "magic": wire.MAGIC,
        "version": wire.VERSION,
        "ports": [DEFAULT_PORT + i for i in range(PORTS)],
        "header_bytes": 4 * wire.HEADER_WORDS,
        "max_payload_words": wire.MAX_PAYLOAD_WORDS,
        "max_register_words": wire.MAX_REGISTER_WORDS,
        "overflow_channel": wire.T2_OVERFLOW_CHANNEL,
        "time_bits": wire.T2_TIME_BITS,
        "ticks_per_clock": TICKS_PER_CLOCK,
        "clock_hz": CLOCK_HZ,
        "header": fields(HEADER_DTYPE),
        "streams": {int(stream): _stream(stream) for stream in Stream},
        "status": {
            node_map.status_words: {"node": node_map.node.name.lower(), "counters": list(node_map.counter_names)}
            for node_map in MAPS.values()
        },
        "operations": {int(op): op.name for op in RegisterOp},
        "statuses": {int(status): status.name for status in RegisterStatus},
        "registers": _registers(tuple(MAPS.values())),
        "link_port": DEFAULT_PORT + UDP_REGISTER_PORT_OFFSET,
        "link_registers": _registers((UDP_LINK,)),
        "r_valid": wire.FLAG_R_VALID,
        "d_valid": wire.FLAG_D_VALID,
        "track": {
            "channel_shift": wire.TRACK_CHANNEL_SHIFT,
            "flags_shift": wire.TRACK_FLAGS_SHIFT,
            "high_bits": wire.TRACK_CLOCK_HIGH_BITS,
            "locked": wire.TRACK_LOCKED,
            "broke": wire.TRACK_BROKE,
        },
    }


def fields(dtype: np.dtype[Any]) -> list[dict[str, Any]]:
    """Name, place in bytes, size and Wireshark's type of each field of a record."""
    return [
        {
            "name": name,
            "at": dtype.fields[name][1] if dtype.fields else 0,
            "bytes": dtype[name].itemsize,
            "type": f"{'int' if dtype[name].kind == 'i' else 'uint'}{8 * dtype[name].itemsize}",
        }
        for name in dtype.names or ()
    ]


def _stream(stream: Stream) -> dict[str, Any]:
    """Its name; words per record, where it has records; their fields, where they are those of the wire."""
    found: dict[str, Any] = {"name": stream.name}
    if stream in RECORD_WORDS:
        found["words"] = RECORD_WORDS[stream]
    if stream in RECORD_DTYPES and stream not in (Stream.TAG, Stream.HERALD_CODE):
        found["fields"] = fields(RECORD_DTYPES[stream])
    return found


def _registers(maps: Sequence[RegisterMap]) -> list[dict[str, Any]]:
    """First and last address of everything in the register maps, with the nodes that have it there ("all" of several)."""
    found: dict[tuple[int, int, str], list[str]] = {}
    for node_map in maps:
        entries: list[Register | Memory] = [*node_map.registers, *node_map.memories]
        for entry in entries:
            key = (entry.address, entry.address + entry.words - 1, entry.name)
            found.setdefault(key, []).append(node_map.node.name.lower())
    return [
        {
            "first": first,
            "last": last,
            "name": name,
            "nodes": "all" if len(nodes) == len(maps) > 1 else ", ".join(nodes),
        }
        for (first, last, name), nodes in sorted(found.items())
    ]


def lua(value: object) -> str:
    """A Lua expression for numbers, text, lists and dictionaries."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"[{lua(key)}] = {lua(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, Sequence):
        return "{" + ", ".join(map(lua, value)) + "}"
    return str(value)
