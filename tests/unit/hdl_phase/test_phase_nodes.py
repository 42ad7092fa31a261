"""Nodes and TRACK records of the click tracker's turns against the page, and what becomes of records that find no room."""

import random

import numpy as np
import pytest
from phase_oracle import simulate

from twinphase_hdl.phase.nodes import PhaseNodes
from twinphase_spec import tracking
from twinphase_spec.packets import TRACK_BROKE, TRACK_DTYPE, TRACK_FLAGS_SHIFT, TRACK_LOCKED

LATENCY = 67


def wrap(value: int, bits: int) -> int:
    return (value + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1)


def random_output(rng: random.Random, channel: int, time: int, turn: bool) -> dict[str, int]:
    extreme = rng.choice([0, -1, -(1 << 63), (1 << 63) - 1, wrap(rng.getrandbits(64), 64)])
    return {
        "channel": channel,
        "time": time % (1 << 51),
        "kind": tracking.TURN if turn else rng.randrange(1, 5),
        "locked": rng.randrange(2),
        "broke": int(rng.random() < 0.3),
        "phase": extreme,
        "slope": rng.choice([-(1 << 41) + 1, -1, 0, (1 << 41) - 1, wrap(rng.getrandbits(42), 42)]),
        "p": rng.choice([0, (1 << 32) - 1, rng.getrandbits(32)]),
        "v": rng.getrandbits(32),
    }


def expected(outputs: list, ratio: int, epoch_bits: int, every: int) -> tuple[list, list]:
    """(clock, node) of each turn's output, and (channel, record but for what was applied) of each record."""
    nodes, records = [], []
    clicks, broken = [0, 0], [0, 0]
    for clock, output in outputs:
        channel, phase = output["channel"], output["phase"]
        if output["kind"]:
            clicks[channel] += 1
            continue
        broken[channel] |= output["broke"]
        epoch = output["time"] >> epoch_bits
        scaled = phase + (phase * ratio >> 32) if channel == 0 else phase
        node = {"channel": channel, "epoch": epoch % (1 << 32), "phase": scaled % (1 << 32)}
        node |= {"slope": output["slope"] >> 8, "locked": output["locked"], "broke": output["broke"]}
        nodes.append((clock + LATENCY, node))
        if epoch % (1 << every) == 0:
            flags = TRACK_LOCKED * output["locked"] | TRACK_BROKE * broken[channel]
            record = np.zeros(1, TRACK_DTYPE)
            record["clock_low"] = output["time"] & 0xFFFFFFFF
            record["clock_high_channel"] = output["time"] >> 32 | channel << 24 | flags << TRACK_FLAGS_SHIFT
            record["phase_turns"], record["slope"] = phase, output["slope"] >> 10
            record["variance"], record["visibility"], record["clicks"] = output["p"], output["v"] >> 16, clicks[channel]
            records.append((clock, record[0]))
            clicks[channel] = broken[channel] = 0
    return nodes, records


def play(rng: random.Random, ratio: int, epoch_bits: int, every: int, turns: int, blocked: bool):
    """(outputs given, nodes seen, records seen with the clock of their transfer, clocks of strobes of a loss)."""
    dut = PhaseNodes()
    first = rng.choice([(1 << 51 - epoch_bits) - turns // 2, rng.getrandbits(51 - epoch_bits), 0])
    at, outputs = 12, []
    for turn in range(turns):
        time = first + turn << epoch_bits
        outputs += [(at + c, random_output(rng, c, time, turn=True)) for c in range(2)]
        at += 2
        free = at + LATENCY + (rng.choice([0, 0, 1, 60]) if blocked else 60)
        while at < free:
            if rng.random() < 0.5:
                outputs.append((at, random_output(rng, rng.randrange(2), time + at, turn=False)))
            at += 1
    outputs_at, turns_at = dict(outputs), [since for since, output in outputs if not output["kind"]]
    nodes, records, lost = [], [], []
    end = at + 3 * LATENCY

    async def bench(ctx):
        ctx.set(dut.i_ratio, ratio)
        ctx.set(dut.i_epoch_bits, epoch_bits)
        ctx.set(dut.i_every, every)
        for clock in range(end):
            ctx.set(dut.i_run, clock >= 5)
            ctx.set(dut.i_applied, clock)
            # What came before i_run does not count.
            output = outputs_at.get(clock) if clock >= 5 else random_output(rng, 0, 0, turn=False)
            ctx.set(dut.i_valid, output is not None)
            if output is not None:
                ctx.set(dut.i, output)
            ready = rng.random() < (0.004 if blocked and clock < at else 0.3)
            ctx.set(dut.o_record.ready, ready)
            if ctx.get(dut.o_valid):
                nodes.append((clock, {name: int(ctx.get(getattr(dut.o, name))) for name in expected_names}))
            if ready and ctx.get(dut.o_record.valid):
                records.append((clock, [ctx.get(dut.o_record.payload[k]) for k in range(8)]))
            if ctx.get(dut.o_lost):
                lost.append(clock)
            if output is not None or any(0 <= clock - since <= LATENCY for since in turns_at):
                assert not ctx.get(dut.o_idle)
            await ctx.tick()
        assert ctx.get(dut.o_idle)

    expected_names = ("channel", "epoch", "phase", "slope", "locked", "broke")
    simulate(dut, bench)
    return outputs, nodes, records, lost


def as_record(words: list[int]) -> np.void:
    return np.array(words, "<u4").view(TRACK_DTYPE)[0]


@pytest.mark.parametrize(
    ("epoch_bits", "every", "ratio"), [(9, 0, 27_000_000), (10, 1, -(1 << 31)), (13, 0, (1 << 31) - 1), (16, 3, -1)]
)
def test_nodes_and_records(epoch_bits: int, every: int, ratio: int) -> None:
    rng = random.Random(epoch_bits)
    outputs, nodes, records, lost = play(rng, ratio, epoch_bits, every, turns=18, blocked=False)
    want_nodes, want_records = expected(outputs, ratio, epoch_bits, every)
    assert nodes == want_nodes
    assert not lost
    assert len(records) == len(want_records)
    assert len(records) >= 2 * 18 // (1 << every) - 2
    for (clock, words), (since, record) in zip(records, want_records, strict=True):
        got = as_record(words)
        # Made between the turn's output and the next turn's.
        assert since < got["applied_turns"] < clock <= since + 2 * LATENCY
        record["applied_turns"] = got["applied_turns"]
        assert got == record


def test_records_without_room_are_counted() -> None:
    """Of a sink that rarely takes, each record comes whole or is strobed as lost, and what comes is in order."""
    rng = random.Random(8)
    outputs, nodes, records, lost = play(rng, 12345, 9, 0, turns=40, blocked=True)
    want_nodes, want_records = expected(outputs, 12345, 9, 0)
    assert nodes == want_nodes
    assert len(lost) > 20
    assert len(records) + len(lost) == len(want_records)
    wanted = iter(want_records)
    for _, words in records:
        got = as_record(words)
        for _, record in wanted:
            record["applied_turns"] = got["applied_turns"]
            if record == got:
                break
        else:
            pytest.fail(f"{got} is of no turn, or out of order")
