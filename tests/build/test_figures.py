"""Area and Fmax of every unit: recorded, above 125 MHz, and no worse than recorded when the logic changes."""

from __future__ import annotations

import json

import figures
import pytest

RECORD = json.loads(figures.RECORD.read_text()) if figures.RECORD.exists() else {}
GROWTH = 1.05
"""A unit may grow by 5 % (and 20 cells) before its figures must be looked at and taken anew: make figures."""

BOUNDS = {
    **{name: {"lut": 1499, "ff": 1699, "bram": 2} for name in ("timetag.channel", "timetag.channel_250")},
    "phase.click_tracker_32": {"lut": 5999, "dsp": 28},
}
"""Of a channel of a delay line with its calibration, the registers of the taps included; of the tracker of all channels."""


@pytest.mark.parametrize("name", sorted(figures.units()))
def test_unit_meets_its_figures(name: str) -> None:
    known = RECORD.get(name)
    assert known is not None, f"{name} has no figures: run make figures"
    text = figures.rtlil_of(figures.units()[name])
    taken = known if known["logic"] == figures.digest(text) else figures.measure(text, name)
    fast = {None: (), "clk": ("fmax_mhz",), "tdc_clk": ("tdc_mhz",)}[figures.FAST.get(name)]
    assert taken["fmax_mhz"] >= figures.CLOCK_MHZ
    assert all(taken[clock] >= 2 * figures.CLOCK_MHZ for clock in fast)
    if name in figures.SLOW:
        assert taken[figures.SLOW[name].replace("clk", "mhz")] >= figures.CLOCK_MHZ / 2
    for cells in ("lut", "ff", "bram", "dsp"):
        assert taken[cells] <= known[cells] * GROWTH + 20, f"{name}: {cells} grew from {known[cells]} to {taken[cells]}"
    for cells, bound in BOUNDS.get(name, {}).items():
        assert taken[cells] <= bound, f"{name}: {cells} is {taken[cells]}; allowed: at most {bound}"


@pytest.mark.parametrize("name", sorted(figures.SPEEDS))
def test_every_seed_meets_the_clock(name: str) -> None:
    known = RECORD[name]
    assert known["logic"] == figures.digest(figures.rtlil_of(figures.units()[name])), (
        f"{name} changed: run make figures"
    )
    assert list(known["placements"]) == [str(speed) for speed in figures.SPEEDS[name]]
    for speed, reached in known["placements"].items():
        assert len(reached) == len(figures.SEEDS)
        assert min(reached) >= figures.CLOCK_MHZ, f"{name} at speed grade {speed}: {reached}"
