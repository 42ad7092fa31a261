"""Proof on the placed netlist that every delay line is what the design says: a build without it is an error.

Synthesis and placement know nothing of delays, and several of their rewrites keep the logic and lose the delay line: all taps from one
LUT, a flip-flop somewhere else than beside its tap, taps in another order. So what nextpnr placed and wrote (``--write``) is read back.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from twinphase.errors import TwinphaseError

from .chain_sites import Site
from .place_chains import CHAIN, SAMPLE, tap_bel, top_module
from .place_twins import TWIN

_BEL = re.compile(r"X(\d+)/Y(\d+)/SLICE([A-D])\.(K|FF)([01])")
PASS, INJECT = "1" * 16, f"{5:016b}"


class DelayLineError(TwinphaseError):
    """A delay line of the placed netlist is not what was asked for; the text names chain, tap and fault."""


class _Placed:
    """The placed netlist: cells by place, source and loads of each net."""

    def __init__(self, design: dict[str, Any]) -> None:
        self.cells: dict[str, Any] = top_module(design)["cells"]
        self.at: dict[str, str] = {}
        self.source: dict[Any, tuple[str, str]] = {}
        self.loads: dict[Any, list[tuple[str, str]]] = defaultdict(list)
        for name, cell in self.cells.items():
            self.at[cell["attributes"].get("NEXTPNR_BEL", "")] = name
            for port, bits in cell["connections"].items():
                for bit in bits:
                    if cell["port_directions"][port] == "output":
                        self.source[bit] = (name, port)
                    else:
                        self.loads[bit].append((name, port))

    def net(self, cell: str, port: str) -> Any:
        """The net at a port, None if it is open."""
        bits = self.cells[cell]["connections"].get(port, [])
        return bits[0] if bits else None

    def parameter(self, cell: str, name: str) -> str:
        return self.cells[cell]["parameters"].get(name, "").strip()


def _bel(column: int, row: int, half: int, kind: str) -> str:
    """Place ``half`` (0: first of the tile in ``column``, 8: first of the next tile, ...) of a row."""
    return f"X{column + half // 8}/Y{row}/SLICE{'ABCD'[half % 8 // 2]}.{kind}{half % 2}"


def check_delay_lines(design: dict[str, Any], lines: Mapping[Site, int]) -> None:
    """Proves each chain of ``lines`` (site: number of taps) on ``design``, the netlist that nextpnr wrote. Raises `DelayLineError`.

    Per chain: its injector is where it should be and gets the toggle of one flip-flop that a LUT beside clocks; its carry runs
    through as many halves of carry cells as there are taps, each at the place after the last; each shows its complement on a net of its
    own, whose one load is the flip-flop at the same place, tap i of the design; all of these have one clock. There is no other chain.
    With twins each has one load more, the twin of tap i of the design, in its place of the twins' row, through the fabric.
    """
    placed = _Placed(design)
    heads = [name for name, cell in placed.cells.items() if CHAIN in cell["attributes"]]
    if len(heads) != len(lines):
        raise DelayLineError(f"delay lines: {len(heads)} chains were built; {len(lines)} are wanted")
    for site, taps in lines.items():
        _check_chain(placed, site, taps)


def check_injectors(config: str, lines: Mapping[Site, int]) -> None:
    """Proves on the configuration of the part (``top.config``) that each injector's carry out is the complement of its one input.

    The router permutes the inputs of LUTs and their tables. The carry of a cell comes from the table's first four entries, which know
    inputs A and B alone (open inputs read 1), so that an input at C or D would be lost. Raises `DelayLineError`.
    """
    tiles = {head: body for head, _, body in (tile.partition("\n") for tile in config.split("\n.tile ")[1:])}
    for site in lines:
        body = tiles.get(f"R{site.row}C{site.column}:PLC2", "")
        tables = re.findall(r"^word: SLICED\.K0\.INIT ([01]{16})$", body, re.MULTILINE)
        inputs = re.findall(r"^arc: ([A-D])6 ", body, re.MULTILINE)
        if inputs not in (["A"], ["B"]) or len(tables) != 1:
            raise DelayLineError(
                f"delay line at {site}: inputs {inputs} of the injector are used; its carry knows one, A or B"
            )
        bit = 1 << "AB".index(inputs[0])
        table = tables[0][::-1]
        if (table[3 & ~bit], table[3], table[15 & ~bit], table[15]) != ("1", "0", "0", "0"):
            raise DelayLineError(f"delay line at {site}: the injector's table {tables[0]} does not pass the hit on")


def _check_chain(placed: _Placed, site: Site, taps: int) -> None:
    def fault(what: str) -> DelayLineError:
        return DelayLineError(f"delay line at {site}: {what}")

    def half_at(half: int, table: str, carry: Any, what: str) -> str:
        place = _bel(site.column, site.row, half, "K")
        name = placed.at.get(place)
        if name is None:
            raise fault(f"{what} is not at {place}")
        if placed.parameter(name, "MODE") != "CCU2" or placed.parameter(name, "INITVAL") != table:
            raise fault(f"the cell at {place}, {what}, is no carry cell with the table {table}")
        if placed.parameter(name, "CCU2_INJECT1") != "NO":
            raise fault(f"{what} does not take the carry of the cell before")
        if carry is not None and placed.net(name, "FCI") != carry:
            raise fault(f"{what} has another carry in than the carry out of the cell before")
        return name

    injector = half_at(6, INJECT, None, "the injector")
    _check_toggle(placed, injector, fault)
    carry = placed.net(half_at(7, PASS, placed.net(injector, "FCO"), "the injector's second half"), "FCO")
    clocks, drivers = set(), set()
    for tap in range(taps):
        what = f"tap {tap}"
        name = half_at(8 + tap, PASS, carry, what)
        carry, shown = placed.net(name, "FCO"), placed.net(name, "F")
        if any(placed.net(name, port) is not None for port in "ABCD"):
            raise fault(f"{what} depends on more than its carry")
        if shown is None or shown in drivers or placed.source[shown] != (name, "F"):
            raise fault(f"{what} has no driver of its own")
        drivers.add(shown)
        place = _bel(site.column, site.row, 8 + tap, "FF")
        flip_flop = placed.at.get(place, "")
        loads = [(flip_flop, "DI", "1", f"{SAMPLE}{tap}")]
        if site.twin_row is not None:
            twin_place = tap_bel(site.column, site.twin_row, tap, "FF")
            loads.append((placed.at.get(twin_place, ""), "M", "0", f"{TWIN}{tap}"))
            place = f"{place}, its twin at {twin_place}"
        if sorted(placed.loads[shown]) != sorted((name, port) for name, port, _, _ in loads) or any(
            placed.parameter(name, "SD") != from_cell for name, _, from_cell, _ in loads
        ):
            raise fault(f"{what} is not sampled by the flip-flop beside it, {place}, and by nothing else")
        for name, _, _, called in loads:
            clocks.add(placed.net(name, "CLK"))
            if name.rpartition(".")[2] != called:
                raise fault(f"{what} is another tap of the design: {name}")
    if placed.loads[carry]:
        raise fault(f"the chain goes on after {taps} taps")
    if len(clocks) != 1:
        raise fault("its taps have more than one clock")


def _check_toggle(placed: _Placed, injector: str, fault: Any) -> None:
    """The injector's input A comes from a flip-flop whose data are its own complement and whose clock is a LUT of its tile's column."""
    hit = placed.net(injector, "A")
    toggle, port = placed.source.get(hit, ("", ""))
    if port != "Q" or any(placed.net(injector, other) is not None for other in "BCD"):
        raise fault("the injector's input is not a toggle flip-flop alone")
    inverter, port = placed.source.get(placed.net(toggle, "DI"), ("", ""))
    if (
        port != "F"
        or placed.net(inverter, "A") != hit
        or any(placed.net(inverter, other) is not None for other in "BCD")
        or placed.parameter(inverter, "INITVAL") != "01" * 8
    ):
        raise fault("the toggle's data are not its complement")
    source, port = placed.source.get(placed.net(toggle, "CLK"), ("", ""))
    places = [_BEL.fullmatch(placed.cells[name]["attributes"]["NEXTPNR_BEL"]) for name in (toggle, source) if name]
    if port != "F" or None in places or len({match.group(1, 2) for match in places if match}) != 1:
        raise fault("the toggle's clock is not a LUT in its own tile")
