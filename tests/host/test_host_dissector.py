"""The Wireshark dissector against the spec: every field, by the oldest and the newest Lua of Wireshark, and in tshark where it is."""

import importlib
import json
import os
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest
from fake_node import CLIENT, SERVER, TIMETAGGER, heralds, phases, random_tags, record_packets, tag_packets
from hypothesis import example, given, settings
from hypothesis import strategies as st

from twinphase import cli
from twinphase.packets import Decoder, pack
from twinphase.wireshark.tables import dissector
from twinphase_spec.packets import (
    HEADER_DTYPE,
    MAX_PAYLOAD_WORDS,
    RECORD_DTYPES,
    RECORD_WORDS,
    RegisterOp,
    RegisterStatus,
    Stream,
)
from twinphase_spec.udp_registers import COUNTERS, UDP_LINK
from twinphase_spec.units import CLOCK_HZ

lupa = pytest.importorskip("lupa", reason="a Lua interpreter: pip install lupa")
PORT, LINK_PORT = 9750, 9752
API = Path(__file__).with_name("wireshark_api.lua").read_text()
NUMBERS = {"bool": "?", "uint8": "B", "uint16": "H", "uint32": "I", "uint64": "Q", "int32": "i", "int64": "q"}
RECORDS = [stream for stream in RECORD_WORDS if stream not in (Stream.TAG, Stream.HERALD_CODE)]


@pytest.fixture(scope="module", params=["lua52", "lua54"])
def dissect(request):
    """``(fields, info)`` of a packet: fields as (name, value), malformed ones as ("malformed", text); None if it is not taken."""
    lua = importlib.import_module(f"lupa.{request.param}").LuaRuntime(encoding="latin-1")
    lua.execute(API)
    lua.execute(dissector())
    call = lua.globals().dissect

    def run(packet, port=PORT, source=40001):
        answer = call(packet.decode("latin-1"), port, source)
        if answer is None:
            return None
        log, info = answer
        return [value_of(list(entry.values())) for entry in log.values()], info

    return run


def value_of(entry):
    name, kind, *rest = entry
    name = name.removeprefix("twinphase.")
    if kind == "bytes":
        return name, struct.unpack("<" + NUMBERS[rest[1]], rest[0].encode("latin-1"))[0]
    if kind == "uint64":
        return name, int(rest[0]) | int(rest[1]) << 32
    if kind == "expert":
        return name, rest[0]
    return name, int(rest[0]) if kind.startswith("uint") else rest[0]


def header_of(packet):
    header = np.frombuffer(packet[:32], HEADER_DTYPE)[0]
    return [(name, header[name].item()) for name in HEADER_DTYPE.names]


def values(fields, name):
    return [value for key, value in fields if key == name]


tag_word = st.integers(0, (1 << 31) - 1)
overflow = st.integers(0, (1 << 25) - 1).map(lambda periods: 127 << 25 | periods)
base_period = st.one_of(st.integers(0, 1 << 37), st.integers(0, 1 << 10))


@settings(max_examples=60)
@given(st.lists(st.one_of(tag_word, overflow), max_size=MAX_PAYLOAD_WORDS), base_period, st.integers(0, 0xFFFFFFFF))
@example([127 << 25 | 1, 5], (1 << 37) - 1, 0)
def test_tags_have_the_channels_and_times_of_the_host(dissect, words, period, sequence):
    packet = pack(
        Stream.TAG, sequence, np.array(words, "<u4").tobytes(), base_ticks=period << 25, lost=3, first_record=sequence
    )
    fields, info = dissect(packet)
    assert fields[: len(HEADER_DTYPE.names)] == header_of(packet)
    batch = Decoder(SERVER).decode([packet], now_s=0.0)
    tags = batch.records.get(Stream.TAG)
    if tags is None:
        assert not values(fields, "tag.ticks")
        return
    assert values(fields, "tag.ticks") == (tags["time_ticks"].view(np.uint64)).tolist()
    assert values(fields, "tag.channel") == tags["channel"].tolist()
    seconds = tags["time_ticks"].view(np.uint64).astype(float) / 8192 / CLOCK_HZ
    assert values(fields, "tag.seconds") == pytest.approx(seconds.tolist(), rel=1e-14)
    assert values(fields, "tag.overflow") == [word & 0x1FFFFFF for word in words if word >> 25 == 127]
    assert info == f"TAG {sequence}, {len(tags)} tags"
    assert not values(fields, "malformed")


@settings(max_examples=60)
@given(st.sampled_from(RECORDS), st.integers(0, 40), st.integers(0, 99), st.integers(0, (1 << 51) - 1))
def test_records_are_those_of_the_spec(dissect, stream, count, seed, clock):
    count = min(count, MAX_PAYLOAD_WORDS // RECORD_WORDS[stream])
    words = np.random.default_rng(seed).integers(0, 1 << 32, (count, RECORD_WORDS[stream]), np.uint32)
    packet = pack(stream, seed, words.tobytes(), base_ticks=clock << 13)
    fields, _ = dissect(packet)
    records = words.view(RECORD_DTYPES[stream]).reshape(-1)
    assert fields[: len(HEADER_DTYPE.names)] == header_of(packet)
    for name in records.dtype.names:
        assert values(fields, f"{stream.name.lower()}.{name}") == records[name].tolist()
    assert not values(fields, "malformed")
    assert values(fields, "heartbeat") == [True] * (count == 0)
    if stream is Stream.HERALD:
        high = records["pulse_high_detector"].astype(np.uint64)
        assert values(fields, "herald.pulse") == (records["pulse_low"] + ((high & 0xFFFFFF) << 32)).tolist()
        assert values(fields, "herald.detector") == ["LR"[bit] for bit in (high >> 31).tolist()]
    if stream in (Stream.PHASE, Stream.PSI, Stream.PSI_CAUSAL):
        assert values(fields, "r_valid") == (records["flags"] & 1 == 1).tolist()
    if stream in (Stream.DPHASE, Stream.PSI, Stream.PSI_CAUSAL):
        assert values(fields, "d_valid") == (records["flags"] & 2 == 2).tolist()
    if stream is Stream.TRACK:
        high = records["clock_high_channel"].astype(np.uint64)
        assert values(fields, "track.clock") == (records["clock_low"] + ((high & 0x7FFFF) << 32)).tolist()
        assert values(fields, "track.channel") == (high >> 24 & 63).tolist()
        assert values(fields, "track.locked") == (high >> 30 & 1 == 1).tolist()
        assert values(fields, "track.broke") == (high >> 31 == 1).tolist()


@pytest.mark.parametrize("node_map", [SERVER, CLIENT, TIMETAGGER])
def test_counters_have_the_names_of_their_node(dissect, node_map):
    counts = np.random.default_rng(1).integers(0, 1 << 63, len(node_map.counter_names), np.uint64)
    fields, info = dissect(pack(Stream.STATUS, 5, counts.tobytes(), base_ticks=1 << 20))
    assert [(f"status.{name}", int(n)) for name, n in zip(node_map.counter_names, counts, strict=True)] == [
        field for field in fields if field[0].startswith("status.")
    ]
    assert info == "STATUS 5, counters"


@given(
    st.sampled_from([*RegisterOp, 2, 999]),
    st.integers(0, 0xFFFFFFFF),
    st.one_of(st.integers(0, 70), st.just(1 << 31)),
    st.integers(0, 66),
)
def test_requests(dissect, op, address, count, words):
    packet = pack(Stream.REGISTER_REQUEST, 9, bytes(4 * words), base_ticks=address | count << 32, flags=int(op))
    fields, _ = dissect(packet)
    assert values(fields, "register.address") == [address]
    assert values(fields, "register.count") == [count]
    assert values(fields, "register.operation") == [int(op)]
    assert values(fields, "register.value") == [0] * words
    sound = (
        op in list(RegisterOp) and 1 <= count <= 64 and words == (count if op is RegisterOp.WRITE else 0)
    )  # as packets.py says of BAD_REQUEST; a read has no payload
    assert (not values(fields, "malformed")) == sound


def test_registers_have_their_names_and_refusals_show(dissect):
    for address, name in (
        (0, "ID_MAGIC"),
        (SERVER["PERIOD"].address, "PERIOD"),
        (SERVER.memory("FRAME_TABLE").address + 7, "FRAME_TABLE[7]"),
    ):
        fields, _ = dissect(pack(Stream.REGISTER_REQUEST, 1, base_ticks=address | 1 << 32))
        assert name in values(fields, "register.name")[0]
    fields, _ = dissect(pack(Stream.REGISTER_REQUEST, 1, base_ticks=0xFFFFFFF0 | 1 << 32))
    assert values(fields, "register.name") == ["not in the map"]
    answer = pack(
        Stream.REGISTER_RESPONSE, 0xFFFFFFFF, b"\1\0\0\0" * 3, base_ticks=0x10 | 3 << 32, flags=RegisterStatus.OK
    )
    fields, info = dissect(answer)
    assert (values(fields, "register.id"), values(fields, "register.value")) == ([0xFFFFFFFF], [1, 1, 1])
    names = values(fields, "register.value_name")
    assert names[0] == values(fields, "register.name")[0]
    (second,) = [register.name for register in SERVER.registers if register.address == 0x11]
    assert second in names[1]
    assert not values(fields, "refused")
    assert info.startswith("REGISTER_RESPONSE 4294967295, ")
    fields, _ = dissect(pack(Stream.REGISTER_RESPONSE, 1, flags=RegisterStatus.BAD_REQUEST))
    assert values(fields, "refused") == [""]
    assert not values(fields, "malformed")


def test_registers_of_a_link_have_their_names_behind_its_port_only(dissect):
    """Requests to port 9752 and answers from there: the link's registers by name, each value with its own; elsewhere none of these."""

    def named(text):
        return {part.split(" ")[0] for part in text.split(", ") if part.endswith(" (udp_link)")}

    first, last = COUNTERS[0][0], COUNTERS[-1][0]
    where = UDP_LINK[first].address | len(COUNTERS) << 32
    read = pack(Stream.REGISTER_REQUEST, 1, base_ticks=where, flags=RegisterOp.READ)
    answer = pack(Stream.REGISTER_RESPONSE, 1, bytes(4 * len(COUNTERS)), base_ticks=where)
    write = pack(
        Stream.REGISTER_REQUEST,
        2,
        struct.pack("<2I", 0xEF010203, 9760),
        base_ticks=UDP_LINK["GROUP_ADDRESS"].address | 2 << 32,
        flags=RegisterOp.WRITE,
    )
    fields, info = dissect(read, LINK_PORT)
    assert named(values(fields, "register.name")[0]) == {first}
    assert info.startswith(f"REGISTER_REQUEST 1, {first} (udp_link)")
    fields, _ = dissect(answer, 40000, LINK_PORT)
    assert [named(text) for text in values(fields, "register.value_name")] == [{name} for name, _ in COUNTERS]
    fields, _ = dissect(write, LINK_PORT)
    assert [named(text) for text in values(fields, "register.value_name")] == [{"GROUP_ADDRESS"}, {"GROUP_PORT"}]
    assert not values(fields, "malformed")
    for register in UDP_LINK.registers:
        words = [
            dissect(pack(Stream.REGISTER_REQUEST, 1, base_ticks=register.address + k | 1 << 32), LINK_PORT)[0]
            for k in range(register.words)
        ]
        place = ["[0]", "[1]"] if register.words == 2 else [""]
        assert [named(values(fields, "register.name")[0]) for fields in words] == [{register.name + p} for p in place]
    past = dissect(pack(Stream.REGISTER_REQUEST, 1, base_ticks=UDP_LINK[last].address + 1 | 1 << 32), LINK_PORT)
    assert not named(values(past[0], "register.name")[0])
    for packet, port, source in ((read, PORT, LINK_PORT - 9000), (read, PORT + 1, 40000), (answer, 40000, PORT)):
        fields, _ = dissect(packet, port, source)
        assert not any(map(named, values(fields, "register.name") + values(fields, "register.value_name")))


def test_subscriptions_and_receipts(dissect):
    fields, info = dissect(pack(Stream.SUBSCRIBE, 3, struct.pack("<4I", Stream.TAG, 77, Stream.PSI, 0xFFFFFFFF)))
    assert values(fields, "receipt.stream") == [Stream.TAG, Stream.PSI]
    assert values(fields, "receipt.sequence") == [77, 0xFFFFFFFF]
    assert info == "SUBSCRIBE 3, 2 receipts"
    assert not values(dissect(pack(Stream.SUBSCRIBE, 0))[0], "malformed")
    assert values(dissect(pack(Stream.SUBSCRIBE, 0, bytes(12)))[0], "malformed")


def test_coded_heralds_are_words(dissect):
    fields, info = dissect(pack(Stream.HERALD_CODE, 2, struct.pack("<2I", 1, 2), flags=40))
    assert values(fields, "word") == [1, 2]
    assert info == "HERALD_CODE 2, 40 coded heralds"


sound_packets = (
    tag_packets(random_tags(300, 1), 30)
    + record_packets(Stream.PHASE, phases(30), 7, 1 << 17, 8192)
    + record_packets(Stream.HERALD, heralds(40), 9, 1 << 17, 8192)
    + [pack(Stream.STATUS, 1, bytes(4 * SERVER.status_words), base_ticks=1 << 20)]
)


@settings(max_examples=200)
@given(st.sampled_from(sound_packets), st.integers(0, 4), st.integers(0, 1 << 20), st.integers(0, 7))
def test_what_the_host_refuses_is_malformed_and_nothing_raises(dissect, packet, kind, place, bit):
    """Cut, prolonged, or a bit flipped anywhere: marked where the host counts damage of length, header or content, and nowhere else."""
    damaged = bytearray(packet)
    if kind == 0:
        damaged = damaged[: place % (len(packet) + 1)]
    elif kind == 1:
        damaged += bytes(place % 9)
    elif kind == 2:
        damaged[place % 32] ^= 1 << bit
    else:
        damaged[place % len(packet)] ^= 1 << bit
    if not damaged:
        return  # Wireshark does not call a dissector for nothing
    stream = damaged[0]
    decoder = Decoder(SERVER)
    decoder.decode([bytes(damaged)], now_s=0.0)
    fields, _ = dissect(bytes(damaged))
    refused = decoder.damage["length"] + decoder.damage["header"] + decoder.damage["content"] > 0
    control = stream in (Stream.REGISTER_REQUEST, Stream.REGISTER_RESPONSE, Stream.SUBSCRIBE, Stream.HERALD_CODE)
    if not control:
        assert bool(values(fields, "malformed")) == refused
    elif len(damaged) < 32:
        assert values(fields, "malformed")


@given(st.binary(min_size=1, max_size=200))
def test_garbage_is_marked_and_on_other_ports_left_to_others(dissect, packet):
    fields, _ = dissect(packet)
    assert values(fields, "malformed")
    assert dissect(packet, port=40000) is None


def test_nodes_on_other_ports_are_known_by_their_first_word(dissect):
    packet = tag_packets(random_tags(5, 1))[0]
    assert dissect(packet, port=40000) == dissect(packet)


def test_the_command_writes_it(tmp_path, capsys, monkeypatch):
    assert cli.main(["dissector"]) == 0
    assert capsys.readouterr().out == dissector()
    assert cli.main(["dissector", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["streams"]["1"] == {"name": "TAG", "words": 1}
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cli.main(["dissector", "--install"]) == 0
    (path,) = tmp_path.rglob("twinphase.lua")
    assert capsys.readouterr().out == f"{path}\n"
    assert path.read_text() == dissector()
    assert cli.main(["dissector", "--json", "--out", str(tmp_path / "a" / "b.lua")]) == 0
    assert json.loads(capsys.readouterr().out) == {"file": str(tmp_path / "a" / "b.lua")}
    assert (tmp_path / "a" / "b.lua").read_text() == dissector()


def capture(packets, port):
    """A pcap of raw IPv4 with the packets as datagrams from ``port``."""
    out = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101)]
    for i, packet in enumerate(packets):
        udp = struct.pack(">HHHH", port, 40000, 8 + len(packet), 0) + packet
        size = 20 + len(udp)
        ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, size, i, 0, 64, 17, 0, bytes([127, 0, 0, 1]), bytes([127, 0, 0, 2]))
        out.append(struct.pack("<IIII", i, 0, size, size) + ip + udp)
    return b"".join(out)


@pytest.fixture
def open_folder():
    """A folder that any user may read: Wireshark runs no scripts for root, so that root runs it as another user."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder), {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}


in_tshark = pytest.mark.skipif(
    shutil.which("tshark") is None, reason="tshark is not on PATH (Debian: apt install tshark)"
)


def layers_in_tshark(open_folder, packets, port, wanted, options=()):
    """What tshark says of each packet: the values of the fields that are wanted, by name."""
    folder, user = open_folder
    (folder / "twinphase.lua").write_text(dissector())
    (folder / "x.pcap").write_bytes(capture(packets, port))
    done = subprocess.run(
        ["tshark", "-X", f"lua_script:{folder}/twinphase.lua", "-r", str(folder / "x.pcap"), "-T", "json"]
        + [word for name in wanted for word in ("-e", f"twinphase.{name}")]
        + ["--enable-heuristic", "twinphase_udp", *options],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"HOME": str(folder)},
        **user,
    )
    assert done.returncode == 0, done.stderr
    return [frame["_source"]["layers"] for frame in json.loads(done.stdout)]


def shown(name, layers):
    return [value for frame in layers for value in frame.get(f"twinphase.{name}", [])]


@in_tshark
@pytest.mark.parametrize("port", [PORT, 41234])
def test_tshark_shows_the_same(open_folder, port):
    """In the real thing: all tags of a capture, the fields of records, a register's name, and which packets are malformed."""
    tags, records = random_tags(2000, 3), phases(64)
    packets = [*tag_packets(tags, 100), *record_packets(Stream.PHASE, records, 8, 1 << 17, 8192)]
    packets += [pack(Stream.REGISTER_REQUEST, 1, base_ticks=6 << 32), packets[0][:-4] + b"\0\0\0\x81", packets[1][:-4]]
    wanted = ["tag.ticks", "tag.channel", "phase.cosine_r", "phase.unwrapped_turns", "register.name", "malformed"]
    layers = layers_in_tshark(open_folder, packets, port, wanted)
    sound = layers[:28]
    assert list(map(int, shown("tag.ticks", sound))) == tags["time_ticks"].tolist()
    assert list(map(int, shown("tag.channel", sound))) == tags["channel"].tolist()
    assert list(map(int, shown("phase.cosine_r", sound))) == records["cosine_r"].tolist()
    assert list(map(int, shown("phase.unwrapped_turns", sound))) == records["unwrapped_turns"].tolist()
    assert "ID_MAGIC" in shown("register.name", layers)
    assert [i for i, layer in enumerate(layers) if "twinphase.malformed" in layer] == [
        len(packets) - 2,
        len(packets) - 1,
    ]


@in_tshark
@pytest.mark.parametrize(
    ("port", "options", "of_link"),
    [(PORT, (), False), (LINK_PORT, (), True), (41236, (), False), (41236, ("-o", "twinphase.link_port:41236"), True)],
)
def test_tshark_names_the_registers_of_a_link(open_folder, port, options, of_link):
    where = UDP_LINK[COUNTERS[0][0]].address | len(COUNTERS) << 32
    answer = pack(Stream.REGISTER_RESPONSE, 1, np.arange(len(COUNTERS), dtype="<u4").tobytes(), base_ticks=where)
    layers = layers_in_tshark(
        open_folder, [answer], port, ["register.value", "register.value_name", "malformed"], options
    )
    assert [int(value, 16) for value in shown("register.value", layers)] == list(range(len(COUNTERS)))
    names = shown("register.value_name", layers)
    assert len(names) == len(COUNTERS)
    for (name, _), text in zip(COUNTERS, names, strict=True):
        assert text.startswith(f"{name} (udp_link)") == of_link
    assert not shown("malformed", layers)
