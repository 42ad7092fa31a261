"""CORDIC, scaler, reference counts and phase tracker against the model."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from rigs import BOUNDED_COUNT, BOUNDED_TOTAL
from streams import StreamSink, StreamSource, start_clock
from twinphase_hdl.phase.cordic import WORK_BITS, Cordic, CordicRequest, CordicResult
from twinphase_hdl.phase.counts import ReferenceCounts
from twinphase_hdl.phase.multiply import PhaseScaler, ScaleRequest
from twinphase_hdl.phase.tracker import DwindowPhase, PhaseTracker, WindowPhase
from twinphase_hdl.types import Anchor, Click
from twinphase_sim.model.core.framer import Clicks
from twinphase_sim.model.phase.cordic import rotation, vectoring
from twinphase_sim.model.phase.counts import window_counts
from twinphase_sim.model.phase.tracker import scale, track
from twinphase_spec.fixed import UNWRAPPED_BITS, wrap_signed
from twinphase_spec.frame import SlotClass
from twinphase_spec.packets import DPHASE_DTYPE, PHASE_DTYPE, RECORD_WORDS, Stream
from vectors import generator, pack, play, transfers, unpack


def click_arrays(rng: np.random.Generator, count: int, *, gated: float = 0.9, reference: float = 0.7) -> Clicks:
    """Framed clicks of random classes; the caller sets windows and pulses."""
    zeros = np.zeros(count, dtype=np.uint64)
    slot_class = np.where(
        rng.random(count) < reference, rng.integers(SlotClass.REF0, SlotClass.GUARD, count), rng.integers(0, 9, count)
    ).astype(np.uint8)
    framed = np.ones(count, dtype=bool)
    return Clicks(
        times_ticks=zeros,
        channel=rng.integers(0, 4, count).astype(np.uint8),
        framed=framed,
        gated=(rng.random(count) < gated) & (slot_class != SlotClass.GUARD),
        slot_class=slot_class,
        pulse=zeros.copy(),
        position=np.zeros(count, dtype=np.uint32),
        window=np.zeros(count, dtype=np.uint32),
        dwindow=np.zeros(count, dtype=np.uint32),
    )


def click_words(clicks: Clicks) -> list[int]:
    """Packed `Click` of each."""
    names = ("channel", "framed", "gated", "slot_class", "pulse", "position", "window", "dwindow")
    columns = [getattr(clicks, name).tolist() for name in names]
    return [pack(Click, dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True)]


def hostile_vectors(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Signed 48-bit vectors of every length, axes, diagonals, extremes and (0, 0)."""
    bits = rng.integers(0, 48, (2, count))
    values = (rng.random((2, count)) * 2.0**bits).astype(np.int64) * rng.choice([-1, 1], (2, count))
    low, high = -(1 << 47), (1 << 47) - 1
    corners = [0, 1, -1, low, high, 1 << 21, (1 << 22) - 1, 1 << 22, -(1 << 22), 3]
    pairs = np.array([(x, y) for x in corners for y in corners], dtype=np.int64).T
    return np.concatenate([pairs[0], values[0]]), np.concatenate([pairs[1], values[1]])


@cocotb.test()
async def cordic(dut: Any) -> None:
    """Both modes mixed, under idles and back-pressure."""
    rng = generator()
    await start_clock(dut)
    for idle in (0.0, 0.6):
        x, y = hostile_vectors(rng, 60)
        rotate = rng.random(x.size) < 0.4
        narrow = [wrap_signed(int(v), 27) for v in x], [wrap_signed(int(v), 27) for v in y]
        x, y = np.where(rotate, narrow[0], x), np.where(rotate, narrow[1], y)
        angle = np.where(
            rng.random(x.size) < 0.3,
            rng.choice([0, 1, 0x3FFF, 0x4000, 0x4001, 0x7FFF, 0x8000, 0xBFFF, 0xC000, 0xFFFF], x.size),
            rng.integers(0, 1 << 16, x.size),
        )
        source = StreamSource(dut, "cordic__i", idle=idle, seed=int(rng.integers(1 << 30)))
        sink = StreamSink(dut, "cordic__o", idle=idle, seed=int(rng.integers(1 << 30)))
        names = ("x", "y", "angle", "rotate")
        rows = zip(x.tolist(), y.tolist(), angle.tolist(), rotate.tolist(), strict=True)
        source.send(pack(CordicRequest, dict(zip(names, row, strict=True))) for row in rows)
        got = unpack(CordicResult, await sink.receive(x.size))
        source.stop()
        sink.stop()
        turned = rotation(x[rotate], y[rotate], angle[rotate])
        for name, expected in zip(("x", "y"), turned, strict=True):
            values = [wrap_signed(int(v), WORK_BITS) for v in got[name][rotate]]
            np.testing.assert_array_equal(values, expected, name)
        zero = (x == 0) & (y == 0)
        np.testing.assert_array_equal(got["zero"][~rotate], zero[~rotate])
        some = ~rotate & ~zero
        np.testing.assert_array_equal(got["angle"][some], vectoring(x[some], y[some]))


@cocotb.test()
async def cordic_latency(dut: Any) -> None:
    """Rotation: exactly ``rotation_latency`` clocks; vectoring: at most ``vectoring_latency``, whatever the length."""
    rng = generator()
    await start_clock(dut)
    part = Cordic()
    await play(dut, {"rst": [1, 0], "cordic__i__valid": 0})
    for bits in range(0, 48):
        value = (1 << bits) - int(rng.integers(0, (1 << bits) // 2 + 1))
        for rotate in (0, 1):
            word = pack(CordicRequest, {"x": value, "y": -value // 3, "angle": 12345, "rotate": rotate})
            drive = {
                "cordic__i__payload": word,
                "cordic__i__valid": [1] + [0] * (part.vectoring_latency + 3),
                "cordic__o__ready": 1,
            }
            seen, _ = await play(dut, drive, ["cordic__o__valid"])
            first = seen["cordic__o__valid"].index(1)
            if rotate:
                assert first == part.rotation_latency
            else:
                assert first <= part.vectoring_latency


@cocotb.test()
async def scaler(dut: Any) -> None:
    """Extreme phases and ratios; exactly ``latency`` clocks."""
    rng = generator()
    await start_clock(dut)
    half = 1 << (UNWRAPPED_BITS - 1)
    phases = [
        0,
        1,
        -1,
        half - 1,
        -half,
        *rng.integers(-half, half, 20).tolist(),
        *rng.integers(-70000, 70000, 10).tolist(),
    ]
    ratios = [0, 1, -1, (1 << 31) - 1, -(1 << 31), *rng.integers(-(1 << 31), 1 << 31, 6).tolist()]
    latency = PhaseScaler().latency
    for unwrapped in phases:
        ratio = int(rng.choice(ratios))
        word = pack(ScaleRequest, {"unwrapped": unwrapped, "ratio": ratio})
        drive = {"scaler__i__payload": word, "scaler__i__valid": [1] + [0] * (latency + 2), "scaler__o__ready": 1}
        _, caught = await play(dut, drive, when={"scaler__o__payload": "scaler__o__valid"})
        expected = int(scale(np.array([unwrapped]), ratio)[0])
        assert caught["scaler__o__payload"] == [(latency, expected)], (unwrapped, ratio)


def signed_outputs(seen: dict[str, list[int]], name: str, k: int) -> tuple[int, int, int]:
    """cosine, sine and total of a counter in clock k."""
    cosine, sine = (wrap_signed(seen[f"{name}__o_{part}"][k], 21) for part in ("cosine", "sine"))
    return cosine, sine, seen[f"{name}__o_total"][k]


@cocotb.test()
async def counts(dut: Any) -> None:
    """Clicks of two windows alternate; a close hands out its window one clock later and holds it; swap."""
    rng = generator()
    await start_clock(dut)
    for case in range(4):
        swap, windows, length = case & 3, 8, 250
        first = int(rng.choice([0, (1 << 32) - 4]))
        clocks = windows * length
        valid = rng.random(clocks) < [0.2, 0.9, 1.0, 0.5][case]
        clicks = click_arrays(rng, clocks)
        now = np.arange(clocks) // length
        offset = np.arange(clocks) % length
        # Clicks of the next window come early; those of a window have all come two clocks before its close.
        early = (rng.random(clocks) < 0.4) | (offset >= length - 2)
        clicks.window[:] = (now + early + first) & 0xFFFFFFFF
        if case == 1:
            clicks.gated[now == 3] = False
        # Framed is 0 for some, which then mean nothing.
        unframed = rng.random(clocks) < 0.05
        words = click_words(clicks)
        words = [word & ~(1 << 6) if out else word for word, out in zip(words, unframed, strict=True)]
        close = (offset == length - 1).astype(int)
        bank = ((now + first) & 1).astype(int)
        drive: dict[str, Any] = {}
        for name in ("counts_q", "counts_r"):
            drive |= {f"{name}__i": words, f"{name}__i_valid": valid.astype(int)}
            drive |= {f"{name}__i_close": close, f"{name}__i_bank": bank}
        drive |= {"counts_q__i_swap": swap & 1, "counts_r__i_swap": swap >> 1}
        drive["rst"] = 0
        dut.rst.value = 1
        await RisingEdge(dut.clk)
        names = [f"{name}__o_{part}" for name in ("counts_q", "counts_r") for part in ("cosine", "sine", "total")]
        seen, _ = await play(dut, drive, names)
        clicks.gated[~valid | unframed] = False
        model = window_counts(clicks, windows, first_window=first, swap=swap)
        latency = ReferenceCounts(band="q").latency
        for band, name in enumerate(("counts_q", "counts_r")):
            for window in range(windows - 1):
                expected = (model.cosine[band, window], model.sine[band, window], model.total[band, window])
                start = (window + 1) * length - 1 + latency
                for k in (start, start + length // 2, min(start + length, clocks) - 1):
                    assert signed_outputs(seen, name, k) == expected, (case, name, window, k)


@cocotb.test()
async def count_saturation(dut: Any) -> None:
    """D stops at both bounds and comes back from there, N stops at its own (bounds lowered to be reached often)."""
    rng = generator()
    await start_clock(dut)
    windows, length = 24, 120
    clocks = windows * length
    now, offset = np.arange(clocks) // length, np.arange(clocks) % length
    clicks = click_arrays(rng, clocks)
    clicks.window[:] = now
    # A window's clicks lean to one detector, then often to the other.
    lean = np.where(offset < rng.integers(40, 120, windows)[now], now & 1, rng.integers(0, 2, windows)[now])
    clicks.channel[:] = np.where(rng.random(clocks) < 0.85, lean, 1 - lean)
    clicks.slot_class[:] = SlotClass.REF0 + (now + (rng.random(clocks) < 0.2)) % 4
    clicks.gated[:] = True
    valid = offset < rng.choice([30, 70, length - 2], windows)[now]
    drive = {"i": click_words(clicks), "i_valid": valid.astype(int), "i_close": (offset == length - 1).astype(int)}
    drive |= {"i_bank": now & 1, "i_swap": 0}
    names = [f"bounded__o_{part}" for part in ("cosine", "sine", "total")]
    seen, _ = await play(dut, {f"bounded__{name}": values for name, values in drive.items()}, names)
    clicks.gated[~valid] = False
    model = window_counts(clicks, windows, count_max=BOUNDED_COUNT, total_max=BOUNDED_TOTAL)
    assert (np.abs(model.difference) == BOUNDED_COUNT).sum() > 5
    assert (model.total[0] == BOUNDED_TOTAL).any()
    latency = ReferenceCounts(band="q").latency
    for window in range(windows - 1):
        expected = (model.cosine[0, window], model.sine[0, window], model.total[0, window])
        assert signed_outputs(seen, "bounded", (window + 1) * length - 1 + latency) == expected, window


def records(words: list[int], dtype: np.dtype, stream: Stream) -> np.ndarray:
    """Packed records as the host's dtype."""
    size = 4 * RECORD_WORDS[stream]
    return np.frombuffer(b"".join(word.to_bytes(size, "little") for word in words), dtype=dtype)


def assert_records(got: np.ndarray, expected: np.ndarray, what: str) -> None:
    """Field by field, naming the first wrong record."""
    assert got.size == expected.size, f"{what}: {got.size} records, the model has {expected.size}"
    wrong = np.flatnonzero(got != expected)
    assert not wrong.size, f"{what}: record {wrong[0]} is {got[wrong[0]]}, model {expected[wrong[0]]}"


@cocotb.test()
async def tracker(dut: Any) -> None:
    """Windows as short as the latency, windows without clicks or with a zero vector in either band, d-windows of 2, 3 and 7,
    extreme ratios, counts of windows that wrap, run = 0 in between, records taken late."""
    rng = generator()
    await start_clock(dut)
    latency = PhaseTracker().latency
    length = latency + 12
    for case, per in enumerate((2, 3, 7, 2)):
        windows, swap = 30, int(rng.integers(4))
        ratio = int([-(1 << 31), (1 << 31) - 1, 27_000_000, int(rng.integers(-(1 << 31), 1 << 31))][case])
        # The model's track starts at first_window; per-d-window positions count on from there.
        first = 0 if case < 2 else (1 << 32) // per * per - 3 * per
        clocks = windows * length
        now, offset = np.arange(clocks) // length, np.arange(clocks) % length
        kind = rng.integers(0, 6, windows)
        clicks = click_arrays(rng, clocks, reference=0.95)
        clicks.window[:] = (now + first) & 0xFFFFFFFF
        drift = (now * rng.integers(1, 4)) % 4
        rho = rng.random(clocks) < 0.7
        clicks.slot_class[rho] = (SlotClass.REF0 + drift[rho]).astype(np.uint8)
        band = clicks.channel >> 1
        drop = (kind[now] == 0) | ((kind[now] == 1) & (band == 0)) | ((kind[now] == 2) & (band == 1))
        valid = (rng.random(clocks) < 0.6) & ~drop & (offset < length - 2)
        # Two opposite clicks: counted, but no vector.
        for window in np.flatnonzero(kind == 3):
            here = np.flatnonzero(now == window)
            valid[here] = False
            valid[here[5:7]] = True
            clicks.channel[here[5:7]] = [2, 3]
            clicks.slot_class[here[5:7]] = SlotClass.REF2
            clicks.gated[here[5:7]] = True
        valid[0] = False  # what comes in the first clock of a run is not looked at
        anchors = []
        for window in range(first + 1, first + windows + 1):
            fields = {"window": window, "dwindow": window // per, "dwindow_window": window % per}
            anchors.append(pack(Anchor, fields))
        drive: dict[str, Any] = {
            "tracker__i_run": 1,
            "tracker__i": click_words(clicks),
            "tracker__i_valid": valid.astype(int),
            "tracker__i_close": [0, *(offset == length - 1).astype(int)[:-1]],
            "tracker__i_anchor": [anchors[w] for w in np.concatenate([[0], now[:-1]])],
            "tracker__i_swap": swap,
            "tracker__i_ratio": ratio & 0xFFFFFFFF,
        }
        await play(dut, {"tracker__i_run": 0, "tracker__i_valid": 0, "tracker__i_close": 0}, clocks=3)
        # Vectors end with the last close and the time that it takes.
        drive["tracker__i"] += [0] * length
        drive["tracker__i_valid"] = [*drive["tracker__i_valid"], *[0] * length]
        drive["tracker__i_close"] += [1] + [0] * (length - 1)
        drive["tracker__i_anchor"] += [anchors[-1]] * length
        ready = {name: (rng.random(clocks + length) > 0.9).astype(int) for name in ("phase", "dphase")}
        for name, vector in ready.items():
            vector[-3:] = 1
            drive[f"tracker__o_{name}__ready"] = vector
        when = {f"tracker__o_{name}": f"tracker__o_{name}_valid" for name in ("window", "dwindow")}
        when |= {f"tracker__o_{name}__payload": f"tracker__o_{name}__valid" for name in ready}
        seen, caught = await play(dut, drive, ["tracker__o_lost", "tracker__o_idle"], when)
        assert not any(seen["tracker__o_lost"])
        assert seen["tracker__o_idle"][-1]
        words = {name: [w for _, w in transfers(caught[f"tracker__o_{name}__payload"], ready[name])] for name in ready}
        clicks.gated[~valid] = False
        counted = window_counts(clicks, windows, first_window=first, swap=swap)
        model = track(counted, ratio=ratio, windows_per_dwindow=per, first_window=first)
        assert model.r_valid.any()
        phase = records(words["phase"], PHASE_DTYPE, Stream.PHASE)
        dphase = records(words["dphase"], DPHASE_DTYPE, Stream.DPHASE)
        assert_records(phase, model.phase, f"case {case}: PHASE")
        assert_records(dphase, model.dphase, f"case {case}: DPHASE")
        strobes = caught["tracker__o_window"]
        got = unpack(WindowPhase, [word for _, word in strobes])
        np.testing.assert_array_equal(got["window"], model.phase["window"])
        np.testing.assert_array_equal(got["psi_rq"], model.psi_rq)
        np.testing.assert_array_equal(got["r_valid"], model.r_valid)
        for (k, _), window in zip(strobes, range(windows), strict=True):
            assert k - (window + 1) * length < latency, "later than the latency after its close"
        got = unpack(DwindowPhase, [word for _, word in caught["tracker__o_dwindow"]])
        np.testing.assert_array_equal(got["dwindow"], model.dphase["dwindow"])
        np.testing.assert_array_equal(got["psi_d"], model.psi_d)
        np.testing.assert_array_equal(got["d_valid"], model.d_valid)


@cocotb.test()
async def tracker_lost(dut: Any) -> None:
    """A record that is never taken stays; each one that meets it is lost and told."""
    generator()
    await start_clock(dut)
    length = PhaseTracker().latency + 5
    drive = {
        "tracker__i_run": 1,
        "tracker__i_close": ([1] + [0] * length) * 4,
        "tracker__o_phase__ready": 0,
        "tracker__o_dphase__ready": 0,
        "tracker__i_anchor": [
            pack(Anchor, {"window": w + 11, "dwindow_window": 1}) for w in range(4) for _ in range(length + 1)
        ],
    }
    seen, _ = await play(dut, drive, ["tracker__o_lost", "tracker__o_phase__valid", "tracker__o_phase__payload"])
    assert sum(seen["tracker__o_lost"]) == 3
    since = seen["tracker__o_phase__valid"].index(1)
    assert all(seen["tracker__o_phase__valid"][since:])
    held = set(seen["tracker__o_phase__payload"][since:])
    assert len(held) == 1
    assert records(list(held), PHASE_DTYPE, Stream.PHASE)["window"][0] == 10
