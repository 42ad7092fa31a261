"""Words of packets that another closes, and their sender."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.types import word_stream
from twinphase_spec import packets, units

from .sender import PacketSender

WAITING_PACKETS = 16
"""Closed packets that wait for the link, at most."""


class PacketStore(wiring.Component):
    """Keeps the words of an open packet while closed ones leave, in one ring of ``depth`` words.

    Closing waits while WAITING_PACKETS wait to be sent.

    Members
    -------
    i_put, i_word : In(1), In(32) - a payload word of the open packet.
    o_room : Out(1) - ``ahead`` words more may come.
    i_close, i_flags, i_first_record : In(1), In(16), In(32) - the open packet is complete; hold until ``o_closed``; no words meanwhile.
    o_closed : Out(1) - strobe: it is closed.
    i_clock : In(51) - clock count, the packet's base.
    o_sent : Out(1) - strobe, a clock late: a packet has been sent but for its last words.
    o : Out(word_stream()) - packets, ``last`` on the last word.
    o_idle : Out(1) - nothing changes before the next input.

    Latency: 4 clocks from ``i_close`` to the first word. Throughput: a word per clock in; out a word per clock, 2 clocks between packets.
    Overflow: none, ``o_room`` is heeded. ValueError for a depth that holds no two packets.
    """

    def __init__(self, stream_number: packets.Stream, *, ahead: int, depth: int = 2 * packets.MAX_PAYLOAD_WORDS):
        if depth < 2 * packets.MAX_PAYLOAD_WORDS or depth & (depth - 1):
            raise ValueError(
                f"packet store: depth is {depth} words; allowed: powers of 2 from {2 * packets.MAX_PAYLOAD_WORDS}"
            )
        self._stream = stream_number
        self._ahead = ahead
        self._depth = depth
        super().__init__(
            {
                "i_put": In(1),
                "i_word": In(32),
                "o_room": Out(1),
                "i_close": In(1),
                "i_flags": In(16),
                "i_first_record": In(32),
                "o_closed": Out(1),
                "i_clock": In(units.CLOCK_BITS),
                "o_sent": Out(1),
                "o": Out(word_stream()),
                "o_idle": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.ring = ring = memory.Memory(shape=32, depth=self._depth, init=[])
        m.submodules.sender = sender = PacketSender(self._stream, depth=self._depth, numbered=True)
        write, read = ring.write_port(), ring.read_port()
        wiring.connect(m, sender.o, wiring.flipped(self.o))
        words, kept = Signal(range(packets.MAX_PAYLOAD_WORDS + 1)), Signal(range(self._depth + 1))
        taken, clock = Signal(), Signal(units.CLOCK_BITS)
        described_as = data.StructLayout({"words": 9, "base": units.CLOCK_BITS, "flags": 16, "first_record": 32})
        m.submodules.queue = queue = memory.Memory(
            shape=described_as, depth=WAITING_PACKETS, init=[], attrs={"ram_style": "distributed"}
        )
        queue_write, queue_read = queue.write_port(), queue.read_port(domain="comb")
        closed, sent = Signal(range(2 * WAITING_PACKETS)), Signal(range(2 * WAITING_PACKETS))
        """A bit more than an address, so that full and empty differ."""
        head = queue_read.data
        m.d.comb += [
            *(write.en.eq(self.i_put), write.data.eq(self.i_word)),
            *(read.addr.eq(sender.o_address), read.en.eq(sender.o_read), sender.i_data.eq(read.data)),
            self.o_closed.eq(self.i_close & ((closed ^ sent) != WAITING_PACKETS)),
            *(queue_write.en.eq(self.o_closed), queue_write.addr.eq(closed), queue_read.addr.eq(sent)),
            *(queue_write.data.words.eq(words), queue_write.data.base.eq(clock)),
            *(queue_write.data.flags.eq(self.i_flags), queue_write.data.first_record.eq(self.i_first_record)),
            sender.i_waiting.eq(closed != sent),
            *(sender.i_head.words.eq(head.words), sender.i_head.base_clock.eq(head.base), sender.i_head.lost.eq(0)),
            *(sender.i_head.flags.eq(head.flags), sender.i_head.first_record.eq(head.first_record)),
            self.o_idle.eq(sender.o_idle & ~(self.i_put | self.i_close | (closed != sent) | self.o_sent | taken)),
        ]
        m.d.sync += [
            *(taken.eq(sender.o_taken), self.o_sent.eq(sender.o_sent), clock.eq(self.i_clock)),
            # A word more or less than is known here was put or taken in the last clock.
            self.o_room.eq(kept < self._depth - self._ahead - 2),
        ]
        with m.If(self.i_put):
            m.d.sync += [write.addr.eq(write.addr + 1), words.eq(words + 1)]
        with m.If(self.i_put ^ taken):
            m.d.sync += kept.eq(kept + Mux(self.i_put, 1, -1))
        with m.If(self.o_closed):
            m.d.sync += [closed.eq(closed + 1), words.eq(0)]
        with m.If(sender.o_sent):
            m.d.sync += sent.eq(sent + 1)
        return m
