"""Labs whose reference is steered: where their clicks lie on the fringe, what they are told, and tables that cannot be steered."""

from __future__ import annotations

import math
import re
from importlib import resources

import numpy as np
import pytest

from twinphase.theory import tracking
from twinphase_spec.configure import server_registers
from twinphase_spec.fringe_phases import FringePhases, fringe_phases, step_parts
from twinphase_spec.lab import Lab, LabError, load_lab, parse_lab
from twinphase_spec.reference_light import reference_light
from twinphase_spec.track_setup import track_setup

TEXT = (resources.files("twinphase_spec") / "labs" / "seed-370km-steered.toml").read_text(encoding="utf-8")


def steered_lab(*changes: tuple[str, str]) -> Lab:
    text = TEXT
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return parse_lab(text, "my.toml")


@pytest.mark.parametrize("visibility", [0.8, 0.98])
@pytest.mark.parametrize("error_rad", [0.0, 0.05, 0.17, 0.4])
def test_information_is_the_theorys(visibility: float, error_rad: float) -> None:
    phases = FringePhases(parts=(0.46875, 0.03125, 0.46875, 0.03125), lock_rad=math.pi / 2, error_rad=error_rad)
    expected = tracking.steered_information(visibility, orthogonal_fraction=1 / 16, error_rms_rad=error_rad)
    assert phases.information(visibility) == pytest.approx(expected, rel=1e-9)
    theta, weights = phases.points
    assert weights.sum() == pytest.approx(1)
    assert weights @ np.cos(2 * theta) == pytest.approx(-(1 - 2 / 16) * math.exp(-2 * error_rad**2), abs=1e-9)
    uniform = FringePhases(parts=phases.parts)
    assert uniform.information(visibility) == pytest.approx(tracking.four_phase_mean_information(visibility))
    theta, weights = uniform.points
    assert weights @ tracking.port_information(visibility, theta) == pytest.approx(
        uniform.information(visibility), rel=1e-6
    )


def test_the_preset_is_held_at_mid_fringe() -> None:
    lab = load_lab("seed-370km-steered")
    assert step_parts(lab, "r") == pytest.approx((7 / 15, 1 / 30, 7 / 15, 1 / 30))
    assert fringe_phases(lab, "q").lock_rad is None
    registers = server_registers(lab, 0)
    assert registers["ACT_LOCK"] == 1 << 14
    assert registers["ACT_CONTROL"] == 0b10001
    assert registers["ACT_SEEK"] == int(2e4 / 125e6 * 2**32)
    light = reference_light(lab, "r")
    assert light.phases.lock_rad == pytest.approx(math.pi / 2)
    r, _ = track_setup(lab).channels
    assert r is not None
    assert r.light.phases.error_rad == pytest.approx(math.sqrt(r.mse_rad2), rel=0.01)
    # between the extremes' nothing and everything, above four-phase light
    assert 14 / 15 * light.visibility**2 < r.light.information < light.visibility**2
    assert r.light.information > 1.1 * tracking.four_phase_mean_information(light.visibility)
    four = track_setup(load_lab("seed-370km")).channels[0]
    assert four is not None
    assert r.mse_rad2 < 0.95 * four.mse_rad2


def test_switched_off_its_phases_are_any() -> None:
    off = steered_lab(("[actuator]", "[actuator]\non = false"), ("seek_turns_per_s = 2e4", ""))
    light = reference_light(off, "r")
    assert light.phases.lock_rad is None
    assert light.information == pytest.approx(tracking.four_phase_mean_information(light.visibility))


ORTHOGONAL = ('{ q = "SIG", r = "REF1", repeat = 2 }', '{ q = "SIG", r = "REF0", repeat = 2 }')


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            (ORTHOGONAL, ('r = "REF3"', 'r = "REF2"')),
            "frame.slots has neither REF1 nor REF3 in the r band; allowed for tracking by clicks: slots of REF0 or REF2 and slots of "
            "REF1 or REF3, a quarter turn apart",
        ),
        (
            (("seek_turns_per_s = 2e4", ""),),
            "phase tracking of psi_r by clicks: click tracker: 24 clicks at 4.063e+05 per second tell the phase to 0.923 rad^2 only, no "
            "better than the 0.5 rad^2 that are the most",
        ),
        (
            (('source = "clicks"', 'source = "windows"'),),
            "frame.slots has REF0 to REF3 of the r band in the parts 0.467, 0.0333, 0.467, 0.0333; allowed: equal parts, where psi comes "
            "from windows",
        ),
    ],
)  # fmt: skip
def test_light_that_cannot_be_steered_is_refused_by_name(changes: tuple[tuple[str, str], ...], says: str) -> None:
    with pytest.raises(LabError, match=re.escape(f"lab seed-370km-steered: {says}")) as refusal:
        server_registers(steered_lab(*changes), 0)
    assert "\n" not in str(refusal.value)
