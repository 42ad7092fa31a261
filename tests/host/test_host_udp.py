"""The UDP transport against a node that is slow, forgetful and repeats itself."""

import os
import pty
import socket
import threading
import time
import tty

import numpy as np
import pytest
from fake_node import CLIENT, SERVER, FakeNode, Registers, heralds, random_tags, record_packets, tag_packets
from hypothesis import given
from hypothesis import strategies as st

from twinphase import stream_state
from twinphase.device import open_device
from twinphase.errors import DeviceError
from twinphase.transport.slip import FrameReader, encode_frame
from twinphase.transport.udp import parse_udp_url
from twinphase_spec.packets import MAX_PACKET_BYTES, SLIP_END, Stream


def test_registers_by_name():
    with FakeNode() as node, open_device(node.url) as device:
        assert device.identity().node.name == "SERVER"
        device.write("PERIOD", (1 << 48) + 12345)
        assert device.read("PERIOD") == (1 << 48) + 12345
        device.write("DELAY_qR", -1234)
        assert device.read("DELAY_qR") == -1234
        device.write("DELAY_qR", -1234 & 0xFFFFFFFF)  # as configure.server_registers gives it
        assert device.read("DELAY_qR") == -1234
        words = np.arange(1000) % 251
        device.write_memory("FRAME_TABLE", words, 7)
        assert np.array_equal(device.read_memory("FRAME_TABLE", 7, 1000), words)
        assert device.counters()["clock"] == 0
        for wrong in (
            lambda: device.write("MAP_HASH", 1),
            lambda: device.write("SWAP", 4),
            lambda: device.read("NONSENSE"),
            lambda: device.read_memory("COUNTERS", 100, 29),
            lambda: device.write_memory("FRAME_TABLE", [256]),
        ):
            with pytest.raises(DeviceError, match=r"^udp://.*[^\n]$"):
                wrong()


def test_each_request_is_executed_and_answered_once_over_a_bad_network():
    with FakeNode(lose=0.3, double=0.3, delay_s=0.002) as node, open_device(node.url) as device:
        address = SERVER["START_CLOCK"].address
        for value in range(12):
            device.write("START_CLOCK", value)
            assert device.read("START_CLOCK") == value
        assert node.registers.writes[address] == 12
        assert node.requests > 24  # some were retried


def test_an_answer_that_comes_too_late_is_not_taken_for_another():
    with FakeNode() as node, open_device(node.url) as device:
        node.delay_s = 0.4  # longer than the time after which a request is sent again
        device.write("SWAP", 1)
        node.delay_s = 0.0
        device.write("SWAP", 2)
        assert device.read("SWAP") == 2
        assert node.registers.writes[SERVER["SWAP"].address] == 2


@pytest.mark.parametrize(
    ("register", "value", "says"),
    [
        ("ID_MAGIC", 1, "no Twinphase node"),
        ("INTERFACE_VERSION", 99, "install the Twinphase release"),
        ("NODE_TYPE", 7, "update Twinphase"),
        ("MAP_HASH", 3, "build and load a new bitstream"),
        ("CLOCK_HZ", 100_000_000, "build a bitstream"),
    ],
)
def test_a_node_that_does_not_fit_is_refused(register, value, says):
    with FakeNode() as node:
        node.registers.words[SERVER[register].address] = value
        with pytest.raises(DeviceError, match=says):
            open_device(node.url)


def test_nothing_there():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = time.monotonic()
    with pytest.raises(DeviceError, match="does not answer"):
        open_device(f"udp://127.0.0.1:{port}")
    assert time.monotonic() - started < 1.5


@pytest.mark.parametrize(
    "url", ["udp://", "udp://host:port", "udp://host:99999", "serial://", "serial:///dev/x?baud=fast", "nix:1"]
)
def test_bad_urls(url):
    with pytest.raises(DeviceError):
        open_device(url)


def test_default_port():
    assert parse_udp_url("udp://board") == ("board", 9750)


@pytest.mark.parametrize("impaired", [False, True])
def test_streams_arrive(impaired, monkeypatch):
    # Longer than a busy machine can keep the node's thread from sending the other packet of a swapped pair.
    monkeypatch.setattr(stream_state, "HOLD_S", 0.5)
    tags, numbers = random_tags(30_000, 1, 1 << 16), heralds(20_000)
    tag_list = tag_packets(tags, 30)
    herald_list = record_packets(Stream.HERALD, numbers, 20, 1 << 17, 8192)
    outbox = [packet for pair in zip(tag_list, herald_list, strict=True) for packet in pair]
    lost = set()
    if impaired:
        lost = {int(i) for i in np.random.default_rng(1).choice(np.arange(4, 1990), 100, replace=False)}
        outbox = [packet for i, packet in enumerate(outbox) if i not in lost]
        for i in range(10, len(outbox) - 10, 50):
            outbox[i], outbox[i + 2] = outbox[i + 2], outbox[i]
        for i in range(20, len(outbox) - 10, 60):
            outbox.insert(i, outbox[i])
    with FakeNode(paced=not impaired) as node, open_device(node.url) as device:
        node.outbox = outbox
        parts, deadline = [], time.monotonic() + 10
        for batch in device.batches(timeout_s=0.02):
            parts.append(batch)
            done = all(state.sequence == 999 for state in device.streams.values()) and device.streams
            if (done and not len(batch)) or time.monotonic() > deadline:
                break
        assert node.subscriptions >= 2
        states = device.streams
        kept_tags = [i for i in range(1000) if 2 * i not in lost]
        assert np.array_equal(
            np.concatenate([b[Stream.TAG] for b in parts if Stream.TAG in b.records]),
            tags.reshape(1000, 30)[kept_tags].ravel(),
        )
        kept_heralds = [i for i in range(1000) if 2 * i + 1 not in lost]
        assert np.array_equal(
            np.concatenate([b[Stream.HERALD] for b in parts if Stream.HERALD in b.records]),
            numbers.reshape(1000, 20)[kept_heralds].ravel(),
        )
        assert states[Stream.TAG].lost_records == 30 * (1000 - len(kept_tags))
        assert states[Stream.HERALD].lost_packets == 1000 - len(kept_heralds)
        assert device.damage.get("length", 0) == 0
        assert set(device.transport_losses.values()) == {0}
        if not impaired:
            assert node.receipts[Stream.TAG] > 900


def test_requests_while_streaming():
    with FakeNode() as node, open_device(node.url) as device:
        node.outbox = tag_packets(random_tags(20_000, 1), 10)
        device.receive(0.1)
        for value in range(3):
            device.write("SWAP", value)
            assert device.read("SWAP") == value
        got = 0
        for batch in device.batches(0.05):
            got += len(batch)
            if not len(batch) and node._sent == 2000:
                break
        assert got > 0


@given(st.lists(st.binary(max_size=MAX_PACKET_BYTES), max_size=6), st.binary(max_size=40), st.integers(1, 50))
def test_slip_round_trip_from_the_middle_of_a_frame(packets, before, step):
    wire = before.replace(bytes([SLIP_END]), b"") + b"".join(map(encode_frame, packets))
    reader, got = FrameReader(), []
    for at in range(0, len(wire), step):
        got += reader.feed(wire[at : at + step])
    assert got == packets
    assert reader.damaged == 0


def test_slip_counts_damage():
    rng = np.random.default_rng(1)
    reader, good = FrameReader(), 0
    reader.feed(bytes([SLIP_END]))
    for _ in range(500):
        frame = bytearray(encode_frame(rng.bytes(60)))
        frame[int(rng.integers(1, len(frame) - 1))] ^= 1 << int(rng.integers(0, 8))
        good += len(reader.feed(bytes(frame)))
    assert good == 0
    assert reader.damaged >= 500


def test_serial_device_on_a_pseudo_terminal():
    board, host = pty.openpty()
    tty.setraw(board)
    tty.setraw(host)
    registers, records = Registers(CLIENT), heralds(400)
    stream = record_packets(Stream.HERALD, records, 10, 0, 8192)

    def serve():
        reader = FrameReader()
        while True:
            for packet in reader.feed(os.read(board, 4096)):
                if packet[0] == Stream.REGISTER_REQUEST:
                    os.write(board, encode_frame(registers.answer(packet)))
                    if stream:
                        os.write(board, b"".join(encode_frame(stream.pop(0)) for _ in range(10)))

    server = threading.Thread(target=serve, daemon=True)
    server.start()
    with open_device(f"serial://{os.ttyname(host)}?baud=115200") as device:
        assert device.identity().node.name == "CLIENT"
        for value in (1, 0, 1):
            device.write("ROLE", value)
        got, deadline = [], time.monotonic() + 5
        for batch in device.batches(0.05):
            got += [batch[Stream.HERALD]] if Stream.HERALD in batch.records else []
            if sum(map(len, got)) == 400 or time.monotonic() > deadline:
                break
        assert np.array_equal(np.concatenate(got), records)
        assert device.transport_losses["damaged frames"] == 0
    with pytest.raises(DeviceError, match="cannot be opened"):
        open_device("serial:///dev/no-such-port")
