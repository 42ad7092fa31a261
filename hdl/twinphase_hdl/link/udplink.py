"""The link of a node over UDP: its word streams on one side, the user port of a UDP core on the other."""

from collections.abc import Iterable

from amaranth.hdl import Cat, DomainRenamer, Module, Signal
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.types import word_stream
from twinphase_spec.packets import HEADER_WORDS, SUBSCRIPTION_SECONDS, Stream

from .arbiter import PacketArbiter
from .asked import Asked, AskedEntry
from .crossing import Crossing
from .replaystore import ReplayStore
from .subscribers import Subscribers
from .udpport import LINK_PORT, NODE_PORT, REGISTER_PORT, UdpUserPort
from .udpreceiver import Drop, UdpReceiver
from .udpregisters import UdpRegisters
from .udpsender import ADDRESS_WORD, UdpSender
from .writes import Writes

REQUEST_WORDS = 512
"""Requests that wait for the node."""
STREAM_WORDS = 2048
"""Packets of streams that wait for the node: seven of the longest, 79 us of a full line."""
ASKERS = 16
"""Requests of which the answer is awaited."""
PATIENCE_SECONDS = 0.05
"""For the answer to the oldest one."""
MEMORY_SECONDS = 10.0
"""For a writer who writes nothing: no network keeps a datagram for so long."""
STALL_SECONDS = 0.4
"""Four ARP requests of LiteEth's, of which it sends seven before it gives a receiver up."""


class UdpLink(wiring.Component):
    """Packets to and from hosts, one per datagram, as `host/twinphase/transport/udp.py` wants them (docs/udp.md).

    Two clocks: ``sync``, the node's, and ``net``, the UDP core's; asynchronous queues between them. Packets are whole before
    they cross towards the node, and before they go to the core.

    Parameters
    ----------
    places : int
        Subscribers that may be at a time.
    depth : int
        Words of packets that wait for the core: what a wait of the core for an ARP answer may cost before the node has to wait.
    net_hz : float
        Frequency of ``net``.
    port, register_port, link_port : int
        The node's two, see `UdpReceiver`, and that of the link's own registers, see `UdpRegisters`.
    patience_seconds, stall_seconds, memory_seconds : float
        See `Asked`, `UdpSender` and `Writes`.
    streams : iterable of Stream
        Besides requests, what ``port`` takes for the node, as a client's heralds; see `UdpReceiver`. They have a queue of their own, and
        where both wait, requests and packets of streams go to the node in turns, so that neither holds up the other for more than one.

    Members
    -------
    port : Out(UdpUserPort()) - the core's; domain ``net``.
    rx, tx : Out, In(word_stream()) - the node's; domain ``sync``.
    i_group_address, i_group_port : In(32), In(16) - domain ``net``, at rest while packets go: see `UdpSender`. What is written into the
        registers takes their place.
    i_mac_address, i_ip_address : In(48), In(32) - domain ``net``: what the registers say of the core.
    o_dropped : Out(len(Drop)) - one strobe per reason; this and all below in domain ``net``.
    o_live : Out(places) - places whose subscription lasts.
    o_struck, o_sent, o_discarded, o_unasked, o_malformed : Out(1) - strobes: a subscriber was struck; see `UdpSender`.

    Latency: requests and packets are handed on when they are whole, some 20 clocks of ``net`` later. Throughput: a word per ``net``
    clock but for 15 clocks between datagrams. Overflow: ``tx`` waits, so that the node counts its losses; requests and packets of
    ``streams`` without room are dropped.
    """

    def __init__(
        self,
        *,
        places: int = 4,
        depth: int = 4096,
        net_hz: float = 62.5e6,
        port: int = NODE_PORT,
        register_port: int = REGISTER_PORT,
        link_port: int = LINK_PORT,
        patience_seconds: float = PATIENCE_SECONDS,
        stall_seconds: float = STALL_SECONDS,
        memory_seconds: float = MEMORY_SECONDS,
        streams: Iterable[Stream] = (),
    ):
        if not net_hz >= 1e3:
            raise ValueError(f"udp link: net_hz is {net_hz} Hz; allowed: at least 1000")
        net = DomainRenamer("net")
        self._net = net
        self._streams = tuple(streams)
        self._receiver = UdpReceiver(port=port, register_port=register_port, streams=self._streams)
        self._sender = UdpSender(
            places=places,
            port=port,
            register_port=register_port,
            depth=depth,
            stall_clocks=round(stall_seconds * net_hz),
        )
        self._subscribers = Subscribers(places=places, lease_clocks=round(SUBSCRIPTION_SECONDS * net_hz))
        self._asked = Asked(depth=ASKERS, patience_clocks=round(patience_seconds * net_hz))
        if link_port in (port, register_port):
            raise ValueError(
                f"udp link: link_port is {link_port}; allowed: none of the node's, {port} and {register_port}"
            )
        self._link_port = link_port
        self._registers = UdpRegisters(port=link_port, places=places, clock_hz=round(net_hz))
        self._writes = Writes(memory_clocks=round(memory_seconds * net_hz))
        super().__init__(
            {
                "port": Out(UdpUserPort()),
                "rx": Out(word_stream()),
                "tx": In(word_stream()),
                "i_group_address": In(32),
                "i_group_port": In(16),
                "i_mac_address": In(48),
                "i_ip_address": In(32),
                "o_dropped": Out(len(Drop)),
                "o_live": Out(places),
                "o_struck": Out(1),
                "o_sent": Out(1),
                "o_discarded": Out(1),
                "o_unasked": Out(1),
                "o_malformed": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        net = self._net
        receiver, sender, subscribers, asked = self._receiver, self._sender, self._subscribers, self._asked
        requests = ReplayStore(depth=REQUEST_WORDS)
        m.submodules.receiver, m.submodules.sender = net(receiver), net(sender)
        m.submodules.subscribers, m.submodules.asked = net(subscribers), net(asked)
        m.submodules.requests = net(requests)
        m.submodules.inwards = inwards = Crossing(source="net", target="sync")
        m.submodules.outwards = outwards = Crossing(source="sync", target="net")
        m.submodules.writes = writes = net(self._writes)
        entry = Signal(AskedEntry)
        ways = self._take_streams(m, receiver, inwards.i) if self._streams else inwards.i
        self._hand_on(m, requests, ways, kept=receiver.o_keep, repeated=entry.repeated)
        wiring.connect(m, inwards.o, wiring.flipped(self.rx))
        wiring.connect(m, wiring.flipped(self.tx), outwards.i)
        wiring.connect(m, outwards.o, sender.i)
        m.submodules.registers = registers = net(self._registers)
        self._share_port(m, receiver, sender, registers)
        m.d.comb += [
            # Requests, once each.
            *(requests.i_put.eq(receiver.o_put), requests.i_word.eq(receiver.o_word)),
            *(requests.i_keep.eq(receiver.o_keep), requests.i_forget.eq(receiver.o_forget)),
            *(receiver.i_room.eq(requests.o_room), receiver.i_asked_room.eq(asked.o_room)),
            *(writes.i_first.eq(receiver.o_first), writes.i_writer.eq(receiver.o_writer)),
            *(writes.i_id.eq(receiver.o_entry.request_id), writes.i_keep.eq(receiver.o_keep & receiver.o_writes)),
            receiver.i_old.eq(writes.o_old),
            entry.eq(receiver.o_entry),
            entry.repeated.eq(receiver.o_writes & writes.o_repeated & ~receiver.o_high),
            *(asked.i_put.eq(receiver.o_keep), asked.i_entry.eq(entry)),
            # Packets.
            *(asked.i_find.eq(sender.o_find), asked.i_id.eq(sender.o_id)),
            *(sender.i_done.eq(asked.o_done), sender.i_found.eq(asked.o_found)),
            *(sender.i_asker.eq(asked.o_asker), sender.i_repeated.eq(asked.o_repeated)),
            # Subscribers.
            subscribers.i_renew.eq(receiver.o_subscribed),
            subscribers.i_ip_address.eq(receiver.o_entry.asker.ip_address),
            subscribers.i_port.eq(receiver.o_entry.asker.port),
            *(sender.i_live.eq(subscribers.o_live), subscribers.i_select.eq(sender.o_select)),
            *(sender.i_ip_address.eq(subscribers.o_ip_address), sender.i_port.eq(subscribers.o_port)),
            subscribers.i_strike.eq(sender.o_strike),
            *(registers.i_group_address.eq(self.i_group_address), registers.i_group_port.eq(self.i_group_port)),
            *(sender.i_group_address.eq(registers.o_group_address), sender.i_group_port.eq(registers.o_group_port)),
            *(registers.i_mac_address.eq(self.i_mac_address), registers.i_ip_address.eq(self.i_ip_address)),
            registers.i_live.eq(subscribers.o_live),
            registers.i_events.eq(
                Cat(self.o_sent, self.o_discarded, self.o_unasked, self.o_malformed, self.o_struck, self.o_dropped)
            ),
            # A datagram is judged here or there.
            self.o_dropped.eq(Cat(receiver.o_dropped | registers.o_dropped, subscribers.o_refused)),
            self.o_live.eq(subscribers.o_live),
            *(self.o_struck.eq(sender.o_strike), self.o_sent.eq(sender.o_sent)),
            *(self.o_discarded.eq(sender.o_discarded), self.o_unasked.eq(sender.o_unasked)),
            self.o_malformed.eq(sender.o_malformed),
        ]
        return m

    def _share_port(self, m: Module, receiver: UdpReceiver, sender: UdpSender, registers: UdpRegisters) -> None:
        """Datagrams to the link's own port go to its registers; their answers leave between two datagrams of the node."""
        port, own = self.port, Signal()
        m.d.comb += [
            own.eq(port.source.payload.dst_port == self._link_port),
            *(receiver.source.payload.eq(port.source.payload), registers.source.payload.eq(port.source.payload)),
            receiver.source.valid.eq(port.source.valid & ~own),
            registers.source.valid.eq(port.source.valid & own),
        ]
        answers = Signal()
        """Not the node's datagrams."""
        with m.If(answers):
            wiring.connect(m, registers.sink, wiring.flipped(port.sink))
            with m.If(port.sink.valid & port.sink.ready & port.sink.payload.last):
                m.d.net += answers.eq(0)
        with m.Else():
            wiring.connect(m, sender.sink, wiring.flipped(port.sink))
            m.d.net += answers.eq(registers.sink.valid & ~sender.sink.valid)

    def _take_streams(self, m: Module, receiver: UdpReceiver, node: stream.Interface) -> stream.Interface:
        """Plays each kept packet of a stream once to the node and frees it. Returns where requests go, in turns with them."""
        store, turns = ReplayStore(depth=STREAM_WORDS), PacketArbiter(inputs=2)
        m.submodules.streams, m.submodules.turns = self._net(store), self._net(turns)
        wiring.connect(m, store.o, turns.i[1])
        wiring.connect(m, turns.o, node)
        played = Signal()
        m.d.comb += [
            *(store.i_put.eq(receiver.o_put_stream), store.i_word.eq(receiver.o_word)),
            *(store.i_keep.eq(receiver.o_keep_stream), store.i_forget.eq(receiver.o_forget)),
            receiver.i_stream_room.eq(store.o_room),
            *(store.i_free.eq(store.o_waits & played), store.i_play.eq(store.o_waits & ~played)),
        ]
        with m.If(store.o.valid & store.o.ready & store.o.payload.last):
            m.d.net += played.eq(1)
        with m.Elif(store.o_waits):
            m.d.net += played.eq(0)
        return turns.i[0]

    def _hand_on(
        self, m: Module, requests: ReplayStore, node: stream.Interface, *, kept: Signal, repeated: Signal
    ) -> None:
        """Plays each kept request once to the node and frees it. Of a write that is ``repeated``, which is said with ``kept``, bit 31
        of the address is set: no node has a register there, so that it answers as before and does nothing."""
        m.submodules.marks = marks = memory.Memory(
            shape=1, depth=REQUEST_WORDS // HEADER_WORDS, init=[], attrs={"ram_style": "distributed"}
        )
        write, read = marks.write_port(domain="net"), marks.read_port(domain="comb")
        place = Signal(range(ADDRESS_WORD + 2))
        """Of the next word; ADDRESS_WORD + 1: behind the address."""
        moved, last_moved, done = Signal(), Signal(), Signal()
        m.d.comb += [
            *(write.en.eq(kept), write.data.eq(repeated)),
            moved.eq(requests.o.valid & requests.o.ready),
            last_moved.eq(moved & requests.o.payload.last),
            *(node.valid.eq(requests.o.valid), requests.o.ready.eq(node.ready)),
            node.payload.eq(requests.o.payload),
            node.payload.data[31].eq(requests.o.payload.data[31] | (read.data & (place == ADDRESS_WORD))),
            requests.i_free.eq(requests.o_waits & done),
            requests.i_play.eq(requests.o_waits & ~done),
        ]
        m.d.net += write.addr.eq(write.addr + kept)
        with m.If(last_moved):
            m.d.net += [done.eq(1), place.eq(0), read.addr.eq(read.addr + 1)]
        with m.Else():
            with m.If(requests.o_waits):
                m.d.net += done.eq(0)
            with m.If(moved & (place != ADDRESS_WORD + 1)):
                m.d.net += place.eq(place + 1)
