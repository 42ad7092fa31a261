"""The link over UDP that takes streams for its node: whole packets in their order, floods, and requests amid them."""

from __future__ import annotations

import random
from typing import Any

import cocotb

from bench_udp import node, subscribe, wrong
from twinphase_spec.packets import HEADER_WORDS, MAX_PAYLOAD_WORDS, RegisterOp, Stream
from udp_rig import (
    HOSTS,
    LINK_PORT,
    PORT,
    REGISTER_PORT,
    STREAM_WORDS,
    STREAMS,
    Datagram,
    Rig,
    judge,
    packet,
    request,
)

LONGEST = HEADER_WORDS + MAX_PAYLOAD_WORDS


def streamed(draw: random.Random, *, words: int | None = None) -> bytes:
    """A packet of a stream that a client takes, with ids and flags as those of writes."""
    count = draw.choice((0, 0, 3, 6, 30, MAX_PAYLOAD_WORDS)) if words is None else words
    payload = [draw.getrandbits(32) for _ in range(count)]
    number, flags, address = draw.randrange(8), draw.choice((0, RegisterOp.WRITE)), draw.choice((0x10, 1 << 31))
    return packet(draw.choice(STREAMS), payload, number=number, flags=flags, address=address)


def to_node(host: int, data: bytes, port: int = PORT) -> Datagram:
    return Datagram(host=HOSTS[host], port=port, data=data)


@cocotb.test()
@cocotb.parametrize(
    (
        ("idle", "pause", "net_ps"),
        [(0.0, 0.0, 16_000), (0.5, 0.0, 15_346), (0.0, 0.6, 16_000), (0.3, 0.3, 7_010), (0.2, 0.4, 8_000)],
    )
)
async def test_streams_amid_everything(dut: Any, idle: float, pause: float, net_ps: int) -> None:
    """Packets of streams, damaged ones, such to the other ports, and requests whose ids they share: each stream's packet reaches the node
    whole or not at all and in order, and no answer goes to its sender, no write is taken for one that it has brought."""
    draw = random.Random(f"streams {idle} {pause} {net_ps}")
    rig, model = (
        Rig(dut, idle=idle, pause=pause, net_ps=net_ps, answer=0.2, seed=net_ps, unit="udp_client"),
        node(streams=STREAMS),
    )
    await rig.start()
    rig.receive(subscribe(0))
    await rig.settle()
    for k in range(160):
        if k % 40 == 0:
            await rig.settle()
            rig.to_send.extend(packet(Stream.SIFTED, [k] * 20, number=k) for k in range(10))
        kind, host = draw.random(), draw.randrange(len(HOSTS))
        if kind < 0.45:
            rig.receive(to_node(host, streamed(draw)))
        elif kind < 0.65:
            rig.receive(wrong(draw, streamed(draw)))
        elif kind < 0.75:
            rig.receive(to_node(host, streamed(draw), draw.choice((REGISTER_PORT, LINK_PORT, PORT - 1))))
        else:
            write = draw.random() < 0.5
            data = request(draw.randrange(8), [k] * draw.choice((0, 1, 64)), flags=RegisterOp.WRITE if write else 0)
            rig.receive(to_node(host, data, draw.choice((PORT, REGISTER_PORT))))
    await rig.settle()
    judge(rig, model)
    want = [datagram for whole in rig.sent for datagram in model.send(whole)]
    assert rig.datagrams == want
    assert rig.counts == dict(struck=0, sent=len(want), discarded=0, unasked=0, malformed=0)
    assert len(model.streamed) > 40
    assert {"PORT", "LENGTH", "STREAM"} <= {reason for _, reason in rig.drops}


@cocotb.test()
async def test_a_full_queue_of_streams_keeps_nobody_from_asking(dut: Any) -> None:
    """A node that takes nothing: as many packets wait as there is room for, the next one is dropped whole, a shorter one still fits in;
    as many requests as ever find room. Then all go, in turns, and nobody waits for an answer to a stream."""
    draw = random.Random("a full queue")
    rig, model = Rig(dut, unit="udp_client"), node(streams=STREAMS)
    rig.rx.idle = 1.0
    await rig.start()
    whole = STREAM_WORDS // LONGEST
    for _ in range(whole + 2):
        rig.receive(to_node(0, streamed(draw, words=MAX_PAYLOAD_WORDS)))
    rig.receive(to_node(0, streamed(draw, words=3)))
    for k in range(18):
        rig.receive(to_node(k % 3, request(k)))
    for _ in range(3):
        rig.receive(to_node(1, streamed(draw, words=MAX_PAYLOAD_WORDS)))
    await rig.node.until(lambda: not rig.source.queue, 60_000, "source")
    await rig.node.step(30)
    assert rig.verdicts == [*[None] * whole, "FULL", "FULL", None, *[None] * 16, "FULL", "FULL", *["FULL"] * 3]
    rig.rx.idle = 0.0
    await rig.settle()
    judge(rig, model)
    assert rig.datagrams == [datagram for sent in rig.sent for datagram in model.send(sent)]
    assert len(rig.datagrams) == 16
    starts = [word for place, (_, word) in enumerate(rig.rx.taken) if not place or rig.rx.taken[place - 1][1] >> 32]
    kinds = ["request" if start & 0xFF == Stream.REGISTER_REQUEST else "stream" for start in starts]
    assert kinds == ["stream", "request"] * (whole + 1) + ["request"] * (16 - whole - 1)


@cocotb.test()
@cocotb.parametrize((("words", "idle"), [(MAX_PAYLOAD_WORDS, 0.0), (2, 0.0), (2, 0.8)]))
async def test_a_request_amid_a_flood(dut: Any, words: int, idle: float) -> None:
    """Packets of streams come as fast as the core's port hands them on, and, with idle clocks, as fast as the line brings short ones:
    each request is handed on before a second packet of them."""
    draw = random.Random(f"amid {words} {idle}")
    rig, model = Rig(dut, idle=idle, unit="udp_client"), node(streams=STREAMS)
    await rig.start()
    reached: list[int] = []
    rig.net.after.append(lambda cycle: reached.append(len(rig.rx.taken)))
    asked = 0
    for k in range(60 if words > 2 else 400):
        rig.receive(to_node(0, streamed(draw, words=words)))
        if k % 20 == 19:
            asked += 1
            rig.receive(to_node(1, request(k, [k] * draw.choice((0, 64)))))
    await rig.settle(clocks=60)
    judge(rig, model)
    assert len(model.requests) == asked
    # From a request's last word to the clock in which the node has taken it.
    places = [at for at, (_, word) in enumerate(rig.rx.taken) if word >> 32]
    came = [end for end, datagram in zip(rig.ends, rig.received, strict=True) if datagram.host == HOSTS[1]]
    begin, waits = 0, []
    for place in places:
        if rig.rx.taken[begin][1] & 0xFF == Stream.REGISTER_REQUEST:
            taken = next(cycle for cycle, count in enumerate(reached) if count > place)
            waits.append(taken - came[len(waits)])
        begin = place + 1
    cocotb.log.info("requests were handed on within %d to %d net clocks", min(waits), max(waits))
    assert len(waits) == asked
    assert max(waits) < LONGEST + HEADER_WORDS + words + 64 + 60
    if idle:
        assert not rig.drops, "short packets at the pace of the line"
