"""Smoother and smooth join together: heralds get the phase of their time, to the bit of the contract and near the physical one."""

import random

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from phase_oracle import simulate
from smooth_oracle import Channel

from twinphase_hdl.phase.smooth import Smoother
from twinphase_hdl.sift.smoothjoin import SmoothJoin

EPOCH_BITS, STEPS = 9, (0, 1)


class Both(wiring.Component):
    """Node and herald in, records out."""

    def __init__(self) -> None:
        self.smoother, self.join = Smoother(), SmoothJoin(pending_heralds=512)
        node, herald = self.smoother.signature.members, self.join.signature.members
        names = ("i_run", "i_node", "i_node_valid", "i_epoch_bits", "i_step", "i_gains")
        members = {name: node[name] for name in names} | {
            name: herald[name] for name in ("i", "i_valid", "o", "o_full")
        }
        super().__init__({**members, "o_idle": Out(1), "i_flushed": In(1)})

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.smoother, m.submodules.join = smoother, join = self.smoother, self.join
        for part, names in (
            (smoother, ("i_run", "i_node", "i_node_valid", "i_epoch_bits", "i_step", "i_gains")),
            (join, ("i_run", "i", "i_valid", "i_epoch_bits", "i_step", "i_flushed")),
        ):
            m.d.comb += [getattr(part, name).eq(getattr(self, name)) for name in names]
        for name in ("interval", "interval_valid", "cover", "cover_valid"):
            m.d.comb += getattr(join, f"i_{name}").eq(getattr(smoother, f"o_{name}"))
        wiring.connect(m, join.o, wiring.flipped(self.o))
        m.d.comb += [self.o_full.eq(join.o_full), self.o_idle.eq(smoother.o_idle & join.o_idle)]
        return m


def test_phase_of_a_line():
    """Two lines that wrap, with a click's worth of noise on one node: psi is that of the intervals, and the lines' within 2^-10 turn."""
    rng = random.Random(7)
    dut = Both()
    gains = [(39322, 6554, 655, 58982), (52429, 3277, 328, 62259)]
    slopes = (3 << 27, -(1 << 25))  # 2^-44 turn/clock
    channels = [Channel(channel=c, epoch_bits=EPOCH_BITS, step=STEPS[c], gains=gains[c]) for c in (0, 1)]
    intervals = ({}, {})
    first = 5 * (1 << 17) - 40  # epochs: times wrap at 2^26 clocks, 40 epochs on
    heralds, got = [], []

    def line(c, t):
        """Phase of channel c, 2^-32 turn."""
        return (slopes[c] * (t - (first << EPOCH_BITS)) >> 12) + (c + 1 << 28)

    async def run(ctx):
        ctx.set(dut.i_epoch_bits, EPOCH_BITS)
        ctx.set(dut.i_step, list(STEPS))
        ctx.set(dut.i_gains, [list(g) for g in gains])
        ctx.set(dut.i_flushed, 1)
        ctx.set(dut.o.ready, 1)
        ctx.set(dut.i_run, 1)
        for epoch in range(first, first + 161):
            for c in (0, 1):
                noise = rng.randrange(-(1 << 12), 1 << 12)
                phase = (line(c, epoch << EPOCH_BITS) + noise) % (1 << 32)
                fields = {"channel": c, "epoch": epoch % (1 << 32), "phase": phase, "slope": slopes[c], "locked": 1}
                ctx.set(dut.i_node, fields)
                ctx.set(dut.i_node_valid, 1)
                done, _ = channels[c].add(epoch, phase, slopes[c], 1, 0)
                last = epoch // channels[c].grid
                for place, interval in enumerate(done):
                    intervals[c][last - 17 - place] = interval["start"], interval["way"], interval["valid"]
                await ctx.tick()
                ctx.set(dut.i_node_valid, 0)
            for k in range(3):
                t = (epoch << EPOCH_BITS) + 170 * k + rng.choice([0, rng.randrange(170)])
                heralds.append((t, rng.getrandbits(16)))
                ctx.set(dut.i, {"time": t % (1 << 26), "applied_q": heralds[-1][1]})
                ctx.set(dut.i_valid, 1)
                await ctx.tick()
                ctx.set(dut.i_valid, 0)
            await ctx.tick().repeat(110)
        while not ctx.get(dut.o_idle):
            await ctx.tick()
        await ctx.tick()

    async def take(ctx):
        while True:
            _, _, valid, payload = await ctx.tick().sample(dut.o.valid, dut.o.payload)
            if valid:
                number, word = (int(w) for w in payload)
                got.append((number, word & 0xFFFF, word >> 16))

    simulate(dut, run, take)
    assert len(got) > 300
    assert [number for number, *_ in got] == list(range(len(got)))
    for (t, applied), (_, psi, flags) in zip(heralds, got, strict=False):
        total, valid = 0, 0
        for c, step in enumerate(STEPS):
            bits = EPOCH_BITS + step
            start, way, ok = intervals[c][t >> bits]
            total += start + (way * ((t % (1 << bits) << 16) >> bits) >> 16)
            valid |= ok << c
        assert (psi, flags) == (((total % (1 << 32) >> 16) - applied) % (1 << 16), valid)
        if valid == 3:
            away = (psi + applied - (line(0, t) + line(1, t) >> 16) + (1 << 15)) % (1 << 16) - (1 << 15)
            assert abs(away) < 1 << 6
    assert sum(flags == 3 for *_, flags in got) > 250
