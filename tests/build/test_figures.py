"""Area and Fmax of every unit: recorded, above 125 MHz, and no worse than recorded when the logic changes."""

from __future__ import annotations

import json

import figures
import pytest

RECORD = json.loads(figures.RECORD.read_text()) if figures.RECORD.exists() else {}
GROWTH = 1.05
"""A unit may grow by 5 % (and 20 cells) before its figures must be looked at and taken anew: make figures."""


@pytest.mark.parametrize("name", sorted(figures.units()))
def test_unit_meets_its_figures(name: str) -> None:
    known = RECORD.get(name)
    assert known is not None, f"{name} has no figures: run make figures"
    text = figures.rtlil_of(figures.units()[name])
    taken = known if known["logic"] == figures.digest(text) else figures.measure(text, name)
    assert taken["fmax_mhz"] >= figures.CLOCK_MHZ
    for cells in ("lut", "ff", "bram", "dsp"):
        assert taken[cells] <= known[cells] * GROWTH + 20, f"{name}: {cells} grew from {known[cells]} to {taken[cells]}"
