"""From a client's herald to its symbol, and to its entry in the ring: the ring of heralds together with the recall of the symbols."""

import random

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.sim import Simulator
from sift_oracle import SETTINGS, symbol
from test_symbols import FIELDS, ready, settings_of

from twinphase_hdl.sift.counter import CounterSymbols
from twinphase_hdl.sift.recall import HeraldRing

MOST_CLOCKS = 64
"""What a herald may take to its recalled symbol."""


@pytest.mark.parametrize(("lanes", "shared"), [(8, False), (4, True)])
def test_a_herald_has_its_symbol_after_a_constant_time(lanes: int, shared: bool) -> None:
    """Heralds further apart than recall takes, while symbols are emitted; a block of one herald is there with its entry.

    Where recall shares emission's AES, which has every other clock with 4 lanes, it may come in one of those and wait for the next.
    """
    ring, source = HeraldRing(), CounterSymbols(lanes=lanes, shared=shared)
    m = Module()
    m.submodules += [ring, source]
    wiring.connect(m, ring.o_recall, source.i_recall)
    m.d.comb += [
        ring.i_symbol_valid.eq(source.o_recalled_valid),
        ring.i_symbol.eq(source.o_recalled),
        ring.i_digest_ready.eq(1),
    ]
    rng = random.Random(lanes)
    pulses = [0, 2**56 - 1, *(rng.getrandbits(56) for _ in range(14))]
    to_symbol, to_entry, recalled = [], [], []

    async def emit(ctx):
        pulse = 0
        while True:
            await ctx.tick()
            pulse += lanes
            ctx.set(source.i_pulse, pulse)

    async def bench(ctx):
        ctx.set(source.i_settings, settings_of(SETTINGS))
        ctx.set(ring.i_block_heralds, 1)
        await ready(ctx, source)
        ctx.set(source.i_framing, 1)
        for n, pulse in enumerate(pulses):
            await ctx.tick().repeat(rng.randrange(2 * MOST_CLOCKS))
            ctx.set(ring.i_index, n)
            ctx.set(ring.i_pulse, pulse)
            ctx.set(ring.i_valid, 1)
            for clock in range(2 * MOST_CLOCKS):
                if ctx.get(source.o_recalled_valid):
                    to_symbol.append(clock)
                    recalled.append(tuple(int(ctx.get(source.o_recalled[name])) for name in FIELDS))
                if ctx.get(ring.o_blocks) == n + 1:
                    to_entry.append(clock)
                    break
                await ctx.tick()
                ctx.set(ring.i_valid, 0)

    sim = Simulator(m)
    sim.add_clock(8e-9)
    sim.add_testbench(bench)
    sim.add_testbench(emit, background=True)
    sim.run()
    print(f"{lanes} lanes: symbol after {set(to_symbol)} clocks, entry after {set(to_entry)}")
    assert recalled == [tuple(getattr(symbol(SETTINGS, n), name) for name in FIELDS) for n in pulses]
    waits = {0, 1} if shared else {0}
    assert set(to_symbol) == {source.recall_latency + 2 + wait for wait in waits}
    assert [after - before for before, after in zip(to_symbol, to_entry, strict=True)] == [6] * len(pulses)
    assert max(to_entry) <= MOST_CLOCKS
