"""Live windows against a plain statement, click by click and pulse by pulse: judgements, runs and losses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import cocotb
import numpy as np

from sift_rigs import SMALL_LIVE
from streams import start_clock
from twinphase_hdl.sift.live import LiveWindows
from twinphase_hdl.sift.runrecords import LENGTH_BITS, RECORDS, RunRecords
from twinphase_hdl.types import Click
from twinphase_spec.frame import PULSE_BITS, SlotClass
from twinphase_spec.live import RECOVERY_BITS, SILENT_HEARTBEATS
from twinphase_spec.packets import HEARTBEAT_BITS
from vectors import generator, pack, play, transfers

LATENCY = LiveWindows().latency
CLOSED = LATENCY
"""Clocks from a click to the strobe that its closing is lost."""
TICKLESS = 5
"""A clock count without ticks."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A click of the q band; ``signal``: gated, in a SIG slot."""

    clock: int
    pulse: int
    early: bool
    signal: bool


def dead_pulses(clicks: Sequence[Seen], recovery: int) -> list[bool]:
    """Whether the pulse of each signal click is not live: one of the clicks before has it among its pulses."""
    result = []
    for k, click in enumerate(clicks):
        ranges = (range(c.pulse + 1 - c.early, c.pulse + recovery + 1) for c in clicks[max(0, k - 200) : k])
        result.append(click.signal and any(click.pulse in pulses for pulses in ranges))
    return result


def runs_of(clicks: Sequence[Seen], recovery: int, limit: int) -> list[tuple[int, int, int]]:
    """(first, length, clock of the click that closes it, -1 for the last) of the runs."""
    runs, first, end = [], 0, -1
    for click in clicks:
        own = click.pulse + 1 - click.early
        new_end = click.pulse + recovery + 1
        if end < 0:
            first = own
        elif own > end:
            runs.append((first, end - first, click.clock))
            first = own
        elif new_end - first >= limit:
            runs.append((first, end - first, click.clock))
            first = end
        end = new_end
    return [*runs, (first, end - first, -1)] if clicks else []


def clicks_and_words(
    rng: np.random.Generator, clocks: int, recovery: int, gate_start: int, pulse_bits: int, density: float
) -> tuple[list[Seen], list[int], list[int]]:
    """Clicks, and per clock valid and the packed `Click`, with clicks of no concern among them."""
    top = 1 << pulse_bits
    # Around where the halves carry, and where pulses wrap.
    start = int(rng.choice([0, (1 << pulse_bits // 2) - 40, 3 * (1 << pulse_bits // 2) - 3, top - 100]))
    steps = [0, 0, 1, recovery - 1, recovery, recovery + 1, recovery + 2, 2 * recovery + 3, 50]
    far = [1 << pulse_bits // 2, (1 << pulse_bits // 2) + recovery, 1 << pulse_bits - 4]
    places = sorted({0, 1, max(0, gate_start - 1), gate_start, min(gate_start + 1, (1 << 17) - 1)})
    clicks, valid, words = [], [], []
    pulse, place, moves_by = start, 0, 0
    for clock in range(clocks):
        is_q = rng.random() < 0.8
        fields = {
            "framed": 1,
            "channel": int(rng.integers(2)) + 2 * (not is_q),
            "gated": int(rng.random() < 0.8),
            "slot_class": int(rng.choice([SlotClass.SIG, SlotClass.SIG, SlotClass.VAC, SlotClass.REF0])),
        }
        here = rng.random() < density
        if here and is_q and rng.random() < 0.95:
            step = int(rng.choice(far) if rng.random() < 0.01 else rng.choice(steps))
            # Not once around in all, as n is a number here.
            step = max(0, step) if moves_by + step < top // 2 else 0
            moves_by += step
            place = int(rng.integers(place, len(places))) if step == 0 else int(rng.integers(len(places)))
            pulse += step
            fields |= {"pulse": pulse % top, "position": places[place]}
            signal = bool(fields["gated"]) and fields["slot_class"] == SlotClass.SIG
            clicks.append(Seen(clock=clock, pulse=pulse, early=places[place] < gate_start, signal=signal))
        elif here:
            fields |= {"pulse": int(rng.integers(1 << PULSE_BITS)), "position": 0}
            if is_q:
                fields["framed"] = 0
        valid.append(int(here))
        words.append(pack(Click, fields) if here else int(rng.integers(1 << 62)))
    return clicks, valid, words


def record_of(words: int) -> tuple[int, int]:
    """First pulse and length of a record."""
    return words & ((1 << 64) - 1), words >> 64


async def check(
    dut: Any, name: str, rng: np.random.Generator, recovery: int, case: int, bits: tuple[int, int, int]
) -> int:
    """Some hundred clocks of clicks, a stop, and again; returns the runs that were lost."""
    pulse_bits, recovery_bits, length_bits = bits
    limit, lost_in_all = (1 << length_bits) - (1 << recovery_bits + 1), 0
    gate_start = int(rng.choice([0, 1, 700, (1 << 17) - 1]))
    for part in range(2):
        clocks = 500
        density = (1.0, 0.7, 0.1)[case % 3]
        clicks, valid, words = clicks_and_words(rng, clocks, recovery, gate_start, pulse_bits, density)
        tail = 6 * RECORDS + 40
        ready = (rng.random(clocks + tail) >= (0.0, 0.6, 0.97)[(case + part) % 3]).astype(int)
        ready[-tail:] = 1
        drive: dict[str, Any] = {
            "i_run": 1,
            "i": words + [0] * tail,
            "i_valid": valid + [0] * tail,
            "i_clock": TICKLESS,
            "i_gate_start": gate_start,
            "i_recovery": [recovery] * 3 + [int(rng.integers(1 << recovery_bits))] * (clocks + tail - 3),
            "o__ready": ready,
        }
        watch = [f"{name}__o_not_live", f"{name}__o_lost", f"{name}__o_idle"]
        before = {f"{name}__{port}": value for port, value in (("i_run", 0), ("i_recovery", recovery), ("i_valid", 0))}
        await play(dut, before, clocks=int(rng.integers(2, 6)))
        drive = {f"{name}__{port}": value for port, value in drive.items()}
        seen, caught = await play(dut, drive, watch, {f"{name}__o__payload": f"{name}__o__valid"})

        told = f"{name} R = {recovery} case {case} part {part}"
        dead = dead_pulses(clicks, recovery) if recovery else [False] * len(clicks)
        expected = [click.clock + LATENCY for click, is_dead in zip(clicks, dead, strict=True) if is_dead]
        assert np.flatnonzero(seen[watch[0]]).tolist() == expected, f"{told}: not live"
        runs = runs_of(clicks, recovery, limit) if recovery else []
        # The last run is open, and forgotten.
        lost = {int(clock) - CLOSED for clock in np.flatnonzero(seen[watch[1]])}
        closing = {closed for _, _, closed in runs[:-1]}
        assert lost <= closing, f"{told}: lost what nothing closed"
        kept = [(first % (1 << pulse_bits), length) for first, length, closed in runs[:-1] if closed not in lost]
        got = [record_of(word) for _, word in transfers(caught[f"{name}__o__payload"], ready)]
        assert got == kept, f"{told}: runs"
        assert all(length < limit for _, length in got)
        assert seen[watch[2]][-1], f"{told}: an open run is not idle"
        lost_in_all += len(lost)
    return lost_in_all


@cocotb.test()
async def judgements_and_runs(dut: Any) -> None:
    """Bursts of a click per clock, both detectors, gate edges, wraps, back-pressure with losses; a stop forgets."""
    rng = generator()
    await start_clock(dut)
    lost = 0
    for case, recovery in enumerate((1, 0, 2, 1, 7, 65_535, 300, 65_534, 1)):
        lost += await check(dut, "live", rng, recovery, case, (PULSE_BITS, RECOVERY_BITS, LENGTH_BITS))
    assert lost, "the stimulus did not overflow"
    for case, recovery in enumerate((31, 30, 12, 31, 1, 0)):
        bits = tuple(SMALL_LIVE[key] for key in ("pulse_bits", "recovery_bits", "length_bits"))
        await check(dut, "small_live", rng, recovery, case, bits)


@cocotb.test()
async def long_runs_part(dut: Any) -> None:
    """Clicks that keep one run open for longer than a record can say."""
    rng = generator()
    await start_clock(dut)
    bits = tuple(SMALL_LIVE[key] for key in ("pulse_bits", "recovery_bits", "length_bits"))
    limit, recovery = (1 << bits[2]) - (1 << bits[1] + 1), 31
    before = {"small_live__i_run": 0, "small_live__i_recovery": recovery, "small_live__i_clock": TICKLESS}
    await play(dut, before | {"small_live__i_valid": 0}, clocks=3)
    steps = rng.integers(0, recovery + 2, 400)
    # Every other click is early, so that a step of R + 1 joins when it is; a quarter of them at one pulse.
    clicks, words, pulse, early = [], [], 5, True
    for clock, step in enumerate(steps.tolist()):
        step = min(step, recovery + early) if rng.random() < 0.75 else 0
        early = early if step == 0 else bool(rng.integers(2))
        step = min(step, recovery + early)
        pulse += step
        clicks.append(Seen(clock=clock, pulse=pulse, early=early, signal=False))
        fields = {"framed": 1, "pulse": pulse % (1 << bits[0]), "position": 9 + (not early)}
        words.append(pack(Click, fields))
    drive = {"i": words + [0] * 60, "i_valid": [1] * len(words) + [0] * 60, "i_run": 1, "i_gate_start": 10}
    drive = {f"small_live__{port}": value for port, value in drive.items()} | {"small_live__o__ready": 1}
    _, caught = await play(dut, drive, (), {"small_live__o__payload": "small_live__o__valid"})
    runs = runs_of(clicks, recovery, limit)
    assert len(runs) > 4, "the stimulus made no long run"
    got = [record_of(word) for _, word in caught["small_live__o__payload"]]
    assert got == [(first % (1 << bits[0]), length) for first, length, _ in runs[:-1]]
    assert all(a[0] + a[1] == b[0] for a, b in pairwise(runs))


@cocotb.test()
async def silence_closes_at_the_sixth_heartbeat(dut: Any) -> None:
    """Not before, whatever the clock count does between the ticks; never a second time; a click starts the count anew."""
    rng = generator()
    await start_clock(dut)
    beat, lead, tail = 1 << HEARTBEAT_BITS, 5, 14
    await play(dut, {"live__i_run": 0, "live__i_recovery": 9, "live__i_valid": 0, "live__i_clock": 3}, clocks=3)
    for offset in range(-4, 5):
        # Ticks, a click about one of them, and ticks again; the clock counts on around each, and jumps between, as simulators make it.
        before, pulse = int(rng.integers(SILENT_HEARTBEATS - 1)), 1000 * (offset + 9)
        first = beat * int(rng.integers(1, 1 << 20))
        counts = [first + k * beat + near for k in range(before + 2 * SILENT_HEARTBEATS) for near in range(-lead, tail)]
        click_at = before * (lead + tail) + lead + offset
        valid, words = [0] * len(counts), [0] * len(counts)
        for at, n in ((0, pulse - 4), (click_at, pulse)):
            words[at], valid[at] = pack(Click, {"framed": 1, "pulse": n, "position": 5}), 1
        drive = {"i": words, "i_valid": valid, "i_run": 1, "i_clock": counts, "i_gate_start": 0, "o__ready": 1}
        drive = {f"live__{port}": value for port, value in drive.items()}
        seen, caught = await play(dut, drive, ["live__o_idle"], {"live__o__payload": "live__o__valid"})
        ticks = [k for k, count in enumerate(counts) if count % beat == 0]
        sixth = [k for k in ticks if k >= click_at][SILENT_HEARTBEATS - 1]
        got = [(clock, record_of(word)) for clock, word in caught["live__o__payload"]]
        assert got == [(sixth + 2 + LATENCY + RunRecords().latency, (pulse - 3, 13))], f"offset {offset}"
        # It rests between the ticks, though a run is open, and afterwards at the ticks as well.
        idle = seen["live__o_idle"]
        for k in ticks:
            if k > click_at + LATENCY:
                assert idle[k - 1]
                assert idle[k] == (k > sixth), f"offset {offset}"
