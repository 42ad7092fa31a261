"""The shared library of a kind of node: its Verilog, rewritten for Verilator, with the harness."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from twinphase_spec.registers import CLIENT_LANES

from .harness import declare
from .rewrite import for_verilator
from .toolchain import Kind, Step, compiler, library, progress_bars
from .verilog import harness_header, node_inputs, node_verilog, ports, rooms


def lanes_of(options: dict[str, Any]) -> int:
    """Pulses of a client per clock."""
    return int(options.get("lanes", CLIENT_LANES))


def node_library(kind: Kind, verilog: str, options: dict[str, Any], step: Step, cache: Path | None) -> ctypes.CDLL:
    """Of this Verilog, compiled unless ``cache`` has it."""
    header = harness_header(
        kind,
        lanes_of(options),
        rooms(verilog, kind),
        node_inputs(kind, options),
        node_ports=ports(verilog, kind),
    )
    return declare(library(for_verilator(verilog, kind), header, step=step, cache=cache))


def compiled(kinds: Sequence[tuple[Kind, dict[str, Any]]], cache: Path | None, progress: bool) -> list[ctypes.CDLL]:
    """The library of each kind; equal ones wait for one compilation."""
    compiler()  # the most likely fault, before any work
    with progress_bars(progress) as bar:

        def one(wanted: tuple[Kind, dict[str, Any]]) -> ctypes.CDLL:
            kind, options = wanted
            step = bar(f"the {kind} node")
            return node_library(kind, node_verilog(kind, options, step, cache), options, step, cache)

        with ThreadPoolExecutor(len(kinds)) as pool:
            return list(pool.map(one, kinds))
