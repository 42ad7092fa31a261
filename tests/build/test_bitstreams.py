"""Bitstreams of all boards' nodes and links: placed, routed, every clock met, manifest complete. Minutes each: the long suite."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from seeds import builds

from twinphase_firmware.boardlink import BoardLink, Kind
from twinphase_firmware.boards import BOARDS
from twinphase_firmware.build import PERIOD_ROUNDING, build

pytestmark = pytest.mark.long


@pytest.mark.parametrize(("board", "node", "link"), builds())
def test_meets_timing(board: str, node: str, link: Kind, tmp_path: Path) -> None:
    manifest = build(board, node, tmp_path, link=BoardLink(kind=link))
    assert manifest == json.loads((tmp_path / f"{board}-{node}.json").read_text())
    assert (tmp_path / manifest["bitstream"]).stat().st_size > 100_000
    wanted = BOARDS[board].clock_hz * (1 - PERIOD_ROUNDING), BOARDS[board].clock_hz * (1 + PERIOD_ROUNDING)
    assert any(wanted[0] < clock["constraint_mhz"] * 1e6 < wanted[1] for clock in manifest["clocks"].values())
    assert all(clock["achieved_mhz"] >= clock["constraint_mhz"] for clock in manifest["clocks"].values())
    assert manifest["part"] == BOARDS[board].part
    if node == "client":
        assert manifest["client"] == vars(BOARDS[board].nodes[node])
        assert manifest["utilisation"]["lut"]["used"] <= 0.45 * manifest["utilisation"]["lut"]["available"]
        link_bram = 20 if link == "udp" else 0  # LiteEth's and the link's queues
        assert manifest["utilisation"]["bram"]["used"] <= 160 + link_bram
    else:
        assert next(iter(manifest["area_per_channel"].values())) > 100
    if node == "server" and "85F" in BOARDS[board].part:
        assert 1000 < manifest["herald_path"]["lut"] <= 0.1 * manifest["utilisation"]["lut"]["available"]
