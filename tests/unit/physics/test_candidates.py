"""Candidates for clicks: chunks do not matter, and without an actuator they click like the link's own."""

from __future__ import annotations

import numpy as np
from physics_labs import changed, short_lab, symbol_configs

from twinphase_sim.physics.candidates import CandidateStream
from twinphase_sim.physics.clicks import DARK
from twinphase_sim.physics.link import Link

PULSES = 4_000_000


def test_chunks_do_not_matter() -> None:
    lab = short_lab()
    link = Link(lab, 3, *symbol_configs(lab), start_clock=77)
    whole = CandidateStream(link).before(link.pulse_ticks(PULSES))
    stream = CandidateStream(link)
    stops = [1, 5, 1_000_000, 1_000_001, 3_333_333, PULSES]
    parts = [stream.before(link.pulse_ticks(stop)) for stop in stops]
    assert all(
        part.times_ticks.max() < link.pulse_ticks(stop) for part, stop in zip(parts, stops, strict=True) if len(part)
    )
    for name in ("times_ticks", "channels", "pulses", "theta_turns", "energy", "base", "amplitude"):
        np.testing.assert_array_equal(np.concatenate([getattr(part, name) for part in parts]), getattr(whole, name))
    assert (np.diff(whole.times_ticks) >= 0).all()
    assert whole.light.shape == (len(whole), 4)


def test_undisturbed_they_click_like_the_link() -> None:
    """Clicks before dead time per channel and pulse class mod 24: two samples of Poisson counts, chi^2 of their differences.

    96 cells of about 1600 clicks each; chi^2 has mean 96 and standard deviation 14: below 96 + 5 * 14 in all but one in 1e6 runs.
    """
    lab = changed(short_lab(), detectors__qL__dark_hz=2e4)
    link = Link(lab, 3, *symbol_configs(lab))
    stream = CandidateStream(link).before(link.pulse_ticks(PULSES))
    clicks = stream.undisturbed()
    blocks = -(-PULSES // link.block_pulses)
    own = [part for block in range(blocks) for part in link.raw_block(block)]

    def cells(channels: np.ndarray, pulses: np.ndarray) -> np.ndarray:
        inside = (pulses < PULSES - 1000) & (pulses != DARK)
        return np.bincount(channels[inside] * 24 + pulses[inside] % 24, minlength=96)

    first = cells(clicks.channels.astype(int), clicks.pulses)
    second = cells(
        np.concatenate([part.channels for part in own]).astype(int), np.concatenate([part.pulses for part in own])
    )
    used = first + second > 20
    chi2 = float(((first - second)[used] ** 2 / (first + second)[used]).sum())
    print(f"{used.sum()} cells, {first.sum()} and {second.sum()} clicks: chi^2 {chi2:.1f}")
    assert used.sum() > 60
    assert chi2 < used.sum() + 5 * np.sqrt(2 * used.sum())
    assert (clicks.needs <= 1).all()
    dark = stream[stream.pulses == DARK]
    assert len(dark) > 100
    assert (dark.amplitude == 0).all()
    assert len(dark.undisturbed()) == len(dark)


def test_phase_moves_light_from_port_to_port() -> None:
    """Half a turn taken off exchanges the two ports: what clicks then has its cosine on the other side."""
    lab = changed(short_lab(), lasers__visibility=1.0)
    link = Link(lab, 4, *symbol_configs(lab))
    stream = CandidateStream(link).before(link.pulse_ticks(PULSES))
    light = stream[stream.amplitude != 0]
    as_they_are = light.energy < light.base + light.amplitude * np.cos(2 * np.pi * light.theta_turns)
    turned = light.energy < light.base + light.amplitude * np.cos(2 * np.pi * (light.theta_turns - 0.5))
    bright = light.amplitude * np.cos(2 * np.pi * light.theta_turns) > 0
    assert as_they_are[bright].mean() > 1.5 * as_they_are[~bright].mean()
    assert turned[~bright].mean() > 1.5 * turned[bright].mean()
