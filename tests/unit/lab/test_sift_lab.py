"""The host's sifting on the Verilated nodes of a small lab: every cell, snapshot and key bit."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from twinphase.sift.blocks import Fate
from twinphase.sift.session import SiftSession, by_role
from twinphase_sim.lab.device import LabDevice
from twinphase_sim.lab.virtual import NODES, VirtualLab

sys.path.insert(0, str(Path(__file__).parent))
from small import small_lab

SECONDS = 0.02
SEED = 5


def test_cells_snapshots_and_keys_of_the_gateware() -> None:
    """Each node is read from a lab of its own with the same seed, as three ``lab:`` URLs are."""
    with ExitStack() as stack:
        devices = [
            stack.enter_context(LabDevice(VirtualLab(small_lab(), SEED, progress=False), node, seconds=SECONDS))
            for node in NODES
        ]
        session = SiftSession(by_role(devices), span=4, group=64, read_every_s=0.1)
        while session.step():
            pass
        session.finish()
    result = session.as_dict()
    tally = session.tally
    assert tally.fates[Fate.CLOSED] >= 10
    assert tally.fates[Fate.INCOMPLETE] == tally.fates[Fate.DISCARDED] == 0
    assert tally.heralds == 32 * tally.fates[Fate.CLOSED] == tally.cells.sum()
    for role in ("alice", "bob"):
        checks = result["counters"][role]
        assert checks["cells"]["equal"] is True, checks
        assert checks["cells"]["blocks"] > 0
        assert checks["status"]["equal"] is True, checks
    assert (tally.wrong_words, tally.unlike) == (0, 0)
    assert session.keys.spans >= 2
    arrays = session.keys.arrays()
    place = {number: i for i, number in enumerate(arrays["number"].tolist())}
    kept = np.array([place[number] for number in arrays["key_number"].tolist()])
    for role in ("alice", "bob"):
        np.testing.assert_array_equal(arrays[f"key_{role}"], arrays[role][kept])
