"""Symbol generator and emitter against a plain-Python statement of the spec."""

import random

import pytest
from amaranth.sim import Simulator
from sift_oracle import SETTINGS, symbol

from sift_rigs import SymbolEmitter
from twinphase_hdl.sift.counter import CounterSymbols
from twinphase_hdl.sift.emitter import Emitter
from twinphase_spec.frame import SlotClass, slot_byte
from twinphase_spec.symbols import BOUNDS


def settings_of(config):
    return {
        "key": list(config.key),
        "nonce": config.nonce,
        **{name: getattr(config, name) for name in (*BOUNDS, "slices_z", "slices_x")},
    }


async def ready(ctx, dut):
    """Waits until the key is expanded."""
    await ctx.tick().repeat(2)
    await ctx.tick().until(dut.o_ready)


FIELDS = ("x", "send", "intensity", "slice", "phase")


@pytest.mark.parametrize(("lanes", "shared", "framing"), [(8, False, 0), (8, False, 1), (4, True, 0), (4, True, 1)])
@pytest.mark.parametrize("idle", [0.0, 0.95])
def test_recall_equals_spec_in_order_at_the_stated_rate(lanes, shared, framing, idle):
    rng = random.Random(1)
    pulses = [0, 1, 7, 8, 2**32 - 1, 2**32, 2**56 - 1] + [rng.getrandbits(56) for _ in range(30)]
    dut = CounterSymbols(lanes=lanes, shared=shared)
    came, left, got = [], [], []

    async def bench(ctx):
        ctx.set(dut.i_settings, settings_of(SETTINGS))
        await ready(ctx, dut)
        ctx.set(dut.i_framing, framing)
        for n in pulses:
            while rng.random() < idle:
                await ctx.tick()
            ctx.set(dut.i_recall.payload, n)
            ctx.set(dut.i_recall.valid, 1)
            await ctx.tick().until(dut.i_recall.ready)
            ctx.set(dut.i_recall.valid, 0)
        await ctx.tick().repeat(2 * dut.recall_latency)

    async def emit(ctx):
        pulse = 0
        while True:
            await ctx.tick()
            pulse += lanes
            ctx.set(dut.i_pulse, pulse)

    async def watch(ctx):
        clock = 0
        ports = (dut.i_recall.valid, dut.i_recall.ready, dut.o_recalled_valid, dut.o_recalled)
        while True:
            _, _, valid, taken, leaves, symbol = await ctx.tick().sample(*ports)
            clock += 1
            if valid and taken:
                came.append(clock)
            if leaves:
                left.append(clock)
                got.append({name: getattr(symbol, name) for name in FIELDS})

    simulator = Simulator(dut)
    simulator.add_clock(8e-9)
    simulator.add_testbench(bench)
    simulator.add_testbench(emit, background=True)
    simulator.add_testbench(watch, background=True)
    simulator.run()
    assert got == [vars(symbol(SETTINGS, n)) for n in pulses]
    assert {(w["x"], w["intensity"]) for w in got} == {(0, 0), (0, 3), (1, 0), (1, 1), (1, 2)}
    took = [b - a for a, b in zip(came, left, strict=True)]
    alone = [t for t, a, before in zip(took, came, [0, *left], strict=False) if a > before]
    assert set(alone) == {dut.recall_latency}
    assert max(took) <= dut.recall_latency + (0 if shared else 36)
    if not idle:
        per_pulse = (2 if framing else 1) if shared else 10
        assert left[-1] - left[0] <= per_pulse * (len(pulses) - 1) + 40


def test_a_stop_drops_what_is_being_recalled():
    for lanes in (4, 8):
        dut = CounterSymbols(lanes=lanes)
        seen = []

        async def bench(ctx, dut=dut, seen=seen):
            ctx.set(dut.i_settings, settings_of(SETTINGS))
            await ready(ctx, dut)
            ctx.set(dut.i_recall.valid, 1)
            for gap in (1, 5, dut.recall_latency - 2, dut.recall_latency - 1):
                await ctx.tick().until(dut.i_recall.ready)
                ctx.set(dut.i_recall.valid, 0)
                await ctx.tick().repeat(gap)
                seen.append(ctx.get(dut.o_recalled_valid))
                ctx.set(dut.i_stop, 1)
                await ctx.tick()
                ctx.set(dut.i_stop, 0)
                for _ in range(2 * dut.recall_latency):
                    seen.append(ctx.get(dut.o_recalled_valid))
                    await ctx.tick()
                ctx.set(dut.i_recall.valid, 1)

        simulator = Simulator(dut)
        simulator.add_clock(8e-9)
        simulator.add_testbench(bench)
        simulator.run()
        # Only a symbol that came out before the stop.
        assert sum(seen) == 1


def expected_codes(slot, n, role):
    codes = []
    for band, slot_class in (("q", slot & 15), ("r", slot >> 4)):
        code = 0
        if slot_class >= SlotClass.REF0 and slot_class <= SlotClass.REF3:
            code = 4 << 8 | ((slot_class - 4) * 64 if role == 0 else 0)
        elif slot_class == (SlotClass.REF_A, SlotClass.REF_B)[role]:
            code = 4 << 8
        elif slot_class == SlotClass.SIG and band == "q":
            window = symbol(SETTINGS, n)
            code = window.intensity << 8 | window.phase
        codes.append(code)
    return tuple(codes)


@pytest.mark.parametrize(
    ("lanes", "shared", "role", "slot_pulses"),
    [(8, False, 0, 8), (8, False, 1, 200), (4, True, 0, 4), (2, True, 1, 2), (2, False, 0, 2), (1, True, 0, 7)],
)
def test_emitter_codes_follow_the_anchor_through_jumps(lanes, shared, role, slot_pulses):
    """Anchors jump from block to block of the key stream, with 8 lanes in every clock, while heralds are recalled."""
    rng = random.Random(lanes * 1000 + role)
    entries = 4096
    table = [[slot_byte(rng.randrange(9), rng.randrange(9)) for _ in range(8)] for _ in range(entries)]
    dut = SymbolEmitter(lanes=lanes, shared=shared)
    places = [0, slot_pulses - slot_pulses % lanes, entries * slot_pulses - lanes]
    places += [lanes * rng.randrange(entries * slot_pulses // lanes) for _ in range(60)]
    places += [lanes * ((p * slot_pulses + d) // lanes) for p in range(1, entries, 397) for d in (-1, 0)]
    anchors = []
    for number, place in enumerate(places):
        within = number * lanes % 8
        block, framing = (rng.getrandbits(53) * 8, rng.random() < 0.9) if within == 0 else (block, framing)  # noqa: F821
        anchors.append((block + within, place, framing))
    got = []

    async def bench(ctx):
        ctx.set(dut.i_settings, settings_of(SETTINGS))
        ctx.set(dut.i_role, role)
        ctx.set(dut.i_grid, {"slot_pulses": slot_pulses, "slot_reciprocal": (1 << 24) // slot_pulses})
        ctx.set(dut.i_write, 1)
        for e in sorted({place // slot_pulses for place in places}):
            entry = table[e]
            for half in range(2):
                ctx.set(dut.i_address, 2 * e + half)
                ctx.set(dut.i_data, int.from_bytes(bytes(entry[4 * half : 4 * half + 4]), "little"))
                await ctx.tick()
        ctx.set(dut.i_write, 0)
        await ready(ctx, dut)
        ctx.set(dut.i_recall.payload, 12345)
        for n, place, framing in anchors + [(0, 0, False)] * dut.latency:
            ctx.set(dut.i_anchor, {"pulse": n, "frame_pulse": place})
            ctx.set(dut.i_framing, framing)
            ctx.set(dut.i_recall.valid, rng.random() < 0.7)
            got.append(
                (
                    ctx.get(dut.o_valid),
                    ctx.get(dut.o_pulse),
                    [(ctx.get(dut.o_q[lane]), ctx.get(dut.o_r[lane])) for lane in range(lanes)],
                )
            )
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(8e-9)
    simulator.add_testbench(bench)
    simulator.run()
    for (n, place, framing), (valid, pulse, codes) in zip(anchors, got[dut.latency :], strict=True):
        assert (valid, pulse) == (framing, n)
        entry = table[place // slot_pulses]
        expected = [expected_codes(entry[lane], n + lane, role) for lane in range(lanes)]
        assert codes == (expected if framing else [(0, 0)] * lanes)


def test_emitter_refuses_other_lanes():
    with pytest.raises(ValueError, match="lanes is 3"):
        Emitter(lanes=3, symbol_latency=0)
    with pytest.raises(ValueError, match="symbol_latency is -1; allowed: from 0"):
        Emitter(symbol_latency=-1)


def test_sources_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="lanes is 3; allowed: 1, 2, 4 or 8"):
        CounterSymbols(lanes=3)
    with pytest.raises(ValueError, match="a block in every clock; allowed: fewer lanes"):
        CounterSymbols(lanes=8, shared=True)
