"""Recordings: two independent readers of the tags, a full disk, a clean stop, and the way back as a device."""

import datetime
import errno
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import ptufile
import pyarrow.parquet as pq
import pytest
import tttrlib
from fake_node import SERVER, FakeNode, Registers, heralds, phases, random_tags, record_packets, t2_packet, tag_packets
from hypothesis import given, settings
from hypothesis import strategies as st

from twinphase.batch import Gap
from twinphase.device import PacketDevice, open_device
from twinphase.errors import DeviceError, RecordingError
from twinphase.measure.losses import losses
from twinphase.recording import ptu
from twinphase.recording.writer import _registers, record
from twinphase_spec.packets import HEADER_WORDS, RegisterOp, Stream
from twinphase_spec.registers import CLIENT
from twinphase_spec.units import TICKS_PER_SECOND

NOW = datetime.datetime(2026, 1, 2, 3, 4, 5)


class ListDevice(PacketDevice):
    """A node that hands out given packets."""

    def __init__(self, packets, chunk=100):
        super().__init__("list:")
        self.chunks = [packets[i : i + chunk] for i in range(0, len(packets), chunk)]
        self.registers = Registers(SERVER)

    def receive(self, timeout_s):
        return self.chunks.pop(0) if self.chunks else None

    def request(self, op, address, count, words=()):
        return [self.registers.words.get(address + i, 0) for i in range(count)] if op is RegisterOp.READ else []

    def close(self):
        pass


def judges(path):
    """(times, channels, marker times) by ptufile and by tttrlib."""
    with ptufile.PtuFile(path) as file:
        records = file.decode_records()
        assert file.tags["MeasDesc_GlobalResolution"] == 125 / 128 * 1e-12
    clicks = records["channel"] >= 0
    yield records["time"][clicks], records["channel"][clicks], records["time"][records["marker"] > 0]
    data = tttrlib.TTTR(str(path))
    assert data.header.macro_time_resolution == 125 / 128 * 1e-12
    times, channels, kinds = data.macro_times, data.routing_channels, data.event_types
    yield times[kinds == 0], channels[kinds == 0], times[kinds == 1]


def check_tags(path, tags, origin=0):
    for times, channels, _ in judges(path):
        assert np.array_equal(times.astype(np.int64) + origin, tags["time_ticks"])
        assert np.array_equal(channels, tags["channel"])
    assert np.array_equal(np.concatenate([part for part, _ in ptu.read_tags(path)]), tags)


@settings(max_examples=25, deadline=None)
@given(
    steps=st.lists(st.integers(0, 1 << 33), min_size=1, max_size=200),
    cuts=st.lists(st.integers(0, 200), max_size=4),
    start=st.integers(0, 1 << 62),
)
def test_ptufile_and_tttrlib_read_the_same_times_and_channels(tmp_path_factory, steps, cuts, start):
    path = tmp_path_factory.mktemp("ptu") / "tags.ptu"
    tags = random_tags(len(steps), 1)
    tags["time_ticks"] = start % (50 * TICKS_PER_SECOND if len(steps) % 2 else 1 << 62) + np.cumsum(np.array(steps))
    writer = ptu.PtuWriter(path, "test", NOW)
    for part in np.split(tags, sorted(cuts)):
        writer.write(part)
    writer.close()
    check_tags(path, tags, writer.origin_ticks)
    assert writer.unordered == 0
    assert (writer.origin_ticks == 0) == (tags["time_ticks"][0] <= ptu.LATEST_ORIGIN_TICKS)


@settings(max_examples=200, deadline=None)
@given(
    steps=st.lists(
        st.one_of(
            st.integers(0, 1 << 20), st.integers(0, 1 << 27), st.integers(126 << 25, 129 << 25), st.just(1 << 50)
        ),
        max_size=60,
    ),
    back=st.integers(0, 80),
    start=st.integers(0, 1 << 60),
    period=st.integers(0, 3),
    seed=st.integers(0, 9),
)
def test_the_short_way_writes_the_same_words(steps, back, start, period, seed):
    """Of tags in order, out of order, in the file's period or later, with pauses of minutes."""
    tags = random_tags(len(steps), seed, channels=range(63))
    tags["time_ticks"] = start + np.cumsum(np.array(steps, np.int64))
    if back < len(tags):
        tags["time_ticks"][back] -= 1 << 22
    began = max((start >> 25) - period, 0)
    kept = ptu._encode_plain
    quick = ptu.encode(tags, [], began, began << 25)
    ptu._encode_plain = lambda *_: None
    try:
        slow = ptu.encode(tags, [], began, began << 25)
    finally:
        ptu._encode_plain = kept
    assert np.array_equal(quick[0], slow[0])
    assert quick[0].dtype == slow[0].dtype == np.uint32
    assert quick[1:] == slow[1:]


def test_markers_stand_at_gaps_between_the_tags(tmp_path):
    tags = random_tags(1000, 2)
    ticks = tags["time_ticks"]
    writer = ptu.PtuWriter(tmp_path / "a.ptu", "", NOW)
    writer.write(tags[:400], [Gap(0, 1, 0, 0), Gap(100, 5, 1, int(ticks[100]) >> 25 << 25)])
    writer.write(tags[400:400], [Gap(0, 7, 2, int(ticks[400]) - 1)])
    writer.write(tags[400:], [Gap(600, 7, 2, int(ticks[-1]) + 10**9)])
    writer.close()
    check_tags(tmp_path / "a.ptu", tags)
    for _, _, marks in judges(tmp_path / "a.ptu"):
        assert len(marks) == 4
        assert ticks[99] <= marks[1] <= ticks[100]
        assert ticks[399] <= marks[2] <= ticks[400]
        assert marks[3] == ticks[-1] + 10**9


def test_tags_that_go_back_in_time_are_counted(tmp_path):
    tags = random_tags(100, 3)
    tags["time_ticks"][50] = 5
    writer = ptu.PtuWriter(tmp_path / "a.ptu", "", NOW)
    writer.write(tags)
    writer.close()
    check_tags(tmp_path / "a.ptu", np.delete(tags, 50))
    assert writer.unordered == 1


@pytest.mark.parametrize("damage", [b"", b"PQTTTR", b"nonsense" * 20, "cut", "type"])
def test_damaged_ptu_files_are_refused_in_one_sentence(tmp_path, damage):
    path = tmp_path / "a.ptu"
    ptu.PtuWriter(path, "", NOW).close()
    whole = path.read_bytes()
    if damage == "cut":
        damage = whole[:300]
    elif damage == "type":
        damage = whole.replace((ptu.RECORD_TYPE_T2).to_bytes(8, "little"), (0x10303).to_bytes(8, "little"))
    path.write_bytes(damage)
    with pytest.raises(RecordingError, match=r"^[^\n]*a\.ptu is not a readable PTU file[^\n]*$"):
        list(ptu.read_tags(path))


@pytest.mark.parametrize(
    ("cut", "says"), [(10_000, "ends after 2404 of 9[0-9]+ words"), (None, "is damaged at word 5000")]
)
def test_a_cut_or_damaged_ptu_file_is_read_up_to_there(tmp_path, cut, says):
    path = tmp_path / "a.ptu"
    tags = random_tags(9000, 4)
    writer = ptu.PtuWriter(path, "", NOW)
    writer.write(tags)
    writer.close()
    data = bytearray(path.read_bytes())
    start = ptu.read_header(path)[1]
    if cut:
        data = data[: start + 4 * 2404 + 3]
    else:
        data[start + 4 * 5000 : start + 4 * 5001] = (100 << 25).to_bytes(4, "little")
    path.write_bytes(data)
    got = []
    with pytest.raises(RecordingError, match=rf"^[^\n]*a\.ptu {says}[^\n]*$"):
        got.extend(part for part, _ in ptu.read_tags(path))
    got = np.concatenate(got)
    assert len(got) > 2000
    assert np.array_equal(got, tags[: len(got)])


def interleaved(lost=()):
    """Packets of tags, heralds and phases over 1.2 s of node time, without the packet positions in ``lost``."""
    tags, numbers, windows = random_tags(60_000, 1, 20 * 8192 * 125), heralds(12_000), phases(12_000)
    period = 60_000 // 600
    lists = [
        tag_packets(tags, period),
        record_packets(Stream.HERALD, numbers, 20, 1 << 17, 250_000),
        record_packets(Stream.PHASE, windows, 20, 1 << 17, 250_000),
    ]
    packets = [packet for group in zip(*lists, strict=True) for packet in group]
    return [p for i, p in enumerate(packets) if i not in lost], tags, numbers, windows


def joined(device, stream):
    return np.concatenate([batch[stream] for batch in device.batches() if stream in batch.records])


@pytest.mark.parametrize("lost", [(), (30, 31, 32, 33, 600, 900)])
def test_a_recording_is_the_same_device_again(tmp_path, lost):
    packets, tags, numbers, windows = interleaved(lost)
    source = ListDevice(packets)
    summary = record(source, tmp_path / "run", lab="seed-370km", part_s=0.0)
    kept = np.concatenate([tags[100 * i : 100 * i + 100] for i in range(600) if 3 * i not in lost])
    check_tags(
        tmp_path / "run" / "tags.ptu",
        kept,
        ptu.read_header(tmp_path / "run" / "tags.ptu")[0]["Twinphase_TimeOriginTicks"],
    )
    with open_device(str(tmp_path / "run")) as device:
        assert device.identity() == source.identity()
        assert device.lab == "seed-370km"
        assert device.read("FRAMES_PER_WINDOW") == 1024
        assert np.array_equal(joined(device, Stream.TAG), kept)
        assert len(joined(device, Stream.HERALD)) == summary["records"]["herald"]
        assert np.isin(joined(device, Stream.HERALD)["number"], numbers["number"]).all()
        assert np.isin(joined(device, Stream.PHASE)["window"], windows["window"]).all()
        assert losses(device) == losses(source)
        gaps = {}
        for batch in device.batches():
            for stream, found in batch.gaps.items():
                gaps[stream] = gaps.get(stream, 0) + sum(gap.records for gap in found)
        assert sum(gaps.values()) == losses(device)["records"] == sum(100 if i % 3 == 0 else 20 for i in lost)
        with pytest.raises(DeviceError, match="is a recording"):
            device.write("SWAP", 1)
    parts = sorted((tmp_path / "run").glob("herald-*.parquet"))
    assert len(parts) > 3
    assert sum(pq.read_metadata(part).num_rows for part in parts) == summary["records"]["herald"]
    assert not list((tmp_path / "run").glob("*.unfinished"))


def test_an_interrupted_recording_is_readable_at_any_time(tmp_path):
    """Copies of the folder's files while it is written, as after a power cut."""
    packets, tags, *_ = interleaved()
    seen = []

    def look(recorder):
        if len(seen) < 12:
            path = recorder.folder / "tags.ptu"
            (tmp_path / "copy.ptu").write_bytes(path.read_bytes())
            check_tags(tmp_path / "copy.ptu", tags[: recorder._ptu.tags], recorder._ptu.origin_ticks or 0)
            with open_device(str(recorder.folder)) as device:
                seen.append(sum(len(batch) for batch in device.batches()))

    record(ListDevice(packets), tmp_path / "run", progress=look, part_s=0.0)
    assert seen[0] > 0
    assert seen == sorted(seen)


def check_full_disk(folder, tags):
    """The end of a recording that ran into a full disk."""
    metadata = json.loads((folder / "recording.json").read_text())
    assert metadata["ended"] == "disk full"
    count = metadata["records"]["tag"]
    assert count > 0
    assert count < len(tags) or metadata["unsaved_records"]
    times = next(iter(judges(folder / "tags.ptu")))[0]
    assert np.array_equal(times, tags["time_ticks"][: len(times)])
    assert len(times) >= count
    assert not list(folder.glob("*.unfinished"))
    assert not list(folder.glob("reserve*"))
    with open_device(str(folder)) as device:
        assert np.array_equal(joined(device, Stream.TAG), tags[: len(times)])
        saved = sum(len(batch.records.get(Stream.HERALD, ())) for batch in device.batches())
        assert saved == metadata["records"]["herald"]


def test_a_full_disk_ends_the_recording_and_keeps_it_readable(tmp_path, monkeypatch):
    packets, tags, *_ = interleaved()
    written, real = [0], ptu.PtuWriter._write

    def write(self, data):
        written[0] += len(data)
        if written[0] > 200_000:
            real(self, data[: len(data) // 2 | 1])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(self, data)

    monkeypatch.setattr(ptu.PtuWriter, "_write", write)
    with pytest.raises(RecordingError, match=r"^the disk is full: [^\n]*free space[^\n]*$"):
        record(ListDevice(packets), tmp_path / "run", part_s=0.0)
    check_full_disk(tmp_path / "run", tags)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs the right to mount a small file system")
@pytest.mark.parametrize(
    ("part_s", "size"), [(0.0, "700k"), (100.0, "400k"), (100.0, "200k"), (0.0, "352k"), (0.0, "208k")]
)
def test_a_really_full_disk(tmp_path, part_s, size):
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", tmp_path], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        packets, tags, *_ = interleaved()
        with pytest.raises(RecordingError, match="the disk is full"):
            record(ListDevice(packets), tmp_path / "run", part_s=part_s)
        check_full_disk(tmp_path / "run", tags)
    finally:
        # Lazily: a reader's worker thread may hold one of the files for a moment longer.
        subprocess.run(["umount", "--lazy", tmp_path], check=True)


def test_a_used_folder_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RecordingError, match="not empty"):
        record(ListDevice([]), tmp_path)


def test_a_damaged_metadata_file_or_part_is_named(tmp_path):
    packets, *_ = interleaved()
    record(ListDevice(packets), tmp_path / "run")
    part = next((tmp_path / "run").glob("herald-*.parquet"))
    part.write_bytes(part.read_bytes()[:50])
    with open_device(str(tmp_path / "run")) as device, pytest.raises(RecordingError, match="is damaged"):
        list(device.batches())
    (tmp_path / "run" / "recording.json").write_text("{")
    with pytest.raises(RecordingError, match=r"recording\.json is damaged"):
        open_device(str(tmp_path / "run"))


def test_ctrl_c_ends_a_recording_over_udp_cleanly(tmp_path):
    with FakeNode() as node:
        command = [sys.executable, "-m", "twinphase.cli", "record", node.url, "--out", str(tmp_path / "run"), "--json"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        tags = random_tags(100_000, 9, 1 << 20)
        node.outbox = tag_packets(tags, 50)[:1000]
        deadline = time.monotonic() + 20
        while node._sent < 1000 and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    summary = json.loads(out)
    assert summary["ended"] == "stopped"
    lost = summary["losses"]["records"]
    assert summary["records"]["tag"] + lost == 50_000
    if not lost:
        check_tags(tmp_path / "run" / "tags.ptu", tags[:50_000])


def test_oracle_of_t2_words():
    packet = t2_packet(0, [1 << 25, (5 << 25) + 3], [1, 2], 0)
    assert np.frombuffer(packet, "<u4")[HEADER_WORDS:].tolist() == [1 << 25, 0xFE000004, 2 << 25 | 3]


def test_keys_are_not_recorded():
    """What is in a recording is shown to others: no register of a key is among its settings."""

    class Asked:
        map = CLIENT

        def read(self, register):
            return 7

    recorded = _registers(Asked())
    assert {"ROLE", "NONCE_0", "DIGEST_NONCE_0", "SLICE_WIDTH"} <= recorded.keys()
    assert not [name for name in recorded if "KEY_" in name and name != "KEY_READY"]
