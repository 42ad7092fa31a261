"""What a lab's server is told about phase tracking, where it cannot be done, and what is said then."""

from __future__ import annotations

import math
import re
from importlib import resources

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinphase_hdl.core.framer import Framer
from twinphase_hdl.phase import feed
from twinphase_hdl.phase.marks import PhaseMarks
from twinphase_hdl.phase.nodes import PhaseNodes
from twinphase_hdl.timetag.delayline import DelayLineFrontEnd
from twinphase_hdl.timetag.tagger import Tagger
from twinphase_sim.physics.expect import expectations
from twinphase_sim.physics.rates import all_click_rates
from twinphase_spec import smooth_lag, smoothing, track_setup, tracking
from twinphase_spec.configure import check_delay, server_registers
from twinphase_spec.fixed import wrap_signed
from twinphase_spec.fringe_phases import FringePhases
from twinphase_spec.lab import Lab, LabError, load_lab, parse_lab, preset_names
from twinphase_spec.lab_tracking import MOST_RESIDUAL_RAD, Tracking
from twinphase_spec.packets import Stream
from twinphase_spec.reference_light import likely_visibility, most_heralds_hz, reference_light

TEXT = (resources.files("twinphase_spec") / "labs" / "metro-50km.toml").read_text(encoding="utf-8")


def lab_with(tracking_table: str = "", *changes: tuple[str, str]) -> Lab:
    text = TEXT
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return parse_lab(f"{text}\n[tracking]\n{tracking_table}", "my.toml")


FOUR = (0.25, 0.25, 0.25, 0.25)
MID = (7 / 15, 1 / 30, 7 / 15, 1 / 30)
DARK = ("reference_r = 0.05", "reference_r = 0.00002")


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_tracks_by_clicks(name: str) -> None:
    lab = load_lab(name)
    setup = track_setup.track_setup(lab)
    assert setup.source == "clicks"
    assert setup.reason is None
    registers = server_registers(lab, 0)
    assert registers["PSI_SOURCE"] == 1
    assert registers["ANNOUNCE_ALL"] == 0
    told = lab.model_copy(update={"tracking": lab.tracking.model_copy(update={"announce_all": True})})
    assert server_registers(told, 0) == registers | {"ANNOUNCE_ALL": 1}
    for stream in (Stream.TRACK, Stream.PSI_CAUSAL):
        assert registers["STREAM_ENABLE"] >> stream & 1
    check_delay(lab, expectations(lab).heralds_per_second)

    # what docs/phase.md asks of the host
    steps = [setup.epoch_bits + registers[f"SMOOTH_STEP_{c}"] for c in "RD"]
    assert setup.record_rate_hz >= 1e4
    assert tracking.EPOCH_LEAST <= setup.epoch_bits <= tracking.EPOCH_BITS
    assert abs(steps[0] - steps[1]) <= 4
    assert 2 * smoothing.BLOCK + smoothing.MOST_LATER << max(steps) <= smoothing.INTERVALS << steps[0]
    assert setup.lag_s <= smoothing.MOST_LAG_S
    assert setup.lag_s * expectations(lab).heralds_per_second < smoothing.PENDING_HERALDS
    r, d = setup.channels
    assert r is not None
    assert d is not None
    assert 1 << setup.epoch_bits <= max(1 << tracking.EPOCH_LEAST, 125e6 / (8 * r.gain_hz))
    for channel, bits, suffix in ((r, steps[0], "R"), (d, steps[1], "D")):
        assert channel.mse_rad2 < MOST_RESIDUAL_RAD**2
        assert registers[f"D_{suffix}"] == channel.config.d
        assert registers[f"DARK_{suffix}"] > 0
        gains = [wrap_signed(registers[f"SMOOTH_H{i}{j}_{suffix}"], 18) for i in (1, 2) for j in (1, 2)]
        assert tuple(gains) == track_setup.gains_of(channel, bits).words()
        # a smoother that runs backwards must not run away: eigenvalues of H inside the unit circle
        h = np.array(gains).reshape(2, 2) / 2**16
        assert np.abs(np.linalg.eigvals(h)).max() < 1


@pytest.mark.parametrize("name", preset_names())
def test_the_light_is_that_of_the_physics(name: str) -> None:
    """Rates against the physics' own sums, which tests hold against drawn clicks: they treat the dead time differently, by below 2 %."""
    lab = load_lab(name)
    rates = all_click_rates(lab)
    for band in ("q", "r"):
        light = reference_light(lab, band)  # type: ignore[arg-type]
        clicks = sum(rates[f"{band}{port}"].get(f"REF{k}", 0.0) for port in "LR" for k in range(4))
        assert light.click_rate_hz == pytest.approx(clicks, rel=0.02)
        assert 0.94 < light.visibility / lab.lasers.visibility <= 1
        assert light.blurred(0.1).visibility == pytest.approx(light.visibility * math.exp(-0.05))
    heralds = expectations(lab).heralds_per_second
    assert heralds <= most_heralds_hz(lab) <= 1.3 * heralds


def test_the_visibility_is_the_likelihoods() -> None:
    for phases in (FringePhases(parts=FOUR), FringePhases(parts=MID, lock_rad=math.pi / 2, error_rad=0.1)):
        fringe = 0.9 * np.cos(phases.points[0])
        assert likely_visibility(phases, 1 + fringe, 1 - fringe) == pytest.approx(0.9, abs=1e-6)
        # background of both ports: V R / (R + B); a wrong port: no fringe
        assert likely_visibility(phases, 1 + fringe + 0.25, 1 - fringe + 0.25) == pytest.approx(0.9 / 1.25, abs=1e-6)
        assert likely_visibility(phases, 1 - fringe, 1 + fringe) < 1e-6


def test_the_hold_covers_the_way_of_a_click() -> None:
    assert Tagger.latency == track_setup.MERGE_CLOCKS
    assert Framer().latency == track_setup.FRAMER_CLOCKS
    assert PhaseMarks().latency + feed._QUEUED <= track_setup.MARK_CLOCKS
    turn_to_node = feed.TrackerFeed().latency + tracking.OUTPUT + len(smoothing.CHANNELS) + PhaseNodes().latency
    assert turn_to_node <= track_setup.NODE_CLOCKS
    slowest = DelayLineFrontEnd(channels=4, lanes=1, chains=2, taps=256)
    assert slowest.latency == track_setup.FRONTEND_CLOCKS
    lab = load_lab("seed-370km")
    # rL comes 151.3 ns late, which its delay takes back: 19 clocks that every tag waits
    assert track_setup.hold_clocks(lab, 10) == 7 + 6 + 32 + 24 + 32 + 19
    late = lab_with("", ("offset_ps = 33010.0", "offset_ps = 1e6"))
    assert track_setup.hold_clocks(late, 9) == 101 + 125
    offsets = ("-5125.0", "9870.0", "-61500.0", "33010.0")
    early = lab_with("", *((f"offset_ps = {x}", "offset_ps = -1e6") for x in offsets))
    assert track_setup.hold_clocks(early, 9) == track_setup.LEAST_HOLD + track_setup.CONTENTION_CLOCKS
    assert server_registers(lab_with("hold_clocks = 300"), 0)["TRACK_HOLD"] == 300
    for hold in (73, 428):
        with pytest.raises(
            LabError, match=rf"hold_clocks is {hold}; allowed: 74, the way of a click .* to 427, for which"
        ):
            server_registers(lab_with(f"hold_clocks = {hold}\nepoch_bits = 9"), 0)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ((DARK,), "phase tracking of psi_r by clicks: 408 reference clicks per second of visibility 0.904 allow no residual below 1.8"),
        ((("reference_q = 0.15", "reference_q = 0.0000001"),), "phase tracking of psi_d by clicks: "),
        ((("reference_r = 0.05", "reference_r = 0.0"),), "phase tracking of psi_r by clicks: an information rate of 0 /s"),
        ((("visibility = 0.98", "visibility = 0.1"),), "phase tracking of psi_r by clicks: "),
    ],
)  # fmt: skip
def test_without_light_psi_comes_from_windows_unless_clicks_are_asked_for(
    changes: tuple[tuple[str, str], ...], says: str
) -> None:
    lab = lab_with("", *changes)
    setup = track_setup.track_setup(lab)
    assert setup.source == "windows"
    assert setup.reason is not None
    assert setup.reason.startswith(says)
    registers = server_registers(lab, 0)
    assert registers["PSI_SOURCE"] == 0
    # a channel that is not tracked gives up at every turn
    assert registers["P_LOST_D"] == 0 < registers["D_D"]
    asks = lab_with('source = "clicks"', *changes)
    with pytest.raises(LabError, match=re.escape(says)) as refusal:
        server_registers(asks, 0)
    assert str(refusal.value).startswith("lab metro-50km: ")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            (('r = "REF1"', 'r = "REF0"'), ('r = "REF3"', 'r = "REF2"')),
            "frame.slots has neither REF1 nor REF3 in the r band; allowed for tracking by clicks: slots of REF0 or REF2 and",
        ),
        ((('q = "REF0"', 'q = "SIG"'), ('q = "REF2"', 'q = "SIG"')), "frame.slots has neither REF0 nor REF2 in the q band"),
    ],
)  # fmt: skip
def test_a_table_without_the_needed_steps_is_refused_whatever_psi_comes_from(
    changes: tuple[tuple[str, str], ...], says: str
) -> None:
    with pytest.raises(LabError, match=re.escape(f"lab metro-50km: {says}")):
        server_registers(lab_with('source = "clicks"', *changes), 0)
    for table in ("", 'source = "windows"'):
        with pytest.raises(
            LabError, match=r"has REF0 to REF3 of the [rq] band in the parts .*allowed: equal parts, where psi"
        ):
            server_registers(lab_with(table, *changes), 0)


def test_windows_can_be_asked_for_and_the_tracker_still_runs() -> None:
    setup = track_setup.track_setup(lab_with('source = "windows"'))
    assert setup.source == "windows"
    assert setup.reason is None
    assert all(setup.channels)


def test_a_residual_that_the_photons_do_not_allow_is_told_with_the_bound() -> None:
    lab = lab_with('residual_rad = 0.1\nsource = "clicks"')
    with pytest.raises(LabError, match=r"allow no residual below 0\.14\d rad on this fibre .* allowed: 0\.1 rad"):
        server_registers(lab, 0)
    assert track_setup.track_setup(lab_with("residual_rad = 0.2")).source == "clicks"
    with pytest.raises(LabError, match=r"tracking\.residual_rad is 0\.5; allowed: less than or equal to 0\.4"):
        lab_with("residual_rad = 0.5")


def test_gains_adapt_unless_told_otherwise() -> None:
    for table, gains in (("", (1, 1)), ("adapt = false", (0, 0))):
        registers = server_registers(lab_with(table), 0)
        assert (registers["A_GAIN_R"], registers["A_GAIN_D"]) == gains
        assert registers["K_FOLLOWS_D"] == 0


@pytest.mark.parametrize(
    ("most_lag_s", "later", "lag_s"),
    [
        (smoothing.MOST_LAG_S, 63, 95 * 2**15 / 125e6),
        (10e-3, 6, 38 * 2**15 / 125e6),
        (8.5e-3, 0, 32 * 2**15 / 125e6),
        (8.3e-3, 31, 63 * 2**14 / 125e6),
        (6e-3, 13, 45 * 2**14 / 125e6),
        (5e-3, 6, 38 * 2**14 / 125e6),
    ],
)
def test_a_slow_phase_gets_all_the_lag_there_is(most_lag_s: float, later: int, lag_s: float) -> None:
    """psi_d of 26/s would have node steps of 2^19 clocks. psi_r's, at least a sixteenth of them, have as many more."""
    slow = Tracking(most_lag_s=most_lag_s, diffusion_d_rad2_per_s=0.02, slope_noise_d_rad2_per_s3=0.0)
    lab = load_lab("seed-370km").model_copy(update={"tracking": slow})
    check_delay(lab, expectations(lab).heralds_per_second)
    setup = track_setup.track_setup(lab)
    r, d = setup.channels
    assert r is not None
    assert d is not None
    assert smooth_lag.later_steps(setup.node_bits[1], smoothing.MOST_LAG_S) == 63
    assert setup.later == (setup.later[0], later)
    assert setup.lag_s == pytest.approx(lag_s)
    assert setup.registers()["SMOOTH_LATER_D"] == later
    assert setup.later[0] == setup.registers()["SMOOTH_LATER_R"] == 63


@given(
    gain_hz=st.floats(0.1, 1e6),
    most_s=st.floats(1e-5, smoothing.MOST_LAG_S),
)
def test_a_lag_is_as_long_as_its_time_and_its_gain_allow(gain_hz: float, most_s: float) -> None:
    """Steps of at most 1/(7.75 K), 32 of them and as many more as the time, to half a clock, has room for."""
    bits = max(tracking.EPOCH_LEAST, min(smooth_lag.node_bits(gain_hz), math.floor(math.log2(most_s * 125e6 / 32))))
    later = smooth_lag.later_steps(bits, most_s)
    step_s = (1 << bits) / 125e6
    lag_s = (2 * smoothing.BLOCK + later) * step_s
    assert 0 <= later <= smoothing.MOST_LATER
    assert lag_s <= max(most_s + 0.5 / 125e6, (2 * smoothing.BLOCK << tracking.EPOCH_LEAST) / 125e6)
    assert bits == tracking.EPOCH_LEAST or step_s <= 1 / (7.75 * gain_hz)
    if later < smoothing.MOST_LATER:
        assert lag_s + step_s > most_s * (1 - 1e-12)
    elif most_s > 2 * lag_s and bits < smoothing.MOST_NODE_BITS:
        assert (17 + later) * step_s > 5.1 / gain_hz


@given(diffusion=st.floats(0.1, 1e4), slope_noise=st.floats(1.0, 1e12), fisher_hz=st.floats(1e3, 1e7))
def test_a_filter_forgets_as_its_poles_do(diffusion: float, slope_noise: float, fisher_hz: float) -> None:
    """Where only one of both walks: by the slower pole of ``s^2 + K s + P12 J``. Between them: from half of K to K."""
    for walk, slope in ((diffusion, 0.0), (0.0, slope_noise), (diffusion, slope_noise)):
        p11, p12, _ = smoothing.steady_covariance(walk, slope, fisher_hz)
        gain, rate = p11 * fisher_hz, smooth_lag.settling_hz(walk, slope, fisher_hz)
        assert gain / 2 <= rate <= gain
        if slope == 0:
            assert rate == pytest.approx(gain)
        elif walk == 0:
            assert rate == pytest.approx(-np.roots([1.0, gain, p12 * fisher_hz]).real.max())


@given(slope=st.floats(0, 1e6), drift=st.floats(1, 1e5))
def test_a_node_step_holds_the_slope(slope: float, drift: float) -> None:
    """A step tells half a turn at most (docs/phase.md, Smoother): six rms of the slope and the drift fit, into no longer one."""
    step_s = 2.0 ** smooth_lag.slope_bits(slope, drift) / 125e6
    assert step_s * (6 * slope + drift) <= math.pi * (1 + 1e-9) < 2 * step_s * (6 * slope + drift) * (1 + 1e-6)


def test_a_slow_psi_r_keeps_up_with_a_drift_of_20_rad_per_ms() -> None:
    """Its gain would have node steps of 2^15 clocks, in which that drift is 5 rad."""
    setup = track_setup.track_setup(lab_with("diffusion_r_rad2_per_s = 0.3\nslope_noise_r_rad2_per_s3 = 0.0"))
    r, _ = setup.channels
    assert r is not None
    assert smooth_lag.node_bits(r.gain_hz) == 15
    assert (1 << setup.node_bits[0]) / 125e6 * 20e3 < math.pi


def test_own_values_go_over_the_derived_ones() -> None:
    usual = track_setup.track_setup(lab_with())
    own = track_setup.track_setup(
        lab_with(
            "diffusion_r_rad2_per_s = 300.0\nslope_noise_d_rad2_per_s3 = 500.0\nepoch_bits = 11\nrecord_rate_hz = 5e4"
        )
    )
    r, d = own.channels
    assert r is not None
    assert d is not None
    assert usual.channels[0] is not None
    assert r.diffusion_rad2_per_s == 300.0
    assert r.slope_noise_rad2_per_s3 == usual.channels[0].slope_noise_rad2_per_s3
    assert d.slope_noise_rad2_per_s3 == 500.0
    assert own.epoch_bits == 11
    assert min(own.node_bits) >= 11
    assert own.record_rate_hz >= 5e4
    short = track_setup.track_setup(lab_with("most_lag_s = 5e-4"))
    assert short.lag_s == pytest.approx(61 * 2**10 / 125e6)
    with pytest.raises(LabError, match=r"most_lag_s is 0\.025; allowed: less than or equal to 0\.02490368"):
        lab_with("most_lag_s = 25e-3")
    with pytest.raises(LabError, match=r"epoch_bits is 13 with record_rate_hz of 50000; allowed: at most 11"):
        server_registers(lab_with("epoch_bits = 13\nrecord_rate_hz = 5e4"), 0)
    with pytest.raises(LabError, match=r"record_rate_hz is 9000\.0; allowed: greater than or equal to 10000"):
        lab_with("record_rate_hz = 9000.0")
