"""A DHCP client between a node and its core: its messages come between the node's datagrams, whole, and everything else passes."""

from __future__ import annotations

import random

import pytest
from amaranth.sim import Simulator

from twinphase_hdl.link.dhcpclient import DhcpClient

MAC = bytes.fromhex("025450000001")
ADDRESS, SERVER = bytes((10, 77, 0, 80)), bytes((10, 77, 0, 1))
SECOND, CLOCKS = 1000, 3800
COOKIE = bytes((99, 130, 83, 99))


def answer(kind: int, xid: bytes) -> bytes:
    """Of a server, with a lease of 3 s."""
    text = bytes((2, 1, 6, 0)) + xid + bytes(8) + ADDRESS + bytes(8) + MAC + bytes(202) + COOKIE
    return text + bytes((53, 1, kind, 54, 4)) + SERVER + bytes((51, 4, 0, 0, 0, 3, 255))


def words(data: bytes, source: int, target: int) -> list[dict[str, int]]:
    padded = data + bytes(-len(data) % 4)
    return [
        {
            "data": int.from_bytes(padded[place : place + 4], "little"),
            "last": place + 4 >= len(data),
            "last_be": 8 if place + 4 >= len(data) else 0,
            "length": len(data),
            "ip_address": 0x0A4D0001,
            "src_port": source,
            "dst_port": target,
        }
        for place in range(0, len(padded), 4)
    ]


def drawn_datagrams(rng: random.Random) -> list[list[dict[str, int]]]:
    return [words(rng.randbytes(4 * rng.randint(1, 60)), 9750, rng.randrange(1024, 65536)) for _ in range(200)]


@pytest.mark.parametrize(
    ("seed", "readiness", "gaps"),
    [(2, 0.5, 3), pytest.param(1, 1.0, 0, marks=pytest.mark.long), pytest.param(3, 0.9, 150, marks=pytest.mark.long)],
)
def test_messages_come_between_datagrams(seed: int, readiness: float, gaps: int) -> None:
    rng = random.Random(seed)
    dut = DhcpClient(mac=int.from_bytes(MAC, "big"), fallback=0, second_clocks=SECOND)
    offered = drawn_datagrams(rng)
    passed_down: list[list[dict[str, int]]] = []  # at the core
    foreign = drawn_datagrams(rng)[:12]
    passed_up: list[dict[str, int]] = []
    inbox: list[list[dict[str, int]]] = list(foreign)
    addresses: list[tuple[int, int, int]] = []
    fields = ("data", "last", "last_be", "length", "ip_address", "src_port", "dst_port")

    async def node(ctx):
        sink = dut.user.sink
        for datagram in offered:
            for word in datagram:
                ctx.set(sink.payload, word)
                ctx.set(sink.valid, 1)
                taken = False
                while not taken:
                    *_, taken = await ctx.tick().sample(sink.ready)
            ctx.set(sink.valid, 0)
            for _ in range(rng.randint(0, gaps)):
                await ctx.tick()

    async def lines(ctx):
        source = dut.core.source
        while True:
            await ctx.tick()
            if inbox:
                for word in inbox.pop(0):
                    ctx.set(source.payload, {**word, "error": 0})
                    ctx.set(source.valid, 1)
                    await ctx.tick()
                ctx.set(source.valid, 0)
                for _ in range(40):
                    await ctx.tick()

    async def up(ctx):
        source = dut.user.source
        async for _, _, valid, data in ctx.tick().sample(source.valid, source.payload.data):
            if valid:
                passed_up.append(data)

    async def core(ctx):
        sink = dut.core.sink
        held, current = None, []
        for clock in range(CLOCKS):
            ctx.set(sink.ready, rng.random() < readiness)
            *_, valid, ready, payload = await ctx.tick().sample(sink.valid, sink.ready, sink.payload)
            addresses.append((clock, ctx.get(dut.o_address), ctx.get(dut.o_broadcast_source)))
            word = {name: getattr(payload, name) for name in fields}
            if held is not None:
                assert valid
                assert word == held, "an offer that was not taken has changed"
            elif current:
                assert valid, "a gap within a datagram"
            held = word if valid and not ready else None
            if valid and ready:
                current.append(word)
                assert all(word[name] == current[0][name] for name in ("length", "ip_address", "src_port", "dst_port"))
                if word["last"]:
                    assert len(current) == (word["length"] + 3) // 4
                    passed_down.append(current)
                    if word["dst_port"] == 67:
                        reply(current)
                    current = []

    asked: list[bytes] = []

    def reply(message) -> None:
        data = b"".join(word["data"].to_bytes(4, "little") for word in message)
        asked.append(data)
        kind = {1: 2, 3: 5}[data[242]]
        inbox.insert(0, words(answer(kind, data[4:8]), 67, 68))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    for bench in (node, lines, up):
        simulator.add_testbench(bench, background=True)
    simulator.add_testbench(core)
    simulator.run()

    own = [datagram for datagram in passed_down if datagram[0]["src_port"] == 68]
    assert [datagram for datagram in passed_down if datagram[0]["src_port"] != 68] == offered[
        : len(passed_down) - len(own)
    ]
    assert len(passed_down) - len(own) > 10
    assert passed_up == [word["data"] for datagram in foreign for word in datagram]
    # A lease of 3 s, renewed after half of it: DISCOVER, REQUEST, and requests with the address in it.
    assert [data[242] for data in asked[:2]] == [1, 3]
    assert {data[242] for data in asked[2:]} == {3}
    assert len(asked) >= 4
    assert asked[1][284:288] == ADDRESS
    assert asked[1][292:296] == SERVER
    assert all(data[12:16] == (bytes(4) if place < 2 else ADDRESS) for place, data in enumerate(asked))
    number = int.from_bytes(ADDRESS, "big")
    first = next(clock for clock, address, _ in addresses if address)
    assert first < SECOND
    assert {pair for clock, *pair_list in addresses for pair in [tuple(pair_list)] if clock > first + 1} == {
        (number, number)
    }
    for datagram in own:
        assert datagram[0]["ip_address"] == 0xFFFFFFFF
        assert datagram[0]["length"] == 300
