"""Scenes, linewidths and recovery in lab files: defaults and every fault by name."""

from __future__ import annotations

import math
import re

import pytest

from twinphase_spec.lab import Lab, LabError, load_lab, parse_lab
from twinphase_spec.scene import POWER_CLIP_SIGMAS, Scene


def lab_with(text: str) -> Lab:
    return parse_lab('base = "metro-50km"\n' + text, "my.toml")


LINE = "[[scene.lines]]\nfrequency_hz = 50.0\namplitude_rad = 1.0\n"
RAMP = "[[scene.ramps]]\nstart_s = 1.0\nduration_s = 9.0\n"
POWER = "[[scene.power]]\nrelative_rms = 0.3\ncorner_hz = 1.0\n"
SHORT = "[fibre]\nlength_a_km = 1.0\nextra_loss_a_db = 0.0\n"
TRUCK = "[[scene.trucks]]\ntime_s = 1.0\nduration_s = 2.0\nrms_rad = 5.0\nlow_hz = 5.0\nhigh_hz = 40.0\n"
KNOCK = "[[scene.knocks]]\ntime_s = 1.0\nstep_rad = 2.0\nring_hz = 100.0\ndecay_s = 0.01\n"


def without(text: str, key: str) -> str:
    return re.sub(rf"{key} = .*\n", "", text)


def test_defaults_add_nothing() -> None:
    lab = load_lab("metro-50km")
    assert lab.scene == Scene()
    assert lab.scene.power_of("a") is lab.scene.power_of("b") is None
    assert lab.detectors.qL.recovery_ns == 0
    assert lab.lasers.diffusion_rad2_per_s == 2 * math.pi * 10.0


def test_linewidths_add_up() -> None:
    lab = lab_with("[lasers]\nbeat_linewidth_hz = 0.0\nalice_linewidth_hz = 200.0\nbob_linewidth_hz = 150.0")
    assert lab.lasers.diffusion_rad2_per_s == pytest.approx(2 * math.pi * 350)


def test_a_ramp_in_kelvin_is_one_in_radians() -> None:
    text = "[[scene.ramps]]\nstart_s = 1.0\nduration_s = 9.0\nkelvin_per_s = -2e-3\nrad_per_kelvin = 96e3"
    assert lab_with(text).scene.ramps[0].rate_rad_per_s == pytest.approx(-192)
    assert lab_with(KNOCK + 'arm = "b"').scene.knocks[0].sign == -1


def test_largest_power() -> None:
    power = lab_with('[[scene.power]]\narm = "b"\nrelative_rms = 0.2\ncorner_hz = 3.0').scene.power_of("b")
    assert power is not None
    s = math.sqrt(math.log(1.04))
    assert power.largest == pytest.approx(math.exp(POWER_CLIP_SIGMAS * s - s**2 / 2))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[scene]\ntruck = []", "scene.truck is not a key of a lab file"),
        (LINE.replace("50.0", "0.0"), "scene.lines.0.frequency_hz is 0.0; allowed: greater than 0"),
        (LINE.replace("1.0", "-1.0"), "scene.lines.0.amplitude_rad is -1.0; allowed: greater than or equal to 0"),
        (LINE.replace("1.0", "inf"), "scene.lines.0.amplitude_rad is inf; allowed: less than or equal to"),
        (without(LINE, "amplitude_rad"), "scene.lines.0.amplitude_rad is missing; give it a value"),
        (KNOCK + 'arm = "c"', "scene.knocks.0.arm is 'c'; allowed: 'a' or 'b'"),
        (KNOCK.replace("0.01", "0.0"), "scene.knocks.0.decay_s is 0.0; allowed: greater than 0"),
        (KNOCK.replace("1.0", "-1.0"), "scene.knocks.0.time_s is -1.0; allowed: greater than or equal to 0"),
        (TRUCK + TRUCK.replace("40.0", "4.0"), "scene.trucks.1: low_hz is 5 and high_hz is 4; allowed: low_hz below"),
        (TRUCK.replace("2.0", "0.01"), "scene.trucks.0: duration_s is 0.01 with a band of 35 Hz; allowed:"),
        (TRUCK.replace("40.0", "4e4"), "scene.trucks.0: high_hz times duration_s is 80000; allowed: at most 10000"),
        (RAMP, "scene.ramps.0: its rate is given by nothing; allowed: rad_per_s alone, or kelvin_per_s and"),
        (RAMP + "kelvin_per_s = 1.0", "scene.ramps.0: its rate is given by kelvin_per_s; allowed:"),
        (RAMP + "rad_per_s = 1.0\nrad_per_kelvin = 2.0", "given by rad_per_s and rad_per_kelvin; allowed:"),
        (POWER.replace("0.3", "1.5"), "scene.power.0.relative_rms is 1.5; allowed: less than or equal to 1"),
        (POWER.replace("1.0", "1e5"), "scene.power.0.corner_hz is 100000.0; allowed: less than or equal to 10000"),
        (POWER * 2, "scene: power has arm a more than once; allowed: one entry per arm"),
        (SHORT + POWER, "scene.power.0.relative_rms is 0.3; allowed: a peak of at most 1.05925"),
        ("[lasers]\nbob_linewidth_hz = -1.0", "lasers.bob_linewidth_hz is -1.0; allowed: greater than or equal to 0"),
        ("[detectors]\nrR = { recovery_ns = 5e3 }", "detectors.rR.recovery_ns is 5000.0; allowed: less than or equal"),
    ],
)
def test_a_fault_is_named_with_key_value_and_what_is_allowed(text: str, says: str) -> None:
    with pytest.raises(LabError, match=r"^lab my\.toml") as caught:
        lab_with(text)
    assert any(says in line for line in str(caught.value).splitlines()), str(caught.value)
    assert not re.search(r"\bNone\b", str(caught.value))


@pytest.mark.parametrize("key", ["time_s", "duration_s", "rms_rad", "low_hz", "high_hz"])
def test_a_truck_needs_all_of_it(key: str) -> None:
    with pytest.raises(LabError, match=rf"scene\.trucks\.0\.{key} is missing; give it a value"):
        lab_with(without(TRUCK, key))
