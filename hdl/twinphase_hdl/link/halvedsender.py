"""The packet sender of parts whose carry chains are slow."""

from amaranth.hdl import Module, Signal, Value

from twinphase_hdl.core.add import add_in_halves

from .sender import PacketSender


class HalvedSender(PacketSender):
    """As `PacketSender`; packets are numbered in halves, done before the next header needs the number."""

    def _number_next(self, m: Module, sequence: Signal, sent: Value) -> None:
        add_in_halves(m, sequence, 1, sent)
