"""The table of gains that follow, from physical values."""

import math
from dataclasses import replace

import pytest

from twinphase_spec import smoothing
from twinphase_spec.lab import load_lab, parse_lab
from twinphase_spec.smooth_follow import (
    CENTRE,
    ENTRIES,
    EXCESS,
    EXCESS_CLICKS,
    LD_BITS,
    NODES,
    WORDS,
    GainTable,
    gain_factor,
)
from twinphase_spec.track_setup import track_setup
from twinphase_spec.tracking_config import variance_word

WALK = {"diffusion_rad2_per_s": 754.0, "slope_noise_rad2_per_s3": 0.0}
LIGHT = {"click_rate_hz": 1e6, "information": 0.8, "node_clocks": 512}


def ld(value: int) -> int:
    place = value.bit_length() - 1
    return 8 * place + (value * 8 // 2**place) % 8


def gains_of(table: GainTable) -> list[float]:
    """K h of each entry, of a walk: H11 = 1/(1 + K h)."""
    return [(1 << smoothing.GAIN_FRACTION) / gains.h11 - 1 for gains in table.gains]


def test_entries_are_half_an_octave_of_the_variance_apart() -> None:
    """The middle one's gain is that of the configuration; variances are above those of the theory by more the larger the gain is."""
    table = GainTable.design(**WALK, **LIGHT, slope_follows=False)
    kh = gains_of(table)
    assert kh[CENTRE] == pytest.approx(math.sqrt(754 * 0.8e6) * 512 / 125e6, rel=1e-3)
    excess = EXCESS_CLICKS * math.sqrt(754 / 0.8e6) * 0.8
    for k in range(ENTRIES):
        factor = kh[k] / kh[CENTRE]
        assert math.log2(factor) + excess * (factor - 1) == pytest.approx((k - CENTRE) / 2, abs=0.02)
    assert len(table.words) == 4 * ENTRIES
    noisy = {"diffusion_rad2_per_s": 1.0, "slope_noise_rad2_per_s3": 1.6e10}
    slope = GainTable.design(**noisy, **LIGHT, slope_follows=True)
    plain = smoothing.smooth_gains(**noisy, fisher_hz=0.8e6, node_clocks=512)
    assert slope.gains[CENTRE] == plain
    # a gain twice as large is a node step twice as long; the slope's gains are per step
    longer = smoothing.smooth_gains(
        diffusion_rad2_per_s=1.0, slope_noise_rad2_per_s3=1.6e10, fisher_hz=0.8e6, node_clocks=1024
    )
    assert gain_factor(1.0, 0.0) == pytest.approx(2.0)
    doubled = GainTable.design(**noisy, **{**LIGHT, "click_rate_hz": 0.8e12, "information": 1e-6}, slope_follows=True)
    assert doubled.gains[CENTRE + 2].h11 == pytest.approx(longer.h11, abs=3)
    assert doubled.gains[CENTRE + 2].h22 == pytest.approx(longer.h22, abs=3)


@pytest.mark.parametrize(
    ("octaves", "light"), [(-2.0, 0), (-1.0, 0), (0.0, 0), (1.0, 0), (2.0, 0), (-1.0, 1), (1.0, 1)]
)
def test_the_entry_of_a_steady_tracker(octaves: float, light: int) -> None:
    """Variance and clicks of a gain 2^octaves times as large find the entry nearest to it: from D within the quarter octave of K that is
    half an entry and the eighth that logarithms miss; where the light is stronger or weaker than told, another quarter off."""
    table = GainTable.design(**WALK, **LIGHT, slope_follows=False)
    diffusion, rate = (754.0, 1e6 * 4.0**octaves) if light else (754.0 * 4.0**octaves, 1e6)
    p11 = math.sqrt(diffusion / (0.8 * rate))
    p11 *= 2 ** (EXCESS + EXCESS_CLICKS * p11 * 0.8)
    clicks = rate * NODES * 512 / 125e6
    index = (ld(NODES * variance_word(min(p11, 1.5))) + ld(round(clicks)) - table.start) // 4
    found = math.log2(gains_of(table)[index] / (math.sqrt(754.0 * 0.8e6) * 2.0**octaves * 512 / 125e6))
    assert abs(found) < (0.625 if light else 0.375)


def test_of_labs() -> None:
    setup = track_setup(load_lab("seed-370km"))
    registers = setup.registers()
    assert registers["SMOOTH_FOLLOWS"] == 3
    words = setup.memories()["SMOOTH_TABLE"]
    assert len(words) == 2 * WORDS
    for c, name in enumerate("RD"):
        assert 0 < registers[f"SMOOTH_FROM_{name}"] < 1 << LD_BITS
        centre = words[WORDS * c + 4 * CENTRE :][:4]
        assert centre == [registers[f"SMOOTH_{h}_{name}"] for h in ("H11", "H12", "H21", "H22")]
    assert words[:WORDS] != words[WORDS:]
    alone = replace(setup, channels=(setup.channels[0], None))
    assert alone.registers()["SMOOTH_FOLLOWS"] == 1
    assert "SMOOTH_FROM_D" not in alone.registers()
    assert alone.memories()["SMOOTH_TABLE"] == words[:WORDS] + [0] * WORDS
    still = track_setup(parse_lab('base = "seed-370km"\nname = "still"\n[tracking]\nadapt = false\n', "still.toml"))
    assert "SMOOTH_FOLLOWS" not in still.registers()
    assert still.memories() == {}


def test_it_refuses_a_start_without_a_word() -> None:
    with pytest.raises(ValueError, match="the table starts at -1; allowed: 0 to 1023"):
        GainTable(gains=(), start=-1)
