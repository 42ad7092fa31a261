"""A small stand-in for a server node: a packet source that is right by construction, and a UDP socket that is unreliable."""

from __future__ import annotations

import random
import socket
import struct
import threading
import time
from collections import Counter

import numpy as np

from twinphase.batch import TAG_DTYPE
from twinphase.packets import pack
from twinphase_spec.packets import HERALD_DTYPE, PHASE_DTYPE, RegisterStatus, Stream
from twinphase_spec.registers import CLIENT, ID_MAGIC, SERVER, TIMETAGGER, Access
from twinphase_spec.tagger import PARTS
from twinphase_spec.units import CLOCK_HZ

PERIOD_BITS = 25


def t2_packet(sequence, ticks, channels, first_record, base_period=None, lost=0):
    """A TAG packet of the given times, word by word as the contract says."""
    base = (int(ticks[0]) >> PERIOD_BITS) if base_period is None else base_period
    words, period = [], base
    for tick, channel in zip(map(int, ticks), map(int, channels), strict=True):
        if tick >> PERIOD_BITS > period:
            words.append(1 << 31 | 63 << 25 | (tick >> PERIOD_BITS) - period)
            period = tick >> PERIOD_BITS
        words.append(channel << 25 | tick & (1 << PERIOD_BITS) - 1)
    payload = np.array(words, "<u4").tobytes()
    return pack(Stream.TAG, sequence, payload, base_ticks=base << PERIOD_BITS, lost=lost, first_record=first_record)


def random_tags(count, seed, mean_step_ticks=1 << 21, start_ticks=1 << 30, channels=(0, 1, 2, 3)):
    """Time-ordered tags; steps are exponential, so that some cross several periods."""
    rng = np.random.default_rng(seed)
    tags = np.zeros(count, TAG_DTYPE)
    tags["time_ticks"] = start_ticks + np.cumsum(rng.exponential(mean_step_ticks, count).astype(np.int64))
    tags["channel"] = np.array(channels)[rng.integers(0, len(channels), count)]
    return tags


def tag_packets(tags, per_packet=100, first_record=0):
    """TAG packets with the tags, in order, with numbers from 0."""
    packets = []
    for sequence, at in enumerate(range(0, len(tags), per_packet)):
        part = tags[at : at + per_packet]
        packets.append(t2_packet(sequence, part["time_ticks"], part["channel"], first_record + at))
    return packets


def record_packets(stream, records, per_packet, start_clock, clocks_per_packet):
    """Packets of fixed-size records, closed at a steady pace."""
    return [
        pack(
            stream,
            i,
            records[at : at + per_packet].tobytes(),
            base_ticks=(start_clock + i * clocks_per_packet) << 13,
            first_record=at,
        )
        for i, at in enumerate(range(0, len(records), per_packet))
    ]


def phases(count, seed=3, step_turns=30):
    """PHASE records of a steady drift."""
    rng = np.random.default_rng(seed)
    records = np.zeros(count, PHASE_DTYPE)
    records["window"] = np.arange(count)
    records["unwrapped_turns"] = step_turns * np.arange(count)
    records["psi_r_turns"] = records["unwrapped_turns"] & 0xFFFF
    records["flags"] = 1
    records["clicks_r"] = 10_000
    angle = records["unwrapped_turns"] * (2 * np.pi / 65536)
    records["cosine_r"] = np.round(4850 * np.cos(angle) + rng.normal(0, 70, count))
    records["sine_r"] = np.round(4850 * np.sin(angle) + rng.normal(0, 70, count))
    return records


def heralds(count, seed=4):
    rng = np.random.default_rng(seed)
    records = np.zeros(count, HERALD_DTYPE)
    records["number"] = np.arange(count)
    records["pulse_low"] = np.sort(rng.integers(0, 1 << 31, count))
    return records


class Registers:
    """Register words of a node, with a count of executed writes."""

    def __init__(self, node_map=SERVER):
        self.map = node_map
        self.words = {}
        for register in node_map.registers:
            for i in range(register.words):
                self.words[register.address + i] = register.reset >> 32 * i & 0xFFFFFFFF
        fixed = {"ID_MAGIC": ID_MAGIC, "CLOCK_HZ": CLOCK_HZ, "MAP_HASH": node_map.hash, "BUILD_HASH": 0xB01D}
        for name, value in fixed.items():
            self.words[node_map[name].address] = value
        self.writes = Counter()
        self.last_write = None

    def answer(self, packet):
        words = struct.unpack(f"<{len(packet) // 4}I", packet)
        identifier, op, address, count = words[1], words[2] >> 16, words[3], words[4]
        status, payload = RegisterStatus.OK, b""
        if not 1 <= count <= 64 or op > 1 or (op == 1 and len(words) - 8 != count):
            status = RegisterStatus.BAD_REQUEST
        elif op == 0:
            payload = struct.pack(f"<{count}I", *(self.words.get(address + i, 0) for i in range(count)))
        elif self.last_write != identifier:
            self.last_write = identifier
            for i in range(count):
                self.write(address + i, words[8 + i])
        return pack(Stream.REGISTER_RESPONSE, identifier, payload, base_ticks=address | count << 32, flags=int(status))

    def write(self, address, value):
        self.writes[address] += 1
        snapshot = self.map["SNAPSHOT"].address
        if address == snapshot:
            self.words[self.map["SNAPSHOT_COUNT"].address] += 1
        elif not any(r.address <= address < r.address + r.words and r.access is Access.RO for r in self.map.registers):
            self.words[address] = value


ALL_PARTS = (1 << len(PARTS)) - 1


class TaggerRegisters(Registers):
    """A time tagger with delay lines: counters that go on with every snapshot, copies of delay lines, and a log of all writes.

    ``rates``: edges per millisecond of each channel's pin, which are hits while the channel is enabled. ``lines``: words of CAL_BINS per
    delay line. ``drain``: snapshots after a disabling until nothing is in flight.
    """

    def __init__(
        self,
        *,
        channels=4,
        chains=1,
        taps=256,
        lanes=2,
        front_end=3,
        rates=(5, 5, 5, 5),
        drain=3,
        parts=ALL_PARTS,
    ):
        super().__init__(TIMETAGGER)
        self.log = []
        self.rates, self.drain = rates, drain
        self.lines = {}
        self.counts = dict.fromkeys(TIMETAGGER.counter_names, 0)
        self.copies = True
        self.counts.update({f"seen_{c}": rate for c, rate in enumerate(rates)})
        for name, value in {
            "CHANNELS": channels,
            "CHAINS": chains,
            "TAPS": taps,
            "LANES": lanes,
            "PARTS": parts,
            "FRONTEND": front_end,
            "STREAM_ENABLE": 1 << Stream.TAG | 1 << Stream.STATUS,
        }.items():
            self[name] = value
        self.advance()

    def __getitem__(self, name):
        return self.words[self.map[name].address]

    def __setitem__(self, name, value):
        self.words[self.map[name].address] = value

    def advance(self):
        """A millisecond passes, then a snapshot."""
        counts = self.counts
        counts["clock"] += CLOCK_HZ // 1000
        enable = self["CHANNEL_ENABLE"]
        for c, rate in enumerate(self.rates):
            counts[f"seen_{c}"] += rate * (enable >> c & 1)
            inside = 1 if (enable or self.drain) and rate else 0
            counts[f"in_flight_{c}"] = inside
            counts[f"tags_{c}"] = counts[f"seen_{c}"] - inside if counts[f"seen_{c}"] else 0
        self.drain -= bool(self.drain and not enable)
        base = self.map.memory("COUNTERS").address
        for i, value in enumerate(counts.values()):
            self.words[base + 2 * i], self.words[base + 2 * i + 1] = value & 0xFFFFFFFF, value >> 32

    def write(self, address, value):
        if address == self.map["SNAPSHOT"].address:
            self.advance()
        elif address == self.map["CAL_DUMP"].address and self.copies:
            self["CAL_DUMPS"] += 1
            base = self.map.memory("CAL_BINS").address
            line = self.lines.get(self["CAL_SELECT"], np.zeros(4 * self["TAPS"], np.int64))
            self.words.update({base + i: int(word) for i, word in enumerate(line)})
        else:
            self.log.append((address, value))
        super().write(address, value)


class FakeNode(threading.Thread):
    """A node on localhost. ``answer``: probabilities of (lost request, lost answer, doubled answer) and a delay; packets in
    ``outbox`` go to the subscriber as they are, paced by its receipts when ``paced``. One that finds the send buffer full for 2 ms is
    lost, as without a cable, or tried again when ``patient``. ``cut``: nothing comes through. ``pinned``: who gets the packets,
    whoever subscribes."""

    def __init__(
        self,
        node_map=SERVER,
        *,
        lose=0.0,
        double=0.0,
        delay_s=0.0,
        seed=1,
        paced=False,
        patient=False,
        registers=None,
        host="127.0.0.1",
        port=0,
    ):
        super().__init__(daemon=True)
        self.registers = registers or Registers(node_map)
        self.lose, self.double, self.delay_s = lose, double, delay_s
        self.paced, self.patient = paced, patient
        self.random = random.Random(seed)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((host, port))
        self.socket.settimeout(0.002)
        self.url = f"udp://{host}:{self.socket.getsockname()[1]}"
        self.outbox = []
        self.cut, self.pinned = False, None
        self.subscriptions = 0
        self.receipts = {}
        self.requests = 0
        self._late = []
        self._sent = 0
        self._peer = None
        self._restart = None
        self._done = threading.Event()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exception):
        self._done.set()
        self.join()
        self.socket.close()

    def run(self):
        while not self._done.is_set():
            try:
                packet, peer = self.socket.recvfrom(2048)
                if not self.cut:
                    self._take(packet, peer)
            except OSError:
                pass
            now = time.monotonic()
            for due in [late for late in self._late if late[0] <= now]:
                self._late.remove(due)
                self.socket.sendto(due[1], due[2])
            if self._restart is not None:
                self.outbox, self._restart, self._peer, self._sent = self._restart, None, None, 0
            if self._peer and self._sent < len(self.outbox) and (not self.paced or self._sent - self._received() < 64):
                part = self.outbox[self._sent : self._sent + 16]  # once: a test may put another list there meanwhile
                for packet in part if not self.cut else ():
                    self._send(packet)
                self._sent += len(part)

    def _send(self, packet):
        while not self._done.is_set():
            try:
                self.socket.sendto(packet, self._peer)
            except TimeoutError:  # the send buffer has been full for so long
                if self.patient:
                    continue
            except OSError:  # without a cable
                pass
            return

    def restart(self, outbox):
        """The node loses power for a moment: no subscriber, and other packets to send."""
        self._restart = outbox

    def _received(self):
        return sum(sequence + 1 for sequence in self.receipts.values())

    def _take(self, packet, peer):
        if packet[0] == Stream.SUBSCRIBE:
            self.subscriptions += 1
            self._peer = self.pinned or peer
            self.receipts.update(struct.iter_unpack("<II", packet[32:]))
        elif packet[0] == Stream.REGISTER_REQUEST:
            self.requests += 1
            if self.random.random() < self.lose:
                return
            answer = self.registers.answer(packet)
            if self.random.random() < self.lose:
                return
            for _ in range(1 + (self.random.random() < self.double)):
                self._late.append((time.monotonic() + self.delay_s, answer, peer))


__all__ = [
    "CLIENT",
    "SERVER",
    "TIMETAGGER",
    "FakeNode",
    "Registers",
    "TaggerRegisters",
    "heralds",
    "phases",
    "random_tags",
    "record_packets",
    "tag_packets",
]
