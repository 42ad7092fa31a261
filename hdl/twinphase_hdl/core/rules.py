"""The stream contract as assertions: simulation and formal tools check them, synthesis drops them."""

from amaranth.hdl import Assert, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In


class StreamRules(wiring.Component):
    """Watches one stream: an offered word stays, valid and unchanged, until it is taken.

    ``valid & ~ready`` in one clock requires ``valid`` and the same payload in the next. An asserted reset ends the promise.

    Members
    -------
    i_payload : In(width); i_valid, i_ready : In(1) - the stream, seen from outside.
    i_release : In(1) - the source may withdraw its word in this clock (run = 0 and the like).
    """

    def __init__(self, width: int, name: str):
        self._name = name
        super().__init__({"i_payload": In(width), "i_valid": In(1), "i_ready": In(1), "i_release": In(1)})

    def elaborate(self, platform):
        m = Module()
        waiting = Signal()
        payload = Signal(len(self.i_payload))
        m.d.sync += [waiting.eq(self.i_valid & ~self.i_ready & ~self.i_release), payload.eq(self.i_payload)]
        with m.If(waiting):
            m.d.sync += Assert(self.i_valid, f"{self._name}: valid fell before the transfer")
            m.d.sync += Assert(self.i_payload == payload, f"{self._name}: the payload changed before the transfer")
        return m
