"""Packets from the link: checked as a whole, then routed to the consumers of their streams."""

from collections.abc import Iterable

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.types import record_words, word_stream
from twinphase_spec import packets
from twinphase_spec.packets import Stream

MAX_PACKET_WORDS = packets.HEADER_WORDS + packets.MAX_PAYLOAD_WORDS


class Depacketizer(wiring.Component):
    """Stores a packet, and hands it on when its last word has shown it to be whole; otherwise forgets it.

    A packet is dropped when magic or version is wrong, when its stream is not one of ``streams`` or REGISTER_REQUEST, when
    its payload is longer than MAX_PAYLOAD_WORDS or not as long as its header says, or is not whole records. Whatever a packet is,
    the word after ``last`` starts the next one.

    Members
    -------
    i : In(word_stream()) - packets; ``ready`` is registered state only.
    request : Out(word_stream()) - register requests from w1 on.
    herald, psi, peer : Out(stream of ArrayLayout(32, RECORD_WORDS)) - those of ``streams``; whole records.
    o_dropped : Out(1) - strobe: a packet was dropped.
    o_idle : Out(1) - nothing changes before the next word.

    Latency: 4 clocks from ``last`` to the first record word when idle. Throughput: a word per clock in; out a word per clock,
    plus one per record and two per packet. Overflow: none, ``i`` waits while a consumer does (packets are handed on in order).
    """

    CONSUMERS = (Stream.HERALD, Stream.PSI, Stream.PEER)

    def __init__(self, *, streams: Iterable[Stream] = (), depth: int = 512):
        self._streams = tuple(streams)
        self._depth = depth
        for number in self._streams:
            if number not in self.CONSUMERS:
                raise ValueError(f"depacketizer: stream {number.name} has no consumer; allowed: HERALD, PSI, PEER")
        if depth < 2 * packets.MAX_PAYLOAD_WORDS or depth & (depth - 1):
            raise ValueError(f"depacketizer: depth is {depth} words; allowed: powers of 2 from 512")
        super().__init__(
            {
                "i": In(word_stream()),
                "request": Out(word_stream()),
                **{number.name.lower(): Out(stream.Signature(record_words(number))) for number in self._streams},
                "o_dropped": Out(1),
                "o_idle": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # One bit more than the word, for `last`.
        m.submodules.ring = ring = memory.Memory(shape=33, depth=self._depth, init=[])
        write, read = ring.write_port(), ring.read_port()
        # Pointers have one bit more than addresses, so that full and empty differ.
        written = Signal(len(write.addr) + 1)
        committed = Signal.like(written)
        fetched = Signal.like(written)

        # Writing: w0, w2 and the place of `last` decide.
        index = Signal(range(MAX_PACKET_WORDS + 1))
        last_index = Signal.like(index, init=packets.HEADER_WORDS - 1)  # never below, also before the first packet
        bad = Signal()
        record_length = Signal(2, init=1)
        phase = Signal(2)
        """Payload words into the current record."""
        word = self.i.payload.data
        transfer = Signal()
        wrong_word = Signal()
        whole = Signal()
        m.d.comb += [
            self.i.ready.eq((written ^ fetched) != self._depth),
            transfer.eq(self.i.valid & self.i.ready),
            write.en.eq(transfer & ~bad),
            write.addr.eq(written[:-1]),
            write.data.eq(self.i.payload.as_value()),
            whole.eq(
                ~bad & (index == last_index) & ((index == packets.HEADER_WORDS - 1) | (phase == record_length - 1))
            ),
            self.o_dropped.eq(transfer & self.i.payload.last & ~whole),
        ]
        with m.Switch(index):
            with m.Case(0):
                m.d.comb += wrong_word.eq(1)
                for number in (*self._streams, Stream.REGISTER_REQUEST):
                    with m.If(word == packets.MAGIC << 16 | packets.VERSION << 8 | int(number)):
                        m.d.comb += wrong_word.eq(0)
                        with m.If(transfer):
                            m.d.sync += record_length.eq(packets.RECORD_WORDS.get(number, 1))
            with m.Case(2):
                m.d.comb += wrong_word.eq(word[:16] > packets.MAX_PAYLOAD_WORDS)
                with m.If(transfer):
                    m.d.sync += last_index.eq(word[:9] + (packets.HEADER_WORDS - 1))
            with m.Case(MAX_PACKET_WORDS):
                m.d.comb += wrong_word.eq(1)
        with m.If(transfer):
            with m.If((index < packets.HEADER_WORDS) | (phase == record_length - 1)):
                m.d.sync += phase.eq(0)
            with m.Else():
                m.d.sync += phase.eq(phase + 1)
            with m.If(self.i.payload.last):
                # A header cut short never matches: last_index is that of a former packet, at least 7, but index is below 7.
                m.d.sync += [index.eq(0), bad.eq(0), written.eq(Mux(whole, written + 1, committed))]
                with m.If(whole):
                    m.d.sync += committed.eq(written + 1)
            with m.Else():
                m.d.sync += [
                    index.eq(Mux(index == MAX_PACKET_WORDS, index, index + 1)),
                    bad.eq(bad | wrong_word),
                    written.eq(written + ~bad),
                ]

        # Reading: two stages behind the pointer, as block RAM is slow.
        advance = Signal()
        fetching = Signal()
        loaded = Signal()
        held = Signal()
        current = Signal(33)
        taken = Signal()
        m.d.comb += [
            advance.eq(~held | taken),
            fetching.eq(fetched != committed),
            read.en.eq(advance),
            read.addr.eq(fetched[:-1]),
        ]
        with m.If(advance):
            m.d.sync += [fetched.eq(fetched + fetching), loaded.eq(fetching), held.eq(loaded), current.eq(read.data)]

        # Routing.
        word, last = current[:32], current[32]
        place = Signal(range(packets.HEADER_WORDS + 1))
        request_route = Signal()
        routes = {number: Signal(name=f"{number.name.lower()}_route") for number in self._streams}
        widest = max((packets.RECORD_WORDS[number] for number in self._streams), default=1)
        record = Signal(32 * widest)
        filled = Signal(range(widest + 1))
        offered = Signal()
        delivered = Signal()
        m.d.comb += [
            self.request.valid.eq(held & request_route & (place != 0)),
            self.request.payload.data.eq(word),
            self.request.payload.last.eq(last),
            taken.eq(held & Mux(request_route & (place != 0), self.request.ready, ~offered)),
        ]
        for number, route in routes.items():
            port = getattr(self, number.name.lower())
            words = packets.RECORD_WORDS[number]
            with m.If(route & (filled == words)):
                m.d.comb += [offered.eq(1), port.valid.eq(1), delivered.eq(port.ready)]
            m.d.comb += port.payload.eq(record[32 * (widest - words) :])
        with m.If(delivered):
            m.d.sync += filled.eq(0)
        with m.If(taken):
            m.d.sync += place.eq(Mux(last, 0, Mux(place == packets.HEADER_WORDS, place, place + 1)))
            with m.If(place == 0):
                m.d.sync += request_route.eq(word[:8] == Stream.REGISTER_REQUEST)
                for number, route in routes.items():
                    m.d.sync += route.eq(word[:8] == int(number))
            with m.If((place == packets.HEADER_WORDS) & ~request_route):
                m.d.sync += [record.eq(Cat(record, word)[32:]), filled.eq(filled + 1)]
        m.d.comb += self.o_idle.eq(~(fetching | loaded | held | offered))
        return m
