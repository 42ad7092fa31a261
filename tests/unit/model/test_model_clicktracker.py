"""Click tracker: bit for bit against the contract's steps in plain integers, and its arithmetic within bounds of the formulas."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from clicktracker_oracle import ACQUIRING, IGNORED, STARTING, TRACKING, TURN, Channel, Entry, Oracle
from hypothesis import given, settings
from hypothesis import strategies as st

from twinphase_sim.model.phase import clicktracker as model
from twinphase_sim.model.phase import clicktracker_kernel as kernel
from twinphase_spec import tracking as t
from twinphase_spec.tracking_config import LOST_RAD2, ChannelConfig, channel_config

EPOCH = 1 << 16
USUAL = channel_config(
    diffusion_rad2_per_s=754, click_rate_hz=1e6, visibility=0.98, slope_noise_rad2_per_s3=1e9, v_gain=6
)
SLOW = channel_config(diffusion_rad2_per_s=63, click_rate_hz=1e6, visibility=0.98)

words = st.one_of(st.integers(0, 2**32 - 1), st.sampled_from([0, 1, 2**32 - 1, USUAL.p_min, USUAL.p_start]))
alarms = st.sampled_from([0, 1, 700, 1500, 12000, 2**16 - 1])
configs = st.one_of(
    st.just(USUAL),
    st.builds(
        ChannelConfig,
        d=st.one_of(st.integers(0, 2**34 - 1), st.sampled_from([0, USUAL.d, 2**34 - 1])),
        kappa=st.one_of(st.integers(0, 2**17 - 1), st.sampled_from([0, 2**17 - 1])),
        p_min=words,
        p_start=words,
        p_lost=words,
        v_start=st.one_of(st.integers(2**14, 65407), st.sampled_from([2**14, 65407])),
        v_gain=st.integers(0, 15),
        j_alarm=alarms,
        w_alarm=alarms,
        dark=st.sampled_from([0, 0, 1, 400, 3 * EPOCH, 2**24 - 1]),
        a_gain=st.sampled_from([0, 1, 1, 2, 15]),
        k_follows=st.integers(0, 1),
    ),
)


@st.composite
def channels_of(draw: st.DrawFn, epoch: int) -> Channel:
    """A channel after reset, or somewhere at the edges of its states."""
    channel = Channel(draw(configs))
    if draw(st.booleans()):
        return channel
    limit = t.B_MAX
    channel.a = draw(st.sampled_from([0, 2**63 - 1, -(2**63), -1]))
    channel.b = draw(st.one_of(st.integers(-limit - 1, limit), st.sampled_from([limit, -limit - 1, 0, -1])))
    channel.p = draw(words)
    channel.v = draw(st.one_of(st.integers(t.V_LEAST, t.V_MOST), st.sampled_from([t.V_LEAST, t.V_MOST])))
    channel.locked = draw(st.integers(0, 1))
    channel.n = draw(st.sampled_from([0, 22, 23]))
    channel.c = draw(st.integers(-channel.n, channel.n))
    channel.s = channel.n - abs(channel.c)
    channel.last = draw(st.sampled_from([0, 2**epoch - 1]))
    channel.quiet = draw(st.sampled_from([0, 1000, 2**24 - 2, 2**24 - 1]))
    channel.j, channel.w = draw(evidence), draw(evidence)
    channel.jump, channel.lose, channel.broke = (draw(st.integers(0, 1)) for _ in range(3))
    if channel.config.a_gain:
        channel.z, channel.sway = draw(sensitivities), draw(sensitivities)
        channel.told = draw(st.one_of(st.integers(-(2**25), 2**25 - 1), st.sampled_from([-(2**25), 2**25 - 1])))
        channel.g = draw(st.one_of(st.integers(t.G_LEAST, t.G_MOST), st.sampled_from([t.G_LEAST, t.G_MOST])))
    return channel


sensitivities = st.one_of(st.integers(-(2**17), 2**17 - 1), st.sampled_from([0, -(2**17), 2**17 - 1]))
evidence = st.one_of(st.integers(0, 2**16 - 1), st.sampled_from([0, 1, 2**16 - 1]))
# Clicks follow within the pipeline, after it, or after epochs of silence.
gaps = st.one_of(
    st.sampled_from([0, 0, 1, 1, 2, *range(t.WRITE - 1, t.WRITE + 3)]), st.integers(0, 400), st.integers(0, 3 * EPOCH)
)
references = st.one_of(st.integers(0, 2**16 - 1), st.sampled_from([0, 1 << 13, (1 << 13) - 1, 3 << 14, 2**16 - 1]))
clicks = st.lists(st.tuples(gaps, st.integers(0, 2), st.integers(0, 1), references), min_size=1, max_size=120)


FIELDS = ["a", "b", "p", "v", "e0", "locked", "n", "c", "s", "last", "quiet", "j", "w", "jump", "lose", "broke"]
FIELDS += ["z", "sway", "told", "g", "d_now", "kappa_now", "d_next", "kappa_next", "next_from"]
"""Of a channel, in the order of the model's states."""


def compare(
    channels: list[Channel], entries: list[tuple[int, int, int, int]], latency: int = 0, epoch: int = 16
) -> model.Outputs:
    """Model against oracle on clicks (t, channel, port, r); both from the states of ``channels``."""
    clock, channel, port, reference = (np.array(column, dtype=np.int64) for column in zip(*entries, strict=True))
    events = model.schedule(clock, channel, port, reference, channels=len(channels), latency=latency, epoch_bits=epoch)
    rows, words = model.reset([each.config for each in channels])
    rows[:] = [[getattr(each, name) for name in FIELDS] for each in channels]
    out = np.empty((events.clock.size, kernel.OUTPUTS), dtype=np.int64)
    columns = (events.issue, events.clock, events.channel, events.turn, events.port, events.reference)
    kernel.play(rows, words, epoch, columns, out)

    turns = [
        Entry((e << epoch) + latency, e << epoch) for e in range(entries[0][0] >> epoch, (entries[-1][0] >> epoch) + 1)
    ]
    sequence = [Entry(click[0] + latency, *click) for click in entries]
    sequence = sorted([*turns, *sequence], key=lambda entry: (entry.t >> epoch, entry.channel is not None))
    oracle = Oracle([replace(each) for each in channels], epoch)
    expected = oracle.run(sequence)
    found = zip(
        (events.issue + t.OUTPUT).tolist(), events.clock.tolist(), events.channel.tolist(), out.tolist(), strict=True
    )
    assert [(clock, at, ch, o[6], *o[:6]) for clock, at, ch, o in found] == [tuple(each) for each in expected]
    rows[:, kernel.EPOCH] &= 1
    assert rows.tolist() == [[getattr(each, name) for name in FIELDS] for each in oracle.channels]
    return model.Outputs(*out.T)


@settings(max_examples=150)
@given(data=st.data(), drawn=clicks, epoch=st.sampled_from([9, 10, 13, 16]), latency=st.integers(0, 50))
def test_event_vectors(data: st.DataObject, drawn: list[tuple[int, int, int, int]], epoch: int, latency: int) -> None:
    """Any clicks on any states: kinds, states, unwrapped phases, and the clocks at which the outputs come."""
    channels = data.draw(st.lists(channels_of(epoch), min_size=3, max_size=3))
    start = data.draw(st.sampled_from([0, 2**epoch - 40, 7 * 2**epoch + 5, (1 << 51) - 5 * EPOCH]))
    times = start + np.cumsum([gap % (100 * 2**epoch) for gap, *_ in drawn])
    compare(channels, [(int(at), *rest) for at, (_, *rest) in zip(times, drawn, strict=True)], latency, epoch)


def test_more_channels_than_clicks() -> None:
    """32 channels: a click that comes while the epoch turns waits for all of them."""
    channels = [Channel(USUAL) for _ in range(32)]
    compare(channels, [(EPOCH - 1, 31, 0, 0), (EPOCH, 0, 0, 0), (EPOCH, 0, 1, 0), (EPOCH + 10, 31, 1, 9)])


def _locking(rng: np.random.Generator, *, psi_rad: float, count: int, gap: int) -> list[tuple[int, int, int, int]]:
    steps = np.arange(count) % 4
    right = rng.uniform(size=count) > (1 + 0.98 * np.cos(psi_rad + steps * math.pi / 2)) / 2
    return [(i * gap, 0, int(right[i]), int(steps[i]) << 14) for i in range(count)]


@pytest.mark.parametrize("gap", [1, 3, 125])
def test_cold_start_and_bursts(gap: int) -> None:
    """24 clicks start; those while the start is under way are ignored; a click per clock is tracked, if badly."""
    out = compare([Channel(USUAL)], _locking(np.random.default_rng(3), psi_rad=2.2, count=600, gap=gap))
    kinds = out.kind.tolist()
    ignored = -(-(t.WRITE + 1) // gap) - 1
    assert kinds[:25] == [TURN, *[ACQUIRING] * 23, STARTING]
    assert kinds[25 : 25 + ignored] == [IGNORED] * ignored
    assert set(kinds[25 + ignored :]) <= {TRACKING, TURN}
    error = (out.phase[-1] / 2**32 * 2 * math.pi - 2.2 + math.pi) % (2 * math.pi) - math.pi
    assert abs(error) < 0.5


def test_both_ports_in_one_clock() -> None:
    """L and R of one clock pull against each other from the same state: at mid-fringe nothing remains but rounding."""
    channel = Channel(USUAL, a=1 << 30, p=SLOW.p_start, locked=1, last=2**16 - 1)
    out = compare([channel], [(100, 0, 0, 0), (100, 0, 1, 0)])
    assert out.kind.tolist() == [TURN, TRACKING, TRACKING]
    assert out.phase[1] != 1 << 30
    assert abs(int(out.phase[2]) - (1 << 30)) < 1 << 22  # P s moves 1 << 26 or more


def test_silence_loses_the_phase() -> None:
    """p grows by D t while nothing comes, the phase runs on with the slope; above p_lost the channel starts anew without slope."""
    slope = 1 << 30
    channel = Channel(SLOW, b=slope, p=SLOW.p_start, locked=1)
    out = compare([channel], [(10, 0, 0, 1 << 14), (EPOCH * 40, 0, 0, 0)])
    turns = np.flatnonzero(out.kind[:-1] == TURN)[1:]
    locked = out.locked[turns] == 1
    grown = out.p[turns][locked] / 2**34 * 2 * math.pi
    passed = np.arange(1, grown.size + 1) * EPOCH / 125e6
    at_click = out.p[1] / 2**34 * 2 * math.pi
    effective = SLOW.d / 2**46 * 2 * math.pi * 125e6
    np.testing.assert_allclose(grown, at_click + effective * (passed - 10 / 125e6), rtol=1e-5)
    assert grown[-1] < LOST_RAD2 < grown[-1] + effective * EPOCH / 125e6
    held = np.diff(out.phase[turns][locked])
    assert (held == (int(out.slope[1]) >> 8) << 4).all()
    assert (out.slope[turns][~locked] == 0).all()
    assert out.kind[-1] == ACQUIRING


def test_phase_wraps_and_slope_saturates() -> None:
    """A passes 2^63 and goes on; the slope stays at its limit under clicks that push it on."""
    steep = replace(SLOW, kappa=2**17 - 1)
    # theta = 3/4 turn: a click at L pulls up. The first turn adds 2^37
    channel = Channel(steep, a=2**63 - 2**38 + 3 * 2**30, b=t.B_MAX, p=SLOW.p_start, locked=1)
    out = compare([channel], [(50, 0, 0, 0), (2 * EPOCH, 0, 0, 0)])
    assert out.slope[1] == t.B_MAX
    assert out.phase[0] > 0 > out.phase[-1]


@given(
    psi=st.integers(0, 2**32 - 1),
    variance=st.floats(1e-4, 0.19),
    visibility=st.floats(0.3, 0.997),
    port=st.integers(0, 1),
)
def test_steps_against_formulas(psi: int, variance: float, visibility: float, port: int) -> None:
    """P s, P^2 c and the gradient in V at the middle of the sine's interval.

    A mantissa's reciprocal is right within 2^-9, its square within 2^-8; v within 2^-15 (blur and rounding, 3e-4 of P for pi) and
    1 + v cos within 3 2^-17 + that, both divided by the least 1 + v cos, which also scales what roundings of 2^-16 do to the numerators.
    """
    q = int(variance / (2 * math.pi) * 2**t.Q_FRACTION)
    config = replace(USUAL, d=0, v_start=int(visibility * 2**16), kappa=0, v_gain=1)
    rows, words = model.reset([config])
    rows[0, kernel.P] = q << t.Q_SHIFT
    way = np.zeros(kernel.UNDERWAY, dtype=np.int64)
    kernel.correct(rows[0], words[0], psi, 0, port, 0, way)

    theta = (psi >> 20) + 0.5
    theta *= 2 * math.pi / 4096
    p = q * 2.0**-t.Q_FRACTION * 2 * math.pi
    w = config.v_start / 2**16 * (1 - p)
    v = -w if port else w
    below = 1 + v * math.cos(theta)
    loose = (2**-14 + 3e-4 * p) / below
    score = -v * math.sin(theta) / below
    curvature = v * (math.cos(theta) + v) / below**2
    gradient = (-1 if port else 1) * math.cos(theta) / below
    assert way[kernel.DA] / 2**32 == pytest.approx(
        p * score / 2 / math.pi, abs=p / 6 * (abs(score) * (2**-9 + loose) + loose + 2**-14) + 2**-32
    )
    fall = way[kernel.DP] / -(2**t.P_FRACTION)
    if abs(curvature) < 160:
        tolerance = abs(curvature) * (2**-8 + 2 * loose) + 3 * loose / below + 2**-9
        assert fall == pytest.approx(p * p * curvature / 2 / math.pi, abs=p * p / 6 * tolerance + 2**-t.P_FRACTION)
    step = way[kernel.DV] / 2**32 * 2**10
    assert step == pytest.approx(gradient, abs=abs(gradient) * (2**-9 + loose) + 2**-8)


def test_events_too_close_are_refused() -> None:
    events = model.schedule(*np.zeros((4, 3), dtype=np.int64), channels=1)
    with pytest.raises(ValueError, match="at least 1 clocks apart"):
        model.track(replace(events, issue=events.issue * 0), [USUAL])
    assert model.track(events, [USUAL]).kind.tolist() == [TURN, ACQUIRING, ACQUIRING, ACQUIRING]


def _fringe(rng: np.random.Generator, psi: np.ndarray, visibility: float, gap: int) -> list[tuple[int, int, int, int]]:
    """Four-phase clicks, one every ``gap`` clocks, of psi in rad per click."""
    steps = np.arange(psi.size) % 4
    right = rng.uniform(size=psi.size) > (1 + visibility * np.cos(psi + steps * math.pi / 2)) / 2
    return [(int(i * gap), 0, int(right[i]), int(steps[i]) << 14) for i in range(psi.size)]


@pytest.mark.parametrize("epoch", [9, 13, 16])
def test_jump_by_half_a_turn(epoch: int) -> None:
    """Found once, done once: the unwrapped phase is half a turn further, and the next turn's output says that it did not go on."""
    psi = np.where(np.arange(3000) < 1500, 1.0, 1.0 + math.pi)
    config = channel_config(diffusion_rad2_per_s=754, click_rate_hz=1e6, visibility=0.98, detect=True)
    out = compare([Channel(config)], _fringe(np.random.default_rng(5), psi, 0.98, 125), epoch=epoch)
    clicks = np.flatnonzero(out.kind != TURN)
    phases = out.phase[clicks] / 2**32 * 2 * math.pi
    assert abs(phases[-1] - phases[1400] - math.pi) < 0.5
    assert out.locked[clicks[100:]].all()
    begun = int(np.flatnonzero(out.broke[clicks[1500:]])[0])
    assert 10 < begun < 200
    steps = np.abs(np.diff(phases[1480:1750]))
    assert np.argmax(steps) == 20 + begun - 1
    said = out.broke[out.kind == TURN]
    started, jumped = (1000 * 125 >> epoch) + 1, ((1500 + begun) * 125 >> epoch) + 1
    assert np.flatnonzero(said[started:]).tolist() == [jumped - started]


def test_lost_fringe_is_given_up_and_found_again() -> None:
    """Clicks that know no phase end the lock; cold starts on them do not last; the fringe is taken up when it comes back."""
    rng = np.random.default_rng(6)
    config = channel_config(diffusion_rad2_per_s=754, click_rate_hz=1e6, visibility=0.98, detect=True)
    entries = _fringe(rng, np.full(6000, 2.0), 0.98, 125)
    entries[2000:4000] = [(at, ch, int(rng.integers(2)), r) for at, ch, _, r in entries[2000:4000]]
    out = compare([Channel(config)], entries, epoch=10)
    locked = out.locked[out.kind != TURN]
    assert locked[100:2000].all()
    lost = int(np.flatnonzero(locked[2000:] == 0)[0])
    assert 20 < lost < 600
    assert (locked[2000:4000] == 0).mean() > 0
    assert locked[4600:].all()
    phase = out.phase[-1] / 2**32 * 2 * math.pi
    assert abs(math.remainder(phase - 2.0, 2 * math.pi)) < 0.5


@pytest.mark.parametrize("epoch", [9, 13])
def test_darkness(epoch: int) -> None:
    """The phase is given up at the first turn more than ``dark`` clocks after the last click, whatever p is; a click in time keeps it."""
    dark, length = 3000, 1 << epoch
    config = replace(USUAL, dark=dark)
    channel = Channel(config, p=USUAL.p_min, locked=1, last=length - 1)
    at = 5 * length + 70
    out = compare([channel], [(at, 0, 0, 0), (at + 2000, 0, 1, 0), (at + 30000, 0, 0, 0)], epoch=epoch)
    turns = np.flatnonzero(out.kind == TURN)
    times = (5 + np.arange(turns.size)) * length
    assert out.locked[turns].tolist() == (times <= at + 2000 + dark).tolist()
    assert out.broke[turns].tolist() == (times > at + 2000 + dark).tolist()
    assert (out.p[turns][out.broke[turns] == 1] == 0).all()
    assert out.kind[-1] == ACQUIRING


def test_alarm_meets_the_end_of_the_lock() -> None:
    """A jump found by the last click before a silence is done by the turn that follows, after the turn's own changes."""
    config = replace(SLOW, j_alarm=1, w_alarm=0)
    channel = Channel(config, a=1 << 31, p=SLOW.p_start, locked=1)
    out = compare([channel], [(10, 0, 0, 0), (EPOCH, 0, 0, 0)])
    assert out.kind.tolist() == [TURN, TRACKING, TURN, TRACKING]
    assert out.broke.tolist() == [0, 0, 1, 0]
    assert out.phase[2] == out.phase[1] + (1 << 31)


@pytest.mark.parametrize("epoch", [8, 17])
def test_other_epochs_are_refused(epoch: int) -> None:
    with pytest.raises(ValueError, match=r"allowed: 2\^9 to 2\^16"):
        model.schedule(*np.zeros((4, 3), dtype=np.int64), channels=1, epoch_bits=epoch)
