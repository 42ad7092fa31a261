"""The block digest in block sifters: tags that are not the peer's, keys that change, floods of missing heralds, rates."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from typing import Any

import cocotb

from block_client import (
    MASK32,
    PAIR,
    TAG_KINDS,
    Client,
    Partner,
    Script,
    heralds,
    psis,
    shadow,
    word_of,
)
from digest_oracle import Pair
from lockstep import Lockstep
from twinphase_hdl.sift.pads import DigestPads
from twinphase_spec.sns import RING_HERALDS, Kind


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
