"""Requests, registers, memories, snapshots and the depacketizer of a client's link against plain oracles from the spec."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from typing import Any

import cocotb

from bench_packer import LAST, header_of, packets_of, payload_of
from herald_oracle import Herald, Malformed, decode, numbered
from herald_oracle import payload as payload_of_heralds
from link_client import CELLS, COUNTERS, MASK32, RECEIVED, TABLE, Node, compare, words
from twinphase_hdl.link.snapshot import Snapshot
from twinphase_spec.packets import (
    HEADER_WORDS,
    MAGIC,
    MAX_PAYLOAD_WORDS,
    RECORD_WORDS,
    STATUS_BITS,
    VERSION,
    RegisterOp,
    Stream,
)
from twinphase_spec.registers import CLIENT
from twinphase_spec.units import FRACTION_BITS


@cocotb.test()
async def test_every_address_after_reset(dut: Any) -> None:
    """Reset values, identity and memories; all addresses to 0x70, and the edges of every memory."""
    node = Node(dut)
    await node.loop.start()
    node.dut.node__i_framing.value = 1
    node.bank.values["FRAMING"] = 1
    # COUNTERS hold the last snapshot also after a reset; they have their own test.
    edges = [
        0,
        48,
        0xFC0,
        COUNTERS + 128,
        CELLS - 60,
        CELLS + 192,
        CELLS + 255,
        TABLE.address - 1,
        0xFFFE,
        0xFFFF,
        0x10000,
        0x10022,
        MASK32,
    ]
    want = [node.request(i, RegisterOp.READ, address, 64 if i < 8 else 3) for i, address in enumerate(edges)]
    await node.settle()
    compare(node.responses(), want)
    node.check_outputs()


@cocotb.test()
@cocotb.parametrize((("seed", "idle", "pause"), [(1, 0.0, 0.0), (2, 0.5, 0.6), (3, 0.0, 0.8)]))
async def test_random_requests(dut: Any, seed: int, idle: float, pause: float) -> None:
    """Reads and writes, good and bad, repeated ids, unmapped and wrapping addresses, back to back."""
    draw = random.Random(seed)
    node = Node(dut, idle=idle, pause=pause)
    await node.loop.start()
    want, number, mix = [], 0, Counter[str]()
    mapped = [a for a in node.bank.places if node.bank.places[a][0].name not in ("SNAPSHOT", "STREAM_ENABLE")]
    for _ in range(160):
        fate = draw.random()
        if fate > 0.2:
            number = draw.choice([number + 1, draw.getrandbits(32), 0])
        else:
            mix["repeated"] += 1
        operation = draw.choice([0, 0, 1, 1, 1, draw.choice([2, 3, 0x8000, 0xFFFF, 0x101])])
        address = draw.choice(
            [draw.choice(mapped), draw.choice(mapped), TABLE.address + draw.randrange(TABLE.words), CELLS + draw.randrange(256),
             draw.choice([0x10010, 0xFFFFFFFF, 0x80000023, 0xFFFD, TABLE.address + TABLE.words - 2, 0x9F])]
        )  # fmt: skip
        count = draw.choice([1, 1, 2, 3, 4, draw.choice([0, 64, 65, 1 << 16, (1 << 16) + 1, 1 << 31, MASK32, 257])])
        length = min(count, MAX_PAYLOAD_WORDS)
        if operation == RegisterOp.READ or draw.random() < 0.25:
            length = draw.choice([0, 0, max(0, length - 1), min(length + 1, MAX_PAYLOAD_WORDS)])
        # A snapshot would change what COUNTERS read: it has its own test.
        if (
            address <= CLIENT["SNAPSHOT"].address < address + count
            or address <= CLIENT["STREAM_ENABLE"].address < address + count
        ):
            address += 0x10
        want.append(node.request(number, operation, address, count, [draw.getrandbits(32) for _ in range(length)]))
        mix["bad" if want[-1][2] >> 16 else "good"] += 1
    await node.settle()
    compare(node.responses(), want)
    assert node.table == node.bank.table
    node.check_outputs()
    assert node.dropped == 0
    assert min(mix.values()) > 20, mix


@cocotb.test()
async def test_repeated_ids(dut: Any) -> None:
    """A write whose id is the last executed write's is answered, not executed; reads and bad requests between do not matter."""
    node = Node(dut)
    await node.loop.start()
    key, write, read = CLIENT["KEY_0"].address, RegisterOp.WRITE, RegisterOp.READ
    want = [
        node.request(0, write, key, 1, [1]),  # the first write ever has id 0, as the idle id register may
        node.request(0, write, key, 1, [2]),
        node.request(0, read, key, 1),
        node.request(1, write, key, 2, [3]),  # bad: one word of two
        node.request(1, write, key, 1, [4]),  # so the id is still free
        node.request(5, read, key, 1),
        node.request(5, write, key, 1, [5]),
        node.request(5, write, key, 2, [6, 7]),
        node.request(1, write, key, 1, [8]),  # an older id is new again
        node.request(1, write, key, 65, [9]),
        node.request(9, read, key, 2),
    ]
    await node.settle()
    compare(node.responses(), want)
    assert node.bank.values["KEY_0"] == 8
    node.check_outputs()


def coded(draw: random.Random) -> tuple[list[int], int]:
    """Payload of a packet of HERALD_CODE and the number of its heralds, one in three of them damaged."""
    pulses = list(itertools.accumulate(draw.choice([1, 2, 9, 5000, 1 << 40]) for _ in range(draw.randrange(1, 60))))
    body = payload_of_heralds(numbered(pulses, (draw.getrandbits(1) for _ in pulses)), draw.randrange(130))
    damage = draw.randrange(6)
    if damage == 0:
        body[-1] ^= 1 << draw.randrange(32)
    return body, len(pulses) + (damage == 1)


def decoded(body: list[int], count: int) -> tuple[list[Herald], bool]:
    """Heralds of a packet of HERALD_CODE, and whether it is malformed."""
    try:
        return decode(body, 0, count), False
    except Malformed as error:
        return error.kept, True


@cocotb.test()
@cocotb.parametrize((("seed", "idle", "pause"), [(1, 0.0, 0.0), (2, 0.3, 0.5), (3, 0.0, 0.85)]))
async def test_depacketizer_takes_whole_packets_only(dut: Any, seed: int, idle: float, pause: float) -> None:
    """Good packets between malformed ones of every kind: all records of the good come, in order; every bad one is counted."""
    draw = random.Random(seed)
    node = Node(dut, idle=idle, pause=pause)
    await node.loop.start()
    want: dict[Stream, list[int]] = {s: [] for s in RECEIVED}
    asked, bad = [], 0
    # Cut short at once after reset: nothing is known of an earlier packet.
    node.rx.send([MAGIC << 16 | VERSION << 8 | Stream.PSI | LAST])
    node.rx.send([MAGIC << 16 | VERSION << 8 | Stream.PSI, 7, 2 | LAST])
    bad += 2
    for i in range(160):
        number = draw.choice(RECEIVED)
        size = RECORD_WORDS[number]
        records = draw.choice([0, 1, 2, draw.randrange(20), MAX_PAYLOAD_WORDS // size])
        payload = [draw.getrandbits(32) for _ in range(records * size)]
        flags, fate = draw.getrandbits(16), draw.randrange(14)
        if number is Stream.HERALD_CODE:
            payload, flags = coded(draw)
            fate = 10 if fate == 11 else fate  # every word is whole
        good = words(number, payload, sequence=draw.getrandbits(32), flags=flags)
        if fate < 5:
            node.rx.send(good)
            if number is Stream.HERALD_CODE:
                heralds, malformed = decoded(payload, flags)
                want[number] += [n | (pulse | detector << 63) << 32 for n, pulse, detector in heralds]
                bad += malformed
                continue
            for k in range(0, len(payload), size):
                want[number].append(sum(word << 32 * i for i, word in enumerate(payload[k : k + size])))
            continue
        if fate == 5:
            asked.append(node.request(1000 + i, RegisterOp.READ, CLIENT["KEY_1"].address, 2))
            continue
        bad += 1
        first = good[0]
        if fate == 6:
            node.rx.send([first ^ 1 << draw.randrange(8, 32), *good[1:]])  # magic or version
        elif fate == 7:
            stream = draw.choice([0, 1, 2, 3, 6, 8, 10, 65, 80, 255, number | 128])
            node.rx.send(words(stream, payload))
        elif fate == 8:
            node.rx.send(
                words(number, payload, length=draw.choice([len(payload) + size, 257, 0xFFFF, len(payload) + 512]))
            )
        elif fate == 9:
            node.rx.send(words(number, [*payload, *[1] * size], length=len(payload)))
        elif fate == 10:
            cut = draw.randrange(1, HEADER_WORDS)
            node.rx.send([*good[: cut - 1], good[cut - 1] & MASK32 | LAST])
        elif fate == 11:
            extra = draw.randrange(1, size)
            node.rx.send(words(number, [*payload[size:], *[2] * extra]))  # a record cut off
        elif fate == 12:
            over = [3] * draw.choice([257, 258, 300, 520, 700])
            node.rx.send(words(number, over, length=draw.choice([None, 256, 255, len(over) & 255])))
        else:
            node.rx.send([draw.getrandbits(32) & ~(0xFFFF << 16) | 0x1234 << 16 | LAST])
    await node.settle()
    for number, sink in node.records.items():
        assert sink.words == want[number], (
            f"{number.name}: {len(sink.words)} records came, {len(want[number])} are good"
        )
        assert len(want[number]) > 20
    compare(node.responses(), asked)
    assert node.dropped == bad


@cocotb.test()
async def test_snapshots_are_atomic(dut: Any) -> None:
    """Counters that all change at every clock: COUNTERS hold those of one clock; a snapshot during a copy follows it."""
    draw = random.Random(3)
    node = Node(dut, clock=(9 << STATUS_BITS) - 700)
    history: dict[int, int] = {}

    def change(cycle: int) -> None:
        # Counter 0 is the clock: with it, a snapshot tells the clock at which the others were latched.
        value = node.clock | sum(draw.getrandbits(64) << 64 * k for k in range(1, len(CLIENT.counters)))
        history[node.clock] = value
        dut.node__i_counters.value = value

    node.loop.before.append(change)
    await node.loop.start()
    snapshot, count = CLIENT["SNAPSHOT"].address, CLIENT["SNAPSHOT_COUNT"].address
    n = len(CLIENT.counters)
    node.rx.send(words(Stream.REGISTER_REQUEST, [1], sequence=1, flags=RegisterOp.WRITE, w3=snapshot, w4=1))
    await node.loop.step(150)

    def ask(number: int, address: int, count: int) -> None:
        node.rx.send(words(Stream.REGISTER_REQUEST, [], sequence=number, w3=address, w4=count))

    ask(2, COUNTERS, 2 * n)
    ask(3, count, 1)
    await node.loop.step(150)
    told = node.responses()
    value = sum(word << 32 * i for i, word in enumerate(told[1][HEADER_WORDS:]))
    assert value == history[value & (1 << 64) - 1], "the counters are not of one clock"
    assert told[2][HEADER_WORDS] == 1
    # Two snapshot writes within one copy, then one with bit 0 clear.
    for i, data in ((4, 1), (5, 1), (6, 2)):
        node.rx.send(words(Stream.REGISTER_REQUEST, [data], sequence=i, flags=RegisterOp.WRITE, w3=snapshot, w4=1))
    await node.loop.step(12 * n)
    ask(7, COUNTERS, 2 * n)
    ask(8, count, 1)
    await node.loop.step(12 * n)
    told = node.responses()
    later = sum(word << 32 * i for i, word in enumerate(told[-2][HEADER_WORDS:]))
    assert later == history[later & (1 << 64) - 1]
    assert later & (1 << 64) - 1 > value & (1 << 64) - 1
    assert told[-1][HEADER_WORDS] == 3


@cocotb.test()
async def test_status_records(dut: Any) -> None:
    """A STATUS record holds the counters of three clocks after its tick, or of later if a SNAPSHOT was under way then."""
    draw = random.Random(4)
    node = Node(dut, clock=(4 << STATUS_BITS) - 300)
    history: dict[int, int] = {}
    copy_clocks = Snapshot(counters=len(CLIENT.counters)).copy_clocks

    def change(cycle: int) -> None:
        value = node.clock | sum(draw.getrandbits(64) << 64 * k for k in range(1, len(CLIENT.counters)))
        history[node.clock] = value
        dut.node__i_counters.value = value

    node.loop.before.append(change)
    await node.loop.start()
    enable, snapshot = CLIENT["STREAM_ENABLE"].address, CLIENT["SNAPSHOT"].address
    node.request(1, RegisterOp.WRITE, enable, 1, [1 << Stream.STATUS])
    await node.loop.step(100)
    for k, ahead in enumerate((40, 30, 25, 24, 23, 22, 21, 20, 19, 18, 16, 12, 8, 0)):
        tick = 4 + k << STATUS_BITS
        node.clock = tick - ahead - 30
        await node.loop.step(30)
        node.rx.send(words(Stream.REGISTER_REQUEST, [1], sequence=100 + k, flags=RegisterOp.WRITE, w3=snapshot, w4=1))
        await node.loop.step(ahead + 2 * copy_clocks + 60)
        await node.loop.step(2 * len(CLIENT.counters) + 80)
    records = [p for p in packets_of(node.tx.words) if p[0] == Stream.STATUS and header_of(p)["words"]]
    assert len(records) == 14
    held_up = 0
    for k, packet in enumerate(records):
        payload = payload_of(packet)
        assert len(payload) == CLIENT.status_words
        value = sum(int(word) << 32 * i for i, word in enumerate(payload))
        clock = value & (1 << 64) - 1
        late = clock - (4 + k << STATUS_BITS)
        assert value == history[clock]
        assert 3 <= late <= 3 + copy_clocks + 2, f"status {k} is {late} clocks late"
        held_up += late > 3
        assert int(header_of(packet)["base_ticks"]) >> FRACTION_BITS == clock
    assert 0 < held_up < 14, "no snapshot was under way at a tick"


@cocotb.test()
async def test_streams_and_responses_share_the_link(dut: Any) -> None:
    """Lossless records under load while registers are read: every packet whole, every record there, responses not starved."""
    draw = random.Random(8)
    node = Node(dut, pause=0.3)
    await node.loop.start()
    want = [
        node.request(1, RegisterOp.WRITE, CLIENT["STREAM_ENABLE"].address, 1, [1 << Stream.PEER | 1 << Stream.SIFTED])
    ]
    await node.loop.step(60)
    peer = [draw.getrandbits(96) for _ in range(600)]
    sifted = [draw.getrandbits(64) for _ in range(600)]
    node.send_peer.send(peer)
    node.send_sifted.send(sifted)
    for i in range(40):
        want.append(node.request(2 + i, RegisterOp.READ, CELLS + i, 5))
        await node.loop.step(60)
    await node.loop.until(lambda: not node.send_peer.queue and not node.send_sifted.queue, 20_000, "records")
    await node.settle()
    node.clock = (1 << 17) - 2
    await node.loop.step(10)
    await node.settle()
    compare(node.responses(), want)
    came: dict[int, list[int]] = {Stream.PEER: [], Stream.SIFTED: []}
    for packet in packets_of(node.tx.words):
        if packet[0] in came:
            came[packet[0]] += payload_of(packet).tolist()
            assert header_of(packet)["lost"] == 0
    for stream, records in ((Stream.PEER, peer), (Stream.SIFTED, sifted)):
        told = [word >> 32 * i & MASK32 for word in records for i in range(RECORD_WORDS[stream])]
        assert came[stream] == told, stream.name
