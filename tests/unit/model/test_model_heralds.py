"""Heralds and psi join."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from twinphase_sim.model.core.framer import Clicks
from twinphase_sim.model.phase.counts import WindowCounts
from twinphase_sim.model.phase.tracker import track
from twinphase_sim.model.sift.herald import find_heralds, herald_pulses, herald_records
from twinphase_sim.model.sift.join import join_psi
from twinphase_spec.frame import SlotClass


def clicks_of(
    pulses: list[int], channels: list[int], signal: list[bool], per_window: int = 10, per_dwindow: int = 2
) -> Clicks:
    size = len(pulses)
    pulse = np.array(pulses, dtype=np.uint64)
    window = pulse // np.uint64(per_window)
    return Clicks(
        times_ticks=pulse * np.uint64(8192),
        channel=np.array(channels, dtype=np.uint8),
        framed=np.ones(size, dtype=bool),
        gated=np.array(signal, dtype=bool),
        slot_class=np.full(size, SlotClass.SIG, dtype=np.uint8),
        pulse=pulse,
        position=np.zeros(size, dtype=np.uint32),
        window=window.astype(np.uint32),
        dwindow=(window // np.uint64(per_dwindow)).astype(np.uint32),
    )


@given(
    base=st.sampled_from([0, 2**32 - 5, 2**56 - 40]),
    events=st.lists(st.tuples(st.integers(0, 25), st.integers(0, 3), st.booleans()), max_size=40),
    swap=st.integers(0, 3),
)
def test_heralds(base: int, events: list[tuple[int, int, bool]], swap: int) -> None:
    """Both detectors, one twice, more; clicks outside the gate and of the reference band do not matter."""
    events = sorted(events)
    of_pulse: dict[int, list[int]] = {}
    for pulse, channel, gated in events:
        if gated and channel < 2:
            of_pulse.setdefault(base + pulse, []).append(channel)
    expected = [(pulse, own[0] ^ (swap & 1)) for pulse, own in sorted(of_pulse.items()) if len(own) == 1]
    clicks = clicks_of([base + e[0] for e in events], [e[1] for e in events], [e[2] for e in events])
    heralds = find_heralds(clicks, swap=swap)
    assert list(zip(*(a.tolist() for a in herald_pulses(heralds.records)), strict=True)) == expected
    assert heralds.records["number"].tolist() == list(range(len(expected)))
    assert heralds.window.tolist() == [pulse // 10 % 2**32 for pulse, _ in expected]
    assert heralds.multiple == sum(len(own) > 1 for own in of_pulse.values())
    assert heralds.unjoined == 0


@given(pulse=st.integers(0, 2**56 - 1), detector=st.integers(0, 1), number=st.integers(0, 2**32 - 1))
def test_records_hold_pulse_and_detector(pulse: int, detector: int, number: int) -> None:
    records = herald_records(
        np.array([number]), np.array([pulse], dtype=np.uint64), np.array([detector], dtype=np.uint8)
    )
    assert records["number"][0] == number
    assert [a.tolist() for a in herald_pulses(records)] == [[pulse], [detector]]
    assert records["pulse_high_detector"][0] == pulse >> 32 | detector << 31


def test_an_unjoined_pulse_takes_no_number() -> None:
    heralds = find_heralds(clicks_of([1, 3, 5], [0, 1, 0], [True] * 3), unjoined_pulses=np.array([3], dtype=np.uint64))
    assert heralds.records.tolist() == [(0, 1, 0), (1, 5, 0)]
    assert heralds.unjoined == 1


def test_psi_is_that_of_the_own_window_and_waits_for_the_dwindow() -> None:
    difference = np.zeros((2, 5, 4), dtype=np.int64)
    difference[1, :, 0] = [100, 0, 70, 0, 100]  # reference: psi_r = 0 in windows 0, 2 and 4
    difference[1, 0, 3] = 100  # window 0: an eighth of a turn
    difference[0, 2, 2] = -3  # in band: psi_d = 0 in the second d-window
    tracked = track(
        WindowCounts(difference=difference, total=np.abs(difference).sum(axis=-1)), ratio=0, windows_per_dwindow=2
    )
    heralds = find_heralds(clicks_of([5, 15, 25, 35, 45], [0] * 5, [True] * 5))
    psi = join_psi(heralds, tracked)
    first, third = tracked.psi_rq[0], tracked.psi_rq[2]
    assert abs(int(first) - 8192) <= 1
    assert psi.tolist() == [
        (0, first, 1),
        (1, first, 0),
        (2, (int(third) + int(tracked.psi_d[1])) % 65536, 3),
        (3, psi[2][1], 2),
    ]


def test_nothing_in_nothing_out() -> None:
    heralds = find_heralds(clicks_of([], [], []))
    counts = WindowCounts(difference=np.zeros((2, 0, 4), dtype=np.int64), total=np.zeros((2, 0), dtype=np.int64))
    assert heralds.records.size == 0
    assert join_psi(heralds, track(counts, ratio=0, windows_per_dwindow=2)).size == 0
