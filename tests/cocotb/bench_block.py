"""Block sifters against the oracle: protocols by table, pairs, hostile peers, lost and repeated records, full rings, stops."""

from __future__ import annotations

import copy
import itertools
import random
from dataclasses import replace
from typing import Any

import cocotb

from block_client import (
    MASK32,
    PAIR,
    TAG_KINDS,
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
from digest_oracle import Pair
from lockstep import Lockstep
from twinphase_hdl.sift.pads import DigestPads
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
async def test_tags_of_a_lying_peer(dut: Any) -> None:
    """Either half of the tag differing by a bit discards the block; nothing more of it is said, and the next block is sifted."""
    draw = random.Random(9)
    loop = Lockstep(dut)
    client = Client(loop, "alice", "bob")
    partner = Partner(client)
    script: Script = [("herald", heralds(draw, range(128))), ("psi", psis(draw, range(128)))]
    await loop.start()
    await client.begin()
    said = partner.prepare(script)
    lies = {(Kind.DIGEST_LOW, 0): 1, (Kind.DIGEST_HIGH, 2): 1 << 31}
    spoken = [(kind, number, value ^ lies.get((kind, number), 0)) for kind, number, value in said]
    block_of = lambda record: record[1] if record[0] in (1, 2, 6) else record[1] // 32  # noqa: E731
    spoken = [record for record in spoken if block_of(record) in (1, 3) or record[0] in (1, 2)]
    client.model, client.told = shadow(client), []
    await client.feed(script)
    client.sources["peer"].send(word_of(record, "peer") for record in spoken)
    client.push("peer", spoken)
    await client.check()
    assert {record[0] for record in client.sent() if block_of(record) in (0, 2)} == {1, 2}
    assert (client.counters()["blocks_agreed"], client.counters()["blocks_discarded"]) == (2, 2)


TAMPERED = [
    *("another key", "another nonce", "own tag sent back", "halves exchanged", "pads of the next block"),
    *("swapped heralds", "swapped detectors", "psi bit", "flag", "missing or at pulse 0", "no psi or psi 0"),
]


@cocotb.test()
@cocotb.parametrize((("case", "name"), [(case, name) for case in TAMPERED for name in ("alice", "bob")]))
async def test_tags_that_are_not_the_peer_s(dut: Any, case: str, name: str) -> None:
    """Blocks are discarded when the peer has another key, nonce, pad, or another herald in the second block; else they agree.

    A psi that did not come is in the digest as psi 0 with flags 0: there the peers agree.
    """
    draw = random.Random(f"{case} {name}")
    loop = Lockstep(dut)
    client = Client(loop, name, name)
    key, nonce = list(PAIR.key), list(PAIR.nonce)
    key[draw.randrange(4)] ^= 1 << draw.randrange(32) if case == "another key" else 0
    nonce[draw.randrange(2)] ^= 1 << draw.randrange(32) if case == "another nonce" else 0
    partner = Partner(client, Pair(key=tuple(key), nonce=tuple(nonce)))  # type: ignore[arg-type]
    own_heralds, own_psis = heralds(draw, range(128)), psis(draw, range(128))
    place = draw.randrange(32, 63)
    if case in ("missing or at pulse 0", "no psi or psi 0"):
        own_heralds[place] = (place, 0, 0)
        own_psis[place] = (place, 0, 0)
    own_heralds[place + 1] = (place + 1, own_heralds[place + 1][1], own_heralds[place][2] ^ 1 << 31)
    theirs, their_psis = list(own_heralds), list(own_psis)
    (_, low, high), (_, next_low, next_high) = own_heralds[place : place + 2]
    if case == "swapped heralds":
        theirs[place], theirs[place + 1] = (place, next_low, next_high), (place + 1, low, high)
    elif case == "swapped detectors":
        theirs[place] = (place, low, high ^ 1 << 31)
        theirs[place + 1] = (place + 1, next_low, next_high ^ 1 << 31)
    elif case == "psi bit":
        their_psis[place] = (place, own_psis[place][1] ^ 1 << draw.randrange(16), own_psis[place][2])
    elif case == "flag":
        their_psis[place] = (*own_psis[place][:2], own_psis[place][2] ^ draw.choice([1, 2]))
    elif case == "missing or at pulse 0":
        del theirs[place]
    elif case == "no psi or psi 0":
        del their_psis[place]
    script, told = (
        [(stream, client.numbered(stream, records)) for stream, records in zip(("herald", "psi"), both, strict=True)]
        for both in ((own_heralds, own_psis), (theirs, their_psis))
    )
    await loop.start()
    await client.begin()
    said = partner.prepare(script, told)
    if case == "own tag sent back":
        said = client.told
    elif case == "pads of the next block":
        peer = int(name == "alice")
        of_block = [client.rules.pair.pads(client.first_block + b)[peer] for b in range(5)]
        wrong = [before ^ after for before, after in itertools.pairwise(of_block)]
        said = [
            (kind, number, value ^ wrong[number - client.first_block & MASK32] >> (kind - 1) * 32 & MASK32)
            for kind, number, value in said
            if kind in TAG_KINDS
        ]
    elif case == "halves exchanged":
        said = [(TAG_KINDS[2 - kind] if kind in TAG_KINDS else kind, *rest) for kind, *rest in said]
        said = [record for pair in zip(said[1::2], said[::2], strict=True) for record in pair]
    client.model, client.told = shadow(client), []
    await client.feed(script)
    client.sources["peer"].send(word_of(record, "peer") for record in said)
    client.push("peer", said)
    await client.check()
    counted = client.counters()
    discarded = 0 if case == "no psi or psi 0" else 1 if TAMPERED.index(case) > 4 else 4
    assert (counted["blocks_agreed"], counted["blocks_discarded"]) == (4 - discarded, discarded)


@cocotb.test()
async def test_another_key_from_one_run_to_the_next(dut: Any) -> None:
    """A register that is written ends o_ready until all is made anew, also if another is written meanwhile; a run begins with pad 0."""
    draw = random.Random(31)
    loop = Lockstep(dut)
    client = Client(loop, "bob", "alice")
    script: Script = [("herald", heralds(draw, range(70))), ("psi", psis(draw, range(70)))]
    script = [(stream, client.numbered(stream, records)) for stream, records in script]
    await loop.start()
    await client.begin()
    pairs = [PAIR, Pair(key=PAIR.key, nonce=(0, 0)), Pair(key=(1, 2, 3, 4), nonce=PAIR.nonce), Pair(), PAIR]
    for turn, pair in enumerate(pairs):
        client.rules = replace(client.rules, pair=pair)
        client.model.rules = client.rules
        if turn:
            client.port("i_run").value = 0
            await loop.step(2)
            client.model.stop()
            for value in (draw.getrandbits(192), pair.settings()):
                client.port("i_digest").value = value
                client.port("i_digest_written").value = 1
                await loop.step()
                client.port("i_digest_written").value = 0
                for _ in range(DigestPads.latency - 2 if value == pair.settings() else draw.randrange(600)):
                    await loop.step()
                    assert not client.port("o_ready").value or value != pair.settings()
            await loop.step(3)
            assert client.port("o_ready").value
            client.port("i_run").value = 1
            await loop.step()
        await client.feed(script)
        await client.check()
        assert client.sent()[-2:] == client.told[-2:]
    assert len(client.told) == 2 * len(pairs)
    assert len({value for _, _, value in client.told[2 * 0 : 2 * 4]}) == 8


@cocotb.test()
async def test_a_jump_across_the_ring(dut: Any) -> None:
    """Herald 8191 follows herald 0: the digest takes all that is missing, 8 clocks each, then psi, while inputs wait; none is lost."""
    draw = random.Random(37)
    loop = Lockstep(dut)
    client = Client(loop, "bob", "bob")
    script: Script = [
        ("herald", client.numbered("herald", heralds(draw, [0, RING_HERALDS, RING_HERALDS - 1]))),
        ("psi", client.numbered("psi", psis(draw, [RING_HERALDS, 0, 31, RING_HERALDS - 1]))),
    ]
    await loop.start()
    await client.begin()
    begun = loop.cycle
    for stream, records in script:
        client.sources[stream].send(word_of(record, stream) for record in records)
        client.push(stream, records)
    for _ in range(8 * RING_HERALDS):
        await loop.step()
        assert not client.port("o_idle").value
    await client.quiet(limit=4 * RING_HERALDS + 2000)
    assert loop.cycle - begun < (8 + 4) * RING_HERALDS + RING_HERALDS // 32
    await client.check()
    counted = client.counters()
    assert (counted["heralds"], counted["missing"]) == (2, RING_HERALDS - 2)
    assert (counted["psi"], counted["overflow"]) == (3, 2)


@cocotb.test()
async def test_rates(dut: Any) -> None:
    """Without a peer: 512 heralds come in one after the other in 4 clocks; then psi in 4 clocks and one more for each block."""
    draw = random.Random(41)
    loop = Lockstep(dut)
    client = Client(loop, "alice", "alice")
    await loop.start()
    await client.begin()
    await client.feed([("herald", heralds(draw, range(512)))])
    cycles = [cycle for cycle, _ in client.sources["herald"].taken]
    assert cycles[-1] - cycles[0] == 4 * 511
    await client.quiet()
    # Recalled by a core of its own, three in 30 clocks.
    assert loop.cycle - cycles[0] < 10 * 512 + 100
    await client.feed([("psi", psis(draw, range(512)))])
    cycles = [cycle for cycle, _ in client.sources["psi"].taken]
    assert cycles[-1] - cycles[0] <= 4 * 511 + 512 // 32
    await client.check()


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
