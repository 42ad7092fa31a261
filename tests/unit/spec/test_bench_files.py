"""Bench files: faults are sentences that name the key, the value and what is allowed; every preset can be set up."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from twinphase_sim.physics.bench import BenchPhysics
from twinphase_spec.bench import BENCH_FILE, BenchError, Emitter, load_bench, parse_bench
from twinphase_spec.tagger_config import tagger_registers

TEXT = """
name = "all"
description = "everything is used"
tagger = "pairs"

[[sources]]
kind = "poisson"
rate_hz = 1000.0
to = { signal = 0.5, 1 = 0.25 }

[[sources]]
kind = "pulsed"
rate_hz = 1e5
photons = 0.5
offset_ps = -20.0
jitter_ps = 30.0
lifetime_ns = 2.0
to = { signal = 1.0 }

[[sources]]
kind = "emitter"
excitation_hz = 1e4
lifetime_ns = 8.0
to = { idler = 1.0 }

[[sources]]
kind = "pairs"
rate_hz = 900.0
to = ["signal", 1]
efficiencies = [0.5, 0.25]
jitter_ps = 10.0

[[sources]]
kind = "periodic"
rate_hz = 1e3
channel = "reference"
offset_ps = 25.0
jitter_ps = 20.0

[[detectors]]
channel = "signal"
efficiency = 0.8
dark_hz = 50.0
dead_time_ns = 40.0
jitter_ps = 35.0
offset_ps = 500.0
afterpulse_probability = 0.02
afterpulse_delay_ns = 70.0

[[detectors]]
channel = "idler"
dead_time_ns = 40.0
"""
NUMBERS = re.compile(r"(\w+) = (-?\d[\d.e+-]*)")
EXTREMES = ("-1", "0", "1e-300", "3.7", "1", "33", "1e9", "1e300", "inf", "nan", '"far"', "[]", "true")
MILLISECOND = 125_000


def changed(old: str, new: str) -> str:
    assert old in TEXT
    return TEXT.replace(old, new, 1)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('tagger = "pairs"', 'tagger = "pears"', "tagger: tagger pears is neither a preset (hbt, pairs, startstop) nor"),
        ("signal = 0.5, 1 = 0.25", "signal = 0.9, 1 = 0.25", "sources.0.poisson: to adds up to 1.15; allowed: at most 1"),
        ("signal = 0.5", "signals = 0.5", "sources.0.to names 'signals', which is not an enabled channel of the tagger; allowed: sig"),
        ("signal = 0.5", "reference = 0.5", "sources.0.to lights channel 2, which has no detector; allowed: channels with a"),
        ("photons = 0.5", "photons = -0.5", "sources.1.pulsed.photons is -0.5; allowed: greater than or equal to 0"),
        ("photons = 0.5", "photons = 90.0\nx = 1", "sources.1.pulsed.x is not a key of a bench file"),
        ("rate_hz = 1e5\nphotons = 0.5", "rate_hz = 1e9\nphotons = 2.0", "rate_hz times photons is 2e+09; allowed: at most 1e+08"),
        ("lifetime_ns = 8.0", "lifetime_ns = 0.0", "sources.2.emitter.lifetime_ns is 0.0; allowed: greater than 0"),
        ('to = ["signal", 1]', 'to = ["idler", 1]', "sources.3.to has one channel twice; allowed: two different channels"),
        ("efficiencies = [0.5, 0.25]", "efficiencies = [1.5, 0.25]", "sources.3.pairs.efficiencies.0 is 1.5; allowed: less than"),
        ('channel = "reference"', 'channel = "idler"', "sources.4.channel is 1, which has another signal or a detector; allowed: a"),
        ('channel = "reference"', "channel = 7", "sources.4.channel names 7, which is not an enabled channel of the tagger"),
        ("rate_hz = 1e3", "rate_hz = 6e7", "sources.4.periodic.rate_hz is 60000000.0; allowed: less than or equal to 50000000"),
        ("rate_hz = 1e3\nchannel", "rate_hz = 5e7\njitter_ps = 800.0\nchannel", "is not valid TOML"),
        ("offset_ps = 25.0\njitter_ps = 20.0", "jitter_ps = 9e4\noffset_ps = 2e6", "sources.4.periodic.offset_ps is 2000000.0; allowed"),
        ('kind = "emitter"', 'kind = "laser"', "sources.2.kind is 'laser'; allowed: 'poisson', 'pulsed', 'emitter', 'thermal', 'pa"),
        ('kind = "emitter"\n', "", "sources.2.kind is missing; give it a value"),
        ('channel = "signal"\n', 'channel = "idler"\n', "detectors.1.channel is 'idler', which has a detector; allowed: one per chan"),
        ("dead_time_ns = 40.0", "dead_time_ns = 8.0", "detectors.0.dead_time_ns is 8.0; allowed: greater than or equal to 16"),
        ("afterpulse_probability = 0.02", "afterpulse_probability = 1.0", "probability is 1.0; allowed: less than or equal to 0.5"),
        ("dead_time_ns = 40.0\njitter", "jitter", "detectors.0.dead_time_ns is missing; give it a value"),
    ],
)  # fmt: skip
def test_a_fault_is_named_with_key_value_and_what_is_allowed(old: str, new: str, says: str) -> None:
    with pytest.raises(BenchError, match=r"^bench my\.toml") as caught:
        parse_bench(changed(old, new), "my.toml")
    lines = str(caught.value).splitlines()
    assert any(says in line for line in lines), str(caught.value)
    assert all(line.startswith("bench my.toml") for line in lines)


def test_fast_signals_may_not_jitter_into_each_other() -> None:
    fast = changed("rate_hz = 1e3", "rate_hz = 5e7").replace("offset_ps = 25.0\njitter_ps = 20.0", "jitter_ps = 800.0")
    with pytest.raises(BenchError, match=r"sources\.4\.periodic: jitter_ps is 800; allowed: at most 750 at this rate"):
        parse_bench(fast, "my.toml")


def test_a_slow_clock_brings_edges_closer() -> None:
    fast = changed("rate_hz = 1e3", "rate_hz = 5e7").replace("offset_ps = 25.0\njitter_ps = 20.0", "jitter_ps = 750.0")
    assert parse_bench("clock_ppm = 100.0\n" + fast, "my.toml").clock_ppm == 100
    with pytest.raises(BenchError, match=r"sources\.4: jitter_ps is 750; allowed: at most 749\.95 at this rate"):
        parse_bench("clock_ppm = -100.0\n" + fast, "my.toml")
    with pytest.raises(BenchError, match=r"clock_ppm is -101\.0; allowed: greater than or equal to -100"):
        parse_bench("clock_ppm = -101.0\n" + fast, "my.toml")


def test_a_second_signal_on_a_pin_is_refused() -> None:
    second = '[[sources]]\nkind = "periodic"\nrate_hz = 1.0\nchannel = 2\n'
    with pytest.raises(BenchError, match=r"sources\.5\.channel is 2, which has another signal or a detector"):
        parse_bench(TEXT + second, "my.toml")


def test_what_a_file_says() -> None:
    bench = parse_bench(TEXT, "my.toml")
    assert (bench.number("idler"), bench.number(0), bench.tagger.name) == (1, 0, "pairs")
    assert bench.detector(2) is None
    with pytest.raises(BenchError, match="bench all: channel names 'far', which is not an enabled channel"):
        bench.number("far")
    emitter = next(source for source in bench.sources if isinstance(source, Emitter))
    assert emitter.rate_hz == pytest.approx(1 / (1 / 1e4 + 8e-9))
    inline = changed('tagger = "pairs"', "") + '[tagger]\nname = "own"\ndescription = ""\n' + "".join(
        f'[[tagger.channels]]\nnumber = {i}\nname = "{name}"\n' for i, name in enumerate(("signal", "idler", "reference"))
    )  # fmt: skip
    assert parse_bench(inline, "my.toml").tagger.name == "own"
    with pytest.raises(BenchError, match=r"bench my\.toml: tagger\.channels\.0\.number is -4; allowed: greater"):
        parse_bench(inline.replace("number = 0", "number = -4"), "my.toml")


@pytest.mark.parametrize("value", EXTREMES)
def test_any_number_is_refused_in_sentences_or_can_be_drawn(value: str) -> None:
    refused = 0
    for found in NUMBERS.finditer(TEXT):
        text = TEXT[: found.start(2)] + value + TEXT[found.end(2) :]
        try:
            BenchPhysics(parse_bench(text, "my.toml"), 1).edges(MILLISECOND // 4)
        except BenchError as error:
            refused += 1
            for line in str(error).splitlines():
                assert line.startswith("bench my.toml"), line
                assert "allowed: " in line or "give it" in line or "remove it" in line, line
    assert refused > 0


@pytest.mark.parametrize("name", BENCH_FILE.preset_names())
def test_presets_fit_a_device_of_four_channels(name: str) -> None:
    bench = load_bench(name)
    assert bench.name == name
    tagger_registers(bench.tagger, 4)
    assert len(BenchPhysics(bench, 1).edges(MILLISECOND)) > 50


def test_a_file_that_cannot_be_read_lists_the_presets(tmp_path: Path) -> None:
    assert BENCH_FILE.preset_names() == ["hbt", "pairs", "reference", "startstop"]
    with pytest.raises(
        BenchError, match=r"^bench [^\n]*my\.toml is neither a preset \(hbt, pairs, reference, startstop\) nor"
    ):
        load_bench(tmp_path / "my.toml")
