"""Formal proofs of the reveal path, and wrong exchanges and tables that they must reject."""

import inspect
from dataclasses import replace

import pytest
from exchange_proof import OrderProof, SecrecyProof
from sby import run_proof

from twinphase_hdl.sift import exchange
from twinphase_hdl.sift.exchange import Exchange
from twinphase_spec.rules import SNS, rule_tables

pytestmark = pytest.mark.long

STEPS = 60
"""From reset to the last reveal of a block, and some more."""


def wrong(right: str, instead: str) -> type[Exchange]:
    """An exchange with other code in one place."""
    source = inspect.getsource(exchange)
    assert source.count(right) == 1, f"{right} occurs {source.count(right)} times"
    names = {"__name__": exchange.__name__, "__package__": exchange.__package__}
    exec(compile(source.replace(right, instead), exchange.__file__, "exec"), names)
    return names["Exchange"]  # type: ignore[return-value]


def test_each_reveal_comes_after_what_must_precede_it() -> None:
    result = run_proof(OrderProof(), mode="prove", depth=5)
    assert result.status == "PASS", result.log[-2000:]


def test_z_intensities_stay_secret() -> None:
    result = run_proof(SecrecyProof(), mode="prove", depth=3)
    assert result.status == "PASS", result.log[-2000:]


@pytest.mark.parametrize(
    ("right", "instead"),
    [
        ("with m.If(heralds_agree & same_psi.all()):", "with m.If(same_psi.all()):"),
        ('m.next = "GET"\n', 'm.next = "GET_DONE"\n'),
        ("same_block.all() & is_kind)", "same_block.all())"),
        ("Mux(kind == Kind.TYPES, Kind.INTENSITY, Kind.SLICE)", "Kind.SLICE"),
    ],
)
def test_wrong_orders_are_rejected(right: str, instead: str) -> None:
    result = run_proof(OrderProof(wrong(right, instead), lemmas=False), mode="bmc", depth=STEPS)
    assert result.status == "FAIL", result.log[-2000:]


@pytest.mark.parametrize("rules", [{"reveal": 0b1111}, {"slice": (1 << 64) - 1}, {"reveal": 0b1101}])
def test_rules_that_tell_are_rejected(rules: dict[str, int]) -> None:
    """All intensities, slices of Z windows, intensities of Z windows beside Z windows."""
    tables = replace(rule_tables(SNS, "alice"), **rules)
    result = run_proof(SecrecyProof(tables, lemmas=False), mode="bmc", depth=STEPS)
    assert result.status == "FAIL", result.log[-2000:]


def test_an_exchange_that_tells_is_rejected() -> None:
    telling = wrong("value.eq(Cat(types[1:], own.x))", "value.eq(Cat(types[1:], own.x | own.intensity[1]))")
    result = run_proof(SecrecyProof(exchange=telling, lemmas=False), mode="bmc", depth=STEPS)
    assert result.status == "FAIL", result.log[-2000:]
