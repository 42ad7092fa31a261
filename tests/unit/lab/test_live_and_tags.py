"""Gateware of all three nodes against the model: live windows with their runs, and the tags by which the clients agree on them too."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from twinphase_sim.lab.demo.compare import predict
from twinphase_sim.lab.keys import pair_digest
from twinphase_sim.lab.truth import Truth
from twinphase_sim.lab.virtual import LabStep, VirtualLab
from twinphase_sim.model.server import ServerRecords
from twinphase_sim.model.sift.block import by_kind
from twinphase_sim.model.sift.digest import BlockDigest
from twinphase_sim.model.sift.livelists import split_live
from twinphase_sim.model.sift.pair import announced_heralds
from twinphase_sim.physics.clicks import join_clicks
from twinphase_spec.packets import HEADER_DTYPE, HERALD_DTYPE, LIVE_DTYPE, PEER_DTYPE, PSI_DTYPE, Stream
from twinphase_spec.sns import Kind

sys.path.insert(0, str(Path(__file__).parent))
from small import small_lab

SEED = 3
SECONDS = 0.004


@pytest.fixture(scope="module")
def run() -> tuple[VirtualLab, list[LabStep], ServerRecords]:
    lab = small_lab()
    lab = lab.model_copy(update={"server": lab.server.model_copy(update={"live_windows": True})})
    with VirtualLab(lab, SEED, progress=False) as virtual:
        steps = list(virtual.run_to(SECONDS))
    clicks = join_clicks([step.clicks for step in steps])
    truth = Truth.of_clicks(clicks)
    return virtual, steps, predict(lab, virtual.frame, virtual.symbols, truth, steps[-1].stop_clock).server


def records(steps: list[LabStep], node: str, stream: Stream, dtype: np.dtype) -> np.ndarray:
    packets = [data for step in steps for _, data in step.outputs[node].packets if data[0] == stream]  # type: ignore[index]
    assert not np.frombuffer(b"".join(packet[:32] for packet in packets), HEADER_DTYPE)["lost"].any()
    return np.frombuffer(b"".join(packet[32:] for packet in packets), dtype)


def test_heralds_and_runs_are_the_models(run: tuple[VirtualLab, list[LabStep], ServerRecords]) -> None:
    _, steps, model = run
    live = records(steps, "server", Stream.LIVE, LIVE_DTYPE)
    assert live.size > 150
    assert (live == model.live[: live.size]).all()
    assert model.live.size - live.size < 0.4 * model.live.size  # those of the last flush period are still in the node
    heralds = records(steps, "server", Stream.HERALD, HERALD_DTYPE)
    assert heralds.size > 100
    assert (heralds == model.heralds[: heralds.size]).all()


def test_tags_are_the_models(run: tuple[VirtualLab, list[LabStep], ServerRecords]) -> None:
    virtual, steps, model = run
    size = virtual.lab.protocol.block_heralds
    psi = records(steps, "server", Stream.PSI, PSI_DTYPE)
    blocks = psi.size // size
    known = announced_heralds(model.heralds, psi, blocks * size)
    digest = BlockDigest(pair_digest(SEED))
    pulses = np.where(known.present, known.pulse, np.uint64(0)).reshape(blocks, size)
    lists = split_live(model.live, pulses.max(axis=1))
    assert min(live.size for live in lists) >= size
    assert virtual.registers["alice"]["DIGEST_LIVE"] == virtual.registers["bob"]["DIGEST_LIVE"] == 1
    for role, of_role in (("alice", 0), ("bob", 1)):
        peer = records(steps, role, Stream.PEER, PEER_DTYPE)
        tags = peer[peer["kind"] <= Kind.DIGEST_HIGH]
        assert tags.size >= 4
        expected = []
        for block in range(tags.size // 2):
            part = type(known)(
                **{name: column[block * size : (block + 1) * size] for name, column in vars(known).items()}
            )
            tag = digest.of(part, lists[block]) ^ digest.pads(block)[of_role]
            expected += [(kind, block, word) for kind, word in by_kind(tag).items()]
        assert tags.tolist()[: len(expected)] == expected
        assert (peer["kind"] == Kind.TYPES).any()
