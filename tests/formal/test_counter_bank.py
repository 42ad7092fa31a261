"""Formal proof of the counter bank, and wrong banks that it must reject."""

from unittest import mock

import pytest
from amaranth.hdl import Signal
from counterbank_proof import STEPS, WIDTH, CounterBankProof
from sat import run_sat

from twinphase_hdl.core import counterbank
from twinphase_hdl.core.counterbank import CounterBank
from twinphase_hdl.core.shiftcount import counting

pytestmark = pytest.mark.long


class WaitsTooLong(CounterBank):
    """A sweep begins after more steps than an accumulator holds."""

    def __init__(self, **parameters):
        super().__init__(**parameters)
        self._patience = 15


class LosesTheCarry(CounterBank):
    """From the lower word to the higher one."""

    def elaborate(self, platform):
        with mock.patch.object(counterbank, "with_carry", lambda a, b, carry: (a + b)[: len(a)]):
            return super().elaborate(platform)


class CountsEverySecond(CounterBank):
    """A strobe right behind another is not counted."""

    def elaborate(self, platform):
        def deaf(m, state, step):
            before = Signal()
            m.d.sync += before.eq(step)
            counting(m, state, step & ~before)

        with mock.patch.object(counterbank, "counting", deaf):
            return super().elaborate(platform)


WRONG = {"waits": (WaitsTooLong, 24), "carry": (LosesTheCarry, 34), "strobes": (CountsEverySecond, 6)}


def test_every_step_is_accounted_for() -> None:
    """Induction over 14 clocks, more than a sweep has."""
    result = run_sat(CounterBankProof(), mode="prove", steps=14)
    assert result.status == "PASS", result.log[-2000:]


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_banks_are_rejected(wrong: str) -> None:
    make, steps = WRONG[wrong]
    bank = make(steps=STEPS, width=WIDTH)
    result = run_sat(CounterBankProof(bank), mode="bmc", steps=steps, skip=max(0, steps - 10))
    assert result.status == "FAIL", result.log[-2000:]


def test_a_step_lost_at_the_capture_is_noticed() -> None:
    result = run_sat(CounterBankProof(forgets=True), mode="bmc", steps=6)
    assert result.status == "FAIL", result.log[-2000:]
