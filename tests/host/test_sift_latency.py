"""Reveal latency against times that are laid into the packets."""

import numpy as np
import pytest
from sift_paths import BLOCK, WIDTH, pair_path

from twinphase.batch import Batch
from twinphase.sift.blocks import BlockGatherer, Fate
from twinphase.sift.latency import SIFTED, STEPS, RevealLatency
from twinphase.sift.rule import PairRule
from twinphase_spec.packets import Stream
from twinphase_spec.rules import SNS, rule_tables
from twinphase_spec.sns import Kind

START_CLOCK, PERIOD_Q32 = 12_345, (1365 << 32) + 1431655765
TICKS_PER_MS = 125_000 * 8192
AFTER_MS = {"types": 11.0, "intensities": 13.0, "slices": 15.5, SIFTED: 18.0}
"""Of block 0; a block later all are 1 ms more."""


class Client:
    """Registers of a client, and which were read."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def read(self, name: str) -> int:
        self.asked.append(name)
        return {"START_CLOCK": START_CLOCK, "PERIOD": PERIOD_Q32}[name]


def emitted_ms(pulse: int) -> float:
    return (START_CLOCK * 8192 + pulse * PERIOD_Q32 / 2**32) / TICKS_PER_MS


def batches(path, last):
    """Alice's streams: packets are closed after each block's last herald as `AFTER_MS` says, the words of a block leave in two."""
    peer, sifted = path.peer_array("alice"), path.sifted_array("alice")
    peer_ticks = np.zeros(len(peer), np.int64)
    for place, record in enumerate(peer):
        if record["kind"] == Kind.DONE:
            number = int(record["number"])
            step = STEPS[Kind(int(record["value"]))]
            peer_ticks[place] = round((last[number] + AFTER_MS[step] + number) * TICKS_PER_MS)
    block = sifted["number"] // BLOCK
    sifted_ticks = np.array(
        [
            round(
                (last[b] + AFTER_MS[SIFTED] + b - (0 if i + 1 == len(block) or block[i + 1] != b else 5)) * TICKS_PER_MS
            )
            for i, b in enumerate(block.tolist())
        ],
        np.int64,
    )
    yield Batch(records={Stream.PEER: peer}, packet_ticks={Stream.PEER: peer_ticks})
    yield Batch(records={Stream.SIFTED: sifted}, packet_ticks={Stream.SIFTED: sifted_ticks})


def follow(path, latency, seen=lambda batch: batch):
    rule = PairRule.of_tables(rule_tables(SNS, "alice"), slice_width=WIDTH)
    gatherer = BlockGatherer(BLOCK, rule)
    heralds = path.herald_array()
    pulse = (heralds["pulse_high_detector"] & 0xFFFFFF).astype(np.int64) << 32 | heralds["pulse_low"]
    of_block = heralds["number"] // BLOCK
    last = {int(b): emitted_ms(int(pulse[of_block == b].max())) for b in np.unique(of_block)}
    for batch in batches(path, last):
        latency.update(seen(batch))
    blocks = [
        *gatherer.update("server", Batch(records={Stream.HERALD: heralds})),
        *gatherer.update(
            "bob", Batch(records={Stream.PEER: path.peer_array("bob"), Stream.SIFTED: path.sifted_array("bob")})
        ),
        *gatherer.update(
            "alice", Batch(records={Stream.PEER: path.peer_array("alice"), Stream.SIFTED: path.sifted_array("alice")})
        ),
        *gatherer.finish(),
    ]
    for block in blocks:
        latency.add(block, block.fate is Fate.CLOSED)
    return {int(b): pulse[of_block == b] for b in np.unique(of_block)}, last


def test_each_step_and_each_herald() -> None:
    client = Client()
    latency = RevealLatency(client, BLOCK)
    pulses, last = follow(pair_path(3, 5, p_x=0.5), latency)
    assert sorted(client.asked) == ["PERIOD", "START_CLOCK"]
    told = latency.as_dict()
    assert told is not None
    assert told["blocks"] == 3
    for step, after in AFTER_MS.items():
        assert told["after_last_herald"][step]["median_ms"] == pytest.approx(after + 1, abs=1e-5)
        assert told["after_last_herald"][step]["largest_ms"] == pytest.approx(after + 2, abs=1e-5)
    own = [
        [last[b] + AFTER_MS[SIFTED] + b - emitted_ms(int(pulse)) for pulse in of_block]
        for b, of_block in pulses.items()
    ]
    whole = told["herald_to_sifted"]
    assert whole["median_ms"] == pytest.approx(np.median([np.median(block) for block in own]), abs=1e-5)
    assert whole["largest_ms"] == pytest.approx(max(map(max, own)), abs=1e-5)


def test_blocks_that_are_not_closed_or_not_seen_from_their_begin_are_left_out() -> None:
    latency = RevealLatency(Client(), BLOCK)
    assert latency.as_dict() is None
    follow(pair_path(4, 5, p_x=0.5, discarded=(0, 2)), latency)
    told = latency.as_dict()
    assert told is not None
    assert told["blocks"] == 2
    late = RevealLatency(Client(), BLOCK)
    follow(pair_path(3, 5, p_x=0.5), late, seen=behind)
    told = late.as_dict()
    assert told is not None
    assert told["blocks"] == 2


def behind(batch: Batch) -> Batch:
    """The batch as it is for who joins behind the first block's last DONE."""
    if Stream.PEER not in batch.records:
        return batch
    records, ticks = batch[Stream.PEER], batch.packet_ticks[Stream.PEER]
    first = int(np.flatnonzero((records["kind"] == Kind.DONE) & (records["value"] == Kind.SLICE))[0]) + 1
    return Batch(records={Stream.PEER: records[first:]}, packet_ticks={Stream.PEER: ticks[first:]})
