"""Datagrams from a UDP core: subscriptions and register requests, and what is dropped for which reason."""

from enum import IntEnum

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from twinphase_spec import packets
from twinphase_spec.packets import Stream

from .asked import AskedEntry
from .replaystore import MAX_PACKET_WORDS
from .udpport import ReceivedWord


class Drop(IntEnum):
    """Why a datagram was dropped: of several reasons the first one counts."""

    ERROR = 0
    """Frame checksum."""
    PORT = 1
    """Neither of the node's ports."""
    LENGTH = 2
    """Truncated, longer than a packet, no whole words, or not as long as it or its header says."""
    FOREIGN = 3
    """Wrong magic or version."""
    STREAM = 4
    """Nothing that a host sends to this port."""
    FULL = 5
    """A register request for which there is no room: its host asks again."""
    REFUSED = 6
    """A subscription for which there is no place (counted by `UdpLink`)."""


class UdpReceiver(wiring.Component):
    """Takes datagrams for ``port`` (SUBSCRIBE and REGISTER_REQUEST) and ``register_port`` (REGISTER_REQUEST only).

    A request's words go on as they come, a verdict with the last one. Everything else only has its sender told, or is dropped.

    Members
    -------
    source : In(stream of ReceivedWord, always ready) - from the core.
    o_put, o_word, i_room : Out(1), Out(32), In(1) - a word of a request, only with ``i_room``.
    o_keep, o_forget : Out(1), Out(1) - with the last word of a datagram: the request is whole, or what was put is to be forgotten.
    i_asked_room : In(1) - the sender of another request finds a place.
    o_entry : Out(AskedEntry) - of the request that is kept, with ``o_keep``.
    o_subscribed : Out(1) - strobe: a SUBSCRIBE came from ``o_entry.asker``, which holds for 3 clocks more.
    o_dropped : Out(REFUSED) - one strobe per reason, at most one of them in a clock.

    Latency: 1 clock from a word to ``o_put``, 2 to the strobes of a datagram. Throughput: a word per clock. Overflow: dropped as FULL.
    """

    def __init__(self, *, port: int, register_port: int):
        for name, value in (("port", port), ("register_port", register_port)):
            if not 1 <= value < 1 << 16:
                raise ValueError(f"udp receiver: {name} is {value}; allowed: 1 to 65535")
        if port == register_port:
            raise ValueError(f"udp receiver: port and register_port are both {port}; allowed: two different ones")
        self._port, self._register_port = port, register_port
        super().__init__(
            {
                "source": In(stream.Signature(ReceivedWord, always_ready=True)),
                "o_put": Out(1),
                "o_word": Out(32),
                "i_room": In(1),
                "o_keep": Out(1),
                "o_forget": Out(1),
                "i_asked_room": In(1),
                "o_entry": Out(AskedEntry),
                "o_subscribed": Out(1),
                "o_dropped": Out(int(Drop.REFUSED)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        word = self.source.payload
        # A word is looked at in the clock in which it comes, and acts a clock later.
        came, last = Signal(), Signal()
        data = Signal(32)
        starts_right, is_request, is_subscribe = Signal(), Signal(), Signal()
        """Of the word as a packet's first one."""
        whole_word, counts_agree = Signal(), Signal()
        """The word may be a datagram's last one; it is the w2 of a datagram of this length."""
        length_good, here, apart, error = Signal(), Signal(), Signal(), Signal()
        packet_words = Signal(len(word.length) - 2)
        m.d.comb += packet_words.eq(word.length[2:])
        m.d.sync += [
            came.eq(self.source.valid),
            last.eq(word.last),
            data.eq(word.data),
            starts_right.eq(word.data[8:] == packets.MAGIC << 8 | packets.VERSION),
            is_request.eq(word.data[:8] == int(Stream.REGISTER_REQUEST)),
            is_subscribe.eq(word.data[:8] == int(Stream.SUBSCRIBE)),
            whole_word.eq(word.last_be == 0b1000),
            counts_agree.eq(word.data[:16] + packets.HEADER_WORDS == packet_words),
            length_good.eq(
                (word.length[:2] == 0) & (packet_words >= packets.HEADER_WORDS) & (packet_words <= MAX_PACKET_WORDS)
            ),
            here.eq((word.dst_port == self._port) | (word.dst_port == self._register_port)),
            apart.eq(word.dst_port == self._register_port),
            error.eq(word.error),
        ]

        place = Signal(4, init=1)
        """One bit per word up to w2, the last one for all others."""
        # Words left as the sender's length says, counted from a datagram's second word on.
        left = Signal(range(MAX_PACKET_WORDS + 1))
        none_left, one_left = Signal(), Signal()
        failed, foreign, disagrees, endless, full = Signal(), Signal(), Signal(), Signal(), Signal()
        """Of the words before: a frame error; a wrong start; a wrong w2; more than there should be; no room for one of them."""
        requests, subscribes = Signal(), Signal()
        m.d.comb += [none_left.eq(left == 0), one_left.eq(left == 1)]

        first = place[0]
        request = Signal()
        m.d.comb += [
            request.eq(Mux(first, is_request, requests)),
            self.o_word.eq(data),
            self.o_put.eq(came & request & here & ~endless & ~full & self.i_room),
            self.o_forget.eq(came & last & ~self.o_keep),
        ]
        # A datagram shorter than a header has wrong length whatever else it has, so that w0 and w2 lie before the last word.
        wrong = Signal(int(Drop.REFUSED))
        allowed = requests | (subscribes & ~apart)
        m.d.comb += [
            wrong[Drop.ERROR].eq(failed | error),
            wrong[Drop.PORT].eq(~here),
            wrong[Drop.LENGTH].eq(~length_good | ~whole_word | ~one_left | disagrees | endless),
            wrong[Drop.FOREIGN].eq(foreign),
            wrong[Drop.STREAM].eq(~allowed),
            wrong[Drop.FULL].eq(requests & (full | ~self.i_room | ~self.i_asked_room)),
            self.o_keep.eq(came & last & ~wrong.any() & requests),
        ]
        m.d.sync += [
            self.o_subscribed.eq(came & last & ~wrong.any() & subscribes),
            *(
                self.o_dropped[kind].eq(came & last & wrong[kind] & ~(wrong[:kind].any() if kind else Const(0)))
                for kind in range(int(Drop.REFUSED))
            ),
        ]
        length_left = Signal.like(left)
        within = (packet_words != 0) & (packet_words <= MAX_PACKET_WORDS)
        m.d.sync += length_left.eq(Mux(within, packet_words, 1))
        with m.If(came):
            m.d.sync += [
                place.eq(Mux(last, 1, Cat(Const(0, 1), place[:-2], place[-2:].any()))),
                failed.eq(~last & (failed | error)),
                full.eq(~last & (full | (request & here & ~endless & ~self.i_room))),
                endless.eq(~last & (endless | (~first & none_left))),
                left.eq(Mux(first, length_left, left) - (first | ~none_left)),
            ]
            with m.If(first):
                m.d.sync += [requests.eq(is_request), subscribes.eq(is_subscribe), foreign.eq(~starts_right)]
                m.d.sync += disagrees.eq(0)
            with m.If(place[1]):
                m.d.sync += self.o_entry.request_id.eq(data)
            with m.If(place[2]):
                m.d.sync += disagrees.eq(~counts_agree)
        # From a datagram's fourth word on, so that it outlives the datagram.
        address = Cat(word.ip_address, word.src_port)
        held = Signal(48)
        m.d.sync += held.eq(address)
        with m.If(came & place[3] & ~last):
            m.d.sync += [
                Cat(self.o_entry.asker.ip_address, self.o_entry.asker.port).eq(held),
                self.o_entry.asker.apart.eq(apart),
            ]
        return m
