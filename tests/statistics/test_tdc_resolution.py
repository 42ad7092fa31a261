"""Single-shot resolution of the delay line in a two-channel delay test, on the bit-exact model behind the tap model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from run_seeds import run_seed
from tdc_figures import Resolution, delay_line, resolution, row

from twinphase_sim.physics.tap_tables import Corner
from twinphase_sim.physics.tap_truth import averaging_bound_ps, bin_borders_ps

LONG = pytest.mark.long


def measured(
    what: str, reach: float, *, chains: int, calibration_hits: int, pairs: int, delays: int, **taps: Any
) -> Resolution:
    """`resolution` from the run's seed, and its row."""
    got = resolution(run_seed(1), chains=chains, calibration_hits=calibration_hits, pairs=pairs, delays=delays, **taps)
    row(
        f"single-shot rms, 5G -8, {chains} chain{'s' * (chains > 1)}{what}",
        f"{reach:g} ps, 1.1 of the bound",
        f"{got.rms:.2f} ps (worst delay {got.worst:.2f}); {got.rms / got.bound:.3f} of {got.bound:.2f} ps; "
        f"joint bins {got.joint_bound:.2f}",
        f"{pairs * delays} pairs, {delays} delays, calibrated with {calibration_hits:.3g}",
    )
    return got


@pytest.mark.parametrize(
    ("chains", "reach", "calibration_hits", "pairs", "delays"),
    [
        (1, 8.0, (1 << 21) + 10_000, 2_000, 8),
        pytest.param(1, 8.0, 10_000_000, 20_000, 50, marks=LONG),
        pytest.param(2, 5.7, 10_000_000, 20_000, 50, marks=LONG),
        pytest.param(4, 4.0, 10_000_000, 20_000, 50, marks=LONG),
    ],
)
def test_two_channels_see_one_delay(chains: int, reach: float, calibration_hits: int, pairs: int, delays: int) -> None:
    """rms of t2 - t1 over sqrt 2, speed grade 5G -8 with bubbles and inverted taps.

    Below ``reach``, the worst delay included, and within 1.1 of the quantisation bound: the rms error of the mean of the
    chains' bin centres for a uniform hit (one chain: sqrt(sum w^3 / 12 S)). Averaging is what the gateware does; the bound of
    all borders together is printed, too. The difference is bounded by the bins, so its variance from ``pairs * delays`` pairs
    is known to sqrt(2 / n), 1.1 % in the quick run: 5 sigma are 2.8 % of the rms.
    """
    got = measured(
        ", taps by timing reports",
        reach,
        chains=chains,
        calibration_hits=calibration_hits,
        pairs=pairs,
        delays=delays,
    )
    assert got.worst < reach
    assert got.rms < 1.1 * got.bound
    # nothing reads better than its bins; the difference's error cannot be smaller than 0.95 of the bound by chance
    assert got.rms > 0.95 * got.bound


@pytest.mark.parametrize(
    ("corner", "chains", "most", "calibration_hits", "pairs", "delays"),
    [
        ("typ", 1, 10.9, (1 << 21) + 10_000, 2_000, 8),
        *(
            pytest.param(corner, chains, most, 10_000_000, 20_000, 50, marks=LONG)
            for chains, bounds in ((1, (8.0, 10.9, 8.8)), (4, (5.0, 6.8, 5.5)), (8, (3.9, 6.7, 4.2)))
            for corner, most in zip(("min", "typ", "max"), bounds, strict=True)
        ),
    ],
)
def test_two_channels_by_the_taps_of_the_sdf(
    corner: Corner, chains: int, most: float, calibration_hits: int, pairs: int, delays: int
) -> None:
    """The same with the delays of a placed chain's SDF, whose figure for one chain meets 8 ps at the fastest corner only, and
    whose four chains meet 4 ps at none.

    At the typical corner taps come in pairs 2 ps apart (sum outputs and wires of a cell's two taps happen to differ by the
    carry's delay), so that half of the bins are nearly nothing and the others about 41 ps: 10.6 ps, 10.4 with 3 ps of skew
    (8.4 at the slowest corner, 7.6 at the fastest). This is the tool's model; silicon decides. What the conversion owes is 1.1
    of the bins' bound. ``most``: 1.05 of these for one chain; four chains, whose bins have one pitch and may lie on each other,
    average to 0.55 of it here, and 0.65 is allowed; for eight, 1.1 of the largest bound of 250 draws of their routes (below).
    """
    got = measured(
        f", taps by the SDF, corner {corner}",
        8 if chains == 1 else 4,
        chains=chains,
        calibration_hits=calibration_hits,
        pairs=pairs,
        delays=delays,
        source="sdf",
        corner=corner,
    )
    assert got.rms < most
    assert 0.95 * got.bound < got.rms < 1.1 * got.bound


@pytest.mark.parametrize(
    ("corner", "chains", "calibration_hits", "pairs", "delays"),
    [
        ("typ", 1, (1 << 21) + 100_000, 2_000, 8),
        *(
            pytest.param(corner, chains, 10_000_000, 20_000, 50, marks=LONG)
            for chains in (1, 4)
            for corner in ("min", "typ", "max")
        ),
    ],
)
def test_two_channels_by_taps_with_twins(
    corner: Corner, chains: int, calibration_hits: int, pairs: int, delays: int
) -> None:
    """The same with two flip-flops for each tap: below 8 ps (4 ps with four chains), the worst delay included, at every corner of the
    SDF, and within 1.1 of the bound of the bins."""
    reach = 8.0 if chains == 1 else 4.0
    got = measured(
        f" with twins, taps by the SDF, corner {corner}",
        reach,
        chains=chains,
        calibration_hits=calibration_hits,
        pairs=pairs,
        delays=delays,
        source="twins",
        corner=corner,
    )
    assert got.worst < reach
    assert 0.95 * got.bound < got.rms < 1.1 * got.bound


@LONG
@pytest.mark.parametrize(
    ("chains", "means"), [(4, {"min": 3.92, "typ": 5.11, "max": 4.28}), (8, {"min": 2.87, "typ": 3.74, "max": 3.10})]
)
@pytest.mark.parametrize("corner", ["min", "typ", "max"])
def test_bounds_by_the_routes_to_the_chains(corner: Corner, chains: int, means: dict[str, float]) -> None:
    """What the bins of the SDF allow when centres are averaged, over draws of the routes that shift the chains' bins against each other.

    ``means`` (ps) are of 200 draws; their standard deviations are 0.25, 0.92, 0.33 with four chains and 0.19, 0.69, 0.23 with eight, at
    most 0.19 of the mean. The mean of 50 other draws is within 5 sigma of both, 0.19 (1 / 50 + 1 / 200)^(1/2) 5 = 0.15. With eight
    chains the mean is below 4 ps at every corner; at the typical one a third of the draws is not.
    """
    seed, draws = run_seed(1), 50
    bounds = []
    for number in range(2 * draws):
        model = delay_line(1000 * seed + number, chains=chains, source="sdf", corner=corner)
        arrivals = model.arrivals(np.array([0.0]))[0]
        borders = [bin_borders_ps(arrivals[chain, 1], model.span_ps) for chain in range(chains)]
        bounds.append(averaging_bound_ps(borders, model.span_ps))
    of_draws = np.sqrt(np.mean(np.square(np.reshape(bounds, (draws, 2))), axis=1))
    row(
        f"bound of the bins, 5G -8, {chains} chains, taps by the SDF, corner {corner}, over draws of the chains' routes",
        "4 ps",
        f"mean {of_draws.mean():.2f} ps, {of_draws.min():.2f} to {of_draws.max():.2f}; {(of_draws < 4).mean():.0%} below 4",
        f"{draws} draws",
    )
    assert of_draws.mean() == pytest.approx(means[corner], rel=0.15)
