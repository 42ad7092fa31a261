"""Truth and stimulus of a scenario: phases and candidates of clicks, chunk by chunk.

The port of a click depends on the estimator's steering, so it is drawn inside the loop (`judge`) from the uniform number that
comes with every candidate. The phase is exact at each candidate and each evaluation: increments of the walk and of the
slope are drawn for the gaps between them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twinphase_spec.units import CLOCK_HZ, TICKS_PER_CLOCK

from ..physics.phase import GRID_TICKS, PhaseProcess
from .scenario import Scenario

CHUNK_CANDIDATES = 1 << 18
"""Expected candidates of a chunk: some 10 MB."""
GRID_CLOCKS = GRID_TICKS // TICKS_PER_CLOCK
CANDIDATE, EVALUATION = 0, 1


@dataclass(frozen=True)
class Stimulus:
    """Events of a chunk in the order of their clocks, arrays of shape (n,)."""

    clocks: NDArray[np.int64]
    """Clock of 125 MHz of the candidate, or of the evaluation's asking time t."""
    kinds: NDArray[np.uint8]
    """CANDIDATE or EVALUATION."""
    slots: NDArray[np.int64]
    """Slots since the start."""
    steps: NDArray[np.uint8]
    """Reference step k of the slot."""
    uniforms: NDArray[np.float64]
    """Uniform number in [0, 1): L below lambda_L / candidates, R in the next lambda_R / candidates, above that no click."""
    phases_rad: NDArray[np.float64]
    """psi at the candidate, or at t + tau of an evaluation; not wrapped."""


class PhaseWalk:
    """psi in rad at growing clocks: walk, slope walk, drift and fibre; continues from call to call."""

    def __init__(self, scenario: Scenario, seed: tuple[int, ...]) -> None:
        self._scenario = scenario
        self._rng = np.random.default_rng([*seed, 1])
        self._clock, self._phase, self._slope = 0, scenario.start_phase_rad, scenario.drift_rad_per_s
        self._fibre = None
        if scenario.fibre_rate_rms_rad_per_s:
            self._fibre = PhaseProcess(
                (*seed, 2), rate_rms=scenario.fibre_rate_rms_rad_per_s, corner_hz=scenario.fibre_corner_hz
            )
            self._fibre_start = self._fibre_at(np.zeros(1, dtype=np.int64))[0]

    def at(self, clocks: NDArray[np.int64]) -> NDArray[np.float64]:
        """psi at ``clocks``, which do not fall, in this call and from the last one on.

        Over a gap h: slope by ``n1 sqrt(Q h)``, phase by ``s h + h/2 (slope's step) + n2 sqrt(Q h^3 / 12) + n3 sqrt(D h)``.
        """
        q = self._scenario.slope_noise_rad2_per_s3
        gaps = np.diff(clocks, prepend=self._clock) / CLOCK_HZ
        steps = math.sqrt(self._scenario.diffusion_rad2_per_s) * np.sqrt(gaps) * self._rng.normal(size=gaps.size)
        if q:
            kicks = np.sqrt(q * gaps) * self._rng.normal(size=gaps.size)
            slopes = self._slope + np.cumsum(kicks)
            steps += (slopes - kicks / 2) * gaps + np.sqrt(q * gaps**3 / 12) * self._rng.normal(size=gaps.size)
            self._slope = float(slopes[-1]) if gaps.size else self._slope
        else:
            steps += self._slope * gaps
        phases = self._phase + np.cumsum(steps)
        if gaps.size:
            self._clock, self._phase = int(clocks[-1]), float(phases[-1])
        if self._fibre is not None:
            phases += self._fibre_at(clocks) - self._fibre_start
        return phases

    def _fibre_at(self, clocks: NDArray[np.int64]) -> NDArray[np.float64]:
        assert self._fibre is not None
        return self._fibre.at(clocks // GRID_CLOCKS, (clocks % GRID_CLOCKS) / GRID_CLOCKS)


def chunks(
    scenario: Scenario, *, candidates: int, evaluation_clocks: float, seed: tuple[int, ...]
) -> Iterator[Stimulus]:
    """Chunks of a run of about ``candidates`` candidates, one evaluation per ``evaluation_clocks`` at a random place in it.

    Evaluations at random places do not beat with the slots. The last tau of a chunk has none, since their truth belongs to the next.
    """
    steps = scenario.slot_steps()
    slot, opened = scenario.slot_clocks, scenario.open_clocks
    per_slot = scenario.candidate_hz / CLOCK_HZ * opened
    slots_per_chunk = math.ceil(
        max(min(candidates, CHUNK_CANDIDATES) / per_slot, 2 * scenario.delay_clocks / slot + 1) / steps.size
    )
    slots_per_chunk *= steps.size
    walk = PhaseWalk(scenario, seed)
    for number in range(math.ceil(candidates / (per_slot * slots_per_chunk))):
        rng = np.random.default_rng([*seed, 0, number])
        first = number * slots_per_chunk
        start, end = first * slot, (first + slots_per_chunk) * slot
        places = np.sort(rng.integers(0, slots_per_chunk * opened, rng.poisson(per_slot * slots_per_chunk)))
        clicks = start + places // opened * slot + places % opened
        strata = np.arange(int((end - start - scenario.delay_clocks) / evaluation_clocks))
        asked = start + ((strata + rng.uniform(size=strata.size)) * evaluation_clocks).astype(np.int64)

        truth_clocks = np.concatenate([clicks, asked + scenario.delay_clocks])
        by_truth = np.argsort(truth_clocks, kind="stable")
        phases = np.empty(truth_clocks.size)
        phases[by_truth] = walk.at(truth_clocks[by_truth])

        clocks = np.concatenate([clicks, asked])
        kinds = np.repeat(np.array([CANDIDATE, EVALUATION], dtype=np.uint8), [clicks.size, asked.size])
        order = np.argsort(clocks, kind="stable")
        clocks = clocks[order]
        slots = clocks // slot
        yield Stimulus(
            clocks=clocks,
            kinds=kinds[order],
            slots=slots,
            steps=steps[slots % steps.size],
            uniforms=rng.uniform(size=clocks.size),
            phases_rad=phases[order],
        )
