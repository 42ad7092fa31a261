"""Formal proof that no late copy of a write is executed, and wrong memories of writes that it must reject."""

import pytest
from amaranth.hdl import Signal
from sby import run_proof
from writes_proof import WritesProof

from twinphase_hdl.link.writes import Writes

pytestmark = pytest.mark.long


class Short(Writes):
    """Takes ids for new that are old."""

    def __init__(self, *, old_bits, **options):
        super().__init__(old_bits=old_bits - 1, **options)


class Shared(Writes):
    """Has one place for all."""

    def __init__(self, **options):
        super().__init__(**options)
        self.place = [Signal(1, name=f"place_{k}") for k in range(2)]


class Impersonal(Writes):
    """Looks at half the address."""

    def __init__(self, **options):
        super().__init__(**options)
        self.asks = Signal(1)


def test_no_copy_is_executed() -> None:
    result = run_proof(WritesProof(), mode="prove", depth=10, registers=True)
    assert result.status == "PASS", result.log[-3000:]


@pytest.mark.parametrize("wrong", [Short, Shared, Impersonal])
def test_wrong_ones_are_rejected(wrong: type[Writes]) -> None:
    result = run_proof(WritesProof(wrong, lemmas=False), mode="bmc", depth=28, registers=True)
    assert result.status == "FAIL", result.log[-2000:]
