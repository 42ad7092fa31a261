"""Delays of a delay line's taps from the SDF files that nextpnr writes, in whole picoseconds, for models of the taps.

The time from the chain's start (the injector's carry out) to tap i's flip-flop is

    delay[i] = (i // 2) carry + sum[i % 2] + wire[i]

with carry: through both halves of a carry cell; sum: from a half's carry in to its output; wire: from there to the flip-flop. nextpnr
knows carry and sum of the two halves of a cell that it packed itself. In a chain placed by `place_chains` it takes both for first halves,
so that carry would count twice; but only there the wires are those of the real places. So a table is made from two builds.

Each delay has three corners: minimum, typical, maximum. They are the tools' model; none was measured on silicon.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

CORNERS = ("min", "typ", "max")
Delay = tuple[int, int, int]
"""Minimum, typical, maximum in ps."""

_TRIPLE = r"\((\d+):(\d+):(\d+)\)"
_IOPATH = re.compile(rf"\(IOPATH (\S+) (\S+) {_TRIPLE}")
_INTERCONNECT = re.compile(rf"\(INTERCONNECT (\S+)/(\S+) (\S+)/(\S+) {_TRIPLE}")


@dataclass(frozen=True, kw_only=True)
class Sdf:
    """Delays of rising outputs: ``paths[instance, from, to]`` within a cell, ``wires[instance, port]`` from one to whatever it drives
    (``[(instance, port), delay]``)."""

    paths: dict[tuple[str, str, str], Delay]
    wires: dict[tuple[str, str], list[tuple[tuple[str, str], Delay]]]


def read_sdf(text: str) -> Sdf:
    """Reads what nextpnr's ``--sdf`` writes (one statement per line, times in ps). ValueError for another time scale."""
    if not re.search(r"\(TIMESCALE 1ps\)", text):
        raise ValueError("SDF: its time scale is not 1 ps; allowed: files that nextpnr wrote")
    paths: dict[tuple[str, str, str], Delay] = {}
    wires: dict[tuple[str, str], list[tuple[tuple[str, str], Delay]]] = {}
    instance = ""
    for line in text.replace("\\", "").splitlines():
        if found := re.search(r"\(INSTANCE (\S*)\)", line):
            instance = found[1]
        elif found := _IOPATH.search(line):
            paths[instance, found[1], found[2]] = _delay(found.groups()[2:])
        elif found := _INTERCONNECT.search(line):
            source, target = (found[1], found[2]), (found[3], found[4])
            wires.setdefault(source, []).append((target, _delay(found.groups()[4:])))
    return Sdf(paths=paths, wires=wires)


def _delay(words: Iterable[str]) -> Delay:
    low, middle, high = map(int, words)
    return low, middle, high


@dataclass(frozen=True, kw_only=True)
class CellDelays:
    """Carry through a cell of two taps, and from carry in to the output of either half."""

    carry: Delay
    sums: tuple[Delay, Delay]


def read_cells(sdf: Sdf, chain: str, taps: int) -> CellDelays:
    """Delays of the cells of ``chain`` (``line0.chain0``) from a build that left the chain to nextpnr.

    ValueError if they are not all alike."""
    found = set()
    for cell in range(taps // 2):
        halves = [f"{chain}.cell{cell}$CCU2_COMB{half}" for half in range(2)]
        last = cell == taps // 2 - 1
        if last and (halves[1], "FCI", "FCO") not in sdf.paths:
            continue
        try:
            carries = [sdf.paths[half, "FCI", "FCO"] for half in halves]
            sums = tuple(sdf.paths[half, "FCI", "F"] for half in halves)
        except KeyError as error:
            raise ValueError(
                f"tap table: {error.args[0]} is not in the SDF; the chain must be one that nextpnr placed"
            ) from None
        found.add(((carries[0][0] + carries[1][0], carries[0][1] + carries[1][1], carries[0][2] + carries[1][2]), sums))
    if len(found) != 1:
        raise ValueError(f"tap table: the cells of {chain} have {len(found)} different delays; allowed: one")
    carry, (first, second) = found.pop()
    return CellDelays(carry=carry, sums=(first, second))


def read_wires(sdf: Sdf, chain: str, taps: int, *, twins: bool = False) -> tuple[list[Delay], ...]:
    """Delays from each tap's half to the flip-flop beside it, from a build whose chain `place_chains` placed; with ``twins`` those to its
    twin as well, from one that `place_twins` placed.

    ValueError if a tap has other loads than these."""
    ports = ("DI", "M") if twins else ("DI",)
    wires: tuple[list[Delay], ...] = tuple([] for _ in ports)
    for tap in range(taps):
        loads = sorted(
            (port, delay) for (_, port), delay in sdf.wires.get((f"{chain}.cell{tap // 2}$half{tap % 2}", "F"), [])
        )
        if tuple(port for port, _ in loads) != ports:
            raise ValueError(
                f"tap table: tap {tap} of {chain} has {len(loads)} loads; allowed: the flip-flop beside it{' and its twin' * twins}"
            )
        for of_port, (_, delay) in zip(wires, loads, strict=True):
            of_port.append(delay)
    return wires


def tap_table(cells: CellDelays, wires: list[Delay]) -> dict[str, list[int]]:
    """``{"min": delay of each tap in ps, "typ": ..., "max": ...}``."""
    return {
        corner: [
            tap // 2 * cells.carry[index] + cells.sums[tap % 2][index] + wire[index] for tap, wire in enumerate(wires)
        ]
        for index, corner in enumerate(CORNERS)
    }
