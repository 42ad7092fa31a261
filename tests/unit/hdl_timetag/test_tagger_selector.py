"""Selector and coincidences against their contract: any gaps between tags, any pauses."""

import random

import pytest
from amaranth.sim import Simulator
from hypothesis import example, given, settings
from hypothesis import strategies as st
from selector_oracle import MEMORY, TIME, Configuration, coincide, select

from twinphase_hdl.timetag.coincidence import Coincidences
from twinphase_hdl.timetag.selector import Selector
from twinphase_spec import tagger

CHANNELS = 8
DEPTH = 8
QUICK = settings(max_examples=25, deadline=None)
WINDOW = 1000
FIRST, END = 300, 5000

channel = st.integers(0, CHANNELS - 1)
gap = st.one_of(
    st.sampled_from([0, 0, 1, WINDOW, WINDOW - 1, WINDOW + 1, FIRST, FIRST - 1, END, END - 1, 1 << 13]),
    st.sampled_from([1 << 22, MEMORY - 1, MEMORY, MEMORY + 1, 1 << 28, 1 << 29, (1 << 29) + 1, 1 << 36, 1 << 40]),
    st.integers(0, 2 * WINDOW),
)
starts = st.sampled_from([5, TIME - 3000, TIME - MEMORY - 7, (1 << 36) - 2000, (1 << 29) - 999])
pauses = st.sampled_from([0.0, 0.0, 0.5, 0.9])


def tags_of(start: int, gaps: list[tuple[int, int]]) -> list[tuple[int, int]]:
    tags, t = [], start
    for step, c in gaps:
        t += step
        tags.append((t, c))
    return tags


def simulate(component, bench) -> None:
    simulator = Simulator(component)
    simulator.add_clock(8e-9)
    simulator.add_testbench(bench)
    simulator.run()


async def configure(ctx, dut: Selector, config: Configuration) -> None:
    for c in range(CHANNELS):
        opener, first, end = config.gates.get(c, (0, 0, 0))
        for port, value in (
            (dut.gate_table, (c in config.gates) << 7 | opener),
            (dut.gate_from, first),
            (dut.gate_to, end),
            (dut.filter_mask, config.masks.get(c, 0)),
        ):
            ctx.set(port.enable, 1)
            ctx.set(port.address, c)
            ctx.set(port.data, value)
        await ctx.tick()
    for port in (dut.gate_table, dut.gate_from, dut.gate_to, dut.filter_mask):
        # Words of channels that do not exist are not kept.
        ctx.set(port.address, 8)
        ctx.set(port.data, (1 << len(port.data)) - 1)
    await ctx.tick()
    for port in (dut.gate_table, dut.gate_from, dut.gate_to, dut.filter_mask):
        ctx.set(port.enable, 0)
    ctx.set(dut.i_filter_window, config.window)
    ctx.set(dut.i_window_from, config.absolute[0])
    ctx.set(dut.i_window_until, config.absolute[1])
    ctx.set(dut.i_window_enable, config.absolute_mask)
    await ctx.tick()


def run_selector(tags, config: Configuration, depth: int, seed: int, idle: float, pause: float, bound_lag: int):
    """What is sent, gated and filtered, and the clocks in which tags came and went."""
    rng = random.Random(seed)
    dut = Selector(channels=CHANNELS, depth=depth)
    sent, gated, filtered, came, went = [], [], [], [], []

    async def bench(ctx):
        await configure(ctx, dut, config)
        left = list(tags)
        time = tags[0][0] if tags else 0
        offered = False
        held = None
        quiet = 0
        clock = 0
        while left or quiet < 12:
            if left and not offered and rng.random() >= idle:
                offered = True
                ctx.set(dut.i.payload.time, left[0][0] % TIME)
                ctx.set(dut.i.payload.channel, left[0][1])
            ctx.set(dut.i.valid, offered)
            # No tag to come is below the bound: the next one's time, or what lies behind, or at the end ever more.
            time = max(time, left[0][0] - bound_lag) if left else time + 2 * config.window + 1 + bound_lag // 16
            ctx.set(dut.i_bound, time % (1 << tagger.ORDER_BITS))
            ready = rng.random() >= pause
            ctx.set(dut.o.ready, ready)
            now = (ctx.get(dut.o.payload.time), ctx.get(dut.o.payload.channel)) if ctx.get(dut.o.valid) else None
            assert held is None or now == held, "valid or payload did not hold"
            if now and ready:
                sent.append(now)
                went.append(clock)
            held = None if ready else now
            if ctx.get(dut.o_gated):
                gated.append(ctx.get(dut.o_gated_channel))
            if ctx.get(dut.o_filtered):
                filtered.append(ctx.get(dut.o_filtered_channel))
            idles = ctx.get(dut.o_idle)
            assert not idles or len(sent) + len(gated) + len(filtered) == len(tags) - len(left)
            if offered and ctx.get(dut.i.ready):
                left.pop(0)
                offered = False
                came.append(clock)
            quiet = quiet + 1 if idles and not left else 0
            clock += 1
            await ctx.tick()
            assert clock < 4000, "the selector does not come to rest"

    simulate(dut, bench)
    return sent, gated, filtered, came, went


def check_selector(tags, config, depth, seed, idle, pause, bound_lag) -> None:
    sent, gated, filtered, _, _ = run_selector(tags, config, depth, seed, idle, pause, bound_lag)
    want_sent, want_gated, want_filtered = select(tags, config, depth)
    assert sent == [(t % TIME, c) for t, c in want_sent]
    assert gated == [c for _, c in want_gated]
    assert filtered == [c for _, c in want_filtered]


gates = st.dictionaries(
    channel, st.tuples(channel, st.sampled_from([0, 1, FIRST]), st.sampled_from([0, FIRST, END, MEMORY])), max_size=5
)
masks = st.dictionaries(channel, st.sampled_from([0, 1, 2, 3, 12, 128, 255]) | st.integers(0, 255), max_size=6)


@QUICK
@given(
    gaps=st.lists(st.tuples(gap, channel), max_size=60),
    start=starts,
    gates=gates,
    masks=masks,
    window=st.sampled_from([0, WINDOW, (1 << 22) - 1]),
    absolute=st.tuples(st.integers(0, 4000), st.integers(0, 4000)),
    absolute_mask=st.sampled_from([0, 0, 0xA5]),
    seed=st.integers(0, 2**32),
    idle=pauses,
    pause=pauses,
    bound_lag=st.sampled_from([0, 1, 8192, 1 << 20]),
)
def test_selector(gaps, start, gates, masks, window, absolute, absolute_mask, seed, idle, pause, bound_lag) -> None:
    tags = tags_of(start, gaps)
    config = Configuration(
        gates=gates,
        masks=masks,
        window=window,
        absolute=tuple((start + edge) % TIME for edge in absolute),
        absolute_mask=absolute_mask,
    )
    check_selector(tags, config, DEPTH, seed, idle, pause, bound_lag)


def test_gate_edges_exactly() -> None:
    """From inclusive, to exclusive, own gate, a gate by a channel without tags or beyond the build, ages around 2^27."""
    config = Configuration(
        gates={
            1: (0, FIRST, END),
            2: (2, 0, 100),
            3: (7, 0, MEMORY),
            4: (0, 0, MEMORY),
            5: (0, 1, MEMORY),
            6: (24, 0, MEMORY),
        }
    )
    tags, t = [], TIME - 10 * END
    for age, c in [
        *((age, 1) for age in (0, FIRST - 1, FIRST, FIRST + 1, END - 1, END, END + 1)),
        *(
            (age, 4)
            for age in (0, MEMORY - 1, MEMORY, MEMORY + 1, 2 * MEMORY, 4 * MEMORY, 4 * MEMORY + 1, 1 << 36, 1 << 40)
        ),
        *((age, 5) for age in (0, 1, 2)),
        (50, 3),
        (50, 6),
    ]:
        tags += [(t, 0), (t + age, c)]
        t += age
    tags += [(t + age, 2) for age in (0, 99, 199, 298)]
    check_selector(tags, config, DEPTH, 1, 0, 0, 0)
    sent, _, _ = select(tags, config, DEPTH)
    assert [c for _, c in sent if c] == [1, 1, 1, 4, 4, 5, 5, 2, 2]


def test_filter_edges_and_full_lookahead() -> None:
    """Companions at exactly the window on both sides; one behind more tags than the lookahead holds comes too late."""
    config = Configuration(masks={0: 0b10, 1: 0b10}, window=WINDOW)
    for behind in (DEPTH - 2, DEPTH - 1, DEPTH):
        # The tag of channel 0 and those of channel 2 wait for the one of channel 1.
        tags = [(0, 0), *[(1, 2)] * behind, (WINDOW, 1)]
        tags += [(t + 10 * WINDOW, c) for t, c in [(0, 0), (WINDOW + 1, 1), (2 * WINDOW + 1, 0), (2 * WINDOW + 2, 0)]]
        sent, _, _ = select(tags, config, DEPTH)
        assert [t for t, c in sent if c == 0] == [*([0] if behind < DEPTH - 1 else []), 12 * WINDOW + 1]
        for pause in (0, 0.6):
            check_selector(tags, config, DEPTH, 1, 0, pause, 0)


def test_latency_and_throughput_without_filter() -> None:
    """Constant latency, a tag in every clock."""
    tags = [(k, k % CHANNELS) for k in range(100)]
    config = Configuration(gates={c: (c, 0, MEMORY) for c in range(3)}, masks={7: 0})
    sent, gated, filtered, came, went = run_selector(tags, config, DEPTH, 1, 0, 0, 0)
    assert came == list(range(100))
    assert gated == [0, 1, 2]
    assert not filtered
    assert len(sent) == 97
    assert [out - Selector.latency for out in went] == [
        clock for clock, (t, c) in zip(came, tags, strict=True) if t > 2
    ]


def test_throughput_with_filter() -> None:
    """Four clocks per tag at most, whatever waits."""
    config = Configuration(masks={0: 0b10, 1: 0b1}, window=WINDOW)
    for step in (1, WINDOW // 4, 2 * WINDOW):
        tags = [(k * step, 0) for k in range(120)]
        *_, came, _ = run_selector(tags, config, 64, 1, 0, 0, 0)
        assert came[-1] - came[0] <= 4 * len(tags) + 10


@settings(max_examples=20, deadline=None)
@given(
    gaps=st.lists(st.tuples(gap, st.integers(0, 3) | channel), max_size=60),
    start=starts,
    masks=st.lists(st.sampled_from([0, 1, 3, 5, 6, 7, 15, 0b10000011, 255]), min_size=4, max_size=4),
    windows=st.lists(st.sampled_from([0, 1, WINDOW, 2 * WINDOW, (1 << 22) - 1]), min_size=4, max_size=4),
    seed=st.integers(0, 2**32),
    idle=pauses,
)
@example(
    gaps=[(0, 0), *[(10, c) for _ in range(4) for c in range(8)]],
    start=TIME - 50,
    masks=[255, 3, 255, 3],
    windows=[WINDOW] * 4,
    seed=1,
    idle=0.0,
)
def test_selector_and_coincidences(gaps, start, masks, windows, seed, idle) -> None:
    """Both in a row: epochs of tags that are left out reach the coincidences."""
    tags = tags_of(start, gaps)
    rng = random.Random(seed)
    config = Configuration(gates={3: (0, 0, WINDOW)}, masks={2: 0b1}, window=WINDOW)
    selected, _, _ = select(tags, config, DEPTH)
    run_chain(tags, config, masks, windows, rng, idle, coincide(selected, masks, windows))


def run_chain(tags, config, masks, windows, rng, idle, want) -> None:
    from amaranth.hdl import Module
    from amaranth.lib import wiring

    m = Module()
    m.submodules.selector = selector = Selector(channels=CHANNELS, depth=DEPTH)
    m.submodules.coincidences = dut = Coincidences(channels=CHANNELS)
    wiring.connect(m, selector.o, dut.i)
    m.d.comb += dut.i_epochs.eq(selector.o_epochs)
    got, real, virtual = [], [], [0] * 4

    async def bench(ctx):
        await configure(ctx, selector, config)
        for v in range(4):
            ctx.set(dut.i_mask[v], masks[v])
            ctx.set(dut.i_window[v], windows[v])
        left, offered, quiet, clock = list(tags), False, 0, 0
        bound = tags[0][0] if tags else 0
        while left or quiet < 8:
            if left and not offered and rng.random() >= idle:
                offered = True
                ctx.set(selector.i.payload.time, left[0][0] % TIME)
                ctx.set(selector.i.payload.channel, left[0][1])
            ctx.set(selector.i.valid, offered)
            bound = left[0][0] if left else bound + WINDOW
            ctx.set(selector.i_bound, bound % (1 << tagger.ORDER_BITS))
            if ctx.get(dut.o.valid):
                got.append((ctx.get(dut.o.payload.time), ctx.get(dut.o.payload.channel)))
            if ctx.get(dut.o_left):
                real.append(ctx.get(dut.o_left_channel))
            strobes = ctx.get(dut.o_virtual)
            for v in range(4):
                virtual[v] += strobes >> v & 1
            idles = ctx.get(selector.o_idle) and ctx.get(dut.o_idle)
            if offered and ctx.get(selector.i.ready):
                left.pop(0)
                offered = False
            quiet = quiet + 1 if idles and not left else 0
            clock += 1
            assert clock < 4000, "the coincidences do not come to rest"
            await ctx.tick()

    simulate(m, bench)
    assert got == [(t % TIME, c) for t, c in want]
    assert real == [c for _, c in want if c < 32]
    assert virtual == [sum(c == 32 + v for _, c in want) for v in range(4)]


def test_coincidence_window_edges() -> None:
    """At the window, beyond it, between tags that are each near to the next only; an older tag is replaced by the latest."""
    masks, windows = [3, 7, 0b1001, 1], [WINDOW, WINDOW, 0, WINDOW]
    t, tags = 0, []
    for group in (
        [(0, 0), (WINDOW, 1)],
        [(0, 0), (WINDOW + 1, 1)],
        [(0, 0), (900, 1), (1800, 2)],
        [(0, 0), (0, 1), (0, 2), (0, 2), (0, 1), (0, 0)],
        [(0, 0), (900, 0), (1800, 1)],
        [(0, 0), (0, 3), (0, 0), (1, 3)],
        [(0, 0), (MEMORY, 1)],
        [(0, 0), (1 << 29, 1)],
        [(0, 0), (1 << 36, 1), (1 << 36, 0)],
    ):
        tags += [(t + at, c) for at, c in group]
        t += group[-1][0] + (1 << 23)
    run_chain(tags, Configuration(), masks, windows, random.Random(1), 0, coincide(tags, masks, windows))


def test_coincidence_latency() -> None:
    dut = Coincidences(channels=2)

    async def bench(ctx):
        ctx.set(dut.i_mask[1], 3)
        valid = []
        for k in range(12):
            ctx.set(dut.i.valid, k < 3)
            ctx.set(dut.i.payload.channel, k == 1)
            valid.append(ctx.get(dut.o.valid))
            assert ctx.get(dut.i.ready)
            await ctx.tick()
        # The second tag completes, and so takes two clocks.
        assert valid == [0] * dut.latency + [1] * 4 + [0] * (8 - dut.latency)

    simulate(dut, bench)


def test_bad_configuration() -> None:
    with pytest.raises(ValueError, match="Selector: channels is 33"):
        Selector(channels=33)
    with pytest.raises(ValueError, match="Coincidences: channels is 0"):
        Coincidences(channels=0)
