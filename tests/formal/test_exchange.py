"""Formal proofs of the reveal path, and wrong exchanges and tables that they must reject."""

import inspect
import random
from dataclasses import replace
from typing import Any

import pytest
from amaranth.sim import Simulator
from exchange_proof import PADS, OrderProof, Script, SecrecyProof
from sby import run_proof

from twinphase_hdl.sift import exchange
from twinphase_hdl.sift.exchange import Exchange
from twinphase_spec.rules import SNS, rule_tables
from twinphase_spec.sns import Kind

RUNS, RUN_CLOCKS = 20, 80
"""A block that is not held up takes less."""


def wrong(right: str, instead: str) -> type[Exchange]:
    """An exchange with other code in one place."""
    source = inspect.getsource(exchange)
    assert source.count(right) == 1, f"{right} occurs {source.count(right)} times"
    names = {"__name__": exchange.__name__, "__package__": exchange.__package__}
    exec(compile(source.replace(right, instead), exchange.__file__, "exec"), names)
    return names["Exchange"]  # type: ignore[return-value]


@pytest.mark.long
def test_each_reveal_comes_after_what_must_precede_it() -> None:
    result = run_proof(OrderProof(), mode="prove", depth=4)
    assert result.status == "PASS", result.log[-2000:]


@pytest.mark.long
def test_z_intensities_stay_secret() -> None:
    result = run_proof(SecrecyProof(), mode="prove", depth=2)
    assert result.status == "PASS", result.log[-2000:]


OWN_TAG, TAG = ([(Kind.DIGEST_LOW, 0, pad & 0xFFFFFFFF), (Kind.DIGEST_HIGH, 0, pad >> 32)] for pad in PADS)
BOTH_Z = [*TAG, (Kind.TYPES, 0, 0), (Kind.DONE, 0, Kind.TYPES)]


@pytest.mark.parametrize(
    ("right", "instead", "script"),
    [
        (
            "with m.If(low_agrees & same_high.all()):",
            "with m.If(same_high.all()):",
            [(Kind.DIGEST_LOW, 0, TAG[0][2] ^ 1), TAG[1]],
        ),
        (
            "with m.If(low_agrees & same_high.all()):",
            "with m.If(low_agrees):",
            [TAG[0], (Kind.DIGEST_HIGH, 0, TAG[1][2] ^ 1 << 31)],
        ),
        ("expected.eq(self.i_digest ^ peer_pad)", "expected.eq(self.i_digest ^ own_pad)", OWN_TAG),
        ('m.next = "GET"\n', 'm.next = "GET_DONE"\n', [*TAG, BOTH_Z[-1]]),
        ("same_block.all() & is_kind)", "same_block.all())", [*BOTH_Z[:-1], (Kind.DONE, 0, Kind.SLICE)]),
        ("Mux(kind == Kind.TYPES, Kind.INTENSITY, Kind.SLICE)", "Kind.SLICE", BOTH_Z),
    ],
)
def test_wrong_orders_are_rejected(right: str, instead: str, script: Script) -> None:
    """One that compares half of the tag only, takes its own tag, does not wait for types, takes any DONE, leaves out the intensities."""
    assert rejected(OrderProof(wrong(right, instead), script=script))
    assert not rejected(OrderProof(script=script))


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
    assert rejected(SecrecyProof(tables, script=script))
    assert not rejected(SecrecyProof(script=script))


def test_an_exchange_that_tells_is_rejected() -> None:
    telling = wrong("value.eq(Cat(types[1:], own.x))", "value.eq(Cat(types[1:], own.x | own.intensity[1]))")
    assert rejected(SecrecyProof(exchange=telling, script=TAG))


def rejected(proof: OrderProof | SecrecyProof) -> bool:
    """An assertion fails in one of some runs from reset with random entries of the ring: a solver takes long to find one."""
    draw = random.Random(1)
    simulator = Simulator(proof)
    simulator.add_clock(8e-9)

    async def bench(context: Any) -> None:
        for _ in range(RUN_CLOCKS):
            context.set(proof.recalled.as_value(), draw.getrandbits(10) & ~(1 << 9))
            context.set(proof.other.as_value(), draw.getrandbits(10))
            await context.tick()

    simulator.add_testbench(bench)
    for run in range(RUNS):
        if run:
            simulator.reset()
        try:
            simulator.run()
        except AssertionError:
            return True
    return False
