"""Block sifters whose digest covers LIVE records: what one of them has not got, or otherwise, any order of streams, silence, no room."""

from __future__ import annotations

import random
from typing import Any

import cocotb

from block_client import MASK32, PAIR, Client, Partner, Script, at_rest, exchange, psis, relay, shadow, word_of
from lockstep import Lockstep
from twinphase_spec.digest import LIVE_QUEUE
from twinphase_spec.sns import Kind

Record = tuple[int, ...]


def live_run(draw: random.Random, numbers: range, pulse: int) -> tuple[list[Record], list[Record], int]:
    """Heralds with a run right behind each, others between; and the pulse behind them."""
    heralds, runs = [], []
    for number in numbers:
        for _ in range(draw.choice([0, 0, 1, 2])):
            pulse += draw.randrange(1, 1000)
            length = draw.randrange(1, 60)
            runs.append((pulse & MASK32, pulse >> 32, length))
            pulse += length
        pulse += draw.randrange(1, 1 << 20)
        heralds.append((number & MASK32, pulse & MASK32, pulse >> 32 | draw.getrandbits(1) << 31))
        length = draw.randrange(1, 60)
        runs.append((pulse + 1 & MASK32, pulse + 1 >> 32, length))
        pulse += 1 + length
    return heralds, runs, pulse


def behind(pulse: int) -> list[Record]:
    """A run that completes whatever list is under way."""
    return [(pulse + 5 & MASK32, pulse + 5 >> 32, 3)]


CASES = [
    ("equal", 0),
    ("lost", 1),
    ("length", 1),
    ("first", 1),
    ("repeated", 1),
    ("exchanged", 1),
    ("not a pulse's bit", 1),
    ("lost by both", 0),
]


@cocotb.test()
@cocotb.parametrize((("case", "discarded"), CASES))
async def test_a_pair(dut: Any, case: str, discarded: int) -> None:
    """Records of the third block that Bob has otherwise cost that block and no other; the streams come in any order."""
    draw = random.Random(case)
    loop = Lockstep(dut)
    alice = Client(loop, "alice", "alice", live=True)
    bob = Client(loop, "bob", "bob", live=True, seed=1)
    loop.before += [relay(alice, bob), relay(bob, alice)]
    await loop.start()
    for client in (alice, bob):
        await client.begin()
    loop.after += [at_rest(alice), at_rest(bob)]
    pulse = draw.getrandbits(54)
    for chunk in range(5):
        numbers = range(32 * chunk, 32 * chunk + 32)
        heralds, runs, pulse = live_run(draw, numbers, pulse)
        psi = psis(draw, numbers)
        # Those before the first herald and behind the last may belong to a neighbour.
        at = draw.randrange(8, len(runs) - 8)
        others = list(runs)
        low, high, length = runs[at]
        if chunk == 2:
            if case in ("lost", "lost by both"):
                del others[at]
            elif case == "length":
                others[at] = (low, high, length + 1)
            elif case == "first":
                others[at] = (low - 1 & MASK32, high - (low == 0), length)
            elif case == "repeated":
                others.insert(at, runs[at])
            elif case == "exchanged":
                others[at], others[at + 1] = runs[at + 1], runs[at]
            elif case == "not a pulse's bit":
                others[at] = (low, high | 1 << draw.randrange(24, 32), length)
            if case == "lost by both":
                runs = others
        for client, own in ((alice, runs), (bob, others)):
            script: Script = [("herald", heralds), ("live", own), ("psi", psi)]
            if draw.random() < 0.5:
                script[0], script[1] = script[1], script[0]
            if draw.random() < 0.3:
                # Half of the records come last.
                script = [
                    *((s, r if s != "live" else r[: len(r) // 2]) for s, r in script),
                    ("live", own[len(own) // 2 :]),
                ]
            await client.feed([(stream, client.numbered(stream, records)) for stream, records in script])
    for client in (alice, bob):
        await client.feed([("live", behind(pulse))])
    await alice.quiet()
    await bob.quiet()
    loop.after.clear()
    exchange((alice, bob))
    for client in (alice, bob):
        await client.check()
        counted = client.counters()
        assert (counted["blocks_agreed"], counted["blocks_discarded"]) == (5 - discarded, discarded)
        assert counted["live_overflow"] == 0


@cocotb.test()
@cocotb.parametrize((("name",), [("alice",), ("bob",)]))
async def test_silence(dut: Any, name: str) -> None:
    """A block whose list is not known to be complete says nothing, however long; a stop forgets records; the next run has its own."""
    draw = random.Random(name)
    loop = Lockstep(dut)
    client = Client(loop, name, name, live=True)
    await loop.start()
    await client.begin()
    heralds, runs, _ = live_run(draw, range(32), draw.getrandbits(50))
    script: Script = [(s, client.numbered(s, r)) for s, r in (("herald", heralds), ("psi", psis(draw, range(32))))]
    await client.feed([*script, ("live", runs[:-1])])
    await client.quiet()
    await loop.step(3000)
    assert client.port("o_idle").value
    assert client.sent() == []
    await client.restart()
    # As if nothing had come: the same heralds, and all records ahead of them. The last one is behind the block.
    await client.feed([("live", runs), *script])
    await client.check()
    assert [kind for kind, *_ in client.sent()] == [Kind.DIGEST_LOW, Kind.DIGEST_HIGH]


@cocotb.test()
async def test_without_live(dut: Any) -> None:
    """DIGEST_LIVE = 0: records that come are ignored, the block closes without any."""
    draw = random.Random(5)
    loop = Lockstep(dut)
    client = Client(loop, "alice", "alice")
    await loop.start()
    await client.begin()
    heralds, runs, _ = live_run(draw, range(64), 77)
    await client.feed([("live", runs[:9]), ("herald", heralds), ("psi", psis(draw, range(64)))])
    await client.check()
    assert len(client.sent()) == 2
    assert client.counters()["live"] == 0


@cocotb.test()
async def test_no_room_for_records(dut: Any) -> None:
    """More records ahead of their heralds than the queue holds: they are counted, the block that they are missing in is discarded though
    its peer says the right tag, nothing of it is told, and the next one is sifted."""
    draw = random.Random(6)
    loop = Lockstep(dut)
    client = Client(loop, "alice", "alice", live=True)
    partner = Partner(client)
    await loop.start()
    await client.begin()
    ahead = [(10 * k, 0, 3) for k in range(1, LIVE_QUEUE + 100)]
    heralds, runs, pulse = live_run(draw, range(64), 10 * (LIVE_QUEUE + 200))
    psi = psis(draw, range(64))
    kept = LIVE_QUEUE + 1  # one is looked at
    rest: Script = [("herald", heralds), ("live", runs + behind(pulse)), ("psi", psi)]
    said = partner.prepare([("live", ahead[:kept]), *rest])
    client.model, client.told = shadow(client), []
    client.sources["live"].send(word_of(record, "live") for record in ahead)
    await loop.until(lambda: not client.sources["live"].queue, 2000, "live")
    await loop.step(20)
    counted = client.counters()
    assert (counted["live"], counted["live_overflow"]) == (kept, len(ahead) - kept)
    for stream, records in rest:
        client.sources[stream].send(word_of(record, stream) for record in records)
        await loop.until(lambda s=stream: not client.sources[s].queue, 20_000, stream)
        # What waits is hashed behind its heralds before more comes.
        await loop.step(8 if stream == "psi" else 16 * (LIVE_QUEUE + len(runs)))
    client.sources["peer"].send(
        word_of(record, "peer")
        for record in said
        if record[0] <= Kind.DIGEST_HIGH or record[1] not in range(32) or record[1] == 1
    )
    await client.quiet()
    counted = client.counters()
    assert (counted["blocks_agreed"], counted["blocks_discarded"]) == (1, 1)
    told = client.sent()
    assert [kind for kind, *_ in told[:2]] == [Kind.DIGEST_LOW, Kind.DIGEST_HIGH]
    # The own tag of a spoilt block is not the one that it would be.
    right = PAIR.pads(0)[0] ^ PAIR.digest(
        [(low + (high % 2**24 << 32), high >> 31) for _, low, high in heralds[:32]],
        [(value, flags) for _, value, flags in psi[:32]],
        [
            record
            for record in [*ahead[:kept], *runs]
            if record[0] + (record[1] << 32) <= heralds[31][1] + (heralds[31][2] % 2**24 << 32)
        ],
    )
    assert told[0][2] | told[1][2] << 32 == right ^ 1
    assert all(
        number >= 32 or kind in (Kind.DIGEST_LOW, Kind.DIGEST_HIGH) or (kind, number) == (Kind.DONE, 1)
        for kind, number, _ in told
    )
    assert any(kind == Kind.SLICE for kind, *_ in told)
