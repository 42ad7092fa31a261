"""What DHCP servers answer: the fields of messages that are meant for this client, and nothing of all others."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from .dhcpwords import (
    CHADDR_WORD,
    COOKIE,
    COOKIE_WORD,
    OPTION_WORD,
    SERVER_PORT,
    XID_WORD,
    YIADDR_WORD,
    Option,
)
from .udpport import ReceivedWord

REPLY, ETHERNET, ADDRESS_BYTES = 2, 1, 6
OPTION_WORDS = 512
"""Room for options; a frame holds 307 words of them."""
LENGTHS = {Option.TYPE: 1, Option.SERVER: 4, Option.LEASE: 4, Option.T1: 4, Option.T2: 4}
"""Bytes that these options must have."""


class Answer(data.Struct):
    """Of a server's message; 0 where it has no such option."""

    kind: 8
    """Option 53, see `Message`."""
    address: 32
    """yiaddr. This and ``server`` as numbers, first byte highest."""
    server: 32
    """Option 54."""
    lease: 32
    """Seconds."""
    t1: 32
    t2: 32


def swapped(value):
    """A word's bytes in the other order."""
    return Cat(value[24:32], value[16:24], value[8:16], value[0:8])


class DhcpReader(wiring.Component):
    """Reads datagrams to the client's port.

    One is an answer if its frame is undamaged, it comes from port 67 and is as long as it says, its header is that of a reply over
    Ethernet to ``mac`` with ``i_xid`` and the cookie, and its options end with option 255 within the message, those of `LENGTHS` with
    their lengths. Of an option that comes twice the last one counts; the fields "sname" and "file" are no options here (option 52).

    Members
    -------
    i_valid, i_word : In(1), In(ReceivedWord) - words of datagrams to the client's port, of others not.
    i_xid : In(32) - of the exchange, byte 0 of the field in bits 0-7.
    o_answer : Out(Answer) - holds until the next one has begun.
    o_valid : Out(1) - strobe: ``o_answer`` is whole.

    Latency: two clocks per byte of options, after the datagram's end. Overflow: what comes meanwhile is dropped.
    """

    def __init__(self, *, mac: int):
        self._mac = mac.to_bytes(6, "big")
        super().__init__(
            {
                "i_valid": In(1),
                "i_word": In(ReceivedWord),
                "i_xid": In(32),
                "o_answer": Out(Answer),
                "o_valid": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        word, answer = self.i_word, self.o_answer
        m.submodules.options = options = memory.Memory(shape=32, depth=OPTION_WORDS, init=[])
        write, read = options.write_port(), options.read_port()
        index = Signal(range(OPTION_WORD + OPTION_WORDS + 1))
        wrong, reading = Signal(), Signal()
        skipped, comes = Signal(), Signal()
        """A datagram of which a word came while another one was read is not looked at."""
        m.d.comb += comes.eq(self.i_valid & ~reading & ~skipped)
        with m.If(self.i_valid):
            m.d.sync += skipped.eq((reading | skipped) & ~word.last)
        wrong_here = Signal()
        expected = {
            0: (word.data[:24], REPLY | ETHERNET << 8 | ADDRESS_BYTES << 16),
            XID_WORD: (word.data, self.i_xid),
            CHADDR_WORD: (word.data, int.from_bytes(self._mac[:4], "little")),
            CHADDR_WORD + 1: (word.data[:16], int.from_bytes(self._mac[4:], "little")),
            COOKIE_WORD: (word.data, int.from_bytes(COOKIE, "little")),
        }
        with m.Switch(index):
            for place, (found, right) in expected.items():
                with m.Case(place):
                    m.d.comb += wrong_here.eq(found != right)
        short = Signal()
        m.d.comb += short.eq((index < OPTION_WORD) | (index != (word.length - 1)[2:]))
        fails = Signal()
        m.d.comb += [
            fails.eq(wrong | wrong_here | (word.src_port != SERVER_PORT)),
            *(write.addr.eq(index - OPTION_WORD), write.data.eq(word.data)),
            write.en.eq(comes & (index >= OPTION_WORD)),
        ]
        left = Signal(range(4 * (OPTION_WORD + OPTION_WORDS) + 1))  # bytes of options that are to be read
        place = Signal(range(4 * OPTION_WORDS))
        with m.If(comes):
            m.d.sync += [wrong.eq(fails), index.eq(index + (index != OPTION_WORD + OPTION_WORDS))]
            with m.If(index == YIADDR_WORD):
                m.d.sync += answer.address.eq(swapped(word.data))
            with m.If(word.last):
                m.d.sync += [index.eq(0), wrong.eq(0)]
                with m.If(~fails & ~word.error & ~short & (index < OPTION_WORD + OPTION_WORDS)):
                    m.d.sync += [reading.eq(1), place.eq(0), left.eq(word.length - 4 * OPTION_WORD)]
                    m.d.sync += [getattr(answer, name).eq(0) for name in ("kind", "server", "lease", "t1", "t2")]
        self._read_options(m, read, reading, place, left)
        return m

    def _read_options(self, m, read, reading, place, left):
        """Byte after byte, until the end."""
        answer = self.o_answer
        byte, code, count = Signal(8), Signal(8), Signal(8)
        value = Signal(32)
        m.d.comb += [read.addr.eq(place[2:]), read.en.eq(1), byte.eq(read.data.word_select(place[:2], 8))]
        more = Signal(32)
        m.d.comb += more.eq(Cat(byte, value[:24]))
        m.d.sync += self.o_valid.eq(0)

        def take():
            m.d.sync += [place.eq(place + 1), left.eq(left - 1)]

        with m.FSM():
            with m.State("IDLE"), m.If(reading):
                m.next = "CODE"
            for state in ("CODE", "LENGTH", "VALUE"):  # a byte's word comes a clock after its place
                with m.State(state):
                    m.next = f"{state} TAKEN"
                    with m.If(left == 0):  # no end
                        m.d.sync += reading.eq(0)
                        m.next = "IDLE"
            with m.State("CODE TAKEN"):
                take()
                m.d.sync += code.eq(byte)
                m.next = "LENGTH"
                with m.If(byte == Option.PAD):
                    m.next = "CODE"
                with m.If(byte == Option.END):
                    m.d.sync += [reading.eq(0), self.o_valid.eq(1)]
                    m.next = "IDLE"
            with m.State("LENGTH TAKEN"):
                take()
                m.d.sync += [count.eq(byte), value.eq(0)]
                m.next = "VALUE"
                with m.If(byte == 0):
                    m.next = "CODE"
                with m.Switch(code):
                    for option, length in LENGTHS.items():
                        with m.Case(option), m.If(byte != length):
                            m.d.sync += reading.eq(0)
                            m.next = "IDLE"
            with m.State("VALUE TAKEN"):
                take()
                m.d.sync += [count.eq(count - 1), value.eq(more)]
                m.next = "VALUE"
                with m.If(count == 1):
                    m.next = "CODE"
                    fields = {
                        Option.TYPE: answer.kind,
                        Option.SERVER: answer.server,
                        Option.LEASE: answer.lease,
                        Option.T1: answer.t1,
                        Option.T2: answer.t2,
                    }
                    with m.Switch(code):
                        for option, field in fields.items():
                            with m.Case(option):
                                m.d.sync += field.eq(more)
