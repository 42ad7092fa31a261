"""Heralds and their psi against the model: small queues that overflow, and the psi join alone."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import cocotb
import numpy as np

from bench_phase import assert_records, click_arrays, click_words, records
from rigs import SMALL_PENDING
from streams import start_clock
from twinphase_hdl.phase.tracker import DwindowPhase, WindowPhase
from twinphase_hdl.sift.herald import RING_DWINDOW_BITS, RING_WINDOW_BITS, HeraldFinder, PendingHerald
from twinphase_hdl.sift.join import KEPT_DWINDOWS, PsiJoin
from twinphase_hdl.types import Click, Herald, Mark, MarkedClick
from twinphase_sim.model.core.framer import Clicks
from twinphase_sim.model.sift.herald import find_heralds, herald_records
from twinphase_spec.frame import SlotClass
from twinphase_spec.packets import FLAG_D_VALID, FLAG_R_VALID, PSI_DTYPE, Stream
from vectors import generator, pack, play, transfers, unpack

MARK_BITS = {"psi": 16, "r_valid": 1, "d_valid": 1, "blank": 1}


def hold_clocks(period_ticks: int) -> int:
    """The finder's hold time: 9 k + 16 with k the whole clocks of a period."""
    return 9 * (period_ticks // 8192) + 16


def in_order(rng: np.random.Generator, period_ticks: int, clocks: int) -> tuple[np.ndarray, Clicks]:
    """Click clocks and clicks whose pulses rise: the next click is of the same pulse if it is at most 9 k + 15 clocks after the
    pulse's first, as the merge guarantees."""
    reach = 9 * (period_ticks // 8192) + 15
    at, pulses = [], []
    clock, pulse, first = 0, int(rng.integers(1 << 40)), 0
    while True:
        kind = rng.random()
        clock += int(rng.choice([1, 1, 2, 5, reach, hold_clocks(period_ticks), hold_clocks(period_ticks) + 40]))
        if clock >= clocks:
            break
        if kind < 0.5 or not at or clock - first > reach:
            pulse += int(rng.choice([1, 1, 2, 100, 1 << 33]))
            first = clock
        at.append(clock)
        pulses.append(pulse)
    clicks = click_arrays(rng, len(at), reference=0.0)
    clicks.pulse[:] = pulses
    signal = rng.random(len(at)) < 0.8
    clicks.slot_class[signal] = SlotClass.SIG
    # A pulse has one class per band.
    start = np.concatenate([[0], np.flatnonzero(np.diff(clicks.pulse)) + 1, [len(at)]])
    for low, high in pairwise(start.tolist()):
        clicks.slot_class[low:high] = clicks.slot_class[low]
    clicks.gated[:] = (rng.random(len(at)) < 0.9) & (clicks.slot_class != SlotClass.GUARD)
    clicks.channel[:] = np.where(rng.random(len(at)) < 0.8, clicks.channel & 1, clicks.channel)
    clicks.window[:] = (np.array(at) // 400).astype(np.uint32)
    clicks.dwindow[:] = clicks.window // 2
    return np.array(at), clicks


def marked_words(words: list[int], marks: list[dict[str, int]]) -> list[int]:
    """Packed `MarkedClick` of packed clicks and fields of their marks."""
    return [
        pack(MarkedClick, {"click": word, "mark": pack(Mark, mark)}) for word, mark in zip(words, marks, strict=True)
    ]


@cocotb.test()
async def heralds(dut: Any) -> None:
    """Single and multiple clicks in rising pulses, both queues overflowing (replayed), each judged in order; run = 0 restarts."""
    rng = generator()
    refused = resumed = 0
    await start_clock(dut)
    for case, period_ticks in enumerate((1024, 8191, 8192, 131_071, 30_000, 1024)):
        swap = case & 1
        slow, refuse = case in (0, 5), case in (1, 3, 5)
        clocks = 9000 if slow else 3000  # long enough for the queues to overflow, whatever is drawn
        at, clicks = in_order(rng, period_ticks, clocks)
        phases = clocks // 400 + 3
        psi_rq, r_valid = rng.integers(0, 1 << 16, phases), rng.integers(0, 2, phases)
        psi_d, d_valid = rng.integers(0, 1 << 16, phases), rng.integers(0, 2, phases)
        total = clocks + 1500
        valid, words = np.zeros(total, dtype=int), [0] * total
        marks = [{name: int(rng.integers(1 << bits)) for name, bits in MARK_BITS.items()} for _ in range(len(at))]
        for clock, word in zip(at.tolist(), marked_words(click_words(clicks), marks), strict=True):
            valid[clock], words[clock] = 1, word
        window_valid, window_words = np.zeros(total, dtype=int), [0] * total
        dwindow_valid, dwindow_words = np.zeros(total, dtype=int), [0] * total
        for window in range((clocks + 399) // 400 + 1):
            clock = 400 * (window + 1) + 250
            if clock >= total:
                break
            fields = {"window": window, "psi_rq": psi_rq[window], "r_valid": r_valid[window]}
            window_valid[clock], window_words[clock] = 1, pack(WindowPhase, fields)
            if window % 2:
                d = window // 2
                fields = {"dwindow": d, "psi_d": psi_d[d], "d_valid": d_valid[d]}
                dwindow_valid[clock + 1], dwindow_words[clock + 1] = 1, pack(DwindowPhase, fields)
        ready = (rng.random(total) >= (0.99 if slow else 0.0)).astype(int)
        psi_ready = (rng.random(total) >= (0.7 if case == 1 else 0.0)).astype(int)
        ready[-600:] = psi_ready[-600:] = 1
        drive: dict[str, Any] = {
            "o__ready": ready,
            "psi__ready": psi_ready,
            "i_run": 1,
            "i": words,
            "i_valid": valid,
            "i_swap": swap,
            "i_period": period_ticks << 32,
            "i_refuse": refuse,
            "i_window": window_words,
            "i_window_valid": window_valid,
            "i_dwindow": dwindow_words,
            "i_dwindow_valid": dwindow_valid,
        }
        drive = {f"heralds__{name}": values for name, values in drive.items()}
        await play(dut, {"heralds__i_run": 0, "heralds__i_valid": 0}, clocks=4)
        judgements = ("heralds", "multiple", "unjoined", "closed", "skipped")
        strobes = {f"heralds__o_{name}": "heralds__o_judged" for name in judgements}
        strobes |= {f"heralds__{name}__payload": f"heralds__{name}__valid" for name in ("o", "psi")}
        seen, caught = await play(dut, drive, ["heralds__o_idle"], strobes)
        judged = {name: np.array([v for _, v in caught[f"heralds__o_{name}"]]) for name in judgements}
        assert (judged["heralds"] + judged["multiple"] + judged["unjoined"] == 1).all()
        # Every pulse is judged once, in order; which singles found no room is replayed.
        chosen = np.flatnonzero(clicks.signal)
        pulses, firsts, clicks_of = np.unique(clicks.pulse[chosen], return_index=True, return_counts=True)
        assert judged["multiple"].size == pulses.size, f"case {case}: pulses judged"
        np.testing.assert_array_equal(judged["multiple"], (clicks_of > 1).astype(int), f"case {case}: multiple")
        unjoined = pulses[judged["unjoined"] == 1]
        # Heralds that are not taken are bounded; those that find the psi queue full are refused or passed over.
        closed = judged["closed"] == 1
        refused += int(np.count_nonzero(closed & refuse))
        overflows = slow or (refuse and bool((closed & (judged["multiple"] == 0)).any()))
        assert bool(unjoined.size) == overflows, "the stimulus did not overflow, or a herald was refused that had room"
        np.testing.assert_array_equal(judged["skipped"] == 1, closed & (judged["heralds"] == 1))
        if refuse:
            assert not judged["heralds"][closed].any(), "a herald that the psi queue had no room for"
        if not slow:
            np.testing.assert_array_equal(judged["unjoined"] == 1, closed & (judged["multiple"] == 0) & refuse)
        skipped = judged["skipped"][judged["heralds"] == 1] == 1
        resumed += int(np.count_nonzero(np.diff(skipped.astype(int)) == -1))
        when = np.array([k for k, _ in caught["heralds__o_heralds"]])
        # Without the next pulse's click, which judges at once, a strobe comes hold time + latency after the first click.
        first_clock = at[chosen][firsts]
        due = first_clock + hold_clocks(period_ticks) + HeraldFinder().latency
        following = np.concatenate([first_clock[1:] + HeraldFinder().latency - 1, [1 << 40]])
        np.testing.assert_array_equal(when, np.minimum(due, following), f"case {case}: time of the strobes")
        model = find_heralds(clicks, swap=swap, unjoined_pulses=unjoined)
        assert (model.multiple, model.unjoined) == (judged["multiple"].sum(), unjoined.size)
        got = unpack(Herald, [word for _, word in transfers(caught["heralds__o__payload"], ready)])
        expected = herald_records(got["number"].astype(np.uint32), got["pulse"], got["detector"].astype(np.uint8))
        assert_records(expected, model.records, f"case {case}: HERALD")
        of_pulse = {int(clicks.pulse[i]): marks[i] for i in chosen}
        for field, kept in (("psi", lambda k: k["psi"]), ("flags", lambda k: k["r_valid"] | k["d_valid"] << 1)):
            causal = [0 if of_pulse[n]["blank"] else kept(of_pulse[n]) for n in got["pulse"].tolist()]
            assert got[field].tolist() == causal, f"case {case}: causal {field}"
        assert (model.dwindow < np.flatnonzero(dwindow_valid).size).all()
        window, dwindow = model.window[~skipped], model.dwindow[~skipped]
        joined = np.zeros(window.size, dtype=PSI_DTYPE)
        joined["number"] = np.flatnonzero(~skipped)
        joined["psi_turns"] = (psi_rq[window] + psi_d[dwindow]) & 0xFFFF
        joined["flags"] = r_valid[window] * FLAG_R_VALID | d_valid[dwindow] * FLAG_D_VALID
        got_psi = [word for _, word in transfers(caught["heralds__psi__payload"], psi_ready)]
        assert_records(records(got_psi, PSI_DTYPE, Stream.PSI), joined, f"case {case}: PSI")
        assert seen["heralds__o_idle"][-1]
    assert refused > 10
    assert resumed > 1, "the psi queue did not fill and empty"


@cocotb.test()
async def run_forgets_the_held_pulse(dut: Any) -> None:
    """run = 0 while a pulse is held: it is neither announced nor counted, and numbers restart at 0."""
    rng = generator()
    await start_clock(dut)
    fields = {"framed": 1, "gated": 1, "slot_class": SlotClass.SIG, "channel": 1}
    base = {"heralds__i_period": 8192 << 32, "heralds__i_swap": 0, "heralds__o__ready": 1}
    when = {"heralds__o__payload": "heralds__o__valid"}
    watch = ["heralds__o_heralds", "heralds__o_multiple", "heralds__o_unjoined"]
    for pause in (1, 2, 3, int(rng.integers(4, 25))):
        await play(dut, {**base, "heralds__i_run": 0, "heralds__i_valid": 0}, clocks=3)
        # Two pulses; the second is held when run falls.
        pulses = [pack(Click, {**fields, "pulse": 5}), pack(Click, {**fields, "pulse": 6})]
        words = [*marked_words(pulses, [{}, {}]), *[0] * 60]
        run = [1] * (4 + pause) + [0] * 3 + [1] * (55 - pause)
        valid = [1, 1] + [0] * 60
        vectors = {"heralds__i": words, "heralds__i_valid": valid, "heralds__i_run": run}
        seen, caught = await play(dut, vectors, watch, when)
        announced = caught["heralds__o__payload"]
        assert [sum(seen[name]) for name in watch] == [1, 0, 0], pause
        words = marked_words([pack(Click, {**fields, "pulse": 9})], [{}]) + [0] * 60
        seen, caught = await play(dut, {"heralds__i": words, "heralds__i_valid": [1] + [0] * 60}, watch, when)
        assert [sum(seen[name]) for name in watch] == [1, 0, 0]
        got = unpack(Herald, [word for _, word in announced + caught["heralds__o__payload"]])
        assert got["pulse"].tolist() == [5, 9]
        assert got["number"].tolist() == [0, 0]
        assert got["detector"].tolist() == [1, 1]


@cocotb.test()
async def join(dut: Any) -> None:
    """Psi join alone: wraps of window and d-window, exact latency from the close, full, and phases that left the rings."""
    rng = generator()
    await start_clock(dut)
    latency = PsiJoin().latency
    dut.join__i_flushed.value = 1
    for case in range(4):
        per = int([2, 128, 3, 5][case])
        d_first = 0 if case == 0 else (1 << RING_DWINDOW_BITS) * int(rng.integers(1, 1 << 20)) - 2
        await play(
            dut, {"join__i_run": 0, "join__i_valid": 0, "join__i_window_valid": 0, "join__i_dwindow_valid": 0}, clocks=4
        )
        ready = case != 3
        number = 0
        dut.join__o__ready.value = 1
        if d_first:  # the join learns the open d-window from the one before
            word = pack(DwindowPhase, {"dwindow": d_first - 1, "psi_d": 1, "d_valid": 1})
            await play(dut, {"join__i_run": 1, "join__i_dwindow": word, "join__i_dwindow_valid": [1, 0]})
        expected_late: list[tuple[int, int, int]] = []
        taken: list[int] = []
        for dwindow in range(d_first, d_first + 7):
            held = case == 3
            windows = rng.integers(0, 1 << 16, per)
            r_valid = rng.integers(0, 2, per)
            psi_d, d_valid = int(rng.integers(1 << 16)), int(rng.integers(2))
            count = int(rng.choice([0, 1, 3, SMALL_PENDING])) if case < 3 else 2
            inside = np.sort(rng.integers(0, per, count))
            pending = [
                pack(PendingHerald, {"window": (dwindow * per + int(w)) % (1 << RING_WINDOW_BITS), "dwindow": dwindow})
                for w in inside
            ]
            drive: dict[str, Any] = {
                "join__i_run": 1,
                "join__i": [*pending, 0, 0, 0],
                "join__i_valid": [1] * count + [0] * 3,
            }
            drive["join__o__ready"] = int(not held)
            seen, caught = await play(dut, drive, ["join__o_full"], {"join__o__payload": "join__o__valid"})
            taken += [word for _, word in caught["join__o__payload"]] if not held else []
            if case < 3:
                assert seen["join__o_full"][-1] == (count == SMALL_PENDING)
                assert not caught["join__o__payload"], "a record before its d-window was closed"
            words = [
                pack(WindowPhase, {"window": dwindow * per + w, "psi_rq": windows[w], "r_valid": r_valid[w]})
                for w in range(per)
            ]
            await play(dut, {"join__i_window": words, "join__i_window_valid": 1})
            word = pack(DwindowPhase, {"dwindow": dwindow, "psi_d": psi_d, "d_valid": d_valid})
            clocks = latency + 2 * count + 3
            drive = {"join__i_window_valid": 0, "join__i_dwindow": word, "join__i_dwindow_valid": [1] + [0] * clocks}
            seen, caught = await play(dut, drive, ["join__o_idle"], {"join__o__payload": "join__o__valid"})
            expected = [
                (
                    number + i,
                    (int(windows[w]) + psi_d) & 0xFFFF,
                    int(r_valid[w]) * FLAG_R_VALID | d_valid * FLAG_D_VALID,
                )
                for i, w in enumerate(inside)
            ]
            number += count
            if ready:
                got = records([word for _, word in caught["join__o__payload"]], PSI_DTYPE, Stream.PSI)
                assert [tuple(int(v) for v in record) for record in got] == expected, (case, dwindow)
                assert [k for k, _ in caught["join__o__payload"]] == [latency + 2 * i for i in range(count)]
                assert seen["join__o_idle"][-1]
            else:
                expected_late += expected
                taken += [word for _, word in caught["join__o__payload"]] if not held else []
        if not ready:
            # Four records sit in the stages behind the queue; others were held up until their phases left the rings.
            _, caught = await play(dut, {"join__o__ready": 1}, (), {"join__o__payload": "join__o__valid"}, clocks=60)
            taken += [word for _, word in caught["join__o__payload"]]
            got = records(taken, PSI_DTYPE, Stream.PSI)
            assert got["number"].tolist() == list(range(number))
            newest = d_first + 6
            for record, (herald, psi, flags) in zip(got, expected_late, strict=True):
                gone = (int(record["psi_turns"]), int(record["flags"])) == (0, 0)
                if d_first + herald // 2 > newest - KEPT_DWINDOWS or herald == 0:
                    assert (record["psi_turns"], record["flags"]) == (psi, flags), herald
                else:
                    assert gone or (record["psi_turns"], record["flags"]) == (psi, flags), herald
            assert sum((r["psi_turns"], r["flags"]) == (0, 0) for r in got) >= 1
