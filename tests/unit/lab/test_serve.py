"""Sockets and messages of the virtual lab, with a lab that sends numbered packets instead of simulating."""

from __future__ import annotations

import socket
import struct
import threading
import time
from dataclasses import dataclass

import numpy as np
import pytest

from twinphase.packets import pack
from twinphase_sim.lab.messages import DelayLine
from twinphase_sim.lab.server import LabServer, PortError, open_ports
from twinphase_sim.lab.subscriber import SILENT_S, STUCK_S, WINDOW_PACKETS, Subscriber
from twinphase_sim.lab.virtual import NODES
from twinphase_sim.native import NodeOutput
from twinphase_spec.packets import RegisterOp, Stream


def _output(packets: list[tuple[int, bytes]]) -> NodeOutput:
    words = np.frombuffer(b"".join(data for _, data in packets), "<u4")
    ends = np.cumsum([len(data) // 4 for _, data in packets]).astype(np.uint64)
    clocks = np.array([clock for clock, _ in packets], np.uint64)
    return NodeOutput(words=words, ends=ends, clocks=clocks, word_clocks=np.empty(0, np.uint64))


def test_messages_arrive_in_order_after_the_delay() -> None:
    line = DelayLine((Stream.HERALD, Stream.PSI), 1000)
    herald, psi, tag = (pack(stream, 1, b"abcd") for stream in (Stream.HERALD, Stream.PSI, Stream.TAG))
    line.send(_output([(5, herald), (7, tag), (9, psi)]))
    line.send(_output([]))
    line.send(_output([(500, herald)]))
    assert line.arriving(1005) == []
    assert line.arriving(1010) == [(1005, herald), (1009, psi)]
    assert line.arriving(10_000) == [(1500, herald)]


def _receipt(*pairs: tuple[int, int]) -> bytes:
    return pack(Stream.SUBSCRIBE, 0, b"".join(struct.pack("<II", *pair) for pair in pairs))


def test_reader_with_receipts_is_waited_for() -> None:
    reader = Subscriber(0.0)
    reader.renew(_receipt((Stream.TAG, 0xFFFFFFF0)), 0.0)
    for i in range(WINDOW_PACKETS):
        assert reader.ready(0.0)
        reader.sent(pack(Stream.TAG, 0xFFFFFFF1 + i), 0.0)
    assert not reader.ready(4.0)
    reader.renew(_receipt((Stream.TAG, 3)), 0.1)  # beyond the wrap of the sequence
    assert reader.ready(0.1)
    for i in range(19):
        reader.sent(pack(Stream.PSI, i), 0.2)
    assert not reader.ready(0.2)
    reader.renew(_receipt((Stream.TAG, 3)), 0.2 + 2 * STUCK_S)  # the rest was lost on the way
    assert reader.ready(0.2 + 2 * STUCK_S)


def test_reader_without_receipts_is_not_waited_for() -> None:
    reader = Subscriber(0.0)
    for i in range(WINDOW_PACKETS):
        reader.sent(pack(Stream.TAG, i), 0.0)
    assert not reader.ready(SILENT_S / 2)
    assert reader.ready(2 * SILENT_S)
    assert not reader.paced


def test_busy_port_is_one_sentence() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(PortError, match=rf"UDP port {port} .* is busy: .* --port"):
            open_ports(NODES, "127.0.0.1", port)
    with pytest.raises(PortError, match="cannot be used"):
        open_ports(NODES, "127.0.0.1", 70_000)


@dataclass
class _Step:
    outputs: dict[str, NodeOutput]


class _CountingLab:
    """Each node sends ten numbered packets per chunk and answers requests."""

    chunk_clocks = 10_000
    waker = None
    messages = frozenset({Stream.PEER})
    real_time = False

    def __init__(self) -> None:
        self.clock = 0
        self.sequence = 0
        self._submitted: list[tuple[str, bytes]] = []

    @property
    def seconds(self) -> float:
        return self.clock / 125e6

    def submit(self, name: str, packet: bytes) -> None:
        self._submitted.append((name, packet))

    def step(self, stop_clock: int) -> _Step:
        full = stop_clock - self.clock == self.chunk_clocks
        self.clock = stop_clock
        outputs = {}
        for name in ("server", "alice", "bob"):
            packets = [(stop_clock, pack(Stream.HERALD, self.sequence + i, bytes(1024))) for i in range(10 * full)]
            packets += [
                (stop_clock, pack(Stream.REGISTER_RESPONSE, int.from_bytes(asked[4:8], "little"), b"1234"))
                for to, asked in self._submitted
                if to == name
            ]
            outputs[name] = _output(packets)
        self.sequence += 10 * full
        self._submitted.clear()
        return _Step(outputs)

    def close(self) -> None:
        pass


def test_ports_serve_requests_and_a_slow_reader_loses_nothing() -> None:
    lab = _CountingLab()
    server = LabServer(lab, open_ports(NODES, "127.0.0.1", 0), readers=1, seconds=0.02)  # type: ignore[arg-type]
    stop = threading.Event()
    thread = threading.Thread(target=server.serve, args=(stop.is_set,))
    thread.start()
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as host:
            host.connect(server.ports[1].address)
            host.settimeout(5)
            host.send(b"no packet")
            host.send(pack(Stream.TAG, 0))
            time.sleep(0.05)
            assert lab.clock == 0, "a lab that nobody reads waits"
            host.send(pack(Stream.REGISTER_REQUEST, 77, base_ticks=1 << 32, flags=RegisterOp.READ))
            assert host.recv(2000) == pack(Stream.REGISTER_RESPONSE, 77, b"1234")
            assert 0 < lab.clock <= 8192
            host.send(_receipt((Stream.HERALD, 0xFFFFFFFF)))
            expected = 0
            while expected < 2000:
                packet = host.recv(2000)
                assert int.from_bytes(packet[4:8], "little") == expected
                expected += 1
                if expected % 32 == 0:
                    if expected % 512 == 0:
                        time.sleep(0.1)
                    host.send(_receipt((Stream.HERALD, expected - 1)))
    finally:
        stop.set()
        thread.join()
        server.close()
    assert server.ports[1].ignored == 2
