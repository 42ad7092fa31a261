"""Packets from the link: checked as a whole, then routed to the consumers of their streams."""

from collections.abc import Iterable

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.types import record_words, word_stream
from twinphase_spec import packets
from twinphase_spec.packets import Stream

from .skid import Skid

LATE_WORDS = 8
"""Room that is kept for the words that come before ``ready`` has followed: four."""


class Depacketizer(wiring.Component):
    """Stores a packet, and hands it on when its last word has shown it to be whole; otherwise forgets it.

    A packet is dropped when magic or version is wrong, when its stream is not one of ``streams`` or REGISTER_REQUEST, when
    its payload is longer than MAX_PAYLOAD_WORDS (with a small buffer: than ``depth / 2``) or not as long as its header says, or is
    not whole records. Whatever a packet is, the word after ``last`` starts the next one.

    Members
    -------
    i : In(word_stream()) - packets; ``ready`` is registered state only.
    request : Out(word_stream()) - register requests from w1 on.
    herald, psi, peer, live : Out(stream of ArrayLayout(32, RECORD_WORDS)) - those of ``streams``; whole records.
    herald_code : Out(word_stream()) - if of ``streams``: packets from w1 on.
    o_dropped : Out(1) - strobe: a packet was dropped.
    o_idle : Out(1) - nothing changes before the next word.

    Latency: 6 clocks from ``last`` to the first record word when idle. Throughput: a word per clock in; out a word per clock,
    plus one per record and two per packet. Overflow: none, ``i`` waits while a consumer does (packets are handed on in order).
    """

    CONSUMERS = (Stream.HERALD, Stream.PSI, Stream.PEER, Stream.HERALD_CODE, Stream.LIVE)

    def __init__(self, *, streams: Iterable[Stream] = (), depth: int = 512):
        self._streams = tuple(streams)
        self._depth = depth
        for number in self._streams:
            if number not in self.CONSUMERS:
                allowed = ", ".join(consumer.name for consumer in self.CONSUMERS)
                raise ValueError(f"depacketizer: stream {number.name} has no consumer; allowed: {allowed}")
        if depth < 2 * packets.MAX_REGISTER_WORDS or depth & (depth - 1):
            raise ValueError(f"depacketizer: depth is {depth} words; allowed: powers of 2 from 128")
        self._longest = min(packets.MAX_PAYLOAD_WORDS, depth // 2)
        super().__init__(
            {
                "i": In(word_stream()),
                "request": Out(word_stream()),
                **{
                    number.name.lower(): Out(
                        word_stream() if number is Stream.HERALD_CODE else stream.Signature(record_words(number))
                    )
                    for number in self._streams
                },
                "o_dropped": Out(1),
                "o_idle": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # One bit more than the word, for `last`.
        m.submodules.ring = ring = memory.Memory(shape=33, depth=self._depth, init=[])
        m.submodules.skid = skid = Skid()
        write, read = ring.write_port(), ring.read_port()
        # Pointers have one bit more than addresses, so that full and empty differ.
        written = Signal(len(write.addr) + 1)
        committed = Signal.like(written)
        fetched = Signal.like(written)

        # A word is looked at in the clock in which it comes, and acts a clock later.
        came = Signal()
        word = Signal.like(self.i.payload)
        magic = Signal()
        """Magic and version are right."""
        too_long = Signal()
        known = (*self._streams, Stream.REGISTER_REQUEST)
        streams = {number: Signal(name=f"is_{number.name.lower()}") for number in known}
        used = Signal.like(written)
        ready = Signal(init=1)
        m.d.comb += self.i.ready.eq(ready)
        m.d.sync += [
            used.eq(written - fetched),
            ready.eq(used < self._depth - LATE_WORDS),
            came.eq(self.i.valid & ready),
            word.eq(self.i.payload),
            magic.eq(self.i.payload.data[8:] == packets.MAGIC << 8 | packets.VERSION),
            too_long.eq(self.i.payload.data[:16] > self._longest),
            *(here.eq(self.i.payload.data[:8] == int(number)) for number, here in streams.items()),
        ]

        # Writing: w0, w2 and the place of `last` decide.
        place = Signal(packets.HEADER_WORDS + 1, init=1)
        """One bit per word of the header, the last one for the payload."""
        payload = place[packets.HEADER_WORDS]
        left = Signal(range(self._longest + 1))
        """Payload words that are still to come; flags of it follow."""
        none_left = Signal()
        one_left = Signal()
        record_length = Signal(2, init=1)
        record_left = Signal(2)
        """Payload words that the current record lacks, but one."""
        bad = Signal()
        wrong_start = Signal()
        whole = Signal()
        m.d.comb += [
            write.en.eq(came & ~bad),
            write.addr.eq(written[:-1]),
            write.data.eq(word.as_value()),
            wrong_start.eq(~(magic & Cat(streams.values()).any())),
            whole.eq(
                self._known(
                    m,
                    ~bad & ((place[packets.HEADER_WORDS - 1] & none_left) | (payload & one_left & (record_left == 0))),
                )
            ),
            self.o_dropped.eq(came & word.last & ~whole),
        ]
        with m.If(came):
            with m.If(place[0]):
                for number, here in streams.items():
                    with m.If(here):
                        m.d.sync += record_length.eq(packets.RECORD_WORDS.get(number, 1))
            with m.If(place[2]):
                m.d.sync += left.eq(word.data)
            with m.Elif(payload):
                m.d.sync += [left.eq(left - 1), none_left.eq(left == 1), one_left.eq(left == 2)]
            with m.Else():
                m.d.sync += [none_left.eq(left == 0), one_left.eq(left == 1)]
            m.d.sync += record_left.eq(Mux(payload & (record_left != 0), record_left, record_length) - 1)
            with m.If(word.last):
                m.d.sync += [place.eq(1), bad.eq(0), written.eq(Mux(whole, written + 1, committed))]
                with m.If(whole):
                    m.d.sync += committed.eq(written + 1)
            with m.Else():
                m.d.sync += [
                    place.eq(Cat(Const(0, 1), place[:-2], place[-2:].any())),
                    bad.eq(bad | (place[0] & wrong_start) | (place[2] & too_long) | (payload & none_left)),
                    written.eq(written + ~bad),
                ]

        # Reading: two stages behind the pointer, as block RAM is slow.
        advance = Signal()
        fetching = Signal()
        loaded = Signal()
        current = Signal(33)
        m.d.comb += [
            advance.eq(skid.i.ready),
            fetching.eq(fetched != committed),
            read.en.eq(advance),
            read.addr.eq(fetched[:-1]),
            skid.i.payload.eq(current),
        ]
        held = Signal()
        m.d.comb += skid.i.valid.eq(held)
        with m.If(advance):
            m.d.sync += [loaded.eq(fetching), held.eq(loaded), current.eq(read.data)]
        with m.If(advance & fetching):
            m.d.sync += fetched.eq(fetched + 1)

        # Routing.
        out = skid.o.payload
        first = Signal()
        """The word that waits is w0."""
        behind = Signal(packets.HEADER_WORDS)
        """As many bits are set as words of its packet have gone."""
        request_route = Signal()
        requested = Signal()
        """It belongs to a request and is not w0."""
        routes = {number: Signal(name=f"{number.name.lower()}_route") for number in self._streams}
        code_route = routes.get(Stream.HERALD_CODE)
        coded = None if code_route is None else code_route & behind[0]
        """The word that waits belongs to a packet that is handed on word by word, and is not w0; None where there is none."""
        widest = max((packets.RECORD_WORDS[number] for number in self._streams), default=1)
        record = Signal(32 * widest)
        filled = Signal(range(widest))
        complete = Signal()
        offered = Signal()
        delivered = Signal()
        taken = Signal()
        m.d.comb += [
            first.eq(~behind[0]),
            requested.eq(request_route & behind[0]),
            self.request.valid.eq(skid.o.valid & requested),
            self.request.payload.eq(out),
            skid.o.ready.eq(
                Mux(
                    requested,
                    self.request.ready,
                    ~offered if coded is None else Mux(coded, self.herald_code.ready, ~offered),
                )
            ),
            taken.eq(skid.o.valid & skid.o.ready),
        ]
        if coded is not None:
            m.d.comb += [self.herald_code.valid.eq(skid.o.valid & coded), self.herald_code.payload.eq(out)]
        for number, route in routes.items():
            if route is code_route:
                continue
            port = getattr(self, number.name.lower())
            words = packets.RECORD_WORDS[number]
            m.d.comb += [port.valid.eq(offered & route), port.payload.eq(record[32 * (widest - words) :])]
            with m.If(route):
                m.d.comb += [complete.eq(filled == words - 1), delivered.eq(port.ready)]
        with m.If(delivered):
            m.d.sync += offered.eq(0)
        shifted = record.eq(Cat(record, out.data)[32:])
        counted = [filled.eq(Mux(complete, 0, filled + 1)), offered.eq(complete)]
        with m.If(taken):
            m.d.sync += behind.eq(Mux(out.last, 0, Cat(1, behind)))
            with m.If(first):
                m.d.sync += request_route.eq(out.data[:8] == Stream.REGISTER_REQUEST)
                for number, route in routes.items():
                    m.d.sync += route.eq(out.data[:8] == int(number))
            if not self._streams:
                with m.If(behind[-1] & ~request_route):
                    m.d.sync += [shifted, *counted]
        if self._streams:
            # A record's word waits for nothing but the record before it. Words of no record are shifted too, as often as they are seen:
            # what is offered is the last words, each of which was taken when it was seen.
            passed = request_route if code_route is None else request_route | code_route
            with m.If(skid.o.valid & ~offered):
                m.d.sync += shifted
                with m.If(behind[-1] & ~passed):
                    m.d.sync += counted
        m.d.comb += self.o_idle.eq(~(came | fetching | loaded | held | skid.o.valid | offered))
        return m

    def _known(self, m: Module, flag: Value) -> Value:
        """``flag``, which changes with words that come."""
        return flag
