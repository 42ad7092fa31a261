"""The ring of heralds with a recall that comes when it likes: order, missing heralds, back-pressure, blocks, latency."""

import random

import pytest
from amaranth.sim import Simulator

from twinphase_hdl.sift.recall import WAITING_HERALDS, HeraldRing

BLOCK = 32


def symbol_of(pulse):
    """What the stand-in recalls: any function of the pulse."""
    return {"x": pulse & 1, "send": 0, "intensity": pulse >> 1 & 3, "slice": pulse >> 3 & 15, "phase": 0}


MISSING = {"x": 0, "intensity": 0, "slice": 0, "detector": 0, "key": 0, "missing": 1}
KEY, PAIR = 0b10110100, 0x9F27_41B8_63DA_05CE
"""RULE_KEY and RULE_PAIR, any."""


def entries_of(heralds, span):
    """Entries by index, and how many heralds are not the second of a pair (docs/rules.md)."""
    entries, alone, former = {}, 0, None
    for place, herald in enumerate(heralds):
        index, pulse, detector, missing = herald
        symbol = symbol_of(pulse)
        code = symbol["x"] << 2 | symbol["intensity"]
        first, former = former, None if missing or (place + 1) % BLOCK == 0 else herald
        if missing:
            entries[index] = MISSING
        elif not span:
            entries[index] = {
                **{name: symbol[name] for name in ("x", "intensity", "slice")},
                "detector": detector,
                "key": KEY >> code & 1,
                "missing": 0,
            }
        elif first is None or (pulse - first[1]) % 2**56 > span:
            entries[index], alone = MISSING, alone + 1
        else:
            before, former = symbol_of(first[1]), None
            nibble = PAIR >> 4 * (before["intensity"] << 2 | symbol["intensity"]) & 15
            entries[index] = {
                "x": nibble & 1,
                "intensity": nibble >> 1 & 3,
                "slice": (symbol["slice"] - before["slice"]) % 16,
                "detector": detector ^ first[2],
                "key": nibble >> 3,
                "missing": 0,
            }
    return entries, alone


def run(heralds, *, gap, pause, delay, jitter=0, span=0, digest_clocks=1):
    """Ring entries, clocks (in, asked, written) per herald, and how often the ring was not ready.

    A herald comes after ``gap()`` clocks; the recall pauses with probability ``pause`` and answers after ``delay`` clocks and up to
    ``jitter`` more, in order. The digest takes a herald in ``digest_clocks`` clocks, each in its order.
    """
    dut = HeraldRing()
    rng = random.Random(len(heralds))
    result = {"entries": {}, "came": [], "asked": [], "closed": [], "refused": 0, "alone": 0, "left": []}
    clock = [0]
    due = []

    async def count(ctx):
        while True:
            await ctx.tick()
            clock[0] += 1

    async def give(ctx):
        ctx.set(dut.i_block_heralds, BLOCK)
        for name, value in (("pair_span", span), ("key", KEY), ("pair", PAIR)):
            ctx.set(getattr(dut.i_rules, name), value)
        await ctx.tick().repeat(2)
        for index, pulse, detector, missing in heralds:
            for _ in range(gap()):
                await ctx.tick()
            while not ctx.get(dut.o_ready):
                result["refused"] += 1
                await ctx.tick()
            for name, value in (("index", index), ("pulse", pulse), ("detector", detector), ("missing", missing)):
                ctx.set(getattr(dut, f"i_{name}"), value)
            ctx.set(dut.i_valid, 1)
            result["came"].append(clock[0])
            await ctx.tick()
            ctx.set(dut.i_valid, 0)
        await ctx.tick()
        for _ in range(len(heralds) * (delay + jitter + digest_clocks + 2) * 20 + 100):
            if ctx.get(dut.o_idle):
                break
            await ctx.tick()
        assert ctx.get(dut.o_idle)
        await ctx.tick()
        assert ctx.get(dut.o_blocks) == len(heralds) // BLOCK % 512
        for index, *_ in heralds:
            ctx.set(dut.i_read, 1)
            ctx.set(dut.i_read_index, index)
            await ctx.tick().repeat(3)
            result["entries"][index] = {name: ctx.get(getattr(dut.o_recalled, name)) for name in MISSING}

    async def recall(ctx):
        while True:
            ready = rng.random() >= pause
            ctx.set(dut.o_recall.ready, ready)
            if ready and ctx.get(dut.o_recall.valid):
                when = max(clock[0] + delay + rng.randrange(jitter + 1), due[-1][0] + 1 if due else 0)
                due.append((when, ctx.get(dut.o_recall.payload)))
                result["asked"].append(clock[0])
            answered = [pulse for when, pulse in due if when == clock[0]]
            ctx.set(dut.i_symbol_valid, bool(answered))
            if answered:
                ctx.set(dut.i_symbol, symbol_of(answered[0]))
            await ctx.tick()

    async def digest(ctx):
        rest = 0
        while True:
            ctx.set(dut.i_digest_ready, rest == 0)
            names = ("o_leaves", "o_pulse", "o_detector", "o_missing")
            _, _, leaves, *left = await ctx.tick().sample(*(getattr(dut, name) for name in names))
            rest = max(rest - 1, 0)
            if leaves:
                result["left"].append(tuple(left))
                rest = digest_clocks - 1

    async def watch(ctx):
        blocks = 0
        while True:
            await ctx.tick()
            result["alone"] += ctx.get(dut.o_unpaired)
            if ctx.get(dut.o_blocks) != blocks:
                blocks = ctx.get(dut.o_blocks)
                result["closed"].append(clock[0])

    simulator = Simulator(dut)
    simulator.add_clock(8e-9)
    simulator.add_testbench(count, background=True)
    simulator.add_testbench(digest, background=True)  # before who looks at what it leads to
    simulator.add_testbench(give)
    simulator.add_testbench(recall, background=True)
    simulator.add_testbench(watch, background=True)
    simulator.run()
    return result


def make(rng, count, missing):
    pulse, heralds = rng.getrandbits(55), []
    for n in range(5000, 5000 + count):
        pulse += rng.choice([1, 100, 1 << 30, (1 << 31) - 1, 1 << 31, (1 << 31) + 1, 1 << 32, (1 << 40) + 5])
        heralds.append((n % 8192, pulse, rng.getrandbits(1), int(rng.random() < missing)))
    return heralds


@pytest.mark.parametrize(
    ("gap", "pause", "delay", "jitter", "missing", "digest_clocks"),
    [
        (0, 0.0, 1, 0, 0.2, 1),
        (0, 0.0, 36, 0, 0.5, 8),
        (3, 0.9, 36, 27, 0.1, 8),
        (40, 0.5, 36, 27, 0.3, 3),
        (0, 0.5, 5, 3, 0.95, 9),
    ],
)
@pytest.mark.parametrize("span", [0, 1 << 31])
def test_every_entry_is_its_heralds(gap, pause, delay, jitter, missing, digest_clocks, span):
    """And each leaves for the digest once, in order."""
    rng = random.Random(f"{gap} {pause} {delay}")
    heralds = make(rng, 5 * BLOCK + 7, missing)
    pace = {"pause": pause, "delay": delay, "jitter": jitter, "digest_clocks": digest_clocks}
    result = run(heralds, gap=lambda: rng.randrange(gap + 1), span=span, **pace)
    assert result["left"] == [tuple(herald[1:]) for herald in heralds]
    entries, alone = entries_of(heralds, span)
    assert result["entries"] == entries
    assert result["alone"] == alone
    assert len(result["closed"]) == 5
    assert result["refused"] == 0


def test_a_full_queue_holds_heralds_back_and_loses_none():
    rng = random.Random(9)
    heralds = make(rng, WAITING_HERALDS + 128, 0.0)
    result = run(heralds, gap=lambda: 0, pause=0.9, delay=20)
    assert result["refused"] > 0
    assert result["entries"] == entries_of(heralds, 0)[0]


def test_a_herald_alone_takes_a_constant_time():
    """Two clocks to the recall, and from its answer six to a closed block: with 36 between, 44: below 64."""
    heralds = make(random.Random(4), 2 * BLOCK, 0.0)
    result = run(heralds, gap=lambda: 60, pause=0.0, delay=36)
    assert {asked - came for came, asked in zip(result["came"], result["asked"], strict=True)} == {2}
    assert [closed - result["came"][k * BLOCK + BLOCK - 1] for k, closed in enumerate(result["closed"])] == [
        2 + 36 + 6
    ] * 2


def test_a_refused_symbol_spoils_the_block_of_its_entry_and_no_other():
    rng = random.Random(5)
    heralds = [(k, rng.getrandbits(20), k & 1, int(rng.random() < 0.2)) for k in range(12 * BLOCK)]
    present = [herald for herald in heralds if not herald[3]]
    last_of_3, first_of_6 = (
        [h[1] for h in present if 3 * BLOCK <= h[0] < 4 * BLOCK][-1],
        next(h[1] for h in present if h[0] >= 6 * BLOCK),
    )
    refused = {last_of_3, first_of_6, *(h[1] for h in present if 9 * BLOCK <= h[0] < 10 * BLOCK)}
    refused |= {h[1] for h in present if h[0] // BLOCK == 11}
    wanted = [any(h[1] in refused for h in present if h[0] // BLOCK == block) for block in range(12)]
    assert 0 < sum(wanted) < 12
    dut = HeraldRing()
    asked, got = [], []

    async def give(ctx):
        ctx.set(dut.i_block_heralds, BLOCK)
        ctx.set(dut.i_digest_ready, 1)
        await ctx.tick().repeat(2)
        for index, pulse, detector, missing in heralds:
            for name, value in (("index", index), ("pulse", pulse), ("detector", detector), ("missing", missing)):
                ctx.set(getattr(dut, f"i_{name}"), value)
            ctx.set(dut.i_valid, 1)
            await ctx.tick()
            ctx.set(dut.i_valid, 0)
            for _ in range(rng.randrange(3)):
                await ctx.tick()
        while not ctx.get(dut.o_idle):
            await ctx.tick()
        await ctx.tick()
        assert ctx.get(dut.o_blocks) == 12
        for block in range(12):
            ctx.set(dut.i_block, block)
            await ctx.tick()
            got.append(bool(ctx.get(dut.o_spoilt)))

    async def recall(ctx):
        while True:
            ctx.set(dut.o_recall.ready, 1)
            asked.append(ctx.get(dut.o_recall.payload) if ctx.get(dut.o_recall.valid) else None)
            answer = asked[-9] if len(asked) > 8 else None
            ctx.set(dut.i_symbol_valid, answer is not None)
            # Between the answers it means nothing.
            ctx.set(dut.i_symbol_refused, answer is None or answer in refused)
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(8e-9)
    simulator.add_testbench(give)
    simulator.add_testbench(recall, background=True)
    simulator.run()
    assert got == wanted
