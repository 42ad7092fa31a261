"""Block sifters against the oracle: protocols by table, pairs, hostile peers, lost and repeated records, full rings, stops."""

from __future__ import annotations

import copy
import random
from typing import Any

import cocotb

from block_client import (
    MASK32,
    WRAP_BLOCK,
    WRAP_HERALD,
    Client,
    Partner,
    Script,
    at_rest,
    damaged,
    exchange,
    heralds,
    near_heralds,
    protocol,
    psis,
    random_protocol,
    relay,
    shadow,
    word_of,
)
from block_oracle import PEER_QUEUE
from lockstep import Lockstep
from twinphase_spec.sns import CELLS, RING_HERALDS, Kind


@cocotb.test()
@cocotb.parametrize(
    (("block", "idle", "pause", "rate", "own"), [(32, 0.0, 0.0, 0.0, 0.0), (64, 0.5, 0.6, 0.1, 0.0), (32, 0.1, 0.2, 0.05, 0.003)])
)  # fmt: skip
async def test_a_pair(dut: Any, block: int, idle: float, pause: float, rate: float, own: float) -> None:
    """Alice and Bob, whose numbers begin elsewhere, sift each other's blocks; damage by the server, or at one client (own)."""
    draw = random.Random(f"{block} {idle}")
    loop = Lockstep(dut)
    alice = Client(loop, "alice", "alice", block=block, idle=idle, pause=pause)
    bob = Client(loop, "bob", "bob", block=block, idle=idle, pause=pause, seed=1)
    loop.before += [relay(alice, bob), relay(bob, alice)]
    await loop.start()
    for client in (alice, bob):
        await client.begin()
    loop.after += [at_rest(alice), at_rest(bob)]
    for chunk in range(6):
        numbers = range(100 * chunk, 100 * chunk + 100)
        server = damaged(draw, heralds(draw, numbers), rate), damaged(draw, psis(draw, numbers), rate)
        for client in (alice, bob):
            own_records = zip(("herald", "psi"), (damaged(draw, records, own) for records in server), strict=True)
            await client.feed([(stream, client.numbered(stream, records)) for stream, records in own_records])
    await alice.quiet()
    await bob.quiet()
    loop.after.clear()
    exchange((alice, bob))
    for client in (alice, bob):
        await client.check()
    counted = alice.counters()
    assert counted["sifted_x"] > 20
    assert counted["sifted_z"] > 20
    assert 0 < counted["kept_x"] < counted["sifted_x"]
    assert counted["error_x"] > 0
    assert not rate or (counted["missing"] and counted["late"] and counted["overflow"])
    assert bool(own) == bool(counted["blocks_discarded"])
    assert counted["blocks_agreed"] >= 2


PROTOCOL_CASES = [
    ("PM", 0, 0.0),
    ("CAL", 0, 0.03),
    ("BB84", 0, 0.0),
    ("MP", 1000, 0.0),
    ("MP", 1 << 31, 0.05),
    ("any", 0, 0.02),
    ("any", 0, 0.0),
    ("any", 700, 0.03),
]


@cocotb.test()
@cocotb.parametrize((("case",), [(case,) for case in range(len(PROTOCOL_CASES))]))
async def test_protocols(dut: Any, case: int) -> None:
    """Alice and Bob by the tables of each protocol, and by any that are symmetric; pairs across blocks and missing heralds."""
    name, span, rate = PROTOCOL_CASES[case]
    draw = random.Random(f"{PROTOCOL_CASES[case]} {case}")
    rules = random_protocol(draw, span) if name == "any" else protocol(name, span)
    loop = Lockstep(dut)
    width = draw.choice([8192, 32768, 0])
    alice = Client(loop, "alice", "alice", pause=0.2, protocol=rules, width=width)
    bob = Client(loop, "bob", "bob", idle=0.1, protocol=rules, width=width, seed=case)
    loop.before += [relay(alice, bob), relay(bob, alice)]
    await loop.start()
    for client in (alice, bob):
        await client.begin()
    numbers = range(1600 if name == "MP" else 400)  # few pairs have light that is alike
    stream_heralds = near_heralds(draw, numbers, 1000)
    if span:  # of pairs the second of which comes later, in a block's first and last place too
        lost = {n for n in numbers if n % 32 in draw.sample([0, 1, 5, 6, 30, 31], 2) and draw.random() < 0.3}
        stream_heralds = [record for record in stream_heralds if record[0] not in lost]
    server = damaged(draw, stream_heralds, rate), damaged(draw, psis(draw, numbers), rate)
    for client in (alice, bob):
        records = zip(("herald", "psi"), server, strict=True)
        await client.feed([(stream, client.numbered(stream, part)) for stream, part in records])
    await alice.quiet()
    await bob.quiet()
    exchange((alice, bob))
    for client in (alice, bob):
        await client.check()
        counted = client.counters()
        assert counted["blocks_agreed"] >= 11
        assert counted["refused"] == 0
        assert bool(counted["unpaired"]) == bool(span)
    if name != "any":
        assert counted["sifted_x"] > (1 if name == "MP" else 20)
        assert bool(width) == (counted["kept_x"] > 0)
        assert counted["error_x"] == 0
        assert bool(counted["sifted_z"]) == (name == "MP")


@cocotb.test()
async def test_numbers_wrap(dut: Any) -> None:
    """Herald, psi and block numbers pass 2^32, with missing numbers on both sides of it and across it."""
    draw = random.Random(5)
    loop = Lockstep(dut)
    client = Client(loop, "bob", "alice", pause=0.2)
    partner = Partner(client)
    numbers = [n for n in range(WRAP_HERALD - 3, WRAP_HERALD + 200) if n - (1 << 32) not in (-9, -2, -1, 0, 1, 77)]
    script: Script = [
        ("herald", heralds(draw, numbers)),
        ("psi", psis(draw, numbers[:50])),
        ("psi", psis(draw, numbers[45:])),
    ]
    await loop.start()
    await client.begin()
    said = partner.prepare(script)
    for stream, records in script:
        client.sources[stream].send(word_of(record, stream) for record in records)
        await loop.until(lambda s=stream: not client.sources[s].queue, 20_000, stream)
        await loop.step(10)
    client.sources["peer"].send(word_of(record, "peer") for record in said)
    await client.check()
    counted = client.counters()
    assert counted["late"] == 3 + 3 + 5
    assert counted["blocks_agreed"] == 6
    blocks = {number for kind, number, _ in client.sent() if kind == Kind.DIGEST_HIGH}
    assert blocks == {WRAP_BLOCK, WRAP_BLOCK + 1, 0, 1, 2, 3}


@cocotb.test()
@cocotb.parametrize((("seed", "pause", "name"), [(1, 0.0, "SNS"), (2, 0.7, "SNS"), (3, 0.0, "PM"), (4, 0.1, "MP")]))
async def test_a_hostile_peer(dut: Any, seed: int, pause: float, name: str) -> None:
    """Between a peer's right messages come wrong kinds, numbers, values, repeats and early reveals and DONEs: all are refused.

    The right TYPES say of missing heralds that they are X: nothing comes of it.
    """
    draw = random.Random(seed)
    loop = Lockstep(dut)
    rules = protocol(name, 5000 if name == "MP" else 0)
    client = Client(loop, "alice", "alice", pause=pause, protocol=rules)
    partner = Partner(client)
    present = [n for n in range(130) if n % 11]
    script: Script = [("herald", near_heralds(draw, present, 1000)), ("psi", psis(draw, range(130)))]
    await loop.start()
    await client.begin()
    said = partner.prepare(script)
    missing = sum(1 << n for n in range(130) if not n % 11)
    said = [
        (kind, number, value | (missing >> number & MASK32 if kind == Kind.TYPES else 0))
        for kind, number, value in said
    ]
    mask = rules.alice.slice_mask
    # The client's oracle has heard the right messages; it starts anew and hears what the gateware hears.
    spoiled: list[tuple[int, ...]] = []
    for i, (kind, number, value) in enumerate(said):
        for _ in range(draw.choice([0, 0, 1, 2])):
            wrong = draw.choice(
                [
                    (0, number, value),
                    (7, number, value),
                    (kind | 8, number, value),
                    (kind | 1 << 31, number, value),
                    (kind, number + 1 & MASK32, value),
                    (kind, number - 1 & MASK32, value),
                    (kind, number ^ 1 << 31, value),
                    (Kind.DONE, number + 1, value),
                    (Kind.DONE, number, 7),
                    (Kind.SLICE, number, value | draw.choice([16, 1 << 31, 15 & ~mask or 32]))
                    if kind == Kind.SLICE
                    else (Kind.DONE, number, value ^ 1 << 31),
                    (Kind.INTENSITY, number, draw.choice([4, 5, 1 << 30])),
                    said[i - 1] if i else (0, 0, 0),
                    said[i + 1] if i + 1 < len(said) else (0, 0, 0),
                ]
            )
            if wrong != (kind, number, value):
                spoiled.append(wrong)
        spoiled.append((kind, number, value))
    fresh = shadow(client)
    client.model, client.told = fresh, []
    await client.feed(script)
    client.sources["peer"].send(word_of(record, "peer") for record in spoiled)
    client.push("peer", spoiled)
    await client.check()
    counted = client.counters()
    assert counted["blocks_agreed"] == 4, "the right messages no longer came through"
    assert counted["refused"] == len(spoiled) - len(said) > 50


@cocotb.test()
async def test_stalled_outputs_lose_nothing(dut: Any) -> None:
    """PEER stands still for thousands of clocks, then SIFTED does: the words wait and are the oracle's."""
    draw = random.Random(11)
    loop = Lockstep(dut)
    client = Client(loop, "alice", "alice")
    partner = Partner(client)
    script: Script = [("herald", heralds(draw, range(96))), ("psi", psis(draw, range(96)))]
    await loop.start()
    await client.begin()
    said = partner.prepare(script)
    client.model, client.told = shadow(client), []
    client.peer.idle = client.sifted.idle = 1.0
    await client.feed(script)
    client.sources["peer"].send(word_of(record, "peer") for record in said)
    client.push("peer", said)
    await loop.step(20_000)
    assert not client.peer.taken
    client.peer.idle = 0.0
    await loop.step(20_000)
    assert client.counters()["blocks_agreed"] == 1, "the sifter did not wait for its sifted words"
    assert not client.sifted.taken
    client.sifted.idle = 0.9
    await client.check()
    assert client.counters()["blocks_agreed"] == 3


@cocotb.test()
async def test_the_ring_overflows_and_recovers(dut: Any) -> None:
    """Without a peer 8192 heralds and psi fit (256 blocks of 32); the next are overflow; once blocks are done there is room.

    The first 255 blocks are discarded by a wrong digest, which is fast; block 255 and those with the lost numbers are sifted.
    """
    draw = random.Random(13)
    loop = Lockstep(dut)
    client = Client(loop, "alice", "bob")
    partner = Partner(client)
    end = RING_HERALDS + 30
    script: Script = [
        ("herald", heralds(draw, [n for n in range(end) if n % 97])),
        ("psi", psis(draw, [n for n in range(end) if n % 89])),
    ]
    more: Script = [("herald", heralds(draw, range(end, end + 200))), ("psi", psis(draw, range(end, end + 200)))]
    await loop.start()
    await client.begin()

    def spoil(records: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
        lies = lambda kind, number: kind in (Kind.DIGEST_LOW, Kind.DIGEST_HIGH) and number < 255  # noqa: E731
        return [(kind, number, value ^ lies(kind, number)) for kind, number, value in records]

    for part in (script, more):
        for stream, records in part:
            partner.model.push(stream, records)
        await client.feed(part)
        await client.quiet()
        assert client.counters() == client.model.counters
        if part is script:
            lost = range(RING_HERALDS, end)
            assert client.counters()["overflow"] == sum(bool(n % 97) + bool(n % 89) for n in lost)
            assert client.counters()["psi"] == sum(bool(n % 89) for n in range(RING_HERALDS))
        while True:
            theirs, mine = spoil(partner.model.take_peer()), client.model_messages()
            if not theirs and not mine:
                break
            partner.model.push("peer", spoil(mine))
            client.push("peer", theirs)
            client.sources["peer"].send(word_of(record, "peer") for record in theirs)
            await client.quiet()
    await client.check()
    assert client.counters()["blocks_discarded"] == 255
    assert client.counters()["blocks_agreed"] == (end + 200) // 32 - 255
    assert client.counters()["missing"] == sum(n % 97 == 0 for n in range(RING_HERALDS)) + 30


@cocotb.test()
async def test_a_full_peer_queue_refuses(dut: Any) -> None:
    """4096 records wait for a block, the rest is refused at once; when the block comes, all that waited is refused too."""
    draw = random.Random(17)
    loop = Lockstep(dut)
    client = Client(loop, "alice", "alice")
    partner = Partner(client)
    script: Script = [("herald", heralds(draw, range(32))), ("psi", psis(draw, range(32)))]
    await loop.start()
    await client.begin()
    said = partner.prepare(script)
    client.model, client.told = shadow(client), []
    junk = [(Kind.TYPES, n, n) for n in range(PEER_QUEUE + 9)]
    client.sources["peer"].send(word_of(record, "peer") for record in junk)
    await loop.step(len(junk) + 20)
    client.push("peer", junk)
    assert client.counters()["refused"] == 9
    assert client.counters()["peer"] == PEER_QUEUE
    await client.feed(script)
    await client.quiet()
    assert client.counters()["refused"] == PEER_QUEUE + 9
    client.sources["peer"].send(word_of(record, "peer") for record in said)
    client.push("peer", said)
    await client.check()
    assert client.counters()["blocks_agreed"] == 1


@cocotb.test()
async def test_stopping_clears_all_but_counters_and_cells(dut: Any) -> None:
    """run = 0 while waiting in every state, and while outputs stand still; afterwards numbers begin at 0."""
    draw = random.Random(19)
    loop = Lockstep(dut)
    client = Client(loop, "alice", "alice")
    script: Script = [("herald", heralds(draw, range(40))), ("psi", psis(draw, range(40)))]
    await loop.start()
    await client.begin()
    plan = copy.copy(client)  # an oracle of its own, for the partner's words
    plan.model, plan.told = shadow(client), []
    said = Partner(plan).prepare(script)
    stops = [0, 1, 2, *(i + 1 for i, record in enumerate(said) if record[0] == Kind.DONE), 4, len(said) - 2, len(said)]
    for stop in stops:
        await client.feed(script)
        client.sources["peer"].send(word_of(record, "peer") for record in said[:stop])
        client.push("peer", said[:stop])
        await client.quiet()
        client.model_messages()
        assert client.counters() == client.model.counters, f"stopped after {stop} messages"
        await client.restart()
    # Offered words stay offered through a stop.
    client.peer.idle = 1.0
    await client.feed(script)
    await loop.step(200)
    client.model_messages()
    del client.told[-1]  # the second digest had not left the sifter
    await client.restart()
    client.peer.idle = 0.0
    await client.feed(script)
    client.sources["peer"].send(word_of(record, "peer") for record in said)
    client.push("peer", said)
    await client.check()
    # While stopped, records are taken and forgotten.
    client.port("i_run").value = 0
    for stream, records in script:
        client.sources[stream].send(word_of(record, stream) for record in records)
    client.sources["peer"].send(word_of(record, "peer") for record in said)
    await loop.step(200)
    assert not any(source.queue for source in client.sources.values())
    client.port("i_run").value = 1
    client.model.stop()
    await client.feed(script[:1])
    await client.check()


@cocotb.test()
async def test_a_silent_peer(dut: Any) -> None:
    """A peer that stops at any message: nothing is said that would need its next one, however long it takes."""
    draw = random.Random(23)
    loop = Lockstep(dut)
    client = Client(loop, "alice", "alice", protocol=protocol("PM"))
    script: Script = [("herald", heralds(draw, range(32))), ("psi", psis(draw, range(32)))]
    await loop.start()
    await client.begin()
    plan = copy.copy(client)
    plan.model, plan.told = shadow(client), []
    said = Partner(plan).prepare(script)
    await client.feed(script)
    for message in said:
        await loop.step(600)
        assert client.port("o_idle").value
        client.model_messages()
        assert client.sent() == client.told
        client.sources["peer"].send([word_of(message, "peer")])
        client.push("peer", [message])
    await client.check()
    assert client.counters()["blocks_agreed"] == 1


@cocotb.test()
async def test_a_copy_is_of_one_instant(dut: Any) -> None:
    """Snapshots at any clock of a sift: cells and bins sum up to the counters of that clock; one after the other, and far apart."""
    draw = random.Random(29)
    loop = Lockstep(dut)
    client = Client(loop, "alice", "alice")
    client.sifted.idle = 0.98  # a snapshot among two heralds of a block is then more likely than between blocks
    partner = Partner(client)
    script: Script = [("herald", heralds(draw, range(640))), ("psi", psis(draw, range(640)))]
    await loop.start()
    await client.begin()
    cells_before = client.cells_before[:CELLS]
    bins_before = client.cells_before[CELLS:]
    said = partner.prepare(script)
    client.model, client.told = shadow(client), []
    await client.feed(script)
    client.sources["peer"].send(word_of(record, "peer") for record in said)
    client.push("peer", said)
    seen, during = set(), 0
    for _ in range(32):
        counters = await client.snapshot()
        cells, bins = await client.copied()
        cells = [now - before for now, before in zip(cells, cells_before, strict=True)]
        assert sum(bins) - sum(bins_before) == counters["sifted_x"]
        assert sum(cells[k] for k in range(CELLS) if k & 2) == counters["kept_x"]
        assert sum(cells[k] for k in range(CELLS) if k & 1) == counters["error_x"]
        seen.add(sum(cells))
        during += counters["blocks_agreed"] < 20
        await loop.step(draw.choice([0, 0, 1, draw.randrange(120)]))
    assert len(seen) > 8
    assert during > 8
    await client.check()
