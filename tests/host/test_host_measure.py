"""Measurements on batches, against numbers that were put in."""

import numpy as np
import pytest
from fake_node import phases

from twinphase.batch import TAG_DTYPE, Batch
from twinphase.measure.losses import unexplained_edges
from twinphase.measure.phase import Phase
from twinphase.measure.qber import Qber
from twinphase.measure.rates import Rates
from twinphase_spec import sns
from twinphase_spec.packets import SIFTED_DTYPE, Stream
from twinphase_spec.registers import CHANNELS, SERVER
from twinphase_spec.units import TICKS_PER_SECOND


def test_rates_of_a_steady_stream():
    rates = Rates(span_s=0.5)
    for step in range(100):
        tags = np.zeros(30, TAG_DTYPE)
        tags["channel"][:20] = 2
        rates.update(Batch(records={Stream.TAG: tags}, time_ticks=step * TICKS_PER_SECOND // 50))
    per_second = rates.per_second()
    assert per_second["tag"] == pytest.approx(1500)
    assert (per_second["rL"], per_second["qL"]) == (pytest.approx(1000), pytest.approx(500))
    assert rates.totals["tag"] == 3000


@pytest.mark.parametrize("cuts", [[], [1, 50, 51, 300]])
def test_drift_and_visibility_do_not_depend_on_batches(cuts):
    phase, records = Phase(window_s=100e-6), phases(400, step_turns=-30)
    for part in np.split(records, cuts):
        phase.update(Batch(records={Stream.PHASE: part}))
    assert phase.drift_rad_per_s == pytest.approx(30 * 2 * np.pi / 65536 / 100e-6)
    assert phase.visibility == pytest.approx(0.97, abs=0.005)
    assert phase.unwrapped_rad == pytest.approx(-30 * 399 * 2 * np.pi / 65536)


def test_drift_ignores_missing_and_invalid_windows():
    records = phases(100)
    records["unwrapped_turns"][60:] += 10_000
    records["flags"][70] = 0
    phase = Phase(window_s=1.0)
    phase.update(Batch(records={Stream.PHASE: np.delete(records, 59)}))
    assert phase.drift_rad_per_s == pytest.approx(30 * 2 * np.pi / 65536)
    assert (phase.windows, phase.invalid_windows) == (99, 1)


@pytest.mark.parametrize("cuts", [[], [10, 200, 201, 750]])
def test_qber_of_both_clients(cuts):
    rng = np.random.default_rng(1)
    alice = np.zeros(1000, SIFTED_DTYPE)
    alice["number"] = np.sort(rng.choice(5000, 1000, replace=False))
    is_x = rng.random(1000) < 0.3
    bit = rng.integers(0, 2, 1000)
    keep, error = rng.random(1000) < 0.5, rng.random(1000) < 0.1
    x_word = sns.SIFTED_X | sns.SIFTED_PSI_VALID | keep * sns.SIFTED_KEEP | (keep & error) * sns.SIFTED_ERROR
    alice["word"] = np.where(is_x, x_word, bit)
    bob, flip = alice.copy(), rng.random(1000) < 0.2
    bob["word"] = np.where(is_x, x_word, bit ^ flip)
    missing = rng.random(1000) < 0.05
    qber = Qber()
    for part_a, part_b in zip(
        np.split(alice, cuts), np.split(bob[~missing], cuts[:-1] and [5, 100, 400, 800]), strict=True
    ):
        qber.update("alice", part_a)
        qber.update("bob", part_b)
    assert qber.x["alice"].kept == np.count_nonzero(is_x & keep)
    assert qber.x["alice"].errors == np.count_nonzero(is_x & keep & error)
    assert qber.z_compared == np.count_nonzero(~is_x & ~missing)
    assert qber.z_errors == np.count_nonzero(~is_x & ~missing & flip)
    low, high = qber.as_dict()["x_qber_ci95"]
    assert low < qber.x["alice"].qber < high


def test_books_of_the_server_balance():
    counters = dict.fromkeys(SERVER.counter_names, 0)
    counters |= {"seen_qL": 2**64 - 6 + 10, "dead_qL": 2, "tags_qL": 2**64 - 6, "in_flight_qL": 8, "seen_rR": 3}
    counters["seen_qL"] %= 2**64
    assert unexplained_edges(counters) == dict(zip(CHANNELS, (0, 0, 0, 3), strict=True))
