"""Finds which pulse of each client arrives when: the offset of both arms in whole pulses, from the clicks of a server's reference band.

The frame is the known pattern. An arm's reference is on in REF(k) slots and in its own one-sided slots and off in all others, and
what both ports of the beam splitter see together has no fringe. So with arms that come m_A and m_B pulses late the clicks over the
places l of the frame are Poisson with mean ``u a(l - m_A) + v b(l - m_B) + c``, a and b 0 or 1. All (m_A, m_B) within reach are tried by
least squares, the best again by their likelihood; the logarithm of its ratio to any other's is the evidence (docs/alignment.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinphase_spec.frame import FrameConfig, SlotClass
from twinphase_spec.packets import Stream
from twinphase_spec.units import TICKS_PER_CLOCK, TICKS_PER_SECOND

from ..batch import Batch
from ..errors import TwinphaseError

REFERENCE_CHANNELS = (2, 3)
FRACTIONS = 16
"""Parts of a period in which clicks are counted."""
MOST_PULSES = 1 << 20
REACH = 64
MOST_REACH = 512
"""All pairs of offsets are tried: a million of them."""
EVIDENCE_NAT = 12.0
"""What a single wrong offset must be less likely by; the number of them comes on top."""
FEW = 12
"""Rivals whose likelihood is looked at."""
FIT_STEPS = 60
ALIKE = 0.98
"""Correlation of two patterns that are one, or one the other's complement, but for little."""
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class PulseOffset:
    """One arm: its light comes ``pulses`` whole pulses and ``fraction_ps`` (-P/2 to P/2) after its place."""

    arm: str
    pulses: int
    fraction_ps: float
    error_ps: float
    """Standard error of the fraction, clicks taken to fill a sixteenth of the period."""
    evidence_nat: float

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return dict(vars(self))


def light(frame: FrameConfig, arm: str) -> NDArray[np.bool_]:
    """Where in the frame, pulse by pulse, an arm's light in the reference band is on."""
    classes = np.array(frame.table, np.uint8) >> np.uint8(4)
    own = SlotClass.REF_A if arm == "a" else SlotClass.REF_B
    on = (classes == own) | ((classes >= SlotClass.REF0) & (classes <= SlotClass.REF3))
    return np.repeat(on, frame.slot_pulses)


def _alone(one: Floats, other: Floats) -> NDArray[np.bool_]:
    """Places where only one arm is on; without those beside the other's light, which may reach over, if any are left."""
    near = (other + np.roll(other, 1) + np.roll(other, -1)) > 0
    clear = (one == 1) & ~near
    return clear if clear.any() else (one == 1) & (other == 0)


class PulseIndex:
    """Collects clicks of a server whose frame is ``frame``; `find` says the offsets, up to ``reach`` pulses either way.

    Raises TwinphaseError for a frame that cannot tell them: without one-sided slots, or with slots that repeat within reach.
    """

    def __init__(self, frame: FrameConfig, *, reach: int = REACH) -> None:
        self.frame = frame
        length = frame.frame_pulses
        most = min(MOST_REACH, (length - 1) // 2)
        if not 1 <= reach <= most:
            raise TwinphaseError(
                f"a reach of {reach} pulses does not fit the frame of {length}; allowed: 1 to {most} (less than half a frame, at most "
                f"{MOST_REACH})"
            )
        if length > MOST_PULSES:
            raise TwinphaseError(f"a frame of {length} pulses is too long to be searched; allowed: up to {MOST_PULSES}")
        self.reach = reach
        self._on = {arm: light(frame, arm).astype(np.float64) for arm in "ab"}
        self._check_pattern()
        self._counts = np.zeros((length, FRACTIONS), np.int64)

    @property
    def clicks(self) -> int:
        """Clicks so far."""
        return int(self._counts.sum())

    def update(self, batch: Batch) -> None:
        """Take in a batch's tags."""
        tags = batch.get(Stream.TAG)
        if tags is not None:
            self.add(tags["time_ticks"][np.isin(tags["channel"], REFERENCE_CHANNELS)])

    def add(self, times_ticks: NDArray[np.int64]) -> None:
        """Clicks of the reference band by their tags' times; those before the frame's start do not count."""
        since = times_ticks.astype(np.int64) - self.frame.start_clock * TICKS_PER_CLOCK
        since = since[since >= 0]
        whole, part = divmod(self.frame.frame_pulses * self.frame.period_q32, 1 << 32)
        frames = (since / (whole + part / 2**32)).astype(np.int64)
        inside = since - frames * whole - (frames * part >> 32)
        place = np.floor(inside * (FRACTIONS * 2**32 / self.frame.period_q32)).astype(np.int64) % self._counts.size
        self._counts += np.bincount(place, minlength=self._counts.size).reshape(self._counts.shape)

    def find(self) -> tuple[PulseOffset, PulseOffset]:
        """Offsets of both arms. Raises TwinphaseError while the clicks do not tell, which says how far they are."""
        # A pulse that straddles two places is found with places that begin half a period later.
        half = FRACTIONS // 2
        later = np.concatenate([self._counts[:, half:], np.roll(self._counts[:, :half], -1, axis=0)], axis=1)
        tried = [self._search(counts) for counts in (self._counts, later)]
        found = []
        for k, arm in enumerate("ab"):
            shift = min((0, 1), key=lambda s: self._edge_share(tried[s], k))
            offsets, evidence, own = tried[shift][0], tried[shift][1][k], tried[shift][2][k]
            needed = EVIDENCE_NAT + 2 * math.log(2 * self.reach + 1)
            if evidence < needed:
                raise TwinphaseError(
                    f"arm {arm.upper()}: {self.clicks} clicks of the reference band tell its pulse by {evidence:.1f} nat, {needed:.1f} "
                    f"are needed: measure longer, or look beyond {self.reach} pulses"
                )
            period_ps = self.frame.period_q32 / 2**32 * 1e12 / TICKS_PER_SECOND
            middles = (np.arange(FRACTIONS) + 0.5) / FRACTIONS
            mean = float((own * middles).sum() / own.sum())
            spread = float((own * (middles - mean) ** 2).sum() / own.sum()) + 1 / (12 * FRACTIONS**2)
            total = offsets[k] + shift / 2 + mean - 0.5
            pulses = math.floor(total + 0.5)
            found.append(
                PulseOffset(
                    arm=arm,
                    pulses=pulses,
                    fraction_ps=(total - pulses) * period_ps,
                    error_ps=math.sqrt(spread / own.sum()) * period_ps,
                    evidence_nat=evidence,
                )
            )
        return found[0], found[1]

    @staticmethod
    def _edge_share(tried: tuple[Any, Any, list[Floats]], arm: int) -> float:
        """Part of an arm's clicks in the outer quarters of the place."""
        own = tried[2][arm]
        quarter = FRACTIONS // 4
        return float(1 - own[quarter:-quarter].sum() / max(1.0, own.sum()))

    def _search(self, counts: NDArray[np.int64]) -> tuple[tuple[int, int], tuple[float, float], list[Floats]]:
        """((m_A, m_B), evidence of each, clicks of each arm alone by their part of the period)."""
        profile = counts.sum(axis=1).astype(np.float64)
        left = self._residual(profile)
        best = np.unravel_index(int(np.argmin(left)), left.shape)
        likelihood = self._likelihood(profile, best)
        evidence = []
        for axis in range(2):
            rivals = left.copy()
            rivals[(best[0], slice(None)) if axis == 0 else (slice(None), best[1])] = np.inf
            few = np.argpartition(rivals, min(FEW, rivals.size - 1), axis=None)[:FEW]
            others = [np.unravel_index(int(flat), left.shape) for flat in few if np.isfinite(rivals.flat[flat])]
            evidence.append(likelihood - max(self._likelihood(profile, other) for other in others))
        offsets = int(best[0]) - self.reach, int(best[1]) - self.reach
        a, b = (np.roll(self._on[arm], offset) for arm, offset in zip("ab", offsets, strict=True))
        own = [counts[_alone(one, other)].sum(axis=0).astype(np.float64) for one, other in ((a, b), (b, a))]
        return offsets, (evidence[0], evidence[1]), own

    def _residual(self, profile: Floats) -> Floats:
        """Squares left by the best u, v, c, for every (m_A, m_B); infinite where light would have to be negative."""
        a, b, h = (values - values.mean() for values in (self._on["a"], self._on["b"], profile))
        spectra = [np.fft.rfft(values) for values in (a, b, h)]
        lags = np.arange(-self.reach, self.reach + 1)
        along = [np.fft.irfft(spectra[2] * spectra[k].conj(), h.size)[lags][:, None] for k in range(2)]
        of_a, of_b = along[0], along[1].T
        cross = np.fft.irfft(spectra[1].conj() * spectra[0], h.size)[lags[None, :] - lags[:, None]]
        power_a, power_b = float(a @ a), float(b @ b)
        determinant = np.maximum(power_a * power_b - cross**2, 1e-9 * power_a * power_b)
        u, v = (of_a * power_b - of_b * cross) / determinant, (of_b * power_a - of_a * cross) / determinant
        return np.where((u > 0) & (v > 0), float(h @ h) - u * of_a - v * of_b, np.inf)

    def _likelihood(self, profile: Floats, place: tuple[Any, ...]) -> float:
        """Largest logarithm of the Poisson likelihood at an offset, over u, v and c, without what is common to all."""
        parts = np.stack(
            [
                *(np.roll(self._on[arm], int(place[k]) - self.reach) for k, arm in enumerate("ab")),
                np.ones(profile.size),
            ]
        )
        sizes = parts.sum(axis=1)
        means = np.full(3, max(float(profile.mean()), 1e-12))
        for _ in range(FIT_STEPS):
            means *= (parts @ (profile / (means @ parts))) / sizes
            means = np.maximum(means, 1e-12)
        fitted = means @ parts
        return float(profile @ np.log(fitted) - fitted.sum())

    def _check_pattern(self) -> None:
        """Two lights of the frame itself must fit nowhere else within reach."""
        a, b = self._on["a"], self._on["b"]
        for arm, one, other in (("A", a, b), ("B", b, a)):
            if not ((one == 1) & (other == 0)).any():
                raise TwinphaseError(
                    f"the frame has no slots in which only arm {arm} sends a reference: pulses cannot be told; add REF_{arm} slots to "
                    "the reference band"
                )
        alike = np.fft.irfft(np.fft.rfft(a - a.mean()).conj() * np.fft.rfft(b - b.mean()), a.size)
        if np.abs(alike).max() > ALIKE * a.size * math.sqrt(a.var() * b.var()):
            raise TwinphaseError(
                "the frame's REF_A and REF_B slots look the same, one later than the other: arms cannot be told; make them differ"
            )
        left = self._residual(a + b)
        left[self.reach, self.reach] = np.inf
        twin = np.unravel_index(int(np.argmin(left)), left.shape)
        if left[twin] < 0.25:
            m = tuple(int(k) - self.reach for k in twin)
            raise TwinphaseError(
                f"the frame's one-sided slots look the same with the arms {m[0]} and {m[1]} pulses late: pulses cannot be told within "
                f"{self.reach}; make the slots' pattern aperiodic or look less far"
            )
