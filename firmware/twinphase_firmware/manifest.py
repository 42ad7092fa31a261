"""The manifest of a bitstream: what was built from what, how large it is, and whether it meets timing.

Timing is nextpnr's model of the slow corner. Failing timing, or a path between two clocks over its budget, is an error:
nextpnr itself lets paths between clocks pass (it only prints their delay).
"""

from __future__ import annotations

import json
import re
from importlib import metadata
from pathlib import Path
from typing import Any

from twinphase.errors import TwinphaseError

from .family import ECP5, Family

HIT_CLOCK = "hit"
"""Name of the net that clocks the toggle of a delay line."""
UNCONSTRAINED_MHZ = 12.0
"""What nextpnr asks for of a clock of which it has been told nothing."""


class TimingError(TwinphaseError):
    """The design does not meet its clocks; the text names clock, achieved and wanted frequency."""


class ConstraintError(TwinphaseError):
    """A clock was not checked, whatever the seed; the text names it."""


def tool_versions(family: Family = ECP5) -> dict[str, str]:
    """Installed versions of everything that shapes a bitstream."""
    return {name: metadata.version(name) for name in family.packages}


def read_utilisation(report: dict[str, Any], family: Family = ECP5) -> dict[str, dict[str, int]]:
    """Use of a part's cells from nextpnr's report, of an ECP5 LUT, FF, BRAM and DSP: ``{"lut": {"used": n, "available": n}, ...}``."""
    return {
        name: {key: int(report["utilization"].get(cell, {}).get(key, 0)) for key in ("used", "available")}
        for name, cell in family.cells.items()
    }


def read_clocks(report: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Achieved and required frequency per clock, in MHz."""
    return {
        name.removeprefix("$glbnet$"): {
            "achieved_mhz": round(clock["achieved"], 2),
            "constraint_mhz": round(clock["constraint"], 2),
        }
        for name, clock in report["fmax"].items()
    }


def read_cross_clock(log: str) -> list[dict[str, Any]]:
    """nextpnr's last ``Max delay A -> B`` lines: source and target clock (or <async>) and delay in ns."""
    last: dict[tuple[str, str], float] = {}
    for line in log.splitlines():
        if "Max delay" in line and (match := re.search(r"Max delay (.+?)\s*-> (.+?)\s*: ([0-9.]+) ns", line)):
            source, target = (" ".join(part.split()) for part in match.group(1, 2))
            last[source, target] = float(match.group(3))
    return [{"from": source, "to": target, "delay_ns": delay} for (source, target), delay in last.items()]


def is_hit_clock(name: str) -> bool:
    """Whether this is a delay line's toggle clock: a detector's pin, in no phase with any clock."""
    return name.rpartition(".")[2] == HIT_CLOCK


def _edge(end: str) -> tuple[str, str]:
    """Edge and clock of ``posedge $glbnet$sync_clk``."""
    edge, _, clock = end.partition(" ")
    return edge, clock.removeprefix("$glbnet$")


def path_budget_ns(source: str, target: str, clocks: dict[str, dict[str, float]]) -> float | None:
    """Time that a path between two clocks may take: one period of the faster of the two, half of it between unlike edges.

    Clocks of one PLL are aligned, so that an edge of the slower is one of the faster, whose next (or for a path to the slower: the edge
    before) is one period away. None where no time is meant: from or to pins (<async>), which are synchronised, and from a delay line's
    toggle, whose time of flight along the chain is what the taps measure. A path within one clock is checked with the clock.
    """
    if "<async>" in (source, target) or source == target:
        return None
    (source_edge, source_clock), (target_edge, target_clock) = _edge(source), _edge(target)
    if is_hit_clock(source_clock):
        return None
    known = [clocks[clock]["constraint_mhz"] for clock in (source_clock, target_clock) if clock in clocks]
    fastest_mhz = max(known if len(known) == 2 else [clock["constraint_mhz"] for clock in clocks.values()], default=1.0)
    return 1e3 / fastest_mhz / (1 if source_edge == target_edge else 2)


def check_timing(clocks: dict[str, dict[str, float]], cross: list[dict[str, Any]]) -> None:
    """TimingError unless every clock meets its constraint, every toggle follows edges one period of the fastest clock apart, and every
    path between two clocks keeps its budget (`path_budget_ns`)."""
    fastest_mhz = max(
        (clock["constraint_mhz"] for name, clock in clocks.items() if not is_hit_clock(name)), default=0.0
    )
    for name, clock in clocks.items():
        wanted = fastest_mhz if is_hit_clock(name) else clock["constraint_mhz"]
        if clock["achieved_mhz"] < wanted:
            raise TimingError(
                f"timing failed: clock {name} reaches {clock['achieved_mhz']:g} MHz of {wanted:g} MHz; "
                "try another --seed or look at the critical path in the build folder"
            )
    for path in cross:
        budget_ns = path_budget_ns(path["from"], path["to"], clocks)
        if budget_ns is not None and path["delay_ns"] > budget_ns:
            raise TimingError(
                f"timing failed: the path {path['from']} -> {path['to']} takes {path['delay_ns']:g} ns of {budget_ns:g} ns; "
                "put an asynchronous FIFO there"
            )


def check_constrained(clocks: dict[str, dict[str, float]]) -> None:
    """ConstraintError if nextpnr did not know a clock's frequency, and thus did not check it, other than a toggle's.

    For parts whose clocks it derives from the oscillator: a PLL or divider that it does not follow would go through unchecked.
    """
    unknown = [
        name
        for name, clock in clocks.items()
        if not is_hit_clock(name) and clock["constraint_mhz"] == UNCONSTRAINED_MHZ
    ]
    if unknown:
        raise ConstraintError(
            f"timing was not checked: nextpnr does not know the frequency of {', '.join(unknown)}; constrain the pin that it comes from"
        )


def check_log(path: Path) -> None:
    """TimingError if nextpnr's log says that it stopped because a clock is too slow; no log says nothing."""
    log = path.read_text(errors="replace") if path.exists() else ""
    failed = re.findall(r"ERROR: Max frequency for clock\s+'(.+?)': ([0-9.]+) MHz \(FAIL at ([0-9.]+) MHz\)", log)
    if failed:
        check_timing(
            {
                clock.removeprefix("$glbnet$"): {"achieved_mhz": float(got), "constraint_mhz": float(wanted)}
                for clock, got, wanted in failed
            },
            [],
        )


def make_manifest(
    *,
    board: str,
    node: str,
    part: str,
    source_hash: int,
    seed: int,
    report: dict[str, Any],
    log: str,
    bitstream: Path,
    family: Family = ECP5,
) -> dict[str, Any]:
    """The manifest as a JSON-ready dictionary. Raises `ConstraintError` (`check_constrained`), `TimingError` (`check_timing`)."""
    clocks, cross = read_clocks(report), read_cross_clock(log)
    if family.derives_clocks:
        check_constrained(clocks)
    check_timing(clocks, cross)
    return {
        "board": board,
        "node": node,
        "part": part,
        "source_hash": f"{source_hash:#010x}",
        "seed": seed,
        "bitstream": bitstream.name,
        "bitstream_bytes": bitstream.stat().st_size,
        "utilisation": read_utilisation(report, family),
        "clocks": clocks,
        "cross_clock": cross,
        "hit_clocks": sorted(name for name in clocks if is_hit_clock(name)),
        "not_checked": family.not_checked,
        "tools": tool_versions(family),
    }


def write_manifest(manifest: dict[str, Any], path: Path) -> None:
    """Writes it as indented JSON."""
    path.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
