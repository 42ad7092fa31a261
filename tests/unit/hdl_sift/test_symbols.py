"""Symbol generator and emitter against a plain-Python statement of the spec."""

import random

import pytest
from amaranth.sim import Simulator
from sift_oracle import SETTINGS, symbol

from twinphase_hdl.sift.emitter import Emitter
from twinphase_hdl.sift.symbols import SymbolGenerator
from twinphase_spec.frame import SlotClass, slot_byte


def settings_of(config):
    return {
        "key": list(config.key),
        "z_threshold": config.z_threshold,
        "send_threshold": config.send_threshold,
        "vac_threshold": config.vac_threshold,
        "mu1_threshold": config.mu1_threshold,
    }


def test_generator_equals_spec_after_latency():
    rng = random.Random(1)
    pulses = [0, 1, 2**32 - 1, 2**32, 2**56 - 1] + [rng.getrandbits(56) for _ in range(300)]
    dut = SymbolGenerator()
    got = []

    async def bench(ctx):
        ctx.set(dut.i_settings, settings_of(SETTINGS))
        for n in pulses + [0] * dut.latency:
            ctx.set(dut.i_pulse, n)
            got.append(
                {name: ctx.get(getattr(dut.o_symbol, name)) for name in ("x", "send", "intensity", "slice", "phase")}
            )
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(8e-9)
    simulator.add_testbench(bench)
    simulator.run()
    assert got[dut.latency :] == [vars(symbol(SETTINGS, n)) for n in pulses]
    assert {(w["x"], w["intensity"]) for w in got[dut.latency :]} == {(0, 0), (0, 3), (1, 0), (1, 1), (1, 2)}


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


@pytest.mark.parametrize(("lanes", "role", "slot_pulses"), [(8, 0, 8), (8, 1, 200), (2, 1, 2), (1, 0, 7)])
def test_emitter_codes_follow_the_anchor_through_jumps(lanes, role, slot_pulses):
    rng = random.Random(lanes * 1000 + role)
    entries = 4096
    table = [[slot_byte(rng.randrange(9), rng.randrange(9)) for _ in range(8)] for _ in range(entries)]
    dut = Emitter(lanes=lanes)
    places = [0, slot_pulses - slot_pulses % lanes, entries * slot_pulses - lanes]
    places += [lanes * rng.randrange(entries * slot_pulses // lanes) for _ in range(300)]
    places += [lanes * ((p * slot_pulses + d) // lanes) for p in range(1, entries, 97) for d in (-1, 0)]
    anchors = [(rng.getrandbits(56) // lanes * lanes, place, rng.random() < 0.9) for place in places]
    got = []

    async def bench(ctx):
        ctx.set(dut.i_settings, settings_of(SETTINGS))
        ctx.set(dut.i_role, role)
        ctx.set(dut.i_grid, {"slot_pulses": slot_pulses, "slot_reciprocal": (1 << 24) // slot_pulses})
        ctx.set(dut.i_write, 1)
        for e, entry in enumerate(table):
            for half in range(2):
                ctx.set(dut.i_address, 2 * e + half)
                ctx.set(dut.i_data, int.from_bytes(bytes(entry[4 * half : 4 * half + 4]), "little"))
                await ctx.tick()
        ctx.set(dut.i_write, 0)
        for n, place, framing in anchors + [(0, 0, False)] * dut.latency:
            ctx.set(dut.i_anchor, {"pulse": n, "frame_pulse": place})
            ctx.set(dut.i_framing, framing)
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
        Emitter(lanes=3)
