"""Nodes on a network of localhost addresses: found by a sweep among silence, garbage, foreign and repeated answers."""

import json
import socket
import threading
import time

import numpy as np
import pytest
from fake_node import CLIENT, SERVER, TIMETAGGER, FakeNode, Registers
from hypothesis import given
from hypothesis import strategies as st

from twinphase import cli, discovery, reachable
from twinphase.discovery import addresses_in, broadcast_addresses, identity_words, scan, scan_seconds
from twinphase.errors import DeviceError
from twinphase.packets import pack
from twinphase_spec.packets import RegisterStatus, Stream
from twinphase_spec.registers import INTERFACE_VERSION


class Stranger(threading.Thread):
    """Answers each packet at its address with those of ``answers(packet)``."""

    def __init__(self, host, port, answers):
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((host, port))
        self.answers, self.asked = answers, 0
        self.start()

    def run(self):
        while True:
            try:
                packet, peer = self.socket.recvfrom(2048)
            except OSError:
                return
            if packet == b"end":
                return
            self.asked += 1
            for answer in self.answers(packet):
                self.socket.sendto(answer, peer)

    def close(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
            link.sendto(b"end", self.socket.getsockname())
        self.join()
        self.socket.close()


@pytest.fixture
def network(monkeypatch):
    """``(port, node(host, map, ...), stranger(host, answers))`` on 127.9.0.0/28; nothing on localhost's own default ports."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.9.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setattr(reachable, "LOCAL_PORTS", [])
    open_nodes, strangers = [], []

    def node(host, node_map=SERVER, **options):
        made = FakeNode(node_map, host=host, port=port, **options)
        made.__enter__()
        open_nodes.append(made)
        return made

    def stranger(host, answers):
        strangers.append(Stranger(host, port, answers))
        return strangers[-1]

    yield port, node, stranger
    for made in open_nodes:
        made.__exit__()
    for made in strangers:
        made.close()


def devices(capsys, port, *arguments, network="127.9.0.0/28"):
    code = cli.main(["devices", "--network", network, "--port", str(port), "--no-broadcast", "--json", *arguments])
    out, err = capsys.readouterr()
    return code, [entry for entry in json.loads(out) if "node" in entry] if out else [], err


def test_a_sweep_finds_all_nodes_with_their_identity(network, capsys):
    port, node, _ = network
    for host, node_map in (("127.9.0.2", SERVER), ("127.9.0.3", CLIENT), ("127.9.0.14", TIMETAGGER)):
        node(host, node_map)
    slow = node("127.9.0.10", TIMETAGGER)
    slow.registers.words[TIMETAGGER["CLOCK_HZ"].address] = 120_000_000
    code, found, err = devices(capsys, port)
    assert (code, err) == (0, "")
    assert [(entry["url"], entry["node"], entry["clock_hz"], entry["fits"]) for entry in found] == [
        (f"udp://127.9.0.2:{port}", "server", 125_000_000, True),
        (f"udp://127.9.0.3:{port}", "client", 125_000_000, True),
        (f"udp://127.9.0.10:{port}", "timetagger", 120_000_000, True),
        (f"udp://127.9.0.14:{port}", "timetagger", 125_000_000, True),
    ]
    assert {entry["build_hash"] for entry in found} == {0xB01D}
    assert {entry["interface_version"] for entry in found} == {INTERFACE_VERSION}
    assert found[0]["map_hash"] == SERVER.hash
    cli.main(["devices", "--network", "127.9.0.2/32", "--port", str(port), "--no-broadcast"])
    out = " ".join(capsys.readouterr().out.split())
    says = f"server node, 125 MHz, interface {INTERFACE_VERSION}, build 0x0000b01d, fits this host"
    assert f"udp://127.9.0.2:{port} {says}" in out


def test_a_node_that_does_not_fit_is_listed_with_the_reason(network, capsys):
    port, node, _ = network
    for host, register, value in (
        ("127.9.0.2", "MAP_HASH", 3),
        ("127.9.0.3", "INTERFACE_VERSION", 99),
        ("127.9.0.4", "ID_MAGIC", 0),
        ("127.9.0.5", "NODE_TYPE", 77),
    ):
        node(host).registers.words[SERVER[register].address] = value
    _, found, _ = devices(capsys, port)
    assert [entry["fits"] for entry in found] == [False] * 4
    for entry, says in zip(found, ("register map", "interface version", "no Twinphase node", "node type"), strict=True):
        assert says in entry["reason"]
        assert entry["what"].endswith(entry["reason"])
    assert [entry["node"] for entry in found] == ["server", "server", "unknown (1)", "unknown (77)"]


def test_garbage_foreign_and_repeated_answers(network, capsys):
    """Only what repeats the request's number, whole and in order, is a node; all else is counted."""
    port, node, stranger = network
    rng = np.random.default_rng(1)
    registers = Registers(SERVER)

    def late(packet):  # an answer to somebody else's request
        other = bytearray(registers.answer(packet))
        other[4] ^= 1
        return [bytes(other)]

    strangers = [
        stranger("127.9.0.4", lambda packet: [rng.bytes(int(rng.integers(0, 1200))) for _ in range(20)]),
        stranger("127.9.0.5", late),
        stranger("127.9.0.6", lambda packet: [packet]),  # an echo
        stranger("127.9.0.7", lambda packet: [registers.answer(packet)[:-4]]),
        stranger("127.9.0.8", lambda packet: []),
    ]
    node("127.9.0.2", double=1.0)
    node("127.9.0.3", lose=0.2, seed=6)
    code, found, err = devices(capsys, port)
    assert code == 0
    assert [entry["url"] for entry in found] == [f"udp://127.9.0.2:{port}", f"udp://127.9.0.3:{port}"]
    assert err == f"{2 * 23} packets came that are no answers of Twinphase nodes\n"
    assert [each.asked for each in strangers] == [discovery.ROUNDS] * len(strangers)  # silence is asked again


def test_two_nodes_at_one_address_are_seen(network):
    port, _, stranger = network
    nodes = [Registers(SERVER), Registers(SERVER)]
    nodes[1].words[SERVER["BUILD_HASH"].address] = 2
    stranger("127.9.0.9", lambda packet: [each.answer(packet) for each in nodes])
    (found,) = scan([("127.9.0.9", port)], wait_s=0.1).nodes()
    assert not found.fits
    assert "two different nodes" in str(found)


def test_a_flood_neither_stops_nor_prolongs_the_sweep(network):
    port, node, _ = network
    node("127.9.0.2")
    done = threading.Event()

    def flood():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
            while not done.is_set():
                for target in list(asked):
                    link.sendto(b"x" * 64, target)

    asked = []
    real = socket.socket

    class Known(real):
        def sendto(self, packet, target):
            sent = real.sendto(self, packet, target)
            if not asked and packet[:1] == bytes([Stream.REGISTER_REQUEST]):
                asked.append(("127.0.0.1", self.getsockname()[1]))
            return sent

    flooding = threading.Thread(target=flood, daemon=True)
    flooding.start()
    discovery.socket.socket = Known
    try:
        started = time.monotonic()
        result = scan([("127.9.0.1", port), ("127.9.0.2", port)], wait_s=0.2)
        took_s = time.monotonic() - started
    finally:
        discovery.socket.socket = real
        done.set()
        flooding.join()
    assert [found.url for found in result.nodes()] == [f"udp://127.9.0.2:{port}"]
    assert result.ignored > 100
    assert took_s < scan_seconds(2, wait_s=0.2) + 5.0


def test_requests_are_paced(network):
    port, _, _ = network
    targets = [(f"127.9.0.{i}", port) for i in range(1, 61)]
    heard, started = [], time.monotonic()
    scan(targets, wait_s=0.01, rate_hz=200, progress=lambda sent, total: heard.append((sent, total)))
    took_s = time.monotonic() - started
    assert took_s >= 2 * 59 / 200 - 2 * 0.011  # the last of a burst may be early
    assert took_s < scan_seconds(60, wait_s=0.01, rate_hz=200) + 5.0
    assert heard == sorted(heard)
    assert heard[-1] == (120, 120)


def test_too_large_or_no_network_is_refused_in_one_sentence(network, capsys):
    port, _, _ = network
    for net, says in (
        ("10.0.0.0/8", "16777216 addresses; allowed: 1024"),
        ("10.0.0.0/21", "allowed: 1024"),
        ("10.0.0.0/33", "no IPv4 network"),
        ("fe80::/120", "no IPv4 network"),
        ("board", "no IPv4 network"),
    ):
        code, _, err = devices(capsys, port, network=net)
        assert (code, err.count("\n")) == (2, 1)
        assert says in err
    assert len(addresses_in(["10.0.0.0/22"])) == 1022
    with pytest.raises(DeviceError, match="allowed: 1024"):
        addresses_in(["10.0.0.0/22", "10.1.0.0/24"])
    assert addresses_in(["10.0.0.5/30", "10.0.0.4/30"]) == ["10.0.0.5", "10.0.0.6"]
    code, _, err = devices(capsys, 70000)
    assert (code, err) == (2, "--port is 70000; allowed: 1 to 65535\n")


def test_no_way_to_a_network(network, monkeypatch, capsys):
    port, node, _ = network

    class Cut(socket.socket):
        def sendto(self, packet, target):
            if target[0].startswith("10."):
                raise OSError(101, "Network is unreachable")
            return super().sendto(packet, target)

    monkeypatch.setattr(discovery.socket, "socket", Cut)
    code, _, err = devices(capsys, port, network="10.0.0.0/30")
    assert (code, err.count("\n")) == (2, 1)
    assert "there is no way to 2 addresses, e.g. 10.0.0.1 (Network is unreachable)" in err
    monkeypatch.undo()
    monkeypatch.setattr(reachable, "LOCAL_PORTS", [])
    node("127.9.0.2")
    monkeypatch.setattr(discovery.socket, "socket", Cut)
    code, found, err = devices(capsys, port, "--network", "10.0.0.0/30")
    assert code == 0
    assert len(found) == 1
    assert "there is no way to 2 addresses" in err


def test_broadcast_addresses_are_of_interfaces_that_are_up():
    for address in broadcast_addresses():
        socket.inet_aton(address)
        assert address != "0.0.0.0"


def test_a_broadcast_finds_a_node_that_takes_it(monkeypatch):
    if not broadcast_addresses():
        pytest.skip("no interface of this computer has a broadcast address")
    with FakeNode(host="0.0.0.0") as node:
        port = node.socket.getsockname()[1]
        monkeypatch.setattr(reachable, "LOCAL_PORTS", [port])
        found = reachable.find_nodes(reachable.targets_of())
        assert found[0]["url"] == f"udp://localhost:{port}"
        assert len(found) >= 2  # under this computer's own addresses as well
        assert all(entry["fits"] for entry in found)
        assert reachable.targets_of(broadcast=False) == [("127.0.0.1", port)]


@given(st.binary(max_size=80))
def test_no_packet_but_an_answer_is_taken(packet):
    assert identity_words(packet, 7) is None


@given(
    st.lists(st.integers(0, 0xFFFFFFFF), min_size=6, max_size=6),
    st.integers(0, 0xFFFFFFFF),
    st.integers(0, 55),
    st.integers(0, 7),
)
def test_an_answer_is_taken_as_it_is_and_damage_of_its_head_is_not(values, identifier, byte, bit):
    answer = bytearray(
        pack(
            Stream.REGISTER_RESPONSE,
            identifier,
            np.array(values, "<u4").tobytes(),
            base_ticks=6 << 32,
            flags=RegisterStatus.OK,
        )
    )
    assert identity_words(bytes(answer), identifier) == tuple(values)
    answer[byte % 20] ^= 1 << bit  # the first five words: all that an answer repeats
    assert identity_words(bytes(answer), identifier) is None
