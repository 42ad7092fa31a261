"""The virtual bench: what the gateware of a time tagger with delay lines makes of it equals the models from hit to tag."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from twinphase.device import open_device
from twinphase.errors import DeviceError
from twinphase.measure.calibration import read_calibration
from twinphase_sim.lab.bench import NODE, OPTIONS, BenchStep, VirtualBench
from twinphase_sim.lab.device import LabDevice
from twinphase_sim.model.timetag.calibration import Calibration
from twinphase_sim.model.timetag.delayline import DelayLine
from twinphase_sim.model.timetag.taps import Hits
from twinphase_sim.model.timetag.timetagger import run_timetagger
from twinphase_spec.bench import Bench, load_bench
from twinphase_spec.packets import FLUSH_BITS, Stream
from twinphase_spec.tagger import TaggerOptions
from twinphase_spec.tdc import code_bits
from twinphase_spec.units import CLOCK_HZ

STEP = 12
SECONDS = 0.004


def small_bench(step: int = STEP) -> Bench:
    """The pairs' bench with tables of few hits, so that photons renew them."""
    bench = load_bench("pairs")
    calibration = bench.tagger.calibration.model_copy(update={"step": step})
    return bench.model_copy(update={"tagger": bench.tagger.model_copy(update={"calibration": calibration})})


class Recorded(VirtualBench):
    """Keeps its steps, those of its own set-up included."""

    def __init__(self, *arguments: object, **options: object) -> None:
        self.steps: list[BenchStep] = []
        super().__init__(*arguments, **options)  # type: ignore[arg-type]

    def step(self, stop_clock: int) -> BenchStep:
        self.steps.append(super().step(stop_clock))
        return self.steps[-1]


@pytest.fixture(scope="module", params=[256, pytest.param(512, marks=pytest.mark.long)])
def bench(request: pytest.FixtureRequest) -> Recorded:
    """512 taps have twins: groups of codes are less alike, and busy times twice as long, so that it takes more hits and time."""
    options = replace(OPTIONS, taps=request.param)
    step, seconds = (STEP + 1, 4 * SECONDS) if options.twins else (STEP, SECONDS)
    virtual = Recorded(small_bench(step), 3, options=options, progress=False)
    while virtual.seconds < seconds:
        virtual.step(virtual.clock + virtual.chunk_clocks)
    return virtual


def test_tags_equal_the_models(bench: Recorded) -> None:
    """Every hit that the node was given, through the models of calibration, fine time and tagger."""
    bits, lanes, taps = code_bits(bench.options.taps), bench.options.lanes, bench.options.taps
    span = 8192 // lanes
    times, numbers, tables = [], [], []
    hits = [step.hits for step in bench.steps if step.hits is not None]
    ticks = np.concatenate([part.ticks for part in hits])
    channels = np.concatenate([part.channels for part in hits])
    values = np.concatenate([part.values for part in hits]).reshape(len(ticks), -1)
    codes = (values >> np.uint64(1) & np.uint64((1 << bits) - 1)).astype(np.uint16)
    for channel in range(bench.options.channels):
        own = channels == channel
        calibration = Calibration(taps=taps, lanes=lanes, step=bench.bench.tagger.calibration.step)
        found = Hits(
            clocks=ticks[own] // span,
            polarities=(values[own, 0] & np.uint64(1)).astype(np.uint8),
            codes=codes[own, :1],
            runt_clocks=np.zeros(0, np.int64),
            echoes=codes[own, 1:] if bench.options.twins else None,
        )
        edges = DelayLine([calibration]).edges(found)
        times.append(edges.times_ticks)
        numbers.append(np.full(edges.times_ticks.size, channel, np.uint8))
        tables.append(calibration.tables)
    joined, channel_of = np.concatenate(times), np.concatenate(numbers)
    # The oscillator's hits of the first calibration came before any channel was enabled.
    light = joined >= bench.start_clock << 13
    order = np.lexsort((channel_of[light], joined[light]))
    model = run_timetagger(
        bench.registers, bench.memories, joined[light][order], channel_of[light][order], bench.clock, lanes=lanes
    )
    words = [step.outputs[NODE] for step in bench.steps]
    device = LabDevice(bench, NODE)
    for output in words:
        device._waiting += [packet for _, packet in output.packets if packet[0] != Stream.REGISTER_RESPONSE]
    tags = next(iter(device.batches()))[Stream.TAG]
    # What came after the last flush tick is still in the node.
    count = len(tags["time_ticks"])
    flushed = bench.clock - (1 << FLUSH_BITS[Stream.TAG]) - 1000 << 13
    assert np.searchsorted(model.times_ticks, flushed) <= count <= len(model.times_ticks)
    assert count > 500
    np.testing.assert_array_equal(tags["time_ticks"].astype(np.uint64), model.times_ticks[:count])
    np.testing.assert_array_equal(tags["channel"], model.channels[:count])
    assert min(tables[:2]) >= 2, "photons renewed the tables of the two detectors"


def test_every_hit_is_counted(bench: Recorded) -> None:
    """The counters of all channels are the numbers of hits that they were given; no hit went without a table."""
    device = LabDevice(bench, NODE)
    counters = device.counters()
    light = [step.hits for step in bench.steps if step.hits is not None and step.start_clock >= bench.start_clock]
    before = np.concatenate([hits.ticks for hits in light]) >> 13 < counters["clock"] - 16
    given = np.bincount(np.concatenate([hits.channels for hits in light])[before], minlength=8)
    for channel in range(bench.options.channels):
        assert abs(counters[f"seen_{channel}"] - given[channel]) <= 1  # one may be in the delay line's pipeline
        assert counters[f"uncalibrated_{channel}"] == 0
    assert counters["seen_0"] > 200
    assert counters["virtual_0"] > 20


def test_calibration_is_read_from_the_device(bench: Recorded) -> None:
    with LabDevice(bench, NODE) as device:
        channels = read_calibration(device, channels=[0, 1])
    for channel in channels:
        assert not channel.faults
        (chain,) = channel.chains
        for line in chain:
            assert line.hits > 1 << (STEP - 2)


def test_devices_of_a_bench() -> None:
    with open_device("bench:hbt?seconds=0.002&seed=5") as device:
        assert device.identity().node.name == "TIMETAGGER"
        assert device.identity().clock_hz == CLOCK_HZ
        found = [batch.get(Stream.TAG) for batch in device.batches()]
        tags = sum(len(part["time_ticks"]) for part in found if part is not None)
        assert tags > 100
    with pytest.raises(DeviceError, match="neither a preset"):
        open_device("bench:nothing")
    with pytest.raises(DeviceError, match="merge is 'two'; allowed: 'one' or 'wide'"):
        open_device("bench:hbt?merge=two")
    with pytest.raises(DeviceError, match="taps is 464; allowed from 448 on at 2 lanes"):
        open_device("bench:hbt?taps=464")
    with pytest.raises(DeviceError, match="seed and taps are whole numbers"):
        open_device("bench:hbt?taps=many")
    with pytest.raises(DeviceError, match="seed-370km is a lab; taps are of benches only"):
        open_device("lab:seed-370km?taps=512")
    with pytest.raises(DeviceError, match="seed-370km is a lab; merge is of benches only"):
        open_device("lab:seed-370km?merge=wide")
    with pytest.raises(DeviceError, match="names the node alice; allowed: tagger"):
        open_device("bench:hbt?node=alice")


def test_a_bench_with_more_channels_than_the_node() -> None:
    options = TaggerOptions(channels=2, frontend="delay line", lanes=2)
    with pytest.raises(ValueError, match="channel reference is number 2; allowed: 0 to 1"):
        VirtualBench(load_bench("pairs"), options=options, progress=False)
