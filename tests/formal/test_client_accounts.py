"""Formal proofs that a client accounts for every herald, and wrong parts that they must reject."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from client_accounts import BLOCK, IntakeAccounts, PsiAccounts, SiftAccounts
from exchange_proof import PADS
from rejection import rejected, wrong
from sby import run_proof

from twinphase_hdl.sift import exchange, intake, verdict
from twinphase_spec.sns import Kind

TAG = PADS[1]
"""Bob's, of a digest that is 0."""
AGREED = [
    *((Kind.DIGEST_LOW, 0, TAG & 0xFFFFFFFF), (Kind.DIGEST_HIGH, 0, TAG >> 32), (Kind.TYPES, 0, 0)),
    *((Kind.DONE, 0, kind) for kind in (Kind.TYPES, Kind.INTENSITY, Kind.SLICE)),
]
"""A peer whose windows are all Z."""
DISCARDED = [AGREED[0], (Kind.DIGEST_HIGH, 0, TAG >> 32 ^ 1)]
BLOCKS = {"runs": 12, "clocks": 100}


def heralds(draw: random.Random, proof: IntakeAccounts | PsiAccounts) -> Callable[[Any], None]:
    """Records whose numbers rise, with gaps, some late and some too far ahead."""
    number, often = 0, draw.choice([1.0, 0.4])

    def step(context: Any) -> None:
        nonlocal number
        number += draw.choice([0, 0, 1, 1, 3])
        odd = draw.random()
        values = {
            "valid": draw.random() < often,
            "number": max(0, number - 5) if odd < 0.1 else number + 9000 if odd > 0.9 else number,
            **{"flush": draw.random() < 0.2, "flush_number": number, "ready": draw.random() < 0.8},
            **{"next": number + draw.choice([-1, 1]), "flushed": draw.random() < 0.3},
        }
        for name, value in values.items():
            if hasattr(proof, name):
                context.set(getattr(proof, name), value & 0xFFFFFFFF)

    return step


def entries(draw: random.Random, proof: SiftAccounts) -> Callable[[Any], None]:
    """Entries of the ring, those missing that the proof has drawn."""

    def step(context: Any) -> None:
        missing = context.get(proof.missing) >> (context.get(proof.place) % BLOCK) & 1
        context.set(proof.recalled.as_value(), draw.getrandbits(9) | missing << 9)
        context.set(proof.other.as_value(), draw.getrandbits(BLOCK))

    return step


@pytest.mark.long
@pytest.mark.parametrize("accounts", [IntakeAccounts, PsiAccounts])
def test_every_record_is_accounted_for(accounts: type[IntakeAccounts] | type[PsiAccounts]) -> None:
    result = run_proof(accounts(), mode="prove", depth=1)
    assert result.status == "PASS", result.log[-2000:]


@pytest.mark.long
def test_every_herald_of_an_agreed_block_is_counted_once() -> None:
    result = run_proof(SiftAccounts(), mode="prove", depth=3, registers=True)
    assert result.status == "PASS", result.log[-2000:]


def test_the_right_ones_pass() -> None:
    assert not rejected(IntakeAccounts(lemmas=False), heralds)
    assert not rejected(PsiAccounts(lemmas=False), heralds)
    for script in (AGREED, DISCARDED):
        assert not rejected(SiftAccounts(script=script), entries, **BLOCKS)


@pytest.mark.parametrize(
    ("right", "instead"),
    [
        ("self.o_late.eq(~flushing)", "self.o_late.eq(flushing)"),
        ("self.o_missing.eq(flushing | ~last)", "self.o_missing.eq(~last)"),
        ("self.o_taken.eq(~self.o_missing)", "self.o_taken.eq(last)"),
        ("self.o_next.eq(self.o_next + 1)", "self.o_next.eq(number + 1)"),
    ],
)
def test_wrong_intakes_are_rejected(right: str, instead: str) -> None:
    """Late ones that do not count, a flush that counts as a herald, or as both; numbers that are passed over."""
    assert rejected(IntakeAccounts(wrong(intake, "HeraldIntake", right, instead), lemmas=False), heralds)


@pytest.mark.parametrize(
    ("right", "instead"),
    [("self.o_taken.eq(last)", "self.o_taken.eq(1)"), ("found.eq(settle)", "found.eq(settle & last)")],
)
def test_wrong_psi_intakes_are_rejected(right: str, instead: str) -> None:
    """Skipped numbers that count as psi; or that get none."""
    assert rejected(PsiAccounts(wrong(intake, "PsiIntake", right, instead), lemmas=False), heralds)


@pytest.mark.parametrize(
    ("right", "instead", "script"),
    [
        ("self.o_verdict_valid.eq(verdict.o_done)", "self.o_verdict_valid.eq(verdict.o_done & ~last)", AGREED),
        ('m.State("SIFT"), m.If(ended):', 'm.State("SIFT"), m.If(consume):', AGREED),
        ("m.d.comb += self.o_discarded.eq(1)", "m.d.comb += self.o_agreed.eq(1)", DISCARDED),
        ("m.d.comb += self.o_agreed.eq(1)", "m.d.comb += self.o_agreed.eq(own.x)", AGREED),
    ],
)
def test_wrong_exchanges_are_rejected(right: str, instead: str, script: list[tuple[int, int, int]]) -> None:
    """The last herald not counted, or not sifted; a discarded block that counts as agreed; agreed ones that do not count."""
    assert rejected(SiftAccounts(wrong(exchange, "Exchange", right, instead), script=script), entries, **BLOCKS)


@pytest.mark.parametrize(
    ("right", "instead"),
    [
        ("with m.If(~own.missing):", "with m.If(1):"),
        ("next_result.counted.eq(1)", "next_result.counted.eq(known.z_record | known.x_record)"),
        ("known.x_record & in_slice & psi_valid", "~known.x_record"),
    ],
)
def test_wrong_verdicts_are_rejected(right: str, instead: str) -> None:
    """Missing heralds in cells; only those with a record in cells; kept ones without a record."""
    judge = wrong(exchange, "Exchange", "m.submodules.verdict", "m.submodules.verdict")
    judge.elaborate.__globals__["Verdict"] = wrong(verdict, "Verdict", right, instead)
    assert rejected(SiftAccounts(judge, script=AGREED), entries, **BLOCKS)
