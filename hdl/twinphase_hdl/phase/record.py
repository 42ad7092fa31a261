"""A register that holds a record until the packer takes it."""

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.types import record_words
from twinphase_spec import packets


class RecordRegister(wiring.Component):
    """Holds one record of a stream that is offered for one clock only.

    Parameters
    ----------
    record : packets.Stream
        The stream, whose RECORD_WORDS give the layout.

    Members
    -------
    i, i_valid : In(record words), In(1)
        A record, offered for one clock.
    o : Out(stream of 32-bit words)
    o_lost : Out(1)
        Strobe: a record was offered while the one before it had not been taken; the new one is lost, the held one stays.

    Latency: `latency` = 1 clock. Throughput: one record per two clocks.
    """

    def __init__(self, *, record: packets.Stream) -> None:
        if record not in packets.RECORD_WORDS:
            raise ValueError(
                f"RecordRegister: stream {record!r} has no fixed record; allowed: {list(packets.RECORD_WORDS)}"
            )
        layout = record_words(record)
        super().__init__(
            {
                "i": In(layout),
                "i_valid": In(1),
                "o": Out(stream.Signature(layout)),
                "o_lost": Out(1),
            }
        )

    @property
    def latency(self) -> int:
        """Clocks from offer to o.valid."""
        return 1

    def elaborate(self, platform) -> Module:
        m = Module()
        with m.If(self.o.valid):
            m.d.comb += self.o_lost.eq(self.i_valid)
            with m.If(self.o.ready):
                m.d.sync += self.o.valid.eq(0)
        with m.Elif(self.i_valid):
            m.d.sync += [self.o.payload.eq(self.i), self.o.valid.eq(1)]
        return m
