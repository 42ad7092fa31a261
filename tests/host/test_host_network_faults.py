"""A network that fails while a node is read: what is said, after how long, and that what was recorded stays whole and exactly counted."""

import errno
import io
import itertools
import json
import socket
import threading
import time

import numpy as np
import pytest
from fake_node import (
    CLIENT,
    SERVER,
    TIMETAGGER,
    FakeNode,
    TaggerRegisters,
    heralds,
    phases,
    random_tags,
    record_packets,
    tag_packets,
)
from rich.console import Console

from twinphase import cli
from twinphase.device import open_device
from twinphase.errors import DeviceError
from twinphase.measure import overview, silence
from twinphase.measure.losses import losses
from twinphase.measure.silence import SilenceNotes
from twinphase.packets import pack
from twinphase.recording.reader import Recording
from twinphase.recording.writer import METADATA, record
from twinphase.transport import link, udp
from twinphase.transport.udp import UdpDevice
from twinphase_spec.packets import Stream


@pytest.fixture
def impatient(monkeypatch):
    """Seconds become tenths: a node is noted as silent after 0.2 s, asked after 0.3 s and given up after 1 s."""
    for module, name, seconds in (
        (link, "PROBE_S", 0.3),
        (link, "PROBE_EVERY_S", 0.1),
        (link, "SILENT_S", 1.0),
        (silence, "NOTED_S", 0.2),
    ):
        monkeypatch.setattr(module, name, seconds)


def tags_of(parts):
    got = [part[Stream.TAG] for part in parts if Stream.TAG in part.records]
    return np.concatenate(got) if got else np.zeros(0)


def recorded(folder):
    with Recording(str(folder)) as recording:
        return tags_of(list(recording.batches()))


def until(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def pull(node):
    """Takes the cable out when all is sent."""
    until(lambda: node._sent == len(node.outbox), 60.0)
    node.cut = True


def test_a_cable_that_stays_out_ends_a_recording_with_a_sentence(impatient, tmp_path, capsys):
    tags = random_tags(3000, 1)
    with FakeNode() as node:
        node.outbox = tag_packets(tags, 30)
        threading.Thread(target=pull, args=(node,), daemon=True).start()
        started = time.monotonic()
        code = cli.main(["record", node.url, "--out", str(tmp_path / "run")])
        took_s = time.monotonic() - started
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert 1.0 < took_s < 20.0
    assert f"{node.url} is silent: is the cable in" in err
    assert err.endswith("(`twinphase devices`)\n")
    assert "has been silent for 1 s and answers nothing" in err
    assert np.array_equal(recorded(tmp_path / "run"), tags)
    assert json.loads((tmp_path / "run" / METADATA).read_text())["ended"] == "device error"


def test_a_measurement_of_a_node_that_is_gone_ends_as_well(impatient, capsys):
    with FakeNode(TIMETAGGER, registers=TaggerRegisters()) as node:
        node.outbox = tag_packets(random_tags(300, 1), 30)
        threading.Thread(target=pull, args=(node,), daemon=True).start()
        code = cli.main(["measure", node.url, "rates", "--seconds", "100"])
    out, err = capsys.readouterr()
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "has been silent for 1 s" in err


def test_a_cable_that_comes_back_costs_exactly_what_was_sent_meanwhile(impatient):
    tags = random_tags(9000, 2, 1 << 14)
    packets = tag_packets(tags, 30)
    with FakeNode() as node, open_device(node.url) as device:
        notes, words, parts = SilenceNotes(device), [], []
        node.outbox = packets[:100]
        for turn, batch in enumerate(device.batches(0.02)):
            parts.append(batch)
            words.append(notes.news())
            if turn == 0:
                until(lambda: node._sent == 100)
            if device.streams and device.streams[Stream.TAG].packets == 100 and not node.cut and node._sent == 100:
                node.cut = True
                node.outbox = packets[:200]
            if node.cut and device.silent_s > 0.5:
                node.cut = False
                node.outbox = packets
            if device.streams and device.streams[Stream.TAG].sequence == 299:
                break
        said = [sentence for sentence in words if sentence]
        state = device.streams[Stream.TAG]
        assert (state.packets, state.lost_packets, state.lost_records, state.restarts) == (200, 100, 3000, 0)
        assert np.array_equal(tags_of(parts), np.concatenate([tags[:3000], tags[6000:]]))
        assert [gap.records for part in parts for gap in part.gaps.get(Stream.TAG, [])] == [3000]
        assert len(said) == 2
        assert "is silent" in said[0]
        assert "is back after 0." in said[1]


@pytest.mark.parametrize("code", [errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN])
def test_what_the_system_says_without_a_cable_does_not_end_the_device(code, monkeypatch):
    """Receiving and sending fail for a while, as they do when the neighbour is lost or the interface goes down."""
    tags = random_tags(3000, 9)
    packets = tag_packets(tags, 30)
    with FakeNode() as node, open_device(node.url) as device:
        batches, parts = device.batches(0.02), []
        node.outbox = packets[:50]
        until(lambda: parts.append(next(batches)) or sum(map(len, parts)) == 1500)

        def fail(*_):
            raise OSError(code, "the cable is out")

        read = device._readers[0].read
        with monkeypatch.context() as out:
            out.setattr(device._readers[0], "read", fail)
            out.setattr(device, "_send", fail)
            out.setattr(link, "ANSWER_TIMEOUT_S", 0.02)
            for _ in range(5):
                assert not len(next(batches))
            with pytest.raises(DeviceError, match=r"does not answer .* \(the cable is out\)$"):
                device.read("SWAP")
        assert device._readers[0].read == read
        node.outbox = packets
        until(lambda: parts.append(next(batches)) or sum(map(len, parts)) == 3000)
        assert np.array_equal(tags_of(parts), tags)
        assert device.read("SWAP") == 0


def test_what_is_no_fault_of_the_network_ends_the_device(monkeypatch):
    with FakeNode() as node, open_device(node.url) as device:
        monkeypatch.setattr(device._readers[0], "read", lambda: (_ for _ in ()).throw(OSError(errno.EBADF, "closed")))
        batches = device.batches(0.02)
        with pytest.raises(DeviceError, match="is gone: closed"):
            sum(map(len, batches))


def test_the_monitor_shows_silence_and_what_was_dropped(impatient, monkeypatch):
    monkeypatch.setattr(overview, "NOTED_S", 0.2)
    monkeypatch.setattr(link, "QUEUE_PACKETS", 20)
    with FakeNode(CLIENT) as node, open_device(node.url) as device:
        view = overview.Overview([device])
        device.receive(0.0)
        node.outbox = record_packets(Stream.HERALD, heralds(400), 4, 1 << 17, 8192)
        until(lambda: node._sent == 100)
        time.sleep(0.2)
        node.cut = True
        until(lambda: view.step() and view.as_dict()["devices"][0]["silent_s"] > 0.3)
        state = view.as_dict()
        console = Console(width=160, record=True, file=io.StringIO())
        console.print(overview.table(state))
        shown = console.export_text()
        lost = state["devices"][0]["losses"]["transport"]["receive queue"]
        assert lost >= 80
        assert f"receive queue {lost}" in shown
        assert "for 0 s: is the cable in, and the node powered?" in shown
        monkeypatch.setattr(UdpDevice, "advice", ["buy more memory"])
        console.print(overview.table(view.as_dict()))
        assert "buy more memory" in console.export_text()


def test_a_node_that_answers_but_sends_nothing_is_waited_for(impatient):
    with FakeNode() as node, open_device(node.url) as device:
        batches, asked = device.batches(0.05), node.requests
        deadline = time.monotonic() + 1.6  # longer than one that does not answer is given
        while time.monotonic() < deadline:
            assert not len(next(batches))
        assert 2 <= node.requests - asked <= 20
        assert device.silent_s < 1.0
        node.cut = True
        with pytest.raises(DeviceError, match="silent for 1 s"):
            sum(map(len, batches))


def test_who_has_not_listened_is_not_told_of_silence(impatient):
    with FakeNode() as node, open_device(node.url) as device:
        device.receive(0.0)
        node.cut = True
        time.sleep(1.3)
        assert device.receive(0.05) == []
        assert device.silent_s < 0.5
        node.cut = False
        node.outbox = tag_packets(random_tags(60, 1), 30)
        until(lambda: device.receive(0.05))


@pytest.mark.parametrize("uptime", ["long", "short"])
def test_a_restart_ends_a_recording_and_is_followed_by_who_goes_on(uptime, tmp_path):
    """Also one whose time had not yet run for long, so that only the numbers tell."""
    before = random_tags(9000, 3, start_ticks=1 << 50 if uptime == "long" else 1 << 26)
    after = random_tags(9000, 4, start_ticks=1 << 25)
    with FakeNode() as node, open_device(node.url) as device, open_device(node.url) as other:
        node.outbox = tag_packets(before, 30)

        new = tag_packets(after, 30)

        def later(recorder):
            if recorder.records == 9000:
                node.restart(new)

        with pytest.raises(
            DeviceError, match=r"has started anew: the recording in .* ends after [0-9.]+ s and is readable"
        ) as caught:
            record(device, tmp_path / "run", progress=later)
        assert "\n" not in str(caught.value)
        metadata = json.loads((tmp_path / "run" / METADATA).read_text())
        assert metadata["ended"] == "node restarted"
        assert metadata["unordered_tags"] == 0
        assert metadata["receive_buffer_bytes"] == device.receive_buffer_bytes > 1 << 14
        assert metadata["node_seconds"] > 0
        assert np.array_equal(recorded(tmp_path / "run"), before)
        old = tag_packets(before, 30)
        node.restart(old)
        until(lambda: node.outbox is old)
        got, again = 0, False
        for batch in other.batches(0.05):  # a view of live rates goes on over a restart
            got += len(batch)
            if got == 9000 and not again:
                node.restart(new)
                again = True
            if node.outbox is new and node._sent == 300 and not len(batch):
                break
        assert losses(other)["restarts"] == 1
        assert got >= 18_000 - 30 * 64  # what came until it was believed


def test_foreign_packets_do_not_come_in(monkeypatch):
    """A flood from elsewhere to the host's port, and garbage from the node's own address: the first is not seen, the second counted."""
    tags, rng = random_tags(6000, 5), np.random.default_rng(1)
    packets = tag_packets(tags, 30)
    garbage = [rng.bytes(int(rng.integers(0, 900))) for _ in range(97)]
    answer = pack(Stream.REGISTER_RESPONSE, 1)
    garbage += [answer[:1] + bytes(31), answer[:12], answer + b"more"]  # a word whose payload the header does not have
    with (
        FakeNode(patient=True) as node,
        open_device(node.url) as device,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as foreign,
    ):
        target, done = device._socket.getsockname(), threading.Event()

        def flood():
            for packet in itertools.cycle(packets):
                foreign.sendto(packet, target)
                if done.is_set():
                    return

        flooding = threading.Thread(target=flood, daemon=True)
        flooding.start()
        node.outbox = [packet for pair in zip(packets, garbage + [b""] * 100, strict=True) for packet in pair]
        parts = []
        deadline = time.monotonic() + 30  # a flooded machine may leave the receiver without a turn for a while
        for batch in device.batches(0.1):
            parts.append(batch)
            arrived = sum(device.damage.values()) >= 200 and len(tags_of(parts)) >= len(tags)
            if (arrived and not len(batch)) or time.monotonic() > deadline:
                break
        device.write("SWAP", 3)  # registers work meanwhile
        assert device.read("SWAP") == 3
        done.set()
        flooding.join()
        assert np.array_equal(tags_of(parts), tags)
        assert sum(device.damage.values()) == 200
        state = device.streams[Stream.TAG]
        assert (state.duplicates, state.strays, state.lost_packets) == (0, 0, 0)


def test_two_hosts_that_take_the_streams_from_each_other_know_what_they_miss():
    """A node that sends to one host at a time: each counts what it got and what went to the other, and both can set registers."""
    tags = random_tags(12_000, 6, 1 << 14)
    packets = tag_packets(tags, 10)
    with FakeNode() as node, open_device(node.url) as one, open_device(node.url) as other:
        devices = (one, other)
        both = [(device.batches(0.01), []) for device in devices]
        for at in range(0, len(packets), 40):
            node.pinned = node._peer = devices[at // 40 % 2]._socket.getsockname()
            node.outbox = packets[: at + 40]
            for batches, parts in both:
                parts.append(next(batches))
            until(lambda: node._sent == len(node.outbox))
        turn = np.arange(len(tags)) // 400 % 2
        for number, (device, (batches, parts)) in enumerate(zip(devices, both, strict=True)):
            expected = tags[turn == number]
            until(lambda: parts.append(next(batches)) or sum(map(len, parts)) == len(expected))  # noqa: B023  (at once)
            assert np.array_equal(tags_of(parts), expected)
            state = device.streams[Stream.TAG]
            assert (state.records, state.restarts, state.duplicates) == (6000, 0, 0)
            # All of the other's chunks between its own; of the one before its first, or after its last, it cannot know.
            assert (state.lost_packets, state.lost_records) == (14 * 40, 14 * 400)
        for value in range(4):
            one.write("SWAP", value)
            other.write("START_CLOCK", value)
            assert (other.read("SWAP"), one.read("START_CLOCK")) == (value, value)
        assert node.registers.writes[SERVER["SWAP"].address] == 4


def test_a_host_that_stops_reading_counts_what_the_kernel_dropped(monkeypatch, capsys, tmp_path):
    """A small receive buffer and a receive thread that is kept from it: sent = came + kernel's drops, and what to do is said."""
    monkeypatch.setattr(udp, "RECEIVE_BUFFER_BYTES", 1 << 14)
    tags = random_tags(30_000, 7, 1 << 14)
    packets = tag_packets(tags, 20)
    with FakeNode() as node, open_device(node.url) as device:
        monkeypatch.setattr(udp, "RECEIVE_BUFFER_BYTES", 16 << 20)
        node.outbox, parts = packets[:100], []
        for batch in device.batches(0.05):
            parts.append(batch)
            if node._sent == 100 and not len(batch):
                break
        with device._arrived:  # which the receive thread needs to hand anything over
            node.outbox = packets[:-100]
            until(lambda: node._sent == len(node.outbox))
        deadline = time.monotonic() + 10
        for batch in device.batches(0.01):  # the last ones slowly, so that they come
            parts.append(batch)
            node.outbox = packets[: len(node.outbox) + 4]
            if device.streams[Stream.TAG].sequence == len(packets) - 1 or time.monotonic() > deadline:
                break
        dropped = device.transport_losses
        if "kernel" not in dropped:
            pytest.skip("this system does not tell what its kernel dropped")
        state = device.streams[Stream.TAG]
        assert dropped["receive queue"] == 0
        assert dropped["kernel"] > 500
        assert state.packets + dropped["kernel"] == len(packets)
        assert (state.lost_packets, state.lost_records) == (dropped["kernel"], 20 * dropped["kernel"])
        assert losses(device)["transport"] == dropped
        (advice,) = device.advice
        assert f"the kernel dropped {dropped['kernel']} packets" in advice
        assert f"the receive buffer has {device.receive_buffer_bytes} bytes" in advice
        assert "sysctl -w net.core.rmem_max=16777216" in advice
    assert device.transport_losses == dropped  # told also when it is closed


def test_a_caller_that_stops_reading_fills_the_queue_and_is_told(monkeypatch):
    monkeypatch.setattr(link, "QUEUE_PACKETS", 300)
    packets = tag_packets(random_tags(20_000, 8), 20)
    with FakeNode() as node, open_device(node.url) as device:
        device.receive(0.0)
        node.outbox = packets[:900]
        until(lambda: node._sent == 900)
        time.sleep(0.3)
        node.outbox, got, deadline = packets, 0, time.monotonic() + 10
        for batch in device.batches(0.1):
            got += len(batch)
            if device.streams[Stream.TAG].sequence == 999 or time.monotonic() > deadline:
                break
        state, lost = device.streams[Stream.TAG], device.transport_losses["receive queue"]
        assert lost >= 600  # the newest are dropped, the oldest 300 are kept
        assert state.packets + lost == 1000
        assert state.lost_records == 20 * lost
        assert got == 20 * state.packets


def test_a_wrong_address_is_said_within_seconds(monkeypatch):
    """An address where another protocol answers, and one where nobody does."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.settimeout(0.05)
        done = threading.Event()

        def answer():
            while not done.is_set():
                try:
                    packet, peer = stranger.recvfrom(2048)
                except TimeoutError:
                    continue
                stranger.sendto(b"who are you?" + packet, peer)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        started = time.monotonic()
        with pytest.raises(DeviceError, match=r"does not answer .*: is the node running and the address right"):
            open_device(f"udp://127.0.0.1:{stranger.getsockname()[1]}")
        assert time.monotonic() - started < 4
        done.set()
        thread.join()


def test_streams_other_than_tags_survive_a_cut_as_well(impatient):
    records = phases(600)
    packets = record_packets(Stream.PHASE, records, 3, 1 << 17, 8192)
    with FakeNode() as node, open_device(node.url) as device:
        node.outbox, parts = packets[:80], []
        batches = device.batches(0.02)
        while not device.streams or device.streams[Stream.PHASE].packets < 80:
            parts.append(next(batches))
        node.cut, node.outbox = True, packets[:140]
        until(lambda: node._sent == 140)
        node.cut, node.outbox = False, packets
        while device.streams[Stream.PHASE].packets < 140:
            parts.append(next(batches))
        got = np.concatenate([part[Stream.PHASE] for part in parts if Stream.PHASE in part.records])
        assert np.array_equal(got["window"], np.r_[:240, 420:600])
        assert device.streams[Stream.PHASE].lost_records == 180
