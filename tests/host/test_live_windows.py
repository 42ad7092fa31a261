"""N_live from table and LIVE records against pulses counted one by one; losses, late joining, and what contradicts itself."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from fake_node import CLIENT, SERVER, FakeNode, Registers
from hypothesis import given, settings
from hypothesis import strategies as st

from twinphase.batch import Batch, Gap
from twinphase.device import open_device
from twinphase.errors import TwinphaseError
from twinphase.lab_frame import lab_frame
from twinphase.measure.live import LiveWindows, SignalPulses
from twinphase_spec.configure import frame_config
from twinphase_spec.frame import SlotClass, slot_byte
from twinphase_spec.lab import load_lab
from twinphase_spec.packets import LIVE_DTYPE, Stream

TABLE = [
    slot_byte(q, SlotClass.REF0) for q in (SlotClass.SIG, SlotClass.REF1, SlotClass.SIG, SlotClass.SIG, SlotClass.GUARD)
]
PULSES = 3
"""Of a slot."""
LENGTH = len(TABLE) * PULSES


def is_signal(n):
    return TABLE[n % LENGTH // PULSES] & 15 == SlotClass.SIG


def records(runs):
    made = np.zeros(len(runs), LIVE_DTYPE)
    for record, (first, end) in zip(made, runs, strict=True):
        record["pulse_low"], record["pulse_high"], record["length"] = first % 2**32, first >> 32, end - first
    return made


def batch(runs, gaps=(), ticks=None):
    """``ticks``: of each record's packet."""
    packet_ticks = np.zeros(len(runs), np.int64) if ticks is None else np.array(ticks, np.int64)
    found = Batch(packet_ticks={Stream.LIVE: packet_ticks})
    if runs:
        found.records = {Stream.LIVE: records(runs)}
    if gaps:
        found.gaps = {Stream.LIVE: list(gaps)}
    return found


def windows(recovery=5):
    return LiveWindows(SignalPulses(TABLE, PULSES), recovery)


@st.composite
def run_lists(draw):
    """Rising runs, which may touch, and the pulse they begin from."""
    base = draw(st.sampled_from([0, 2**32 - 40, 2**50]))
    runs, at = [], base
    for _ in range(draw(st.integers(0, 12))):
        first = at + draw(st.integers(0, 20))
        at = first + draw(st.integers(1, 25))
        runs.append((first, at))
    return base, runs


@given(n=st.integers(0, 200))
def test_signal_pulses_below(n):
    signal = SignalPulses(TABLE, PULSES)
    assert signal.below(n) == sum(map(is_signal, range(n)))
    far = 2**50 // LENGTH * LENGTH
    assert signal.below(far + n) - signal.below(far) == signal.below(n)
    assert signal.below(np.array([0, n])).tolist() == [0, signal.below(n)]


@settings(max_examples=200)
@given(drawn=run_lists(), cuts=st.lists(st.integers(0, 12), max_size=3), steps=st.lists(st.integers(0, 40), max_size=8))
def test_stretches_counted_one_by_one(drawn, cuts, steps):
    base, runs = drawn
    counter, asked, at = windows(), iter(steps), base
    dead = {n for first, end in runs for n in range(first, end)}
    places = [0, *sorted(cuts), len(runs)]
    for since, until in itertools.pairwise(places):
        counter.update(batch(runs[since:until]), whole=True)
        while at < counter.known_pulse and (step := next(asked, None)) is not None:
            stop = min(at + step, counter.known_pulse)
            assert counter.count(at, stop) == sum(is_signal(n) and n not in dead for n in range(at, stop))
            at = stop
    assert counter.known_pulse == (runs[-1][1] if runs else 0)
    with pytest.raises(ValueError, match=f"asked up to pulse {counter.known_pulse + 1}; allowed: up to"):
        counter.count(at, counter.known_pulse + 1)


def test_without_recovery_all_windows_count():
    counter = windows(0)
    counter.update(Batch(), whole=False)
    assert counter.count(4, 2**40) == counter.signal.below(2**40) - counter.signal.below(4)
    assert counter.contradicted(np.array([3, 4])) == 0


def test_what_lies_before_the_first_run_of_a_stream_joined_late_is_not_known():
    late, early = windows(), windows()
    for counter, whole in ((late, False), (early, True)):
        counter.update(batch([(100, 105), (140, 150)]), whole=whole)
        counter.update(batch([(160, 170)]), whole=whole)
    assert late.count(0, 50) is None
    assert early.count(0, 50) == sum(map(is_signal, range(50)))
    assert late.count(99, 110) is None
    assert early.count(99, 110) == late.count(100, 110) + is_signal(99)
    assert late.count(110, 170) == early.count(110, 170)


@pytest.mark.parametrize("index", [0, 1, 2, 3])
def test_lost_records_leave_out_their_stretch_and_no_more(index):
    """Packets of ticks 10, 20, 30 with a run each; that of ``index`` tells of a loss, which may lie behind its own records."""
    runs, ticks = [(100, 110), (200, 210), (300, 310)], [10, 20, 30]
    gap = Gap(index=index, records=1, packets=0, time_ticks=10 * (index + 1))
    counter = windows()
    counter.update(batch([(50, 60)], ticks=[5]), whole=True)
    counter.update(batch(runs, [gap], ticks), whole=True)
    counter.update(batch([(400, 410), (500, 510)], ticks=[50, 50]), whole=True)
    since = [60, 110, 210, 310][index]
    until = [200, 300, 400, 400][index]
    edges = [0, since, until, 510]
    known = [counter.count(start, stop) for start, stop in itertools.pairwise(edges)]
    dead = {n for first, end in [(50, 60), *runs, (400, 410), (500, 510)] for n in range(first, end)}
    live = [sum(is_signal(n) and n not in dead for n in range(a, b)) for a, b in itertools.pairwise(edges)]
    assert known == [live[0], None, live[2]]


def test_a_loss_in_the_middle_of_a_stretch():
    counter = windows()
    counter.update(batch([(10, 20), (90, 95)], [Gap(index=1, records=0, packets=2, time_ticks=1)], [0, 1]), whole=True)
    counter.update(batch([(120, 125)], ticks=[2]), whole=True)
    assert counter.count(0, 21) is None  # lost from 20 on
    assert counter.count(120, 125) == 0


def test_heralds_that_contradict_runs():
    counter = windows()
    counter.update(batch([(11, 16), (30, 35), (35, 40)]), whole=True)
    assert counter.contradicted(np.array([10, 29])) == 0
    assert counter.contradicted(np.array([9, 10, 15, 16, 29, 34])) == 4
    assert counter.contradicted(np.array([], np.int64)) == 0


def test_a_run_that_falls_back_is_a_new_start():
    counter = windows()
    counter.update(batch([(11, 16), (30, 35)]), whole=True)
    assert not counter.restarted
    counter.update(batch([(34, 36)]), whole=True)
    assert counter.restarted
    counter.update(batch([(50, 60)]), whole=True)
    assert counter.known_pulse == 35


FRAME = frame_config(load_lab("metro-50km"))


def server(**changed):
    """Registers of a server that runs FRAME."""
    registers = Registers(SERVER)
    values = {
        "PERIOD": FRAME.period_q32,
        "SLOT_PULSES": FRAME.slot_pulses,
        "FRAME_PULSES": FRAME.frame_pulses,
        "RECOVERY_PULSES": 7,
        "STREAM_ENABLE": 0xFFFF,
    }
    for name, value in (values | changed).items():
        for word in range(SERVER[name].words):
            registers.words[SERVER[name].address + word] = value >> 32 * word & 0xFFFFFFFF
    return registers


def test_from_a_node_and_its_lab():
    with FakeNode(SERVER, registers=server()) as node, open_device(node.url) as device:
        assert lab_frame(device, node.url, None) is None
        frame = lab_frame(device, node.url, "metro-50km")
        assert frame == replace(FRAME, start_clock=device.read("START_CLOCK"))
        assert lab_frame(device, "lab:metro-50km?seed=3", None) == frame
        assert lab_frame(device, "lab:of-my-own", None) is None
        assert (
            lab_frame(device, "lab:seed-370km", None) is None
        )  # the device runs another frame: its lab has changed since
        for lab, sentence in (("seed-370km", "has PERIOD .*give the lab that the server runs"), ("none", "none")):
            with pytest.raises(TwinphaseError, match=sentence):
                lab_frame(device, node.url, lab)
        live = LiveWindows.of_device(device, frame)
        assert live.recovery_pulses == 7
        slots = [FRAME.table[n // FRAME.slot_pulses] & 15 == SlotClass.SIG for n in range(FRAME.frame_pulses)]
        assert [live.signal.below(n) for n in range(FRAME.frame_pulses)] == [0, *np.cumsum(slots).tolist()][:-1]


def test_what_a_node_must_send():
    off = server(STREAM_ENABLE=0xFFFF ^ 1 << Stream.LIVE)
    sentence = r"does not send LIVE \(bit 13 of STREAM_ENABLE is 0\) while RECOVERY_PULSES is 7"
    for node_map, registers, says in (
        (SERVER, off, sentence),
        (CLIENT, Registers(CLIENT), "is a client node, which has no detectors"),
    ):
        with (
            FakeNode(node_map, registers=registers) as node,
            open_device(node.url) as device,
            pytest.raises(TwinphaseError, match=says),
        ):
            LiveWindows.of_device(device, FRAME)
