"""The phase tracker over random windows, every record word for word against the plain statement."""

import random
from functools import partial

import numpy as np
import pytest
from phase_oracle import Counts, Tracker, reference_click, simulate

from twinphase_hdl.phase.record import RecordRegister
from twinphase_hdl.phase.tracker import PhaseTracker
from twinphase_spec.packets import DPHASE_DTYPE, PHASE_DTYPE, Stream


def record(payload, dtype) -> dict:
    """Fields of a record of 32-bit words."""
    words = np.array([int(word) for word in payload], dtype="<u4")
    return {name: int(words.view(dtype)[0][name]) for name in dtype.names}


async def take(ctx, port, dtype, records, rng):
    """Background sink with back-pressure."""
    while True:
        ctx.set(port.ready, 0)
        for _ in range(rng.randrange(1, 4)):
            await ctx.tick()
        ctx.set(port.ready, 1)
        _, _, valid, payload = await ctx.tick().sample(port.valid, port.payload)
        if valid:
            records.append(record(payload, dtype))


def window_clicks(rng, w):
    """Clicks (band, step, right) of a window: usual ones, none at all, none in one band, and balanced ones (zero vectors)."""
    kind = rng.choice(["both", "both", "both", "none", "q", "r", "balanced_r", "balanced_q"])
    clicks = []
    for band in (0, 1):
        if kind in ("both", "qr"[band], f"balanced_{'rq'[band]}"):
            clicks += [(band, rng.randrange(4), rng.randrange(2)) for _ in range(rng.randrange(1, 25))]
        elif kind == f"balanced_{'qr'[band]}":
            clicks += [(band, 1, 0), (band, 3, 0), (band, 2, 1), (band, 2, 0)]
    rng.shuffle(clicks)
    return clicks


@pytest.mark.parametrize(
    ("seed", "ratio", "windows_per_dwindow", "swap"),
    [(1, -123456789, 2, 0), (2, 1 << 30, 3, 1), (3, -(1 << 31), 5, 2), (4, 4_000_000, 2, 3)],
)
def test_equals_contract(seed, ratio, windows_per_dwindow, swap):
    rng = random.Random(seed)
    dut = PhaseTracker()
    phases, dphases, joined, expected, longest = [], [], [], [], []

    async def run(ctx, windows):
        tracker = Tracker(ratio, windows_per_dwindow)
        ctx.set(dut.i_run, 1)
        # What comes in its first clock is not looked at.
        ctx.set(dut.i, reference_click(1, 0, 0, 0))
        ctx.set(dut.i_valid, 1)
        await ctx.tick()
        ctx.set(dut.i_valid, 0)
        for w in range(windows):
            q, r = Counts(), Counts()
            for band, step, right in window_clicks(rng, w):
                (q, r)[band].add(step, right ^ (swap >> band & 1))
                ctx.set(dut.i, reference_click(band, step, right, w))
                ctx.set(dut.i_valid, 1)
                await ctx.tick()
            ctx.set(dut.i_valid, 0)
            await ctx.tick()
            ctx.set(
                dut.i_anchor,
                {
                    "clock": 0,
                    "pulse": 0,
                    "remainder": 0,
                    "frame_pulse": 0,
                    "frame": 0,
                    "window_frame": 0,
                    "window": w + 1,
                    "dwindow_window": (w + 1) % windows_per_dwindow,
                    "dwindow": (w + 1) // windows_per_dwindow,
                },
            )
            ctx.set(dut.i_close, 1)
            assert not ctx.get(dut.o_idle)
            await ctx.tick()
            ctx.set(dut.i_close, 0)
            expected.append(tracker.close(w, q, r))
            clocks, last_valid = 1, 0
            while not ctx.get(dut.o_idle):
                if ctx.get(dut.o_dphase.valid) and not last_valid:
                    last_valid = clocks
                await ctx.tick()
                clocks += 1
            longest.append(last_valid)

    async def bench(ctx):
        ctx.set(dut.i_swap, swap)
        ctx.set(dut.i_ratio, ratio)
        await run(ctx, 20)
        # Stop in the middle of a window; a restart starts from nothing.
        for w in (20, 21):
            ctx.set(dut.i, reference_click(1, 0, 0, w))
            ctx.set(dut.i_valid, 1)
            await ctx.tick().repeat(3)
        ctx.set(dut.i_valid, 0)
        ctx.set(dut.i_run, 0)
        await ctx.tick().repeat(2)
        await run(ctx, 6)

    async def watch(ctx):
        pending = {}
        while True:
            _, _, w_valid, w, d_valid, d = await ctx.tick().sample(
                dut.o_window_valid, dut.o_window, dut.o_dwindow_valid, dut.o_dwindow
            )
            if w_valid:
                pending = {"window": w.window, "psi_rq": w.psi_rq, "r_valid": w.r_valid}
                joined.append([pending, None])
            if d_valid:
                joined[-1][1] = {"dwindow": d.dwindow, "psi_d": d.psi_d, "d_valid": d.d_valid}

    simulate(
        dut,
        bench,
        partial(take, port=dut.o_phase, dtype=PHASE_DTYPE, records=phases, rng=rng),
        partial(take, port=dut.o_dphase, dtype=DPHASE_DTYPE, records=dphases, rng=rng),
        watch,
    )
    assert phases == [phase for phase, _, _ in expected]
    assert dphases == [dphase for _, _, dphase in expected if dphase]
    for (window, dwindow), (_, join, dphase) in zip(joined, expected, strict=True):
        assert window == join
        assert (dwindow is None) == (dphase is None)
        if dphase:
            fields = (dphase["dwindow"], dphase["psi_d_turns"], dphase["flags"] >> 1)
            assert tuple(dwindow.values()) == fields
    assert max(longest) <= dut.latency
    assert {phase["flags"] for phase in phases} == {0, 1}


def test_record_register_keeps_what_it_holds():
    dut = RecordRegister(record=Stream.PSI)

    async def bench(ctx):
        for value in (5, 6):
            ctx.set(dut.i, [value, value])
            ctx.set(dut.i_valid, 1)
            assert ctx.get(dut.o_lost) == (value == 6)
            await ctx.tick()
        ctx.set(dut.i_valid, 0)
        assert ctx.get(dut.o.valid)
        assert ctx.get(dut.o.payload[0]) == 5
        ctx.set(dut.o.ready, 1)
        await ctx.tick()
        assert not ctx.get(dut.o.valid)

    simulate(dut, bench)
