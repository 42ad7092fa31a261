"""TRACK records of a click tracker in floating point that follows a known phase by drawn clicks."""

from __future__ import annotations

import math

import numba
import numpy as np

from twinphase_spec.packets import TRACK_DTYPE

CLOCK_HZ = 125e6
STEP_CLOCKS = 1 << 13
STEP_S = STEP_CLOCKS / CLOCK_HZ


@numba.njit
def _follow(psi, substeps, h, clicks_per_s, visibility, growth, kappa, p_start, rng):
    """State at the start of each record; ``psi``: the phase on a grid of h / substeps."""
    records = psi.size // substeps
    states = np.zeros((records, 4))
    phase, slope, p, clicks, at = psi[0] + 0.1, 0.0, p_start, 0, 0.0
    grid = h / substeps
    wait = rng.exponential(1 / clicks_per_s)
    for k in range(records):
        start = k * h
        phase, p = phase + slope * (start - at), p + growth * (start - at)
        at = start
        states[k, 0], states[k, 1], states[k, 2], states[k, 3] = phase, slope, p, clicks
        clicks = 0
        while at + wait < start + h:
            at += wait
            phase, p = phase + slope * wait, p + growth * wait
            wait = rng.exponential(1 / clicks_per_s)
            r = math.floor(4 * rng.random()) * math.pi / 2
            true = psi[min(int(at / grid), psi.size - 1)] + r
            sign = 1.0 if rng.random() < (1 + visibility * math.cos(true)) / 2 else -1.0
            v = sign * visibility * (1 - p / 2)
            z = 1 + v * math.cos(phase + r)
            score = -v * math.sin(phase + r) / z
            information = v * (math.cos(phase + r) + v) / z**2
            phase, slope = phase + p * score, slope + kappa * p * score
            p = max(p - p * p * information, p_start / 4)
            clicks += 1
        wait -= start + h - at
    return states


def follow(psi, substeps, *, clicks_per_s, visibility=0.98, diffusion, slope_noise=0.0, seed=1):
    """(phase, slope in rad/s, variance, clicks before it) at the start of each record."""
    j = clicks_per_s * (1 - math.sqrt(1 - visibility**2))
    p12 = math.sqrt(slope_noise / j)
    p11 = math.sqrt((diffusion + 2 * p12) / j)
    return _follow(
        np.asarray(psi),
        substeps,
        STEP_S,
        clicks_per_s,
        visibility,
        diffusion + 2 * p12,
        p12 / p11,
        p11,
        np.random.default_rng(seed),
    )


def track_records(states, *, channel=0, visibility=0.98, first_clock=1 << 33, locked=True, first_turns=0):
    """One record per row of ``states``, as the node would send them."""
    count = len(states)
    records = np.zeros(count, TRACK_DTYPE)
    clock = first_clock + STEP_CLOCKS * np.arange(count, dtype=np.int64)
    records["clock_low"] = clock & 0xFFFFFFFF
    records["clock_high_channel"] = clock >> 32 | channel << 24 | np.uint32(bool(locked)) << 30
    records["phase_turns"] = np.rint(states[:, 0] / (2 * np.pi) * 2**32).astype(np.int64) + (first_turns << 32)
    records["slope"] = np.rint(states[:, 1] / (2 * np.pi) / CLOCK_HZ * 2**42)
    records["variance"] = np.rint(states[:, 2] / (2 * np.pi) * 2**34)
    records["visibility"] = round(visibility * 2**16)
    records["clicks"] = states[:, 3]
    return records


def flag(records, places, *, locked=None, broke=None):
    """Set or clear flags of some records."""
    for bit, value in ((30, locked), (31, broke)):
        if value is not None:
            mask = np.uint32(1 << bit)
            high = records["clock_high_channel"]
            high[places] = high[places] | mask if value else high[places] & ~mask
    return records
