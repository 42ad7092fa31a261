"""Three estimates of the same phase at the heralds, side by side: smoothed clicks, causal clicks, atan2 windows.

Each is judged by the physics' truth: its error at the heralds, the share of heralds that have it, and the X events that it would keep
and get wrong. `perfect` is the truth itself in the place of an estimate: what it leaves is not the phase's fault.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinphase.batch import Batch
from twinphase.measure.track_status import track_status
from twinphase.measure.track_trace import TrackTracer
from twinphase.theory.keyrate import phase_noise_error
from twinphase.theory.statistics import clopper_pearson
from twinphase.theory.two_bands import Motion, two_band_causal_mse, two_band_smoothed_mse
from twinphase_spec import sns
from twinphase_spec.configure import ratio_register, slice_width_turns
from twinphase_spec.frame import FrameConfig
from twinphase_spec.fringe_phases import FringePhases
from twinphase_spec.lab import Lab
from twinphase_spec.packets import FLAG_D_VALID, FLAG_R_VALID, Stream
from twinphase_spec.phase_noise_design import PhaseNoise, differential_noise, reference_noise
from twinphase_spec.reference_light import reference_light
from twinphase_spec.smoothing import CHANNELS
from twinphase_spec.track_setup import TrackSetup
from twinphase_spec.units import CLOCK_HZ, HALF_TURN, TURN

from .receive import Received

BOTH_VALID = FLAG_R_VALID | FLAG_D_VALID
SMOOTHED, CAUSAL, WINDOWS, PERFECT = "smoothed clicks", "causal clicks", "windows", "perfect phase"


@dataclass(frozen=True)
class PsiEstimate:
    """psi_q by herald number: 2^-16 turn, and whether there is one."""

    turns: NDArray[np.uint16]
    valid: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class EstimateFigures:
    """What an estimate came to. rad, fractions; nan where there was no event."""

    name: str
    valid_fraction: float
    """Of the heralds for which it had come."""
    rms_rad: float
    bound_rad: float
    """Least error of any estimator of its kind that sees the same clicks; of windows that of smoothing, which they could be."""
    phase_qber: float
    """``(1 - e^(-sigma^2/2))/2``, about sigma^2/4, of the measured error: what it adds to a perfect fringe."""
    x_events: int
    x_kept: int
    kept_fraction: float
    x_qber: float
    x_qber_ci95: tuple[float, float]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def from_records(records: NDArray[Any], heralds: int) -> PsiEstimate:
    """Of PSI or PSI_CAUSAL records."""
    turns, valid = np.zeros(heralds, np.uint16), np.zeros(heralds, np.bool_)
    known = records[records["number"] < heralds]
    turns[known["number"]] = known["psi_turns"]
    valid[known["number"]] = known["flags"] & BOTH_VALID == BOTH_VALID
    return PsiEstimate(turns, valid)


def from_windows(
    phase: NDArray[Any], dphase: NDArray[Any], pulses: NDArray[np.uint64], lab: Lab, frame: FrameConfig
) -> PsiEstimate:
    """``psi_rq(w) + psi_d(W)`` of each herald's window and d-window (docs/contract.md, psi join), from the windows' own records."""
    window = (pulses // np.uint64(frame.window_pulses)).astype(np.int64)
    dwindow = window // frame.windows_per_dwindow
    closed = (window < phase.size) & (dwindow < dphase.size)
    window, dwindow = np.where(closed, window, 0), np.where(closed, dwindow, 0)
    turns, valid = np.zeros(pulses.size, np.uint16), closed.copy()
    if phase.size and dphase.size:
        unwrapped = phase["unwrapped_turns"].astype(np.int64)
        psi_rq = unwrapped + (unwrapped * ratio_register(lab) >> 32)
        turns = (psi_rq[window] + dphase["psi_d_turns"].astype(np.int64)[dwindow] & TURN - 1).astype(np.uint16)
        flags = phase["flags"][window] & FLAG_R_VALID | dphase["flags"][dwindow] & FLAG_D_VALID
        valid &= flags == BOTH_VALID
    return PsiEstimate(turns, valid)


def residual_rad(estimate: PsiEstimate, truth_turns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Error of the valid ones, in (-pi, pi]."""
    error = estimate.turns[estimate.valid] / TURN - truth_turns[estimate.valid]
    return ((error + 0.5) % 1 - 0.5) * 2 * np.pi


def bounds_rad(lab: Lab, setup: TrackSetup, *, four_phase: bool = False) -> dict[str, float]:
    """Least RMS error of psi_q by estimate. Scenes are left out: what lines, trucks and knocks add comes on top.

    For the phases of the fringe at which the lab's light is held, or with ``four_phase`` for as many clicks under four equal steps that
    nothing holds.
    """
    r, d = (_motion(noise(lab)) for noise in (reference_noise, differential_noise))
    steered = setup.channels[0]
    light_r = reference_light(lab, "r") if steered is None else steered.light
    if four_phase:
        light_r = replace(light_r, phases=FringePhases(parts=(0.25, 0.25, 0.25, 0.25)))
    rates = light_r.fisher_hz, reference_light(lab, "q").fisher_hz
    if min(rates) <= 0:
        return {**dict.fromkeys((SMOOTHED, CAUSAL, WINDOWS), math.inf), PERFECT: 0.0}
    age_s = 1.5 * (1 << setup.epoch_bits) / CLOCK_HZ
    smoothed = math.sqrt(two_band_smoothed_mse(r, rates[0], d, rates[1]))
    causal = math.sqrt(two_band_causal_mse(r, rates[0], d, rates[1], age_s))
    return {SMOOTHED: smoothed, CAUSAL: causal, WINDOWS: smoothed, PERFECT: 0.0}


def figures_of(
    name: str,
    estimate: PsiEstimate,
    truth_turns: NDArray[np.float64],
    sifted: NDArray[Any],
    lab: Lab,
    bound_rad: float,
) -> EstimateFigures:
    """Judge one estimate; ``sifted`` are X records of `with_own_slices`."""
    error = residual_rad(estimate, truth_turns)
    rms = float(np.sqrt(np.mean(error**2))) if error.size else math.nan
    seen = _of_pairs(estimate) if lab.protocol.pair_span_pulses else estimate
    kept, wrong, events = _sift(seen, sifted, slice_width_turns(lab))
    return EstimateFigures(
        name=name,
        valid_fraction=float(estimate.valid.mean()) if estimate.valid.size else math.nan,
        rms_rad=rms,
        bound_rad=bound_rad,
        phase_qber=phase_noise_error(rms),
        x_events=events,
        x_kept=kept,
        kept_fraction=kept / events if events else math.nan,
        x_qber=wrong / kept if kept else math.nan,
        x_qber_ci95=clopper_pearson(wrong, kept),
    )


def perfect(truth_turns: NDArray[np.float64]) -> PsiEstimate:
    """The truth as an estimate."""
    turns = (np.rint(truth_turns % 1 * TURN).astype(np.int64) & TURN - 1).astype(np.uint16)
    return PsiEstimate(turns, np.ones(turns.size, np.bool_))


def track_figures(received: Received, setup: TrackSetup) -> list[dict[str, Any]]:
    """`TrackTracer.figures` of both channels, of all TRACK records received, with `track_status` of the last counters as ``status``."""
    tracers = [
        TrackTracer(step_clocks=1 << (setup.epoch_bits + setup.every_bits), channel=channel)
        for channel in range(len(CHANNELS))
    ]
    for tracer in tracers:
        tracer.update(Batch(records={Stream.TRACK: received.records[Stream.TRACK]}))
    status = track_status(received.counters, setup.epoch_bits)
    return [
        tracer.figures() | {"status": status[channel] if status else None} for channel, tracer in enumerate(tracers)
    ]


def _of_pairs(estimate: PsiEstimate) -> PsiEstimate:
    """Of each herald, what it is as the second of a pair: psi less that of the herald before."""
    turns, valid = estimate.turns, estimate.valid
    return PsiEstimate(turns - np.roll(turns, 1), valid & np.roll(valid, 1))


def _sift(estimate: PsiEstimate, sifted: NDArray[Any], width_turns: int) -> tuple[int, int, int]:
    """(kept, wrong, all) X events with this psi, by the slice test of `sns`."""
    x = sifted[sifted["word"] & sns.SIFTED_X != 0]
    word, number = x["word"].astype(np.int64), x["number"]
    alice, bob = word >> sns.SIFTED_OWN_SLICE_SHIFT & 15, word >> sns.SIFTED_PEER_SLICE_SHIFT & 15
    shifted = ((alice - bob) * 4096 + estimate.turns[number].astype(np.int64) + (width_turns >> 1)) & TURN - 1
    kept = estimate.valid[number] & (shifted % HALF_TURN <= width_turns)
    expected_right = shifted >= HALF_TURN
    wrong = kept & ((word & sns.SIFTED_DETECTOR != 0) != expected_right)
    return int(kept.sum()), int(wrong.sum()), int(x.size)


def _motion(noise: PhaseNoise) -> Motion:
    return Motion(
        diffusion=noise.diffusion_rad2_per_s,
        rate_rms_rad_per_s=noise.rate_rms_rad_per_s,
        corner_hz=noise.corner_hz,
    )
