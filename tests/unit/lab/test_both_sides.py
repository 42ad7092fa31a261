"""X windows with both users' slices: the demo's errors where no node knows them."""

import numpy as np
import pytest

from twinphase_sim.lab.demo.both_sides import with_own_slices, x_events
from twinphase_sim.model.sift.herald import herald_records
from twinphase_sim.model.sift.pair import sift_pair
from twinphase_spec import sns
from twinphase_spec.packets import PSI_DTYPE
from twinphase_spec.rules import PROTOCOLS
from twinphase_spec.symbols import SymbolConfig

COUNT = 1 << 14
SOURCES = {
    "SNS": {"sent_below": 500, "z_below": 1000},
    "PM": {"sent_below": 0, "z_below": 0},
    "CAL": {"sent_below": 2000, "z_below": 2000},
    "BB84": {"sent_below": 0, "z_below": 0},
}


def sifted(name):
    """Both users' SIFTED records, psi uniform, detectors any."""
    rng = np.random.default_rng(5)
    heralds = herald_records(
        np.arange(COUNT), np.cumsum(rng.integers(1, 10**5, COUNT)).astype(np.uint64), rng.integers(0, 2, COUNT)
    )
    psi = np.zeros(COUNT, PSI_DTYPE)
    psi["number"], psi["psi_turns"], psi["flags"] = np.arange(COUNT), rng.integers(0, 1 << 16, COUNT), 3
    bounds = {"vacuum_below": 2100, "mu1_below": 3600} | SOURCES[name]
    masks = PROTOCOLS[name].source_masks
    users = [
        SymbolConfig(key=(k, 2, 3, 4), slices_z=masks[role][0], slices_x=masks[role][1], **bounds)
        for k, role in enumerate(("alice", "bob"))
    ]
    return sift_pair(
        heralds, psi, *users, block_heralds=1024, slice_width_turns=8192, protocol=PROTOCOLS[name]
    )  # fmt: skip


def test_of_sns_nothing_changes():
    pair = sifted("SNS")
    of_x = pair.alice[pair.alice["word"] & sns.SIFTED_X != 0]
    assert np.array_equal(with_own_slices(pair.alice, pair.bob), of_x)
    assert pair.error_x > 100


@pytest.mark.parametrize("name", ["PM", "CAL", "BB84"])
def test_an_error_is_that_of_the_two_key_bits(name):
    pair = sifted(name)
    assert pair.error_x == 0
    records = with_own_slices(pair.alice, pair.bob)
    a, b = (own["word"][own["word"] & sns.SIFTED_X != 0] for own in (pair.alice, pair.bob))
    key_a, key_b = a >> 23 & 1, (b >> 23 & 1) ^ (b >> 27 & 1) ^ (b >> 28 & 1)
    kept = a & sns.SIFTED_KEEP != 0
    events = x_events(records, np.arange(COUNT))
    assert kept.sum() > 200
    assert np.array_equal(events.error, kept & (key_a != key_b))
    assert np.array_equal(events.kept, kept)
    assert (
        0.4 < events.error.sum() / kept.sum() < 0.6
    )  # detectors were any: 5 standard deviations of 200 are 0.18, and of more less


def test_heralds_of_one_side_only_are_left_out():
    pair = sifted("PM")
    records = with_own_slices(pair.alice[::2], pair.bob[1:])
    assert set(records["number"]) == set(pair.alice["number"][::2]) & set(pair.bob["number"][1:])
