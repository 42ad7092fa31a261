"""A datagram that comes goes back: the least that can sit behind an Ethernet core."""

from amaranth.hdl import Module, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import Out

from twinphase_hdl.link.udpport import ReceivedWord, UdpUserPort


class Echo(wiring.Component):
    """Answers one datagram at a time, of at most ``words``; drops those with an error and what comes meanwhile."""

    def __init__(self, words: int = 2304):
        self._words = words
        super().__init__({"port": Out(UdpUserPort())})

    def elaborate(self, platform):
        m = Module()
        source, sink = self.port.source, self.port.sink
        m.submodules.memory = store = memory.Memory(shape=32, depth=self._words, init=[])
        write, read = store.write_port(domain="net"), store.read_port(domain="net")
        count, place = Signal(range(self._words + 1)), Signal(range(self._words + 1))
        last = Signal(ReceivedWord)
        fits = Signal()
        m.d.comb += [
            fits.eq(count < self._words),
            *(write.addr.eq(count), write.data.eq(source.payload.data)),
            *(read.addr.eq(place), read.en.eq(1)),
            *(sink.payload.data.eq(read.data), sink.payload.last.eq(place + 1 == count)),
            sink.payload.last_be.eq(sink.payload.last.replicate(4) & last.last_be),
            *(sink.payload.length.eq(last.length), sink.payload.ip_address.eq(last.ip_address)),
            *(sink.payload.src_port.eq(last.dst_port), sink.payload.dst_port.eq(last.src_port)),
        ]
        with m.FSM(domain="net"):
            with m.State("TAKE"):
                m.d.comb += write.en.eq(source.valid & fits)
                with m.If(source.valid):
                    m.d.net += [count.eq(count + 1), last.eq(source.payload)]
                    with m.If(source.payload.last):
                        m.d.net += count.eq(0)
                        with m.If(fits & ~source.payload.error):
                            m.d.net += count.eq(count + 1)
                            m.next = "FIRST"
                    with m.Elif(~fits):
                        m.next = "DROP"
            with m.State("DROP"), m.If(source.valid & source.payload.last):
                m.d.net += count.eq(0)
                m.next = "TAKE"
            with m.State("FIRST"):
                m.next = "SEND"
            with m.State("SEND"):
                m.d.comb += sink.valid.eq(1)
                with m.If(sink.ready):
                    m.d.net += place.eq(place + 1)
                    m.d.comb += read.addr.eq(place + 1)
                    with m.If(sink.payload.last):
                        m.d.net += [place.eq(0), count.eq(0)]
                        m.next = "TAKE"
        return m
