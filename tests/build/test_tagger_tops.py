"""Tops of the time tagger: what the boards can hold is refused before synthesis, with the reason; the rest elaborates."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from amaranth.hdl import Module
from amaranth.lib import io, wiring

from twinphase.errors import TwinphaseError
from twinphase_firmware.area import HERALD_PATH, area_of_parts, area_per_channel, channel_of
from twinphase_firmware.boardlink import BoardLink
from twinphase_firmware.boards import BOARDS, find_board
from twinphase_firmware.build import make_plan
from twinphase_firmware.clocking import BoardClock
from twinphase_firmware.tops import make_top
from twinphase_spec.tagger import TaggerOptions

LINES = TaggerOptions(frontend="delay line", lanes=1)


@pytest.mark.parametrize(
    ("board", "node", "options", "sentence"),
    [
        ("ulx3s-85f", "timetagger", replace(LINES, lanes=2), "250 MHz; allowed on LFE5U-85F-6BG381: 1"),
        ("ecpix5-85f", "timetagger", replace(LINES, lanes=1), "256 taps cover 5.2 ns .* more than the 8 ns"),
        ("ecpix5-85f", "timetagger", replace(LINES, lanes=2, taps=432), "less than twice"),
        ("ulx3s-85f", "timetagger", replace(LINES, channels=32, chains=4), "channels"),
        (
            "ecpix5-85f",
            "server",
            replace(LINES, channels=4, taps=416, merge="wide"),
            "server: merge 'wide'; allowed: 'one'",
        ),
        ("versa-ecp5-5g", "client", None, "no top for versa-ecp5-5g; allowed: timetagger"),
        ("ulx3s-85f", "server", None, "no top for ulx3s-85f; allowed: timetagger, client"),
        ("versa-ecp5-5g", "server", None, "no top for versa-ecp5-5g; allowed: timetagger"),
        ("ulx3s-25f", "server", None, "no top for ulx3s-25f; allowed: timetagger"),
        ("ulx3s-85f", "switch", None, "no top for ulx3s-85f; allowed: timetagger, client"),
    ],
)
def test_what_cannot_be_built_is_refused(board: str, node: str, options: TaggerOptions | None, sentence: str) -> None:
    with pytest.raises(TwinphaseError, match=sentence):
        make_top(node, find_board(board), build_hash=0, options=options)


def test_more_channels_than_pins() -> None:
    with pytest.raises(TwinphaseError, match="9 channels were asked for; allowed: 8"):
        find_board("ulx3s-85f").prepare(9)


@pytest.mark.parametrize(
    ("board", "channels"), [("versa-ecp5-5g", 4), ("versa-ecp5-5g", 8), ("butterstick", 4), ("butterstick", 8)]
)
def test_boards_with_delay_lines_and_ethernet(board: str, channels: int) -> None:
    """Pins, chains and link of what is built for them, or asked for."""
    own = BOARDS[board].nodes["timetagger"]
    top = make_top(
        "timetagger", BOARDS[board], build_hash=0, options=replace(own, channels=channels), link=BoardLink(kind="udp")
    )
    assert own == (
        TaggerOptions(channels=4, frontend="delay line", lanes=2)
        if board == "versa-ecp5-5g"
        else TaggerOptions(frontend="delay line", lanes=1, taps=416)
    )
    assert len(top.delay_lines) == channels
    constraints = str(make_pins(board, channels).files["top.lpf"])
    assert constraints.count('LOCATE COMP "detectors_0__io[') == channels


def make_pins(board: str, channels: int) -> Any:
    """A plan of the detector pins alone."""

    class Pins(wiring.Component):
        def elaborate(self, platform: Any) -> Module:
            m = Module()
            m.submodules.clock = BoardClock()
            m.submodules.pins = io.Buffer("i", platform.request("detectors", dir="-"))
            return m

    return make_plan(BOARDS[board].prepare(channels), Pins({}), seed=1)


def test_a_time_tagger_has_a_plan() -> None:
    board = BOARDS["ulx3s-85f"]
    top = make_top("timetagger", board, build_hash=0, options=replace(LINES, channels=2, taps=256))
    assert len(top.delay_lines) == 2
    plan = make_plan(board.prepare(top.channels), top, seed=1)
    assert "place_chains" in plan.files["build_top.sh"]


def test_a_time_tagger_with_twins_has_a_plan() -> None:
    """Its script places chains with their twins, for which it needs the other script beside it."""
    board = BOARDS["ecpix5-85f"]
    top = make_top("timetagger", board, build_hash=0, options=replace(board.nodes["timetagger"], channels=2, taps=512))
    assert set(top.delay_lines.values()) == {256}
    assert all(site.twin_row == site.row + 1 for site in top.delay_lines)
    plan = make_plan(board.prepare(top.channels), top, seed=1)
    assert '"$PYTHON" place_twins.py top.json' in plan.files["build_top.sh"]
    assert '"$PYTHON" place_chains.py' not in plan.files["build_top.sh"]
    assert {"place_chains.py", "place_twins.py"} < set(plan.files)


def test_cells_belong_to_channels() -> None:
    names = {
        "node.source.channel_3.queue.x": 3,
        "lines.line_2.chain0.tap17": 2,
        "lines.encoder_1_3.sum": 1,
        "node.frontend.calibration_5.n_LUT4": 2,
        "node.frontend.fine_7.y": 7,
        "node.selector.gate.x": None,
        "node.source.tree.x": None,
    }
    assert {name: channel_of(name, 2) for name in names} == names
    placed = {
        "modules": {
            "top": {
                "attributes": {"top": "1"},
                "cells": {
                    "node.source.channel_0.a": {"type": "TRELLIS_COMB"},
                    "node.source.channel_1.a": {"type": "TRELLIS_COMB"},
                    "node.source.channel_1.b": {"type": "TRELLIS_FF"},
                    "node.selector.a": {"type": "TRELLIS_COMB"},
                },
            }
        }
    }
    assert area_per_channel(placed, channels=2, chains=1) == {"lut": 1.0, "ff": 0.5, "bram": 0.0, "dsp": 0.0}


def test_cells_belong_to_the_herald_path() -> None:
    kinds = {
        "node.finder.x": "TRELLIS_COMB",
        "node.pendingroom.x": "TRELLIS_FF",
        "node.join.x": "TRELLIS_FF",
        "node.smoothjoin.queue.x": "DP16KD",
        "node.link.packer_herald.x": "TRELLIS_COMB",
        "node.link.packer_herald_code.packer.x": "TRELLIS_COMB",
        "node.link.packer_psi_causal.x": "TRELLIS_COMB",
        "node.link.packer_phase.x": "TRELLIS_COMB",
        "node.framer.x": "TRELLIS_COMB",
        "lines.node.finder.x": "TRELLIS_COMB",
    }
    cells = {name: {"type": kind} for name, kind in kinds.items()}
    placed = {"modules": {"top": {"attributes": {"top": "1"}, "cells": cells}}}
    assert area_of_parts(placed, HERALD_PATH) == {"lut": 4, "ff": 2, "bram": 1, "dsp": 0}
