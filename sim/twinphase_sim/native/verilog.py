"""The Verilog of a node and the constants that the harness shares with the spec.

Making the Verilog takes seconds, so it is cached as well, under a hash of the gateware's sources.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from twinphase.errors import ExtraError
from twinphase_spec import actuator, frame, packets, tracking, units
from twinphase_spec.registers import CHANNELS, MAPS, NodeType, RegisterMap
from twinphase_spec.symbols import CODE_BITS
from twinphase_spec.tagger import TaggerOptions
from twinphase_spec.tdc import HIT_WORD_CHAINS, code_bits

from .toolchain import Kind, Step, cache_folder, content_hash, locked, model_names

JUMP_GAP = 32
"""Clocks between two jumps of a time tagger's clock count: bounds of earlier times must have left its merge tree."""
ACTUATOR_BITS = 12
"""Of a server's DAC, where nothing else is said; its actuator rests where ACT_CONTROL does not switch it on."""
FRAME_FIRST, FRAME_LAST = "CONTROL", "WINDOWS_PER_DWINDOW"


def node_map(kind: Kind) -> RegisterMap:
    """The register map of a node kind."""
    return MAPS[NodeType[kind.upper()]]


def node_verilog(kind: Kind, options: dict[str, Any], step: Step, cache: Path | None = None) -> str:
    """Verilog of the node, from the cache or made now. Raises ExtraError without the gateware's packages."""
    try:
        amaranth = metadata.version("amaranth")
    except metadata.PackageNotFoundError as error:
        raise ExtraError("pip install 'twinphase[sim]'") from error
    folder = cache if cache is not None else cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    key = content_hash(
        _sources("twinphase_hdl"), _sources("twinphase_spec"), amaranth, kind, repr(sorted(options.items()))
    )
    path = folder / f"{key}.v"
    with locked(folder / f"{key}.lock"):
        if path.exists():
            return path.read_text()
        step("Amaranth", 0)
        from twinphase_hdl.nodes.verilog import node_verilog as make

        text = make(kind, **{"rooms": True, "actuator_bits": ACTUATOR_BITS, **options} if kind == "server" else options)
        with tempfile.NamedTemporaryFile("w", dir=folder, delete=False) as temporary:
            temporary.write(text)
        os.replace(temporary.name, path)
    return text


def ports(verilog: str, kind: Kind) -> list[str]:
    """Names of the node's ports."""
    header = re.search(rf"^module twinphase_{kind}\((.*?)\);", verilog, re.MULTILINE | re.DOTALL)
    return re.findall(r"\w+", header.group(1)) if header else []


def rooms(verilog: str, kind: Kind) -> list[str]:
    """Names of the node's rooms (`twinphase_hdl.core.rooms`), in the order of the bits of ``o_awake``."""
    return sorted(port.removesuffix("_clk") for port in ports(verilog, kind) if port.endswith("_clk"))


def _sources(package: str) -> bytes:
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise ExtraError("pip install 'twinphase[sim]'")
    root = Path(found.submodule_search_locations[0])
    parts = [str(path.relative_to(root)).encode() + b"\0" + path.read_bytes() for path in sorted(root.rglob("*.py"))]
    return b"\0".join(parts)


@dataclass(frozen=True)
class Inputs:
    """Edge inputs of a node: channels, lanes per channel; of delay lines also chains per channel and bits of a code.

    ``echoes``: the node looks at the codes of the TDC clock behind a hit, too.
    """

    channels: int = 0
    lanes: int = 1
    chains: int = 0
    code_bits: int = 0
    echoes: bool = False

    @property
    def hit_words(self) -> int:
        """Words of 64 bits that say what the delay lines found of a hit."""
        return -(-self.chains // HIT_WORD_CHAINS) * (1 + self.echoes)


def node_inputs(kind: Kind, options: dict[str, Any]) -> Inputs:
    """The edge inputs of the node that ``options`` make."""
    if kind == "client":
        return Inputs()
    if kind == "server":
        return Inputs(channels=len(CHANNELS))
    wanted = TaggerOptions(**{name: options[name] for name in TaggerOptions.__match_args__ if name in options})
    if wanted.frontend == "simulation":
        return Inputs(channels=wanted.channels, lanes=wanted.lanes)
    return Inputs(wanted.channels, wanted.lanes, wanted.chains, code_bits(wanted.taps), wanted.twins)


def _frame_registers(registers: RegisterMap) -> tuple[dict[str, int], list[int]]:
    """Constants for the shadow of the frame's registers, and their reset values; a node without a frame has none to watch."""
    names = ("CONTROL", "START_CLOCK", "PERIOD", "FRAME_PULSES", "FRAMES_PER_WINDOW", "WINDOWS_PER_DWINDOW")
    if not any(register.name == FRAME_FIRST for register in registers.registers):
        nowhere = 1 << 16  # beyond every address
        return {"FRAME_FIRST": nowhere, **dict.fromkeys(names, nowhere)}, [0, 0]
    first, last = registers[FRAME_FIRST].address, registers[FRAME_LAST].address
    reset = [0] * (last - first + 1)
    for register in registers.registers:
        if first <= register.address <= last:
            for word in range(register.words):
                reset[register.address - first + word] = register.reset >> 32 * word & 0xFFFFFFFF
    return {"FRAME_FIRST": first, **{name: registers[name].address for name in names}}, reset


def _epoch_constants(registers: RegisterMap) -> dict[str, int]:
    """Where the length of the tracker's epochs is, whose turns a node with a tracker wakes for; nowhere in others."""
    limits = {"EPOCH_LEAST": tracking.EPOCH_LEAST, "EPOCH_MOST": tracking.EPOCH_BITS}
    name = "TRACK_EPOCH"
    if not any(register.name == name for register in registers.registers):
        return {name: 1 << 16, "EPOCH_CHOICE_BITS": 5, "EPOCH_RESET": tracking.EPOCH_BITS, **limits}
    register = registers[name]
    return {name: register.address, "EPOCH_CHOICE_BITS": register.width, "EPOCH_RESET": register.reset, **limits}


def harness_header(
    kind: Kind,
    lanes: int,
    room_names: Sequence[str] = (),
    inputs: Inputs | None = None,
    *,
    node_ports: Sequence[str] = (),
) -> str:
    """Text of ``node.h``: constants of the spec, the model's class and its parts that `clocks.h` needs.

    ``lanes`` are a client's, ``inputs`` those of a node with edges (default: of its kind), ``node_ports`` its own.
    """
    inputs = inputs if inputs is not None else node_inputs(kind, {})
    frame_constants, reset = _frame_registers(node_map(kind))
    constants = {
        "CLOCK_BITS": units.CLOCK_BITS,
        "FRACTION_BITS": units.FRACTION_BITS,
        "PERIOD_FRACTION_BITS": frame.PERIOD_FRACTION_BITS,
        "PERIOD_BITS": frame.PERIOD_BITS,
        "PULSE_BITS": frame.PULSE_BITS,
        "FRAME_BITS": frame.FRAME_BITS,
        "FRAME_PULSE_BITS": frame.FRAME_PULSE_BITS,
        "FRAMES_PER_WINDOW_BITS": frame.FRAMES_PER_WINDOW_BITS,
        "WINDOW_BITS": frame.WINDOW_BITS,
        "WINDOWS_PER_DWINDOW_BITS": frame.WINDOWS_PER_DWINDOW_BITS,
        "LAG_CLOCKS": frame.LAG_CLOCKS,
        "TICK_BITS": min(*packets.FLUSH_BITS.values(), packets.HEARTBEAT_BITS, packets.STATUS_BITS),
        "HEADER_WORDS": packets.HEADER_WORDS,
        "MAGIC": packets.MAGIC,
        "VERSION": packets.VERSION,
        "STREAM_REGISTER_REQUEST": int(packets.Stream.REGISTER_REQUEST),
        "OP_WRITE": int(packets.RegisterOp.WRITE),
        "MAX_REGISTER_WORDS": packets.MAX_REGISTER_WORDS,
        "JUMP_GAP": JUMP_GAP if kind == "timetagger" else 0,
        "CHANNELS": inputs.channels,
        "LANES": inputs.lanes,
        "CHAINS": inputs.chains,
        "HIT_WORD_CHAINS": HIT_WORD_CHAINS,
        "LINE_CODE_BITS": inputs.code_bits,
        "ECHOES": int(inputs.echoes),
        "ACTING_BITS": actuator.LIMIT_BITS,
        "CODES_WORDS": -(-CODE_BITS * lanes // 32),
        "QRNG_LANES": lanes,
        "FRAME_WORDS": len(reset),
        **frame_constants,
        **_epoch_constants(node_map(kind)),
    }
    return "\n".join(
        [
            "#pragma once",
            *(["#define NODE_EDGES"] if inputs.channels else ["#define NODE_CLIENT"]),
            *(["#define NODE_LINES"] if inputs.chains else []),
            *(["#define NODE_PINS"] if kind == "timetagger" else []),
            *(["#define NODE_ACTUATOR"] if "o_acting" in node_ports else []),
            *(["#define NODE_WAITS"] if "o_wait" in node_ports else []),
            *(["#define NODE_QRNG"] if "i_qrng" in node_ports else []),
            *model_names(),
            *(["#define NODE_ROOMS"] if room_names else []),
            f"constexpr unsigned EDGES_ROOM = {room_names.index('channel_0') + 1 if room_names else 0};",
            f"constexpr unsigned CONTROL_ROOM = {room_names.index('control') if room_names else 0};",
            f"constexpr unsigned ROOMS = {len(room_names)};",
            "#define CLOCKS(X) X(clk)" + "".join(f" X({name}_clk)" for name in room_names),
            *(f"constexpr unsigned {name} = {value};" for name, value in constants.items()),
            f"#define FRAME_RESET {{{', '.join(f'{value}u' for value in reset)}}}",
            "",
        ]
    )
