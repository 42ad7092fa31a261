"""The figures of the delay line, each a function of sample size and seed; the tests bound them, benchmarks/tdc.py prints them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from tdc_lab import TICK_PS, Line, Linearity

from twinphase_sim.physics.tap_tables import Corner, Source
from twinphase_sim.physics.tap_truth import averaging_bound_ps, joint_bound_ps
from twinphase_sim.physics.taps import Chain, DelayLineModel

SKEW_PS = 3.0
"""Random arrival of each tap and its clock (rms), on top of the part's pattern."""
APERTURE_PS = 3.0
ROUTES_PS = 60.0
"""Routes to the chains of a channel differ by up to this."""
NOTHING = (np.zeros(0, dtype=np.int64), np.zeros(0))


def row(quantity: str, reach: str, measured: str, sample: str) -> str:
    """A line of the README's table; printed as well."""
    line = f"| {quantity} | {reach} | {measured} | {sample} |"
    print(line)
    return line


def delay_line(
    seed: int, *, chains: int = 1, lanes: int = 2, source: Source = "pattern", corner: Corner = "max", **others
) -> DelayLineModel:
    """Speed grade 5G -8: bubbles, inverted order and random skew; routes of further chains at random."""
    rng = np.random.default_rng((seed, 9))
    routes = [0.0, *rng.uniform(-ROUTES_PS, ROUTES_PS, chains - 1)]
    taps = 512 if lanes == 1 or source == "twins" else 256
    line = tuple(
        Chain(
            source=source,
            corner=corner,
            taps=taps,
            skew_tap_ps=SKEW_PS,
            offset_ps=route,
            seed=100 * seed + number,
        )
        for number, route in enumerate(routes)
    )
    return DelayLineModel(chains=line, lanes=lanes, aperture_ps=APERTURE_PS, seed=seed, **others)


@dataclass(frozen=True)
class Resolution:
    """Of a two-channel delay test, in ps per channel (rms of the difference / sqrt 2)."""

    rms: float
    """Over all delays (each with its own mean)."""
    worst: float
    """Of the delay with the largest."""
    bound: float
    """What the bins allow when the chains' centres are averaged: rms over both channels."""
    joint_bound: float
    """What the bins of all chains' borders together would allow."""


def resolution(
    seed: int,
    *,
    chains: int,
    calibration_hits: int,
    pairs: int,
    delays: int,
    source: Source = "pattern",
    corner: Corner = "max",
) -> Resolution:
    """Both channels tag the same random pulses, the second after a fixed delay; several delays, as the channels' bins have
    the same pitch and one delay alone could be a lucky one."""
    rng = np.random.default_rng((seed, 10))
    lines = [Line(delay_line(2 * seed + number, chains=chains, source=source, corner=corner)) for number in range(2)]
    for line in lines:
        line.feed_uniform(rng, calibration_hits)
        assert line.calibrations[-1].calibrated
    span = lines[0].model.span_ps
    squares = []
    for delay in 40e3 + np.arange(delays) * 1234.56:
        start = max(line.clock for line in lines) + 10
        clocks = start + np.cumsum(3 + rng.geometric(0.02, pairs))
        times = clocks * span + rng.uniform(0, span, pairs)
        found = []
        for line, shift in zip(lines, (0.0, delay), strict=True):
            # whole spans are added to the clock, so that ps keep their precision
            fractions = times - clocks * span + shift
            more = np.floor(fractions / span).astype(np.int64)
            line.feed(*NOTHING, last=True)
            edges, numbers = line.feed(clocks + more, fractions - more * span, last=True)
            line.move_to(int(clocks[-1] + more[-1]))
            found.append(edges.times_ticks)
            assert numbers.size == pairs
        difference = (found[1] - found[0]) * TICK_PS
        squares.append(difference.var() / 2)
    borders = [line.borders() for line in lines]
    both = [[bound(b, span) for b in borders] for bound in (averaging_bound_ps, joint_bound_ps)]
    average, joint = (float(np.sqrt(np.mean(np.square(values)))) for values in both)
    return Resolution(
        rms=float(np.sqrt(np.mean(squares))), worst=float(np.sqrt(max(squares))), bound=average, joint_bound=joint
    )


def inl(seed: int, *, lanes: int, hits: int, source: Source = "pattern") -> Linearity:
    """After so many random hits from reset on."""
    line = Line(delay_line(seed, lanes=lanes, source=source))
    line.feed_uniform(np.random.default_rng((seed, 11)), hits)
    return line.linearity()


@dataclass(frozen=True)
class Drift:
    """Rms calibration error in ps (over hits, mean removed), and what became of the tags."""

    rms: float
    """Over the time of the drift."""
    worst: float
    """The largest over 20 ms within it."""
    after: float
    """At the end, rms of the last half second."""
    lost: int
    """Hits without an edge."""


def drift(
    seed: int,
    *,
    lanes: int,
    sign: int,
    before: int,
    after_s: float,
    seconds: float = 2.0,
    rate: float = 1e6,
    source: Source = "pattern",
    corner: Corner = "max",
) -> Drift:
    """Common scale 2 %/s for ``seconds``, and 1 % rms of each tap's own delay by its end; then nothing for ``after_s``."""
    begin = [1e9]

    def ramp(t: np.ndarray) -> np.ndarray:
        return np.clip((t - begin[0]) / seconds, 0, 1)

    model = delay_line(
        seed,
        lanes=lanes,
        source=source,
        corner=corner,
        common=lambda t: 1 + sign * 0.02 * seconds * ramp(t),
        differential=ramp,
        drift_step_s=1e-3,
    )
    line = Line(model)
    rng = np.random.default_rng((seed, 12))
    line.feed_uniform(rng, before)
    begin[0] = line.seconds
    line.feed(*NOTHING, last=True)
    fed, edges = line.fed, line.edges
    times, errors = [], []
    while line.seconds < begin[0] + seconds + after_s:
        line.feed(*line.random_hits(rng, round(rate * 0.02), rate))
        times.append(line.seconds - begin[0])
        errors.append(line.linearity(line.seconds).rms_ps)
    line.feed(*NOTHING, last=True)
    moment, square = np.array(times), np.square(errors)
    during = moment < seconds
    end = moment > seconds + after_s - 0.5
    assert line.fed - fed > 0.9 * rate * seconds
    return Drift(
        rms=float(np.sqrt(square[during].mean())),
        worst=float(np.sqrt(square[during].max())),
        after=float(np.sqrt(square[end].mean())),
        lost=(line.fed - fed) - (line.edges - edges),
    )
