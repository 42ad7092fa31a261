"""Formal proofs of the runs of live windows, and wrong ones that they must reject."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from live_proof import LENGTH_BITS, OFFSET, PULSE_BITS, RECOVERY_BITS, LiveProof
from rejection import rejected, wrong
from run_records_proof import RecordsProof
from sby import run_proof

from twinphase_hdl.sift import live, runrecords


def clicks(draw: random.Random, proof: LiveProof) -> Callable[[Any], None]:
    """Clicks in order, at steps about R, without silence."""
    recovery, followed = draw.randrange(1, 1 << RECOVERY_BITS), draw.randrange(24)
    pulse, early, started = draw.randrange(4), True, 0
    density = draw.choice([1.0, 1.0, 0.4])

    def step(context: Any) -> None:
        nonlocal pulse, early, started
        started += 1
        here, move = (
            draw.random() < density,
            draw.choice([0, 0, 0, 1, 1, recovery, recovery, recovery + 1, draw.randrange(9)]),
        )
        context.set(proof.valid, 0)
        if here and started > 3 and pulse + move < (1 << PULSE_BITS) - OFFSET:
            early = draw.random() < 0.5 and (early or move > 0)
            pulse += move
            context.set(proof.valid, 1)
        for name, value in (("pulse", pulse), ("early", early), ("signal", draw.random() < 0.8)):
            context.set(getattr(proof, name), value)
        context.set(proof.recovery, recovery)
        context.set(proof.followed, followed)
        context.set(proof.ready, draw.random() < 0.8)

    return step


def runs(draw: random.Random, proof: RecordsProof) -> Callable[[Any], None]:
    """Runs at any time, taken at any time."""
    density, speed, beyond = draw.choice([1.0, 0.3]), draw.choice([1.0, 0.3]), draw.randrange(1, 5)

    def step(context: Any) -> None:
        context.set(proof.valid, draw.random() < density)
        context.set(proof.ready, draw.random() < speed)
        context.set(proof.mark, draw.random() < 0.5)
        context.set(proof.beyond, beyond)
        context.set(proof.pulse, draw.getrandbits(PULSE_BITS))
        context.set(proof.length, draw.randrange(OFFSET + 1, 1 << LENGTH_BITS))

    return step


@pytest.mark.long
def test_runs_say_what_the_judgements_say() -> None:
    result = run_proof(LiveProof(), mode="prove", depth=2, registers=True)
    assert result.status == "PASS", result.log[-2000:]


@pytest.mark.parametrize(
    ("right", "instead"),
    [
        ("dead | early[-1]", "dead"),
        ("dead | early[-1]", "early[-1]"),
        ("high.any() | less[near_bits:].any()", "less[near_bits:].any()"),
        ("pulse[3][half:] - low[half]", "pulse[3][half:]"),
        ("~extends | total[-1]", "~extends"),
        ("Mux(extends, distance, fresh)", "fresh"),
        ("Mux(early[2], beyond, recovery)", "recovery"),
    ],
)
def test_wrong_runs_are_rejected(right: str, instead: str) -> None:
    """One that forgets an early click, a pulse that was dead, far clicks, borrows, lengths, where a run goes on, R + 1."""
    assert rejected(LiveProof(wrong(live, "LiveWindows", right, instead), lemmas=False), clicks)


def test_right_ones_pass() -> None:
    assert not rejected(LiveProof(lemmas=False), clicks)
    assert not rejected(RecordsProof(lemmas=False), runs)


@pytest.mark.long
def test_every_run_leaves_once_in_order() -> None:
    result = run_proof(RecordsProof(), mode="prove", depth=2, registers=True)
    assert result.status == "PASS", result.log[-2000:]


@pytest.mark.parametrize(
    ("right", "instead"),
    [
        ("self.i_valid & ~level[-1]", "self.i_valid"),
        ("back[half:].as_signed() - low[half]", "back[half:].as_signed()"),
        ("back[half:].as_signed()", "back[half:]"),
        ("pop.eq(waits & ~halfway & ~ready_next)", "pop.eq(waits & ~halfway)"),
    ],
)
def test_wrong_records_are_rejected(right: str, instead: str) -> None:
    """One that overwrites when full, forgets a borrow or a sign, takes the next run too soon."""
    assert rejected(RecordsProof(wrong(runrecords, "RunRecords", right, instead), lemmas=False), runs)
