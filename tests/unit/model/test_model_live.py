"""Live windows against a statement that marks every pulse by hand, click by click."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from twinphase_sim.model.core.framer import Clicks
from twinphase_sim.model.server import run_server
from twinphase_sim.model.sift.herald import find_heralds, herald_pulses
from twinphase_sim.model.sift.live import live_windows
from twinphase_spec.frame import FrameConfig, SlotClass, slot_byte
from twinphase_spec.live import RUN_LIMIT
from twinphase_spec.packets import LIVE_DTYPE

GATE = (300, 700)
PERIOD = 1024
SLOTS = (SlotClass.REF0, SlotClass.SIG, SlotClass.SIG, SlotClass.GUARD, SlotClass.SIG)
"""Of two pulses each, in the quantum band."""


def clicks_at(times, channels):
    """Framed clicks at (pulse, position) in the order of their times."""
    pulse = np.array([pulse for pulse, _ in times], dtype=np.uint64)
    position = np.array([position for _, position in times], dtype=np.uint32)
    slot_class = np.array([SLOTS[pulse // 2 % len(SLOTS)] for pulse, _ in times], dtype=np.uint8)
    channel = np.array(channels, dtype=np.uint8)
    return Clicks(
        times_ticks=pulse * np.uint64(PERIOD) + position,
        channel=channel,
        framed=np.ones(pulse.size, dtype=bool),
        gated=(position >= GATE[0]) & (position < GATE[1]) & (slot_class != SlotClass.GUARD),
        slot_class=slot_class,
        pulse=pulse,
        position=position,
        window=pulse.astype(np.uint32),
        dwindow=pulse.astype(np.uint32),
    )


def statement(clicks, recovery):
    """(dead pulses, judgement of each click, live heralds as pulses, multiple) by the words of docs/live.md."""
    dead, judged, singles = set(), [], {}
    columns = (clicks.framed, clicks.channel, clicks.pulse, clicks.position, clicks.slot_class, clicks.gated)
    for framed, channel, n, x, slot, gated in zip(*(column.tolist() for column in columns), strict=True):
        counts = framed and channel < 2 and recovery > 0
        judged.append(counts and n in dead)
        if framed and channel < 2 and gated and slot == SlotClass.SIG and n not in dead:
            singles[n] = singles.get(n, 0) + 1
        if counts:
            dead.update(range(n + 1, n + recovery + 1))
            if x < GATE[0]:
                dead.add(n)
    return dead, judged, [n for n, k in singles.items() if k == 1], sum(k > 1 for k in singles.values())


def as_intervals(pulses):
    """Runs ``[first, end)`` of a set of pulses."""
    runs = []
    for n in sorted(pulses):
        if runs and runs[-1][1] == n:
            runs[-1][1] = n + 1
        else:
            runs.append([n, n + 1])
    return runs


def runs_of(records):
    firsts = (records["pulse_low"] | records["pulse_high"].astype(np.uint64) << np.uint64(32)).tolist()
    return [[first, first + length] for first, length in zip(firsts, records["length"].tolist(), strict=True)]


POSITIONS = st.sampled_from([0, GATE[0] - 1, GATE[0], GATE[1] - 1, GATE[1], PERIOD - 1]) | st.integers(0, PERIOD - 1)
CLICKS = st.lists(st.tuples(st.integers(0, 60), POSITIONS, st.integers(0, 3), st.integers(0, 19)), max_size=60)
"""(pulse, position, channel, 0 of 20: unframed); bursts where few pulses are drawn, silence where far apart."""


@settings(max_examples=300)
@given(
    drawn=CLICKS,
    spread=st.sampled_from([1, 1, 3, 50]),
    recovery=st.sampled_from([0, 1, 2, 3, 7, 40, 300]),
    base=st.sampled_from([0, 2**32 - 30, 2**56 - 10_000]),
)
@example(drawn=[(5, GATE[0], 0, 1), (5, GATE[0], 1, 1)], spread=1, recovery=1, base=0)  # both detectors at one time
@example(
    drawn=[(5, GATE[0] - 1, 0, 1), (5, GATE[0], 1, 1)], spread=1, recovery=1, base=0
)  # before the gate, then in it
def test_marked_by_hand(drawn, spread, recovery, base):
    drawn = sorted((base + spread * pulse, position, channel, odd) for pulse, position, channel, odd in drawn)
    clicks = clicks_at([(pulse, position) for pulse, position, *_ in drawn], [channel for _, _, channel, _ in drawn])
    framed = np.array([odd > 0 for *_, odd in drawn], dtype=bool)
    clicks = replace(clicks, framed=framed, gated=clicks.gated & framed)
    dead, judged, heralds, multiple = statement(clicks, recovery)
    live = live_windows(clicks, recovery, GATE[0])
    assert live.not_live.tolist() == judged
    assert runs_of(live.runs) == as_intervals(dead)
    found = find_heralds(clicks, not_live=live.not_live)
    assert herald_pulses(found.records)[0].tolist() == heralds
    assert found.multiple == multiple
    signal = int(np.count_nonzero(clicks.signal))
    assert found.not_live == sum(map(bool, np.array(judged, dtype=bool) & clicks.signal))
    assert heralds == [] or set(heralds).isdisjoint(dead) or recovery == 0
    in_multiple = signal - found.not_live - len(heralds)
    assert in_multiple >= 2 * multiple  # every gated click is a herald's, not live, or one of several


def test_long_runs_part_where_a_click_would_make_them_too_long():
    recovery = 65535
    count = 2 * RUN_LIMIT // recovery + 10
    pulse = (7 + recovery * np.arange(count)).astype(np.uint64)
    one = clicks_at([(0, 500)], [0])
    clicks = Clicks(**{name: np.repeat(column, count) for name, column in vars(one).items()} | {"pulse": pulse})
    expected, first, end = [], None, None
    for n in pulse.tolist():
        if first is None:
            first = n + 1
        elif n + recovery + 1 - first >= RUN_LIMIT:
            expected.append([first, end])
            first = end
        end = n + recovery + 1
    expected.append([first, end])
    live = live_windows(clicks, recovery, GATE[0])
    assert len(expected) == 3
    assert runs_of(live.runs) == expected
    assert live.runs["length"].max() < RUN_LIMIT
    assert live.not_live.tolist() == [False] + [True] * (count - 1)


def test_runs_that_touch_are_one_and_those_that_do_not_are_two():
    clicks = clicks_at([(10, 500), (13, 500), (17, 500)], [0, 1, 0])
    runs = live_windows(clicks, 3, GATE[0]).runs  # 11 to 13 and 14 to 16 touch; 17 lives between them and 18
    assert runs_of(runs) == [[11, 17], [18, 21]]
    before_gate = clicks_at([(10, 500), (14, 0)], [0, 1])
    assert runs_of(live_windows(before_gate, 3, GATE[0]).runs) == [[11, 18]]
    assert runs_of(live_windows(before_gate, 2, GATE[0]).runs) == [[11, 13], [14, 17]]


def test_nothing_and_bad_input():
    none = clicks_at([], [])
    assert live_windows(none, 5, GATE[0]).runs.dtype == LIVE_DTYPE
    assert live_windows(none, 5, GATE[0]).runs.size == 0
    for wrong in (-1, 1 << 16):
        with pytest.raises(ValueError, match=f"recovery_pulses is {wrong}; allowed: 0 to 65535"):
            live_windows(none, wrong, GATE[0])


FRAME = FrameConfig(
    period_q32=PERIOD << 32,
    slot_pulses=2,
    table=tuple(slot_byte(slot, SlotClass.VAC) for slot in SLOTS * 2),
    frames_per_window=4000,
    windows_per_dwindow=2,
    start_clock=10,
)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32),
    recovery=st.sampled_from([0, 1, 4, 30, 4000]),
    per_clock=st.sampled_from([0.003, 0.05, 0.8]),
)
def test_the_server_gives_heralds_in_live_windows_alone(seed, recovery, per_clock):
    """Edges on all channels, as dense as one per clock, before the start too; the statement judges the model's own tags."""
    rng = np.random.default_rng(seed)
    edges, channels = [], []
    for channel in range(4):
        clocks = np.flatnonzero(rng.random(700) < per_clock)
        edges.append(clocks * 8192 + rng.integers(0, 8192, clocks.size))
        channels.append(np.full(clocks.size, channel))
    order = np.argsort(np.concatenate(edges), kind="stable")
    registers = {
        "CHANNEL_ENABLE": 15,
        "GATE_START_Q": GATE[0],
        "GATE_STOP_Q": GATE[1],
        "RECOVERY_PULSES": recovery,
        "DEAD_TIME_qL": 20_000,
    }
    given_edges = np.concatenate(edges)[order].astype(np.uint64), np.concatenate(channels)[order]
    run = run_server(registers, FRAME, *given_edges, 1000)
    dead, judged, heralds, multiple = statement(run.clicks, recovery)
    assert herald_pulses(run.heralds)[0].tolist() == heralds
    assert run.psi_causal["number"].tolist() == list(range(len(heralds)))
    assert runs_of(run.live) == as_intervals(dead)
    counted = {name: run.counters[name] for name in ("heralds", "multiple", "not_live", "signal", "unjoined")}
    signal = run.clicks.signal
    assert counted == {
        "heralds": len(heralds),
        "multiple": multiple,
        "not_live": int(np.count_nonzero(np.array(judged, dtype=bool) & signal)),
        "signal": int(np.count_nonzero(signal)),
        "unjoined": 0,
    }
    if recovery == 0:
        assert counted["not_live"] == 0
