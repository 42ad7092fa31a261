"""Serial DAC and sigma-delta pin: against the model, read back by a receiver of their own, and the shape of the noise."""

import math

import numpy as np
import pytest
from amaranth.sim import Simulator
from drive_bench import held_values, play

from twinphase_hdl.drive.sigmadelta import SigmaDelta
from twinphase_hdl.drive.spi import SpiDac
from twinphase_sim.model.drive.sigmadelta import sigma_delta
from twinphase_sim.model.drive.spi import SpiFrame, spi_frame

AD5541 = {"half_clocks": 3, "gap": 2}
AD5683R = {"half_clocks": 2, "cpha": 1, "prefix": 3, "prefix_bits": 4, "suffix_bits": 4}
AD5310 = {"bits": 10, "half_clocks": 3, "cpha": 1, "prefix_bits": 4, "suffix_bits": 2, "cpol": 1}


def received(pins: np.ndarray, cpol: int, cpha: int) -> list[tuple[int, str]]:
    """What a DAC sees: (clock of its select going high, bits taken at its edge while it was selected), from the pins alone."""
    frames, bits = [], ""
    for clock in range(1, len(pins)):
        (was_select, was_clock, _), (select, line, data) = pins[clock - 1], pins[clock]
        edge = line != was_clock
        if edge and not select:
            leading = line != cpol
            if leading != bool(cpha):
                bits += str(data)
        if select and not was_select:
            frames.append((clock, bits))
            bits = ""
    return frames


@pytest.mark.parametrize(
    "config",
    [AD5541, AD5683R, AD5310, {"bits": 1, "half_clocks": 1}, {"bits": 3, "half_clocks": 1, "cpol": 1, "gap": 3}],
)
@pytest.mark.parametrize("idle", [0.0, 0.8])
def test_spi(config: dict, idle: float) -> None:
    rng = np.random.default_rng(2)
    dut = SpiDac(**config)
    frame = SpiFrame(**config)
    top = (1 << frame.bits) - 1
    words = [0, top, top // 3, *rng.integers(0, top + 1, 5).tolist()]
    transfers, pins = [], []

    async def bench(ctx):
        left = list(words)
        clock = 0
        while len(transfers) < len(words) or clock < transfers[-1] + dut.period + 3:
            offered = bool(left) and (ctx.get(dut.i.valid) or rng.random() >= idle)
            ctx.set(dut.i.valid, offered)
            ctx.set(dut.i.payload, left[0] if offered else int(rng.integers(0, top + 1)))
            pins.append((ctx.get(dut.o_select), ctx.get(dut.o_clock), ctx.get(dut.o_data)))
            if offered and ctx.get(dut.i.ready):
                transfers.append(clock)
                left.pop(0)
            await ctx.tick()
            if offered and len(left) < len(words) and transfers[-1] == clock:
                ctx.set(dut.i.valid, 0)
            clock += 1

    simulator = Simulator(dut)
    simulator.add_clock(8e-9)
    simulator.add_testbench(bench)
    simulator.run()
    seen = np.array(pins)
    resting = np.ones(len(pins), dtype=bool)
    for word, transfer in zip(words, transfers, strict=True):
        rows = spi_frame(word, frame)
        at = slice(transfer + 1, transfer + 1 + len(rows))
        np.testing.assert_array_equal(seen[at], rows)
        resting[at] = False
    np.testing.assert_array_equal(seen[resting], [(1, frame.cpol, 0)] * int(resting.sum()))
    expected = [f"{(frame.prefix << frame.bits | w) << frame.suffix_bits:0{frame.frame_bits}b}" for w in words]
    assert received(seen, frame.cpol, frame.cpha) == [
        (t + dut.latency, bits) for t, bits in zip(transfers, expected, strict=True)
    ]
    if not idle:
        assert set(np.diff(transfers)) == {dut.period}


def test_spi_configuration() -> None:
    for bad, words in (
        ({"half_clocks": 0}, "half_clocks is 0"),
        ({"half_clocks": 1, "gap": 0}, "gap 0"),
        ({"half_clocks": 1, "cpol": 2}, "cpol is 2"),
        ({"half_clocks": 1, "bits": 0}, "0 bits"),
        ({"half_clocks": 1, "prefix_bits": 20}, "32 in all"),
        ({"half_clocks": 1, "prefix": 4, "prefix_bits": 2}, "prefix is 4"),
    ):
        with pytest.raises(ValueError, match=words):
            SpiDac(**bad)


def pumping(clocks: int) -> tuple[np.ndarray, np.ndarray]:
    """Levels that jump in step with the second order's errors, and the bits of its formula without an end to the errors."""
    levels, bits, last, before = [], [], 0, 0
    for _ in range(clocks):
        levels.append(0xD000 if last - before > 32768 else 0x3000)
        v = levels[-1] + 2 * last - before
        bits.append(int(v >= 32768))
        before, last = last, v - bits[-1] * 65536
    return np.array(levels), np.array(bits)


@pytest.mark.parametrize("order", [1, 2])
def test_sigma_delta_equals_model(order: int) -> None:
    rng, clocks = np.random.default_rng(order), 2500
    edges = [0, 1, 0x2FFF, 0x3000, 0x7FFF, 0xCFFF, 0xD000, 0xFFFF, *rng.integers(0, 1 << 16, 4)]
    level = held_values(rng, clocks, lambda n: rng.choice(edges, n), 50)
    level[1500:] = pumping(1000)[0]
    dut = SigmaDelta(order=order)
    seen = play(dut, {"i": level}, ["o"], clocks)["o"]
    np.testing.assert_array_equal(seen[dut.latency :], sigma_delta(level, order=order)[0][: -dut.latency])
    assert not seen[: dut.latency].any()
    # These levels do set the second order back.
    pumped, endless_bits = pumping(1000)
    out, errors = sigma_delta(pumped, order=2)
    assert (out != endless_bits).any()
    assert np.abs(errors).max() < 9 * 65536


@pytest.mark.parametrize("order", [1, 2])
def test_sigma_delta_mean(order: int) -> None:
    """Over any stretch, ones and level differ by less than a scale (first order) or three (second), for levels that are still,
    random or jump from end to end of the range; no error comes near the 8 scales at which it would be set back."""
    rng, clocks, scale = np.random.default_rng(5), 400_000, 1 << 16
    low, high = (0, 0xFFFF) if order == 1 else (0x3000, 0xD000)
    apart = 30 + rng.integers(0, 30, clocks // 40)
    moves = [np.full(clocks, low), np.full(clocks, high), np.full(clocks, 0x8000), np.full(clocks, 0x5555)]
    moves += [np.where(np.arange(clocks) // n % 2, low, high) for n in (1, 30, 31)]
    moves += [rng.integers(low, high + 1, clocks), np.repeat(rng.choice([low, high], apart.size), apart)]
    for level in moves:
        out, errors = sigma_delta(level, order=order)
        balance = np.cumsum(level - out.astype(np.int64) * scale)
        if order == 1:
            assert balance.min() >= 0
            assert balance.max() < scale
        else:
            assert np.abs(errors).max() < 5 * scale
            assert np.abs(balance).max() < 3 * scale


@pytest.mark.parametrize("order", [1, 2])
def test_sigma_delta_noise(order: int) -> None:
    """In-band noise of a slow sine: below the stated multiples of the white-error formula, and falling with its power of the OSR."""
    n = 1 << 19
    level = (32768 + 19000 * np.sin(2 * np.pi * 37 * np.arange(n) / n)).astype(np.int64)
    out, _ = sigma_delta(level, order=order)
    window = np.hanning(n)
    power = np.abs(np.fft.rfft((out - level / 65536) * window)) ** 2 * 2 / n / np.sum(window**2)
    rms = {osr: math.sqrt(power[4 : n // (2 * osr)].sum()) for osr in (16, 128)}
    for osr, value in rms.items():
        formula = math.pi**order / math.sqrt(12 * (2 * order + 1)) * osr ** -(order + 0.5)
        print(f"order {order}, OSR {osr}: {value:.3e} of the scale, {value / formula:.2f} times the formula")
        assert 0.4 * formula < value < (0.7 if order == 1 else 1.9) * formula
    # Half of a factor two of the power law would be another order's.
    assert rms[16] / rms[128] == pytest.approx(8 ** (order + 0.5), rel=0.25)


def test_sigma_delta_configuration() -> None:
    with pytest.raises(ValueError, match="order is 3; allowed: 1 or 2"):
        SigmaDelta(order=3)
    with pytest.raises(ValueError, match="bits is 3"):
        SigmaDelta(order=1, bits=3)
