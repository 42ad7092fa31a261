"""Psi join against its formula, with back-pressure, a full queue and d-windows of the longest kind."""

import random

import pytest
from phase_oracle import simulate

from twinphase_hdl.sift.join import PsiJoin


class Bench:
    """Drives a PsiJoin and keeps what must come out."""

    def __init__(self, dut, seed, ready):
        self.dut, self.rng, self.ready = dut, random.Random(seed), ready
        self.waiting, self.expected, self.got = [], [], []
        self.phases, self.number = {}, 0

    async def herald(self, ctx, window, dwindow):
        """Offers a herald if there is room; whether there was."""
        dut = self.dut
        room = not ctx.get(dut.o_full)
        if room:
            ctx.set(dut.i, {"window": window & 1023, "dwindow": dwindow & 1023})
            self.waiting.append((self.number, window, dwindow))
            self.number += 1
        ctx.set(dut.i_valid, room)
        await ctx.tick()
        ctx.set(dut.i_valid, 0)
        return room

    async def close(self, ctx, window, windows_per_dwindow):
        dut, rng = self.dut, self.rng
        psi, valid = rng.getrandbits(16), rng.randrange(2)
        self.phases[window] = psi, valid
        ctx.set(dut.i_window, {"window": window, "psi_rq": psi, "r_valid": valid})
        ctx.set(dut.i_window_valid, 1)
        await ctx.tick()
        ctx.set(dut.i_window_valid, 0)
        dwindow, place = divmod(window, windows_per_dwindow)
        if place == windows_per_dwindow - 1:
            psi_d, d_valid = rng.getrandbits(16), rng.randrange(2)
            ctx.set(dut.i_dwindow, {"dwindow": dwindow, "psi_d": psi_d, "d_valid": d_valid})
            ctx.set(dut.i_dwindow_valid, 1)
            await ctx.tick()
            ctx.set(dut.i_dwindow_valid, 0)
            for number, w, _ in (h for h in self.waiting if h[2] == dwindow):
                psi_r, r_valid = self.phases[w]
                self.expected.append((number, (psi_r + psi_d) & 0xFFFF, r_valid | d_valid << 1))
            self.waiting = [h for h in self.waiting if h[2] != dwindow]

    async def idle(self, ctx):
        while not ctx.get(self.dut.o_idle):
            await ctx.tick()
        await ctx.tick()  # the sink sees a clock after this bench

    async def take(self, ctx):
        port = self.dut.o
        ctx.set(self.dut.i_flushed, 1)
        while True:
            ctx.set(port.ready, self.rng.random() < self.ready)
            _, _, transfer, payload = await ctx.tick().sample(port.valid & port.ready, port.payload)
            if transfer:
                number, word = (int(w) for w in payload)
                self.got.append((number, word & 0xFFFF, word >> 16))


@pytest.mark.parametrize("windows_per_dwindow", [2, 3, 128])
@pytest.mark.parametrize("ready", [1.0, 0.4])
def test_records_of_closed_dwindows(windows_per_dwindow, ready):
    """Heralds come while earlier ones leave; those of a window may come up to the close, those of the next before it."""
    dut = PsiJoin(pending_heralds=64)
    bench = Bench(dut, f"{windows_per_dwindow}{ready}", ready)
    windows = 700 if windows_per_dwindow == 128 else 60
    # The counter of d-windows wraps at 2^8, that of windows at 2^10: 700 windows from 600 on wrap the ring.
    first = 600 // windows_per_dwindow * windows_per_dwindow

    async def run(ctx):
        ctx.set(dut.i_run, 1)
        # The tracker closes every window from 0; the first d-window to close sets where the join stands.
        ctx.set(dut.i_dwindow, {"dwindow": first // windows_per_dwindow - 1, "psi_d": 0, "d_valid": 0})
        ctx.set(dut.i_dwindow_valid, 1)
        await ctx.tick()
        ctx.set(dut.i_dwindow_valid, 0)
        settled = 0
        for w in range(first, first + windows):
            for _ in range(bench.rng.choice([0, 0, 1, 3] if windows_per_dwindow == 128 else [0, 5, 12])):
                await bench.herald(ctx, w, w // windows_per_dwindow)
                if bench.rng.random() < 0.3:
                    await ctx.tick()
            await bench.close(ctx, w, windows_per_dwindow)
            # A real d-window is long enough for the records of the one before to leave; here they meet the next heralds.
            while len(bench.got) < settled:
                await ctx.tick()
            settled = len(bench.expected)
        await bench.idle(ctx)

    simulate(dut, run, bench.take)
    assert len(bench.expected) > 100
    assert bench.got == bench.expected


def test_holds_exactly_pending_heralds_and_restarts():
    dut = PsiJoin(pending_heralds=16)
    bench = Bench(dut, 1, 1.0)

    async def run(ctx):
        ctx.set(dut.i_run, 1)
        assert [await bench.herald(ctx, 0, 0) for _ in range(20)] == [True] * 16 + [False] * 4
        await bench.idle(ctx)  # heralds that wait are no activity
        assert ctx.get(dut.o_full)
        await bench.close(ctx, 0, 2)
        await ctx.tick().repeat(5)
        assert not bench.got
        await bench.close(ctx, 1, 2)
        for _ in range(dut.latency - 1):
            assert not ctx.get(dut.o.valid)
            await ctx.tick()
        assert ctx.get(dut.o.valid)  # the strobe's own clock is in close()
        await bench.idle(ctx)
        assert bench.got == bench.expected
        assert len(bench.got) == 16

        for _ in range(3):
            await bench.herald(ctx, 2, 1)
        ctx.set(dut.i_run, 0)
        await ctx.tick().repeat(2)
        ctx.set(dut.i_run, 1)
        bench.got, bench.expected, bench.waiting, bench.number = [], [], [], 0
        assert [await bench.herald(ctx, 0, 0) for _ in range(17)] == [True] * 16 + [False]
        await bench.close(ctx, 0, 2)
        await bench.close(ctx, 1, 2)
        await bench.idle(ctx)
        assert bench.got == bench.expected
        assert bench.got[0][0] == 0

    simulate(dut, run, bench.take)


@pytest.mark.parametrize("dwindows", [6, 256, 512, 700, 1025, 1027, 2049])
def test_held_up_records_become_invalid(dwindows):
    """More than KEPT_DWINDOWS after its own a herald's phase is gone: psi 0, flags 0, never a wrong phase, however long it waits."""
    dut = PsiJoin(pending_heralds=64)
    bench = Bench(dut, 1, 0.0)

    async def run(ctx):
        ctx.set(dut.i_run, 1)
        for _ in range(10):
            await bench.herald(ctx, 0, 0)
        for w in range(2 * dwindows):
            await bench.close(ctx, w, 2)
        for _ in range(5):  # these have just come
            await bench.herald(ctx, 2 * dwindows, dwindows)
        bench.ready = 1.0
        await ctx.tick()
        await bench.idle(ctx)
        for w in range(2 * dwindows, 2 * dwindows + 2):
            await bench.close(ctx, w, 2)
        await bench.idle(ctx)

    simulate(dut, run, bench.take)
    # Three had left the queue when the output was still free: output, sum, fetched.
    assert bench.got[:3] == bench.expected[:3]
    assert bench.got[3:10] == [(number, 0, 0) for number in range(3, 10)]
    assert bench.got[10:] == bench.expected[10:]
    assert len(bench.got) == 15


def test_no_record_before_its_herald_has_left():
    """Heralds that are held up in their packer hold up their psi; two d-windows close meanwhile."""
    dut = PsiJoin(pending_heralds=16)
    bench = Bench(dut, 3, 1.0)

    async def run(ctx):
        await ctx.tick()
        ctx.set(dut.i_flushed, 0)
        ctx.set(dut.i_run, 1)
        for dwindow in range(2):
            await bench.herald(ctx, 2 * dwindow, dwindow)
            assert not ctx.get(dut.o_flush)
            await bench.close(ctx, 2 * dwindow, 2)
            await bench.close(ctx, 2 * dwindow + 1, 2)
            await ctx.tick().repeat(30)
            assert not bench.got
            assert not ctx.get(dut.o_idle)
        ctx.set(dut.i_flushed, 1)
        await bench.idle(ctx)
        ctx.set(dut.i_dwindow_valid, 1)
        assert ctx.get(dut.o_flush)

    simulate(dut, run, bench.take)
    assert bench.got == bench.expected
    assert len(bench.got) == 2


def test_heralds_that_do_not_leave_do_not_stop_the_rings():
    """Records held up while later d-windows close, whose heralds do not leave: their phases are gone, not those of later windows."""
    dut = PsiJoin(pending_heralds=64)
    bench = Bench(dut, 4, 0.0)

    async def run(ctx):
        ctx.set(dut.i_run, 1)
        for _ in range(8):
            await bench.herald(ctx, 0, 0)
        await bench.close(ctx, 0, 2)
        await bench.close(ctx, 1, 2)
        await ctx.tick().repeat(20)
        ctx.set(dut.i_flushed, 0)
        for w in range(2, 12):
            await bench.close(ctx, w, 2)
        bench.ready = 1.0
        await ctx.tick().repeat(40)
        ctx.set(dut.i_flushed, 1)
        await bench.idle(ctx)

    simulate(dut, run, bench.take)
    assert bench.got[:3] == bench.expected[:3]
    assert bench.got[3:] == [(number, 0, 0) for number in range(3, 8)]
