"""Modulator tables: every lane has the model's words, whatever was written; tables from V_pi and extinction do what they say."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from amaranth.sim import Simulator

from twinphase_hdl.sift.modulators import ModulatorTables
from twinphase_sim.model.sift.modulators import ModulatorTable
from twinphase_spec.drive import (
    BAND_WORDS,
    DRIVE_BITS,
    FULL_SCALE,
    TABLE_WORDS,
    DriveDac,
    IntensityModulator,
    band_table,
    entry_address,
)
from twinphase_spec.symbols import Level

Q_CODES = [level << 8 | phase << 4 for level in range(4) for phase in range(16)]
R_CODES = [0, *(Level.REF << 8 | step << 6 for step in range(4))]
PHOTONS = (0.0, 0.05, 0.1, 0.4, 2.0)


@pytest.mark.parametrize("lanes", [1, 2, 8])
def test_every_lane_has_the_models_words(lanes):
    draw = random.Random(lanes)
    dut, model = ModulatorTables(lanes=lanes), ModulatorTable()
    wanted, got = [], []

    async def show(ctx, clocks):
        for _ in range(clocks):
            codes = {"q": draw.choices(Q_CODES + R_CODES[1:], k=lanes), "r": draw.choices(R_CODES, k=lanes)}
            for band, those in codes.items():
                for lane, code in enumerate(those):
                    ctx.set(getattr(dut, f"i_{band}")[lane], code)
            drives = [model.drive(band, np.array(those, np.uint16)) for band, those in codes.items()]
            wanted.append([list(zip(a.tolist(), b.tolist(), strict=True)) for a, b in drives])
            await ctx.tick()
            got.append(
                [[(ctx.get(o[k].intensity), ctx.get(o[k].phase)) for k in range(lanes)] for o in (dut.o_q, dut.o_r)]
            )

    async def bench(ctx):
        await show(ctx, 40)
        for addresses in (range(TABLE_WORDS), draw.choices(range(TABLE_WORDS), k=30)):
            ctx.set(dut.i_write, 1)
            for address in addresses:
                word = draw.getrandbits(24)
                model.write(address, word)
                ctx.set(dut.i_address, address)
                ctx.set(dut.i_data, word)
                await ctx.tick()
            ctx.set(dut.i_write, 0)
            await show(ctx, 60)
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(8e-9)
    simulator.add_testbench(bench)
    simulator.run()
    # Latency 2: what is there after a clock's edge belongs to the codes of the clock before.
    assert ModulatorTables.latency == 2
    for first in (0, 40, 100):
        last = {0: 40, 40: 100, 100: 160}[first]
        assert got[first + 1 : last] == wanted[first : last - 1]


def test_a_table_from_v_pi_and_extinction():
    intensity = IntensityModulator(v_pi=3.5, v_dark=-0.4, extinction_db=30)
    intensity_dac, phase_dac = DriveDac(v_low=-1.0, v_high=4.0), DriveDac(v_low=-1.0, v_high=9.0)
    table = band_table(
        PHOTONS, intensity=intensity, intensity_dac=intensity_dac, phase_v_pi=4.2, phase_dac=phase_dac, phase_v_0=0.1
    )
    assert len(table) == BAND_WORDS
    volt_step, phase_step = 5.0 / FULL_SCALE, 10.0 / FULL_SCALE
    steepest = math.pi / 2 / intensity.v_pi  # of T over V
    for level, mu in zip(Level, PHOTONS, strict=True):
        for step in range(16):
            word = table[entry_address("q", level << 8 | step << 4)]
            made = intensity.transmission(intensity_dac.volts(word & FULL_SCALE))
            assert abs(made - max(mu / 2.0, intensity.darkest)) <= steepest * volt_step / 2 + 1e-12
            turns = (phase_dac.volts(word >> DRIVE_BITS) - 0.1) / 8.4
            assert abs(turns - step / 16) <= phase_step / 8.4 / 2 + 1e-12
    assert entry_address("r", 0x4C0) == BAND_WORDS + 0x4C


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"photons": (0, 0.0001, 0.1, 0.4, 2.0)}, "level MU_1 is 5e-05 of the brightest; allowed: 0, or 0.001"),
        ({"photons": (0, 0, 0, 0, 0)}, "allowed: 5 numbers, none negative, not all 0"),
        ({"intensity_dac": DriveDac(v_low=0, v_high=1)}, r"level MU_Z needs 1.03 V; allowed: 0 to 1 V|level \w+ needs"),
        ({"phase_dac": DriveDac(v_low=0, v_high=7)}, r"phase 14/16 turn needs 7.\d+ V; allowed: 0 to 7 V"),
        ({"phase_v_pi": 0}, "phase_v_pi is 0; allowed"),
    ],
)
def test_what_modulators_cannot_do_is_refused(changes, message):
    given = {
        "photons": PHOTONS,
        "intensity": IntensityModulator(v_pi=3.5, extinction_db=30),
        "intensity_dac": DriveDac(v_low=0, v_high=4),
        "phase_v_pi": 4.2,
        "phase_dac": DriveDac(v_low=0, v_high=9),
        **changes,
    }
    with pytest.raises(ValueError, match=message):
        band_table(given.pop("photons"), **given)


def test_bad_modulators_are_refused():
    for make, message in (
        (lambda: IntensityModulator(v_pi=0), "v_pi is 0"),
        (lambda: IntensityModulator(v_pi=1, extinction_db=0), "extinction_db is 0"),
        (lambda: DriveDac(v_low=1, v_high=1), "v_low below v_high"),
        (lambda: entry_address("x", 0), "bands q and r"),
        (lambda: entry_address("q", 1 << 11), "codes below 2048"),
        (lambda: ModulatorTables(lanes=3), "lanes is 3; allowed: 1, 2, 4 or 8"),
    ):
        with pytest.raises(ValueError, match=message):
            make()
