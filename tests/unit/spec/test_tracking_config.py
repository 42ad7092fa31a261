"""Configuration words of the click tracker: what they say in physical units, and what is refused."""

import math
import re

import pytest

from twinphase_spec import tracking as t
from twinphase_spec.tracking_config import (
    ChannelConfig,
    channel_config,
    diffusion_word,
    kappa_word,
    variance_word,
    visibility_word,
)

CLOCK_HZ = 125e6


def test_words_are_the_steady_filter() -> None:
    """With D = 754, Q = 1e9, J = F R: P12 = sqrt(Q/J), P11 = sqrt((D + 2 P12)/J), each within half a unit of its word."""
    config = channel_config(
        diffusion_rad2_per_s=754, click_rate_hz=1e6, visibility=0.98, slope_noise_rad2_per_s3=1e9, v_gain=7
    )
    rate = 1e6 * (1 - math.sqrt(1 - 0.98**2))
    p12 = math.sqrt(1e9 / rate)
    growth = 754 + 2 * p12
    p11 = math.sqrt(growth / rate)
    per_turn = 2 * math.pi
    assert config.d == pytest.approx(growth / per_turn / CLOCK_HZ * 2**46, abs=0.5)
    assert config.kappa == pytest.approx(p12 / p11 / CLOCK_HZ * 2**28, abs=0.5)
    assert config.p_min == pytest.approx(p11 / 4 / per_turn * 2**34, abs=0.5)
    start = 2 / (24 * 0.98**2) + growth * 24e-6 / 3
    assert config.p_start == pytest.approx(start / per_turn * 2**34, abs=0.5)
    assert config.p_lost == pytest.approx(0.65 / per_turn * 2**34, abs=0.5)
    assert config.v_start == round(0.98 * 2**16)
    assert config.words() == (
        config.d,
        config.kappa,
        config.p_min,
        config.p_start,
        config.p_lost,
        config.v_start,
        7,
        *[0] * 5,
    )


def test_what_the_words_reach() -> None:
    """The limits that the page and the docstrings name."""
    assert diffusion_word(190e3) < 1 << 34
    assert kappa_word(61e3) < 1 << 17
    assert variance_word(1.57) < 1 << 32
    assert diffusion_word(0) == kappa_word(0) == 0
    assert visibility_word(0.998) <= t.VISIBILITY_MOST
    assert t.B_MAX / 2**52 * CLOCK_HZ * 2 * math.pi == pytest.approx(384e3, rel=2e-3)
    assert t.Q_MAX / 2**22 * 2 * math.pi == pytest.approx(0.196, rel=3e-3)


def test_no_more_growth_than_the_largest_gain_holds() -> None:
    """Where P11 = sqrt(D/J) is 0.12, 0.15, 0.19, 0.249 rad^2: the walk itself in the first, then what 0.196 rad^2 of gain balances
    with the information ``1 - sqrt(1 - V'^2)`` of V' = 0.98 (1 - 0.196): 14 796 rad^2/s for a million clicks."""
    rate = 1e6 * (1 - math.sqrt(1 - 0.98**2))
    q = t.Q_MAX / 2**22 * 2 * math.pi
    held = q**2 * 1e6 * (1 - math.sqrt(1 - (0.98 * (1 - q)) ** 2))
    assert held == pytest.approx(14796, rel=1e-4)
    for p11, grows in ((0.12, 0.12**2 * rate), (0.15, held), (0.19, held), (0.249, held)):
        config = channel_config(diffusion_rad2_per_s=p11**2 * rate, click_rate_hz=1e6, visibility=0.98)
        assert config.d == pytest.approx(grows / (2 * math.pi) / CLOCK_HZ * 2**46, abs=0.5)
        assert config.p_min == pytest.approx(p11 / 4 / (2 * math.pi) * 2**34, abs=0.5)
    with pytest.raises(ValueError, match=re.escape("a steady variance of 0.251 rad^2 cannot be represented as a gain")):
        channel_config(diffusion_rad2_per_s=0.251**2 * rate, click_rate_hz=1e6, visibility=0.98)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"diffusion_rad2_per_s": 1e6}, "a steady variance of 1.12 rad^2 cannot be represented as a gain"),
        ({"diffusion_rad2_per_s": 1e-4}, "a steady variance of 1.12e-05 rad^2 cannot be represented as a gain"),
        ({"diffusion_rad2_per_s": 0.0}, "a steady variance of 0 rad^2 cannot be represented as a gain"),
        ({"visibility": 0.999}, "visibility is 0.999; give 0.25 to 0.998"),
        ({"visibility": 0.2}, "visibility is 0.2; give 0.25 to 0.998"),
        ({"click_rate_hz": 0.0}, "0 clicks per second; give more than 0"),
        ({"slope_rms_rad_per_s": 1e5}, "tell the phase to 1.53 rad^2 only"),
        ({"v_gain": 16}, "v_gain is 16; allowed: 0 to 15"),
        ({"click_rate_hz": 1e8, "slope_noise_rad2_per_s3": 1e16}, "a slope gain of"),
    ],
)
def test_what_cannot_be_represented_is_refused(settings: dict[str, float], message: str) -> None:
    usual = {"diffusion_rad2_per_s": 754.0, "click_rate_hz": 1e6, "visibility": 0.98}
    with pytest.raises(ValueError, match=re.escape(message)) as refusal:
        channel_config(**{**usual, **settings})  # type: ignore[arg-type]
    assert str(refusal.value).startswith("click tracker: ")


def test_words_out_of_their_widths_are_refused() -> None:
    fine = channel_config(diffusion_rad2_per_s=754, click_rate_hz=1e6, visibility=0.98)
    for name, value in (("d", 1 << 34), ("kappa", 1 << 17), ("p_min", -1), ("p_lost", 1 << 32), ("v_start", 65408)):
        with pytest.raises(ValueError, match=f"click tracker: {name} is {value}; allowed: "):
            ChannelConfig(**{**vars(fine), name: value})
    with pytest.raises(ValueError, match=re.escape("a diffusion of 1e-06 rad^2/s")):
        diffusion_word(1e-6)
    with pytest.raises(ValueError, match=re.escape("a variance of nan rad^2 cannot be represented")):
        variance_word(math.nan)
