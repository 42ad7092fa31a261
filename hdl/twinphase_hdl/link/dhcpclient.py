"""A node's address by DHCP: a client between a node's UDP port and the UDP core (RFC 2131)."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .dhcpreader import DhcpReader, swapped
from .dhcpwords import (
    BROADCAST,
    CIADDR_WORD,
    CLIENT_PORT,
    END_WORD,
    FOREVER,
    MESSAGE_WORDS,
    OF_REQUEST,
    REQUESTED_WORD,
    SECS_WORD,
    SERVER_PORT,
    SERVER_WORD,
    TYPE_WORD,
    XID_WORD,
    Message,
    constant_words,
)
from .udpport import SentWord, UdpUserPort

LONGEST_WAIT = 5
"""Waits for an answer double from 1 s to 2^this, each up to a second longer."""
REQUESTS = 4
"""Unanswered ones after an offer; then it begins anew."""
FALLBACK_SECONDS = 15
TAPS = 0x80200003
"""Of a 32-bit Galois register of full length."""


class DhcpClient(wiring.Component):
    """Asks for an address, renews its lease, and lets all other datagrams pass.

    It broadcasts DISCOVER until a server offers an address, and REQUEST until that server acknowledges; a NAK, or `REQUESTS` without an
    answer, begin anew. Answers count if `DhcpReader` takes them for this client's, with the exchange's xid, and from the server whose
    offer was taken; an ACK, if it is for the address that was offered. At T1 (half of the lease, unless the server says otherwise)
    REQUEST with the address in "ciaddr" is broadcast until any server acknowledges, as RFC 2131 has it from T2 on: a unicast to a
    server that is gone would hold up the core, and with it the node, for its ARP requests. The lease counts from the request; at its
    end, or with a NAK, the address is gone.

    Without a lease for `FALLBACK_SECONDS`, ``fallback`` is the address until there is one; asking goes on.

    Not done: a check by ARP whether somebody else has the address, DHCPDECLINE, DHCPRELEASE, the memory of an address over a restart.

    Parameters
    ----------
    mac : int
    fallback : int
        Address as a number, first byte highest; 0: none.
    second_clocks : int
        Clocks that count as a second, at least 1000.

    Members
    -------
    user : In(UdpUserPort()) - the node's side. Datagrams to port 68 do not come there.
    core : Out(UdpUserPort())
    o_address : Out(32) - of the node, 0 without one.
    o_broadcast_source : Out(32) - of its messages: the leased address or 0.
    o_leased : Out(1) - ``o_address`` is a server's.

    Latency: 0 for others' datagrams, which wait while one of its own (`MESSAGE_WORDS` words) is sent. Throughput: theirs.
    """

    def __init__(self, *, mac: int, fallback: int, second_clocks: int):
        if second_clocks < 1000:
            raise ValueError(f"dhcp client: second_clocks is {second_clocks}; allowed: at least 1000")
        self._mac, self._fallback, self._second_clocks = mac, fallback, second_clocks
        super().__init__(
            {
                "user": In(UdpUserPort()),
                "core": Out(UdpUserPort()),
                "o_address": Out(32),
                "o_broadcast_source": Out(32),
                "o_leased": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.reader = reader = DhcpReader(mac=self._mac)
        xid = Signal(32, init=self._mac & 0xFFFFFFFF | 1)  # never 0, where the register would stay
        kind, send, sent = Signal(8), Signal(), Signal()
        address, server = Signal(32), Signal(32)
        seconds, tick = Signal(16), Signal()
        self._second(m, tick)
        self._pass_on(m, reader)
        self._send(m, send, sent, kind=kind, xid=xid, seconds=seconds, address=address, server=server)

        answer, arrived = reader.o_answer, reader.o_valid
        offer = arrived & (answer.kind == Message.OFFER) & answer.server.any() & answer.address.any()
        from_server = arrived & (answer.server == server)
        lease, t1, age = Signal(32), Signal(32), Signal(32)
        """Age: since the last request that is not answered yet, or since the one that got the lease."""
        asked_at = Signal(32)
        wait, wait_bits, tries = Signal(LONGEST_WAIT + 1), Signal(range(LONGEST_WAIT + 1)), Signal(range(REQUESTS + 1))
        without = Signal(range(FALLBACK_SECONDS + 1))
        m.d.comb += reader.i_xid.eq(xid)
        with m.If(tick):
            m.d.sync += [wait.eq(wait - wait.any()), seconds.eq(seconds + ~seconds.all())]
            m.d.sync += age.eq(age + ~age.all())
            with m.If(self.o_leased):
                m.d.sync += without.eq(0)
            with m.Elif(without != FALLBACK_SECONDS):
                m.d.sync += without.eq(without + 1)
        use_fallback = ~self.o_leased & (without == FALLBACK_SECONDS)
        m.d.sync += self.o_address.eq(Mux(self.o_leased, address, Mux(use_fallback, self._fallback, 0)))
        m.d.comb += self.o_broadcast_source.eq(Mux(self.o_leased, address, 0))
        endless = lease == FOREVER
        ends = self.o_leased & ~endless & (age >= lease)

        def new_exchange():
            m.d.sync += xid.eq(Mux(xid[0], xid[1:] ^ TAPS, xid[1:]))
            m.d.sync += [wait_bits.eq(0), tries.eq(0)]

        def begin():
            """Anew, without an address."""
            new_exchange()
            m.d.sync += [self.o_leased.eq(0), seconds.eq(0), server.eq(0), wait.eq(0)]
            m.next = "DISCOVER"

        def ask(message):
            """Sends it; the answer is awaited twice as long as to the one before."""
            m.d.comb += send.eq(1)
            m.d.sync += kind.eq(message)
            with m.If(sent):
                m.d.sync += [wait.eq((1 << wait_bits) + 1), wait_bits.eq(wait_bits + (wait_bits != LONGEST_WAIT))]
                m.d.sync += tries.eq(tries + (tries != REQUESTS))
                with m.If(tries == 0):  # the answer may be to the first one
                    m.d.sync += asked_at.eq(age)

        def acknowledged():
            """The lease counts from the request."""
            m.d.sync += [address.eq(answer.address), server.eq(answer.server), self.o_leased.eq(1)]
            m.d.sync += [lease.eq(answer.lease), age.eq(age - asked_at + 1)]
            early = answer.t1.any() & (answer.t1 < answer.lease)
            m.d.sync += t1.eq(Mux(early, answer.t1, answer.lease[1:]))
            m.next = "BOUND"

        good = (answer.kind == Message.ACK) & answer.lease.any() & answer.address.any()
        with m.FSM():
            with m.State("DISCOVER"):
                m.d.sync += age.eq(0)
                ask(Message.DISCOVER)
                with m.If(sent):
                    m.next = "OFFERED"
            with m.State("OFFERED"):
                with m.If(offer):
                    m.d.sync += [address.eq(answer.address), server.eq(answer.server), wait_bits.eq(0), tries.eq(0)]
                    m.next = "REQUEST"
                with m.Elif(wait == 0):
                    m.next = "DISCOVER"
            with m.State("REQUEST"):
                ask(Message.REQUEST)
                with m.If(sent):
                    m.next = "REQUESTED"
            with m.State("REQUESTED"):
                with m.If(from_server & good & (answer.address == address)):
                    acknowledged()
                with m.Elif((from_server & (answer.kind == Message.NAK)) | ((wait == 0) & (tries == REQUESTS))):
                    begin()
                with m.Elif(wait == 0):
                    m.next = "REQUEST"
            with m.State("BOUND"):
                with m.If(ends):
                    begin()
                with m.Elif(~endless & (age >= t1)):
                    new_exchange()
                    m.next = "RENEW"
            with m.State("RENEW"):
                ask(Message.REQUEST)
                with m.If(sent):
                    m.next = "RENEWED"
            with m.State("RENEWED"):
                with m.If(arrived & good & (answer.address == address)):
                    acknowledged()
                with m.Elif(ends | (arrived & (answer.kind == Message.NAK))):
                    begin()
                with m.Elif(wait == 0):
                    m.next = "RENEW"
        return m

    def _second(self, m, tick):
        clocks = Signal(range(self._second_clocks))
        m.d.sync += [clocks.eq(clocks + 1), tick.eq(0)]
        with m.If(clocks == self._second_clocks - 1):
            m.d.sync += [clocks.eq(0), tick.eq(1)]

    def _pass_on(self, m, reader):
        """What comes to the client's port goes to its reader, all else to the user."""
        comes, user = self.core.source, self.user.source
        own = comes.payload.dst_port == CLIENT_PORT
        m.d.comb += [
            user.payload.eq(comes.payload),
            user.valid.eq(comes.valid & ~own),
            reader.i_word.eq(comes.payload),
            reader.i_valid.eq(comes.valid & own),
        ]

    def _send(self, m, send, sent, *, kind, xid, seconds, address, server):
        """While ``send`` holds, a message between two datagrams of the user's; ``sent``: with its last word."""
        user, core = self.user.sink, self.core.sink
        within, mine = Signal(), Signal()
        index = Signal(range(MESSAGE_WORDS))
        word, own = Signal(32), Signal(SentWord)
        with m.If(user.valid & ~mine):
            m.d.sync += within.eq(~(user.ready & user.payload.last))
        starts = send & ~mine & ~Mux(user.valid, ~(user.ready & user.payload.last), within)
        with m.If(starts):
            m.d.sync += [mine.eq(1), index.eq(0)]
        m.d.comb += sent.eq(mine & core.ready & own.last)
        with m.If(mine & core.ready):
            m.d.sync += index.eq(index + 1)
            with m.If(own.last):
                m.d.sync += mine.eq(0)
        asks = (kind == Message.REQUEST) & ~self.o_leased
        constants = constant_words(self._mac)
        words = {place: Const(value, 32) for place, value in enumerate(constants) if value and place not in OF_REQUEST}
        words |= {
            XID_WORD: xid,
            SECS_WORD: Cat(seconds[8:], seconds[:8], Const(0x0080, 16) & (~self.o_leased).replicate(16)),
            CIADDR_WORD: swapped(self.o_broadcast_source),
            TYPE_WORD: constants[TYPE_WORD] | kind << 16,
            **{place: Mux(asks, constants[place], 0) for place in OF_REQUEST},
            REQUESTED_WORD: Mux(asks, swapped(address), 0),
            SERVER_WORD: Mux(asks, swapped(server), 0),
        }
        with m.Switch(index):
            for place, value in words.items():
                with m.Case(place):
                    m.d.comb += word.eq(value)
        m.d.comb += [
            *(own.data.eq(word), own.last.eq(index == END_WORD), own.last_be.eq(own.last << 3)),
            *(own.length.eq(4 * MESSAGE_WORDS), own.ip_address.eq(BROADCAST)),
            *(own.src_port.eq(CLIENT_PORT), own.dst_port.eq(SERVER_PORT)),
            core.valid.eq(Mux(mine, 1, user.valid)),
            core.payload.eq(Mux(mine, own, user.payload)),
            user.ready.eq(core.ready & ~mine),
        ]
