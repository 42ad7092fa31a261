"""Formal proof of the receiver of datagrams, and wrong receivers that it must reject."""

import pytest
from amaranth.hdl import Signal
from sby import run_proof
from udp_receiver_proof import UdpReceiverProof

from twinphase_hdl.link.udpreceiver import UdpReceiver

pytestmark = pytest.mark.long


class Forgetful(UdpReceiver):
    """Forgets what a flag of its should remember."""

    FLAG: str

    def __init__(self, **ports):
        super().__init__(**ports)
        setattr(self, self.FLAG, Signal(0))


class WithoutRoom(Forgetful):
    """Keeps a request of which a word found no room."""

    FLAG = "full"


class Believes(Forgetful):
    """Takes a header at its word about the length."""

    FLAG = "disagrees"


class Careless(Forgetful):
    """Sees a frame error only in the last word."""

    FLAG = "failed"


class BeginsElsewhere(UdpReceiver):
    """Takes the first datagram's first word for its second one."""

    def __init__(self, **ports):
        super().__init__(**ports)
        self.place = Signal(5, init=2)


class Tolerant(Forgetful):
    """Forgets that it is a write, and so keeps one that is too old."""

    FLAG = "o_writes"


def test_one_verdict_and_whole_requests() -> None:
    result = run_proof(UdpReceiverProof(), mode="prove", depth=2)
    assert result.status == "PASS", result.log[-3000:]


@pytest.mark.parametrize("wrong", [WithoutRoom, Believes, Careless, BeginsElsewhere, Tolerant])
def test_wrong_receivers_are_rejected(wrong: type[UdpReceiver]) -> None:
    result = run_proof(UdpReceiverProof(wrong, lemmas=False), mode="bmc", depth=12)
    assert result.status == "FAIL", result.log[-2000:]
