"""From the pins to SI time: a Verilated tagger whose oscillator is off, its external reference, and what is measured with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import twinphase_spec
from twinphase import cli
from twinphase.measure.channel_rates import ChannelRates
from twinphase.measure.correlate import Bins
from twinphase.measure.discipline import DisciplinedTags
from twinphase.measure.histogram import Histogram
from twinphase.measure.reference import ReferenceClock
from twinphase_sim.lab.bench import NODE, VirtualBench
from twinphase_sim.lab.device import LabDevice
from twinphase_spec.bench import Bench, Periodic, Pulsed, load_bench
from twinphase_spec.registers import NodeType
from twinphase_spec.units import TICK_PS, TICKS_PER_SECOND, ps_to_ticks

PPM = 18.37
OFF_AT, HOLDOVER_S, SECONDS = 0.4, 0.2, 0.75
LATE_PS = 3500.0
"""From a laser pulse's trigger to its photon."""
PULSES_PS = 4 * 2e8
"""To the fourth pulse after it, at 5 kHz."""


def switched_off() -> Bench:
    """The preset with less light, its reference off from OFF_AT on."""
    bench = load_bench("reference")
    sources = []
    for source in bench.sources:
        if isinstance(source, Pulsed):
            source = source.model_copy(update={"rate_hz": 5e3})
        elif isinstance(source, Periodic) and source.channel == "reference":
            source = source.model_copy(update={"until_s": OFF_AT})
        sources.append(source)
    return bench.model_copy(update={"sources": tuple(sources)})


def test_a_disciplined_histogram_is_in_si_time_until_the_reference_is_away() -> None:
    """18 ppm of 800 us are 15 ns: without the reference no photon is in its bins, with it all are, in their picoseconds. The reference
    goes off: holdover, then absent, and no tag comes any more."""
    bins = Bins(low_ticks=ps_to_ticks(PULSES_PS + LATE_PS - 1000), width_ticks=8, count=256)
    raw, disciplined = (Histogram(start=0, stops=[1], bins=bins) for _ in range(2))
    rates = ChannelRates(node=NodeType.TIMETAGGER)
    stage = DisciplinedTags(ReferenceClock(clock_channel=2, divider=10_000, holdover_s=HOLDOVER_S))
    states, counted = [], []
    with LabDevice(VirtualBench(switched_off(), 5, progress=False), NODE, seconds=SECONDS) as device:
        for batch in device.batches():
            raw.update(batch)
            out = stage.update(batch)
            disciplined.update(out)
            rates.update(out)
            states.append(stage.reference.status)
            counted.append(stage.labelled)
    order = [state for state, before in zip(states, ["", *states[:-1]], strict=True) if state != before]
    assert order[-4:] == ["acquiring", "locked", "holdover", "absent"]
    absent = states.index("absent", states.index("holdover"))
    assert counted[absent] == counted[-1] > 0, "nothing is handed out when it is absent"
    assert stage.refused > 0
    assert "is absent: its last pulse came" in stage.sentence()
    fit = stage.reference.fit
    assert fit is not None
    # 5 sigma of the fit, whose pulses have 25 ps, and the bins' errors of a first calibration (10 ps over 0.4 s)
    assert abs(fit.offset - PPM * 1e-6) < 5 * fit.offset_sigma + 1e-10
    counts = disciplined.counts[0]
    assert raw.counts.sum() <= 3, "dark counts"
    assert counts.sum() > 100
    mean = (counts @ bins.centres_ticks / counts.sum() - ps_to_ticks(PULSES_PS)) * TICK_PS
    # 43 ps rms of trigger and photon / sqrt(100), 5 sigma, and the bins of a first calibration
    assert mean == pytest.approx(LATE_PS, abs=40)
    assert rates.stream.live_s == pytest.approx(OFF_AT + HOLDOVER_S, abs=0.06)
    assert rates.counts[0] / rates.stream.live_s == pytest.approx(1000, rel=0.01)


@pytest.mark.long
def test_the_whole_way_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The preset with less light through `record`, then `measure` on the recording: state, labels and a histogram in SI time."""
    preset = Path(twinphase_spec.__file__).parent / "benches" / "reference.toml"
    text = preset.read_text(encoding="utf-8")
    assert "rate_hz = 2e5" in text
    (tmp_path / "dim.toml").write_text(text.replace("rate_hz = 2e5", "rate_hz = 5e3"), encoding="utf-8")
    folder = str(tmp_path / "run")
    assert cli.main(["record", f"bench:{tmp_path / 'dim.toml'}?seconds=2.2&seed=2", "--out", folder]) == 0
    capsys.readouterr()
    clock = ["--clock", "2", "--divider", "10000", "--pps", "3", "--first-second", "60"]
    histogram = [
        "histogram",
        "--start",
        "0",
        "--stop",
        "1",
        "--bin-ps",
        "10",
        "--from-ns",
        "800002.5",
        "--range-ns",
        "2",
    ]

    def measured(*options: str) -> dict[str, Any]:
        assert cli.main(["measure", folder, *options, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    state = measured("reference", *clock)["result"]
    assert state["status"] == "locked"
    assert state["offset"] == pytest.approx(PPM * 1e-6, abs=1e-10)
    assert state["pps"]["labelled"]
    assert state["pps"]["last_second"] == 62
    raw, shown = measured(*histogram)["result"], measured(*histogram, *clock)
    assert shown["reference"]["status"] == "locked"
    assert shown["reference"]["tags"]["held"] == 0
    result = shown["result"]
    assert result["live_s"] == pytest.approx(2.2, abs=0.1)
    # The first of a pulse's photons is seen, 3 ps before their mean; 33 ps rms / sqrt(500); bins of a first calibration.
    assert result["mean_ps"][0] == pytest.approx(PULSES_PS + LATE_PS - 3, abs=25)
    assert result["counted"][0] > 500
    assert raw["counted"][0] <= 3, "dark counts: 18 ppm of 800 us are 15 ns"


@pytest.mark.long
def test_two_boards_on_one_bench_share_their_labels() -> None:
    """The same signals at two taggers, +18 and -18 ppm, each with its own jitter, delay lines and calibration: the trigger's times agree
    in SI ticks."""
    found = []
    sigma = 0.0
    for ppm in (PPM, -PPM):
        bench = load_bench("reference").model_copy(update={"clock_ppm": ppm})
        sources = tuple(source for source in bench.sources if isinstance(source, Periodic))
        bench = bench.model_copy(update={"sources": sources})
        stage = DisciplinedTags(ReferenceClock(clock_channel=2, divider=10_000, pps_channel=3))
        times = []
        with LabDevice(VirtualBench(bench, round(ppm) % 7, progress=False), NODE, seconds=2.2) as device:
            for batch in [*map(stage.update, device.batches()), stage.finish()]:
                times += [
                    tag for tags in batch.records.values() for tag in tags["time_ticks"][tags["channel"] == 0].tolist()
                ]
        sigma = float(np.hypot(sigma, stage.origin_sigma_s or np.inf))
        found.append(np.array(times) + stage.origin_correction_s * TICKS_PER_SECOND)
    count = min(map(len, found))
    assert count > 2100
    late = (found[1][-count:] - found[0][-count:]) * TICK_PS
    late -= 1e9 * np.rint(late / 1e9)  # the two runs end some pulses apart
    assert abs(late.mean()) < 5e12 * sigma + 20
    assert late.std() < 60
