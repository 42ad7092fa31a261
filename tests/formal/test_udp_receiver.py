"""Formal proof of the receiver of datagrams, and wrong receivers that it must reject."""

import pytest
from amaranth.hdl import Const, Signal, ValueCastable, unsigned
from sby import run_proof
from udp_receiver_proof import UdpReceiverProof

from twinphase_hdl.link.udpreceiver import UdpReceiver
from twinphase_hdl.nodes.client import RECEIVED

pytestmark = pytest.mark.long


class Nothing(ValueCastable):
    """Reads 0, whatever is written to it."""

    def shape(self):
        return unsigned(1)

    def as_value(self):
        return Const(0, 1)

    def eq(self, value):
        return []

    def __invert__(self):
        return ~self.as_value()

    def __and__(self, other):
        return self.as_value() & other

    def __or__(self, other):
        return self.as_value() | other


class Forgetful(UdpReceiver):
    """Forgets what a flag of its should remember."""

    FLAG: str

    def __init__(self, **ports):
        super().__init__(**ports)
        setattr(self, self.FLAG, Nothing())


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


class Anywhere(UdpReceiver):
    """Takes a stream's packets at the register port as well."""

    def __init__(self, **ports):
        super().__init__(**ports)
        self._register_port = 0


class Crowded(Forgetful):
    """Keeps a packet of a stream of which a word found no room."""

    FLAG = "full"


@pytest.mark.parametrize("streams", [(), RECEIVED], ids=["requests", "streams"])
def test_one_verdict_and_whole_packets(streams) -> None:
    result = run_proof(UdpReceiverProof(streams=streams), mode="prove", depth=2)
    assert result.status == "PASS", result.log[-3000:]


@pytest.mark.parametrize("wrong", [WithoutRoom, Believes, Careless, BeginsElsewhere, Tolerant])
def test_wrong_receivers_are_rejected(wrong: type[UdpReceiver]) -> None:
    result = run_proof(UdpReceiverProof(wrong, lemmas=False), mode="bmc", depth=12)
    assert result.status == "FAIL", result.log[-2000:]


@pytest.mark.parametrize("wrong", [Crowded, Anywhere, Believes])
def test_wrong_receivers_of_streams_are_rejected(wrong: type[UdpReceiver]) -> None:
    """Of packets of streams alone: no request ever comes."""
    proof = UdpReceiverProof(wrong, streams=RECEIVED, lemmas=False, requests=False)
    result = run_proof(proof, mode="bmc", depth=12)
    assert result.status == "FAIL", result.log[-2000:]
