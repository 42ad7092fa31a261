"""Symbol generator, symbols and modulator codes against a scalar transcription of the spec."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinphase_sim.model.sift.symbols import CHUNK_PULSES, decode, modulator_codes, symbol_bits, symbols
from twinphase_spec.frame import FrameConfig, SlotClass, slot_byte
from twinphase_spec.symbols import Intensity, Level, SymbolConfig

WORD = st.integers(0, 2**32 - 1)
KEY = st.tuples(WORD, WORD, WORD, WORD)


def scalar_bits(key: tuple[int, int, int, int], n: int) -> int:
    mask = 2**32 - 1
    x, y = n >> 32, n & mask
    for i in range(8):
        x = ((((x >> 8) | (x << 24)) + y) & mask) ^ ((key[i % 4] + i) & mask)
        y = (((y << 3) | (y >> 29)) & mask) ^ x
    return x << 32 | y


@given(key=KEY, pulses=st.lists(st.integers(0, 2**56 - 1), max_size=20))
def test_bits_equal_the_rounds_of_the_spec(key: tuple[int, int, int, int], pulses: list[int]) -> None:
    assert symbol_bits(key, np.array(pulses, dtype=np.uint64)).tolist() == [scalar_bits(key, n) for n in pulses]


def test_bits_do_not_depend_on_chunks_or_shape() -> None:
    pulses = np.arange(2 * CHUNK_PULSES + 7, dtype=np.uint64)
    bits = symbol_bits((1, 2, 3, 4), pulses)
    assert bits[-1] == scalar_bits((1, 2, 3, 4), int(pulses[-1]))
    assert (symbol_bits((1, 2, 3, 4), pulses[:8].reshape(2, 4)).reshape(-1) == bits[:8]).all()


@given(
    bits=st.integers(0, 2**64 - 1),
    z=st.integers(0, 65535),
    send=st.integers(0, 65535),
    levels=st.tuples(st.integers(0, 65535), st.integers(0, 65535)),
)
def test_decode(bits: int, z: int, send: int, levels: tuple[int, int]) -> None:
    vac, mu1 = sorted(levels)
    config = SymbolConfig(key=(0, 0, 0, 0), z_threshold=z, send_threshold=send, vac_threshold=vac, mu1_threshold=mu1)
    drawn = decode(config, np.array([bits], dtype=np.uint64))
    type_draw, level_draw, phase = bits & 0xFFFF, bits >> 16 & 0xFFFF, bits >> 32 & 0xFF
    if type_draw >= z:
        intensity = Intensity.VAC if level_draw < vac else Intensity.MU_1 if level_draw < mu1 else Intensity.MU_2
        expected = (True, False, intensity, phase >> 4, phase & 0xF0)
    else:
        sent = level_draw < send
        expected = (False, sent, Intensity.MU_Z if sent else Intensity.VAC, phase >> 4, phase)
    assert (drawn.x[0], drawn.send[0], drawn.intensity[0], drawn.slice[0], drawn.phase[0]) == expected


def test_frequencies_are_those_of_the_thresholds() -> None:
    """1e6 draws: 5 sigma of a frequency is below 0.0025; a false alarm has probability 6e-7 per bound."""
    config = SymbolConfig(
        key=(9, 8, 7, 6), z_threshold=32768, send_threshold=16384, vac_threshold=6554, mu1_threshold=58982
    )
    drawn = symbols(config, np.arange(1_000_000, dtype=np.uint64))
    assert abs(drawn.x.mean() - 0.5) < 0.0025
    assert abs(drawn.send[~drawn.x].mean() - 0.25) < 0.0035
    assert abs((drawn.intensity[drawn.x] == Intensity.VAC).mean() - 0.1) < 0.0025
    assert np.abs(np.bincount(drawn.slice) / 1e6 - 1 / 16).max() < 0.0015


TABLE = tuple(slot_byte(q, r) for q, r in zip(SlotClass, reversed(SlotClass), strict=True))
FRAME = FrameConfig(period_q32=8192 << 32, slot_pulses=3, table=TABLE, frames_per_window=1024, windows_per_dwindow=2)
CONFIG = SymbolConfig(
    key=(1, 2, 3, 4), z_threshold=30000, send_threshold=20000, vac_threshold=9000, mu1_threshold=40000
)


def scalar_code(slot_class: int, role: str, quantum: bool, pulse: int) -> int:
    if slot_class == SlotClass.SIG and quantum:
        drawn = symbols(CONFIG, np.array([pulse], dtype=np.uint64))
        return int(drawn.intensity[0]) << 8 | int(drawn.phase[0])
    if SlotClass.REF0 <= slot_class <= SlotClass.REF3:
        return Level.REF << 8 | ((slot_class - SlotClass.REF0) * 64 if role == "alice" else 0)
    if slot_class == (SlotClass.REF_A if role == "alice" else SlotClass.REF_B):
        return Level.REF << 8
    return 0


@settings(max_examples=30)
@given(first=st.integers(0, 2**56 - 100), role=st.sampled_from(["alice", "bob"]))
def test_modulator_codes(first: int, role: str) -> None:
    pulses = first + np.arange(2 * FRAME.frame_pulses, dtype=np.uint64)
    q, r = modulator_codes(FRAME, role, CONFIG, pulses)  # type: ignore[arg-type]
    for i, n in enumerate(pulses.tolist()):
        entry = TABLE[n % FRAME.frame_pulses // 3]
        assert q[i] == scalar_code(entry & 15, role, True, n)
        assert r[i] == scalar_code(entry >> 4, role, False, n)


def test_unknown_role_is_refused() -> None:
    with pytest.raises(ValueError, match="role is 'eve'; allowed"):
        modulator_codes(FRAME, "eve", CONFIG, np.zeros(1, dtype=np.uint64))  # type: ignore[arg-type]
