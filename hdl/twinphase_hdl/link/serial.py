"""The link over a serial port: packets, CRC-32, SLIP, UART."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.types import Word, word_stream

from .crc import CrcAppender, CrcChecker
from .slip import FrameByte, SlipDecoder, SlipEncoder
from .spoiler import CrcSpoiler
from .stage import Stage
from .uart import UartReceiver, UartTransmitter


class SerialLink(wiring.Component):
    """Packets to and from a serial line, as `twinphase_spec.packets` says at the end.

    Members
    -------
    i_line : In(1); o_line : Out(1) - the two wires; 8N1, ``divisor`` clocks per bit.
    tx : In(word_stream()) - packets to send, from a node's ``tx``.
    rx : Out(word_stream()) - packets that came whole, to a node's ``rx``.
    o_dropped : Out(1) - strobe: a frame was dropped.

    ``checked``: keep a frame until its checksum has been found right; else `CrcSpoiler`, which needs no memory, and ``o_dropped`` is 0.

    Latency: a packet is handed on after its checksum. Throughput: ``clock / (10 divisor)`` bytes per second. Overflow: frames
    that find no room are dropped; ``tx`` waits.
    """

    def __init__(self, *, divisor: int, checked: bool = True):
        self._checked = checked
        self._transmitter = UartTransmitter(divisor=divisor)
        self._receiver = UartReceiver(divisor=divisor)
        super().__init__(
            {
                "i_line": In(1, init=1),
                "o_line": Out(1, init=1),
                "tx": In(word_stream()),
                "rx": Out(word_stream()),
                "o_dropped": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.appender = appender = CrcAppender()
        m.submodules.encoder = encoder = SlipEncoder(settled=not self._checked)
        m.submodules.transmitter = transmitter = self._transmitter
        m.submodules.receiver = receiver = self._receiver
        m.submodules.decoder = decoder = SlipDecoder()
        m.submodules.checker = checker = CrcChecker() if self._checked else CrcSpoiler()
        # Far from the node's arbiter, and much slower than it.
        m.submodules.words = words = Stage(Word)
        wiring.connect(m, wiring.flipped(self.tx), words.i)
        wiring.connect(m, words.o, appender.i)
        if self._checked:
            wiring.connect(m, appender.o, encoder.i)
        else:
            m.submodules.between = between = Stage(FrameByte)
            wiring.connect(m, appender.o, between.i)
            wiring.connect(m, between.o, encoder.i)
        wiring.connect(m, encoder.o, transmitter.i)
        wiring.connect(m, receiver.o, decoder.i)
        wiring.connect(m, decoder.o, checker.i)
        wiring.connect(m, checker.o, wiring.flipped(self.rx))
        m.d.comb += [
            self.o_line.eq(transmitter.o),
            receiver.i.eq(self.i_line),
        ]
        if self._checked:
            m.d.comb += self.o_dropped.eq(checker.o_dropped)
        return m
