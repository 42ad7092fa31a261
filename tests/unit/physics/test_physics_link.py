"""The link: reproducible, in order, and with every sign as in docs/physics.md."""

from itertools import pairwise

import numpy as np
import pytest
from physics_labs import both_clients, changed, short_lab, symbol_configs

from twinphase_sim.physics.detectors import NEVER, alive_clicks
from twinphase_sim.physics.link import DARK, Clicks, Link, bernoulli_positions, join_clicks
from twinphase_sim.physics.optics import ports
from twinphase_sim.physics.pulse_by_pulse import click_probabilities
from twinphase_sim.physics.slots import ClassPulses, band_classes
from twinphase_spec.configure import frame_config
from twinphase_spec.frame import SlotClass
from twinphase_spec.lab import load_lab
from twinphase_spec.units import ps_to_ticks


def same(one: Clicks, other: Clicks) -> bool:
    return all(
        np.array_equal(getattr(one, name), getattr(other, name)) for name in ("times_ticks", "channels", "pulses")
    )


def test_chunks_do_not_matter() -> None:
    lab = short_lab()
    whole = Link(lab, 3, *symbol_configs(lab), start_clock=77).clicks(0, 2_100_000)
    link = Link(lab, 3, *symbol_configs(lab), start_clock=77)
    edges = [0, 1, 50, 1_953_000, 1_953_200, 2_099_999, 2_100_000]
    parts = [link.clicks(a, b) for a, b in pairwise(edges)]
    assert len(whole) > 50_000
    assert same(join_clicks(parts), whole)
    for part, stop in zip(parts, edges[1:], strict=True):
        assert (part.times_ticks < link.pulse_ticks(stop)).all()
    assert (np.diff(whole.times_ticks) >= 0).all()


def test_phase_does_not_depend_on_the_order_of_questions() -> None:
    lab = load_lab("seed-370km")
    times = np.sort(np.random.default_rng(0).integers(0, 2 * 10**12, 1000))
    forward, backward = Link(lab, 5, *symbol_configs(lab)), Link(lab, 5, *symbol_configs(lab))
    parts = [backward.phase_q(times[i : i + 500]) for i in range(500, -1, -500)][::-1]
    assert np.array_equal(forward.phase_q(times), np.concatenate(parts))
    assert not np.array_equal(forward.phase_q(times), Link(lab, 6, *symbol_configs(lab)).phase_q(times))


def test_bands_are_related_by_frequency_and_differential_phase() -> None:
    lab = load_lab("seed-370km")
    link = Link(lab, 1, *symbol_configs(lab))
    times = np.linspace(0, 10**12, 101).astype(np.int64)
    ratio = lab.bands.quantum_hz / lab.bands.reference_hz
    expected = link.phase_r(times) * ratio + link.phase.differential(times)
    assert link.phase_q(times) == pytest.approx(expected, abs=1e-9)


def test_left_is_bright_at_zero_and_alice_is_plus() -> None:
    left, right = ports(load_lab("seed-370km"), "q")
    assert left.intensity(1.0, 1.0, 1.0) > 50 * left.intensity(1.0, 1.0, -1.0)
    assert right.intensity(1.0, 1.0, -1.0) > 50 * right.intensity(1.0, 1.0, 1.0)
    assert (left.channel, right.channel) == (0, 1)


@pytest.mark.parametrize("swap", [False, True])
def test_swapped_fibres(swap: bool) -> None:
    lab = changed(load_lab("seed-370km"), server__swap_r=swap)
    assert [port.channel for port in ports(lab, "r")] == ([3, 2] if swap else [2, 3])


@pytest.mark.parametrize("drift", [5000.0, -5000.0])
def test_four_steps_give_plus_phi(drift: float) -> None:
    """psi = +phi for both signs of an asymmetric drift.

    About 200 counts in a window of V = 0.9: sigma 0.11 rad; a window of 96 us at 5 rad/ms moves by half a radian (0.14 rad rms
    at its edges, 0 at its centre). The rms of 60 windows is known to 9 %: 0.25 is over 8 sigma above, a wrong sign far beyond.
    """
    lab = short_lab(fibre__noise_rad2_hz_per_km=0.0, lasers__beat_linewidth_hz=0.0, frame__frames_per_window=500)
    lab = changed(lab, fibre__drift_rad_per_s=drift, bands__differential_drift_rad_per_s=0.0)
    link = Link(lab, 8, *symbol_configs(lab), start_clock=500)
    windows = 60
    clicks = link.clicks(0, windows * link.frame.window_pulses)
    for band, channels, phase in (("q", (0, 1), link.phase_q), ("r", (2, 3), link.phase_r)):
        lit = clicks[np.isin(clicks.channels, channels) & (clicks.pulses != DARK)]
        slot_class = band_classes(link.frame, band)[
            lit.pulses % link.frame.frame_pulses // link.frame.slot_pulses
        ].astype(int)
        steps = (slot_class >= SlotClass.REF0) & (slot_class <= SlotClass.REF3)
        value = np.where(lit.channels == channels[0], 1, -1) * 1j ** -(slot_class - SlotClass.REF0)
        vectors = np.zeros(windows, complex)
        np.add.at(vectors, lit.pulses[steps] // link.frame.window_pulses, value[steps])
        centres = link.start_ticks + ((np.arange(windows) + 0.5) * link.frame.window_ticks).astype(np.int64)
        error = np.angle(vectors * np.exp(-1j * phase(centres)))
        assert np.sqrt(np.mean(error**2)) < 0.25
        wrong = np.angle(vectors * np.exp(1j * phase(centres)))
        assert np.sqrt(np.mean(wrong**2)) > 1


def test_single_user_slots() -> None:
    """REF-A counts only Alice's light. Bob's arm is 2 dB worse: ratio 1.58; 5 sigma of sqrt(1/nA + 1/nB)."""
    lab = short_lab()
    link = Link(lab, 2, *symbol_configs(lab))
    clicks = link.clicks(0, 1_900_000)
    lit = clicks[(clicks.channels >= 2) & (clicks.pulses != DARK)]
    classes = band_classes(link.frame, "r")[lit.pulses % link.frame.frame_pulses // link.frame.slot_pulses]
    a, b = (int((classes == c).sum()) for c in (SlotClass.REF_A, SlotClass.REF_B))
    expected = lab.fibre.transmittance("a") / lab.fibre.transmittance("b")
    assert abs(np.log(a / b / expected)) < 5 * np.sqrt(1 / a + 1 / b) + 0.01  # dead time, saturation: below 1 %
    assert not np.isin(classes, [SlotClass.VAC, SlotClass.GUARD, SlotClass.SIG]).any()


def test_light_arrives_in_the_middle_plus_offset() -> None:
    lab = load_lab("metro-50km")
    link = Link(lab, 4, *symbol_configs(lab), start_clock=1000)
    clicks = link.clicks(0, 1_900_000)
    for channel, name in enumerate(("qL", "qR", "rL", "rR")):
        detector = getattr(lab.detectors, name)
        lit = clicks[(clicks.channels == channel) & (clicks.pulses != DARK)]
        late = lit.times_ticks - (link.start_ticks + lit.pulses * link.period_ticks + link.period_ticks // 2)
        jitter = detector.jitter_ps * 128 / 125
        assert late.mean() == pytest.approx(ps_to_ticks(detector.offset_ps), abs=5 * jitter / np.sqrt(len(lit)) + 1)
        # 6 / sqrt(2 n) is six sigma of a standard deviation, safe against the tails as well
        assert late.std() == pytest.approx(jitter, rel=6 / np.sqrt(2 * len(lit)))


def test_dead_time_recurrence() -> None:
    times = np.array([0, 5, 10, 11, 25, 30, 36], np.int64)
    alive, last = alive_clicks(times, np.ones(times.size), 10, 0.0, NEVER)
    assert times[alive].tolist() == [0, 10, 25, 36]
    assert last == 36
    alive, last = alive_clicks(np.array([40, 46], np.int64), np.ones(2), 10, 0.0, last)
    assert alive.tolist() == [False, True]


def test_dead_time_holds_between_clicks() -> None:
    lab = short_lab()
    link = Link(lab, 2, *symbol_configs(lab))
    clicks = join_clicks([link.clicks(0, 1 << 19), link.clicks(1 << 19, 1 << 20)])
    for channel in range(4):
        assert np.diff(clicks.times_ticks[clicks.channels == channel]).min() >= ps_to_ticks(40_000)
    assert (link.dead_time_losses > 0).all()


def test_dark_lab_has_dark_counts_only() -> None:
    """4e6 pulses at 125 MHz, 110 Hz of dark counts in all: 3.5 expected; at most 20 with 1e-9."""
    lab = short_lab(**both_clients(mu_0=0.0, mu_1=1e-30, mu_2=1e-30, mu_z=1e-30, reference_q=0.0, reference_r=0.0))
    clicks = Link(lab, 2, *symbol_configs(lab)).clicks(0, 4_000_000)
    assert len(clicks) <= 20
    assert (clicks.pulses == DARK).all()


def test_a_vacuum_symbol_shines_with_mu_0_in_signal_slots_only() -> None:
    """Users who never send: clicks as the pulse-by-pulse physics has them, all in SIG slots. 5 sigma of a Poisson count."""
    lab = short_lab(
        **both_clients(mu_0=0.1, z_probability=1.0, send_probability=0.0, reference_q=0.0, reference_r=0.0),
        **{f"detectors__{name}__dark_hz": 0.0 for name in ("qL", "qR", "rL", "rR")},
    )
    keys = symbol_configs(lab)
    link = Link(lab, 4, *keys)
    pulses = np.arange(400_000)
    clicks = link.clicks(0, pulses.size)
    probabilities = click_probabilities(lab, 4, *keys, pulses)
    signal = band_classes(link.frame, "q")[pulses % link.frame.frame_pulses // link.frame.slot_pulses] == SlotClass.SIG
    assert not probabilities[:, ~signal].any()
    assert not probabilities[2:].any()
    expected = probabilities.sum()
    assert expected > 1000
    assert signal[clicks.pulses].all()
    assert abs(len(clicks) + link.dead_time_losses.sum() - expected) < 5 * np.sqrt(expected)


def test_class_pulses_count_and_list() -> None:
    lab = short_lab()
    frame = frame_config(lab)
    classes = band_classes(frame, "q")
    members = ClassPulses(frame, "q", [SlotClass.SIG, SlotClass.REF_B])
    pulses = np.arange(3 * frame.frame_pulses)
    slot_class = classes[pulses % frame.frame_pulses // frame.slot_pulses]
    chosen = pulses[np.isin(slot_class, [SlotClass.SIG, SlotClass.REF_B])]
    listed, listed_class = members.pulse(np.arange(3 * members.per_frame))
    assert np.array_equal(listed, chosen)
    assert np.array_equal(listed_class, slot_class[chosen])
    assert [members.count_before(int(n)) for n in pulses] == [int((chosen < n).sum()) for n in pulses]


@pytest.mark.parametrize("probability", [1e-3, 0.3, 1.0])
def test_bernoulli_positions(probability: float) -> None:
    """Number within 5 sigma of n p, positions distinct and in range."""
    positions = bernoulli_positions(np.random.default_rng(1), 100_000, probability)
    sigma = np.sqrt(1e5 * probability * (1 - probability))
    assert abs(positions.size - 1e5 * probability) <= 5 * sigma
    assert (np.diff(positions) > 0).all()
    assert positions.min() >= 0
    assert positions.max() < 100_000
    assert bernoulli_positions(np.random.default_rng(1), 0, probability).size == 0


def test_bad_ranges() -> None:
    lab = short_lab()
    link = Link(lab, 2, *symbol_configs(lab))
    with pytest.raises(ValueError, match="start < stop"):
        link.clicks(10, 10)
    with pytest.raises(ValueError, match="2\\^63"):
        link.clicks(0, 1 << 62)
    with pytest.raises(ValueError, match="negative"):
        Link(lab, -1, *symbol_configs(lab))
