"""Key stream against published vectors, symbols and modulator codes against a scalar transcription of the spec."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinphase_sim.model.sift.symbols import decode, key_stream, modulator_codes, symbol_words, symbols
from twinphase_spec.frame import FrameConfig, SlotClass, slot_byte
from twinphase_spec.symbols import BOUNDS, Intensity, Level, SymbolConfig

WORD = st.integers(0, 2**32 - 1)
KEY = st.tuples(WORD, WORD, WORD, WORD)
RISING = st.tuples(*[st.integers(0, 4096)] * 4).map(lambda bounds: dict(zip(BOUNDS, sorted(bounds), strict=True)))
HALF = {"sent_below": 1024, "z_below": 2048, "vacuum_below": 2253, "mu1_below": 3891}
SP800_KEY = (0x2B7E1516, 0x28AED2A6, 0xABF71588, 0x09CF4F3C)


def config(key: tuple[int, int, int, int] = (1, 2, 3, 4), nonce: int = 0, **bounds: int) -> SymbolConfig:
    return SymbolConfig(key=key, nonce=nonce, **(HALF | bounds))


def test_key_stream_is_counter_mode() -> None:
    """SP 800-38A, F.5.1: plain text plus cipher text of four counter blocks; FIPS-197, C.1 as a counter block of its own."""
    key = config(SP800_KEY).key_bytes
    first = 0xF8F9FAFBFCFDFEFF
    blocks = key_stream(key, 0xF0F1F2F3F4F5F6F7, np.uint64(first) + np.arange(4, dtype=np.uint64))
    plain = bytes.fromhex(
        "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
        "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
    )
    cipher = bytes(a ^ b for a, b in zip(blocks.tobytes(), plain, strict=True))
    assert cipher.hex() == (
        "874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff"
        "5ae4df3edbd5d35e5b4f09020db03eab1e031dda2fbe03d1792170a0f3009cee"
    )
    block = key_stream(bytes(range(16)), 0x0011223344556677, np.array([0x8899AABBCCDDEEFF], dtype=np.uint64))
    assert block.tobytes().hex() == "69c4e0d86a7b0430d8cdb78070b4c55a"


@given(
    key=KEY,
    nonce=st.integers(0, 2**64 - 1),
    pulses=st.lists(st.integers(0, 2**56 - 1) | st.integers(0, 40), max_size=20),
)
def test_a_pulse_has_its_two_bytes_of_the_stream(key: tuple[int, int, int, int], nonce: int, pulses: list[int]) -> None:
    drawn = config(key, nonce)
    expected = []
    for n in pulses:
        block = key_stream(drawn.key_bytes, nonce, np.array([n // 8], dtype=np.uint64))[0]
        expected.append(int(block[n % 8 * 2]) << 8 | int(block[n % 8 * 2 + 1]))
    assert symbol_words(drawn, np.array(pulses, dtype=np.uint64)).tolist() == expected


def test_words_keep_the_shape_of_the_pulses() -> None:
    pulses = np.arange(8, dtype=np.uint64)
    assert (symbol_words(config(), pulses.reshape(2, 4)).reshape(-1) == symbol_words(config(), pulses)).all()


@given(word=st.integers(0, 2**16 - 1), bounds=RISING)
def test_decode(word: int, bounds: dict[str, int]) -> None:
    drawn = decode(config(**bounds), np.array([word], dtype=np.uint16))
    u, phase = divmod(word, 16)
    if u < bounds["sent_below"]:
        expected = (False, True, Intensity.MU_Z)
    elif u < bounds["z_below"]:
        expected = (False, False, Intensity.VAC)
    elif u < bounds["vacuum_below"]:
        expected = (True, False, Intensity.VAC)
    elif u < bounds["mu1_below"]:
        expected = (True, False, Intensity.MU_1)
    else:
        expected = (True, False, Intensity.MU_2)
    assert (drawn.x[0], drawn.send[0], drawn.intensity[0]) == expected
    assert (drawn.slice[0], drawn.phase[0]) == (phase, 16 * phase)


@given(bounds=RISING)
def test_probabilities_are_the_shares_of_all_words(bounds: dict[str, int]) -> None:
    drawn = decode(config(**bounds), np.arange(1 << 16, dtype=np.uint16))
    for (x, intensity), probability in config(**bounds).probabilities().items():
        assert ((drawn.x == x) & (drawn.intensity == intensity)).mean() == probability
    assert (drawn.send == (drawn.intensity == Intensity.MU_Z)).all()


def test_frequencies_are_those_of_the_bounds() -> None:
    """1e6 draws: 5 sigma of a frequency is below 0.0025; a false alarm has probability 6e-7 per bound."""
    drawn = symbols(config((9, 8, 7, 6), 5), np.arange(1_000_000, dtype=np.uint64))
    for (x, intensity), probability in config().probabilities().items():
        assert abs(((drawn.x == x) & (drawn.intensity == intensity)).mean() - probability) < 0.0025
    assert np.abs(np.bincount(drawn.slice) / 1e6 - 1 / 16).max() < 0.0015


TABLE = tuple(slot_byte(q, r) for q, r in zip(SlotClass, reversed(SlotClass), strict=True))
FRAME = FrameConfig(period_q32=8192 << 32, slot_pulses=3, table=TABLE, frames_per_window=1024, windows_per_dwindow=2)
CONFIG = config(sent_below=700, z_below=1900, vacuum_below=2300, mu1_below=3000)


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


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"key": (1, 2, 3, 1 << 32)}, "key is not usable; allowed: 4 words of 32 bits"),
        ({"nonce": 1 << 64}, f"nonce is {1 << 64}; allowed: 0 to 2\\^64 - 1"),
        ({"z_below": 1000}, r"z_below is 1000; allowed: 1024 to 4096"),
        ({"mu1_below": 4097}, r"mu1_below is 4097; allowed: 2253 to 4096"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(values: dict[str, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SymbolConfig(**({"key": (1, 2, 3, 4)} | HALF | values))  # type: ignore[arg-type]
