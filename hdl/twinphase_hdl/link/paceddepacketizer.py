"""The depacketizer of parts whose logic is slow."""

from amaranth.hdl import Module, Signal, Value

from .depacketizer import Depacketizer


class PacedDepacketizer(Depacketizer):
    """As `Depacketizer`, behind a `Stage`: words come three clocks apart, so what follows from one is known from a register."""

    def _known(self, m: Module, flag: Value) -> Value:
        known = Signal()
        m.d.sync += known.eq(flag)
        return known
