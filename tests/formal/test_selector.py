"""Formal proofs of the selector and its two parts, gate and filter, and wrong ones that they must reject.

That the selector's counts add up at every clock, and what the gate does, is shown by induction. That the filter keeps tags and their
order is bounded: `STEPS` clocks from reset, in which its lookahead can fill and tags pass and are left out; longer runs are left to
property tests.
"""

from unittest import mock

import pytest
from filter_proof import FilterProof
from gate_proof import GateProof
from sat import run_sat
from selector_accounts import STEPS as ACCOUNT_STEPS
from selector_accounts import SelectorAccounts

from twinphase_hdl.timetag import filter as filter_module
from twinphase_hdl.timetag.filter import Filter
from twinphase_hdl.timetag.gate import Gate
from twinphase_hdl.timetag.selector import Selector

pytestmark = pytest.mark.long

STEPS = 14


class GatesTwice(Gate):
    """The strobe follows tags that passed, too."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.comb += self.o_gated.eq(~self.o_idle)
        return m


class NamesAnotherChannel(Filter):
    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.sync += self.o_filtered_channel.eq(0)
        return m


class LeavesOutInSilence(Filter):
    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.sync += self.o_filtered.eq(0)
        return m


class LosesWhatIsNotTaken(Filter):
    def elaborate(self, platform):
        m = super().elaborate(platform)
        with m.If(self.o.valid & ~self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        return m


class IsIdleTooEarly(Filter):
    """While tags wait in the lookahead."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.comb += self.o_idle.eq(~self.o.valid & ~self.o_filtered & ~self.i_valid)
        return m


NO_MARGIN = {"ENTRY_DEPTH": 4, "ROOM_MARGIN": 0}


class AlwaysHasRoom(Filter):
    def __init__(self, *, channels: int, depth: int):
        with mock.patch.multiple(filter_module, **NO_MARGIN):
            super().__init__(channels=channels, depth=depth)

    def elaborate(self, platform):
        with mock.patch.multiple(filter_module, **NO_MARGIN):
            return super().elaborate(platform)


WRONG = (NamesAnotherChannel, LeavesOutInSilence, LosesWhatIsNotTaken, IsIdleTooEarly, AlwaysHasRoom)


def test_gate_sends_on_or_says_so() -> None:
    result = run_sat(GateProof(), mode="prove", steps=4)
    assert result.status == "PASS", result.log[-2000:]


def test_a_wrong_gate_is_rejected() -> None:
    result = run_sat(GateProof(GatesTwice(channels=GateProof.CHANNELS)), mode="bmc", steps=6)
    assert result.status == "FAIL", result.log[-2000:]


def test_filter_decides_each_tag_once_and_in_order() -> None:
    result = run_sat(FilterProof(), mode="bmc", steps=STEPS)
    assert result.status == "PASS", result.log[-2000:]


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_filters_are_rejected(wrong: type[Filter]) -> None:
    result = run_sat(FilterProof(wrong(channels=2, depth=4)), mode="bmc", steps=STEPS)
    assert result.status == "FAIL", result.log[-2000:]


def test_every_tag_in_a_selector_is_accounted_for() -> None:
    result = run_sat(SelectorAccounts(), mode="prove", steps=ACCOUNT_STEPS)
    assert result.status == "PASS", result.log[-2000:]


class ForgetsGated(Selector):
    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.sync += self.o_gated.eq(self.gate.o_gated & ~self.o_filtered)
        return m


def with_filter(wrong: type[Filter]) -> type[Selector]:
    class WithFilter(Selector):
        def __init__(self, *, channels: int, depth: int):
            super().__init__(channels=channels, depth=depth)
            self.filter = wrong(channels=channels, depth=depth)

    return WithFilter


@pytest.mark.parametrize(
    "wrong", [ForgetsGated, *map(with_filter, (LeavesOutInSilence, LosesWhatIsNotTaken, IsIdleTooEarly, AlwaysHasRoom))]
)
def test_wrong_selectors_are_rejected(wrong: type[Selector]) -> None:
    result = run_sat(SelectorAccounts(wrong), mode="bmc", steps=STEPS)
    assert result.status == "FAIL", result.log[-2000:]
