"""Formal proofs of the reveal path, and wrong exchanges and tables that they must reject."""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from exchange_proof import PADS, OrderProof, Script, SecrecyProof
from rejection import rejected, wrong
from sby import run_proof

from twinphase_hdl.sift import exchange
from twinphase_spec.rules import SNS, rule_tables
from twinphase_spec.sns import Kind

BLOCKS = {"runs": 20, "clocks": 90}
"""A block that is not held up takes less."""


def entries(draw: random.Random, proof: OrderProof | SecrecyProof) -> Callable[[Any], None]:
    """Entries of the ring, none missing."""

    def step(context: Any) -> None:
        context.set(proof.recalled.as_value(), draw.getrandbits(10) & ~(1 << 9))
        context.set(proof.other.as_value(), draw.getrandbits(10))

    return step


def refused(proof: OrderProof | SecrecyProof) -> bool:
    """An assertion fails in one of some runs from reset with random entries of the ring."""
    return rejected(proof, entries, **BLOCKS)


def test_each_reveal_comes_after_what_must_precede_it() -> None:
    result = run_proof(OrderProof(), mode="prove", depth=4)
    assert result.status == "PASS", result.log[-2000:]


def test_z_intensities_stay_secret() -> None:
    result = run_proof(SecrecyProof(), mode="prove", depth=2)
    assert result.status == "PASS", result.log[-2000:]


OWN_TAG, TAG = ([(Kind.DIGEST_LOW, 0, pad & 0xFFFFFFFF), (Kind.DIGEST_HIGH, 0, pad >> 32)] for pad in PADS)
BOTH_Z = [*TAG, (Kind.TYPES, 0, 0), (Kind.DONE, 0, Kind.TYPES)]


@pytest.mark.parametrize(
    ("right", "instead", "script"),
    [
        (
            "agrees.eq(low_agrees & same_high.all())",
            "agrees.eq(same_high.all())",
            [(Kind.DIGEST_LOW, 0, TAG[0][2] ^ 1), TAG[1]],
        ),
        (
            "agrees.eq(low_agrees & same_high.all())",
            "agrees.eq(low_agrees)",
            [TAG[0], (Kind.DIGEST_HIGH, 0, TAG[1][2] ^ 1 << 31)],
        ),
        ("expected.eq(digest ^ peer_pad)", "expected.eq(digest ^ own_pad)", OWN_TAG),
        ('m.next = "GET"\n', 'm.next = "GET_DONE"\n', [*TAG, BOTH_Z[-1]]),
        ("same_block.all() & is_kind.all())", "same_block.all())", [*BOTH_Z[:-1], (Kind.DONE, 0, Kind.SLICE)]),
        ("Mux(kind == Kind.TYPES, Kind.INTENSITY, Kind.SLICE)", "Kind.SLICE", BOTH_Z),
    ],
)
def test_wrong_orders_are_rejected(right: str, instead: str, script: Script) -> None:
    """One that compares half of the tag only, takes its own tag, does not wait for types, takes any DONE, leaves out the intensities."""
    assert refused(OrderProof(wrong(exchange, "Exchange", right, instead), script=script))
    assert not refused(OrderProof(script=script))


@pytest.mark.parametrize(("late", "instead"), [("i_blocks", "no_block[1]"), ("i_recalled_blocks", "no_block[0]")])
def test_an_exchange_that_waits_for_half_is_rejected(late: str, instead: str) -> None:
    """It says its tag before the digest, or before the symbols are there."""
    early = wrong(exchange, "Exchange", "rests.eq(no_block)", f"rests.eq({instead})")
    assert refused(OrderProof(early, script=TAG, late=late))
    assert not refused(OrderProof(script=TAG, late=late))


def test_a_spoilt_block_that_goes_on_is_rejected() -> None:
    """Its tag is the digest's with bit 0 inverted, and it goes on where the peer's is as well."""
    script = [(Kind.DIGEST_LOW, 0, TAG[0][2] ^ 1), TAG[1]]
    goes_on = wrong(exchange, "Exchange", "same_low.all() & ~spoilt", "same_low.all()")
    assert refused(OrderProof(goes_on, script=script, spoilt=True))
    assert not refused(OrderProof(script=script, spoilt=True))


@pytest.mark.parametrize(
    ("rules", "script"),
    [
        ({"reveal": 0b1111}, BOTH_Z),
        ({"reveal": 0b1101}, BOTH_Z),
        ({"slice": (1 << 64) - 1}, [*BOTH_Z, (Kind.DONE, 0, Kind.INTENSITY)]),
    ],
)
def test_rules_that_tell_are_rejected(rules: dict[str, int], script: Script) -> None:
    """All intensities; those of Z windows beside Z windows; slices of Z windows."""
    tables = replace(rule_tables(SNS, "alice"), **rules)
    assert refused(SecrecyProof(tables, script=script))
    assert not refused(SecrecyProof(script=script))


def test_an_exchange_that_tells_is_rejected() -> None:
    telling = wrong(
        exchange, "Exchange", "value.eq(Cat(types[1:], own.x))", "value.eq(Cat(types[1:], own.x | own.intensity[1]))"
    )
    assert refused(SecrecyProof(exchange=telling, script=TAG))
