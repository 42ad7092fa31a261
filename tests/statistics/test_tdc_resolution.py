"""Single-shot resolution of the delay line in a two-channel delay test, on the bit-exact model behind the tap model."""

from __future__ import annotations

import pytest
from run_seeds import run_seed
from tdc_figures import resolution, row

from twinphase_sim.physics.tap_tables import Corner

LONG = pytest.mark.long


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
    seed = run_seed(1)
    got = resolution(seed, chains=chains, calibration_hits=calibration_hits, pairs=pairs, delays=delays)
    row(
        f"single-shot rms, 5G -8, {chains} chain{'s' * (chains > 1)}, taps by timing reports",
        f"{reach:g} ps, 1.1 of the bound",
        f"{got.rms:.2f} ps (worst delay {got.worst:.2f}); {got.rms / got.bound:.3f} of {got.bound:.2f} ps; "
        f"joint bins {got.joint_bound:.2f}",
        f"{pairs * delays} pairs, {delays} delays, calibrated with {calibration_hits:.3g}",
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
            for chains, bounds in ((1, (8.0, 10.9, 8.8)), (4, (5.0, 6.8, 5.5)))
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
    average to 0.55 of it here, and 0.65 is allowed.
    """
    seed = run_seed(1)
    got = resolution(
        seed,
        chains=chains,
        calibration_hits=calibration_hits,
        pairs=pairs,
        delays=delays,
        source="sdf",
        corner=corner,
    )
    row(
        f"single-shot rms, 5G -8, {chains} chain{'s' * (chains > 1)}, taps by the SDF, corner {corner}",
        f"{8 if chains == 1 else 4} ps, 1.1 of the bound",
        f"{got.rms:.2f} ps (worst delay {got.worst:.2f}); {got.rms / got.bound:.3f} of {got.bound:.2f} ps; "
        f"joint bins {got.joint_bound:.2f}",
        f"{pairs * delays} pairs, {delays} delays, calibrated with {calibration_hits:.3g}",
    )
    assert got.rms < most
    assert 0.95 * got.bound < got.rms < 1.1 * got.bound
