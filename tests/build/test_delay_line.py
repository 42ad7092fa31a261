"""Delay lines as synthesised and placed: what the tools wrote is proven, and a netlist that was tampered with is refused."""

from __future__ import annotations

import copy
import itertools
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from delay_line_top import DelayLineTop, build_lines

from twinphase_firmware.boards import find_board
from twinphase_firmware.build import PLACED, build_environment
from twinphase_firmware.chain_sites import Site, chain_sites
from twinphase_firmware.delayline import DelayLine
from twinphase_firmware.delayline_check import DelayLineError, check_delay_lines, check_injectors
from twinphase_firmware.manifest import check_timing, read_clocks, read_cross_clock
from twinphase_firmware.place_chains import ChainError, place_chains, top_module

BOARD = find_board("ecpix5-85f")
TAPS = 48
"""No power of two."""
LINES = {site: TAPS for sites in chain_sites(BOARD.part, channels=2, chains=2, taps=TAPS) for site in sites}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = DelayLineTop(BOARD, channels=2, chains=2, taps=TAPS, lanes=2)
    assert top.delay_lines == LINES
    return build_lines(top, BOARD, tmp_path_factory.mktemp("lines"))


@pytest.fixture(scope="module")
def placed(built: Path) -> dict[str, Any]:
    """What nextpnr wrote."""
    return json.loads((built / PLACED).read_text())


@pytest.fixture(scope="module")
def synthesised(built: Path) -> dict[str, Any]:
    """The netlist before `place_chains`: the build's Yosys script once more."""
    script = (built / "top.ys").read_text().replace("top.json", "synthesised.json")
    (built / "synthesised.ys").write_text(script)
    subprocess.run([build_environment()["YOSYS"], "-q", "synthesised.ys"], cwd=built, check=True)
    return json.loads((built / "synthesised.json").read_text())


def test_what_was_built_is_proven(built: Path, placed: dict[str, Any]) -> None:
    check_delay_lines(placed, LINES)
    check_injectors((built / "top.config").read_text(), LINES)
    clocks = read_clocks(json.loads((built / "top.report.json").read_text()))
    cross = read_cross_clock((built / "top.tim").read_text())
    assert {"line0.hit", "line1.hit"} < set(clocks)
    assert any(path["from"] == "posedge line0.hit" for path in cross)
    check_timing(clocks, cross)


def cells_at(design: dict[str, Any], site: Site, tap: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Carry half and flip-flop of a tap."""
    at = {cell["attributes"].get("NEXTPNR_BEL"): cell for cell in top_module(design)["cells"].values()}
    place = f"X{site.column + 1 + tap // 8}/Y{site.row}/SLICE{'ABCD'[tap % 8 // 2]}."
    return at[f"{place}K{tap % 2}"], at[f"{place}FF{tap % 2}"]


def one_driver(design: dict[str, Any], site: Site) -> None:
    """What synthesis does to carry cells that it knows: all taps from one of them."""
    driver = cells_at(design, site, 0)[0]["connections"]["F"]
    for tap in range(1, TAPS):
        half, flip_flop = cells_at(design, site, tap)
        half["connections"]["F"] = []
        flip_flop["connections"]["DI"] = driver


def moved(design: dict[str, Any], site: Site) -> None:
    cells_at(design, site, 5)[1]["attributes"]["NEXTPNR_BEL"] = "X2/Y2/SLICEA.FF0"


def half_moved(design: dict[str, Any], site: Site) -> None:
    for cell in cells_at(design, site, 5):
        cell["attributes"]["NEXTPNR_BEL"] = cell["attributes"]["NEXTPNR_BEL"].replace(f"Y{site.row}", "Y2")


def swapped_order(design: dict[str, Any], site: Site) -> None:
    cells = top_module(design)["cells"]
    one, two = (next(n for n, c in cells.items() if c is cells_at(design, site, tap)[1]) for tap in (3, 4))
    cells[one], cells[two] = cells[two], cells[one]


def swapped_samples(design: dict[str, Any], site: Site) -> None:
    one, two = (cells_at(design, site, tap)[1]["connections"] for tap in (3, 4))
    one["DI"], two["DI"] = two["DI"], one["DI"]


def swapped_halves(design: dict[str, Any], site: Site) -> None:
    """Cells of the chain at each other's places, flip-flops with them."""
    for one, two in zip(cells_at(design, site, 3), cells_at(design, site, 4), strict=True):
        a, b = one["attributes"], two["attributes"]
        a["NEXTPNR_BEL"], b["NEXTPNR_BEL"] = b["NEXTPNR_BEL"], a["NEXTPNR_BEL"]


def through_fabric(design: dict[str, Any], site: Site) -> None:
    cells_at(design, site, 7)[1]["parameters"]["SD"] = "0 "


def looked_at_twice(design: dict[str, Any], site: Site) -> None:
    cells_at(design, site, 9)[1]["connections"]["M"] = cells_at(design, site, 8)[0]["connections"]["F"]
    cells_at(design, site, 9)[1]["port_directions"]["M"] = "input"


def other_clock(design: dict[str, Any], site: Site) -> None:
    cells_at(design, site, 31)[1]["connections"]["CLK"] = [1]


def no_carry(design: dict[str, Any], site: Site) -> None:
    cells_at(design, site, 12)[0]["parameters"]["CCU2_INJECT1"] = "YES"


def carry_from_elsewhere(design: dict[str, Any], site: Site) -> None:
    cells_at(design, site, 12)[0]["connections"]["FCI"] = cells_at(design, site, 2)[0]["connections"]["FCO"]


def gated(design: dict[str, Any], site: Site) -> None:
    half = cells_at(design, site, 20)[0]
    half["connections"]["C"], half["port_directions"]["C"] = [1], "input"


def wrong_table(design: dict[str, Any], site: Site) -> None:
    cells_at(design, site, 20)[0]["parameters"]["INITVAL"] = f"{0x00FF:016b}"


def one_chain_less(design: dict[str, Any], site: Site) -> None:
    for cell in top_module(design)["cells"].values():
        if cell["attributes"].get("tdl_chain") == str(site):
            del cell["attributes"]["tdl_chain"]


def no_toggle(design: dict[str, Any], site: Site) -> None:
    inverter = next(c for n, c in top_module(design)["cells"].items() if n.startswith("line0.invert"))
    inverter["parameters"]["INITVAL"] = "10" * 8


def far_source(design: dict[str, Any], site: Site) -> None:
    source = next(c for n, c in top_module(design)["cells"].items() if n.startswith("line0.source"))
    source["attributes"]["NEXTPNR_BEL"] = "X3/Y3/SLICEA.K0"


@pytest.mark.parametrize(
    ("tamper", "words"),
    [
        (one_driver, "tap 0 is not sampled by"),
        (moved, "tap 5 is not sampled by the flip-flop beside it"),
        (half_moved, "tap 5 is not at"),
        (swapped_order, "tap 3 is another tap of the design"),
        (swapped_samples, "tap 3 is not sampled by"),
        (swapped_halves, "tap 3 has another carry in"),
        (through_fabric, "tap 7 is not sampled by"),
        (looked_at_twice, "tap 8 is not sampled by"),
        (other_clock, "more than one clock"),
        (no_carry, "tap 12 does not take the carry"),
        (carry_from_elsewhere, "tap 12 has another carry in"),
        (gated, "tap 20 depends on more than its carry"),
        (wrong_table, "tap 20, is no carry cell"),
        (one_chain_less, "3 chains were built; 4 are wanted"),
        (no_toggle, "the toggle's data are not its complement"),
        (far_source, "the toggle's clock is not a LUT in its own tile"),
    ],
)
def test_tampered_netlists_are_refused(
    placed: dict[str, Any], tamper: Callable[[dict[str, Any], Site], None], words: str
) -> None:
    wrong = copy.deepcopy(placed)
    tamper(wrong, next(iter(LINES)))
    with pytest.raises(DelayLineError, match=re.escape(words)):
        check_delay_lines(wrong, LINES)


@pytest.mark.parametrize(
    ("pattern", "instead", "words"),
    [
        (r"(arc: )[AB](6 )", r"\1C\2", "inputs ['C'] of the injector are used"),
        (r"arc: [AB]6 .*\n", "", "inputs [] of the injector are used"),
        (r"(SLICED\.K0\.INIT )[01]+", r"\g<1>1111111111111111", "table 1111111111111111 does not pass the hit on"),
        (r"PLC2", "PLC3", "inputs [] of the injector are used"),
    ],
)
def test_injectors_that_lose_the_hit_are_refused(built: Path, pattern: str, instead: str, words: str) -> None:
    config = (built / "top.config").read_text()
    site = next(iter(LINES))
    before, head, after = config.partition(f"\n.tile R{site.row}C{site.column}:PLC2")
    assert head
    wrong = before + re.sub(pattern, instead, head + after, count=1)
    assert wrong != config
    with pytest.raises(DelayLineError, match=re.escape(words)):
        check_injectors(wrong, LINES)


@pytest.mark.parametrize(("taps", "words"), [(TAPS - 16, "goes on after 32 taps"), (2 * TAPS, "tap 48 is not at")])
def test_another_number_of_taps_is_refused(placed: dict[str, Any], taps: int, words: str) -> None:
    with pytest.raises(DelayLineError, match=words):
        check_delay_lines(placed, dict.fromkeys(LINES, taps))


def simulate(cells: dict[str, Any], values: dict[Any, int]) -> dict[Any, int]:
    """Values of all nets that follow from ``values`` through placed carry cells and LUTs; open inputs are 1."""
    values = dict(values)
    combs = [cell for cell in cells.values() if cell["type"] == "TRELLIS_COMB"]
    changed = True
    while changed:
        changed = False
        for cell in combs:
            wires = {port: bits[0] for port, bits in cell["connections"].items() if bits}
            if wires.get("F", wires.get("FCO")) in values or any(
                wires.get(port, "1") not in values and wires.get(port, "1") != "1"
                for port in ("A", "B", "C", "D", "FCI")
            ):
                continue
            a, b, c, d, carry = (values.get(wires.get(port), 1) for port in ("A", "B", "C", "D", "FCI"))
            table = cell["parameters"]["INITVAL"][::-1]
            lut4, lut2 = int(table[a + 2 * b + 4 * c + 8 * d]), int(table[a + 2 * b])
            chain = cell["parameters"]["MODE"] == "CCU2"
            for port, value in (("F", lut4 ^ carry if chain else lut4), ("FCO", carry if lut4 else lut2)):
                if port in wires:
                    values[wires[port]] = value
                    changed = True
    return values


def lines_of(design: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any], list[Any]]]:
    """Per channel: toggle, source of its clock, and the nets that its flip-flops sample."""
    cells = top_module(design)["cells"]
    for channel in range(2):
        toggle, source = cells[f"line{channel}.toggle_ff"], cells[f"line{channel}.source"]
        sampled = [
            cell["connections"]["DI"][0]
            for name, cell in cells.items()
            if name.startswith(f"line{channel}.chain") and cell["type"] == "TRELLIS_FF"
        ]
        yield toggle, source, sampled


def test_all_taps_show_the_toggle_and_not_its_complement(synthesised: dict[str, Any]) -> None:
    design = copy.deepcopy(synthesised)
    assert set(place_chains(design).values()) == {TAPS}
    cells = top_module(design)["cells"]
    for toggle, _, sampled in lines_of(design):
        assert len(sampled) == 2 * TAPS
        for value in (0, 1):
            values = simulate(cells, {toggle["connections"]["Q"][0]: value})
            assert [values[net] for net in sampled] == [value] * len(sampled)
            assert values[toggle["connections"]["DI"][0]] == 1 - value


def test_source_and_edge_are_chosen(synthesised: dict[str, Any]) -> None:
    """Truth table of the toggle's clock, whose inputs at constants are in its table."""
    design = copy.deepcopy(synthesised)
    place_chains(design)
    for pin, test, source in itertools.product((0, 1), repeat=3):
        for _, cell, _ in lines_of(design):
            wires = cell["connections"]
            values = simulate({"": cell}, {wires["A"][0]: pin, wires["B"][0]: test, wires["C"][0]: source})
            assert "D" not in wires  # i_invert is a constant here, and 0
            assert values[wires["F"][0]] == (test if source else pin)


def shared(cells: dict[str, Any]) -> None:
    """A tap that something else looks at: the fabric's route would load it."""
    tap = cells["line0.chain1.cell3"]["connections"]["S1"]
    next(c for c in cells.values() if c["type"] == "LUT4" and len(c["connections"]) == 5)["connections"]["D"] = tap


def short(cells: dict[str, Any]) -> None:
    del cells["line1.chain0.cell15"]


def long(cells: dict[str, Any]) -> None:
    cells["line1.chain0.inject"]["attributes"]["tdl_taps"] = "30"


def nowhere(cells: dict[str, Any]) -> None:
    cells["line1.chain0.inject"]["attributes"]["tdl_chain"] = "X3"


def headless(cells: dict[str, Any]) -> None:
    del cells["line1.chain0.inject"]


@pytest.mark.parametrize(
    ("tamper", "words"),
    [
        (shared, "tap 7 of line0.chain1.inject does not go to one flip-flop"),
        (short, "has 30 taps; 48 are wanted"),
        (long, "has 30 taps; 30 are wanted"),
        (nowhere, "'X3' is no tile"),
        (headless, "cells of no chain: line1.chain0.cell0"),
    ],
)
def test_netlists_that_cannot_be_placed_are_refused(
    synthesised: dict[str, Any], tamper: Callable[[dict[str, Any]], None], words: str
) -> None:
    wrong = copy.deepcopy(synthesised)
    tamper(top_module(wrong)["cells"])
    with pytest.raises(ChainError, match=re.escape(words)):
        place_chains(wrong)


TWIN_TAPS = 224
TWIN_LINES = {
    site: TWIN_TAPS
    for sites in chain_sites(BOARD.part, channels=2, chains=1, taps=TWIN_TAPS, twins=True)
    for site in sites
}


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What nextpnr wrote of lines whose taps have two flip-flops."""
    top = DelayLineTop(BOARD, channels=2, chains=1, taps=2 * TWIN_TAPS, lanes=2)
    assert top.delay_lines == TWIN_LINES
    return json.loads((build_lines(top, BOARD, tmp_path_factory.mktemp("twins")) / PLACED).read_text())


def twin_at(design: dict[str, Any], site: Site, tap: int) -> dict[str, Any]:
    """A tap's second flip-flop."""
    at = {cell["attributes"].get("NEXTPNR_BEL"): cell for cell in top_module(design)["cells"].values()}
    return at[f"X{site.column + 1 + tap // 8}/Y{site.twin_row}/SLICE{'ABCD'[tap % 8 // 2]}.FF{tap % 2}"]


def twin_moved(design: dict[str, Any], site: Site) -> None:
    twin_at(design, site, 5)["attributes"]["NEXTPNR_BEL"] = "X2/Y2/SLICEA.FF0"


def twin_gone(design: dict[str, Any], site: Site) -> None:
    twin_at(design, site, 5)["connections"]["M"] = []


def twins_swapped(design: dict[str, Any], site: Site) -> None:
    one, two = (twin_at(design, site, tap)["connections"] for tap in (3, 4))
    one["M"], two["M"] = two["M"], one["M"]


def twin_of_another(design: dict[str, Any], site: Site) -> None:
    cells = top_module(design)["cells"]
    one, two = (next(n for n, c in cells.items() if c is twin_at(design, site, tap)) for tap in (3, 4))
    cells[one], cells[two] = cells[two], cells[one]


def twin_beside_a_cell(design: dict[str, Any], site: Site) -> None:
    twin_at(design, site, 7)["parameters"]["SD"] = "1 "


def twin_of_another_clock(design: dict[str, Any], site: Site) -> None:
    twin_at(design, site, 31)["connections"]["CLK"] = [1]


@pytest.mark.parametrize(
    ("tamper", "words"),
    [
        (twin_moved, "tap 5 is not sampled by the flip-flop beside it"),
        (twin_gone, "tap 5 is not sampled by"),
        (twins_swapped, "tap 3 is not sampled by"),
        (twin_of_another, "tap 3 is another tap of the design: line0.chain0.twin4"),
        (twin_beside_a_cell, "tap 7 is not sampled by"),
        (twin_of_another_clock, "more than one clock"),
    ],
)
def test_twins_are_proven_and_tampered_ones_refused(
    twins: dict[str, Any], tamper: Callable[[dict[str, Any], Site], None], words: str
) -> None:
    check_delay_lines(twins, TWIN_LINES)
    wrong = copy.deepcopy(twins)
    tamper(wrong, next(iter(TWIN_LINES)))
    with pytest.raises(DelayLineError, match=re.escape(words)):
        check_delay_lines(wrong, TWIN_LINES)


def test_twins_where_none_are_wanted_and_none_where_they_are(twins: dict[str, Any], placed: dict[str, Any]) -> None:
    bare = {Site(site.column, site.row): taps for site, taps in TWIN_LINES.items()}
    with pytest.raises(DelayLineError, match="tap 0 is not sampled by"):
        check_delay_lines(twins, bare)
    with pytest.raises(DelayLineError, match="tap 0 is not sampled by"):
        check_delay_lines(placed, {Site(s.column, s.row, s.row + 4): taps for s, taps in LINES.items()})


PARTS = ("LFE5U-12F", "LFE5U-25F-6BG381", "LFE5UM5G-45F-8BG381", "LFE5U-85F-6BG381")


def test_sites_lie_apart_within_the_part() -> None:
    blocks = {
        "12F": (13, 25, 37),
        "25F": (13, 25, 37),
        "45F": (10, 22, 34, 46, 58),
        "85F": (10, 22, 34, 46, 58, 70, 82),
    }
    last = {"12F": (70, 48), "25F": (70, 48), "45F": (88, 69), "85F": (124, 93)}
    count = 0
    for part, channels, chains, taps, middle, twins in itertools.product(
        PARTS, (1, 2, 8, 16, 32), (1, 2, 4, 8), (64, 272, 512), (None, 2, 90), (False, True)
    ):
        size = part.partition("-")[2][:3]
        rows = last[size][1] - 1 - len(blocks[size])
        if channels > rows // (chains * (1 + twins)) * ((last[size][0] - 1) // (1 + taps // 8)):
            with pytest.raises(ValueError, match="has room for"):
                chain_sites(part, channels=channels, chains=chains, taps=taps, twins=twins, middle_row=middle)
            continue
        sites = chain_sites(part, channels=channels, chains=chains, taps=taps, twins=twins, middle_row=middle)
        count += 1
        assert [len(of_channel) for of_channel in sites] == [chains] * channels
        assert all((site.twin_row is not None) == twins for of_channel in sites for site in of_channel)
        tiles = [
            (column, row)
            for of_channel in sites
            for site in of_channel
            for row in (site.row, site.twin_row)
            if row is not None
            for column in range(site.column, site.column + 1 + taps // 8)
        ]
        assert len(set(tiles)) == len(tiles)
        assert all(2 <= column <= last[size][0] and 2 <= row <= last[size][1] for column, row in tiles)
        assert not {row for _, row in tiles} & set(blocks[size])
        assert all(len({site.column for site in of_channel}) == 1 for of_channel in sites)
    assert count > 500


@pytest.mark.parametrize(
    ("part", "channels", "chains", "taps", "words"),
    [
        ("iCE40HX8K", 1, 1, 64, "part is iCE40HX8K"),
        ("LFE5U-25F-6BG381", 32, 4, 512, "LFE5U-25F-6BG381 has room for 11"),
        ("LFE5U-25F-6BG381", 2, 3, 256, "2 channels of 3 chains; allowed: at least one channel, 1, 2, 4 or 8"),
        ("LFE5U-25F-6BG381", 0, 1, 256, "0 channels"),
        ("LFE5U-25F-6BG381", 1, 1, 200, "taps is 200"),
    ],
)
def test_what_no_part_holds_is_refused(part: str, channels: int, chains: int, taps: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        chain_sites(part, channels=channels, chains=chains, taps=taps)


def test_a_delay_line_of_three_chains_is_refused() -> None:
    with pytest.raises(ValueError, match="3 chains; allowed: 1, 2, 4 or 8"):
        DelayLine(taps=64, sites=(Site(4, 4), Site(4, 5), Site(4, 6)))
