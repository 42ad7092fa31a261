"""Table, codes and the whole actuator against the model; latency, bank switch and dither as promised."""

import numpy as np
import pytest
from drive_bench import TURN, held_values, play, wandering, window_settings
from hypothesis import example, given, settings
from hypothesis import strategies as st

from twinphase_hdl.drive.actuator import Actuator
from twinphase_hdl.drive.code import DacCode
from twinphase_hdl.drive.table import DriveTable
from twinphase_sim.model.drive.actuator import actuate
from twinphase_sim.model.drive.table import codes, look_up
from twinphase_sim.model.drive.target import TargetWords
from twinphase_spec.actuator import MAX_DAC_BITS, MIN_DAC_BITS, STEP_CLOCKS, TABLE_ENTRIES, WORD_BITS

EDGE_POSITIONS = [0, 1, (1 << 23) - 1, 1 << 23, (1023 << 23) - 1, 1023 << 23, (1 << 33) - 1, 1 << 32]
SETTING_BITS = ("ratio", "lock", "slew", "settle", "coast", "seek", "speed", "dither", "bank")


def random_tables(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A bank of any words at all, and one that rises."""
    return rng.integers(0, 1 << WORD_BITS, TABLE_ENTRIES), np.sort(rng.integers(0, 1 << WORD_BITS, TABLE_ENTRIES))


def writes(words: np.ndarray, bank: int, start: int, clocks: int) -> dict[str, np.ndarray]:
    """A word per clock from ``start`` on."""
    drive = {name: np.zeros(clocks, dtype=np.int64) for name in ("i_write", "i_address", "i_data")}
    at = slice(start, start + TABLE_ENTRIES)
    drive["i_write"][at] = 1
    drive["i_address"][at] = np.arange(TABLE_ENTRIES) + bank * TABLE_ENTRIES
    drive["i_data"][at] = words
    return drive


def test_table_equals_model_and_is_reloaded_while_it_runs() -> None:
    """Each bank is written while the other one is looked up; a lookup is from one bank as it was at its step."""
    rng = np.random.default_rng(4)
    first, second = random_tables(rng)
    loads = [(first, 0), (second, 1), (first[::-1].copy(), 0), (np.roll(second, 7), 1)]
    clocks = 1030 * len(loads) + 500
    drive = {name: np.zeros(clocks, dtype=np.int64) for name in ("i_write", "i_address", "i_data")}
    for k, (words, bank) in enumerate(loads):
        for name, values in writes(words, bank, 1030 * k, clocks).items():
            drive[name] |= values
    steps = clocks // STEP_CLOCKS
    position = np.where(rng.random(steps) < 0.2, rng.choice(EDGE_POSITIONS, steps), rng.integers(0, 1 << 33, steps))
    acting = (np.arange(clocks) - 8) // 1030 - 1  # the load that is looked up, from 8 clocks after it was over
    drive |= {"i_position": position.repeat(STEP_CLOCKS), "i_step": np.arange(clocks) % STEP_CLOCKS == 0}
    drive["i_bank"] = np.where(acting >= 0, acting & 1, 0)
    dut = DriveTable()
    clocks = STEP_CLOCKS * steps
    word = play(dut, {k: v[:clocks] for k, v in drive.items()}, ["o_word"], clocks)["o_word"]
    for n in range(0, steps - 2):
        load = acting[STEP_CLOCKS * n]
        if load >= 0:
            at = STEP_CLOCKS * n + dut.latency
            expected = look_up(position[n : n + 1], loads[load][0])[0]
            assert (word[at : at + STEP_CLOCKS] == expected).all(), (n, load)


@pytest.mark.parametrize("bits", range(MIN_DAC_BITS, MAX_DAC_BITS + 1, 2))
def test_codes_equal_model(bits: int) -> None:
    rng, clocks = np.random.default_rng(bits), 1500
    top = (1 << WORD_BITS) - 1
    word = held_values(rng, clocks, lambda n: rng.choice([0, 1, top, top - 1, *rng.integers(0, top, 5)], n), 20)
    dither = held_values(rng, clocks, lambda n: rng.integers(0, 2, n), 300)
    taken = rng.random(clocks) < held_values(rng, clocks, lambda n: rng.choice([1, 3, 10], n)) / 10
    seen = play(DacCode(bits=bits), {"i_word": word, "i_dither": dither, "i_taken": taken}, ["o_code"], clocks)
    np.testing.assert_array_equal(seen["o_code"], codes(word, dither.astype(bool), taken, bits=bits))


def test_dither_has_the_words_mean() -> None:
    """Of any stretch of codes taken, the sum is the words' to less than a code; without dither each one is within half a code."""
    for word in (1000, 123_457, (1 << WORD_BITS) - 300):
        taken = np.arange(8000) % 7 == 3
        sent = {d: codes(np.full(8000, word), np.full(8000, d), taken, bits=10)[taken][1:] for d in (False, True)}
        misses = np.cumsum(sent[True] - word / 256)
        assert misses.max() - misses.min() < 1
        assert (np.abs(sent[False] - word / 256) <= 0.5).all()


def by_clock(rng: np.random.Generator, clocks: int, hostile: bool, settle: int) -> dict[str, np.ndarray]:
    """All settings by clock."""
    return window_settings(rng, clocks, hostile=hostile, settle=settle) | {
        "ratio": held_values(rng, clocks, lambda n: rng.integers(-(1 << 31), 1 << 31, n), 500),
        "coast": held_values(rng, clocks, lambda n: rng.integers(0, 2, n)),
        "seek": held_values(rng, clocks, lambda n: rng.integers(0, 2, n)),
        "speed": held_values(rng, clocks, lambda n: rng.integers(0, 1 << 22, n)),
        "dither": held_values(rng, clocks, lambda n: rng.integers(0, 2, n)),
        "bank": held_values(rng, clocks, lambda n: rng.integers(0, 2, n)),
    }


def drive_of(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Inputs of the actuator from settings by clock."""
    drive = {f"i_settings.{name}": values[name] for name in SETTING_BITS}
    return drive | {f"i_settings.window.{name}": values[name] for name in ("low", "high", "top")}


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 1 << 30), hostile=st.booleans(), bits=st.integers(MIN_DAC_BITS, MAX_DAC_BITS))
@example(seed=7, hostile=False, bits=10)
def test_actuator_equals_model(seed: int, hostile: bool, bits: int) -> None:
    """Banks are loaded first, with the target at rest; then everything at once, losses included."""
    rng = np.random.default_rng(seed)
    banks = random_tables(rng)
    load, clocks = 2 * TABLE_ENTRIES + 16, 2 * TABLE_ENTRIES + 800
    values = by_clock(rng, clocks, hostile, settle=int(rng.choice([0, 3, 20])))
    running = np.arange(clocks) >= load
    values["dither"] *= running
    words = TargetWords(
        valid=running & (rng.random(clocks) < rng.choice([0.05, 0.5, 1.0])),
        phase=wandering(rng, clocks, rate=0.002, noise=0.001),
        locked=held_values(rng, clocks, lambda n: rng.random(n) < 0.7, 100).astype(bool),
    )
    slot = rng.random(clocks) < 0.2
    taken = rng.random(clocks) < rng.choice([0.02, 0.3, 1.0])
    drive = drive_of(values) | {"i.phase": words.phase, "i.locked": words.locked, "i_valid": words.valid}
    drive |= {"i_slot": slot, "i_taken": taken & running}
    for bank in (0, 1):
        for name, value in writes(banks[bank], bank, bank * TABLE_ENTRIES, clocks).items():
            drive[name] = drive.get(name, 0) | value
    names = ["code", "position", "acting", "blank", "held", "flyback", "blanked", "limited"]
    seen = play(Actuator(bits=bits, slope_log=6), drive, [f"o_{name}" for name in names], clocks)
    expected = actuate(words, values, slot, taken & running, banks, bits=bits, slope_log=6)
    for name in ("position", "acting", "blank", "held"):
        np.testing.assert_array_equal(seen[f"o_{name}"], getattr(expected, name), name)
    for name in ("flyback", "blanked", "limited"):
        np.testing.assert_array_equal(seen[f"o_{name}"], getattr(expected.positions, name), name)
    # Codes while the tables are being written are nobody's.
    np.testing.assert_array_equal(seen["o_code"][load:], expected.code[load:])


def test_actuator_latency() -> None:
    """From a word to its code ``latency`` clocks, and what it waits for a step."""
    for late in range(STEP_CLOCKS):
        dut = Actuator(bits=16)
        clocks, at = TABLE_ENTRIES + 120, TABLE_ENTRIES + 31 + late
        words = np.arange(TABLE_ENTRIES) << 8
        drive = writes(words, 0, 0, clocks) | {
            "i_settings.slew": (1 << 31) - 1,
            "i_settings.window.high": (1 << 17) - 1,
            "i_settings.window.top": (1 << 17) - 1,
            "i.phase": TURN // 4,
            "i.locked": 1,
            "i_valid": np.arange(clocks) == at,
            "i_taken": 1,
        }
        seen = play(dut, drive, ["o_code", "o_position", "o_acting"], clocks)
        new = 640 << 6  # a quarter of a turn above one turn: entry 640
        when = np.flatnonzero(seen["o_code"] == new)
        # A step takes the aim of the clock before a clock 0 modulo 4: scaled and held, 14 clocks behind the word.
        wait = (STEP_CLOCKS - 1 - (at + 14)) % STEP_CLOCKS
        assert when[0] == at + dut.latency + wait
        assert np.flatnonzero(seen["o_position"] == 5 << 14)[0] == when[0]
        assert np.flatnonzero(seen["o_acting"] == 5 << 14)[0] == when[0] + 1


def test_configuration() -> None:
    for bad in (9, 17):
        with pytest.raises(ValueError, match=f"DAC has {bad} bits; allowed: 10 to 16"):
            Actuator(bits=bad)
