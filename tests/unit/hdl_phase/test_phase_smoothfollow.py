"""Gains that follow against the page, whatever variances and clicks there are."""

import random

import pytest
from phase_oracle import simulate

from twinphase_hdl.phase.nodes import PhaseNodes
from twinphase_hdl.phase.smoothfollow import GainFollower
from twinphase_spec.tracking import TRACKING, TURN


def ld(value: int) -> int:
    if value == 0:
        return 0
    place = value.bit_length() - 1
    return 8 * place + ((value << 3 >> place) & 7)


class Page:
    """The page, output by output."""

    def __init__(self, epoch_bits: int, step_log: int, start: int, table: list[int]) -> None:
        self.epoch_bits, self.step_log, self.start, self.table = epoch_bits, step_log, start, table
        self.entry, self.variances, self.clicks, self.locked = 8, [], 0, []

    def came(self, output: dict[str, int]) -> bool:
        """Whether a block ends with this output of the channel."""
        if output["kind"] != TURN:
            self.clicks += 1
            return False
        e = output["time"] >> self.epoch_bits
        if e % (1 << self.step_log):
            return False
        self.variances.append(output["p"])
        self.locked.append(output["locked"])
        if (e >> self.step_log) % 64 != 63:
            return False
        if len(self.locked) == 64 and all(self.locked):
            index = ld(sum(self.variances)) + ld(self.clicks) - self.start
            self.entry = min(max(index >> 2, 0), 15)
        self.variances, self.clicks, self.locked = [], 0, []
        return True

    @property
    def gains(self) -> list[int]:
        return self.table[4 * self.entry : 4 * self.entry + 4]


@pytest.mark.parametrize(
    ("epoch_bits", "step_log", "own"),
    [(9, 0, 0), (9, 2, 0), (11, 1, 0), (16, 0, 0), (12, 3, 0), (9, 0, 1), (11, 1, 1), (10, 4, 1)],
)
def test_gains_of_every_block(epoch_bits: int, step_log: int, own: int) -> None:
    """Blocks from no click to one per clock, variances from 0 to the largest, some not locked; a run that begins within a block."""
    rng = random.Random(f"{epoch_bits} {step_log}" + " d" * own)
    table = [rng.randrange(-(1 << 17), 1 << 17) for _ in range(64)]
    configured = [rng.randrange(-(1 << 17), 1 << 17) for _ in range(4)]
    start = rng.choice([130, 260, 300])
    page = Page(epoch_bits, step_log, start, table)
    dut = GainFollower(own)
    first = (rng.getrandbits(51 - epoch_bits - 2) >> step_log + 6 << step_log + 6) + rng.randrange(40 << step_log)
    blocks, used = 7 if step_log < 5 else 3, set()

    async def give(ctx, output: dict[str, int] | None) -> bool:
        ctx.set(dut.i_valid, output is not None)
        if output is not None:
            ctx.set(dut.i, output)
        await ctx.tick()
        return output is not None and output["channel"] == own and page.came(output)

    def shown(ctx) -> list[int]:
        return [ctx.get(dut.o_gains[k]) for k in range(4)]

    async def bench(ctx):
        ctx.set(dut.i_epoch_bits, epoch_bits)
        ctx.set(dut.i_step, step_log)
        ctx.set(dut.i_from, start)
        for k, value in enumerate(configured):
            ctx.set(dut.i_gains[k], value)
        for address, value in enumerate(table):
            ctx.set(dut.i_write, 1)
            ctx.set(dut.i_address, address)
            ctx.set(dut.i_data, value & 0x3FFFF)
            await ctx.tick()
        ctx.set(dut.i_write, 0)
        assert shown(ctx) == configured
        ctx.set(dut.i_follows, 1)
        # what comes before the run does not count
        ctx.set(dut.i, {"channel": own, "kind": TRACKING})
        ctx.set(dut.i_valid, 1)
        await ctx.tick()
        ctx.set(dut.i_valid, 0)
        await ctx.tick().repeat(4)
        ctx.set(dut.i_run, 1)
        await ctx.tick().repeat(8)
        assert shown(ctx) == page.gains == table[32:36]
        assert ctx.get(dut.o_idle)
        size, ended = rng.choice([0, 8, 31]), 0
        density, keeps = rng.choice([0.0, 0.1, 1.0]), 1.0
        e = first
        while ended < blocks:
            turn = {"kind": TURN, "time": e << epoch_bits, "locked": int(e != first and rng.random() < keeps)}
            turn["p"] = rng.getrandbits(32) >> 32 - size if size else 0
            # that of the other channel has nothing to say, and clicks of both may follow at once
            other = {"kind": TURN, "time": e << epoch_bits, "locked": 0, "p": (1 << 32) - 1}
            came = [await give(ctx, {**(turn if c == own else other), "channel": c}) for c in range(2)]
            ends, before = came[own], shown(ctx)
            for clock in range(GainFollower.latency - 2 + own + rng.randrange(20) if ends else 3):
                if rng.random() < density:
                    click = {
                        "channel": own ^ int(rng.random() < 0.2),
                        "kind": rng.randrange(1, 5),
                        "time": rng.getrandbits(51),
                    }
                    await give(ctx, click | {"locked": 0})
                else:
                    await give(ctx, None)
                if clock < 3:
                    assert shown(ctx) == before
            if ends or not page.variances:
                assert shown(ctx) == page.gains
            e += 1
            if ends:
                used.add(page.entry)
                ended += 1
                size, density = rng.choice([0, 8, 20, 31, 32]), rng.choice([0.0, 0.1, 1.0])
                keeps = rng.choice([1.0, 1.0, 0.98])
        await give(ctx, None)
        await ctx.tick().repeat(GainFollower.latency)
        assert ctx.get(dut.o_idle)
        ctx.set(dut.i_run, 0)
        await ctx.tick().repeat(4)
        assert ctx.get(dut.o_idle)
        ctx.set(dut.i_run, 1)
        await ctx.tick().repeat(8)
        assert shown(ctx) == table[32:36]

    simulate(dut, bench)
    assert len(used) > 1


@pytest.mark.parametrize("own", [0, 1])
@pytest.mark.parametrize("late", [False, True])
def test_to_which_block_a_click_belongs(late: bool, own: int) -> None:
    """Three clicks around the turn that ends a block, the nearest that there can be: two before it and one after, or the other way round.

    64 nodes of 2^20 are ld 208; one click is ld 0, two 8: with the table from 184 on, entries 6 and 8.
    """
    table = [entry for entry in range(16) for _ in range(4)]
    dut = GainFollower(own)

    async def bench(ctx):
        ctx.set(dut.i_epoch_bits, 9)
        ctx.set(dut.i_from, 184)
        ctx.set(dut.i_follows, 1)
        for address, value in enumerate(table):
            ctx.set(dut.i_write, 1)
            ctx.set(dut.i_address, address)
            ctx.set(dut.i_data, value)
            await ctx.tick()
        ctx.set(dut.i_write, 0)
        ctx.set(dut.i_run, 1)

        async def clicks(count: int) -> None:
            ctx.set(dut.i, {"channel": own, "kind": TRACKING, "locked": 1})
            ctx.set(dut.i_valid, 1)
            for _ in range(count):
                await ctx.tick()
            ctx.set(dut.i_valid, 0)

        found = []
        for e in range(65, 257):
            ends = e % 64 == 63
            await clicks((2 - late if e == 191 else 0) if ends else 0)
            for channel in range(2):
                turn = {"channel": channel, "kind": TURN, "time": e << 9, "locked": int(e > 65), "p": 1 << 20}
                ctx.set(dut.i, turn)
                ctx.set(dut.i_valid, 1)
                await ctx.tick()
            ctx.set(dut.i_valid, 0)
            await clicks(1 + late if e == 191 else 0)
            await ctx.tick().repeat(GainFollower.latency if ends else 2)
            if ends:
                found.append(ctx.get(dut.o_gains[0]))
        assert found == [8, 6 if late else 8, 8 if late else 6]

    simulate(dut, bench)


def test_there_is_no_third_channel() -> None:
    with pytest.raises(ValueError, match="channel is 2; allowed: 0 or 1"):
        GainFollower(2)


def test_gains_are_there_before_the_node() -> None:
    """A pass takes its gains with its node K, which comes by way of `PhaseNodes`: those of the block that K may have ended."""
    assert GainFollower.latency < PhaseNodes().latency
