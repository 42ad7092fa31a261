"""The ring of symbols: what is emitted, recalled and refused, against the model, over jumps, starvation and wraps of ring and index."""

import random

import numpy as np
import pytest
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st
from sift_oracle import SETTINGS

from twinphase_hdl.sift.ring import RingSymbols
from twinphase_hdl.sift.ringmemory import RingMemory
from twinphase_hdl.sift.turns import GroupTurns
from twinphase_sim.model.sift.symbolring import SymbolRing
from twinphase_spec.symbol_ring import LAG_PULSES, MOST_RING_STEPS, RING_STEP, SPARE_WORDS, RingConfig
from twinphase_spec.symbols import BOUNDS

FIELDS = ("x", "send", "intensity", "slice", "phase")
MASK = (1 << 56) - 1
COUNTED_AFTER = 7
"""Clocks from a group that is asked for to the recall that finds it."""


def play(lanes, asks, recalls, idle, seed, symbols=RING_STEP):
    """Run a ring; the model sees the same asks, words and recalls.

    ``asks``: pulse or None per clock; ``recalls``: pulse or None per clock. Checks every symbol, refusal and the starved.
    Returns (answered, refused, starved).
    """
    rng = np.random.default_rng(seed)
    ring = RingConfig(symbols=symbols)
    dut = RingSymbols(lanes=lanes, ring=ring)
    bits = rng.integers(0, 1 << 16, (len(asks) + 1, lanes), dtype=np.uint16)
    valid = rng.random(len(asks)) >= idle
    seen = {"symbols": [], "taken": [], "valid": [], "recalled": [], "refused": [], "starved": []}

    async def bench(ctx):
        ctx.set(
            dut.i_settings, {name: getattr(SETTINGS, name) for name in (*BOUNDS, "slices_z", "slices_x")}
        )  # fmt: skip
        taken = 0
        for clock, (ask, recall) in enumerate(zip(asks, recalls, strict=True)):
            ctx.set(dut.i_framing, ask is not None)
            ctx.set(dut.i_pulse, ask or 0)
            ctx.set(dut.i_recall.valid, recall is not None)
            ctx.set(dut.i_recall.payload, recall or 0)
            ctx.set(dut.i_bits.valid, int(valid[clock]))
            ctx.set(dut.i_bits.payload, sum(int(w) << 16 * k for k, w in enumerate(bits[taken])))
            seen["symbols"].append([{f: getattr(s, f) for f in FIELDS} for s in ctx.get(dut.o_symbols)])
            seen["recalled"].append(
                ({f: getattr(ctx.get(dut.o_recalled), f) for f in FIELDS}, ctx.get(dut.o_recalled_refused))
                if ctx.get(dut.o_recalled_valid)
                else None
            )
            seen["starved"].append(ctx.get(dut.o_starved))
            took = ctx.get(dut.i_bits.ready) & int(valid[clock])
            seen["taken"].append(took)
            taken += took
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(8e-9)
    simulator.add_testbench(bench)
    simulator.run()

    model = SymbolRing(config=SETTINGS, lanes=lanes, ring=ring)
    used = answered = refusals = 0
    end = len(asks) - dut.recall_latency
    for clock in range(end):
        if clock >= COUNTED_AFTER:
            ask = asks[clock - COUNTED_AFTER]
            emitted = [dict.fromkeys(FIELDS, 0)] * lanes
            if ask is None:
                model.stop()
            else:
                # The word is taken four clocks after the group was asked for.
                at = clock - COUNTED_AFTER + GroupTurns.latency
                drawn, taken = model.ask(ask, bits[used:], valid[at : at + 1])
                emitted = [{f: int(getattr(drawn, f)[0, lane]) for f in FIELDS} for lane in range(lanes)]
                assert seen["taken"][at] == taken
                used += taken
            assert seen["symbols"][clock - COUNTED_AFTER + dut.latency] == emitted
        recall = recalls[clock]
        got = seen["recalled"][clock + dut.recall_latency]
        assert (got is None) == (recall is None)
        if recall is not None:
            symbol, refused = model.recall(recall)
            assert got == ({f: int(getattr(symbol, f)[0]) for f in FIELDS}, refused)
            answered, refusals = answered + (not refused), refusals + refused
    starved = sum(seen["starved"][: end - COUNTED_AFTER + 5]) * lanes
    assert starved == model.starved
    return answered, refusals, starved


def aimed(rng, ring, asks):
    """Recalls of every clock: near the ends of what is held, and in it; or of any index."""
    recalls = []
    for clock in range(len(asks)):
        now = next((ask for ask in reversed(asks[max(0, clock - 20) : clock + 1]) if ask is not None), 0)
        back = rng.choice(
            (
                rng.randrange(ring.symbols),
                rng.randrange(160),
                ring.held_symbols + rng.randrange(-200, 200),
                ring.symbols + rng.randrange(-200, 200),
                rng.getrandbits(56),
            )
        )
        recalls.append(None if rng.random() < 0.2 else (now - back) & MASK)
    return recalls


def test_what_is_held_is_what_was_emitted_over_wraps_of_ring_and_index():
    rng = random.Random(8)
    ring = RingConfig(symbols=RING_STEP)
    asks = [(8 * k) & MASK for k in range(-1000, ring.words + 300)]
    answered, refused, _ = play(8, asks, aimed(rng, ring, asks), 0.0, 1)
    assert answered > 700
    assert refused > 500


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 1 << 32), lanes=st.sampled_from((1, 2, 4, 8)), idle=st.sampled_from((0.0, 0.1, 0.9)))
def test_jumps_starvation_and_stops_give_no_wrong_symbol(seed, lanes, idle):
    rng = random.Random(seed)
    asks, pulse = [], rng.choice((0, rng.getrandbits(53) * 8, MASK + 1 - 160))
    for _ in range(12):
        for _ in range(rng.randrange(1, 60)):
            asks.append(pulse & MASK)
            pulse += lanes
        jump = rng.choice(
            (
                *(lanes, -lanes, -4 * lanes, 5 * lanes, -10 * lanes, 0),
                *(-LAG_PULSES, LAG_PULSES - lanes, -LAG_PULSES - lanes, -LAG_PULSES + lanes),
                rng.getrandbits(53) * 8,
            )
        )
        pulse += jump
        if rng.random() < 0.2:
            asks += [None] * rng.randrange(1, 9)
    asks += [None] * 30
    recalls = [
        None if rng.random() < 0.2 else (_near(rng, asks, k) - rng.randrange(200)) & MASK for k in range(len(asks))
    ]
    play(lanes, asks, recalls, idle, seed)


def _near(rng, asks, clock):
    chosen = asks[max(0, clock - rng.randrange(60))]
    return chosen if chosen is not None else rng.getrandbits(56)


@pytest.mark.long
def test_every_index_around_the_window_answers_with_its_own_symbol_or_not_at_all():
    ring = RingConfig(symbols=RING_STEP)
    asks = [8 * k for k in range(ring.words + 300)]
    last = asks[-1]
    sweep = range(last + 24, last - ring.symbols - 400, -1)
    # The group that was drawn last is passed when it is asked for again: the ring stays while all of it is read.
    recalls = [None] * (len(asks) + COUNTED_AFTER) + [n & MASK for n in sweep] + [None] * 30
    asks += [last] * (len(recalls) - len(asks))
    answered, refused, _ = play(8, asks, recalls, 0.01, 4)
    assert refused >= len(sweep) - ring.held_symbols
    assert 0.95 * ring.held_symbols < answered <= ring.held_symbols


def test_a_stop_drops_what_is_being_recalled():
    dut = RingSymbols(lanes=1, ring=RingConfig(symbols=RING_STEP))
    seen = []

    async def bench(ctx):
        for gap in (1, 5, dut.recall_latency - 1, dut.recall_latency):
            ctx.set(dut.i_recall.valid, 1)
            await ctx.tick()
            ctx.set(dut.i_recall.valid, 0)
            for clock in range(3 * dut.recall_latency):
                ctx.set(dut.i_stop, clock == gap - 1)
                seen.append(ctx.get(dut.o_recalled_valid))
                await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(8e-9)
    simulator.add_testbench(bench)
    simulator.run()
    assert sum(seen) == 1  # only what came out before the stop


def test_every_bank_of_the_memory_answers_for_itself():
    ring = RingConfig()
    dut = RingMemory(ring=ring)
    rng = random.Random(3)
    addresses = sorted(
        {0, 2047, 2048, ring.words - 1, *(2048 * k + rng.randrange(2048) for k in range(23) for _ in range(2))}
    )
    data = {address: rng.getrandbits(48) for address in addresses}
    reads = rng.sample(addresses, len(addresses))
    got = []

    async def bench(ctx):
        ctx.set(dut.i_write, 1)
        for address, word in data.items():
            ctx.set(dut.i_write_address, address)
            ctx.set(dut.i_write_data, word)
            await ctx.tick()
        ctx.set(dut.i_write, 0)
        ctx.set(dut.i_write_data, 0)
        for address in (*reads, *[0] * dut.latency):
            ctx.set(dut.i_read_address, address)
            got.append(ctx.get(dut.o_data))
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(8e-9)
    simulator.add_testbench(bench)
    simulator.run()
    assert got[dut.latency :] == [data[address] for address in reads]


@pytest.mark.parametrize("lanes", [0, 3, 16])
def test_other_numbers_of_lanes_are_refused(lanes):
    with pytest.raises(ValueError, match="1, 2, 4 or 8"):
        RingSymbols(lanes=lanes)


@pytest.mark.parametrize(("bits", "most"), [(8, 3), (8, 1), (8, 64)])
def test_turns_that_a_lag_cannot_tell_are_refused(bits, most):
    with pytest.raises(ValueError, match="powers of two"):
        GroupTurns(bits=bits, most=most)


def test_the_spare_words_cover_a_recall_that_is_under_way():
    # From the clock of its judgement to the read of the memory's last row, and a word per clock.
    rows = RingMemory(ring=RingConfig(symbols=MOST_RING_STEPS * RING_STEP)).rows
    assert 4 + rows < SPARE_WORDS
