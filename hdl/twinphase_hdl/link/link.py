"""Everything between a node's rooms and its link: packers, arbiter, depacketizer, register control and snapshots."""

from collections.abc import Mapping, Sequence

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.core.rooms import CONTROL, Rooms
from twinphase_hdl.sift.heraldcoder import HeraldCoder, PlacedHerald
from twinphase_hdl.sift.heralddecoder import HeraldDecoder
from twinphase_hdl.types import Tag, Word, record_words, word_stream
from twinphase_spec import packets, units
from twinphase_spec.packets import Stream
from twinphase_spec.registers import RegisterMap

from .arbiter import PacketArbiter
from .banks import BankedTagPacker
from .control import RegisterControl
from .depacketizer import Depacketizer
from .halvedsender import HalvedSender
from .pacedcontrol import PacedControl
from .paceddepacketizer import PacedDepacketizer
from .packer import StreamPacker
from .registers import ADDRESS_BITS, RegisterBank
from .sender import PacketSender
from .skid import Skid
from .snapshot import Snapshot
from .stage import Stage
from .t2 import TagPacker

LOSSLESS = (Stream.PSI, Stream.PEER, Stream.SIFTED)
"""Streams whose source can wait for room: the psi of a whole d-window come at once, two words in two clocks, and wait in the join."""

LOST_BEFORE = (Stream.HERALD, Stream.LIVE)
"""Streams whose source may lose records before they reach the packer."""


def _packer_room(number: Stream) -> str:
    """Records per click and records per herald have a room each; the other packers are rarely awake."""
    if number in (Stream.HERALD, Stream.HERALD_CODE, Stream.PSI_CAUSAL):
        return "packer_herald"
    return "packer_tag" if number is Stream.TAG else "packers"


def link_rooms(send: Sequence[Stream]) -> tuple[str, ...]:
    """Rooms of a link: requests, registers and snapshots with their STATUS packets; the arbiter; packers."""
    return (CONTROL, "arbiter", *(_packer_room(number) for number in send))


REQUEST_DEPTH, FEW_READ_AHEAD = 128, 2
"""Of a part without LUT RAM, where every entry of a short queue costs its bits in flip-flops: words of requests that wait, words read
ahead."""


class NodeLink(wiring.Component):
    """Records and counters of a node to packets, packets to records and register accesses.

    A STATUS packet is one snapshot, whose clock count is its base; the next is not taken before it has been sent.

    Parameters
    ----------
    register_map : RegisterMap
    send : streams that the node sends, besides STATUS and responses
    receive : streams that it takes, besides register requests
    depth : buffer words of a stream's packer where it is not the packer's own
    rooms : of the node, those of `link_rooms` among them
    small : little and slow logic, little memory, for slow links: `BankedTagPacker`, for which tags wait; a word of ``rx`` or of STATUS in
        three clocks; requests with more than MAX_REGISTER_WORDS words of payload are dropped.
    snapshot : what keeps or latches the counters, the clock count first, with the ports of a `Snapshot` but ``i_counters``;
        default: a `Snapshot`. The node connects what it counts to ``link.snapshot``.

    Members
    -------
    rx, tx : In, Out(word_stream()) - the link.
    i_clock : In(51) - clock count.
    i_stream_enable : In(16) - bit s: stream s is sent.
    i_snapshot : In(1); o_snapshot_count : Out(32) - see `Snapshot`.
    i_counters_address : In; o_counters_data : Out(32) - COUNTERS memory.
    o_address, o_write, o_write_data, i_read_data - bus of the `RegisterBank`.
    send_<stream> : In(stream of records; tag: of Tag, always ready unless ``small``; herald_code: of PlacedHerald).
    receive_<stream> : Out(stream of records; herald_code: of HERALD's).
    i_flush, o_flushed : In(1), Out(1) - of the packers of HERALD and HERALD_CODE, if there is one: see `PacketBuffer`.
    i_lost_<stream> : In(1), of streams in LOST_BEFORE - strobe: a record was lost before it reached this.
    i_herald_divisor : In(8) - if HERALD_CODE is sent: see `HeraldCoder`.
    o_dropped : Out(1), Out(2) if HERALD_CODE is received - in this clock so many malformed packets came.
    o_idle : Out(1) - nothing changes before the next word, record, tick or strobe.
    """

    def __init__(
        self,
        *,
        register_map: RegisterMap,
        send: Sequence[Stream],
        receive: Sequence[Stream] = (),
        depth: Mapping[Stream, int] | None = None,
        rooms: Rooms | None = None,
        snapshot: wiring.Component | None = None,
        small: bool = False,
    ):
        self._send = tuple(send)
        self._receive = tuple(receive)
        self._depth = dict(depth or {})
        self._small = small
        self._rooms = rooms if rooms is not None else Rooms(link_rooms(send))
        self._counters = len(register_map.counters)
        self.snapshot = snapshot if snapshot is not None else Snapshot(counters=self._counters)
        members = {
            "rx": In(word_stream()),
            "tx": Out(word_stream()),
            "i_clock": In(units.CLOCK_BITS),
            "i_stream_enable": In(16),
            "i_snapshot": In(1),
            "o_snapshot_count": Out(32),
            "i_counters_address": In(len(self.snapshot.i_address)),
            "o_counters_data": Out(32),
            "o_address": Out(ADDRESS_BITS),
            "o_write": Out(1),
            "o_write_data": Out(32),
            "i_read_data": In(32),
            "o_dropped": Out(1),
            "o_idle": Out(1),
        }
        self._flushed = [number for number in (Stream.HERALD, Stream.HERALD_CODE) if number in self._send]
        if self._flushed:
            members |= {"i_flush": In(1), "o_flushed": Out(1)}
        if Stream.HERALD_CODE in self._send:
            members["i_herald_divisor"] = In(8)
        if Stream.HERALD_CODE in self._receive:
            members["o_dropped"] = Out(2)
        for number in self._send:
            if number is Stream.TAG:
                record = stream.Signature(Tag, always_ready=not small)
            elif number is Stream.HERALD_CODE:
                record = stream.Signature(PlacedHerald)
            else:
                record = stream.Signature(record_words(number))
            members[f"send_{number.name.lower()}"] = In(record)
            if number in LOST_BEFORE:
                members[f"i_lost_{number.name.lower()}"] = In(1)
        for number in self._receive:
            record_of = Stream.HERALD if number is Stream.HERALD_CODE else number
            members[f"receive_{number.name.lower()}"] = Out(stream.Signature(record_words(record_of)))
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        rooms = self._rooms
        depacketizer: Depacketizer
        control: RegisterControl
        if self._small:
            depacketizer = PacedDepacketizer(streams=self._receive, depth=REQUEST_DEPTH)
            control = PacedControl(bank_latency=RegisterBank.latency, read_ahead=FEW_READ_AHEAD)
        else:
            depacketizer = Depacketizer(streams=self._receive)
            control = RegisterControl(bank_latency=RegisterBank.latency)
        snapshot = self.snapshot
        packed = sorted(self._send)
        first = packed.index(Stream.HERALD_CODE) + 2 if Stream.HERALD_CODE in packed else None
        arbiter = PacketArbiter(inputs=len(self._send) + 2, preferred=first)
        make_status = HalvedSender if self._small else PacketSender
        status = make_status(Stream.STATUS, depth=1 << len(snapshot.status.address), single=True)
        requests_idle = depacketizer.o_idle & control.o_idle & snapshot.o_idle & status.o_idle
        rooms.put(
            m, CONTROL, requests_idle, depacketizer=depacketizer, control=control, snapshot=snapshot, status=status
        )
        rooms.put(m, "arbiter", arbiter.o_idle, arbiter=arbiter)
        packers: dict[Stream, StreamPacker | TagPacker | BankedTagPacker | HeraldCoder] = {}
        for number in self._send:
            depth = {"depth": self._depth[number]} if number in self._depth else {}
            if number is Stream.TAG and self._small:
                packers[number] = BankedTagPacker()
            elif number is Stream.TAG:
                packers[number] = TagPacker(**depth)
            elif number is Stream.HERALD_CODE:
                packers[number] = coder = HeraldCoder()
                m.d.comb += coder.i_divisor.eq(self.i_herald_divisor)
            else:
                kinds = {"lossless": number in LOSSLESS, "counts_lost": number in LOST_BEFORE}
                packers[number] = packer = StreamPacker(number, **kinds, **depth)
                if number in LOST_BEFORE:
                    m.d.comb += packer.i_lost.eq(getattr(self, f"i_lost_{number.name.lower()}"))
            wiring.connect(m, wiring.flipped(getattr(self, f"send_{number.name.lower()}")), packers[number].i)

        if self._flushed:
            m.d.comb += [packers[number].i_flush.eq(self.i_flush) for number in self._flushed]
            m.d.comb += self.o_flushed.eq(Cat(packers[number].o_flushed for number in self._flushed).all())

        idle = [part.o_idle for part in (depacketizer, control, snapshot, arbiter, status)]
        idle += self._pass(m, "received", wiring.flipped(self.rx), depacketizer.i)
        idle += self._cut(m, "requested", depacketizer.request, control.i)
        wiring.connect(m, control.o, arbiter.i[0])
        wiring.connect(m, arbiter.o, wiring.flipped(self.tx))
        dropped = depacketizer.o_dropped
        for number in self._receive:
            name = number.name.lower()
            port = wiring.flipped(getattr(self, f"receive_{name}"))
            if number is Stream.HERALD_CODE:
                decoder = HeraldDecoder()
                rooms.put(m, CONTROL, decoder=decoder)
                # Decoding is slow, and what it takes comes late in the clock.
                m.submodules.coded = coded = Stage(Word)
                wiring.connect(m, depacketizer.herald_code, coded.i)
                wiring.connect(m, coded.o, decoder.i)
                idle.append(coded.i.ready)
                wiring.connect(m, decoder.o, port)
                dropped = dropped + decoder.o_malformed
                idle.append(decoder.o_idle)
            else:
                wiring.connect(m, getattr(depacketizer, name), port)
        # Nothing of STATUS is ever lost: there is no next record before this one has been sent.
        m.d.comb += [
            status.i_waiting.eq(snapshot.status.waits),
            status.i_head.words.eq(2 * self._counters),
            status.i_head.base_clock.eq(snapshot.status.clock),
            status.i_data.eq(snapshot.status.data),
            snapshot.status.address.eq(status.o_address),
            snapshot.status.read.eq(status.o_read),
            snapshot.status.sent.eq(status.o_sent),
        ]
        idle += self._pass(m, "status_words", status.o, arbiter.i[1])
        for k, (number, packer) in enumerate(sorted(packers.items())):
            rooms.put(m, _packer_room(number), **{f"packer_{number.name.lower()}": packer})
            wiring.connect(m, packer.o, arbiter.i[k + 2])
            m.d.comb += [packer.i_clock.eq(self.i_clock), packer.i_enable.eq(self.i_stream_enable[int(number)])]
            idle.append(packer.o_idle)
        for room in sorted({_packer_room(number) for number in packers}):
            rests = Cat(packer.o_idle for number, packer in packers.items() if _packer_room(number) == room).all()
            rooms.put(m, room, rests)
        quiet = Signal(len(idle))
        m.d.comb += [quiet[k].eq(part) for k, part in enumerate(idle)]

        m.d.comb += [
            self.o_address.eq(control.o_address),
            self.o_write.eq(control.o_write),
            self.o_write_data.eq(control.o_write_data),
            control.i_read_data.eq(self.i_read_data),
            snapshot.i_clock.eq(self.i_clock),
            snapshot.i_status_enable.eq(self.i_stream_enable[int(packets.Stream.STATUS)]),
            snapshot.i_snapshot.eq(self.i_snapshot),
            snapshot.i_address.eq(self.i_counters_address),
            self.o_counters_data.eq(snapshot.o_data),
            self.o_snapshot_count.eq(snapshot.o_snapshot_count),
            self.o_idle.eq(quiet.all()),
        ]
        m.d.sync += self.o_dropped.eq(dropped)
        return m

    def _cut(self, m: Module, name: str, source: stream.Interface, target: stream.Interface) -> list[Value]:
        """Words of ``source`` to ``target``, cut in both directions where records are received: whether the one consumer waits decides
        there within the clock what becomes of another's record. Returns what is high while no word is between."""
        if not self._receive:
            wiring.connect(m, source, target)
            return []
        m.submodules[name] = skid = Skid()
        wiring.connect(m, source, skid.i)
        wiring.connect(m, skid.o, target)
        return [~skid.o.valid]

    def _pass(self, m: Module, name: str, source: stream.Interface, target: stream.Interface) -> list[Value]:
        """Words of ``source`` to ``target``; slow logic gets a `Stage` between. Returns what is high while that holds no word."""
        if not self._small:
            wiring.connect(m, source, target)
            return []
        m.submodules[name] = stage = Stage(Word)
        wiring.connect(m, source, stage.i)
        wiring.connect(m, stage.o, target)
        return [stage.i.ready]
