"""A delay line under test: the tap model in front of the bit-exact model, and the truth to compare with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from twinphase_sim.model.timetag.calibration import Calibration
from twinphase_sim.model.timetag.delayline import DelayLine, Edges
from twinphase_sim.model.timetag.finetime import scaled
from twinphase_sim.physics.tap_truth import bin_borders_ps, bin_centres_ps
from twinphase_sim.physics.taps import DelayLineModel, TapModel
from twinphase_spec.tdc import DEFAULT_CAL_LAST, DEFAULT_CAL_STEP

QUARTER_PS = 125 / 128 / 4
TICK_PS = 125 / 128


@dataclass(frozen=True)
class Linearity:
    """Error of a table, calibrated centre less true centre per code, mean removed, in ps."""

    rms_ps: float
    """Over hits."""
    max_ps: float
    """Over codes with at least a thousandth of the hits of an average code."""
    raw_rms_ps: float
    """The same for codes taken as equally wide, rms over hits."""
    raw_max_ps: float


class Line:
    """One channel: taps, encoder, calibrators. Hits go in, edges come out."""

    def __init__(
        self, model: DelayLineModel, *, shared: bool = True, step: int = DEFAULT_CAL_STEP, last: int = DEFAULT_CAL_LAST
    ):
        self.model = model
        self.taps = TapModel(model)
        self.calibrations = [
            Calibration(taps=chain.taps, lanes=model.lanes, step=step, last=last, shared=shared)
            for chain in model.chains
        ]
        self.line = DelayLine(self.calibrations)
        self.fed = 0
        self.hits = 0
        self.edges = 0
        self.uncalibrated = 0
        self.clock = 0

    def feed(self, clocks: np.ndarray, fractions: np.ndarray, *, last: bool = False) -> tuple[Edges, np.ndarray]:
        """(edges, number of the hit that each is from)."""
        self.fed += np.size(clocks)
        hits, numbers = self.taps.codes(*self.taps.jittered(clocks, fractions), last=last)
        edges = self.line.edges(hits)
        self.hits += hits.size
        self.edges += edges.clocks.size
        self.uncalibrated += edges.uncalibrated
        return edges, numbers[edges.hits]

    def feed_uniform(self, rng: np.random.Generator, hits: int, rate: float = 2e7) -> None:
        """Random hits, in batches; gaps of at least three TDC clocks and Poisson beyond."""
        for size in batches(hits):
            self.feed(*self.random_hits(rng, size, rate))

    def settle(self) -> None:
        """Lets a busy time pass without hits."""
        self.feed(np.zeros(0, dtype=np.int64), np.zeros(0), last=True)
        for calibration in self.calibrations:
            calibration.advance(calibration.now + calibration.busy_clocks + 1)
            self.clock = max(self.clock, (calibration.now + 2) * self.model.lanes)

    def move_to(self, clock: int) -> None:
        """Random hits go on after this TDC clock."""
        self.clock = clock

    @property
    def seconds(self) -> float:
        """Time of the last hit drawn."""
        return self.clock * self.model.span_ps * 1e-12

    def random_hits(self, rng: np.random.Generator, hits: int, rate: float) -> tuple[np.ndarray, np.ndarray]:
        """The next hits in time, at a rate per second."""
        mean = 1e12 / rate / self.model.span_ps
        gaps = 3 + rng.geometric(1 / max(1, mean - 3), hits)
        clocks = self.clock + np.cumsum(gaps)
        self.clock = int(clocks[-1])
        return clocks, rng.uniform(0, self.model.span_ps, hits)

    def linearity(self, seconds: float = 0.0, chain: int = 0, polarity: int = 0) -> Linearity:
        """Of one chain's table and scale as they are now, against its bins at a time."""
        calibration = self.calibrations[chain]
        borders = self.borders(seconds)[chain]
        x = calibration.acting_table[polarity]
        y = np.minimum(scaled(x, calibration.sigma) * QUARTER_PS, self.model.span_ps)  # as the fine time ends there
        return linearity_of(y, borders)

    def borders(self, seconds: float = 0.0) -> list[np.ndarray]:
        arrivals = self.model.arrivals(np.array([seconds]))[0]
        return [bin_borders_ps(arrivals[chain, 1], self.model.span_ps) for chain in range(len(self.model.chains))]


def linearity_of(calibrated_ps: np.ndarray, borders: np.ndarray) -> Linearity:
    """Of centres per code against true bins."""
    widths = np.diff(borders)
    true = bin_centres_ps(borders)
    used = widths > 0
    codes = np.arange(widths.size)[used]
    weights = widths[used] / widths.sum()
    frequent = weights * used.sum() > 1e-3

    def errors(values: np.ndarray) -> tuple[float, float]:
        error = values - true[used]
        error = error - (error * weights).sum()
        return float(np.sqrt((error**2 * weights).sum())), float(np.abs(error[frequent]).max())

    rms, most = errors(calibrated_ps[used])
    slope = np.polyfit(codes, true[used], 1, w=np.sqrt(weights))
    raw_rms, raw_most = errors(np.polyval(slope, codes))
    return Linearity(rms_ps=rms, max_ps=most, raw_rms_ps=raw_rms, raw_max_ps=raw_most)


def batches(hits: int, size: int = 1 << 20) -> list[int]:
    """Sizes of the parts of so many hits."""
    return [min(size, hits - begun) for begun in range(0, hits, size)]
