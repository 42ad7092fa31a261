"""Two block sifters back to back, and one against scripted records, equal a plain-Python statement of the protocol."""

import random
from dataclasses import dataclass, field

import pytest
from amaranth.hdl import Module
from amaranth.sim import Simulator
from sift_oracle import MASK, PAIR, SETTINGS, Party, messages, sift
from test_symbols import settings_of

from sift_rigs import RecallingSifter
from twinphase_hdl.sift.tables import RULE_REGISTERS
from twinphase_spec.registers import CLIENT, CORE_COUNTERS
from twinphase_spec.rules import SNS, rule_tables
from twinphase_spec.symbols import SymbolConfig

SLICE_WIDTH = 16384
BOB_SETTINGS = SymbolConfig(**{**vars(SETTINGS), "key": (1, 2, 3, 4)})
CONFIGS = (SETTINGS, BOB_SETTINGS)
COUNTERS = [name for name in CLIENT.counter_names if name not in dict(CORE_COUNTERS)]


@dataclass
class Client:
    """One sifter with its stimulus and what came out."""

    role: int
    heralds: list[tuple[int, int, int]]
    psis: list[tuple[int, int]]
    dut: RecallingSifter = field(default_factory=RecallingSifter)
    peer: list[tuple[int, int, int]] = field(default_factory=list)
    sifted: list[tuple[int, int]] = field(default_factory=list)

    def counters(self, ctx):
        return {name: ctx.get(self.dut.o_counters[name]) for name in COUNTERS}

    async def cells(self, ctx):
        ctx.set(self.dut.i_snapshot, 1)
        await ctx.tick()
        ctx.set(self.dut.i_snapshot, 0)
        await ctx.tick().until(~self.dut.o_copying)
        counts = []
        for address in range(256):
            ctx.set(self.dut.i_cell_address, address)
            await ctx.tick()
            counts.append(ctx.get(self.dut.o_cell))
        return [low | high << 32 for low, high in zip(counts[::2], counts[1::2], strict=True)]


def herald_record(number, pulse, detector):
    return [number, pulse & MASK, pulse >> 32 | detector << 31]


async def feed(ctx, stream, records, rng, idle):
    for record in records:
        while rng.random() < idle:
            await ctx.tick()
        ctx.set(stream.payload, list(record))
        ctx.set(stream.valid, 1)
        await ctx.tick().until(stream.ready)
        ctx.set(stream.valid, 0)


async def drain(ctx, stream, sink, rng, stall):
    """Takes records and checks that what is offered stays until it is taken."""
    offered = None
    while True:
        ready = rng.random() >= stall
        ctx.set(stream.ready, ready)
        valid, payload = ctx.get(stream.valid), tuple(ctx.get(stream.payload))
        assert offered is None or (valid and payload == offered)
        offered = payload if valid and not ready else None
        if valid and ready:
            sink(payload)
        await ctx.tick()


async def start(ctx, clients, block):
    """Settings, and all run from the clock in which their keys are expanded."""
    for client in clients:
        ctx.set(client.dut.i_role, client.role)
        ctx.set(client.dut.i_settings, settings_of(CONFIGS[client.role]))
        ctx.set(client.dut.i_digest.as_value(), PAIR.settings())
        registers = rule_tables(SNS, "bob" if client.role else "alice").registers()
        for table, name in RULE_REGISTERS.items():
            ctx.set(client.dut.i_rules[table], registers[name])
        ctx.set(client.dut.i_block_heralds, block)
        ctx.set(client.dut.i_slice_width, SLICE_WIDTH)
    await ctx.tick().until(clients[0].dut.o_ready)
    for client in clients:
        ctx.set(client.dut.i_run, 1)


def make_run(rng, numbers):
    """Heralds and psi as the server sends them."""
    pulse = rng.getrandbits(40)
    heralds, psis = [], []
    for number in numbers:
        pulse += rng.randrange(1, 1 << 20)
        heralds.append((number & MASK, pulse, rng.getrandbits(1)))
        flags = 3 if rng.random() < 0.9 else rng.randrange(4)
        psis.append((number & MASK, rng.getrandbits(16) | flags << 16))
    return heralds, psis


def knowledge(role, heralds, psis, first, block):
    """The party's view of one block, from the records that reach it."""
    numbers = [first + i & MASK for i in range(block)]
    herald_of = {n: (pulse, detector) for n, pulse, detector in heralds}
    psi_of = {n: (word & 0xFFFF, word >> 16) for n, word in psis}
    return Party(role, CONFIGS[role], [herald_of.get(n) for n in numbers], [psi_of.get(n) for n in numbers])


def connect_pair(clients, seed, idle, stall, block, clocks=60000):
    """Runs both until they are idle with all stimulus in; returns counters and cells."""
    m = Module()
    for name, client in zip(("alice", "bob"), clients, strict=True):
        m.submodules[name] = client.dut
    simulator = Simulator(m)
    simulator.add_clock(8e-9)
    mail = ([], [])
    done = {"fed": 0}
    result = {}

    async def main(ctx):
        await start(ctx, clients, block)
        quiet = 0
        for _ in range(clocks):
            await ctx.tick()
            idle_now = all(ctx.get(c.dut.o_idle) for c in clients) and not any(mail) and done["fed"] == 4
            quiet = quiet + 1 if idle_now else 0
            if quiet > 40:
                break
        else:
            raise AssertionError("the pair did not come to rest")
        for client in clients:
            result[client.role] = (client.counters(ctx), await client.cells(ctx))

    def add(client, other):
        rng = random.Random(f"{seed} {client.role}")

        given = [-1]

        async def heralds(ctx):
            while not ctx.get(client.dut.i_run):
                await ctx.tick()
            for record in client.heralds:
                await feed(ctx, client.dut.i_herald, [herald_record(*record)], rng, idle)
                given[0] = record[0]
            given[0] = len(client.psis)
            done["fed"] += 1

        async def psis(ctx):
            for record in client.psis:
                while given[0] < record[0]:  # a psi comes long after its herald
                    await ctx.tick()
                await feed(ctx, client.dut.i_psi, [record], rng, idle)
            done["fed"] += 1

        async def peer(ctx):
            while True:
                if mail[other.role]:
                    await feed(ctx, other.dut.i_peer, [mail[other.role].pop(0)], rng, idle)
                else:
                    await ctx.tick()

        async def sent(ctx):
            def sink(record):
                client.peer.append(record)
                mail[other.role].append(record)

            await drain(ctx, client.dut.o_peer, sink, rng, stall)

        async def sifted(ctx):
            await drain(ctx, client.dut.o_sifted, client.sifted.append, rng, stall)

        simulator.add_testbench(heralds)
        simulator.add_testbench(psis)
        for bench in (peer, sent, sifted):
            simulator.add_testbench(bench, background=True)

    add(clients[0], clients[1])
    add(clients[1], clients[0])
    simulator.add_testbench(main)
    simulator.run()
    return result


def expect_pair(clients, block, blocks):
    """PEER records, SIFTED records, cells and block counters of both."""
    peer, sifted = ([], []), ([], [])
    cells = [[0] * 128, [0] * 128]
    counts = [
        dict.fromkeys(("blocks_agreed", "blocks_discarded", "sifted_z", "sifted_x", "kept_x", "error_x"), 0)
        for _ in "ab"
    ]
    for b in range(blocks):
        views = [knowledge(c.role, c.heralds, c.psis, b * block, block) for c in clients]
        agreed = views[0].digest() == views[1].digest()
        for own, other in ((0, 1), (1, 0)):
            peer[own].extend(messages(views[own], views[other], b, b * block))
            counts[own]["blocks_agreed" if agreed else "blocks_discarded"] += 1
            if agreed:
                records, indices, more = sift(views[own], views[other], b * block, SLICE_WIDTH)
                sifted[own].extend(records)
                for index in indices:
                    cells[own][index] += 1
                for name, value in more.items():
                    counts[own][name] += value
    return peer, sifted, cells, counts


@pytest.mark.parametrize(
    ("block", "blocks", "idle", "stall"), [(32, 8, 0.0, 0.0), (32, 5, 0.6, 0.7), (96, 2, 0.1, 0.4)]
)
def test_pair_equals_protocol(block, blocks, idle, stall):
    rng = random.Random(block * 100 + blocks)
    heralds, psis = make_run(rng, range(block * blocks + 3))
    lost = {5, 6, block - 1, block}  # by both: the block still agrees
    shared = [h for h in heralds if h[0] not in lost]
    clients = [Client(0, list(shared), list(psis)), Client(1, list(shared), list(psis))]
    clients[0].heralds = [h for h in shared if h[0] != block * (blocks - 1) + 7]  # by one: the last block is discarded
    result = connect_pair(clients, 1, idle, stall, block)
    peer, sifted, cells, counts = expect_pair(clients, block, blocks)
    assert counts[0]["blocks_agreed"] == blocks - 1
    assert counts[0]["sifted_x"] > 0
    for role, client in enumerate(clients):
        assert client.peer == peer[role]
        assert client.sifted == sifted[role]
        counters, got_cells = result[role]
        assert got_cells == cells[role]
        total = block * blocks + 3
        assert counters == {
            **counts[role],
            "heralds": len(client.heralds),
            "missing": total - len(client.heralds),
            "late": 0,
            "overflow": 0,
            "psi": len(client.psis),
            "peer": len(peer[1 - role]),
            "refused": 0,
            **dict.fromkeys(("unpaired", "unrecalled", "starved", "live", "live_overflow"), 0),
        }


def run_single(script):
    """Runs one Alice with a script ``async def script(ctx, client)``."""
    client = Client(0, [], [])
    simulator = Simulator(client.dut)
    simulator.add_clock(8e-9)

    async def main(ctx):
        await start(ctx, [client], 32)
        await script(ctx, client)

    async def sent(ctx):
        await drain(ctx, client.dut.o_peer, client.peer.append, random.Random(1), 0)

    async def sifted(ctx):
        await drain(ctx, client.dut.o_sifted, client.sifted.append, random.Random(1), 0)

    simulator.add_testbench(sent, background=True)
    simulator.add_testbench(sifted, background=True)
    simulator.add_testbench(main)
    simulator.run()
    return client


async def rest(ctx, client, clocks=20000):
    """Waits until idle."""
    await ctx.tick()
    for _ in range(clocks):
        if ctx.get(client.dut.o_idle):
            break
        await ctx.tick()
    else:
        raise AssertionError("the sifter did not come to rest")


async def give(ctx, stream, records):
    await feed(ctx, stream, records, random.Random(0), 0)


def test_refuses_what_the_order_does_not_allow_and_restarts_clean():
    rng = random.Random(5)
    heralds, psis = make_run(rng, range(64))
    views = [[knowledge(role, heralds, psis, b * 32, 32) for role in (0, 1)] for b in (0, 1)]
    expected = [messages(alice, bob, b, 32 * b) for b, (alice, bob) in enumerate(views)]
    answers = [messages(bob, alice, b, 32 * b) for b, (alice, bob) in enumerate(views)]
    sifted = [sift(alice, bob, 32 * b, SLICE_WIDTH)[0] for b, (alice, bob) in enumerate(views)]

    async def script(ctx, client):
        dut = client.dut
        bad = 0
        for turn in range(2):
            await give(ctx, dut.i_herald, [herald_record(*h) for h in heralds])
            await give(ctx, dut.i_psi, psis)
            await rest(ctx, client)
            assert client.peer == expected[0][:2]  # nothing revealed before the peer's digests
            for i, record in enumerate(answers[0]):
                kind, number, value = record
                wrong = [
                    (kind, number + 32, value),
                    (kind + 1, number, value),
                    (kind | 8, number, value),
                    (6, 0, 2),
                    (6, 1, kind),
                ]
                if kind == 4:
                    wrong.append((4, number, 4))
                if i:
                    wrong.append(answers[0][i - 1])
                wrong = [w for w in wrong if w != record]
                await give(ctx, dut.i_peer, wrong)
                await rest(ctx, client)
                bad += len(wrong)
                assert ctx.get(dut.o_counters.refused) == bad
                await give(ctx, dut.i_peer, [record])
                await rest(ctx, client)
            assert client.peer == expected[0] + expected[1][:2]
            assert client.sifted == sifted[0]
            await give(ctx, dut.i_peer, answers[1])
            await rest(ctx, client)
            assert client.peer == expected[0] + expected[1]
            assert client.sifted == sifted[0] + sifted[1]
            assert ctx.get(dut.o_counters.blocks_agreed) == 2 * (turn + 1)
            # Stopped in the middle of a third block, everything begins anew.
            await give(ctx, dut.i_herald, [herald_record(64 + i, 77, 1) for i in range(20)])
            await give(ctx, dut.i_peer, [(1, 2, 3)])
            ctx.set(dut.i_run, 0)
            await ctx.tick()
            ctx.set(dut.i_run, 1)
            client.peer.clear()
            client.sifted.clear()

    run_single(script)


def test_late_skipped_and_early_records():
    rng = random.Random(6)
    heralds, psis = make_run(rng, range(40))
    # 3 skipped by number; 9 .. 11 flushed by psi 11; 20's psi skipped.
    arriving = [h for h in heralds if h[0] not in (3, 9, 10, 11)]
    psi_arriving = [p for p in psis if p[0] != 20]
    view = knowledge(0, arriving, psi_arriving, 0, 32)

    async def script(ctx, client):
        dut = client.dut
        await give(ctx, dut.i_herald, [herald_record(*h) for h in arriving if h[0] < 9])
        await give(ctx, dut.i_herald, [herald_record(*heralds[3]), herald_record(*heralds[8])])
        await give(ctx, dut.i_psi, [p for p in psi_arriving if p[0] < 12])
        await rest(ctx, client)
        await give(ctx, dut.i_herald, [herald_record(*heralds[10])])  # psi 11 made it missing
        await give(ctx, dut.i_herald, [herald_record(*h) for h in arriving if h[0] > 11])
        await give(ctx, dut.i_psi, [psis[4], *(p for p in psi_arriving if p[0] > 11)])
        await rest(ctx, client)
        counters = client.counters(ctx)
        assert {name: counters[name] for name in ("heralds", "missing", "late", "overflow", "psi")} == {
            "heralds": 36,
            "missing": 4,
            "late": 4,
            "overflow": 0,
            "psi": 39,
        }
        low, high = view.tag(0)
        assert client.peer == [(1, 0, low), (2, 0, high)]

    run_single(script)


def test_overflow_and_modular_late():
    """A jump beyond the ring is refused, one to its last place is bench_block's: it takes the digest long to take all that is missing."""
    pulses = [(1 << 33) + i for i in range(4)]

    async def script(ctx, client):
        dut = client.dut
        await give(ctx, dut.i_herald, [herald_record(0, pulses[0], 1), herald_record(8192, pulses[1], 0)])
        await give(ctx, dut.i_herald, [herald_record(100, pulses[2], 0)])
        await give(ctx, dut.i_psi, [(8192, 0), (31, 0x3_1234)])
        await rest(ctx, client)
        counters = client.counters(ctx)
        assert {name: counters[name] for name in ("heralds", "missing", "late", "overflow", "psi")} == {
            "heralds": 2,
            "missing": 99,
            "late": 0,
            "overflow": 2,
            "psi": 1,
        }
        blank = [None] * 31
        view = Party(0, SETTINGS, [(pulses[0], 1), *blank], [None] * 32)
        assert client.peer == [(1, 0, view.tag(0)[0]), (2, 0, view.tag(0)[1])]
        # Numbers compare as 32-bit differences: what lies behind 0 is late, not far ahead.
        await give(ctx, dut.i_herald, [herald_record(MASK, pulses[3], 0)])
        await give(ctx, dut.i_psi, [(MASK - 5, 0)])
        await rest(ctx, client)
        assert ctx.get(dut.o_counters.late) == 2

    run_single(script)


def test_peer_queue_refuses_when_full_and_counts():
    async def script(ctx, client):
        dut = client.dut
        ctx.set(dut.i_peer.payload, [1, 7, 7])
        ctx.set(dut.i_peer.valid, 1)
        await ctx.tick().repeat(4100)
        ctx.set(dut.i_peer.valid, 0)
        await rest(ctx, client)
        assert ctx.get(dut.o_counters.peer) == 4096
        assert ctx.get(dut.o_counters.refused) == 4

    run_single(script)
