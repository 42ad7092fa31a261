"""From the TDC clock of a hit to its edge: docs/timetagger.md, "Latency", and 300 ns from pin to tag."""

from __future__ import annotations

import pytest

from twinphase_firmware.boards import find_board
from twinphase_firmware.lines import LineInputs
from twinphase_hdl.timetag.delayline import DelayLineFrontEnd
from twinphase_hdl.timetag.source import TagSource
from twinphase_spec.tagger import TaggerOptions

BOARDS = {1: "ulx3s-85f", 2: "ecpix5-85f"}
NS_PER_CLOCK = 8


def front_end_clocks(lanes: int, taps: int, chains: int = 1) -> int:
    options = TaggerOptions(frontend="delay line", channels=2, lanes=lanes, chains=chains, taps=taps)
    pins = LineInputs(find_board(BOARDS[lanes]).part, options)
    return pins.latency + DelayLineFrontEnd(channels=2, lanes=lanes, chains=chains, taps=taps).latency


@pytest.mark.parametrize(("lanes", "clocks"), [(1, 13), (2, 11)])
def test_the_latency_of_a_front_end(lanes: int, clocks: int) -> None:
    assert front_end_clocks(lanes, 256) == clocks
    assert front_end_clocks(lanes, 256, chains=2) == clocks + 1
    longest = clocks
    if lanes == 2:  # with twins
        longest = front_end_clocks(lanes, 512)
        assert longest == clocks + 2
    assert (longest + TagSource(channels=16, lanes=lanes).latency) * NS_PER_CLOCK < 300
