"""The link over UDP against the reference: subscriptions, requests of two hosts, whatever else arrives, floods and silence."""

from __future__ import annotations

import random
from typing import Any

import cocotb
import numpy as np

from twinphase_sim.model.link.udp import LEASE_TICKS, OLD, WINDOW, WRITERS, Datagram, UdpNode
from twinphase_spec.packets import HEADER_WORDS, MAGIC, MAX_PAYLOAD_WORDS, VERSION, RegisterOp, Stream
from twinphase_spec.udp_registers import COUNTERS, UDP_LINK
from udp_rig import (
    DEPTH,
    HOSTS,
    LATENCY,
    LINK_PORT,
    NET_HZ,
    PATIENCE_SECONDS,
    PLACES,
    PORT,
    REGISTER_PORT,
    STALL_SECONDS,
    SUBSCRIBE,
    TICK_CLOCKS,
    Drop,
    Rig,
    judge,
    packet,
    request,
)


def node(**options: Any) -> UdpNode:
    return UdpNode(places=PLACES, port=PORT, register_port=REGISTER_PORT, link_port=LINK_PORT, **options)


def subscribe(host: int, payload: list[int] | None = None) -> Datagram:
    return Datagram(host=HOSTS[host], port=PORT, data=packet(Stream.SUBSCRIBE, payload))


def wrong(draw: random.Random, *goods: bytes) -> Datagram:
    """A datagram with one thing wrong, or several, which is else one of ``goods``, a subscription or a request if there are none."""
    host, port = draw.choice(HOSTS), draw.choice((PORT, REGISTER_PORT))
    good = draw.choice(
        goods or (SUBSCRIBE, request(draw.getrandbits(32)), request(7, [draw.getrandbits(32)] * draw.randrange(40)))
    )
    kind = draw.randrange(12)
    data, length, error = good, None, False
    if kind == 0:
        error = True
    elif kind == 1:
        port = draw.choice((0, PORT ^ 1 << draw.randrange(16), 68, 0xFFFF))
        port = port if port not in (PORT, REGISTER_PORT) else 1
    elif kind == 2:  # the frame was shorter than the datagram says
        length = len(good)
        data = good[: draw.randrange(len(good))]
    elif kind == 3:  # no whole words, down to nothing
        data = good + bytes(draw.randrange(1, 4)) if draw.random() < 0.5 else good[: draw.randrange(32)]
    elif kind == 4:  # not as long as its header says
        words = draw.choice((1, 2, 300, 0x100, 0xFFFF))
        data = good[:8] + words.to_bytes(2, "little") + good[10:]
        data = data if words * 4 + 32 != len(good) else SUBSCRIBE[:28]
    elif kind == 5:  # longer than a packet may be, also where its header agrees
        data = good[:1] + request(3, [1] * draw.choice((MAX_PAYLOAD_WORDS + 1, 300, 400)))[1:]
    elif kind == 6:  # more words than the length says
        length = draw.choice((0, 4, len(good) - 4))
    elif kind == 7:
        data = (draw.getrandbits(32)).to_bytes(4, "little") + good[4:]
    elif kind == 8:
        stream = draw.choice([s for s in range(256) if s not in (Stream.REGISTER_REQUEST, Stream.SUBSCRIBE)])
        data = bytes([stream]) + good[1:]
    elif kind == 9:
        port, data = REGISTER_PORT, SUBSCRIBE
    elif kind == 10:
        magic = (MAGIC << 8 | VERSION) ^ 1 << draw.randrange(24)
        data = bytes([good[0]]) + magic.to_bytes(3, "little") + good[4:]
    else:
        data = bytes(draw.getrandbits(8) for _ in range(draw.randrange(80)))
        length = draw.choice((None, draw.randrange(1 << 16)))
    return Datagram(host=host, port=port, data=data, length=length, error=error)


def random_stream(draw: random.Random, number: int) -> bytes:
    payload = [draw.getrandbits(32) for _ in range(draw.choice((0, 0, 1, 2, 9, 30)))]
    return packet(draw.choice((Stream.TAG, Stream.STATUS, Stream.HERALD)), payload, number=number)


@cocotb.test()
@cocotb.parametrize(
    (
        ("idle", "pause", "net_ps"),
        [(0.0, 0.0, 16_000), (0.5, 0.0, 15_346), (0.0, 0.6, 16_000), (0.3, 0.3, 7_010), (0.2, 0.4, 8_000)],
    )
)
async def test_two_hosts(dut: Any, idle: float, pause: float, net_ps: int) -> None:
    """Requests of two hosts in turn, also with equal ids, on both ports, between streams and everything that must be dropped."""
    draw = random.Random(f"two hosts {idle} {pause} {net_ps}")
    rig, model = Rig(dut, idle=idle, pause=pause, net_ps=net_ps, answer=0.2, seed=net_ps), node()
    await rig.start()
    for host in (0, 2):
        rig.receive(subscribe(host))
    await rig.settle()
    for k in range(120):
        if k % 30 == 0:
            await rig.settle()
            rig.to_send.extend(random_stream(draw, k) for k in range(20))
        if draw.random() < 0.35:
            rig.receive(wrong(draw))
        elif draw.random() < 0.2:
            rig.receive(subscribe(draw.choice((0, 2)), [1, k] * draw.randrange(4)))
        else:
            number = draw.choice((5, 5, draw.getrandbits(32)))
            payload = [draw.getrandbits(32)] * draw.choice((0, 0, 1, 64))
            port = draw.choice((PORT, REGISTER_PORT))
            rig.receive(Datagram(host=HOSTS[draw.randrange(2)], port=port, data=request(number, payload)))
    await rig.settle()
    judge(rig, model)
    want = [datagram for whole in rig.sent for datagram in model.send(whole)]
    assert rig.datagrams == want
    assert rig.counts == dict(struck=0, sent=len(want), discarded=0, unasked=0, malformed=0)
    assert len(model.requests) > 20
    assert len({reason for _, reason in rig.drops}) >= 5


@cocotb.test()
@cocotb.parametrize((("seed",), [(1,), (2,), (3,)]))
async def test_what_is_no_request_or_subscription(dut: Any, seed: int) -> None:
    """Truncated, oversized, foreign, odd: each is dropped for the reason that the reference gives, and the next whole one is taken."""
    draw = random.Random(f"wrong {seed}")
    rig, model = Rig(dut, idle=0.2 * (seed - 1), seed=seed), node()
    await rig.start()
    good = 0
    for _ in range(150):
        rig.receive(wrong(draw))
        if draw.random() < 0.2:
            good += 1
            rig.receive(Datagram(host=draw.choice(HOSTS), port=PORT, data=request(draw.getrandbits(32))))
    await rig.settle()
    judge(rig, model)
    assert {"FULL", "REFUSED"}.isdisjoint({reason for _, reason in rig.drops})
    assert {reason for _, reason in rig.drops} == {"ERROR", "PORT", "LENGTH", "FOREIGN", "STREAM"}
    assert len(model.requests) >= good
    assert [datagram.host for datagram in rig.datagrams] == [host for _, host, *_ in model.asked]


def number_of(draw: random.Random, newest: int) -> int:
    """An id about where the verdict on it changes."""
    around = draw.choice((0, 0, 0, 0, 0, 0, WINDOW, OLD, -WINDOW, -(1 << 16), 1 << 31, draw.getrandbits(32)))
    return (newest - around + draw.choice((-2, -1, -1, 0, 0, 1, 2, draw.randrange(-20, 20)))) % (1 << 32)


@cocotb.test()
@cocotb.parametrize((("seed",), [(1,), (2,), (3,)]))
async def test_copies_of_writes(dut: Any, seed: int) -> None:
    """Writes of more hosts than are known, anew, again, late, and around the wrap of their ids: each reaches the node's registers once
    at most while it is not too late, each that is not too old is answered as if it were the first time, reads are always executed."""
    draw = random.Random(f"writes {seed}")
    rig, model = Rig(dut, idle=0.2 * (seed - 1), net_ps=(16_000, 15_346, 8_000)[seed - 1], seed=seed), node()
    await rig.start()
    hosts = [(0x0A000000 | k % 3, 40_000 + k) for k in range(WRITERS + 2)]
    newest = {host: draw.choice((5, 0xFFFFFFFF, 0xFFFFFFF8)) for host in hosts}
    for k in range(500):
        if k % 8 == 0:
            await rig.settle(clocks=60)
        few = k // 100 % 2
        host = draw.choice(hosts[:3] if few else hosts)
        number = number_of(draw, newest[host])
        address = draw.choice((0x10, 0x10, 0x20, 0xFFFF, 1 << 31, draw.getrandbits(32)))
        write = draw.random() < 0.85
        data = request(number, [k], flags=RegisterOp.WRITE if write else RegisterOp.READ, address=address)
        if write:
            newest[host] = number
        rig.receive(Datagram(host=host, port=draw.choice((PORT, REGISTER_PORT)), data=data))
    await rig.settle()
    judge(rig, model)
    assert rig.datagrams == [datagram for whole in rig.sent for datagram in model.send(whole)]
    verdicts = rig.verdicts
    assert set(verdicts) == {None, "OLD"}
    taken = [datagram.data for datagram, verdict in zip(rig.received, verdicts, strict=True) if verdict is None]
    assert sum(a != b for a, b in zip(taken, rig.requests, strict=True)) > 20, "copies"
    assert verdicts.count("OLD") > 20


@cocotb.test()
async def test_a_late_copy_of_a_write_is_never_executed(dut: Any) -> None:
    """Said without the reference: hosts that write one after the other, each id once, with copies of any earlier datagram between."""
    draw = random.Random("late copies")
    rig = Rig(dut)
    await rig.start()
    first = {host: draw.getrandbits(32) for host in HOSTS}
    first[HOSTS[0]] = 0xFFFFFFF0
    sent: list[Datagram] = []
    for k in range(300):
        if k % 8 == 0:
            await rig.settle(clocks=60)
        host = draw.choice(HOSTS)
        number = (first[host] + sum(datagram.host == host for datagram in sent)) % (1 << 32)
        data = request(number, [len(sent)], flags=RegisterOp.WRITE, address=len(sent))
        sent.append(Datagram(host=host, port=PORT, data=data))
        rig.receive(sent[-1])
        for _ in range(draw.randrange(3)):
            rig.receive(draw.choice(sent[-draw.choice((1, 3, 300)) :]))
    await rig.settle()
    executed = [whole for whole in rig.requests if int.from_bytes(whole[12:16], "little") < 1 << 16]
    assert executed == [datagram.data for datagram in sent]
    answers = [datagram for datagram in rig.datagrams if datagram.data[4:8] == sent[-1].data[4:8]]
    assert len(answers) >= 1
    assert {int.from_bytes(datagram.data[12:16], "little") for datagram in rig.datagrams} == set(range(len(sent)))


@cocotb.test()
async def test_leases(dut: Any) -> None:
    """Leases begin, last and end in the clock that the reference says, also where ticks and renewals meet; a full table refuses."""
    draw = random.Random("leases")
    rig, model = Rig(dut), node()
    await rig.start()
    lease = LEASE_TICKS * TICK_CLOCKS
    # Places fill, a fourth host is refused; one renews around every clock of a tick's edge, one near its end, one falls silent.
    plan = [(100 + 40 * k, host) for k, host in enumerate((0, 1, 2, 3, 3))]
    plan += [(k * TICK_CLOCKS - LATENCY + k - 6, 0) for k in range(2, 11)]
    plan += [(lease - TICK_CLOCKS + draw.randrange(100), 1)]
    plan += [(lease + TICK_CLOCKS + 400, 3), (lease + 11 * TICK_CLOCKS + 700, 0)]
    plan.sort()
    for cycle, host in plan:
        # Its last word comes in ``cycle`` or a little later.
        await rig.reach(cycle - 9)
        rig.receive(subscribe(host))
        await rig.node.until(lambda: not rig.source.queue, 1000, "source")
    end = plan[-1][0] + lease + 2 * TICK_CLOCKS
    await rig.reach(end + 1)
    judge(rig, model)
    assert rig.verdicts.count("REFUSED") == 2
    # The masks of every clock, from the verdicts alone.
    replay = node()
    want, mask, starts = [], 0, dict(zip((e + LATENCY for e in rig.ends), rig.received, strict=True))
    for cycle in range(end):
        if cycle in starts:
            replay.receive(starts[cycle], tick=rig.tick(cycle))
        held = replay.live(rig.tick(cycle))
        now = sum(1 << k for k, at in enumerate(replay.leases) if at is not None and at.host in held)
        if now != mask:
            want.append((cycle, now))
            mask = now
    assert rig.live == want
    assert mask == 0
    assert len(want) >= 7


@cocotb.test()
async def test_flood(dut: Any) -> None:
    """Requests that the node does not take fill their queue and are dropped; streams and foreign datagrams take no room of theirs."""
    draw = random.Random("flood")
    rig, model = Rig(dut), node()
    rig.rx.idle, rig.sink.idle = 1.0, 0.6
    await rig.start()
    rig.receive(subscribe(0))
    rig.to_send.extend(packet(Stream.TAG, [draw.getrandbits(32)] * 256, number=k) for k in range(12))
    for _ in range(40):
        rig.receive(wrong(draw))
    for k in range(30):
        rig.receive(Datagram(host=HOSTS[k % 2], port=PORT, data=request(k)))
    await rig.node.until(lambda: not rig.source.queue, 60_000, "source")
    await rig.node.step(20)
    requests = rig.verdicts[-30:]
    assert requests == [None] * 16 + ["FULL"] * 14, "as many wait as may, and no more"
    assert rig.tx.queue, "a node that sends more than leaves has to wait, and counts what it loses"
    rig.rx.idle, rig.sink.idle = 0.0, 0.3
    await rig.settle()
    rig.receive(Datagram(host=HOSTS[2], port=REGISTER_PORT, data=request(1)))
    await rig.settle()
    rig.rx.idle = 1.0
    for k, words in enumerate(
        (200, 200, 200, 50, 200, 0)
    ):  # as many words as there is room for; a shorter one still fits in
        rig.receive(Datagram(host=HOSTS[2], port=REGISTER_PORT, data=request(100 + k, [k] * words)))
        await rig.node.until(lambda: not rig.source.queue, 60_000, "source")
        await rig.node.step(200)
    rig.rx.idle = 0.0
    await rig.settle()
    judge(rig, model)
    assert rig.verdicts[-7:] == [None, None, None, "FULL", None, "FULL", None]
    assert rig.datagrams == [datagram for whole in rig.sent for datagram in model.send(whole)]
    assert rig.counts["unasked"] == rig.counts["discarded"] == 0


@cocotb.test()
async def test_unread_and_unasked(dut: Any) -> None:
    """Streams that nobody reads are discarded, responses that nobody awaits too; a node's malformed packets spoil no other."""
    draw = random.Random("unread")
    rig, model = Rig(dut, idle=0.1), node()
    await rig.start()
    good = [random_stream(draw, k) for k in range(20)]
    for whole in good:
        rig.give(whole)
    await rig.settle()
    assert rig.counts == dict(struck=0, sent=0, discarded=20, unasked=0, malformed=0)
    rig.receive(subscribe(1))
    rig.receive(Datagram(host=HOSTS[0], port=PORT, data=request(1)))
    await rig.settle()
    judge(rig, model)
    rig.give(packet(Stream.REGISTER_RESPONSE, number=9))
    bad = [
        good[0][:-4] if len(good[0]) > 32 else good[0] + bytes(4),
        packet(1, first=MAGIC << 16 | (VERSION + 1) << 8 | 1),
        packet(1)[:4],
        packet(1)[:28],
        packet(1, [5] * (MAX_PAYLOAD_WORDS + 1)),
        packet(1, [5] * 3 * DEPTH),
        packet(1) + packet(1),
    ]
    for k, whole in enumerate(bad):
        rig.give(whole)
        rig.give(packet(2, [k] * MAX_PAYLOAD_WORDS, number=k))
    await rig.settle()
    kept = [whole for whole in rig.sent[20:] if whole not in bad]
    assert rig.datagrams == [datagram for whole in kept for datagram in model.send(whole)]
    assert rig.counts == dict(struck=0, sent=len(kept) - 1, discarded=20, unasked=1, malformed=len(bad))


@cocotb.test()
async def test_group(dut: Any) -> None:
    """With a group a packet goes out once, and only while somebody subscribes; answers still go to who asked."""
    draw = random.Random("group")
    group = (0xEF010203, 9760)
    rig, model = Rig(dut, pause=0.2), node(group=group)
    await rig.start(group=group)
    rig.to_send.extend(random_stream(draw, k) for k in range(5))
    await rig.settle()
    rig.receive(subscribe(0))
    rig.receive(subscribe(1))
    await rig.settle()
    rig.to_send.extend(random_stream(draw, k) for k in range(20))
    for k in range(8):
        rig.receive(Datagram(host=HOSTS[k % 2], port=REGISTER_PORT, data=request(k % 4)))
    await rig.settle()
    judge(rig, model)
    assert rig.datagrams == [datagram for whole in rig.sent[5:] for datagram in model.send(whole)]
    assert rig.counts["discarded"] == 5
    assert sum(datagram.host == group for datagram in rig.datagrams) == 20


def link_request(number: int, register: str, count: int, words: list[int] | None = None) -> Datagram:
    """To the link's own registers; a write if it has ``words``."""
    op = RegisterOp.READ if words is None else RegisterOp.WRITE
    data = request(number, words, flags=op, address=UDP_LINK[register].address)
    return Datagram(host=HOSTS[3], port=LINK_PORT, data=data[:16] + count.to_bytes(4, "little") + data[20:])


@cocotb.test()
@cocotb.parametrize((("idle", "pause", "net_ps"), [(0.0, 0.0, 16_000), (0.3, 0.4, 7_010)]))
async def test_registers_of_the_link(dut: Any, idle: float, pause: float, net_ps: int) -> None:
    """They answer between streams and the node's answers, to who asked; counters are the strobes; a written group gets the streams."""
    draw = random.Random(f"link registers {idle}")
    rig, model = Rig(dut, idle=idle, pause=pause, net_ps=net_ps, seed=5), node()
    await rig.start()
    own: list[Datagram] = []

    def split() -> list[Datagram]:
        """Datagrams of the node; the link's own go to ``own``."""
        own[:] = [datagram for datagram in rig.datagrams if datagram.port == LINK_PORT]
        return [datagram for datagram in rig.datagrams if datagram.port != LINK_PORT]

    async def read(register: str, count: int = 1) -> list[int]:
        number = draw.getrandbits(32)
        rig.receive(link_request(number, register, count))
        await rig.settle()
        split()
        words = np.frombuffer(own[-1].data, "<u4").tolist()
        assert own[-1].host == HOSTS[3]
        assert words[0] == MAGIC << 16 | VERSION << 8 | Stream.REGISTER_RESPONSE
        assert words[1:5] == [number, count, UDP_LINK[register].address, count]
        assert len(words) == HEADER_WORDS + count
        return words[HEADER_WORDS:]

    rig.receive(subscribe(0))
    await rig.settle()
    for k in range(40):
        rig.receive(wrong(draw))
        rig.receive(Datagram(host=HOSTS[1], port=PORT, data=request(k)))
        rig.to_send.append(random_stream(draw, k))
        if k % 10 == 0:
            rig.receive(link_request(k, "SENT", len(COUNTERS)))
        if k % 8 == 7:
            await rig.settle()
    rig.receive(link_request(1, "ID_MAGIC", 1))
    rig.receive(link_request(2, "ID_MAGIC", 1))
    rig.receive(Datagram(host=HOSTS[0], port=LINK_PORT, data=SUBSCRIBE))
    await rig.settle()
    assert [verdict for verdict in rig.verdicts[-3:]] == [None, "FULL", "STREAM"]
    rig.give(packet(Stream.TAG)[:28])
    rig.give(packet(Stream.REGISTER_RESPONSE, number=1 << 31))
    await rig.settle()
    identity = await read("ID_MAGIC", 6)
    assert identity == [0x54575048, 4, 1, round(NET_HZ), UDP_LINK.hash, 0]
    assert await read("MAC_ADDRESS", 5) == [0x04050607, 0x0203, 0xC0A80132, 0b1, 0]
    want = {name: rig.counts[name.lower()] for name in ("SENT", "DISCARDED", "UNASKED", "MALFORMED", "STRUCK")}
    want |= {f"DROPPED_{name}": sum(drop == name for _, drop in rig.drops) for name in Drop.__members__}
    assert await read("SENT", len(COUNTERS)) == [want[name] for name, _ in COUNTERS]
    assert sum(map(bool, want.values())) >= 8
    judge(rig, model)
    whole = [sent for sent in rig.sent if len(sent) > 28]
    assert split() == [datagram for sent in whole for datagram in model.send(sent)]

    group = (0xEF010203, 9760)
    rig.receive(link_request(3, "GROUP_ADDRESS", 2, list(group)))
    await rig.settle()
    assert await read("GROUP_ADDRESS", 4) == [*group, *group]
    before = len(split())
    rig.to_send.extend(random_stream(draw, k) for k in range(5))
    await rig.settle()
    assert [datagram.host for datagram in split()[before:]] == [group] * 5


@cocotb.test()
async def test_never_answered(dut: Any) -> None:
    """Requests that the node drops do not keep their places; an answer after a host's patience is nobody's."""
    rig, model = Rig(dut, answer=0.0), node()
    await rig.start()
    patience = round(PATIENCE_SECONDS * NET_HZ)
    for k in range(17):
        rig.receive(Datagram(host=HOSTS[0], port=PORT, data=request(k)))
    await rig.node.until(lambda: not rig.source.queue, 4000, "source")
    for k in range(1, 3):
        began = rig.ends[0] + k * patience
        await rig.reach(began - 20)
        rig.receive(Datagram(host=HOSTS[1], port=PORT, data=request(100 + k)))
        await rig.reach(began + 20)
        rig.receive(Datagram(host=HOSTS[1], port=PORT, data=request(200 + k)))
        await rig.node.step(200)
    # Two were forgotten, so that two found a place; the one before each did not.
    assert rig.verdicts == [None] * 16 + ["FULL", "FULL", None, "FULL", None]
    judge(rig, model)
    del model.asked[0], model.asked[0]
    for number in (0, 5, 201, 6, 202):
        rig.give(packet(Stream.REGISTER_RESPONSE, number=number))
    await rig.node.step(400)
    assert rig.datagrams == [datagram for whole in rig.sent for datagram in model.send(whole)]
    assert [datagram.host for datagram in rig.datagrams] == [HOSTS[0], HOSTS[1], HOSTS[1]]
    assert rig.counts["unasked"] == 2


@cocotb.test()
async def test_a_subscriber_who_holds_up_the_others(dut: Any) -> None:
    """A copy that the core takes too long over costs its receiver the subscription; a shorter wait does not, nor does a response's."""
    rig, model = Rig(dut), node()
    await rig.start()
    for host in (0, 1, 2):
        rig.receive(subscribe(host))
    await rig.settle()
    judge(rig, model)
    stall = round(STALL_SECONDS * NET_HZ)

    async def held_up(copies: int, clocks: int) -> None:
        """``clocks`` without ready before the next datagram's second word, after ``copies`` more of them."""
        at = len(rig.datagrams) + copies
        await rig.node.until(lambda: ends() >= at and not rig.sink.taken[-1][1] >> 32 & 1, 9000, "datagram")
        rig.sink.idle = 1.0
        await rig.reach(rig.net.cycle + clocks)
        rig.sink.idle = 0.0

    def ends() -> int:
        return sum(word >> 32 & 1 for _, word in rig.sink.taken)

    for whole, copies, clocks, struck in ((1, 1, stall - 20, None), (2, 1, stall + 20, 1), (3, 0, stall + 20, 0)):
        sent = packet(Stream.TAG, [whole] * 200, number=whole)
        want = rig.datagrams + model.send(sent)
        rig.to_send.append(sent)
        await held_up(copies, clocks)
        await rig.settle()
        assert rig.datagrams == want
        if struck is not None:
            model.strike(HOSTS[struck])
        assert rig.live[-1][1] == sum(1 << k for k, lease in enumerate(model.leases) if lease is not None)
    rig.receive(Datagram(host=HOSTS[2], port=PORT, data=request(1)))
    await held_up(0, stall + 20)
    await rig.settle()
    rig.receive(subscribe(1))
    await rig.settle()
    assert rig.live[-1][1] == 0b101, "the first free place"
    assert rig.counts["struck"] == 2


@cocotb.test()
async def test_throughput(dut: Any) -> None:
    """Packets of 256 words to one subscriber leave with 15 clocks between them at most, copies of them with 8, and requests pass on."""
    rig, model = Rig(dut), node()
    await rig.start()
    rig.receive(subscribe(0))
    await rig.settle()
    rig.to_send.extend(packet(Stream.TAG, [k] * MAX_PAYLOAD_WORDS, number=k) for k in range(30))
    await rig.settle()
    rig.receive(subscribe(1))
    await rig.settle()
    rig.to_send.extend(packet(Stream.TAG, [k] * MAX_PAYLOAD_WORDS, number=k) for k in range(10))
    await rig.settle()
    judge(rig, model)
    cycles = np.array([cycle for cycle, _ in rig.sink.taken])
    last = np.array([word >> 32 & 1 for _, word in rig.sink.taken], bool)
    gaps = np.diff(cycles)
    assert (gaps[~last[:-1]] == 1).all(), "a word per clock"
    between = gaps[last[:-1]] - 1
    assert (between[:29] == 15).all()
    assert sorted(set(between[30:].tolist())) == [8, 15]
    words = HEADER_WORDS + MAX_PAYLOAD_WORDS
    clocks = cycles[30 * words - 1] - cycles[0] + 1
    cocotb.log.info("%.4f payload words per net clock to one subscriber", 30 * MAX_PAYLOAD_WORDS / clocks)
    assert 30 * MAX_PAYLOAD_WORDS / clocks > 0.9
