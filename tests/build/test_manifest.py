"""Manifests: what nextpnr printed is read right, and failing timing is an error."""

import pytest

from twinphase_firmware import build as build_module
from twinphase_firmware.manifest import (
    TimingError,
    check_log,
    check_timing,
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

    def once(board, node, folder, seed, environment):
        tried.append(seed)
        if seed < 7:
            raise TimingError(f"seed {seed}")
        return {"seed": seed}

    monkeypatch.setattr(build_module, "_build_once", once)
    assert build_module.build("ulx3s-85f", "server", tmp_path, seed=5, tries=3) == {"seed": 7}
    with pytest.raises(TimingError, match="seed 6"):
        build_module.build("ulx3s-85f", "server", tmp_path, seed=5, tries=2)
    assert tried == [5, 6, 7, 5, 6]
    with pytest.raises(ValueError, match="tries is 0"):
        build_module.build("ulx3s-85f", "server", tmp_path, tries=0)
