"""Synthetic phases with known parameters, as traces and as the PHASE records that a node would send."""

from __future__ import annotations

import numpy as np

from twinphase.measure.phase_trace import PhaseTrace
from twinphase_spec.packets import PHASE_DTYPE

DT = 1e-4
SUBSTEPS = 8


def trace_of(phase_rad, *, interval_s=DT, averaging_s=0.0, index=None, valid=None, variance=None):
    n = len(phase_rad)
    return PhaseTrace(
        origin_ticks=0,
        interval_s=interval_s,
        averaging_s=averaging_s,
        index=np.arange(n) if index is None else index,
        phase_rad=np.asarray(phase_rad, float),
        valid=np.ones(n, bool) if valid is None else valid,
        restart=np.zeros(n, bool),
        stretch=np.zeros(n, np.int64),
        variance_rad2=None if variance is None else np.full(n, variance),
    )


def walk_path(rng, samples, *, walk, rate_walk=0.0, noise=0.0, averaged=False, dt=DT):
    """Exact increments of the walk D and of the rate's walk Q on a grid of dt / SUBSTEPS; means over dt, or instants."""
    h, n = dt / SUBSTEPS, samples * SUBSTEPS
    first, second = rng.normal(size=(2, n))
    rate = np.concatenate(([0.0], np.cumsum(np.sqrt(rate_walk * h) * first)[:-1]))
    steps = (
        rate * h
        + np.sqrt(rate_walk) * h**1.5 * (first / 2 + second / np.sqrt(12))
        + rng.normal(size=n) * np.sqrt(walk * h)
    )
    phase = np.cumsum(steps)
    if averaged:
        phase = ((phase + np.concatenate(([0.0], phase[:-1]))) / 2).reshape(samples, SUBSTEPS).mean(1)
    else:
        phase = phase[SUBSTEPS - 1 :: SUBSTEPS]
    return phase + rng.normal(size=samples) * np.sqrt(noise)


def fibre_path(rng, samples, *, strength, corner, dt=DT, margin=2):
    """Instants, dt apart, of a phase with the density ``s / f^2 (fc / (f + fc))^2`` up to SUBSTEPS / (2 dt)."""
    n, dt = margin * samples * SUBSTEPS, dt / SUBSTEPS
    frequency = np.fft.rfftfreq(n, dt)
    rate_density = (2 * np.sin(np.pi * frequency * dt)) ** 2 * strength
    rate_density[1:] *= (corner / (frequency[1:] + corner)) ** 2 / frequency[1:] ** 2
    rate_density[0] = (2 * np.pi * dt) ** 2 * strength
    spectrum = rng.normal(size=(2, len(frequency))) * np.sqrt(rate_density * n / dt / 4)
    return np.cumsum(np.fft.irfft(spectrum[0] + 1j * spectrum[1], n)[: samples * SUBSTEPS])[::SUBSTEPS]


def phase_records(phase_rad, *, counts=400, visibility=0.97, seed=1, first_window=0, first_turns=0):
    """PHASE records of a node that sees ``phase_rad`` (one per window) through ``counts`` counts, with wrapping counters."""
    rng = np.random.default_rng(seed)
    phase = np.asarray(phase_rad, float)
    records = np.zeros(len(phase), PHASE_DTYPE)
    sigma = np.sqrt(counts / 2)
    cosine = np.round(counts * visibility / 2 * np.cos(phase) + rng.normal(0, sigma, len(phase)))
    sine = np.round(counts * visibility / 2 * np.sin(phase) + rng.normal(0, sigma, len(phase)))
    psi = np.round(np.arctan2(sine, cosine) / (2 * np.pi) * 65536).astype(np.int64)
    steps = ((np.diff(psi, prepend=0) + 32768) & 65535) - 32768
    unwrapped = np.cumsum(steps) + first_turns
    records["window"] = (first_window + np.arange(len(phase))) & 0xFFFFFFFF
    records["unwrapped_turns"] = ((unwrapped + (1 << 47)) & ((1 << 48) - 1)) - (1 << 47)
    records["psi_r_turns"] = psi & 0xFFFF
    records["flags"] = 1
    records["clicks_r"] = counts
    records["cosine_r"], records["sine_r"] = cosine, sine
    return records
