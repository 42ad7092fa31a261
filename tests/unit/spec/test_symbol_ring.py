"""Sizes of the ring of symbols, and labs whose heralds come back too late for it."""

from pathlib import Path

import pytest

import twinphase_spec
from twinphase_spec.lab import Lab, LabError, load_lab, parse_lab
from twinphase_spec.lab_symbols import recall_s
from twinphase_spec.symbol_ring import CODE_SYMBOL_BITS, RING_STEP, RING_SYMBOLS, VOID, RingConfig
from twinphase_spec.symbols import SLICES, Intensity

LABS = Path(twinphase_spec.__file__).parent / "labs"


def of_ring(name, more=""):
    text = (LABS / f"{name}.toml").read_text()
    return parse_lab(text.replace("[clients.alice]", f'[clients]\nsymbols = "qrng"\n{more}\n[clients.alice]', 1), name)


def test_the_default_holds_375_thousand_symbols():
    ring = RingConfig()
    assert ring.symbols == RING_SYMBOLS == 376_832
    assert ring.held_symbols == 376_704 > 375_000


@pytest.mark.parametrize("symbols", [0, RING_STEP - 8, 375_000, 33 * RING_STEP, -RING_STEP])
def test_other_sizes_are_refused(symbols):
    with pytest.raises(ValueError, match=rf"symbols is {symbols}; allowed: multiples of 16384 up to 524288"):
        RingConfig(symbols=symbols)


def test_void_is_no_symbol():
    codes = {x for x in (0, 1)} | {i << 4 | s for i in Intensity if i != Intensity.VAC for s in range(SLICES)}
    assert VOID not in codes
    assert max(codes) < 1 << CODE_SYMBOL_BITS


def test_a_short_lab_takes_symbols_from_a_qrng():
    lab = of_ring("metro-50km")
    assert lab.clients.symbols == "qrng"
    assert recall_s(lab) * lab.frame.pulse_rate_hz < RingConfig().held_symbols
    assert load_lab("metro-50km").clients.symbols == "aes"


def test_a_lab_whose_heralds_come_too_late_is_refused_with_both_numbers():
    with pytest.raises(
        LabError,
        match=r"up to 1\.976 ms after their pulses, 1975627 symbols; allowed: the 376704 that a ring of 376832",
    ):
        of_ring("seed-370km")


def test_the_ring_of_a_lab_may_be_smaller_if_it_holds_the_way():
    assert of_ring("metro-50km", "ring_symbols = 65536").clients.ring_symbols == 65536
    with pytest.raises(LabError, match="allowed: the 49024 that a ring of 49152"):
        of_ring("metro-50km", "ring_symbols = 49152")
    with pytest.raises(LabError, match="symbols is 50000; allowed: multiples of 16384"):
        of_ring("metro-50km", "ring_symbols = 50000")


def test_counter_mode_asks_nothing_of_the_ring():
    text = (LABS / "seed-370km.toml").read_text()
    parse_lab(text.replace("[clients.alice]", "[clients]\nring_symbols = 16384\n[clients.alice]", 1), "seed-370km")


def test_the_preset_is_its_base_but_for_its_symbols():
    lab, base = load_lab("metro-50km-qrng"), load_lab("metro-50km")
    told = {"name", "description", "sources", "assumed", "clients"}
    assert {key for key in Lab.model_fields if getattr(lab, key) != getattr(base, key)} <= told
    assert lab.clients == base.clients.model_copy(update={"symbols": "qrng"})
