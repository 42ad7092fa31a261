"""Tap tables: SDF is read right, faults in it are refused, and the tables in the specification are what the builds give."""

import json
from pathlib import Path

import pytest
import tap_tables
import twin_bins

from twinphase_firmware.taptable import CellDelays, read_cells, read_sdf, read_wires, tap_table

CHAIN = r"line0.chain0"


def cell(instance: str, carry: str, shown: str) -> str:
    lines = [f"    (INSTANCE {instance})", "    (DELAY"]
    if carry:
        lines.append(f"        (IOPATH FCI FCO ({carry}) ({carry}))")
    return "\n".join([*lines, f"        (IOPATH FCI F ({shown}) (1:1:1))", "    )"])


def sdf(*parts: str, scale: str = "1ps") -> str:
    return "\n".join(["(DELAYFILE", f"  (TIMESCALE {scale})", *parts, ")"])


def free_cells(taps: int, odd: str = "") -> list[str]:
    """Cells as nextpnr packs them; the last one's carry goes nowhere. ``odd``: carry of the first cell."""
    return [
        part
        for number in range(taps // 2)
        for part in (
            cell(rf"{CHAIN}.cell{number}\$CCU2_COMB0", odd if odd and not number else "39:41:43", "140:198:257"),
            cell(rf"{CHAIN}.cell{number}\$CCU2_COMB1", "" if number == taps // 2 - 1 else "0:0:0", "162:196:230"),
        )
    ]


def wire(tap: int, delay: str, target: str = "DI") -> str:
    source = rf"{CHAIN}.cell{tap // 2}\$half{tap % 2}/F"
    return f"        (INTERCONNECT {source} {CHAIN}.sample{tap}/{target} ({delay}) ({delay}))"


def test_cells_and_wires_make_a_table() -> None:
    cells = read_cells(read_sdf(sdf(*free_cells(6))), CHAIN, 6)
    assert cells == CellDelays(carry=(39, 41, 43), sums=((140, 198, 257), (162, 196, 230)))
    (wires,) = read_wires(
        read_sdf(sdf(*(wire(tap, "19:23:28" if tap == 5 else "88:97:106") for tap in range(6)))), CHAIN, 6
    )
    table = tap_table(cells, wires)
    assert table["max"] == [363, 336, 406, 379, 449, 86 + 230 + 28]
    assert table["min"] == [228, 250, 267, 289, 306, 78 + 162 + 19]
    assert table["typ"][4:] == [82 + 198 + 97, 82 + 196 + 23]


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (free_cells(6, odd="39:41:44"), "have 2 different delays"),
        (free_cells(4), "cell1.* is not in the SDF"),
        ([part.replace("$CCU2_COMB", "$half") for part in free_cells(6)], "must be one that nextpnr placed"),
    ],
)
def test_cells_that_make_no_table_are_refused(parts: list[str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_cells(read_sdf(sdf(*parts)), CHAIN, 6)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([wire(0, "1:2:3")], "tap 1 of line0.chain0 has 0 loads"),
        ([wire(0, "1:2:3"), wire(0, "4:5:6", "M"), wire(1, "1:2:3")], "tap 0 of line0.chain0 has 2 loads"),
        (
            [wire(0, "1:2:3", "M"), wire(1, "1:2:3")],
            "tap 0 of line0.chain0 has 1 loads; allowed: the flip-flop beside it",
        ),
    ],
)
def test_wires_that_make_no_table_are_refused(parts: list[str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_wires(read_sdf(sdf(*parts)), CHAIN, 2)


def test_twins_wires_are_those_to_the_fabric_s_input() -> None:
    both = read_sdf(
        sdf(*(wire(tap, "88:97:106") for tap in range(2)), *(wire(tap, f"{tap}:406:451", "M") for tap in range(2)))
    )
    assert read_wires(both, CHAIN, 2, twins=True) == ([(88, 97, 106)] * 2, [(0, 406, 451), (1, 406, 451)])
    with pytest.raises(ValueError, match=r"tap 0 of line0\.chain0 has 2 loads; allowed: the flip-flop beside it$"):
        read_wires(both, CHAIN, 2)
    with pytest.raises(
        ValueError, match=r"tap 0 of line0\.chain0 has 1 loads; allowed: the flip-flop beside it and its twin"
    ):
        read_wires(read_sdf(sdf(wire(0, "88:97:106"))), CHAIN, 2, twins=True)


def test_another_time_scale_is_refused() -> None:
    with pytest.raises(ValueError, match="time scale is not 1 ps"):
        read_sdf(sdf(scale="1ns"))


@pytest.mark.parametrize("name", sorted(tap_tables.TABLES))
def test_tables_of_the_specification_are_consistent(name: str) -> None:
    table = json.loads((tap_tables.FOLDER / f"{name}.json").read_text())
    first, second = table["sum_of_first_and_second_half"]
    for index, corner in enumerate(table["corners"]):
        taps = table["taps"][corner]
        assert len(taps) == tap_tables.TAPS
        carry, wires = table["carry_of_two_taps"][index], [w[index] for w in table["wire_of_the_taps_of_a_tile"]]
        for tap, delay in enumerate(taps):
            assert delay == tap // 2 * carry + (first, second)[tap % 2][index] + wires[tap % 8]
    slow, fast = table["taps"]["max"], table["taps"]["min"]
    assert all(a > b for a, b in zip(slow, fast, strict=True))
    # The span of 250 MHz (5G -8) or 125 MHz (-6) lies between one and two chains, in the slow corner.
    span = 4000 if name == "lfe5um5g-8" else 8000
    assert span < slow[-1] - slow[0] < 2 * span


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(tap_tables.TABLES))
def test_a_build_gives_the_table(name: str) -> None:
    table = tap_tables.make_table(tap_tables.TABLES[name], tap_tables.TAPS)
    assert tap_tables.text_of(table) == (tap_tables.FOLDER / f"{name}.json").read_text()


@pytest.mark.long
def test_a_build_gives_the_table_of_the_twins() -> None:
    assert (
        tap_tables.text_of(tap_tables.make_twin_table()) == (tap_tables.FOLDER / f"{tap_tables.TWINS}.json").read_text()
    )


def test_builds_with_twins_meet_timing_and_leave_room_below_8_ps() -> None:
    """The record that ``python tests/build/twin_bins.py`` wrote. The conversion makes 1.03 of the bins' bound, at most
    (`test_tdc_resolution`)."""
    record = json.loads(twin_bins.RECORD.read_text())
    assert set(record) == {str(seed) for seed in twin_bins.SEEDS}
    for build in record.values():
        assert all(clock["achieved_mhz"] >= clock["constraint_mhz"] for clock in build["clocks"].values())
        assert all(1.03 * bound < 8 for bound in build["largest_bound_ps"].values())


@pytest.mark.long
def test_a_build_with_twins_meets_timing(tmp_path: Path) -> None:
    built = twin_bins.measure(twin_bins.SEEDS[0], tmp_path)
    assert built["largest_bound_ps"]["typ"] < 8 / 1.03
