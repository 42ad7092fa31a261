"""A time tagger as the host sees it: identity, books, recording, set-up, and every measurement the same live and recorded."""

import json
import sys
import types
from itertools import pairwise

import numpy as np
import ptufile
import pyarrow.parquet as pq
import pytest
from fake_node import TIMETAGGER, FakeNode, TaggerRegisters, random_tags, record_packets, tag_packets
from test_host_cli import run
from test_host_recording import ListDevice

from twinphase.batch import TAG_DTYPE, Batch, Gap, in_host_ticks
from twinphase.device import open_device
from twinphase.errors import DeviceError
from twinphase.measure.correlate import Bins
from twinphase.measure.histogram import Histogram
from twinphase.measure.losses import unexplained_edges
from twinphase.measure.tagger_setup import apply_settings, settings
from twinphase.packets import Decoder
from twinphase.recording.writer import record
from twinphase_spec.packets import Stream
from twinphase_spec.registers import NodeType
from twinphase_spec.tagger import CHANNEL_COUNTERS, PARTS

STATUS_DTYPE = np.dtype([(name, "<u8") for name in TIMETAGGER.counter_names])
CHANNELS = (0, 1, 3, 32, 35)
COUNT = 20_000


def status_records(count):
    """Balanced books, but for one edge of channel 2 in the last record."""
    records = np.zeros(count, STATUS_DTYPE)
    records["clock"] = np.arange(count) << 20
    records["seen_1"], records["generated_1"] = 2**64 - 5, 12
    for i, (name, _) in enumerate(CHANNEL_COUNTERS[2:11]):
        records[f"{name}_1"] = i
    records["tags_1"] -= 29  # 7 = 36 - 29
    records["uncalibrated_1"] = records["runts_1"] = 99  # of no edge
    records["seen_2"][-1] = 1
    return records


def tagger():
    """A tagger that sends 20000 tags of 5 channels over 0.43 s and its status, once. (A busy host may find the first 0.12 s of it in
    one batch, which do not count as time.)"""
    node = FakeNode(registers=TaggerRegisters(), paced=True)
    tags = random_tags(COUNT, 5, mean_step_ticks=22_000_000, channels=CHANNELS)
    status = record_packets(Stream.STATUS, status_records(50), 1, 1 << 17, 1 << 20)
    packets = tag_packets(tags)
    step = len(packets) // len(status)
    node.outbox = [p for i, one in enumerate(status) for p in (*packets[i * step : (i + 1) * step], one)]
    node.tags = tags[: step * len(status) * 100]
    return node


@pytest.fixture(scope="module")
def node():
    with tagger() as node:
        yield node


@pytest.fixture(scope="module")
def recording(node, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tagger") / "run"
    from twinphase import cli

    assert cli.main(["record", node.url, "--out", str(folder), "--seconds", "0.25"]) == 0
    return folder


def test_identity_and_books(node):
    with open_device(node.url) as device:
        assert device.identity().node is NodeType.TIMETAGGER
        assert set(unexplained_edges(device.counters()).values()) == {0}
    record = status_records(2)[-1]
    books = unexplained_edges({name: int(record[name]) for name in STATUS_DTYPE.names})
    assert books == {str(c): int(c == 2) for c in range(8)}


def test_a_recording_is_a_ptu_file_and_status(recording, node):
    with ptufile.PtuFile(recording / "tags.ptu") as file:
        records = file.decode_records()
    times, channels = records["time"][records["channel"] >= 0], records["channel"][records["channel"] >= 0]
    assert set(channels.tolist()) == set(CHANNELS)
    expected = node.tags[: len(times)]
    assert np.array_equal(channels, expected["channel"])
    assert np.array_equal(times.astype(np.int64), expected["time_ticks"])
    status = pq.read_table(sorted(recording.glob("status*.parquet"))[0])
    assert {"seen_7", "runts_0", "virtual_3"} <= set(status.column_names)
    metadata = json.loads((recording / "recording.json").read_text())
    assert metadata["identity"]["node"] == "timetagger"
    assert metadata["registers"]["TAPS"] == 256


def test_monitor_names_the_channels(capsys, recording):
    code, out, err = run(capsys, "monitor", str(recording), "--json")
    assert code == 0, err
    device = json.loads(out.splitlines()[-1])["devices"][0]
    assert {name for name in device["totals"] if name not in ("tag", "status")} == {"ch0", "ch1", "ch3", "v0", "v3"}
    assert device["unexplained_edges"] in (0, 1)
    code, out, _ = run(capsys, "monitor", str(recording))
    assert "v3" in out
    assert "timetagger" in out


OPTIONS = {
    "rates": [],
    "histogram": ["--start", "0", "--stop", "1", "v0", "--bin-ps", "1000000", "--range-ns", "200000"],
    "coincidences": ["--channels", "0", "1", "--channels", "ch0", "3", "35", "--window-ps", "5e6"],
    "g2": ["--channels", "0", "1", "--bin-ps", "2e6", "--range-ns", "50000"],
}


@pytest.mark.parametrize("kind", OPTIONS)
def test_measure_gives_the_same_live_and_recorded(capsys, tmp_path, recording, kind):
    from twinphase.batch import Batch
    from twinphase.measure.coincidences import Coincidences, window_ticks_of
    from twinphase.recording.ptu import read_tags

    plot = tmp_path / "plot.svg"
    command = ("measure", str(recording), kind, *OPTIONS[kind], "--json", "--plot", str(plot))
    code, out, err = run(capsys, *command)
    assert code == 0, err
    result = json.loads(out)
    assert "<svg" in plot.read_text()
    assert result["losses"]["records"] == 0
    assert result["ended"] == "device ended"
    tags = np.concatenate([part for part, _ in read_tags(recording / "tags.ptu")])
    assert result["tags"] == len(tags)
    shown = result["result"]
    if kind == "rates":
        assert {row["name"]: row["tags"] for row in shown["channels"]} == {
            name: np.count_nonzero(tags["channel"] == c)
            for name, c in zip(("ch0", "ch1", "ch3", "v0", "v3"), CHANNELS, strict=True)
        }
    elif kind == "coincidences":
        other = Coincidences(channels=(0, 1), window_ticks=window_ticks_of(5e6))
        other.update(Batch(records={Stream.TAG: tags}))
        assert shown[0]["coincidences"] == other.count > 100
    elif kind == "g2":
        value, error = (np.array(shown[key]) for key in ("g2", "error"))
        assert np.sum(((value - 1) / error) ** 2) < 3 * len(value)
    else:
        assert all(counted > 100 for counted in shown["counted"])
    code, out, _ = run(capsys, "measure", str(recording), kind, *OPTIONS[kind])
    assert code == 0
    assert "(device ended)" in out
    with tagger() as node:
        seconds = str(result["node_seconds"] / 4)
        code, out, err = run(capsys, "measure", node.url, kind, *OPTIONS[kind], "--json", "--seconds", seconds)
    live = json.loads(out)
    assert code == 0, err
    assert live["ended"] == "time over"
    assert 0 < live["tags"] < len(node.tags)


def test_measure_reference_says_that_it_is_absent(capsys, recording):
    code, out, _ = run(capsys, "measure", str(recording), "reference", "--clock", "2", "--pps", "3", "--json")
    assert code == 0
    result = json.loads(out)["result"]
    assert result["status"] == "absent"
    assert "is absent: it has no pulse" in result["sentence"]
    code, out, _ = run(capsys, "measure", str(recording), "reference", "--clock", "2")
    assert code == 0
    assert "absent" in out


def test_lost_packets_separate_tags_live_and_recorded_alike(tmp_path):
    """Pairs across a lost packet are not counted; a recording knows the place as well as the live stream."""
    tags = random_tags(5000, 8, mean_step_ticks=3_000_000, channels=(0, 1))
    packets = tag_packets(tags, 50)
    lost = [7, 8, 50, 91]
    kept = [packet for i, packet in enumerate(packets) if i not in lost]
    status = record_packets(Stream.STATUS, status_records(1), 1, 1 << 17, 1 << 20)
    bins = Bins(low_ticks=-(1 << 26), width_ticks=1 << 22, count=32)
    stretches = [tags[a * 50 : b * 50] for a, b in ((0, 7), (9, 50), (51, 91), (92, 100))]
    expected = np.zeros(bins.count, np.int64)
    for part in stretches:
        times = part["time_ticks"]
        difference = times[part["channel"] == 1] - times[part["channel"] == 0][:, None] - bins.low_ticks
        inside = difference[(difference >= 0) & (difference < 1 << 27)]
        expected += np.bincount(inside >> 22, minlength=bins.count)
    live_ticks = sum(int(part["time_ticks"][-1] - part["time_ticks"][0]) for part in stretches)

    def measured(batches):
        histogram = Histogram(start=0, stops=[1], bins=bins)
        for batch in batches:
            histogram.update(batch)
        assert histogram.counts[0].tolist() == expected.tolist()
        assert (histogram.stream.gaps, histogram.stream.lost_tags) == (3, 200)
        return histogram.stream.live_ticks

    decoder = Decoder(TIMETAGGER)
    batches = [decoder.decode(kept[i : i + 13]) for i in range(0, len(kept), 13)] + [decoder.finish()]
    assert measured(batches) == live_ticks
    device = ListDevice(kept + status, 13)
    device.registers = TaggerRegisters()
    record(device, tmp_path / "run")
    assert measured(open_device(str(tmp_path / "run")).batches()) == live_ticks


@pytest.mark.parametrize(
    "options",
    [
        ("rates", "--channels", "9"),
        ("rates", "--channels", "4"),
        ("rates", "--channels", "0", "ch0"),
        ("histogram", "--start", "0", "--stop", "1", "--bin-ps", "0"),
        ("histogram", "--start", "0", "--stop", "1", "--bin-ps", "nan"),
        ("histogram", "--start", "0", "--stop", "1", "--from-ns", "nan"),
        ("histogram", "--start", "qL", "--stop", "1"),
        ("g2", "--channels", "0", "1", "--bin-ps", "1", "--range-ns", "1e9"),
        ("g2", "--channels", "0", "1", "--bin-ps", "1", "--range-ns", "0"),
        ("coincidences", "--channels", "0"),
        ("coincidences", "--channels", "0", "0"),
        ("coincidences", "--channels", "0", "1", "--window-ps", "-1"),
        ("reference", "--clock", "0", "--pps", "0"),
        ("reference", "--clock", "0", "--divider", "0"),
        ("reference", "--clock", "0", "--holdover-s", "inf"),
    ],
)
def test_measurements_that_make_no_sense_are_refused(capsys, recording, options):
    code, out, err = run(capsys, "measure", str(recording), *options)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "allowed" in err


def test_a_node_without_tags_is_refused(capsys):
    registers = TaggerRegisters()
    registers["STREAM_ENABLE"] = 1 << Stream.STATUS
    with FakeNode(registers=registers) as silent:
        code, _, err = run(capsys, "measure", silent.url, "rates", "--seconds", "1")
    assert code == 2
    assert "does not send its tags" in err


def test_settings_go_in_while_nothing_is_inside():
    registers = TaggerRegisters(drain=3)
    registers["CHANNEL_ENABLE"] = 15
    memories = {"GATE_TABLE": [0x81, 0, 0, 0], "WALK": list(range(70))}
    values = {"DELAY_0": -5 & 0xFFFFFFFF, "CHANNEL_ENABLE": 0b0101, "DIVIDER_2": 7, "DEAD_TIME_1": 1024}
    with FakeNode(registers=registers) as node, open_device(node.url) as device:
        apply_settings(device, values, memories)
        shown = settings(device)
    enable = TIMETAGGER["CHANNEL_ENABLE"].address
    assert registers.log[0] == (enable, 0)
    assert registers.log[-1] == (enable, 0b0101)
    assert [address for address, _ in registers.log].count(enable) == 2
    assert registers.drain == 0  # nothing was in flight any more
    walk = TIMETAGGER.memory("WALK").address
    assert [value for address, value in registers.log if walk <= address < walk + 100] == list(range(70))
    assert all(a != b for a, b in pairwise(registers.log))
    rows = shown["channels"]
    assert [row["enabled"] for row in rows] == [True, False, True, False]
    assert (rows[0]["delay_ps"], rows[1]["dead_time_ps"], rows[2]["divider"]) == (-5 * 125 / 128, 1000.0, 7)
    assert (rows[0]["gate"]["by"], rows[1]["gate"]) == (1, None)
    json.dumps(shown, allow_nan=False)


@pytest.mark.parametrize(
    ("part", "registers", "memories"),
    [
        ("gates", {}, {"GATE_TABLE": [0x80]}),
        ("time window", {"WINDOW_ENABLE": 1}, {}),
        ("conditional filter", {}, {"FILTER_MASK": [0, 1]}),
        ("coincidences", {"COINCIDENCE_MASK_2": 3}, {}),
        ("time walk", {}, {"WALK": [0, 0, 5]}),
    ],
)
def test_what_a_build_does_not_have_is_refused(part, registers, memories):
    small = TaggerRegisters(channels=2, parts=0, drain=0)
    small["CHANNEL_ENABLE"] = 3
    neutral = {"DELAY_0": 5, "WINDOW_ENABLE": 0, "COINCIDENCE_MASK_2": 0}
    unused = {"GATE_TABLE": [0x01], "WALK": [0] * 64, "FILTER_MASK": [0] * 32}
    with FakeNode(registers=small) as node, open_device(node.url) as device:
        assert settings(device)["left_out"] == list(PARTS)
        with pytest.raises(DeviceError, match=rf"has no {part}; leave .*; nothing was changed$"):
            apply_settings(device, {**neutral, **registers}, {**unused, **memories})
        assert small.log == []
        apply_settings(device, neutral, unused)
        assert small["DELAY_0"] == 5
    without = TaggerRegisters(parts=31 & ~(1 << PARTS.index(part)), drain=0)
    with FakeNode(registers=without) as node, open_device(node.url) as device:
        assert settings(device)["left_out"] == [part]
        with pytest.raises(DeviceError, match=f"has no {part};"):
            apply_settings(device, registers, memories)


def test_a_tagger_at_120_mhz_counts_in_the_same_picoseconds():
    """Its ticks are 25/24 of the host's: tags, gaps and times are converted as they come, settings as they go."""
    slow = TaggerRegisters(channels=2, parts=0, drain=0)
    slow["CLOCK_HZ"] = 120_000_000
    values = {
        "DELAY_0": -2400 & 0xFFFFFFFF,
        "DEAD_TIME_1": 2_400_000,
        "PULSER_PERIOD": 125_000,
        "WINDOW_UNTIL": (1 << 64) - 1,
        "DIVIDER_0": 24,
        "CHANNEL_ENABLE": 3,
    }
    with FakeNode(registers=slow) as node, open_device(node.url) as device:
        apply_settings(device, values, {})
        shown = settings(device)
    assert (slow["DEAD_TIME_1"], slow["PULSER_PERIOD"], slow["DIVIDER_0"]) == (2_304_000, 120_000, 24)
    assert slow["DELAY_0"] == -2304 & 0xFFFFFFFF
    assert shown["pulser_period_ns"] == 1e6
    assert shown["channels"][0]["delay_ps"] == pytest.approx(-2400 * 125 / 128)
    assert shown["channels"][1]["dead_time_ps"] == pytest.approx(2_400_000 * 125 / 128)

    times = np.array([0, 23, 24, 25, (1 << 62) + 5], np.int64)
    tags = np.zeros(5, TAG_DTYPE)
    tags["time_ticks"] = times
    gap = Gap(index=1, records=2, packets=0, time_ticks=48)
    batch = Batch(
        records={Stream.TAG: tags}, packet_ticks={Stream.STATUS: times}, gaps={Stream.TAG: [gap]}, time_ticks=24 * 8192
    )
    assert in_host_ticks(batch, 125_000_000) is batch
    converted = in_host_ticks(batch, 120_000_000)
    expected = [t * 25 // 24 for t in times.tolist()]
    assert converted[Stream.TAG]["time_ticks"].tolist() == expected
    assert converted.packet_ticks[Stream.STATUS].tolist() == expected
    assert converted.gaps[Stream.TAG] == [Gap(index=1, records=2, packets=0, time_ticks=50)]
    assert converted.time_ticks == 25 * 8192


def test_a_tagger_that_does_not_drain_stays_off():
    registers = TaggerRegisters(drain=10**9)
    registers["CHANNEL_ENABLE"] = 15
    with FakeNode(registers=registers) as node, open_device(node.url) as device:
        with pytest.raises(DeviceError, match=r"4 edges are still inside .* all channels are off$"):
            apply_settings(device, {"DIVIDER_0": 3}, {}, timeout_s=0.05)
        assert registers["CHANNEL_ENABLE"] == 0
        assert registers["DIVIDER_0"] == 0
        with pytest.raises(DeviceError, match=r"no register NOTHING .*; nothing was changed"):
            apply_settings(device, {"NOTHING": 3}, {})


@pytest.fixture
def config_module(monkeypatch):
    """A stand-in for the reader of configurations: the file's text is the divider of channel 0."""

    def load_tagger(name):
        if name == "bad":
            raise ValueError("tagger bad: divider is -1; allowed: 0 to 65535")
        return int(name)

    module = types.ModuleType("twinphase_spec.tagger_config")
    module.load_tagger = load_tagger
    module.tagger_registers = lambda config, channels: (
        {"DIVIDER_0": config, "CHANNEL_ENABLE": (1 << channels) - 1},
        {"FILTER_MASK": [6] * 32},
    )
    monkeypatch.setitem(sys.modules, "twinphase_spec.tagger_config", module)


def test_the_tagger_command(capsys, recording, config_module):
    registers = TaggerRegisters()
    with FakeNode(registers=registers) as node:
        code, out, err = run(capsys, "tagger", node.url, "--config", "12", "--json")
        assert code == 0, err
        rows = json.loads(out)["channels"]
        assert [(row["divider"], row["enabled"], row["filter"]) for row in rows] == [
            (12, True, [1, 2]),
            *[(1, True, [1, 2])] * 3,
        ]
        assert not rows[0]["calibration"]["calibrated"]
        code, out, _ = run(capsys, "tagger", node.url)
        assert code == 0
        assert "0 pin, divider 12, only near 1, 2, not calibrated" in " ".join(out.split())
        code, out, err = run(capsys, "tagger", node.url, "--config", "bad")
        assert (code, out, err) == (2, "", "tagger bad: divider is -1; allowed: 0 to 65535\n")
    with FakeNode() as node:
        code, _, err = run(capsys, "tagger", node.url, "--config", "12")
        assert code == 2
        assert "no time tagger" in err
    code, out, _ = run(capsys, "tagger", str(recording), "--json")
    assert code == 0
    assert json.loads(out)["channels"][0]["filter"] is None
    code, _, err = run(capsys, "tagger", str(recording), "--config", "12")
    assert code == 2
    assert "recording" in err
    code, _, err = run(capsys, "tdc", str(recording))
    assert code == 2
    assert "holds no calibration" in err
