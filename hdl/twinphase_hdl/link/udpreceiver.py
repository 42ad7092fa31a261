"""Datagrams from a UDP core: subscriptions, register requests and packets of streams, and what is dropped for which reason."""

from collections.abc import Iterable
from enum import IntEnum

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from twinphase_spec import packets
from twinphase_spec.packets import RegisterOp, Stream

from .asked import AskedEntry
from .depacketizer import Depacketizer
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
    """A register request for which there is no room: its host asks again. Or a packet of a stream, which is lost."""
    OLD = 6
    """A register write that has been overtaken by too many: a late copy, or one that its host has given up."""
    REFUSED = 7
    """A subscription for which there is no place (counted by `UdpLink`)."""


class UdpReceiver(wiring.Component):
    """Takes datagrams for ``port`` (SUBSCRIBE, REGISTER_REQUEST and ``streams``; None: there is none) and ``register_port``
    (REGISTER_REQUEST only).

    A request's words, and those of a packet of ``streams``, go on as they come, a verdict with the last one. Everything else only has its
    sender told, or is dropped.

    Members
    -------
    source : In(stream of ReceivedWord, always ready) - from the core.
    o_put, o_word, i_room : Out(1), Out(32), In(1) - a word of a request, only with ``i_room``.
    o_keep, o_forget : Out(1), Out(1) - with the last word of a datagram: the request is whole, or what was put is to be forgotten.
    o_put_stream, i_stream_room, o_keep_stream : Out(1), In(1), Out(1) - if there are ``streams``: the same of their packets, ``o_word``
        and ``o_forget`` in common. Nothing else tells of them.
    i_asked_room : In(1) - the sender of another request finds a place.
    o_entry : Out(AskedEntry) - of the request that is kept, with ``o_keep``; its id from 1 clock after its word on. ``repeated`` is 0.
    o_first, o_writer : Out(1), Out(48) - strobe: a datagram's first word, and the address and port of its sender.
    o_writes, o_high : Out(1), Out(1) - with ``o_keep``: the request is a write; bit 31 of its address.
    i_old : In(1) - with a datagram's last word: if it is a write, it is one of those dropped as OLD.
    o_subscribed : Out(1) - strobe: a SUBSCRIBE came from ``o_entry.asker``, which holds for 3 clocks more.
    o_dropped : Out(REFUSED) - one strobe per reason, at most one of them in a clock.

    Latency: 1 clock from a word to ``o_put``, 2 to the strobes of a datagram. Throughput: a word per clock. Overflow: dropped as FULL.
    """

    def __init__(self, *, port: int | None, register_port: int, streams: Iterable[Stream] = ()):
        for name, value in (("port", port), ("register_port", register_port)):
            if value is not None and not 1 <= value < 1 << 16:
                raise ValueError(f"udp receiver: {name} is {value}; allowed: 1 to 65535")
        if port == register_port:
            raise ValueError(f"udp receiver: port and register_port are both {port}; allowed: two different ones")
        self._streams = tuple(streams)
        for number in self._streams:
            if number not in Depacketizer.CONSUMERS:
                allowed = ", ".join(consumer.name for consumer in Depacketizer.CONSUMERS)
                raise ValueError(f"udp receiver: no node takes stream {number!r}; allowed: {allowed}")
        if len(set(self._streams)) != len(self._streams):
            raise ValueError(f"udp receiver: streams {self._streams} are not all different; allowed: each once")
        if self._streams and port is None:
            raise ValueError("udp receiver: streams without port; allowed: with one, where they come")
        self._register_port = register_port
        self._ports = [number for number in (port, register_port) if number is not None]
        of_streams = {"o_put_stream": Out(1), "i_stream_room": In(1), "o_keep_stream": Out(1)}
        super().__init__(
            {
                "source": In(stream.Signature(ReceivedWord, always_ready=True)),
                **(of_streams if self._streams else {}),
                "o_put": Out(1),
                "o_word": Out(32),
                "i_room": In(1),
                "o_keep": Out(1),
                "o_forget": Out(1),
                "i_asked_room": In(1),
                "o_entry": Out(AskedEntry),
                "o_first": Out(1),
                "o_writer": Out(48),
                "o_writes": Out(1),
                "o_high": Out(1),
                "i_old": In(1),
                "o_subscribed": Out(1),
                "o_dropped": Out(int(Drop.REFUSED)),
            }
        )
        # State, here so that a proof can speak of it. A word is looked at in the clock in which it comes, and acts a clock later.
        self.came, self.last = Signal(), Signal()
        self.data = Signal(32)
        # Of the word as a packet's first one.
        self.starts_right, self.is_request, self.is_subscribe = Signal(), Signal(), Signal()
        self.is_write = Signal()  # as a packet's w2
        self.whole_word = Signal()  # it may be a datagram's last one
        self.counts_agree = Signal()  # it is the w2 of a datagram of this length
        self.length_good, self.here, self.apart, self.error = Signal(), Signal(), Signal(), Signal()
        self.length_left = Signal(range(MAX_PACKET_WORDS + 1))
        self.place = Signal(5, init=1)  # one bit per word up to w3, the last one for all others
        self.left = Signal(range(MAX_PACKET_WORDS + 1))  # words that are to come, from a datagram's second one on
        # Of the words before: a frame error; a wrong start; a wrong w2; more than there should be; no room for one of them.
        self.failed, self.foreign, self.disagrees, self.endless, self.full = (Signal() for _ in range(5))
        self.requests, self.subscribes = Signal(), Signal()
        # The same two of packets of streams.
        self.is_streamed, self.streamed = Signal(), Signal()

    def elaborate(self, platform):
        m = Module()
        word = self.source.payload
        packet_words = Signal(len(word.length) - 2)
        m.d.comb += packet_words.eq(word.length[2:])
        m.d.sync += [
            self.came.eq(self.source.valid),
            self.last.eq(word.last),
            self.data.eq(word.data),
            self.starts_right.eq(word.data[8:] == packets.MAGIC << 8 | packets.VERSION),
            self.is_request.eq(word.data[:8] == int(Stream.REGISTER_REQUEST)),
            self.is_subscribe.eq(word.data[:8] == int(Stream.SUBSCRIBE)),
            self.is_write.eq(word.data[16:] == int(RegisterOp.WRITE)),
            self.whole_word.eq(word.last_be == 0b1000),
            self.counts_agree.eq(word.data[:16] + packets.HEADER_WORDS == packet_words),
            self.length_good.eq(
                (word.length[:2] == 0) & (packet_words >= packets.HEADER_WORDS) & (packet_words <= MAX_PACKET_WORDS)
            ),
            self.here.eq(Cat(word.dst_port == port for port in self._ports).any()),
            self.apart.eq(word.dst_port == self._register_port),
            self.error.eq(word.error),
        ]

        none_left, one_left = Signal(), Signal()
        m.d.comb += [none_left.eq(self.left == 0), one_left.eq(self.left == 1)]

        first = self.place[0]
        request = Signal()
        lacks = request & self.here & ~self.endless & ~self.i_room
        """A word that should be put finds no room."""
        kept, known = self.o_keep, self.subscribes
        if self._streams:
            streamed = Signal()
            goes = streamed & self.here & ~self.endless
            m.d.sync += self.is_streamed.eq(Cat(word.data[:8] == int(number) for number in self._streams).any())
            m.d.comb += [
                streamed.eq(Mux(first, self.is_streamed, self.streamed) & ~self.apart),
                self.o_put_stream.eq(self.came & goes & ~self.full & self.i_stream_room),
            ]
            lacks = lacks | (goes & ~self.i_stream_room)
            kept, known = self.o_keep | self.o_keep_stream, self.subscribes | self.streamed
        m.d.comb += [
            request.eq(Mux(first, self.is_request, self.requests)),
            self.o_word.eq(self.data),
            self.o_put.eq(self.came & request & self.here & ~self.endless & ~self.full & self.i_room),
            self.o_forget.eq(self.came & self.last & ~kept),
        ]
        # A datagram shorter than a header has wrong length whatever else it has, so that w0 and w2 lie before the last word.
        wrong = Signal(int(Drop.REFUSED))
        allowed = self.requests | (known & ~self.apart)
        no_place = self.requests & (self.full | ~self.i_room | ~self.i_asked_room)
        if self._streams:
            no_place = no_place | (self.streamed & (self.full | ~self.i_stream_room))
            m.d.comb += self.o_keep_stream.eq(self.came & self.last & ~wrong.any() & self.streamed)
        m.d.comb += [
            wrong[Drop.ERROR].eq(self.failed | self.error),
            wrong[Drop.PORT].eq(~self.here),
            wrong[Drop.LENGTH].eq(~self.length_good | ~self.whole_word | ~one_left | self.disagrees | self.endless),
            wrong[Drop.FOREIGN].eq(self.foreign),
            wrong[Drop.STREAM].eq(~allowed),
            wrong[Drop.FULL].eq(no_place),
            wrong[Drop.OLD].eq(self.requests & self.o_writes & self.i_old),
            self.o_keep.eq(self.came & self.last & ~wrong.any() & self.requests),
        ]
        m.d.sync += [
            self.o_subscribed.eq(self.came & self.last & ~wrong.any() & self.subscribes),
            *(
                self.o_dropped[kind].eq(
                    self.came & self.last & wrong[kind] & ~(wrong[:kind].any() if kind else Const(0))
                )
                for kind in range(int(Drop.REFUSED))
            ),
        ]
        within = (packet_words != 0) & (packet_words <= MAX_PACKET_WORDS)
        m.d.sync += self.length_left.eq(Mux(within, packet_words, 1))
        with m.If(self.came):
            m.d.sync += [
                self.place.eq(Mux(self.last, 1, Cat(Const(0, 1), self.place[:-2], self.place[-2:].any()))),
                self.failed.eq(~self.last & (self.failed | self.error)),
                self.full.eq(~self.last & (self.full | lacks)),
                self.endless.eq(~self.last & (self.endless | (~first & none_left))),
                self.left.eq(Mux(self.last, 0, Mux(first, self.length_left, self.left) - (first | ~none_left))),
            ]
            with m.If(first):
                m.d.sync += [
                    *(self.requests.eq(self.is_request), self.subscribes.eq(self.is_subscribe)),
                    *(self.foreign.eq(~self.starts_right), self.disagrees.eq(0)),
                ]
                if self._streams:
                    m.d.sync += self.streamed.eq(self.is_streamed)
            with m.If(self.place[1]):
                m.d.sync += self.o_entry.request_id.eq(self.data)
            with m.If(self.place[2]):
                m.d.sync += [self.disagrees.eq(~self.counts_agree), self.o_writes.eq(self.is_write)]
            with m.If(self.place[3]):
                m.d.sync += self.o_high.eq(self.data[31])
        # From a datagram's fourth word on, so that it outlives the datagram.
        address = Cat(word.ip_address, word.src_port)
        held = Signal(48)
        m.d.sync += held.eq(address)
        m.d.comb += [self.o_first.eq(self.came & first), self.o_writer.eq(held)]
        with m.If(self.came & self.place[3:].any() & ~self.last):
            m.d.sync += [
                Cat(self.o_entry.asker.ip_address, self.o_entry.asker.port).eq(held),
                self.o_entry.asker.apart.eq(self.apart),
            ]
        return m
