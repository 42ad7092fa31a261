"""The actuator of a lab file: registers, table, what light sees, and faults by name."""

from __future__ import annotations

import numpy as np
import pytest

from twinphase_spec.actuator import TABLE_ENTRIES, WORD_BITS
from twinphase_spec.configure import server_memories, server_registers
from twinphase_spec.lab import LabError, load_lab, parse_lab
from twinphase_spec.lab_actuator import actuator_drive, light_delay_clocks, modulator_turns
from twinphase_spec.registers import SERVER


def test_a_lab_without_one_sets_nothing() -> None:
    lab = load_lab("seed-370km")
    assert lab.actuator is None
    assert not any(name.startswith("ACT_") for name in server_registers(lab, 1 << 16))
    assert "ACT_TABLE" not in server_memories(lab)
    for function in (actuator_drive, modulator_turns):
        with pytest.raises(ValueError, match=r"lab seed-370km has no actuator; give it an \[actuator\] table"):
            function(lab)


def test_registers_and_memory() -> None:
    lab = load_lab("seed-370km-locked")
    registers = server_registers(lab, 1 << 16)
    for name, value in registers.items():
        assert not name.startswith("ACT_") or 0 <= value < 1 << SERVER[name].width, name
    assert registers["ACT_LOCK"] == 1 << 13  # 45 degrees
    assert registers["ACT_DELAY"] == light_delay_clocks(lab) == 250
    assert registers["ACT_SLEW"] == int(2e4 * 4 / 125e6 * 2**32)
    assert (registers["ACT_SEEK"], registers["ACT_CONTROL"]) == (0, 1)
    assert registers["ACT_LOW"] + 65536 < registers["ACT_HIGH"] <= registers["ACT_TOP"]
    table = server_memories(lab)["ACT_TABLE"]
    assert len(table) == TABLE_ENTRIES
    assert max(table) < 1 << WORD_BITS


@pytest.mark.parametrize("sign", [1, -1])
def test_light_sees_the_position(sign: int) -> None:
    """Table and modulator undo each other: the code for position x takes off x turns, to half a code."""
    lab = parse_lab(f'base = "seed-370km-locked"\nname = "x"\n[actuator]\nsign = {sign}\nlock_deg = -90.0\n', "my.toml")
    assert lab.actuator is not None
    assert server_registers(lab, 1 << 16)["ACT_LOCK"] == 3 << 14
    turns, loaded = modulator_turns(lab), actuator_drive(lab)
    positions = np.arange(0, loaded.window.top / 65536, 1 / 512)
    codes = (np.array(loaded.words[: positions.size]) + (1 << WORD_BITS - 13)) >> WORD_BITS - 12
    half_a_code = np.abs(np.diff(turns)).max() / 2
    assert np.abs(turns[codes] - positions).max() < 1.01 * half_a_code + 1e-5
    assert half_a_code < 2e-4


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("dac_bits = 9", "actuator.dac_bits"),
        ("v_pi = 0.0", "V_pi is 0"),
        ("v_high = -1.0", "v_low below v_high"),
        ("slew_turns_per_s = 1e9", "slew_turns_per_s is 1e"),
        ("settle_us = 1e6", "settle_s is 1"),
        ("sign = 2", "actuator.sign"),
        ("v_high = 7.0", "the modulator has"),
        ("nonlinearity = [-0.06]", "turns back at"),
        ("colour = 1", "actuator.colour"),
        (
            "seek_turns_per_s = 2.1e4",
            r"seek_turns_per_s is 21000; allowed: 0, or 0\.0291 to 20000, no faster than the slew",
        ),
        ("seek_turns_per_s = 0.01", "seek_turns_per_s is 0.01; allowed: 0"),
    ],
)
def test_faults_are_named(text: str, words: str) -> None:
    with pytest.raises(LabError, match=words):
        parse_lab(f'base = "seed-370km-locked"\nname = "x"\n[actuator]\n{text}\n', "my.toml")
