"""Configuration files that start from a preset."""

from __future__ import annotations

import pytest

from twinphase_spec.bench import BenchError, parse_bench
from twinphase_spec.lab import LabError, load_lab, parse_lab


def test_a_file_over_its_base() -> None:
    """Tables are joined key by key; lists and other values are replaced whole."""
    text = 'base = "metro-50km"\nname = "mine"\nassumed = []\n[fibre]\nlength_a_km = 30.0\n[detectors]\nqL = { dark_hz = 1.0 }'
    lab = parse_lab(text, "my.toml")
    base = load_lab("metro-50km")
    assert (lab.name, lab.assumed, lab.fibre.length_a_km, lab.detectors.qL.dark_hz) == ("mine", (), 30.0, 1.0)
    assert lab.fibre.length_b_km == base.fibre.length_b_km
    assert lab.detectors.qL.efficiency == base.detectors.qL.efficiency
    assert (lab.frame, lab.clients, lab.detectors.qR) == (base.frame, base.clients, base.detectors.qR)


@pytest.mark.parametrize("base", ['"metro"', "3", "[]", '"my.toml"'])
def test_a_base_is_a_preset(base: str) -> None:
    with pytest.raises(LabError, match=r"^lab my\.toml: base is .*; allowed: metro-50km, "):
        parse_lab(f"base = {base}", "my.toml")


def test_benches_have_bases_of_their_own_kind() -> None:
    assert parse_bench('base = "hbt"\nname = "mine"', "my.toml").name == "mine"
    with pytest.raises(BenchError, match="base is 'metro-50km'; allowed: "):
        parse_bench('base = "metro-50km"', "my.toml")
