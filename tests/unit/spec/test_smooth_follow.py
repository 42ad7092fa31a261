"""The table of gains that follow, from physical values."""

import math
from dataclasses import replace

import pytest

from twinphase_spec import smoothing
from twinphase_spec.lab import load_lab, parse_lab
from twinphase_spec.smooth_follow import CENTRE, ENTRIES, EXCESS, LD_BITS, NODES, WORDS, GainTable
from twinphase_spec.track_setup import track_setup
from twinphase_spec.tracking_config import variance_word

WALK = {"diffusion_rad2_per_s": 754.0, "slope_noise_rad2_per_s3": 0.0}
LIGHT = {"click_rate_hz": 1e6, "information": 0.8, "node_clocks": 512}


def ld(value: int) -> int:
    place = value.bit_length() - 1
    return 8 * place + (value * 8 // 2**place) % 8


def test_entries_are_half_an_octave_of_the_gain_apart() -> None:
    """H11 = 1/(1 + K h) of a walk: each entry's K is that of the one before times sqrt 2, the middle one's that of the configuration."""
    table = GainTable.design(**WALK, **LIGHT, slope_follows=False)
    kh = [(1 << smoothing.GAIN_FRACTION) / gains.h11 - 1 for gains in table.gains]
    assert kh[CENTRE] == pytest.approx(math.sqrt(754 * 0.8e6) * 512 / 125e6, rel=1e-3)
    for k in range(4, ENTRIES - 1):
        assert kh[k + 1] / kh[k] == pytest.approx(math.sqrt(2), rel=0.01)
    assert len(table.words) == 4 * ENTRIES
    noisy = {"diffusion_rad2_per_s": 1.0, "slope_noise_rad2_per_s3": 1.6e10}
    slope = GainTable.design(**noisy, **LIGHT, slope_follows=True)
    plain = smoothing.smooth_gains(**noisy, fisher_hz=0.8e6, node_clocks=512)
    assert slope.gains[CENTRE] == plain
    # a gain twice as large is a node step twice as long; the slope's gains are per step
    longer = smoothing.smooth_gains(
        diffusion_rad2_per_s=1.0, slope_noise_rad2_per_s3=1.6e10, fisher_hz=0.8e6, node_clocks=1024
    )
    assert slope.gains[CENTRE + 2].h11 == pytest.approx(longer.h11, abs=3)
    assert slope.gains[CENTRE + 2].h22 == pytest.approx(longer.h22, abs=3)


@pytest.mark.parametrize("octaves", [-2.0, -1.0, 0.0, 1.0, 3.0])
def test_the_index_of_a_steady_tracker(octaves: float) -> None:
    """Variance and clicks of a gain 2^octaves times as large, from D or from weaker light alike, are in the middle of that entry."""
    table = GainTable.design(**WALK, **LIGHT, slope_follows=False)
    for diffusion, rate in ((754.0 * 4.0**octaves, 1e6), (754.0, 1e6 * 4.0**octaves)):
        p11 = math.sqrt(diffusion / (0.8 * rate)) * 2**EXCESS
        clicks = rate * NODES * 512 / 125e6
        index = (ld(NODES * variance_word(min(p11, 1.5))) + ld(round(clicks)) - table.start) / 4
        assert index - CENTRE - 2 * octaves == pytest.approx(0.5, abs=0.5)


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
