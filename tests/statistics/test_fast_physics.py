"""The fast draw of clicks against the slow one, pulse by pulse, on a short link with every slot class."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "physics"))
from physics_labs import short_lab, symbol_configs
from run_seeds import run_seed

from twinphase_sim.physics.link import BLOCK_SECONDS, DARK, Clicks, Link, join_clicks
from twinphase_sim.physics.pulse_by_pulse import click_probabilities, clicks_pulse_by_pulse
from twinphase_sim.physics.slots import band_classes

ANY_CLASS = -1
PULSES = 1 << 18
DETECTORS = ("qL", "qR", "rL", "rR")
RESTLESS: dict[str, Any] = {
    "scene__lines": [{"arm": "b", "frequency_hz": 700.0, "amplitude_rad": 2.0}],
    "scene__power": [
        {"arm": "a", "relative_rms": 0.5, "corner_hz": 5000.0},
        {"arm": "b", "relative_rms": 0.3, "corner_hz": 2000.0},
    ],
    **{f"detectors__{name}__recovery_ns": 150.0 for name in DETECTORS},
}
"""Some 40 and 16 time constants of power in the quick run's 8 ms, and recovery of half a mean time between clicks."""
LABS = pytest.mark.parametrize("changes", [{}, RESTLESS], ids=["steady", "restless"])


@LABS
@pytest.mark.parametrize(
    ("blocks", "pulses"), [(1, 1 << 20), pytest.param(6, None, marks=pytest.mark.long)], ids=["quick", "whole blocks"]
)
def test_clicks_follow_the_probability_of_every_pulse(blocks: int, pulses: int | None, changes: dict[str, Any]) -> None:
    """Raw light clicks (before dead time) against the exact probability p of each pulse.

    Groups: channel, channel and slot class, and quintiles of p in these. A group's count has mean sum p and variance sum
    p (1 - p); about 150 groups of 30 or more expected clicks, 5.5 sigma (4e-8 each for a Gaussian, below 1e-4 in all with the
    Poisson tails). A channel's brightness is so held to about 5 % in the quick run and 2 % in the long one; a wrong sign in
    theta is far beyond both.
    """
    seed = run_seed(101)
    lab = short_lab(**changes)
    alice, bob = symbol_configs(lab)
    link = Link(lab, seed, alice, bob)
    block_pulses = round(lab.frame.pulse_rate_hz * BLOCK_SECONDS)
    sums: dict[tuple[int, int, int], np.ndarray] = {}
    for block in range(blocks):
        index = np.arange(block * block_pulses, block * block_pulses + (pulses or block_pulses))
        clicks = join_clicks(link.raw_block(block))
        clicks = clicks[(clicks.pulses != DARK) & (clicks.pulses <= index[-1])]
        probabilities = click_probabilities(lab, seed, alice, bob, index)
        slots = index % link.frame.frame_pulses // link.frame.slot_pulses
        for channel in range(4):
            count = np.bincount(clicks.pulses[clicks.channels == channel] - index[0], minlength=index.size)
            assert count.max() <= 1
            classes = band_classes(link.frame, "q" if channel < 2 else "r")[slots]
            for slot_class in [ANY_CLASS, *np.unique(classes)]:
                members = np.flatnonzero((classes == slot_class) | (slot_class == ANY_CLASS))
                p = probabilities[channel][members]
                groups = [np.arange(p.size), *np.array_split(np.argsort(p, kind="stable"), 5)]
                for number, group in enumerate(groups):
                    part = np.array([count[members[group]].sum(), p[group].sum(), (p[group] * (1 - p[group])).sum()])
                    key = (channel, int(slot_class), number)
                    sums[key] = sums.get(key, np.zeros(3)) + part
    tested = 0
    for key, (found, mean, variance) in sums.items():
        if mean == 0:
            assert found == 0, key
        elif mean >= 30:
            assert abs(found - mean) < 5.5 * np.sqrt(variance), key
            tested += 1
    assert tested > 80


def figures(clicks: Clicks, link: Link) -> dict[str, np.ndarray]:
    """Counts to compare: per channel, per channel and position in the pulse, waiting times, coincidences."""
    result: dict[str, np.ndarray] = {"channel": np.bincount(clicks.channels, minlength=4)}
    position = (clicks.times_ticks - link.start_ticks) % link.period_ticks
    for channel in range(4):
        mine = clicks.channels == channel
        result[f"position {channel}"] = np.histogram(position[mine], 8, (0, link.period_ticks))[0]
        waits = np.diff(clicks.times_ticks[mine]) // link.period_ticks
        result[f"wait {channel}"] = np.histogram(waits, [0, 5, 6, 8, 10, 20, 40, 80, 160])[0]
    for band in (0, 2):
        lit = clicks[(clicks.channels // 2 * 2 == band) & (clicks.pulses != DARK)]
        multiple = np.unique(lit.pulses, return_counts=True)[1] > 1
        result[f"coincidence {band}"] = np.array([multiple.sum()])
    result["dark"] = np.array([(clicks.pulses == DARK).sum()])
    return result


@LABS
@pytest.mark.parametrize("pulses", [PULSES, pytest.param(1 << 22, marks=pytest.mark.long)])
def test_finished_clicks_have_the_same_distribution(pulses: int, changes: dict[str, Any]) -> None:
    """Jitter, offsets, dead time, recovery and dark counts included: two samples under the same phases and symbols.

    The counts a, b of a bin are at most Poisson: sigma <= sqrt(a + b). 70 bins at 5 sigma (6e-7 each, plus one for small bins).
    """
    seed = run_seed(102)
    lab = short_lab(**{f"detectors__{name}__dark_hz": 2e5 for name in ("qL", "rR")}, **changes)
    configs = symbol_configs(lab)
    link = Link(lab, seed, *configs)
    # clicks that offsets carry across the ends are a few of 1e4; leave both out by the pulses' own numbers
    fast = figures(link.clicks(0, pulses), link)
    slow = figures(clicks_pulse_by_pulse(lab, seed, *configs, 0, pulses), link)
    for name, counts in fast.items():
        assert (np.abs(counts - slow[name]) <= 5 * np.sqrt(counts + slow[name]) + 1).all(), name
    assert fast["coincidence 0"][0] > 5
