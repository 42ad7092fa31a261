"""Manifests: what nextpnr printed is read right, and failing timing is an error."""

import pytest

from twinphase_firmware import build as build_module
from twinphase_firmware.boardlink import BoardLink
from twinphase_firmware.family import ICE40
from twinphase_firmware.manifest import (
    ConstraintError,
    TimingError,
    check_constrained,
    check_log,
    check_timing,
    make_manifest,
    path_budget_ns,
    read_clocks,
    read_cross_clock,
    read_utilisation,
)

LOG = """\
Info: Max delay <async>                      -> posedge $glbnet$sync_clk: 3.10 ns
Info: Max delay posedge $glbnet$a_clk -> posedge $glbnet$sync_clk: 9.90 ns
Info: Max delay posedge $glbnet$a_clk -> posedge $glbnet$sync_clk: 11.20 ns
"""
REPORT = {
    "fmax": {"$glbnet$sync_clk": {"achieved": 131.2345, "constraint": 125.0}},
    "utilization": {"TRELLIS_COMB": {"used": 10, "available": 83640}, "TRELLIS_FF": {"used": 5, "available": 83640}},
}


def test_report_is_read() -> None:
    assert read_clocks(REPORT) == {"sync_clk": {"achieved_mhz": 131.23, "constraint_mhz": 125.0}}
    assert read_utilisation(REPORT)["lut"] == {"used": 10, "available": 83640}
    assert read_utilisation(REPORT)["bram"] == {"used": 0, "available": 0}


def test_cross_clock_lines_keep_the_final_value() -> None:
    assert read_cross_clock(LOG) == [
        {"from": "<async>", "to": "posedge $glbnet$sync_clk", "delay_ns": 3.1},
        {"from": "posedge $glbnet$a_clk", "to": "posedge $glbnet$sync_clk", "delay_ns": 11.2},
    ]


def test_failing_timing_is_an_error() -> None:
    good = read_clocks(REPORT)
    check_timing(good, [])
    with pytest.raises(TimingError, match=r"sync_clk reaches 124\.9 MHz of 125 MHz"):
        check_timing({"sync_clk": {"achieved_mhz": 124.9, "constraint_mhz": 125.0}}, [])
    with pytest.raises(TimingError, match=r"11\.2 ns of 8 ns"):
        check_timing(good, read_cross_clock(LOG))


TWO_CLOCKS = {
    "clk": {"achieved_mhz": 130.0, "constraint_mhz": 125.0},
    "clock.tdc_clk": {"achieved_mhz": 260.0, "constraint_mhz": 250.0},
    "line0.hit": {"achieved_mhz": 900.0, "constraint_mhz": 12.0},
    "usb_clk": {"achieved_mhz": 70.0, "constraint_mhz": 60.0},
}


@pytest.mark.parametrize(
    ("source", "target", "budget_ns"),
    [
        ("posedge $glbnet$clock.tdc_clk", "posedge $glbnet$clk", 4.0),
        ("posedge $glbnet$clk", "posedge $glbnet$clock.tdc_clk", 4.0),
        ("posedge $glbnet$clk", "negedge $glbnet$clock.tdc_clk", 2.0),
        ("posedge usb_clk", "posedge $glbnet$clk", 8.0),  # not the 4 ns of a clock that has no part in it
        ("posedge $glbnet$clk", "negedge $glbnet$clk", 4.0),
        ("posedge unknown", "posedge $glbnet$clk", 4.0),  # the fastest there is
        ("posedge line0.hit", "posedge $glbnet$clock.tdc_clk", None),
        ("<async>", "posedge $glbnet$clk", None),
        ("posedge $glbnet$clk", "posedge $glbnet$clk", None),
    ],
)
def test_paths_between_clocks_have_a_budget(source: str, target: str, budget_ns: float | None) -> None:
    assert path_budget_ns(source, target, TWO_CLOCKS) == budget_ns
    for delay_ns in () if budget_ns is None else (budget_ns, budget_ns + 0.01):
        cross = read_cross_clock(f"Info: Max delay {source} -> {target}: {delay_ns} ns")
        if delay_ns > budget_ns:
            with pytest.raises(TimingError, match=rf"ns of {budget_ns:g} ns"):
                check_timing(TWO_CLOCKS, cross)
        else:
            check_timing(TWO_CLOCKS, cross)


def test_toggles_follow_edges_one_tdc_clock_apart() -> None:
    """nextpnr knows no frequency for a clock from a pin and asks for 12 MHz."""
    check_timing(TWO_CLOCKS, read_cross_clock("Info: Max delay posedge line0.hit -> posedge clock.tdc_clk: 12.50 ns"))
    slow = TWO_CLOCKS | {"line0.hit": {"achieved_mhz": 249.0, "constraint_mhz": 12.0}}
    with pytest.raises(TimingError, match=r"line0\.hit reaches 249 MHz of 250 MHz"):
        check_timing(slow, [])


def test_a_clock_without_a_constraint_is_an_error(tmp_path) -> None:
    """nextpnr asks 12 MHz of it, which every path keeps; of iCE40 boards it is the oscillator's."""
    check_constrained(TWO_CLOCKS)
    fmax = {"$glbnet$clk": {"achieved": 130.0, "constraint": 125.0}, "phy_rx": {"achieved": 40.0, "constraint": 12.0}}
    (tmp_path / "top.bit").write_bytes(b"bits")
    told = {
        "board": "b",
        "node": "n",
        "part": "p",
        "source_hash": 1,
        "seed": 1,
        "log": "",
        "bitstream": tmp_path / "top.bit",
    }
    with pytest.raises(ConstraintError, match=r"not checked: nextpnr does not know the frequency of phy_rx;"):
        make_manifest(report={"fmax": fmax, "utilization": {}}, **told)
    made = make_manifest(report={"fmax": fmax, "utilization": {}}, family=ICE40, **told)
    assert made["clocks"]["phy_rx"] == {"achieved_mhz": 40.0, "constraint_mhz": 12.0}


def test_the_manifest_lists_hit_clocks(tmp_path) -> None:
    (tmp_path / "top.bit").write_bytes(b"bits")
    fmax = {name: {"achieved": c["achieved_mhz"], "constraint": c["constraint_mhz"]} for name, c in TWO_CLOCKS.items()}
    manifest = make_manifest(
        **{"board": "b", "node": "n", "part": "p", "source_hash": 1, "seed": 1},
        report={"fmax": fmax, "utilization": {}},
        log="Info: Max delay posedge line0.hit -> posedge $glbnet$clock.tdc_clk: 12.50 ns",
        bitstream=tmp_path / "top.bit",
    )
    assert manifest["hit_clocks"] == ["line0.hit"]
    assert manifest["cross_clock"] == [
        {"from": "posedge line0.hit", "to": "posedge $glbnet$clock.tdc_clk", "delay_ns": 12.5}
    ]


def test_a_log_of_failed_timing_names_the_clock(tmp_path) -> None:
    log = tmp_path / "top.tim"
    check_log(log)
    log.write_text(
        "Info: Max frequency for clock '$glbnet$clk': 80.00 MHz (FAIL at 125.00 MHz)\nInfo: Routing complete.\n"
    )
    check_log(log)
    log.write_text(log.read_text() + "ERROR: Max frequency for clock '$glbnet$clk': 91.05 MHz (FAIL at 125.00 MHz)\n")
    with pytest.raises(TimingError, match=r"clock clk reaches 91\.05 MHz of 125 MHz"):
        check_log(log)


def test_a_missed_clock_is_tried_again_with_the_next_seed(monkeypatch, tmp_path):
    tried = []

    def once(board, node, options, link, reference_hz, folder, seed, environment):
        tried.append(seed)
        if seed < 7:
            raise TimingError(f"seed {seed}")
        return {"seed": seed}

    monkeypatch.setattr(build_module, "_build_once", once)
    assert build_module.build("ulx3s-85f", "timetagger", tmp_path, seed=5, tries=3) == {"seed": 7}
    with pytest.raises(TimingError, match="seed 6"):
        build_module.build("ulx3s-85f", "timetagger", tmp_path, seed=5, tries=2)
    assert tried == [5, 6, 7, 5, 6]
    with pytest.raises(ValueError, match="tries is 0"):
        build_module.build("ulx3s-85f", "timetagger", tmp_path, tries=0)


def test_placement_begins_with_the_seed_of_the_board(monkeypatch, tmp_path):
    monkeypatch.setattr(build_module, "_build_once", lambda *given: given[-2])
    assert build_module.build("ecpix5-85f", "server", tmp_path) == 1
    assert build_module.build("ecpix5-85f", "server", tmp_path, link=BoardLink(kind="udp")) == 3
    assert build_module.build("ecpix5-85f", "server", tmp_path, link=BoardLink(kind="udp"), seed=2) == 2
