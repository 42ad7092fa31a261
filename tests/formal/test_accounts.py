"""Formal proof that every edge is accounted for at every clock, and wrong channels that it must reject."""

import pytest
from channel_accounts import ChannelAccounts
from sby import run_proof

from twinphase_hdl.timetag.input import InputChannel

pytestmark = pytest.mark.long


class ForgetsDivided(InputChannel):
    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.comb += self.o_divided.eq(0)
        return m


class CountsVetoedTwice(InputChannel):
    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.comb += self.o_dead.eq(self.dead_time.o_dead | self.dead_time.o_vetoed)
        return m


class ForgetsOverrun(InputChannel):
    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.comb += self.o_overrun.eq(0)
        return m


class IdleTooEarly(InputChannel):
    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.comb += self.o_idle.eq(~self.entry.o_busy & ~self.queue.o_busy)
        return m


class TakesUnasked(InputChannel):
    """Loses a tag that finds the merge busy."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.comb += self.queue.o.ready.eq(1)
        return m


WRONG = {ForgetsDivided: 1, CountsVetoedTwice: 1, ForgetsOverrun: 2, IdleTooEarly: 1, TakesUnasked: 1}
"""And the lanes with which it shows."""


@pytest.mark.parametrize("lanes", [1, 2])
def test_every_edge_is_accounted_for(lanes: int) -> None:
    result = run_proof(ChannelAccounts(lanes), mode="prove", depth=1)
    assert result.status == "PASS", result.log[-2000:]


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_accounts_are_rejected(wrong: type[InputChannel]) -> None:
    result = run_proof(ChannelAccounts(WRONG[wrong], wrong), mode="bmc", depth=16)
    assert result.status == "FAIL", result.log[-2000:]
