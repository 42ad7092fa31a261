"""The host's sifting on the Verilated nodes of a small lab: every cell, snapshot and key bit."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from twinphase.sift.blocks import Fate
from twinphase.sift.session import SiftSession, by_role
from twinphase.sift.table import table
from twinphase_sim.lab.device import LabDevice
from twinphase_sim.lab.virtual import NODES, VirtualLab
from twinphase_sim.physics.expect import expectations
from twinphase_spec.configure import frame_config

sys.path.insert(0, str(Path(__file__).parent))
from small import small_lab

SECONDS = 0.02
SEED = 5


def shown(result: dict[str, Any]) -> str:
    """What a terminal shows."""
    console = Console(width=200)
    with console.capture() as capture:
        console.print(table(result))
    return capture.get()


def test_cells_snapshots_and_keys_of_the_gateware() -> None:
    """Each node is read from a lab of its own with the same seed, as three ``lab:`` URLs are. Heralds come in live windows alone."""
    lab = small_lab()
    lab = lab.model_copy(update={"server": lab.server.model_copy(update={"live_windows": True})})
    with ExitStack() as stack:
        devices = [
            stack.enter_context(LabDevice(VirtualLab(lab, SEED, progress=False), node, seconds=SECONDS))
            for node in NODES
        ]
        session = SiftSession(by_role(devices), span=4, group=64, frame=frame_config(lab), read_every_s=0.1)
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
    assert result["unphased"] == 0
    assert "without psi" not in shown(result)
    assert "7 heralds that found" in shown(result | {"unphased": 7})
    live = result["live"]
    assert (live["exact"], live["contradictions"], live["blocks_left_out"]) == (True, 0, 0)
    assert live["blocks"] == tally.fates[Fate.CLOSED]
    assert sum(row["heralds"] for row in live["yields"]) == tally.heralds
    covered = 1 - expectations(lab).live_share
    # 2400 runs of one length and more are Poisson: 2 %, of which chance has 5 at most.
    assert abs(1 - live["share"] - covered) < 0.12 * covered
    assert session.keys.spans >= 2
    arrays = session.keys.arrays()
    place = {number: i for i, number in enumerate(arrays["number"].tolist())}
    kept = np.array([place[number] for number in arrays["key_number"].tolist()])
    for role in ("alice", "bob"):
        np.testing.assert_array_equal(arrays[f"key_{role}"], arrays[role][kept])


@pytest.mark.long
def test_mode_pairs_of_the_gateware() -> None:
    """Pairs, cells and words of mode pairing are what the host finds again, on nodes that nothing is lost between."""
    lab = small_lab()
    users = {
        role: getattr(lab.clients, role).model_copy(
            update={"z_probability": 0.0, "vacuum_probability": 0.5, "mu1_probability": 0.4}
        )
        for role in ("alice", "bob")
    }
    lab = lab.model_copy(
        update={
            "clients": lab.clients.model_copy(update=users),
            "protocol": lab.protocol.model_copy(update={"name": "MP", "pair_span_pulses": 1 << 20}),
        }
    )
    with ExitStack() as stack:
        devices = [
            stack.enter_context(LabDevice(VirtualLab(lab, SEED, progress=False), node, seconds=2 * SECONDS))
            for node in NODES
        ]
        session = SiftSession(by_role(devices), span=4, group=64, read_every_s=0.1)
        while session.step():
            pass
        session.finish()
    tally = session.tally
    assert tally.fates[Fate.CLOSED] >= 10
    assert tally.fates[Fate.INCOMPLETE] == tally.fates[Fate.DISCARDED] == 0
    assert 8 * tally.fates[Fate.CLOSED] < tally.heralds == tally.cells.sum() <= 16 * tally.fates[Fate.CLOSED]
    for role in ("alice", "bob"):
        checks = session.as_dict()["counters"][role]
        assert checks["cells"]["equal"] is True, checks
        assert checks["status"]["equal"] is True, checks
    assert (tally.wrong_words, tally.unlike) == (0, 0)
    assert tally.z > 0
    assert session.as_dict()["pairing"] is None
