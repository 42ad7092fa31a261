"""`twinphase measure` in the time of a reference and with host delays, live, from a recording, and without a lock."""

import json

import numpy as np
import pytest
from fake_node import TaggerRegisters, record_packets, tag_packets
from oscillators import START, Truth, pps_pulses, pulses
from test_host_cli import run
from test_host_recording import ListDevice
from test_host_tagger import status_records

from twinphase.batch import TAG_DTYPE, Batch
from twinphase.device import open_device
from twinphase.measure.discipline import DisciplinedTags
from twinphase.measure.reference import ReferenceClock
from twinphase.recording.writer import record
from twinphase_spec.packets import Stream
from twinphase_spec.units import TICK_PS, TICKS_PER_SECOND

SI_DELAY_NS = 400_000.0
"""From start (channel 0) to stop (1). The node is 60 ppm fast and sees 24 ns more."""
TRUTH = Truth(6e-5)
BEGIN = 1 << 30
SECONDS, OFF_AT = 5.0, 3.2
CLOCK = ("--clock", "2", "--divider", "1000", "--pps", "3", "--first-second", "1700000000")
HISTOGRAM = ("histogram", "--start", "0", "--stop", "1", "--bin-ps", "100", "--from-ns", "399990", "--range-ns", "40")


def packets():
    """5 s of starts and stops at 200 Hz, a 10 kHz reference that goes off after 3.2 s, and PPS."""
    starts = pulses(TRUTH, SECONDS, 200) + 12_345_678
    stops = starts + round(SI_DELAY_NS * 1000 / TICK_PS * (1 + TRUTH.offset))
    clock = pulses(TRUTH, OFF_AT, 10_000, 100)
    pps = pps_pulses(TRUTH, OFF_AT)
    tags = np.zeros(sum(map(len, (starts, stops, clock, pps))), TAG_DTYPE)
    tags["time_ticks"] = np.concatenate((starts, stops, clock, pps)) - START + BEGIN
    tags["channel"] = np.repeat([0, 1, 2, 3], [len(part) for part in (starts, stops, clock, pps)])
    tags = tags[np.lexsort((tags["channel"], tags["time_ticks"]))]
    return [*tag_packets(tags), *record_packets(Stream.STATUS, status_records(1), 1, 1 << 17, 1 << 20)]


def device():
    made = ListDevice(packets(), 5)
    made.registers = TaggerRegisters()
    return made


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    folder = tmp_path_factory.mktemp("disciplined") / "run"
    record(device(), folder)
    return str(folder)


def measure(capsys, *options):
    code, out, err = run(capsys, "measure", *options)
    assert code == 0, err
    return out


def test_a_histogram_of_a_recording_is_in_si_time(capsys, recording, tmp_path):
    plot = tmp_path / "plot.svg"
    raw = json.loads(measure(capsys, recording, *HISTOGRAM, "--json"))
    assert (raw["reference"], raw["delays"]) == (None, None)
    assert raw["result"]["mean_ps"][0] == pytest.approx(SI_DELAY_NS * 1000 * (1 + 6e-5), abs=60)
    shown = json.loads(measure(capsys, recording, *HISTOGRAM, *CLOCK, "--json", "--plot", str(plot)))
    assert shown["result"]["mean_ps"][0] == pytest.approx(SI_DELAY_NS * 1000, abs=60)
    assert shown["result"]["rms_ps"][0] < 100
    # from the fit's first point to the end of holdover, and no further
    assert shown["result"]["live_s"] == pytest.approx(OFF_AT + 1, abs=0.1)
    assert shown["result"]["counted"][0] == pytest.approx(200 * (OFF_AT + 1), abs=20)
    assert "<svg" in plot.read_text()
    reference = shown["reference"]
    assert reference["status"] == "absent"
    assert "its last pulse came" in reference["sentence"]
    assert reference["offset"] == pytest.approx(6e-5, abs=1e-9)
    assert sum(reference["tags"].values()) == shown["tags"]
    assert reference["tags"]["held"] == 0
    assert reference["tags"]["refused"] == pytest.approx(400 * (SECONDS - OFF_AT - 1) + 0.025 * 10_400, abs=60)
    assert 0 < reference["time_sigma_ps"] <= reference["worst_time_sigma_ps"] < 1000
    assert reference["epoch_second"] == 1_700_000_000
    text = " ".join(measure(capsys, recording, *HISTOGRAM, *CLOCK).split())
    assert "times are those of the reference: the reference on channel 2 is absent: its last pulse came" in text


def test_live_and_recorded_agree(recording):
    """The same tags, cut into other batches, within the fits' errors (100 ticks rms, 500 pulses a point) and with the same labels."""
    found = []
    for source in (device(), open_device(recording)):
        stage = DisciplinedTags(ReferenceClock(clock_channel=2, divider=1000, pps_channel=3))
        batches: list[Batch] = [*map(stage.update, source.batches()), stage.finish()]
        tags = np.concatenate([batch[Stream.TAG] for batch in batches if Stream.TAG in batch.records])
        tags = tags[(tags["channel"] == 0) & (tags["time_ticks"] < 4 * TICKS_PER_SECOND)]
        found.append(tags["time_ticks"][-500:])
    assert np.abs(found[0] - found[1]).max() < 100


@pytest.mark.parametrize(
    ("kind", "check"),
    [
        (("rates", "--channels", "0", "1"), lambda r: r["channels"][0]["rate_hz"] == pytest.approx(200, rel=0.01)),
        (
            ("coincidences", "--channels", "0", "1", "--window-ps", "400000200"),
            lambda r: r[0]["coincidences"] == pytest.approx(840, abs=20),
        ),
        (("coincidences", "--channels", "0", "1", "--window-ps", "399999800"), lambda r: r[0]["coincidences"] == 0),
        (
            ("g2", "--channels", "0", "1", "--bin-ps", "20000", "--range-ns", "400010"),
            lambda r: r["counts"][-1] == r["pairs"] == pytest.approx(840, abs=20),
        ),
    ],
)
def test_every_kind_takes_the_reference(capsys, recording, kind, check):
    """Of the node's own time, the window of 400000.2 ns would hold none of the pairs, which are 400024 ns apart there."""
    result = json.loads(measure(capsys, recording, *kind, *CLOCK, "--json"))
    assert check(result["result"]), result["result"]


def test_without_a_lock_nothing_is_measured_and_the_state_says_why(capsys, recording):
    for options, why in (
        (("--clock", "v2"), "is absent: it has no pulse of 1e+07 per second"),
        (("--clock", "2", "--divider", "1001"), "its frequency or divider is not as was said"),
        (("--clock", "2", "--divider", "1000", "--pps", "v3"), "too few PPS pulses have come"),
    ):
        shown = json.loads(measure(capsys, recording, *HISTOGRAM, *options, "--seconds", "2", "--json"))
        assert shown["result"]["counted"] == [0]
        assert shown["result"]["live_s"] == 0
        assert why in shown["reference"]["sentence"]
    text = " ".join(measure(capsys, recording, *HISTOGRAM, *options).split())
    assert "nothing is measured yet: the reference on channel 2 is absent" in text


def test_host_delays_come_after_the_reference(capsys, recording):
    """Stops 400 us earlier, in SI time: coincidences at once, and a histogram around 0."""
    delay = ("--delay", f"1={-SI_DELAY_NS}", "0=0")
    options = ("coincidences", "--channels", "0", "1", "--window-ps", "200", *CLOCK)
    shown = json.loads(measure(capsys, recording, *options, *delay, "--json"))
    assert shown["result"][0]["coincidences"] == pytest.approx(840, abs=20)
    assert shown["delays"]["delays_ns"] == {"0": 0.0, "1": -SI_DELAY_NS}
    assert shown["delays"]["held"] == 0
    raw = json.loads(measure(capsys, recording, "rates", "--delay", "v0=1e6", "--json"))
    assert raw["reference"] is None
    assert raw["delays"]["delays_ns"] == {"32": 1e6}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--pps", "3"), "--pps is given without --clock"),
        (("--holdover-s", "2"), "--holdover-s is given without --clock"),
        (("--clock", "2", "--pps", "2"), "channel 2 is clock and PPS; allowed"),
        (("--clock", "9"), "there is no channel 9; allowed"),
        (("--delay", "1"), "--delay 1: allowed: CH=NS"),
        (("--delay", "1=nan"), "--delay 1=nan: allowed: CH=NS"),
        (("--delay", "1=inf"), "--delay 1=inf: allowed: CH=NS"),
        (("--delay", "1=2e9"), "2e+09 ns at channel 1; allowed"),
        (("--delay", "1=2", "ch1=3"), "--delay names channel 1 twice; allowed"),
    ],
)
def test_options_that_make_no_sense_are_refused(capsys, recording, options, says):
    code, out, err = run(capsys, "measure", recording, "rates", *options)
    assert (code, out) == (2, "")
    assert says in err
    assert err.count("\n") == 1
