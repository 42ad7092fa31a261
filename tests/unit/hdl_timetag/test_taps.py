"""The tap encoder against a count tap by tap: bubbles, inverted orders, both polarities, a hit in every clock, runts."""

from __future__ import annotations

import random
from functools import cache
from itertools import pairwise

import pytest
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from twinphase_hdl.timetag.taps import TapEncoder

Hit = tuple[int, int, int, int]
"""valid, polarity, code, runt of one clock."""


def expected(samples: list[int], taps: int, detectors: list[int] | None = None) -> list[Hit]:
    """From docs/timetagger.md, word by word; the polarity only with a hit, -1 elsewhere; the code always, as it may be an echo."""
    result, before, hit_before = [], 0, False
    for k, sample in enumerate(samples):
        q = [sample >> i & 1 for i in range(taps)]
        p = q[0] if detectors is None else detectors[k]
        hit = p != before
        code = 0
        for start in range(0, taps, 16):
            agreeing = sum(q[i] == p for i in range(max(start, 1), start + 16))
            if not agreeing:
                break
            code += agreeing
        runt = detectors is None and not hit and not hit_before and any(q[i] != p for i in range(taps))
        result.append((int(hit), p if hit else -1, code, int(runt)))
        before, hit_before = p, hit
    return result


class Bench:
    """One compiled simulation for all examples of a configuration; a reset before each."""

    def __init__(self, taps: int, per_clock: int, follower: bool = False, registered: bool = True) -> None:
        self.dut = TapEncoder(taps=taps, per_clock=per_clock, follower=follower, registered=registered)
        self.samples: list[int] = []
        self.detectors: list[int] = []
        self.hits: list[Hit] = []
        self.simulator = Simulator(self.dut)
        self.simulator.add_clock(4e-9)
        self.simulator.add_testbench(self._bench)

    async def _bench(self, ctx) -> None:
        dut, seen = self.dut, []
        for k in range(len(self.samples) + dut.latency + 1):
            inside = k < len(self.samples)
            ctx.set(dut.i_taps, self.samples[k] if inside else 0)
            if self.detectors:
                ctx.set(dut.i_detector, self.detectors[k] if inside else 0)
            seen.append([ctx.get(port) for port in (dut.o_valid, dut.o_polarity, dut.o_code, dut.o_runt)])
            await ctx.tick()
        self.hits = [
            (valid, p if valid else -1, code, later[3]) for (valid, p, code, _), later in pairwise(seen[dut.latency :])
        ]
        assert not any(row[0] for row in seen[: dut.latency])

    def run(self, samples: list[int], detectors: list[int] | None = None) -> list[Hit]:
        self.samples, self.detectors = samples, detectors or []
        if self.hits:
            self.simulator.reset()
        self.simulator.run()
        return self.hits


bench = cache(Bench)


@st.composite
def walks(draw: st.DrawFn, taps: int) -> list[int]:
    """Edges that run along a chain in any order of taps, one or several inside at once, with bubbles."""
    rng = draw(st.randoms(use_true_random=False))
    order = list(range(taps))
    if draw(st.booleans()):
        order.sort(key=lambda i: i + rng.uniform(0, draw(st.sampled_from([0, 3, 40]))))
    reached = {tap: place for place, tap in enumerate(order)}
    noise = draw(st.sampled_from([0.0, 0.01, 0.3]))
    level, samples = 0, []
    for step in draw(st.lists(st.sampled_from(["rest", "rest", "edge", "runt"]), min_size=1, max_size=40)):
        before = level
        level ^= step == "edge"
        depth = rng.randrange(taps)
        bits = 0
        for tap in range(taps):
            bit = level if reached[tap] <= depth or tap == 0 else before
            if step == "runt" and tap and depth <= reached[tap] < depth + 5:
                bit ^= 1
            if tap and rng.random() < noise:
                bit ^= 1
            bits |= bit << tap
        samples.append(bits)
    return samples


CONFIGURATIONS = [(32, 1), (48, 2), (80, 1), (112, 2)]


@pytest.mark.parametrize(("taps", "per_clock"), CONFIGURATIONS)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_walks(taps: int, per_clock: int, data: st.DataObject) -> None:
    samples = data.draw(walks(taps))
    assert bench(taps, per_clock).run(samples) == expected(samples, taps)


@settings(max_examples=15, deadline=None)
@given(samples=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=60))
def test_any_taps(samples: list[int]) -> None:
    assert bench(32, 1).run(samples) == expected(samples, 32)


@pytest.mark.parametrize(("taps", "per_clock"), [(32, 1), (48, 1), (80, 2), (128, 1), (144, 1)])
@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_any_groups(taps: int, per_clock: int, seed: int) -> None:
    """Groups of which all taps agree, none, one, or all but one, in any order: the first empty one ends the code."""
    rng, samples = random.Random(seed), []
    for k in range(40):
        p = k & 1 ^ 1 if rng.random() < 0.9 else k & 1
        few = rng.choice([0.05, 0.3])
        bits = p
        for start in range(0, taps, 16):
            places = range(max(start, 1), start + 16)
            one = 1 << rng.choice(places)
            every = sum(1 << i for i in places)
            kind = every if rng.random() > few else 0
            agree = kind ^ (one if rng.random() < 0.2 else 0)
            bits |= agree if p else every ^ agree
        samples.append(bits)
    assert bench(taps, per_clock).run(samples) == expected(samples, taps)


@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_without_registers_at_the_output(data: st.DataObject) -> None:
    samples = data.draw(walks(80))
    assert bench(80, 1, False, False).run(samples) == expected(samples, 80)


@settings(max_examples=10, deadline=None)
@given(rows=st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 1)), min_size=1, max_size=60))
def test_follower_takes_hit_and_polarity_from_the_detector(rows: list[tuple[int, int]]) -> None:
    samples, detectors = [row[0] for row in rows], [row[1] for row in rows]
    assert bench(32, 2, True).run(samples, detectors) == expected(samples, 32, detectors)


@pytest.mark.parametrize(("taps", "per_clock"), [(256, 2), (272, 2), (512, 2), (256, 1), (512, 1)])
def test_every_clock_every_code(taps: int, per_clock: int) -> None:
    """A hit in each clock, polarities alternating; every code of both, and the extremes of other widths."""
    rng = random.Random(taps)
    samples = []
    for k in range(64):
        p = k & 1 ^ 1
        agree = rng.choice([0, 1, taps - 1, taps - 2, rng.randrange(taps)])
        agreeing = set(rng.sample(range(1, taps), agree))
        samples.append(p | sum((p if i in agreeing else p ^ 1) << i for i in range(1, taps)))
    hits = bench(taps, per_clock).run(samples)
    assert hits == expected(samples, taps)
    assert all(valid for valid, *_ in hits)


def test_latencies() -> None:
    assert TapEncoder(taps=256, per_clock=1).latency == 7
    assert TapEncoder(taps=256, per_clock=2).latency == 6
    assert TapEncoder(taps=272, per_clock=1).latency == 8
    assert TapEncoder(taps=272, per_clock=2).latency == 6
    assert TapEncoder(taps=512, per_clock=2).latency == 6
    assert TapEncoder(taps=432, per_clock=1).latency == 8
    assert TapEncoder(taps=448, per_clock=1).latency == 10  # with twins
    assert TapEncoder(taps=256, registered=False).latency == 6
    assert max(TapEncoder(taps=taps, per_clock=2).latency for taps in range(256, 513, 16)) == 7


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"taps": 100}, "taps is 100; allowed: multiples of 16 from 32 to 512"),
        ({"per_clock": 3}, "per_clock is 3; allowed: 1"),
    ],
)
def test_refuses(arguments: dict[str, int], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        TapEncoder(**arguments)
