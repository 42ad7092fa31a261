"""A channel's delay line as the flip-flops see it: hits in, tap vectors or codes out, with everything that bends the scale.

Skew of the flip-flops' clock, bubbles, metastable taps, different rise and fall, several chains with their own routes, jitter
of clock and hits, and drift: a common scale and a change of single taps, both functions of time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from twinphase_sim.model.timetag.taps import Hits
from twinphase_spec.tdc import CHAINS, CHAINS_ALLOWED, ENCODER_GROUP, code_bits, has_twins, sample_order, span_ticks
from twinphase_spec.units import TICKS_PER_CLOCK

from . import tap_kernel as kernel
from .tap_tables import TILE_TAPS, Corner, Part, Source, mean_tap_ps, tap_delays_ps

CLOCK_PS = 8000.0
"""System clock of 125 MHz."""
FINAL_CLOCKS = 4
"""TDC clocks behind a hit whose transitions bear on what its own shows, and the next: its echo."""


@dataclass(frozen=True, kw_only=True)
class Chain:
    """One chain of a channel; times in ps."""

    part: Part = "5G-8"
    corner: Corner = "max"
    source: Source = "pattern"
    """Where the delays are from: four increments that repeat, the SDF of a placed chain, or that of one with twins."""
    taps: int = 256
    """Flip-flops that sample it."""
    offset_ps: float = 0.0
    """Route of the hit to this chain, less that to chain 0."""
    skew_tap_ps: float = 0.0
    """Fixed random part of tap and clock arrival per tap (rms)."""
    skew_tile_ps: float = 0.0
    """Clock of each further tile of 8 taps arrives earlier by this, so that its taps look later."""
    fall_ps: float = 0.0
    """A falling toggle reaches the first tap later by this."""
    fall_scale: float = 1.0
    """Delay along the chain of a falling toggle relative to a rising one."""
    differential_rms: float = 0.01
    """Relative change (rms) of each tap's own delay, in the carry and from there to each flip-flop, when the differential
    drift is 1."""
    seed: int = 0


def _constant(value: float) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    return lambda seconds: np.full(np.shape(seconds), value)


@dataclass(frozen=True, kw_only=True)
class DelayLineModel:
    """A channel: its chains and what they share. Drifts are functions of an array of seconds."""

    chains: tuple[Chain, ...] = (Chain(),)
    lanes: int = 2
    aperture_ps: float = 0.0
    """Width of the time around the sampling edge in which a tap resolves at random."""
    clock_jitter_ps: float = 0.0
    clock_seed: int = 0
    """Channels with the same one share the clock and its jitter."""
    hit_jitter_ps: float = 0.0
    common: Callable[[NDArray[np.float64]], NDArray[np.float64]] = field(default_factory=lambda: _constant(1.0))
    """Scale of all delays along the chain."""
    differential: Callable[[NDArray[np.float64]], NDArray[np.float64]] = field(default_factory=lambda: _constant(0.0))
    """How much of `Chain.differential_rms` has come about."""
    drift_step_s: float | None = None
    """Time over which the delays are taken as constant; None: they never change."""
    seed: int = 0

    def __post_init__(self) -> None:
        span_ticks(self.lanes)
        if len(self.chains) not in CHAINS or len({chain.taps for chain in self.chains}) != 1:
            raise ValueError(f"tap model: {len(self.chains)} chains; allowed: {CHAINS_ALLOWED} with equal taps")
        for chain in self.chains:
            code_bits(chain.taps)
        rms = {
            "aperture_ps": self.aperture_ps,
            "clock_jitter_ps": self.clock_jitter_ps,
            "hit_jitter_ps": self.hit_jitter_ps,
        }
        for name, value in rms.items():
            if not 0 <= value < self.span_ps / 16:
                raise ValueError(f"tap model: {name} is {value}; allowed: 0 to less than a sixteenth of the span")
        if self.drift_step_s is not None and self.drift_step_s <= 0:
            raise ValueError(f"tap model: drift_step_s is {self.drift_step_s}; allowed: above 0, or None")
        lengths = self.arrivals(np.zeros(1))[0].max(axis=-1)
        if lengths.min() <= self.span_ps or lengths.max() >= 2 * self.span_ps:
            raise ValueError(
                f"tap model: the chains cover {lengths.min():.0f} to {lengths.max():.0f} ps; allowed: more than the span of "
                f"{self.span_ps:.0f} ps and less than two"
            )

    @property
    def span_ps(self) -> float:
        """One TDC clock."""
        return CLOCK_PS * span_ticks(self.lanes) / TICKS_PER_CLOCK

    def arrivals(self, seconds: NDArray[np.float64]) -> NDArray[np.float64]:
        """When a toggle seems to reach each tap, after it reaches tap 0 of chain 0 (rising): ps, shape (times, chains, 2
        polarities, taps). "Seems": less the clock's skew at the tap's flip-flop."""
        common = np.asarray(self.common(seconds))[:, np.newaxis]
        differential = np.asarray(self.differential(seconds))[:, np.newaxis]
        result = np.empty((np.size(seconds), len(self.chains), 2, self.chains[0].taps))
        for number, chain in enumerate(self.chains):
            rng = np.random.default_rng((chain.seed, 71))
            index = np.array([tap for tap, _ in sample_order(chain.taps, chain.source == "twins")])
            skew = rng.normal(0, chain.skew_tap_ps, chain.taps) + chain.skew_tile_ps * (index // TILE_TAPS)
            skew -= skew[0]
            delays = tap_delays_ps(chain.part, chain.corner, chain.taps, chain.source).astype(np.float64)
            # The carry's part of the delay adds up along the chain, the way from carry to flip-flop does not.
            carry = mean_tap_ps(chain.part, chain.corner)
            factors = rng.normal(0, chain.differential_rms, (2, chain.taps))
            along_carry = np.cumsum(carry * factors[0]) - carry * factors[0, 0]
            change = along_carry[index] + (delays - carry * index) * factors[1]
            along = common * (delays + skew + differential * change)
            result[:, number, 1] = chain.offset_ps + along
            result[:, number, 0] = chain.offset_ps + chain.fall_ps + chain.fall_scale * along
        return result - result[:, :1, 1:, :1]


class TapModel:
    """The taps of one channel over a run; hits come in consecutive batches, rising in time.

    A hit is (TDC clock c, fraction in ps): it happens that long after the sampling edge of c. Both outputs see the same
    coins and jitters, and `codes` equals the encoder's model on `tap_vectors`.
    """

    def __init__(self, model: DelayLineModel):
        self.model = model
        self._rng = np.random.default_rng((model.seed, 72))
        self._clocks = np.zeros(0, dtype=np.int64)
        self._fractions = np.zeros(0)
        self._number = 0
        """Toggle number of the first hit that is kept."""
        self._done = 0
        """Of the hits that are kept, those whose codes have been given."""
        self._last_clock = -(1 << 62)
        if model.drift_step_s is None:
            self._static = self._prepared(np.zeros(1))

    def jittered(
        self, clocks: NDArray[np.int64], fractions_ps: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The hits with the model's hit jitter, fractions brought into 0 .. span; order is kept."""
        fractions = np.array(fractions_ps, dtype=np.float64)
        if self.model.hit_jitter_ps:
            fractions += self._rng.normal(0, self.model.hit_jitter_ps, fractions.size)
        carry = np.floor(fractions / self.model.span_ps).astype(np.int64)
        return np.asarray(clocks, dtype=np.int64) + carry, fractions - carry * self.model.span_ps

    def tap_vectors(
        self, clocks: NDArray[np.int64], fractions_ps: NDArray[np.float64], first_clock: int, count: int
    ) -> NDArray[np.uint8]:
        """All taps at the sampling edges of ``count`` TDC clocks, shape (count, chains, taps); 0 before the first hit.

        Takes all hits from the first toggle on, as `jittered` gave them, and knows nothing of batches.
        """
        clocks, fractions = self._checked(clocks, fractions_ps)
        model = self.model
        blocks, arrivals, _, _ = self._blocks(clocks)
        taps = np.zeros((count, len(model.chains), model.chains[0].taps), dtype=np.uint8)
        kernel.vectors(
            first_clock, clocks, fractions, blocks, arrivals, model.span_ps, model.clock_jitter_ps, model.clock_seed,
            model.aperture_ps, model.seed, taps,
        )  # fmt: skip
        return taps

    def codes(
        self,
        clocks: NDArray[np.int64],
        fractions_ps: NDArray[np.float64],
        *,
        last: bool = False,
        until_clock: int | None = None,
    ) -> tuple[Hits, NDArray[np.int64]]:
        """(hits as the tap encoder finds them, number of the input hit of each), from the next batch of hits.

        The hits of a batch's last `FINAL_CLOCKS` TDC clocks come with the next batch, or now with ``last``; so do those of as many
        before ``until_clock``, which says that no later hit is before it. Echoes are given where chains have twins. Two toggles in one
        TDC clock vanish; runts are not counted here (`tap_vectors` shows them).
        """
        clocks, fractions = self._checked(clocks, fractions_ps)
        if clocks.size:
            if clocks[0] < self._last_clock:
                raise ValueError(f"tap model: clock {clocks[0]} after {self._last_clock}; allowed: rising")
            self._last_clock = int(clocks[-1])
        if until_clock is not None:
            self._last_clock = max(self._last_clock, until_clock)
        self._clocks = np.concatenate([self._clocks, clocks])
        self._fractions = np.concatenate([self._fractions, fractions])
        stop = self._clocks.size
        if not last:
            stop = max(self._done, int(np.searchsorted(self._clocks, self._last_clock - FINAL_CLOCKS)))
        size = stop - self._done
        model = self.model
        hit_clocks = np.zeros(size, dtype=np.int64)
        polarities = np.zeros(size, dtype=np.uint8)
        codes = np.zeros((size, len(model.chains)), dtype=np.uint16)
        with_echoes = has_twins(model.chains[0].taps, model.lanes)
        echoes = np.zeros((size if with_echoes else 0, len(model.chains)), dtype=np.uint16)
        numbers = np.zeros(size, dtype=np.int64)
        found = 0
        if size:
            blocks, arrivals, ordered, simple = self._blocks(self._clocks)
            found = kernel.codes(
                self._done, stop, self._clocks, self._fractions, blocks, self._number, arrivals, ordered, simple,
                model.span_ps, model.clock_jitter_ps, model.clock_seed, model.aperture_ps, model.seed, ENCODER_GROUP,
                hit_clocks, polarities, codes, echoes, numbers,
            )  # fmt: skip
        keep = max(0, stop - 16)
        self._clocks, self._fractions = self._clocks[keep:], self._fractions[keep:]
        self._number += keep
        self._done = stop - keep
        hits = Hits(
            clocks=hit_clocks[:found],
            polarities=polarities[:found],
            codes=codes[:found],
            runt_clocks=np.zeros(0, dtype=np.int64),
            echoes=echoes[:found] if with_echoes else None,
        )
        return hits, numbers[:found]

    def _checked(
        self, clocks: NDArray[np.int64], fractions: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        clocks = np.ascontiguousarray(clocks, dtype=np.int64)
        fractions = np.ascontiguousarray(fractions, dtype=np.float64)
        if clocks.shape != fractions.shape or clocks.ndim != 1:
            raise ValueError("tap model: clocks and fractions differ in shape; allowed: one of each per hit")
        if clocks.size and (fractions.min() < 0 or fractions.max() >= self.model.span_ps):
            raise ValueError(
                f"tap model: fractions reach {fractions.min()} to {fractions.max()} ps; allowed: within the span"
            )
        steps = np.diff(clocks)
        if (steps < 0).any() or (np.diff(fractions)[steps == 0] < 0).any():
            raise ValueError("tap model: hits go back in time; allowed: rising")
        return clocks, fractions

    def _prepared(
        self, seconds: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
        """Arrivals; those of taps 1 .. in order with +inf behind; and whether the encoder's groups are reached in order."""
        arrivals = self.model.arrivals(seconds)
        ordered = np.full(arrivals.shape, np.inf)
        ordered[..., :-1] = np.sort(arrivals[..., 1:], axis=-1)
        groups = arrivals.reshape(*arrivals.shape[:-1], -1, ENCODER_GROUP).copy()
        groups[..., 0, 0] = np.inf
        rising = np.diff(groups.min(axis=-1), axis=-1) > self.model.aperture_ps
        return arrivals, ordered, rising.all(axis=(2, 3))

    def _blocks(
        self, clocks: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
        step = self.model.drift_step_s
        if step is None:
            return np.zeros(clocks.size, dtype=np.int64), *self._static
        clocks_per_block = max(1, round(step / (self.model.span_ps * 1e-12)))
        numbers, blocks = np.unique(clocks // clocks_per_block, return_inverse=True)
        seconds = ((numbers + 0.5) * clocks_per_block * self.model.span_ps * 1e-12).astype(np.float64)
        return blocks.astype(np.int64), *self._prepared(seconds)
