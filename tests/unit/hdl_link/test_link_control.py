"""From packets on the link to registers and records, and back: depacketizer, control, register bank, snapshot."""

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out
from link_bench import collect, header, packet, run, send, split, word, words_of

from twinphase_hdl.link.control import RegisterControl
from twinphase_hdl.link.depacketizer import Depacketizer
from twinphase_hdl.link.earlytables import EarlyTableBank
from twinphase_hdl.link.pacedcontrol import PacedControl
from twinphase_hdl.link.registers import RegisterBank
from twinphase_hdl.link.snapshot import Snapshot
from twinphase_hdl.types import word_stream
from twinphase_spec import packets
from twinphase_spec.packets import RegisterOp, RegisterStatus, Stream
from twinphase_spec.registers import CLIENT, SERVER, Access

CONSUMED = (Stream.HERALD, Stream.PSI, Stream.PEER)


class Registers(wiring.Component):
    """Depacketizer, control and bank of the client map; CELLS holds word a = a * 0x01010101; writes are counted."""

    slow = False
    """As small parts have them."""

    def __init__(self):
        bank = EarlyTableBank if self.slow else RegisterBank
        self.bank = bank(CLIENT, build_hash=0x12345678, constants={"LANES": 8})
        super().__init__({"i": In(word_stream()), "o": Out(word_stream()), "writes": Out(32), "snapshots": Out(32)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.depacketizer = depacketizer = Depacketizer()
        if self.slow:
            control = PacedControl(bank_latency=RegisterBank.latency, read_ahead=2)
        else:
            control = RegisterControl(bank_latency=RegisterBank.latency)
        m.submodules.control = control
        m.submodules.bank = bank = self.bank
        m.submodules.cells = cells = memory.Memory(shape=32, depth=256, init=[a * 0x01010101 for a in range(256)])
        port = cells.read_port()
        wiring.connect(m, wiring.flipped(self.i), depacketizer.i)
        wiring.connect(m, depacketizer.request, control.i)
        wiring.connect(m, control.o, wiring.flipped(self.o))
        m.d.comb += [
            bank.i_address.eq(control.o_address),
            bank.i_write.eq(control.o_write),
            bank.i_write_data.eq(control.o_write_data),
            control.i_read_data.eq(bank.o_read_data),
            port.addr.eq(bank.o_cells_address),
            bank.i_cells_data.eq(port.data),
            bank.i_snapshot_count.eq(77),
        ]
        m.d.sync += [self.writes.eq(self.writes + control.o_write), self.snapshots.eq(self.snapshots + bank.o_snapshot)]
        return m


@pytest.fixture(params=[False, True], ids=["", "slow"], autouse=True)
def slow(request, monkeypatch):
    monkeypatch.setattr(Registers, "slow", request.param)


def request(op, identity, address, count, values=()):
    return packet(Stream.REGISTER_REQUEST, values, sequence=identity, flags=op, w3=address, w4=count)


def answers(requests, *, idle=0.0, pause=0.0, state=None):
    """Responses as (id, status, address, count, words)."""
    dut = Registers()
    out: list = []

    async def watch(context):
        await send(dut.i, [w for r in requests for w in words_of(r)], idle=idle)(context)
        await context.tick().repeat(2500 if Registers.slow else 700)
        if state is not None:
            state["writes"] = context.get(dut.writes)
            state["snapshots"] = context.get(dut.snapshots)
            state["table"] = None

    run(dut, watch, collect(dut.o, out, pause=pause, read=word))
    found = []
    for p in split(out):
        head = header(p)
        assert head["stream"] == Stream.REGISTER_RESPONSE
        assert p[5:8] == [0, 0, 0]
        found.append((head["sequence"], head["flags"], p[3], p[4], p[8:]))
    return found


READ, WRITE = RegisterOp.READ, RegisterOp.WRITE
OK, BAD = RegisterStatus.OK, RegisterStatus.BAD_REQUEST


@pytest.mark.parametrize(("idle", "pause"), [(0, 0), (0.4, 0.4)])
def test_identity_and_read_back_of_every_register(idle, pause):
    writable = [r for r in CLIENT.registers if r.access is Access.RW]
    random = np.random.default_rng(5)
    values = {r.name: int(random.integers(0, 1 << r.width, dtype=np.uint64)) for r in writable}
    requests = []
    for i, r in enumerate(writable):
        words = [values[r.name] >> 32 * k & 0xFFFFFFFF for k in range(r.words)]
        requests.append(request(WRITE, 100 + i, r.address, r.words, words))
    requests.append(request(READ, 1, 0, 64))
    *written, (identity, status, address, count, words) = answers(requests, idle=idle, pause=pause)
    assert [w[0] for w in written] == [100 + i for i in range(len(writable))]
    assert all(w[1] == OK and w[4] == [] for w in written)
    assert (identity, status, address, count, len(words)) == (1, OK, 0, 64, 64)
    expected = dict.fromkeys(range(64), 0)
    fixed = {
        "CLOCK_HZ": 125_000_000,
        "MAP_HASH": CLIENT.hash,
        "BUILD_HASH": 0x12345678,
        "SNAPSHOT_COUNT": 77,
        "LANES": 8,
        "FRAMING": 0,
    }
    for r in CLIENT.registers:
        value = values.get(r.name, fixed.get(r.name, r.reset))
        for k in range(r.words):
            expected[r.address + k] = value >> 32 * k & 0xFFFFFFFF
    assert words == [expected[a] for a in range(64)]


def test_reset_values():
    ((_, _, _, _, words),) = answers([request(READ, 9, 0x10, 32)])
    for r in CLIENT.registers:
        if r.access is Access.RW and 0x10 <= r.address < 0x2F:
            assert words[r.address - 0x10] == r.reset & 0xFFFFFFFF


def test_memories_and_unmapped_addresses():
    cells = CLIENT.memory("CELLS").address
    found = answers(
        [
            request(READ, 1, cells + 228, 30),
            request(READ, 2, CLIENT.memory("FRAME_TABLE").address, 2),
            request(READ, 3, 0xFFFF, 2),
            request(READ, 4, 0x10003, 1),
            request(WRITE, 5, 0x10010, 1, [1]),
            request(WRITE, 6, 0xFFFFFFFF, 2, [1, 1]),
            request(READ, 7, 0x10, 1),
        ]
    )
    assert [f[1] for f in found] == [OK] * 7
    assert found[0][4] == [a * 0x01010101 for a in range(228, 256)] + [0, 0]
    assert [f[4] for f in found[1:]] == [[0, 0], [0, 0], [0], [], [], [0]]


def test_repeated_write_is_answered_but_not_executed_again():
    state: dict = {}
    found = answers(
        [
            request(WRITE, 0, SERVER["SNAPSHOT"].address, 1, [1]),
            request(WRITE, 0, SERVER["SNAPSHOT"].address, 1, [1]),
            request(READ, 0, 0, 1),
            request(WRITE, 0, SERVER["SNAPSHOT"].address, 1, [1]),
            request(WRITE, 8, SERVER["SNAPSHOT"].address, 1, [1]),
            request(WRITE, 9, SERVER["SNAPSHOT"].address, 2, [1]),
            request(WRITE, 8, SERVER["SNAPSHOT"].address, 1, [1]),
            request(WRITE, 9, SERVER["SNAPSHOT"].address, 1, [1]),
        ],
        state=state,
    )
    assert [f[1] for f in found] == [OK, OK, OK, OK, OK, BAD, OK, OK]
    assert state["snapshots"] == state["writes"] == 3


def test_bad_requests_get_an_answer():
    bad = [
        request(READ, 1, 0, 0),
        request(READ, 2, 0, 65),
        request(READ, 3, 0, 1 << 31),
        request(WRITE, 4, 0x10, 2, [1]),
        request(WRITE, 5, 0x10, 1, [1, 1]),
        request(WRITE, 6, 0x10, 1),
        request(WRITE, 7, 0x10, 65, [1] * 65),
        request(7, 8, 0x10, 1, [1]),
        request(WRITE, 9, 0x10, 0),
    ]
    found = answers([*bad, request(READ, 10, 0x10, 1, [5, 6])])
    assert [(f[0], f[1], f[2], f[3], f[4]) for f in found[:-1]] == [(b[1], BAD, b[3], b[4], []) for b in bad]
    assert found[-1] == (10, OK, 0x10, 1, [0])


def test_answer_within_100_clocks():
    dut = Registers()
    clocks = []

    async def bench(context):
        await send(dut.i, words_of(request(READ, 1, 0, 1)))(context)
        context.set(dut.o.ready, 1)
        for clock in range(100):
            _, _, valid, payload = await context.tick().sample(dut.o.valid, dut.o.payload)
            if valid and word(payload)[1]:
                clocks.append(clock)

    run(dut, bench)
    assert len(clocks) == 1
    assert clocks[0] < (60 if Registers.slow else 40)


def mutate(random, good):
    """A damaged packet that cannot pass, as (words)."""
    words = list(good)
    match random.integers(6):
        case 0:
            words[0] ^= 1 << int(random.integers(8, 32))
        case 1:
            words[0] = words[0] & ~0xFF | int(random.choice([0, 1, 7, 8, 65, 80, 255]))
        case 2:
            words = words[: random.integers(1, len(words))]
        case 3:
            words += [int(w) for w in random.integers(0, 1 << 32, random.integers(1, 600))]
        case 4:
            words[2] += int(random.integers(1, 4))
        case 5:
            words = [int(w) for w in random.integers(0, 1 << 31, random.integers(1, 20))]
    return words


@pytest.mark.parametrize(("idle", "pause", "seed"), [(0, 0, 1), (0.2, 0.3, 2)])
def test_good_packets_survive_among_damaged_ones(idle, pause, seed):
    random = np.random.default_rng(seed)
    dut = Depacketizer(streams=CONSUMED)
    expected = {stream: [] for stream in CONSUMED}
    sent, damaged = [], 0
    for _ in range(60):
        stream = CONSUMED[random.integers(3)]
        length = packets.RECORD_WORDS[stream]
        records = random.integers(0, 1 << 32, (int(random.choice([0, 1, 2, 5, 256 // length])), length)).tolist()
        good = packet(stream, [w for record in records for w in record], sequence=int(random.integers(1 << 32)))
        if random.random() < 0.5:
            sent.append(mutate(random, good))
            damaged += 1
        else:
            sent.append(good)
            expected[stream] += records
    dropped = [0]

    async def count(context):
        async for _, _, strobe in context.tick().sample(dut.o_dropped):
            dropped[0] += strobe

    count.background = True
    got = {stream: [] for stream in CONSUMED}
    collectors = [
        collect(getattr(dut, s.name.lower()), got[s], pause=pause, seed=s, read=lambda p: [int(w) for w in p])
        for s in CONSUMED
    ]
    run(dut, send(dut.i, [w for p in sent for w in words_of(p)], idle=idle), count, *collectors, settle=1000)
    assert got == expected
    assert dropped[0] == damaged


def test_snapshot_latches_all_counters_at_one_clock():
    dut = Snapshot(counters=5)
    tick = 1 << packets.STATUS_BITS
    record, memory_words, waited = [], [], []

    async def read_record(context):
        while not context.get(dut.status.waits):
            await context.tick()
        await context.tick().repeat(20)
        for place in range(10):
            context.set(dut.status.address, place)
            context.set(dut.status.read, 1)
            context.set(dut.status.sent, place == 9)
            await context.tick()
            record.append(context.get(dut.status.data))
        waited.append(context.get(dut.status.clock))
        context.set(dut.status.sent, 0)

    async def bench(context):
        context.set(dut.i_status_enable, 1)
        for clock in range(tick - 10, tick + 2 * dut.copy_clocks + 60):
            context.set(dut.i_clock, clock)
            for k in range(5):
                context.set(dut.i_counters[k], clock * (k + 1))
            # A snapshot asked for during the copy is taken after it, when the record has been sent.
            context.set(dut.i_snapshot, clock == tick + 3)
            await context.tick()
        assert context.get(dut.o_snapshot_count) == 2
        assert context.get(dut.o_idle)
        for a in range(12):
            context.set(dut.i_address, a)
            await context.tick()
            memory_words.append(context.get(dut.o_data))

    run(dut, bench, read_record)
    values = np.array(record, "<u4").view("<u8")
    assert values.tolist() == [(tick + 3) * (k + 1) for k in range(5)]  # latched three clocks after the tick
    assert waited == [tick + 3]
    later = np.array(memory_words[:10], "<u4").view("<u8")
    assert later[0] > tick + 3 + dut.copy_clocks + 30
    assert later.tolist() == [int(later[0]) * (k + 1) for k in range(5)]
    assert memory_words[10:] == [0, 0]


def test_register_bank_refuses_strobes_that_it_cannot_give():
    with pytest.raises(ValueError, match="strobes has CLOCK_HZ, NONE; allowed: RW registers of one word"):
        RegisterBank(CLIENT, strobes=["NONE", "STREAM_ENABLE", "CLOCK_HZ"])


def test_register_bank_refuses_constants_that_it_does_not_have():
    with pytest.raises(ValueError, match="constants has STREAM_ENABLE, lanes; allowed: RO registers of the map"):
        RegisterBank(CLIENT, constants={"lanes": 8, "LANES": 8, "STREAM_ENABLE": 1})
