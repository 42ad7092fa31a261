"""What drives a `UdpLink` on its shelf: datagrams in and out, a node that answers requests, two clocks."""

from __future__ import annotations

import random
from collections import deque
from typing import Any

import cocotb
import numpy as np

from bench_packer import LAST, packets_of
from lockstep import Lockstep
from twinphase_hdl.link.udpport import ReceivedWord, SentWord
from twinphase_hdl.link.udpreceiver import Drop
from twinphase_sim.model.link.udp import LEASE_TICKS, Address, Datagram, UdpNode
from twinphase_spec.packets import MAGIC, VERSION, Stream
from vectors import pack, unpack

PLACES, DEPTH, NET_HZ, PORT, REGISTER_PORT, LINK_PORT = 3, 1024, 4000.0, 9750, 9751, 9752
PATIENCE_SECONDS, STALL_SECONDS, MEMORY_SECONDS = 2.0, 0.25, 250.0
"""Of the link on the shelf: as its leases last 20 000 clocks, all else is as slow. No test lasts as long as a writer is known."""
UDP = {
    "places": PLACES,
    "depth": DEPTH,
    "net_hz": NET_HZ,
    "port": PORT,
    "register_port": REGISTER_PORT,
    "link_port": LINK_PORT,
    "patience_seconds": PATIENCE_SECONDS,
    "stall_seconds": STALL_SECONDS,
    "memory_seconds": MEMORY_SECONDS,
}
"""The link on the shelf."""
STREAMS = (Stream.HERALD_CODE, Stream.PSI, Stream.PEER, Stream.LIVE)
STREAM_WORDS = 2048
"""What the second link on the shelf takes besides requests, and the words of its queue for them."""
TICK_CLOCKS = -(-round(5.0 * NET_HZ) // LEASE_TICKS)
LATENCY = 5
"""From a SUBSCRIBE's last word, in its clock, to the first clock of the lease."""
DROPPED_LATER, REFUSED_LATER = 2, 5
"""From a datagram's last word to its strobe."""
HOSTS: list[Address] = [(0xC0A80102, 50001), (0xC0A80102, 50002), (0x0A000001, 9750), (0xC0A801FE, 0xFFFF)]
STROBES = ("struck", "sent", "discarded", "unasked", "malformed")


def packet(
    stream: int,
    payload: list[int] | None = None,
    *,
    number: int = 0,
    first: int | None = None,
    flags: int = 0,
    address: int = 0,
) -> bytes:
    """A packet; ``first`` replaces w0. ``address`` is w3."""
    payload = payload or []
    head = MAGIC << 16 | VERSION << 8 | stream if first is None else first
    return np.array([head, number, len(payload) | flags << 16, address, 0, 0, 0, 0, *payload], "<u4").tobytes()


def request(number: int, payload: list[int] | None = None, *, flags: int = 0, address: int = 0) -> bytes:
    return packet(Stream.REGISTER_REQUEST, payload, number=number, flags=flags, address=address)


SUBSCRIBE = packet(Stream.SUBSCRIBE)


def source_words(datagram: Datagram) -> list[int]:
    """A datagram as the core hands it on: at least a word, the error with the last one."""
    data = datagram.data
    count = max(1, -(-len(data) // 4))
    padded = data.ljust(4 * count, b"\xa5")
    fields = {
        "length": len(data) if datagram.length is None else datagram.length,
        "ip_address": datagram.host[0],
        "src_port": datagram.host[1],
        "dst_port": datagram.port,
    }
    words = []
    for k in range(count):
        last = k == count - 1
        words.append(
            pack(
                ReceivedWord,
                fields
                | {
                    "data": int.from_bytes(padded[4 * k : 4 * k + 4], "little"),
                    "last": last,
                    "last_be": 1 << (len(data) - 1) % 4 if last else 0,
                    "error": datagram.error and last,
                },
            )
        )
    return words


class Rig:
    """The link between its two loops. ``idle``, ``pause``: of every source and of both sinks. ``unit``: its name on the shelf."""

    def __init__(
        self,
        dut: Any,
        *,
        idle: float = 0.0,
        pause: float = 0.0,
        net_ps: int = 16_000,
        answer: float = 1.0,
        seed: int = 0,
        unit: str = "udp",
    ) -> None:
        self.dut = dut
        self.unit = unit
        self.node = Lockstep(dut)
        self.net = Lockstep(dut, domain="net_", period_ps=net_ps)
        self.source = self.net.source(f"{unit}__port__source", idle=idle, seed=seed)
        self.sink = self.net.sink(f"{unit}__port__sink", idle=pause, seed=seed)
        self.tx = self.node.source(f"{unit}__tx", idle=idle, seed=seed)
        self.rx = self.node.sink(f"{unit}__rx", idle=pause, seed=seed)
        self.draw = random.Random(f"node {seed}")
        self.answer = answer
        """Probability per clock that the node answers a request that waits."""
        self.received: list[Datagram] = []
        self.sent: list[bytes] = []
        """Packets given to ``tx``, in order."""
        self.to_send: deque[bytes] = deque()
        """Packets that the node sends between its answers."""
        self.drops: list[tuple[int, str]] = []
        """(net cycle, name of the reason)."""
        self.counts = dict.fromkeys(STROBES, 0)
        self.ends: list[int] = []
        """Net cycles of the last words of datagrams that came."""
        self.live: list[tuple[int, int]] = []
        """Changes of the live places: (net cycle, mask)."""
        self._answered = 0
        self._words_in = 0
        self._open: list[int] = []
        self._requests: deque[bytes] = deque()
        self.node.before.append(self._act)
        self.net.after.append(self._watch)
        self._in_datagram = False
        self._words_out = 0

    async def start(self, *, group: Address = (0, 0)) -> None:
        """Resets both domains and lets the net run on by itself."""
        self.port("i_group_address").value, self.port("i_group_port").value = group
        self.port("i_mac_address").value, self.port("i_ip_address").value = 0x020304050607, 0xC0A80132
        cocotb.start_soon(self._net())
        await self.node.start()

    def port(self, name: str) -> Any:
        """Of the link."""
        return getattr(self.dut, f"{self.unit}__{name}")

    async def _net(self) -> None:
        await self.net.start()
        while True:
            await self.net.step(256)

    def receive(self, datagram: Datagram) -> None:
        """Queue a datagram from the core."""
        self.received.append(datagram)
        self.source.send(source_words(datagram))

    def _act(self, cycle: int) -> None:
        """The node: requests become answers in their order, between the packets of ``to_send``."""
        while self._answered < len(self.rx.taken):
            word = self.rx.taken[self._answered][1]
            self._answered += 1
            self._open.append(word)
            if word & LAST:
                (whole,) = packets_of(self._open)
                if whole[0] == Stream.REGISTER_REQUEST:
                    self._requests.append(whole)
                self._open = []
        if len(self.tx.queue) > 600:
            return
        if self._requests and self.draw.random() < self.answer:
            asked = self._requests.popleft()
            number, address = (int.from_bytes(asked[at : at + 4], "little") for at in (4, 12))
            words = list(range(self.draw.randrange(5)))
            self.give(packet(Stream.REGISTER_RESPONSE, words, number=number, address=address))
        elif self.to_send:
            self.give(self.to_send.popleft())

    def give(self, whole: bytes) -> None:
        """A packet to ``tx``."""
        words = np.frombuffer(whole, "<u4").tolist()
        self.sent.append(whole)
        self.tx.send([*words[:-1], words[-1] | LAST])

    def _watch(self, cycle: int) -> None:
        dropped = int(self.port("o_dropped").value)
        if dropped:
            self.drops += [(cycle, reason.name) for reason in Drop if dropped >> reason & 1]
        for name in STROBES:
            self.counts[name] += int(self.port(f"o_{name}").value)
        live = int(self.port("o_live").value)
        if live != (self.live[-1][1] if self.live else 0):
            self.live.append((cycle, live))
        taken = self.source.taken
        while self._words_in < len(taken):
            if taken[self._words_in][1] >> 32 & 1:
                self.ends.append(taken[self._words_in][0])
            self._words_in += 1
        # A datagram has no gap.
        valid = bool(self.port("port__sink__valid").value)
        assert valid or not self._in_datagram, "valid fell within a datagram"
        if len(self.sink.taken) > self._words_out:
            self._words_out = len(self.sink.taken)
            self._in_datagram = not self.sink.taken[-1][1] >> 32 & 1

    @property
    def quiet(self) -> bool:
        """Everything that was queued has gone in, and all answers out of the node."""
        return not (self.source.queue or self.tx.queue or self.to_send or self._requests or self._open)

    async def settle(self, limit: int = 60_000, clocks: int = 200) -> None:
        """Until nothing has moved for ``clocks`` clocks of the node."""
        before, still = None, 0

        def rests() -> bool:
            nonlocal before, still
            now = (len(self.sink.taken), len(self.rx.taken), len(self.source.taken), len(self.tx.taken), self.quiet)
            still = still + 1 if now == before and self.quiet else 0
            before = now
            return still > clocks

        await self.node.until(rests, limit, "rest")

    async def reach(self, cycle: int) -> None:
        """Steps until net ``cycle``."""
        await self.node.until(lambda: self.net.cycle >= cycle, 200_000, f"net cycle {cycle}")

    @property
    def verdicts(self) -> list[str | None]:
        """Of every datagram that came, why it was dropped, if it was."""
        drops = set(self.drops)
        found: list[str | None] = []
        for end in self.ends:
            late = (end + REFUSED_LATER, Drop.REFUSED.name)
            own = [(end + DROPPED_LATER, reason.name) for reason in Drop if reason is not Drop.REFUSED] + [late]
            reasons = [drop for drop in own if drop in drops]
            assert len(reasons) <= 1, f"two reasons at once: {reasons}"
            drops -= set(reasons)
            found.append(reasons[0][1] if reasons else None)
        assert not drops, f"strobes of no datagram: {drops}"
        return found

    @property
    def requests(self) -> list[bytes]:
        """Requests that reached the node."""
        return [whole for whole in packets_of(self.rx.words) if whole[0] == Stream.REGISTER_REQUEST]

    @property
    def streamed(self) -> list[bytes]:
        """Packets of streams that did."""
        return [whole for whole in packets_of(self.rx.words) if whole[0] != Stream.REGISTER_REQUEST]

    @property
    def datagrams(self) -> list[Datagram]:
        """What went to the core; AssertionError when the fields of a datagram disagree."""
        found: list[Datagram] = []
        columns = unpack(SentWord, self.sink.words)
        rows = list(zip(*(columns[name].tolist() for name in columns), strict=True))
        open_rows: list[dict[str, int]] = []
        for row in rows:
            fields = dict(zip(columns, row, strict=True))
            open_rows.append(fields)
            assert fields["last_be"] == (8 if fields["last"] else 0)
            if fields["last"]:
                said = {(f["length"], f["ip_address"], f["src_port"], f["dst_port"]) for f in open_rows}
                assert len(said) == 1, "a datagram changed its addresses"
                (length, ip_address, src_port, dst_port) = said.pop()
                data = np.array([f["data"] for f in open_rows], "<u4").tobytes()
                assert length == len(data)
                found.append(Datagram(host=(ip_address, dst_port), port=src_port, data=data))
                open_rows = []
        assert not open_rows, "a datagram without end"
        return found

    def tick(self, cycle: int) -> int:
        """Lease tick of net ``cycle``; the first one is a clock after the reset."""
        return cycle // TICK_CLOCKS


def judge(rig: Rig, model: UdpNode) -> None:
    """Every verdict on what came, and the requests that went to the node, are the reference's; what was FULL is replayed."""
    verdicts, datagrams = rig.verdicts, rig.received
    assert len(verdicts) == len(datagrams)
    for k, (datagram, verdict, end) in enumerate(zip(datagrams, verdicts, rig.ends, strict=True)):
        reason = model.receive(datagram, tick=rig.tick(end + LATENCY), room=verdict != Drop.FULL.name)
        assert (reason and reason.name) == verdict, f"datagram {k} of {len(datagrams)}: {datagram}"
    assert rig.requests == model.requests
    assert rig.streamed == model.streamed
