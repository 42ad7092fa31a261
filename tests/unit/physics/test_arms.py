"""Light of arms that are late: where it lands, with what it interferes, what corrected emission does to it."""

from __future__ import annotations

import numpy as np
import pytest
from physics_labs import changed, short_lab, symbol_configs

from twinphase.measure.pulse_index import PulseIndex
from twinphase_sim.model.sift.emission import Correction
from twinphase_sim.model.sift.symbols import symbols
from twinphase_sim.physics.arms import GRID_S, ArmDrift
from twinphase_sim.physics.clicks import DARK, Clicks, join_clicks
from twinphase_sim.physics.emission import Emission
from twinphase_sim.physics.link import Link
from twinphase_sim.physics.slots import band_classes
from twinphase_spec.frame import SlotClass
from twinphase_spec.lab import Lab, load_lab
from twinphase_spec.lab_arms import DELAY_PS_PER_K_KM, Arm
from twinphase_spec.registers import CHANNELS
from twinphase_spec.symbols import Level

PERIOD_PS = 8000.0


def light(lab: Lab, seconds: float, link: Link | None = None) -> tuple[Link, Clicks]:
    """The lab's clicks that light made, detector offsets taken off."""
    link = link or Link(lab, 4, *symbol_configs(lab), start_clock=1 << 16)
    clicks = link.clicks(0, round(seconds * lab.frame.pulse_rate_hz))
    offsets = np.array([round(getattr(lab.detectors, name).offset_ps * 1.024) for name in CHANNELS])
    clicks = Clicks(clicks.times_ticks - offsets[clicks.channels], clicks.channels, clicks.pulses)
    return link, clicks[clicks.pulses != DARK]


def fringe(link: Link, clicks: Clicks, shift: int) -> float:
    """2 <+-cos theta> over clicks of SIG pulses with mu_1 of both users, theta from their symbols of pulse n - shift."""
    classes = np.repeat(band_classes(link.frame, "q"), link.frame.slot_pulses)
    chosen = clicks[(clicks.channels < 2) & (classes[(clicks.pulses - shift) % classes.size] == SlotClass.SIG)]
    pulses = (chosen.pulses - shift).astype(np.uint64)
    alice, bob = (symbols(config, pulses) for config in symbol_configs(link.lab))
    both = (alice.intensity == Level.MU_1) & (bob.intensity == Level.MU_1)
    theta = link.phase_q(link.start_ticks + chosen.pulses * link.period_ticks + link.period_ticks // 2)
    theta = theta + (alice.phase.astype(float) - bob.phase) * (2 * np.pi / 256)
    sign = np.where(chosen.channels == 0, 1, -1)
    return float(2 * np.mean((sign * np.cos(theta))[both]))


def arms_lab(**arms: object) -> Lab:
    return changed(
        short_lab(lasers__visibility=1.0, fibre__extra_loss_b_db=0.0), **{f"arms__{k}": v for k, v in arms.items()}
    )


def test_symbols_of_the_same_pulse_interfere_and_no_others() -> None:
    """Both arms two pulses late: symbols of n - 2. One a pulse late: no fringe with any symbols."""
    aligned = fringe(*light(short_lab(lasers__visibility=1.0, fibre__extra_loss_b_db=0.0), 0.04), 0)
    late = light(arms_lab(a__offset_ps=2 * PERIOD_PS, b__offset_ps=2 * PERIOD_PS), 0.04)
    assert aligned > 0.8
    assert fringe(*late, 2) == pytest.approx(aligned, abs=0.06)
    assert abs(fringe(*late, 0)) < 0.06
    wrong = light(arms_lab(b__offset_ps=PERIOD_PS), 0.04)
    assert all(abs(fringe(*wrong, shift)) < 0.06 for shift in (0, 1))


def test_pulses_that_miss_each_other_lose_their_fringe() -> None:
    """Gaussian pulses of 1 ns, 600 ps apart: exp(-(600/425)^2/8) = 0.779 of it."""
    spread = arms_lab(a__offset_ps=300.0, b__offset_ps=-300.0, pulse_fwhm_ps=1000.0)
    aligned = fringe(*light(arms_lab(pulse_fwhm_ps=1000.0), 0.06), 0)
    assert fringe(*light(spread, 0.06), 0) / aligned == pytest.approx(0.779, abs=0.06)
    assert float(spread.arms.overlap(np.array(600.0))) == pytest.approx(0.779, abs=1e-3)


def test_clicks_of_one_sided_slots_tell_each_arm() -> None:
    """Times: the arm's own offset, spread by detector and pulse."""
    lab = arms_lab(a__offset_ps=900.0, b__offset_ps=-700.0, pulse_fwhm_ps=500.0)
    link, clicks = light(lab, 0.05)
    classes = np.repeat(band_classes(link.frame, "r"), link.frame.slot_pulses)
    of_r = clicks[clicks.channels >= 2]
    late_ps = (of_r.times_ticks - link.start_ticks - of_r.pulses * link.period_ticks - link.period_ticks / 2) / 1.024
    spread = np.hypot(lab.arms.sigma_ps, 90.0)
    for own, offset in ((SlotClass.REF_A, 900.0), (SlotClass.REF_B, -700.0)):
        chosen = late_ps[classes[of_r.pulses % classes.size] == own]
        assert chosen.size > 500
        assert chosen.mean() == pytest.approx(offset, abs=4 * spread / np.sqrt(chosen.size))
        assert chosen.std() == pytest.approx(spread, rel=0.1)


def test_the_host_finds_the_pulses_of_displaced_arms() -> None:
    """Physics to search, with fractions near half a pulse, on the seed experiment's frame."""
    arms = {"a__offset_ps": 17_480.0, "b__offset_ps": -31_520.0, "pulse_fwhm_ps": 100.0}
    lab = changed(load_lab("seed-370km"), **{f"arms__{key}": value for key, value in arms.items()})
    link, clicks = light(lab, 0.4)
    index = PulseIndex(link.frame)
    index.add(clicks.times_ticks[clicks.channels >= 2])
    for found, true in zip(index.find(), (17_480.0, -31_520.0), strict=True):
        assert found.pulses * 1000 + found.fraction_ps == pytest.approx(true, abs=6 * found.error_ps)


def test_clicks_do_not_depend_on_chunks_or_order() -> None:
    lab = arms_lab(a__clock_ppb=5e3, b__walk_ps_per_sqrt_s=1e4, pulse_fwhm_ps=300.0)
    whole, parts = (Link(lab, 4, *symbol_configs(lab), start_clock=1 << 16) for _ in range(2))
    for link in (whole, parts):
        link.correct(0, Correction(slot=4_000_000, pulses=-4, fraction=4915))
        link.correct(1, Correction(slot=4_200_001, pulses=0, fraction=5120))
    joined = join_clicks([parts.clicks(a, b) for a, b in ((0, 10), (10, 3_999_999), (3_999_999, 5_000_000))])
    expected = whole.clicks(0, 5_000_000)
    for name in ("times_ticks", "channels", "pulses"):
        np.testing.assert_array_equal(getattr(joined, name), getattr(expected, name))


def test_a_correction_acts_from_its_slot_on() -> None:
    """Arms three pulses late are put right at a slot: before it symbols of n - 3, after it of n; what is under way is not changed."""
    lab = arms_lab(a__offset_ps=3 * PERIOD_PS, b__offset_ps=3 * PERIOD_PS)
    link = Link(lab, 4, *symbol_configs(lab), start_clock=1 << 16)
    slot = 2 * link.block_pulses + 12_344
    for arm in range(2):
        link.correct(arm, Correction(slot=slot, pulses=-3, fraction=0))
    _, clicks = light(lab, 0.07, link)
    before, after = clicks[clicks.pulses < slot + 3], clicks[clicks.pulses >= slot + 3]
    assert fringe(link, before, 3) > 0.8
    assert fringe(link, after, 0) > 0.8
    with pytest.raises(ValueError, match="light before it is under way"):
        link.correct(0, Correction(slot=slot + 8, pulses=0, fraction=0))
    emission = Emission(lab, 1)
    emission.correct(0, Correction(slot=1 << 20, pulses=1, fraction=0))
    with pytest.raises(ValueError, match=r"allowed: what a client takes: 2\^17 slots"):
        emission.correct(0, Correction(slot=(1 << 20) + (1 << 16), pulses=0, fraction=0))


def test_a_change_of_pulses_is_dark_and_no_pulse_comes_twice() -> None:
    """Place by place around a correction, in an arm that is two and a half pulses late: in their order, with a gap in them or in time."""
    for change, fraction in ((5, 700), (-5, 8000), (100, 1), (-1, 0)):
        lab = arms_lab(a__offset_ps=2.45 * PERIOD_PS)
        emission, slot = Emission(lab, 1), 1 << 20
        emission.correct(0, Correction(slot=slot, pulses=change, fraction=fraction))
        places = np.arange(slot - 300, slot + 600)
        late, light = emission.arriving(0, places)
        pulses = (places - np.round(late / PERIOD_PS).astype(np.int64))[light]
        steps = np.diff(pulses)
        dark = 1 + max(32, -(-(change - 1) // 8) * 8)
        assert (steps >= 1).all()
        assert steps.max() == dark - change + 1
        assert np.count_nonzero(steps > 1) == 1
        assert pulses[0] == places[0] - 2
        assert pulses[-1] == places[-1] - round(2.45 + change + fraction / 8192)
        assert np.count_nonzero(~light) in (dark, dark + 1)


def test_drift_is_the_sum_of_its_parts() -> None:
    arm = Arm(offset_ps=5.0, kelvin_per_s=1e-3, day_kelvin=4.0, clock_ppb=2.0)
    at = ArmDrift(arm, 185.0, (1,)).at(np.array([0.0, 21_600.0]))
    expected = 5.0 + DELAY_PS_PER_K_KM * 185 * (21.6 + 2.0) + 2000 * 21_600
    np.testing.assert_allclose(at, [5.0, expected])


def test_walk_has_its_size_and_depends_on_the_time_alone() -> None:
    """Steps over 8 s: variance 9 * 8 ps^2, of 512 to 13 %, 4 sigma at that size are 25 %."""
    drift, other = (ArmDrift(Arm(walk_ps_per_sqrt_s=3.0), 1.0, (7, 8, 1)) for _ in range(2))
    times = np.arange(0, 4096 + 1, 8.0)
    values = drift.at(times)
    assert np.var(np.diff(values)) == pytest.approx(72.0, rel=0.25)
    assert other.at(times[::-1].copy())[::-1].tolist() == values.tolist()
    assert abs(drift.at(np.array([100.0 + GRID_S / 2])) - drift.at(np.array([100.0, 100.0 + GRID_S])).mean()) < 1e-9
