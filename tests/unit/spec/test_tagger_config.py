"""Tagger files: faults are sentences that name the key, the value and what is allowed; what is accepted fits the registers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from twinphase.device import register_words
from twinphase_sim.model.timetag.timetagger import coincidence_settings, input_settings, selector_settings
from twinphase_spec.packets import Stream
from twinphase_spec.registers import TIMETAGGER, TIMETAGGER_CHANNELS, Access
from twinphase_spec.tagger_config import TAGGER_FILE, TaggerError, load_tagger, parse_tagger, tagger_registers

TEXT = """
name = "all"
description = "everything is used"
filter_window_ps = 1000.0
walk_shift = 12

[[channels]]
number = 0
name = "laser"
edge = "falling"

[[channels]]
number = 2
name = "photon"
delay_ps = -1250.0
dead_time_ns = 20.0
veto = { from_ns = 20.0, to_ns = 45.0 }
divider = 3
gate = { by = "laser", from_ns = 1.0, to_ns = 50.0 }
filter = [0, "ch5"]
walk_ps = [100.0, -50.0]

[[channels]]
number = 5

[[channels]]
number = 7
name = "spare"
enabled = false

[pulser]
channels = ["ch5"]
period_ns = 1000.0
offset_ps = 500.0

[time_window]
channels = ["photon"]
from_s = 0.5
until_s = 10.0

[[coincidences]]
channels = ["photon", "ch5"]
window_ps = 2000.0

[calibration]
source = ["laser"]
hold = [2]
shared = true
step = 20
last = 24
"""
NUMBERS = re.compile(r"(\w+) = (-?\d[\d.e+-]*)")
EXTREMES = ("-1", "0", "0.0", "1e-300", "3.7", "1", "33", "1e9", "1e18", "1e300", "inf", "nan", '"far"', "[]", "true")


def changed(old: str, new: str) -> str:
    assert old in TEXT
    return TEXT.replace(old, new, 1)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('by = "laser"', 'by = "photon"', "channel photon: gate.by names the channel itself; allowed: another channel"),
        ('by = "laser"', "by = 2", "channel photon: gate.by names the channel itself"),
        ('filter = [0, "ch5"]', "filter = [0, 2]", "channel photon: filter names the channel itself; allowed: another"),
        ('by = "laser"', 'by = "lasre"', "gate.by names 'lasre', which is not a channel of this file; allowed: laser (0),"),
        ('filter = [0, "ch5"]', "filter = [1]", "channel photon: filter names 1, which is not a channel"),
        ('filter = [0, "ch5"]', "filter = [true]", "channels.1.filter.0"),
        ('by = "laser"', 'by = "spare"', "channel photon: gate.by names 'spare', which is not enabled; allowed: laser (0)"),
        ("filter_window_ps = 1000.0", "filter_window_ps = -1.0", "filter_window_ps is -1.0; allowed: greater than or equal to 0"),
        ("window_ps = 1000.0", "window_ps = 4.1e6", "filter_window_ps is 4100000.0; allowed: less than or equal to 4095999.02"),
        ("filter_window_ps = 1000.0", "", "channel photon: filter needs filter_window_ps, which is 0; allowed: above 0"),
        ("window_ps = 2000.0", "window_ps = -2000.0", "coincidences.0.window_ps is -2000.0; allowed: greater than or equal to 0"),
        ("from_ns = 1.0, to_ns = 50.0", "from_ns = 51.0, to_ns = 50.0", "gate: from_ns is 51 and to_ns is 50; allowed: from_ns"),
        ("to_ns = 45.0", "to_ns = 20.0", "channels.1.veto: from_ns is 20 and to_ns is 20; allowed: from_ns below to_ns"),
        ("to_ns = 50.0", "to_ns = 140000.0", "channels.1.gate.to_ns is 140000.0; allowed: less than or equal to 131072"),
        ("until_s = 10.0", "until_s = 0.25", "time_window: from_s is 0.5 and until_s is 0.25; allowed: from_s below until_s"),
        ("delay_ps = -1250.0", "delay_ps = 2.1e6", "channels.1.delay_ps is 2100000.0; allowed: less than or equal to 2047999.02"),
        ("dead_time_ns = 20.0", "dead_time_ns = 1e5", "channels.1.dead_time_ns is 100000.0; allowed: less than or equal to 65535.999"),
        ("divider = 3", "divider = 0", "channels.1.divider is 0; allowed: greater than or equal to 1"),
        ("divider = 3", "divider = 65536", "channels.1.divider is 65536; allowed: less than 65536"),
        ("walk_ps = [100.0", "walk_ps = [2100.0", "channels.1.walk_ps.0 is 2100.0; allowed: less than or equal to 1999.02"),
        ("walk_shift = 12", "walk_shift = 21", "walk_shift is 21; allowed: less than or equal to 20"),
        ("period_ns = 1000.0", "period_ns = 1001.0", "pulser: period_ns is 1001; allowed: multiples of 8 ns"),
        ("period_ns = 1000.0", "period_ns = 8.0", "pulser.period_ns is 8.0; allowed: greater than or equal to 16"),
        ('["photon", "ch5"]', '["photon"]', "coincidences.0.channels is ['photon']; allowed: "),
        ('["photon", "ch5"]', '["photon", 2]', "coincidences.0.channels has fewer than two different channels; allowed: at least 2"),
        ('["photon", "ch5"]', '["photon", "ch4"]', "coincidences.0.channels names 'ch4', which is not a channel"),
        ('name = "photon"', 'name = "laser"', "channels: laser is given twice; allowed: every number and name once"),
        ("number = 2", "number = 5", "channels: 5 is given twice"),
        ("number = 2", "number = 32", "channels.1.number is 32; allowed: less than 32"),
        ("step = 20", "step = 25", "calibration: step is 25; allowed: at most last (24)"),
        ("hold = [2]", "hold = [3]", "calibration.hold names 3, which is not a channel of this file"),
        ('edge = "falling"', 'edge = "both"', "channels.0.edge is 'both'; allowed: 'rising' or 'falling'"),
        ("divider", "dividor", "channels.1.dividor is not a key of a tagger file; remove it or correct its spelling"),
        ("[pulser]", "[pulser", "is not valid TOML: "),
        ("[calibration]", 4 * "[[coincidences]]\nchannels = [2, 5]\nwindow_ps = 1.0\n" + "[calibration]", "coincidences is "),
    ],
)  # fmt: skip
def test_a_fault_is_named_with_key_value_and_what_is_allowed(old: str, new: str, says: str) -> None:
    with pytest.raises(TaggerError, match=r"^tagger my\.toml") as caught:
        parse_tagger(changed(old, new), "my.toml")
    lines = str(caught.value).splitlines()
    assert any(says in line for line in lines), str(caught.value)
    assert all(line.startswith("tagger my.toml") for line in lines)


def test_two_faults_are_two_sentences() -> None:
    text = changed('by = "laser"', 'by = "photon"').replace("hold = [2]", "hold = [9]")
    with pytest.raises(TaggerError) as caught:
        parse_tagger(text, "my.toml")
    assert len(str(caught.value).splitlines()) == 2


def test_every_setting_reaches_its_register() -> None:
    registers, memories = tagger_registers(parse_tagger(TEXT, "my.toml"), 8)
    assert {name for name in registers} | {"CAL_SELECT"} == {
        register.name for register in TIMETAGGER.registers if register.access == Access.RW
    }
    assert list(registers)[-1] == "CHANNEL_ENABLE"
    expected = {
        "CHANNEL_ENABLE": 0b100101, "EDGE": 1, "PULSER_MASK": 0b100000, "PULSER_PERIOD": 125, "PULSER_FINE": 512,
        "FILTER_WINDOW": 1024, "WINDOW_ENABLE": 4, "WINDOW_FROM": 512_000_000_000, "WINDOW_UNTIL": 10_240_000_000_000,
        "COINCIDENCE_MASK_0": 0b100100, "COINCIDENCE_WINDOW_0": 2048, "COINCIDENCE_MASK_1": 0, "WALK_SHIFT": 12,
        "CAL_SOURCE": 1, "CAL_HOLD": 4, "CAL_SHARED": 1, "CAL_STEP": 20, "CAL_LAST": 24, "CAL_RESET": 0,
        "STREAM_ENABLE": 1 << Stream.TAG | 1 << Stream.STATUS, "DIVIDER_0": 1,
    }  # fmt: skip
    assert {name: registers[name] for name in expected} == expected
    photon = input_settings(registers, memories, 2)  # what the model makes of them
    assert (photon.delay, photon.dead_time, photon.divider) == (-1280, 20480, 3)
    assert (photon.veto_from, photon.veto_to) == (20480, 46080)
    assert photon.walk.tolist() == [102, -51] + [0] * 62
    selector = selector_settings(registers, memories)
    assert (selector.gate_table[2], selector.gate_from[2], selector.gate_to[2]) == (0x80, 1024, 51200)
    assert selector.filter_mask.tolist() == [0, 0, 0b100001] + [0] * 29
    assert coincidence_settings(registers)[0].mask == 0b100100


def test_a_channel_beyond_the_device_is_refused() -> None:
    config = parse_tagger(TEXT, "my.toml")
    with pytest.raises(
        TaggerError, match=r"^tagger all: channel ch5 is number 5; allowed: 0 to 3, those of the device\n"
    ):
        tagger_registers(config, 4)
    with pytest.raises(TaggerError, match="the device has 16 channels; allowed: 1 to 8, those of the register map"):
        tagger_registers(config, 16)
    with pytest.raises(TaggerError, match="'far' is not a channel; allowed: laser, photon, ch5, spare"):
        config.number("far")


def assert_fits(text: str) -> None:
    registers, memories = tagger_registers(parse_tagger(text, "my.toml"), 8)
    for name, value in registers.items():
        register_words(TIMETAGGER[name], value, name)
    for name, words in memories.items():
        memory = TIMETAGGER.memory(name)
        assert len(words) == memory.words
        assert all(0 <= word < 1 << memory.width for word in words)
    for channel in range(TIMETAGGER_CHANNELS):
        input_settings(registers, memories, channel)
    selector_settings(registers, memories)


@pytest.mark.parametrize("value", EXTREMES)
def test_any_number_is_refused_in_sentences_or_fits_the_registers(value: str) -> None:
    refused = 0
    for found in NUMBERS.finditer(TEXT):
        text = TEXT[: found.start(2)] + value + TEXT[found.end(2) :]
        try:
            assert_fits(text)
        except TaggerError as error:
            refused += 1
            for line in str(error).splitlines():
                assert line.startswith("tagger "), line
                assert "allowed: " in line, line
    assert refused > 0


@pytest.mark.parametrize(
    "extreme",
    [
        ("delay_ps = -1250.0", "delay_ps = 2047999.0234375"),
        ("delay_ps = -1250.0", "delay_ps = -2048000.0"),
        ("dead_time_ns = 20.0", "dead_time_ns = 65535.9990234375"),
        ("to_ns = 50.0", "to_ns = 131072.0"),
        ("until_s = 10.0", "until_s = 1.8e7"),
        ("window_ps = 2000.0", "window_ps = 4095999.0234375"),
        ("walk_ps = [100.0, -50.0]", f"walk_ps = {[1999.0234375] * 32 + [-2000.0] * 32}"),
        ("period_ns = 1000.0", "period_ns = 34359738360.0"),
        ("offset_ps = 500.0", "offset_ps = 7999.0234375"),
    ],
)
def test_the_stated_limits_are_reached(extreme: tuple[str, str]) -> None:
    assert_fits(changed(*extreme))


@pytest.mark.parametrize("name", TAGGER_FILE.preset_names())
def test_presets_fit_a_device_of_four_channels(name: str) -> None:
    config = load_tagger(name)
    assert config.name == name
    registers, _ = tagger_registers(config, 4)
    assert registers["CHANNEL_ENABLE"].bit_count() >= 2


def test_a_file_that_cannot_be_read_lists_the_presets(tmp_path: Path) -> None:
    assert TAGGER_FILE.preset_names() == ["hbt", "pairs", "startstop"]
    with pytest.raises(TaggerError, match=r"^tagger [^\n]*my\.toml is neither a preset \(hbt, pairs, startstop\) nor"):
        load_tagger(tmp_path / "my.toml")
