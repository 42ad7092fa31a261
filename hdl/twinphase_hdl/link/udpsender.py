"""Packets of a node to those who asked for them, one datagram each."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.types import word_stream
from twinphase_spec import packets
from twinphase_spec.packets import Stream

from .asked import Asker
from .replaystore import MAX_PACKET_WORDS, ReplayStore
from .udpport import SentWord

ADDRESS_WORD = 3
"""Of a register request and its response: the register's address."""


class UdpSender(wiring.Component):
    """Keeps whole packets and sends them in their order: responses to who asked, all others to every subscriber or to the group.

    Of a packet all subscribers of the moment when its turn comes get a copy, or the group one copy if there is a subscriber. Without
    any it is discarded, as a virtual node does: nobody asked for it, so that it is no loss, and the node counts none. A subscriber to
    whom a datagram has not gone out within ``stall_clocks`` is struck: it holds up the others.

    Parameters
    ----------
    places : int
        Of the table of subscribers.
    port, register_port : int
        What datagrams come from; the latter, responses to requests that went there.
    depth : int
        Words of packets that wait.
    stall_clocks : int

    Members
    -------
    i : In(word_stream()) - packets of a node.
    sink : Out(stream of SentWord) - to the core; ``valid`` stays high through a datagram.
    i_live, o_select, i_ip_address, i_port, o_strike - table of subscribers: see `Subscribers`.
    o_find, o_id, i_done, i_found, i_asker, i_repeated - requests under way: see `Asked`. The response to one that is marked as repeated
        goes out with bit 31 of its address cleared, which `UdpLink` has set on the way to the node.
    i_group_address, i_group_port : In(32), In(16) - where packets go instead of the subscribers; address 0: to these.
    o_sent : Out(1) - strobe: a datagram has gone out.
    o_discarded : Out(1) - strobe: a packet had no subscriber.
    o_unasked : Out(1) - strobe: a response had nobody who waits for it.
    o_malformed : Out(1) - strobe: a packet was dropped, as the node may not send: wrong magic, version or length.

    Latency: about 20 clocks from a packet's last word to its datagram's first one. Throughput: a word per clock within a datagram, 8
    clocks between copies and 15 between packets. Overflow: none, ``i`` waits.
    """

    def __init__(self, *, places: int, port: int, register_port: int, depth: int, stall_clocks: int):
        if depth < 512 or depth & (depth - 1):
            raise ValueError(f"udp sender: depth is {depth} words; allowed: powers of 2 from 512")
        if stall_clocks < 1:
            raise ValueError(f"udp sender: stall_clocks is {stall_clocks}; allowed: at least 1")
        self._places, self._port, self._register_port = places, port, register_port
        self._stall_clocks = stall_clocks
        self.store = ReplayStore(depth=depth)
        super().__init__(
            {
                "i": In(word_stream()),
                "sink": Out(stream.Signature(SentWord)),
                "i_live": In(places),
                "o_select": Out(range(places)),
                "i_ip_address": In(32),
                "i_port": In(16),
                "o_strike": Out(1),
                "o_find": Out(1),
                "o_id": Out(32),
                "i_done": In(1),
                "i_found": In(1),
                "i_asker": In(Asker),
                "i_repeated": In(1),
                "i_group_address": In(32),
                "i_group_port": In(16),
                "o_sent": Out(1),
                "o_discarded": Out(1),
                "o_unasked": Out(1),
                "o_malformed": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.store = store = self.store
        self._keep_whole_packets(m)

        to_group, grouped = Signal(), Signal()
        """A group is set; the packet under way goes to it."""
        left = Signal(self._places)
        """Subscribers who have not got their copy."""
        marked = Signal()
        """The copy is a response with a bit of its address set."""
        place = Signal(range(ADDRESS_WORD + 2))
        """Of the copy's next word, and ADDRESS_WORD + 1 for all after the address."""
        single = Signal()
        """The copy under way is the only one."""
        chosen = Signal(range(self._places))
        stalled = Signal(range(self._stall_clocks + 1))
        target = Signal(48)
        src_port = Signal(16)
        sink = self.sink
        last_taken = Signal()
        m.d.comb += [
            self.o_select.eq(chosen),
            self.o_id.eq(store.o_head.sequence),
            sink.valid.eq(store.o.valid),
            store.o.ready.eq(sink.ready),
            sink.payload.data.eq(store.o.payload.data),
            sink.payload.data[31].eq(store.o.payload.data[31] & ~(marked & (place == ADDRESS_WORD))),
            sink.payload.last.eq(store.o.payload.last),
            sink.payload.last_be.eq(Cat(Const(0, 3), store.o.payload.last)),
            sink.payload.length.eq(Cat(Const(0, 2), store.o_head.words)),
            Cat(sink.payload.ip_address, sink.payload.dst_port).eq(target),
            sink.payload.src_port.eq(src_port),
            last_taken.eq(sink.valid & sink.ready & sink.payload.last),
        ]
        m.d.sync += [to_group.eq(self.i_group_address != 0), self.o_sent.eq(last_taken)]
        m.d.sync += [self.o_strike.eq(0), self.o_discarded.eq(0), self.o_unasked.eq(0)]
        with m.If(sink.valid & sink.ready & (place != ADDRESS_WORD + 1)):
            m.d.sync += place.eq(place + 1)
        with m.FSM():
            with m.State("REST"):
                m.d.sync += [
                    left.eq(self.i_live),
                    grouped.eq(to_group),
                    single.eq(0),
                    src_port.eq(self._port),
                    marked.eq(0),
                ]
                with m.If(store.o_waits):
                    m.next = "WHERE"
                    with m.If(store.o_head.stream == int(Stream.REGISTER_RESPONSE)):
                        m.d.comb += self.o_find.eq(1)
                        m.next = "ASK"
            with m.State("ASK"):
                m.d.sync += [
                    target.eq(Cat(self.i_asker.ip_address, self.i_asker.port)),
                    src_port.eq(Mux(self.i_asker.apart, self._register_port, self._port)),
                    *(single.eq(1), marked.eq(self.i_repeated)),
                ]
                with m.If(self.i_done):
                    m.next = "PLAY"
                    with m.If(~self.i_found):
                        m.d.comb += store.i_free.eq(1)
                        m.d.sync += self.o_unasked.eq(1)
                        m.next = "REST"
            with m.State("WHERE"):
                m.next = "CHOOSE"
                with m.If(~left.any()):
                    m.d.comb += store.i_free.eq(1)
                    m.d.sync += self.o_discarded.eq(1)
                    m.next = "REST"
                with m.Elif(grouped):
                    m.d.sync += [single.eq(1), target.eq(Cat(self.i_group_address, self.i_group_port))]
                    m.next = "PLAY"
            with m.State("CHOOSE"):
                for k in reversed(range(self._places)):
                    with m.If(left[k]):
                        m.d.sync += chosen.eq(k)
                m.d.sync += left.eq(left & (left - 1))
                m.next = "LOOK"
            with m.State("LOOK"):
                m.next = "TARGET"
            with m.State("TARGET"):
                m.d.sync += target.eq(Cat(self.i_ip_address, self.i_port))
                m.next = "PLAY"
            with m.State("PLAY"):
                m.d.comb += store.i_play.eq(1)
                m.d.sync += [stalled.eq(0), place.eq(0)]
                m.next = "SEND"
            with m.State("SEND"):
                with m.If(sink.valid & ~sink.ready & (stalled != self._stall_clocks)):
                    m.d.sync += stalled.eq(stalled + 1)
                with m.If(last_taken):
                    m.d.sync += self.o_strike.eq((stalled == self._stall_clocks) & ~single)
                    m.next = "DONE"
            with m.State("DONE"):
                m.next = "CHOOSE"
                with m.If(single | ~left.any()):
                    m.d.comb += store.i_free.eq(1)
                    m.next = "REST"
        return m

    def _keep_whole_packets(self, m: Module) -> None:
        """Words of ``i`` into the store. A packet with more words than one may have is not stored on, so that none fills the store."""
        store, word = self.store, self.i.payload
        index = Signal(range(MAX_PACKET_WORDS + 1))
        words = Signal(17)
        bad, wrong, taken = Signal(), Signal(), Signal()
        start = word.data[8:] == packets.MAGIC << 8 | packets.VERSION
        m.d.comb += [
            self.i.ready.eq(store.o_room),
            taken.eq(self.i.valid & self.i.ready),
            store.i_word.eq(word.data),
            wrong.eq(
                bad
                | ((index == 0) & ~start)
                | (index == MAX_PACKET_WORDS)
                | (word.last & ((index < packets.HEADER_WORDS - 1) | (index + 1 != words)))
            ),
            store.i_put.eq(taken & ~wrong),
            store.i_keep.eq(taken & word.last & ~wrong),
            store.i_forget.eq(taken & word.last & wrong),
        ]
        m.d.sync += self.o_malformed.eq(store.i_forget)
        with m.If(taken):
            m.d.sync += [bad.eq(wrong & ~word.last), index.eq(Mux(word.last, 0, index + (index != MAX_PACKET_WORDS)))]
            with m.If(index == 2):
                m.d.sync += words.eq(word.data[:16] + packets.HEADER_WORDS)
