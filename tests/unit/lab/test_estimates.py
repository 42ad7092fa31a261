"""The demo's judgement of psi estimates, on records that the reference model sends: no node is compiled here."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest

from twinphase_sim.lab.demo.compare import Comparison, Model, compare, predict
from twinphase_sim.lab.demo.estimates import CAUSAL, PERFECT, SMOOTHED, WINDOWS
from twinphase_sim.lab.demo.figures import Run
from twinphase_sim.lab.demo.live import live_rows
from twinphase_sim.lab.demo.receive import Received
from twinphase_sim.lab.truth import Truth
from twinphase_sim.physics.link import Link
from twinphase_spec.configure import frame_config, symbol_config
from twinphase_spec.frame import FrameConfig
from twinphase_spec.lab import Lab, load_lab
from twinphase_spec.lab_tracking import Tracking
from twinphase_spec.packets import Stream
from twinphase_spec.registers import CHANNELS
from twinphase_spec.track_setup import track_setup

START_CLOCK = 1 << 16
SECONDS, TAIL_S = 0.25, 0.03


@dataclass
class Played:
    """A run of the model in the place of nodes and network."""

    lab: Lab
    frame: FrameConfig
    model: Model
    received: dict[str, Received]
    run: Run
    stop_ticks: int

    def compare(self) -> Comparison:
        return compare(self.received, self.model, self.frame, track_setup(self.lab), self.stop_ticks)


def play(lab: Lab) -> Played:
    frame = frame_config(lab, START_CLOCK)
    keys = {"alice": (1, 2, 3, 4), "bob": (5, 6, 7, 8)}
    symbols = {role: symbol_config(getattr(lab.clients, role), key) for role, key in keys.items()}
    link = Link(lab, 5, symbols["alice"], symbols["bob"], start_clock=START_CLOCK)
    clicks = link.clicks(0, round((SECONDS + TAIL_S) * lab.frame.pulse_rate_hz))
    until = START_CLOCK + round((SECONDS + TAIL_S) * 125e6)
    model = predict(lab, frame, symbols, Truth.of_clicks(clicks), until)
    server = model.server
    tags = np.empty(server.tag_times_ticks.size, [("time_ticks", "<i8"), ("channel", "u1")])
    tags["time_ticks"], tags["channel"] = server.tag_times_ticks, server.tag_channels
    records = {
        Stream.TAG: tags,
        Stream.PHASE: server.phase,
        Stream.DPHASE: server.dphase,
        Stream.HERALD: server.heralds,
        Stream.HERALD_CODE: server.heralds,
        Stream.ARRIVAL: server.arrival,
        Stream.LIVE: server.live,
        Stream.PSI: server.psi,
        Stream.PSI_CAUSAL: server.psi_causal,
        Stream.TRACK: server.track,
    }
    counters = {f"{kind}_{name}": 0 for name in CHANNELS for kind in ("seen", "dead", "dropped", "tags", "in_flight")}
    received = {
        "server": Received(records=records, counters=counters | server.counters),
        "alice": Received(records={Stream.SIFTED: model.pair.alice}),
        "bob": Received(records={Stream.SIFTED: model.pair.bob}),
    }
    stop_ticks = START_CLOCK + round(SECONDS * 125e6) << 13
    return Played(
        lab, frame, model, received, Run(lab, frame, link, Truth.of_clicks(clicks), received, stop_ticks), stop_ticks
    )


def live_lab() -> Lab:
    lab = load_lab("seed-370km")
    return lab.model_copy(update={"server": lab.server.model_copy(update={"live_windows": True})})


@pytest.fixture(scope="module")
def clicks() -> Played:
    return play(live_lab())


@pytest.fixture(scope="module")
def windows() -> Played:
    return play(live_lab().model_copy(update={"tracking": Tracking(source="windows")}))


def judged(played: Played) -> dict[str, dict]:
    return {figures.name: figures.as_dict() for figures in played.run.estimates.figures}


def test_every_stream_is_compared_and_a_changed_word_is_found(clicks: Played) -> None:
    comparison = clicks.compare()
    assert sum(comparison.mismatches.values()) == 0
    words = comparison.words
    assert words["server track"] == 8 * clicks.model.server.track.size > 8 * 2 * 15_000 * SECONDS
    assert words["server live"] == 3 * clicks.model.server.live.size > 3 * 10_000 * SECONDS
    assert words["server psi_causal"] == 2 * clicks.model.server.heralds.size
    for stream, field, name in (
        (Stream.TRACK, "variance", "server track"),
        (Stream.PSI_CAUSAL, "psi_turns", "server psi_causal"),
        (Stream.PSI, "flags", "server psi"),
        (Stream.LIVE, "length", "server live"),
    ):
        right = clicks.received["server"].records[stream]
        try:
            for wrong, words in ((right.copy(), 1), (right[: right.size // 2], None)):
                if words:
                    wrong[field][7] ^= 1
                clicks.received["server"].records[stream] = wrong
                found = clicks.compare().mismatches
                assert found[name] > 0, (name, words)
                assert sum(found.values()) == found[name]
        finally:
            clicks.received["server"].records[stream] = right


def test_smoothed_clicks_come_near_the_bound_and_windows_do_not(clicks: Played) -> None:
    """9 000 heralds over 0.25 s: the error of psi_r has 0.25 s 1e4 /s = 2 500 independent values, that of psi_d 80 (a sixth of
    the smoothed mean square): relative sigma of the RMS 1.7 %; bounds of 5 of it, and the tracker's own 5 %."""
    figures = judged(clicks)
    assert list(figures) == [SMOOTHED, CAUSAL, WINDOWS, PERFECT]
    assert 0.92 < figures[SMOOTHED]["rms_rad"] / figures[SMOOTHED]["bound_rad"] < 1.2
    assert 0.92 < figures[CAUSAL]["rms_rad"] / figures[CAUSAL]["bound_rad"] < 1.2
    assert figures[WINDOWS]["rms_rad"] > 2 * figures[SMOOTHED]["bound_rad"]
    assert figures[PERFECT]["rms_rad"] < 1e-4
    for name, entry in figures.items():
        assert entry["phase_qber"] == pytest.approx(entry["rms_rad"] ** 2 / 4, rel=0.05, abs=1e-9), name
        assert entry["valid_fraction"] > 0.9, name
        assert entry["x_kept"] <= entry["x_events"]
        low, high = entry["x_qber_ci95"]
        assert low <= entry["x_qber"] <= high
        assert entry["kept_fraction"] == pytest.approx(40 / 180, abs=0.1)
    expected = clicks.run.expected
    assert figures[SMOOTHED]["rms_rad"] == pytest.approx(expected.psi_q_rms_rad, rel=0.12)
    # what sifting kept is what the smoothed estimate keeps
    assert figures[SMOOTHED]["x_kept"] == int(clicks.run.x.kept.sum())
    assert figures[SMOOTHED]["x_events"] == clicks.run.x.kept.size


def test_summary_and_plots_have_it(clicks: Played) -> None:
    summary = clicks.run.summary(clicks.compare(), 1.0, 1)
    live = summary.details["live"]
    runs = clicks.model.server.live
    # The share varies with the number of runs, each of the dead time.
    assert abs(live["share"] - live["share_expected"]) < (1 - live["share_expected"]) * (5 / runs.size**0.5 + 0.02)
    assert live_rows(live) == [
        (
            f"live windows (of {live['signal_windows']:,} SIG; 0 records lost)",
            f"{live['share']:.3%}",
            f"{live['share_expected']:.3%}",
        )
    ]
    assert live_rows(None) == []
    assert summary.psi_source == "clicks"
    assert [entry["name"] for entry in summary.psi_estimates] == [SMOOTHED, CAUSAL, WINDOWS, PERFECT]
    r, d = summary.details["track"]
    assert (r["channel"], d["channel"]) == ("r", "d")
    assert r["locked_fraction"] > 0.85  # the last 30 ms of the model are dark
    assert r["jumps"] == d["jumps"] == 0
    for track in (r, d):
        status = track["status"]
        assert (status["locked"], status["starts"], status["lost"], status["jumps"]) == (True, 1, 0, 0)
        assert 0 < status["unlocked_s"] < 0.01
    assert r["sigma_rad"] == pytest.approx(0.185, abs=0.02)
    figures = clicks.run.figures()
    assert {"estimates", "estimates_qber"} <= set(figures)
    assert '"psi_estimates"' in summary.to_json()


def test_windows_as_the_source_are_the_same_estimate(clicks: Played, windows: Played) -> None:
    """psi of windows, as the node joins it and as the report computes it from PHASE and DPHASE records: the same turns."""
    assert sum(windows.compare().mismatches.values()) == 0
    assert list(judged(windows)) == [CAUSAL, WINDOWS, PERFECT]
    joined, computed = (played.run.estimates.estimates[WINDOWS] for played in (windows, clicks))
    assert joined.valid.sum() > 0.9 * joined.valid.size
    both = joined.valid & computed.valid
    assert both.sum() > 0.9 * both.size
    np.testing.assert_array_equal(joined.turns[both], computed.turns[both])
    assert set(np.flatnonzero(joined.valid != computed.valid)) <= set(range(joined.valid.size - 300, joined.valid.size))
    figures = judged(windows)
    assert math.isfinite(figures[WINDOWS]["x_qber"])
    assert windows.run.summary(windows.compare(), 1.0, 1).psi_source == "windows"


def test_without_any_record_there_are_no_figures_and_no_error(clicks: Played) -> None:
    kept = dict(clicks.received["server"].records)
    try:
        for stream in (Stream.PSI, Stream.PSI_CAUSAL, Stream.TRACK, Stream.PHASE, Stream.DPHASE):
            clicks.received["server"].records[stream] = kept[stream][:0]
        truth = Truth.of_clicks(clicks.run.clicks)
        empty = Run(clicks.lab, clicks.frame, clicks.run.link, truth, clicks.received, clicks.stop_ticks)
        figures = {entry.name: entry for entry in empty.estimates.figures}
        assert figures[SMOOTHED].valid_fraction == figures[WINDOWS].valid_fraction == 0
        assert math.isnan(figures[CAUSAL].rms_rad)
        assert math.isnan(figures[CAUSAL].x_qber)
        assert {"estimates", "estimates_qber"} <= set(empty.figures())
        track = empty.summary(clicks.compare(), 1.0, 1).details["track"]
        assert [entry["locked_fraction"] for entry in track] == [None, None]
    finally:
        clicks.received["server"].records.update(kept)
