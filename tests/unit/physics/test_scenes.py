"""Scenes in the physics: formulas and signs, independence of chunks and of the order of questions, bounds, saturation."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from physics_labs import changed, short_lab, symbol_configs
from scipy import special

from twinphase_sim.physics.clicks import Clicks, join_clicks
from twinphase_sim.physics.detectors import NEVER, alive_clicks
from twinphase_sim.physics.link import Link
from twinphase_sim.physics.phase import GRID_S, LinkPhase
from twinphase_sim.physics.power import LinkPower, PowerProcess
from twinphase_sim.physics.rates import port_rates
from twinphase_sim.physics.scene import ScenePhase
from twinphase_spec.lab import Lab, load_lab
from twinphase_spec.scene import Power, Scene
from twinphase_spec.units import TICKS_PER_SECOND

LINE = {"frequency_hz": 50.0, "amplitude_rad": 3.0, "phase_rad": 0.4}
RAMP = {"start_s": 0.5, "duration_s": 1.0, "rad_per_s": 70.0}
KNOCK = {"time_s": 0.25, "step_rad": 2.0, "ring_rad": 0.7, "ring_hz": 40.0, "decay_s": 0.1}
TRUCK = {"time_s": 1.0, "duration_s": 1.0, "rms_rad": 5.0, "low_hz": 10.0, "high_hz": 40.0}
START = 10**9


def phase(scene: dict[str, Any], seconds: np.ndarray, seed: int = 1) -> np.ndarray:
    times = START + np.rint(seconds * TICKS_PER_SECOND).astype(np.int64)
    return ScenePhase(Scene.model_validate(scene), seed, START).at(times)


def busy_lab(**changes: Any) -> Lab:
    """Everything happens within the first tens of milliseconds of the short link."""
    return short_lab(
        scene__lines=[{"arm": "b", "frequency_hz": 300.0, "amplitude_rad": 2.0}],
        scene__ramps=[{"start_s": 0.002, "duration_s": 0.008, "kelvin_per_s": 0.01, "rad_per_kelvin": 1e5}],
        scene__knocks=[{"time_s": 0.004, "step_rad": 2.0, "ring_hz": 500.0, "decay_s": 0.002}],
        scene__trucks=[{"time_s": 0.01, "duration_s": 0.005, "rms_rad": 3.0, "low_hz": 200.0, "high_hz": 900.0}],
        scene__power=[
            {"arm": "a", "relative_rms": 0.3, "corner_hz": 2000.0},
            {"arm": "b", "relative_rms": 0.2, "corner_hz": 300.0},
        ],
        **{f"detectors__{name}__recovery_ns": 100.0 for name in ("qL", "qR", "rL", "rR")},
        **changes,
    )


def test_formulas() -> None:
    """Against the words of the lab file, at times before, in and after each."""
    t = np.array([0.0, 0.2, 0.25, 0.26, 0.5, 0.75, 1.5, 2.0, 1000.0, 86400.013])
    # a microtick of 86400 s is 2e-11 s: 50 Hz turn by 1e-8 rad
    assert phase({"lines": [LINE]}, t) == pytest.approx(
        3 * np.sin(2 * np.pi * 50 * np.round(t % 0.02, 9) + 0.4), abs=1e-6
    )
    assert phase({"ramps": [RAMP]}, t) == pytest.approx([0, 0, 0, 0, 0, 17.5, 70, 70, 70, 70], abs=1e-9)
    knock = phase({"knocks": [KNOCK]}, t)
    assert np.array_equal(knock[:3], [0, 0, 0])
    e, angle = math.exp(-0.1), 2 * math.pi * 0.4
    assert knock[3] == pytest.approx(2 * (1 - e * math.cos(angle)) + 0.7 * e * math.sin(angle), abs=1e-6)
    assert knock[-1] == pytest.approx(2)
    truck = phase({"trucks": [TRUCK]}, t)
    assert np.array_equal(truck[-2:], [0, 0])
    assert (np.abs(truck[4:8]) > 0).all()
    assert not np.array_equal(truck, phase({"trucks": [TRUCK]}, t, seed=2))


def test_arm_b_counts_with_minus_and_all_adds_up() -> None:
    t = np.linspace(0, 2, 101)
    parts = {"lines": LINE, "ramps": RAMP, "knocks": KNOCK, "trucks": TRUCK}
    alone = [phase({kind: [part]}, t) for kind, part in parts.items()]
    assert phase({kind: [part] for kind, part in parts.items()}, t) == pytest.approx(sum(alone))
    in_b = phase({kind: [part | {"arm": "b"}] for kind, part in parts.items()}, t)
    assert in_b == pytest.approx(-sum(alone))
    two = phase({"trucks": [TRUCK, TRUCK]}, t)  # each truck has its own noise
    assert np.abs(two - 2 * alone[3]).max() > 1


def test_both_bands_see_the_scene_by_their_frequencies() -> None:
    lab = busy_lab()
    quiet = changed(lab, scene={})
    times = np.linspace(0, 0.03 * TICKS_PER_SECOND, 1001).astype(np.int64)
    busy_phase, quiet_phase = LinkPhase(lab, 4, 0), LinkPhase(quiet, 4, 0)
    added = busy_phase.reference(times) - quiet_phase.reference(times)
    assert added == pytest.approx(ScenePhase(lab.scene, 4, 0).at(times), abs=1e-9)
    assert np.ptp(added) > 5
    ratio = lab.bands.quantum_hz / lab.bands.reference_hz
    assert busy_phase.quantum(times) - quiet_phase.quantum(times) == pytest.approx(added * ratio, abs=1e-9)


def test_chunks_do_not_matter_with_everything_on() -> None:
    lab = busy_lab()

    def clicks(edges: list[int]) -> Clicks:
        link = Link(lab, 3, *symbol_configs(lab), start_clock=77)
        return join_clicks([link.clicks(a, b) for a, b in pairwise(edges)])

    whole, parts = clicks([0, 2_100_000]), clicks([0, 1, 50, 1_000_000, 1_953_000, 1_953_200, 2_099_999, 2_100_000])
    assert len(whole) > 30_000
    for name in ("times_ticks", "channels", "pulses"):
        assert np.array_equal(getattr(whole, name), getattr(parts, name))


def test_phase_and_power_do_not_depend_on_the_order_of_questions() -> None:
    lab = changed(load_lab("seed-370km-city"), scene__power=[{"relative_rms": 0.3, "corner_hz": 1000.0}])
    times = np.sort(np.random.default_rng(0).integers(0, 4 * 10**12, 1000))
    forward = LinkPhase(lab, 5, 0).reference(times), LinkPower(lab, 5, 0).transmittances(times)[0]
    phases, powers = LinkPhase(lab, 5, 0), LinkPower(lab, 5, 0)
    for part in (slice(900, 1000), slice(0, 100), slice(500, 600)):
        assert np.array_equal(phases.reference(times[part]), forward[0][part])
        assert np.array_equal(powers.transmittances(times[part])[0], forward[1][part])  # type: ignore[index]


def test_power_has_its_bound_and_stays_steady_where_nothing_is_said() -> None:
    """Relative RMS 1, the largest that is allowed: the factor reaches its bound, and never more."""
    power = Power(relative_rms=1.0, corner_hz=10_000.0)
    factor = PowerProcess(power, (1,)).at(np.arange(0, 10**11, 10**5))
    assert power.largest * 0.9 < factor.max() <= power.largest
    assert factor.min() > 0
    lab = changed(load_lab("metro-50km"), scene__power=[{"arm": "b", "relative_rms": 0.1, "corner_hz": 1.0}])
    link = LinkPower(lab, 1, 0)
    assert link.transmittances(np.arange(5))[0] == link.largest[0] == lab.fibre.transmittance("a")
    assert link.largest[1] == pytest.approx(lab.fibre.transmittance("b") * lab.scene.power[0].largest)


def test_recovery_of_a_detector() -> None:
    """Dead for 10; then 1 - exp(-t / 5): 0.5 is reached 3.47 after, 0.9 11.5 after."""
    times = np.array([0, 13, 14, 24, 34, 36], np.int64)
    alive, last = alive_clicks(times, np.array([0.9999, 0.5, 0.5, 0.1, 0.9, 0.9]), 10, 5.0, NEVER)
    assert times[alive].tolist() == [0, 14, 36]
    assert last == 36


@pytest.mark.parametrize("load", [0.1, 1.0])
def test_count_rate_of_a_saturating_detector(load: float) -> None:
    """Poisson light R on a detector of dead time d and recovery T: renewal, ``1 / rate = d + T e^x x^-x gamma(x, x)``, x = R T.

    The integral of the probability that no click came until t, ``exp(-x (t/T - 1 + e^(-t/T)))``. 2e5 raw clicks; intervals are less
    scattered than exponential ones, so a relative sigma of at most 1 / sqrt(clicks); 5 sigma.
    """
    dead, recovery, count = 40_000, 30_000.0, 200_000
    generator = np.random.default_rng(3)
    times = np.cumsum(generator.exponential(recovery / load, count)).astype(np.int64)
    alive, _ = alive_clicks(times, generator.random(count), dead, recovery, NEVER)
    open_time = recovery * math.exp(load) * load**-load * special.gammainc(load, load) * special.gamma(load)
    expected = times[-1] / (dead + open_time)
    assert alive.sum() == pytest.approx(expected, rel=5 / math.sqrt(expected))


def test_expected_rates_with_recovery() -> None:
    """`port_rates` with R T = 0.05: 1.2e-3 below the truth by its own words; 9e4 clicks, 5 sigma 1.7 %."""
    values = {f"detectors__{name}__recovery_ns": 100.0 for name in ("rL", "rR")}
    values |= {"bands__differential_drift_rad_per_s": 0.0, "fibre__noise_rad2_hz_per_km": 0.0}
    lab = changed(load_lab("metro-50km"), **values)
    lab = changed(lab, fibre__drift_rad_per_s=20_000.0)  # many turns: phi is uniform
    link = Link(lab, 6, *symbol_configs(lab))
    seconds = 0.2
    clicks = link.clicks(0, round(seconds * lab.frame.pulse_rate_hz))
    without = port_rates(changed(lab, detectors__rL__recovery_ns=0.0), "r")[0]
    for rates in port_rates(lab, "r"):
        expected = sum(rates.clicks(key) for key in rates.mean) * seconds
        found = int((clicks.channels == rates.port.channel).sum())
        assert abs(found - expected) < 5 * math.sqrt(expected) + 1.2e-3 * expected
        if rates.port.channel == 2:
            # what recovery takes is seen at all
            lost = sum(without.clicks(key) for key in without.mean) * seconds - expected
            assert lost > 10 * math.sqrt(expected)


def test_imbalance_is_two_efficiencies() -> None:
    """L and R of the reference band count in proportion to their efficiencies when phi runs over many turns; 5 sigma."""
    lab = short_lab(fibre__drift_rad_per_s=50_000.0, detectors__rL__efficiency=0.8, detectors__rR__efficiency=0.4)
    link = Link(lab, 2, *symbol_configs(lab))
    clicks = link.clicks(0, 1_900_000)
    left, right = ((clicks.channels == channel).sum() + link.dead_time_losses[channel] for channel in (2, 3))
    assert (
        abs(math.log(left / right / 2)) < 5 * math.sqrt(1 / left + 1 / right) + 0.02
    )  # pulses of 0.05 photons: 1 - e^-I


def test_both_drift_figures_of_the_seed() -> None:
    """2.871 rad/ms of phi_r and 0.033 rad/ms of psi_d, measured in the phases that `seed-370km` draws.

    RMS rate over grid steps of 4.1 us; steady drift is taken off. 4.3 s: correlation time 5 ms of the squared rate, a relative
    sigma of 2.5 % of the RMS; 15 % is 6 sigma. The PSD's figure itself, 2 pi sqrt(l L fc), is within 0.5 % (`test_presets`).
    """
    lab = load_lab("seed-370km")
    phases = LinkPhase(lab, 21, 0)
    times = np.rint(np.arange(2**20) * GRID_S * TICKS_PER_SECOND).astype(np.int64)
    reference = np.diff(phases.reference(times)) / GRID_S - lab.fibre.drift_rad_per_s
    # the lasers' walk of 1 Hz adds D / step to the square of a rate over one step
    walk = lab.lasers.diffusion_rad2_per_s / GRID_S
    assert math.sqrt(np.mean(reference**2) - walk) == pytest.approx(2871, rel=0.15)
    assert np.std(np.diff(phases.differential(times)) / GRID_S) == pytest.approx(33, rel=0.15)
