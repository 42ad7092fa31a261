"""Runs of users with computers of their own: seals, the connection between computers, and what is refused."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager

import pytest
from fake_node import CLIENT, SERVER, FakeNode
from hypothesis import given
from hypothesis import strategies as st
from test_operate_run import Counting

from twinphase.arguments import host_and_port
from twinphase.cli import main
from twinphase.device import open_device
from twinphase.errors import DeviceError, TwinphaseError
from twinphase.operate import connection
from twinphase.operate.charlie import PROTOCOL, CharliePlan, CharlieRun, same_lab
from twinphase.operate.connection import Connection
from twinphase.operate.sealing import TAG_BYTES, Seal
from twinphase.operate.secrets import ClientSecrets, new_pair
from twinphase.operate.user import FromServer, OtherUser, UserPlan, UserRun
from twinphase.packet_block import PacketBlock
from twinphase.packets import pack
from twinphase_spec.lab import load_lab
from twinphase_spec.packets import Stream

SECRETS = ClientSecrets(role="alice", symbols_key=(1, 2, 3, 4), digest_key=(5, 6, 7, 8), next_run=1)


def message(number: int, stream: Stream = Stream.PEER) -> bytes:
    return pack(stream, number, bytes(range(24)))


@contextmanager
def two_ends():
    """Both ends of a connection."""
    sockets = socket.socketpair()
    ends = [Connection(link, name) for link, name in zip(sockets, ("here", "there"), strict=True)]
    try:
        yield ends
    finally:
        for end in ends:
            end.close()


def until(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


@given(first=st.integers(0, (1 << 32) - 1), count=st.integers(1, 6))
def test_what_is_sealed_opens_in_its_order(first, count):
    """Numbers wrap."""
    own, theirs = Seal(SECRETS, 7, "alice"), Seal(SECRETS, 7, "alice")
    packets = [message((first + n) & 0xFFFFFFFF) for n in range(count)]
    assert [theirs.open(own.close(packet)) for packet in packets] == packets


@given(bit=st.integers(0, 8 * (len(message(0)) + TAG_BYTES) - 1))
def test_no_bit_may_change(bit):
    sealed = bytearray(Seal(SECRETS, 7, "alice").close(message(3)))
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(TwinphaseError, match="a PEER packet is not as alice sent it"):
        Seal(SECRETS, 7, "alice").open(bytes(sealed))


@pytest.mark.parametrize(
    "seal",
    [
        Seal(SECRETS, 8, "alice"),
        Seal(SECRETS, 7, "bob"),
        Seal(ClientSecrets(role="bob", symbols_key=(1, 2, 3, 4), digest_key=(5, 6, 7, 9), next_run=1), 7, "alice"),
    ],
)
def test_another_run_user_or_pair_has_another_seal(seal):
    with pytest.raises(TwinphaseError, match="not as alice sent it"):
        Seal(SECRETS, 7, "alice").open(seal.close(message(3)))


@pytest.mark.parametrize("numbers", [[3, 3], [3, 5], [3, 4, 3], [3, 2]])
def test_none_is_left_out_and_none_comes_twice(numbers):
    own, theirs = Seal(SECRETS, 7, "alice"), Seal(SECRETS, 7, "alice")
    *fit, last = [own.close(message(number)) for number in numbers]
    for sealed in fit:
        theirs.open(sealed)
    with pytest.raises(TwinphaseError, match=rf"PEER packet {numbers[-1]} of alice came where {numbers[-2] + 1} was"):
        theirs.open(last)


@pytest.mark.parametrize("length", [0, 1, TAG_BYTES, TAG_BYTES + 31])
def test_what_is_too_short_is_not_opened(length):
    with pytest.raises(TwinphaseError, match="not as alice sent it"):
        Seal(SECRETS, 7, "alice").open(bytes(length))


def test_control_messages_and_packets_come_whole_and_in_order():
    with two_ends() as (here, there):
        got: list[bytes] = []
        there.listen(lambda block: got.extend(block.packets()))
        packets = [message(n) * (1 + n % 40) for n in range(500)]
        for n, packet in enumerate(packets):
            assert here.send(packet)
            if n % 100 == 0:
                here.tell(number=n)
        until(lambda: len(got) == len(packets))
        assert got == packets
        assert [there.told(1.0) for _ in range(5)] == [{"number": n} for n in range(0, 500, 100)]
        assert there.told(0.0) is None


def test_what_waits_is_bounded(monkeypatch):
    monkeypatch.setattr(connection, "MOST_QUEUED", 4)
    left, right = socket.socketpair()
    here = Connection(left, "there")
    try:
        packets = 0
        while here.send(bytes(60_000)):  # until the system has no room and the queue is full
            packets += 1
            assert packets < 10_000
        assert here.failure is None
    finally:
        right.close()
        here.close()


def test_an_end_that_goes_or_falls_silent_is_noted(monkeypatch):
    with two_ends() as (here, there):
        there.tell(last="word")
        there.close()
        until(lambda: here.failure is not None)
        assert here.told(0.0) == {"last": "word"}
        with pytest.raises(DeviceError, match="the connection to here was closed by the other end"):
            here.told(0.0)
        assert not here.send(message(0))
    monkeypatch.setattr(connection, "SILENT_S", 0.5)
    left, right = socket.socketpair()
    quiet = Connection(left, "bob")
    with right:
        until(lambda: quiet.failure is not None)
        assert (
            quiet.failure == "the connection to bob has been silent for 0.5 s: are that computer and the network there?"
        )
        quiet.close()


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "brought a frame of 542393671 bytes"),
        (b"\0\0\0\0", "brought a frame of 0 bytes"),
        (b"\x05\0\0\0\0[1]]", "brought a control message that is none"),
        (b"\x04\0\0\0\0[1]", "brought a control message that is none"),
    ],
)
def test_another_protocol_is_told(sent, said):
    left, right = socket.socketpair()
    end = Connection(left, "there")
    with right:
        right.sendall(sent)
        until(lambda: end.failure is not None)
        assert said in end.failure
        end.close()


def test_a_user_hears_the_server_and_the_sealed_other_user():
    with two_ends() as (here, there):
        bob = OtherUser(here, Seal(SECRETS, 7, "alice"), Seal(SECRETS, 7, "bob"))
        server, of_server, of_bob = FromServer(here), [], []
        server.listen(lambda block: of_server.extend(block.packets()))
        bob.listen(lambda block: of_bob.extend(block.packets()))
        sealed = [Seal(SECRETS, 7, "bob").close(message(n)) for n in range(5)]
        for n in range(3):
            there.send(message(n, Stream.PSI))
            there.send(sealed[n])
        until(lambda: len(of_bob) == 3)
        assert of_server == [message(n, Stream.PSI) for n in range(3)]
        assert of_bob == [message(n) for n in range(3)]
        assert bob.fault is None
        there.send(sealed[4])
        there.send(sealed[3])
        there.send(message(9, Stream.PSI))
        until(lambda: len(of_server) == 4)
        assert len(of_bob) == 3
        assert bob.fault == "PEER packet 4 of bob came where 3 was to come"
        got: list[PacketBlock] = []
        there.listen(got.append)
        assert bob.send(message(1))
        until(lambda: got)
        assert got[0].packets() == [Seal(SECRETS, 7, "alice").close(message(1))]
        assert not server.send(message(0))


@pytest.fixture
def charlie(tmp_path):
    """Charlie on his own, waiting."""
    plan = CharliePlan(
        lab=load_lab("seed-370km"),
        lab_name="pair.toml",
        folder=tmp_path / "charlie",
        address=("127.0.0.1", 0),
        after_s=1.0,
    )
    stop = threading.Event()
    ended: list[str] = []

    def play(run: CharlieRun) -> None:
        with pytest.raises(TwinphaseError) as caught:
            run.carry_on(stop=stop.is_set)
        ended.append(str(caught.value))

    with (
        FakeNode(SERVER, registers=Counting(SERVER)) as node,
        open_device(node.url) as device,
        CharlieRun(plan, device) as run,
    ):
        thread = threading.Thread(target=play, args=(run,))
        thread.start()
        yield run, ended
        stop.set()
        thread.join()
        assert ended


def hello(charlie, **changed):
    """What Charlie answers, and the connection."""
    link = Connection(socket.create_connection(charlie[0].address), "Charlie")
    link.tell(
        **({"hello": PROTOCOL, "role": "alice", "lab": same_lab(load_lab("seed-370km")), "least_run": 3} | changed)
    )
    return link, link.told(1.0)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"hello": 0}, "another version"),
        ({"role": "eve"}, "another version"),
        ({"least_run": "3"}, "another version"),
        ({"least_run": True}, "another version"),
        ({"lab": "0"}, "alice's lab file is not Charlie's, of pair.toml: all three need the same values"),
    ],
)
def test_who_does_not_fit_is_sent_away(charlie, changed, said):
    link, answer = hello(charlie, **changed)
    assert said in answer["refused"]
    link.close()


def test_a_user_who_leaves_may_come_again(charlie):
    first, answer = hello(charlie)
    assert answer is None
    second, answer = hello(charlie)
    assert "alice is there already" in answer["refused"]
    first.close()
    until(lambda: not charlie[0].users)
    third, answer = hello(charlie)
    assert answer is None
    for link in (second, third):
        link.close()


@pytest.mark.parametrize("leaves", [True, False])
def test_a_user_who_does_not_start_ends_the_run(charlie, monkeypatch, leaves):
    """Both users and the server's own record are told."""
    monkeypatch.setattr("twinphase.operate.charlie.READY_S", 0.5)
    run, ended = charlie
    alice, _ = hello(charlie)
    bob, of_bob = hello(charlie, role="bob", least_run=9)
    for start in (alice.told(10.0), of_bob or bob.told(10.0)):
        assert start["run"] == 9
        assert start["start_clock"] - start["server_clock"] > 125_000_000
    if leaves:
        bob.tell(end="Bob's disk is full")
    alice.tell(ready=True)
    of_alice = alice.told(10.0)
    until(lambda: ended)
    assert of_alice == {"end": ended[0]}
    assert ended[0].startswith(
        "bob has ended the run before it began: Bob's disk is full"
        if leaves
        else "bob has not started its client in time"
    )
    assert run.device.read("CONTROL") == 0
    for user in (alice, bob):
        user.close()


def test_a_name_of_a_lab_is_not_compared():
    lab = load_lab("seed-370km")
    assert same_lab(lab.model_copy(update={"name": "ours"})) == same_lab(lab)
    assert same_lab(load_lab("metro-50km")) != same_lab(lab)


def user_run(tmp_path, device, address):
    if not (tmp_path / "pair").exists():
        new_pair(tmp_path / "pair")
    plan = UserPlan(
        lab=load_lab("seed-370km"),
        lab_name="pair.toml",
        secrets=tmp_path / "pair" / "alice.toml",
        folder=tmp_path / "alice",
        charlie=address,
    )
    return UserRun(plan, device)


@pytest.mark.parametrize(
    ("start", "said"),
    [
        ({"refused": "no"}, "Charlie's computer does not go on: no"),
        ({"end": "server has failed"}, "does not go on: server has failed"),
        ({"run": 1, "start_clock": "soon", "server_clock": 1}, "tells no start of a run"),
        ({"run": 0, "start_clock": 1 << 33, "server_clock": 5_000_000_000}, "run 0 may not be taken"),
        (
            {"run": 1, "start_clock": 1 << 33, "server_clock": 5_002_000_000},
            r"is about -2\d+ ahead .*, not 0: say with --ahead",
        ),
        (
            {"run": 1, "start_clock": 1 << 33, "server_clock": 4_800_000_000},
            r"is about 20\d+ ahead .*, not 0: say with --ahead",
        ),
    ],
)
def test_what_a_user_refuses(tmp_path, start, said):
    """Nothing of the client is written, and Charlie is told."""
    registers = Counting(CLIENT)
    with (
        FakeNode(CLIENT, registers=registers) as node,
        open_device(node.url) as device,
        socket.create_server(("127.0.0.1", 0)) as server,
    ):
        run = user_run(tmp_path, device, server.getsockname())
        failed: list[Exception] = []

        def play() -> None:
            with pytest.raises(TwinphaseError, match=said) as caught:
                run.carry_on()
            failed.append(caught.value)

        thread = threading.Thread(target=play)
        thread.start()
        link = Connection(server.accept()[0], "alice")
        said_hello = link.told(5.0)
        assert said_hello == {"hello": PROTOCOL, "role": "alice", "lab": same_lab(run.plan.lab), "least_run": 1}
        link.tell(**start)
        thread.join()
        assert failed
        assert "end" in (link.told(5.0) or {})
        link.close()
    assert set(registers.writes) <= {CLIENT["SNAPSHOT"].address}


def test_an_end_is_an_end_whatever_is_still_under_way(tmp_path):
    """A correction reaches the client; then Charlie ends, and a PEER packet that has no way any more is no fault."""
    registers = Counting(CLIENT)
    with (
        FakeNode(CLIENT, registers=registers) as node,
        open_device(node.url) as device,
        socket.create_server(("127.0.0.1", 0)) as server,
    ):
        run, results = user_run(tmp_path, device, server.getsockname()), []
        thread = threading.Thread(target=lambda: results.append(run.carry_on()))
        thread.start()
        link = Connection(server.accept()[0], "alice")
        assert "hello" in link.told(5.0)
        link.tell(run=1, start_clock=5_500_000_000, server_clock=5_000_000_000)
        assert link.told(20.0) == {"ready": True}
        link.tell(correct={"slot": 80_000, "pulses": -3, "fraction_ticks": 5})
        until(lambda: run.corrections == 1)
        link.tell(end="time over")
        assert link.told(5.0) == {"end": "Charlie's computer: time over"}
        link.close()
        node.outbox = [message(n) for n in range(3)]
        thread.join()
    (result,) = results
    assert result["ended"] == "Charlie's computer: time over"
    assert result["corrections"] == 1
    assert registers.words[CLIENT["EMIT_PULSES"].address] == -3 & 0xFFFFFFFF
    assert registers.words[CLIENT["CONTROL"].address] == 0


@pytest.mark.parametrize("correct", [{"slot": 1}, {"slot": "x", "pulses": 1, "fraction_ticks": 2}, 7])
def test_a_correction_that_is_none_ends_the_run(tmp_path, correct):
    with (
        FakeNode(CLIENT, registers=Counting(CLIENT)) as node,
        open_device(node.url) as device,
        socket.create_server(("127.0.0.1", 0)) as server,
    ):
        run = user_run(tmp_path, device, server.getsockname())
        failed: list[str] = []

        def play() -> None:
            with pytest.raises(TwinphaseError) as caught:
                run.carry_on()
            failed.append(str(caught.value))

        thread = threading.Thread(target=play)
        thread.start()
        link = Connection(server.accept()[0], "alice")
        assert "hello" in link.told(5.0)
        link.tell(run=1, start_clock=5_500_000_000, server_clock=5_000_000_000)
        assert link.told(20.0) == {"ready": True}
        link.tell(correct=correct)
        thread.join()
        link.close()
    assert "tells a correction that is none" in failed[0]


def test_nobody_where_charlie_should_be(tmp_path):
    with FakeNode(CLIENT, registers=Counting(CLIENT)) as node, open_device(node.url) as device:
        with socket.create_server(("127.0.0.1", 0)) as server:
            address = server.getsockname()
        with pytest.raises(
            DeviceError, match=r"does not answer at 127\.0\.0\.1:\d+ .*does `twinphase charlie` run there"
        ):
            user_run(tmp_path, device, address).carry_on()


def test_an_address_that_is_taken(tmp_path, capsys):
    with (
        FakeNode(SERVER, registers=Counting(SERVER)) as node,
        socket.create_server(("127.0.0.1", 0)) as server,
    ):
        port = server.getsockname()[1]
        words = [
            "charlie",
            "seed-370km",
            "--server",
            node.url,
            "--listen",
            f"127.0.0.1:{port}",
            "--out",
            str(tmp_path / "out"),
        ]
        assert main(words) == 2
    assert f"users cannot be heard at 127.0.0.1:{port}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "options", "found"),
    [
        ("9760", {"host": "0.0.0.0"}, ("0.0.0.0", 9760)),
        ("lab:9760", {"host": "0.0.0.0"}, ("lab", 9760)),
        ("lab", {"port": 9760}, ("lab", 9760)),
        ("lab:1", {"port": 9760}, ("lab", 1)),
        ("::1:1", {}, ("::1", 1)),
    ],
)
def test_hosts_and_ports(text, options, found):
    assert host_and_port("--x", text, **options) == found


@pytest.mark.parametrize(
    ("text", "options"),
    [("lab", {}), ("lab:x", {}), (":1", {}), ("lab:65536", {}), ("", {"port": 1}), ("x", {"host": "h"})],
)
def test_wrong_hosts_and_ports(text, options):
    with pytest.raises(TwinphaseError, match=r"--x is '.*'; allowed: "):
        host_and_port("--x", text, **options)
