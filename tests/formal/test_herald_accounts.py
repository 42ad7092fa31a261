"""Formal proof that every click of a SIG slot is accounted for up to its herald, and wrong parts that it must reject."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from herald_accounts import BEHIND, PULSE_BITS, RECOVERY_BITS, HeraldAccounts
from rejection import rejected, wrong
from sby import run_proof

from twinphase_hdl.sift import herald, live


def clicks(draw: random.Random, proof: HeraldAccounts) -> Callable[[Any], None]:
    """Clicks of both detectors at every rate, refused at times."""
    recovery, pulse, early = draw.randrange(1 << RECOVERY_BITS), 0, True
    density, refuse, ready = draw.choice([1.0, 0.5, 0.1]), draw.choice([0.0, 0.5]), draw.choice([1.0, 0.1])

    def step(context: Any) -> None:
        nonlocal pulse, early
        move = draw.choice([0, 0, 1, 2, recovery + 1, 8])
        early = draw.random() < 0.3 and (early or move > 0)
        pulse = min(pulse + move, (1 << PULSE_BITS) - 1)
        values = {
            **{"valid": draw.random() < density, "pulse": pulse, "early": early, "recovery": recovery},
            **{"channel": draw.choice([0, 1, 0, 1, 2, 3]), "gated": draw.random() < 0.9, "signal": draw.random() < 0.9},
            **{"refuse": draw.random() < refuse, "ready": draw.random() < ready},
        }
        for name, value in values.items():
            context.set(getattr(proof, name), value)

    return step


@pytest.mark.long
def test_every_click_is_accounted_for() -> None:
    result = run_proof(HeraldAccounts(), mode="prove", depth=1)
    assert result.status == "PASS", result.log[-2000:]


def test_the_right_ones_pass() -> None:
    assert not rejected(HeraldAccounts(lemmas=False), clicks)


@pytest.mark.parametrize(
    ("right", "instead"),
    [
        ("self.o_unjoined.eq(judged & ~multiple & ~room)", "self.o_unjoined.eq(judged & ~multiple & full)"),
        ("self.o_multiple.eq(judged & multiple)", "self.o_multiple.eq(judged & more)"),
        ("self.o_heralds.eq(judged & ~multiple & room)", "self.o_heralds.eq(judged & room)"),
        ("holding & Mux(arrived, ~same, over)", "holding & ~arrived & over"),
        ("clicked.eq(kept & is_signal)", "clicked.eq(kept)"),
        ("with m.If(arrived & holding & same):", "with m.If(arrived & holding & same & ~more):"),
    ],
)
def test_wrong_finders_are_rejected(right: str, instead: str) -> None:
    """One that forgets who is refused, takes a later pulse for several, one pulse for two things, drops a held pulse,
    counts clicks of other slots, takes the third click for the first of another pulse."""
    assert rejected(HeraldAccounts(finder=wrong(herald, "HeraldFinder", right, instead), lemmas=False), clicks)


@pytest.mark.parametrize(
    ("right", "instead"),
    [
        ("valid[_JUDGED] & counts[_JUDGED] & is_dead", "valid[_JUDGED] & is_dead"),
        ("valid[_JUDGED] & counts[_JUDGED] & is_dead", "counts[_JUDGED] & is_dead"),
    ],
)
def test_wrong_judges_are_rejected(right: str, instead: str) -> None:
    """One that counts clicks of other slots, or one click for ever."""
    assert rejected(HeraldAccounts(live=wrong(live, "LiveWindows", right, instead), lemmas=False), clicks)


def test_a_judgement_out_of_step_is_rejected() -> None:
    assert rejected(HeraldAccounts(behind=BEHIND - 1, lemmas=False), clicks)
