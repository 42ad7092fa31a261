"""Linearity of delay lines against lines of known bins, and what the calibration says of channels that are not well."""

import json

import numpy as np
import pytest
from fake_node import CLIENT, SERVER, FakeNode, TaggerRegisters
from test_host_cli import run

from twinphase.device import open_device
from twinphase.errors import DeviceError
from twinphase.measure.calibration import CALIBRATED, LEVEL, NONUNIFORM, SCALE_LIMIT, read_calibration
from twinphase.measure.linearity import linearities
from twinphase_spec.tdc import DEFAULT_CAL_STEP, span_ticks, x_max
from twinphase_spec.units import TICK_PS

TAPS, LANES = 256, 2
SPAN_PS = span_ticks(LANES) * TICK_PS


def table_of(histogram):
    """The calibrator's table of the contract, bin by bin."""
    total, before, table = int(sum(histogram)), 0, []
    for count in map(int, histogram):
        table.append(min(x_max(LANES), (2 * before + count) * 4 * span_ticks(LANES) // (2 * total)))
        before += count
    return table


def words_of(histograms, tables):
    """CAL_BINS of both polarities."""
    bins = [pair for h, x in zip(histograms, tables, strict=True) for pair in zip(h, x, strict=True)]
    return np.array(bins, np.int64).reshape(-1)


def line(widths, first=3, scale=1000):
    """A histogram whose bins have exactly these relative widths."""
    histogram = np.zeros(TAPS, np.int64)
    histogram[first : first + len(widths)] = np.array(widths) * scale
    return histogram


def copy_of(histogram, table=None, shared=True):
    table = table_of(histogram) if table is None else table
    words = words_of([histogram, np.zeros(TAPS, np.int64)], [table, np.zeros(TAPS, np.int64)])
    return linearities(words, taps=TAPS, lanes=LANES, shared=shared)[0]


def test_equal_bins_have_no_nonlinearity():
    result = copy_of(line([5] * 200))
    lsb = SPAN_PS / 200
    assert result.lsb_ps == pytest.approx(lsb)
    assert np.nanmax(np.abs(result.dnl_lsb)) < 1e-9
    assert np.count_nonzero(~np.isnan(result.dnl_lsb)) == 200
    assert np.nanmax(np.abs(result.inl_ps)) < TICK_PS / 4  # the table's rounding
    assert np.nanmax(np.abs(result.raw_inl_ps)) < 1e-9
    assert result.rms_bound_ps == pytest.approx(lsb / 12**0.5)
    assert result.evenly_spread


def test_uneven_and_empty_bins_by_hand():
    """Widths 1, 3, 0, 4 of 8: centres 0.5, 2.5, -, 6 eighths of the span; code density is not even enough for the calibrator."""
    result = copy_of(line([1, 3, 0, 4], first=10))
    eighth = SPAN_PS / 8
    used = [10, 11, 13]
    assert result.used.tolist() == used
    assert result.widths_ps[10:14] == pytest.approx([eighth, 3 * eighth, 0, 4 * eighth])
    assert result.centres_ps[used] == pytest.approx([0.5 * eighth, 2.5 * eighth, 6 * eighth])
    assert result.dnl_lsb[10:14] == pytest.approx([1 * 3 / 8 - 1, 3 * 3 / 8 - 1, -1, 4 * 3 / 8 - 1])
    assert result.raw_inl_ps[used] == pytest.approx([(0.5 - 1) * eighth, (2.5 - 3) * eighth, (6 - 7) * eighth])
    assert np.isnan(result.inl_ps[12])
    assert result.rms_bound_ps == pytest.approx(((1 + 27 + 64) * eighth**3 / (12 * SPAN_PS)) ** 0.5)
    assert not result.evenly_spread


def test_inl_shows_a_table_that_is_off_by_a_known_amount():
    histogram = line(np.random.default_rng(1).integers(1, 9, 220))
    table = np.array(table_of(histogram)) - 40  # 10 ticks early
    result = copy_of(histogram, table)
    assert np.nanmax(np.abs(result.inl_ps - 10 * TICK_PS)) < TICK_PS / 4


def test_without_hits_or_table_nothing_is_made_up():
    empty = copy_of(np.zeros(TAPS, np.int64), np.zeros(TAPS, np.int64))
    shown = empty.as_dict()
    assert (empty.lsb_ps, empty.rms_bound_ps, empty.hits, empty.evenly_spread) == (None, None, 0, False)
    assert shown["dnl_lsb_min_max"] is shown["inl_ps_min_max"] is shown["raw_inl_ps_min_max"] is None
    no_table = copy_of(line([5] * 200), np.zeros(TAPS, np.int64))
    assert no_table.as_dict()["inl_ps_min_max"] is None
    assert no_table.as_dict()["raw_inl_ps_min_max"] is not None
    json.dumps(shown, allow_nan=False)


def test_polarities_have_their_own_tables():
    rising, falling = line([5] * 200), line([4] * 100)
    words = words_of([falling, rising], [table_of(falling), table_of(rising)])
    results = linearities(words, taps=TAPS, lanes=LANES, shared=False)
    assert [(r.polarity, len(r.used), r.hits) for r in results] == [(0, 100, 400_000), (1, 200, 1_000_000)]
    with pytest.raises(ValueError, match="allowed: 2048"):
        linearities(words, taps=512, lanes=LANES, shared=False)


@pytest.mark.parametrize("groups", [4, 5, 6])
def test_the_even_spread_test_needs_four_interior_groups(groups):
    histogram = np.zeros(TAPS, np.int64)
    histogram[: 16 * groups] = 2
    assert copy_of(histogram).evenly_spread == (groups >= 6)
    histogram[16 * 2 : 16 * 3] = 3
    assert copy_of(histogram).evenly_spread == (groups >= 6)
    histogram[16 * 2] = 4  # more than 1.5 times
    assert not copy_of(histogram).evenly_spread


def tagger(**more):
    registers = TaggerRegisters(**more)
    registers["CHANNEL_ENABLE"], registers["CAL_SHARED"] = 0b1111, 1
    for c in range(4):
        registers[f"CAL_STATUS_{c}"] = CALIBRATED
    good = line([5] * 200, scale=5000)
    for c in range(4 * max(1, registers["CHAINS"])):
        registers.lines[c] = words_of([good, 0 * good], [table_of(good), 0 * good])
    return registers


def test_channels_that_are_not_well_are_told_apart():
    registers = tagger(rates=(5, 0, 0, 7))
    registers["CAL_STATUS_2"] = LEVEL
    registers["CAL_STATUS_3"] = NONUNIFORM | SCALE_LIMIT
    registers["SCALE_0"] = -52 & 0xFFFF
    few = line([5] * 200, scale=1)
    registers.lines[3] = words_of([few, 0 * few], [0 * few, 0 * few])
    with FakeNode(registers=registers) as node, open_device(node.url) as device:
        channels = read_calibration(device, watch_s=0.01)
        registers["CHANNEL_ENABLE"] = 0
        disabled = read_calibration(device, [1], watch_s=0.01)[0]
    assert channels[0].faults == []
    assert channels[0].scale == pytest.approx(-52 / 2**18)
    assert channels[0].edges >= 50
    assert [fault.split(":")[0] for fault in channels[1].faults] == ["channel 1 is dead"]
    assert [fault.split(":")[0] for fault in channels[2].faults] == [
        "channel 2 is stuck",
        "channel 2 is not calibrated and gives no tags",
    ]
    assert "not evenly spread" in channels[3].faults[0]
    assert (
        channels[3].faults[1] == f"channel 3 is not calibrated and gives no tags: 1000 of {1 << DEFAULT_CAL_STEP} hits"
    )
    assert "scale is at its limit" in channels[3].faults[2]
    assert disabled.faults == ["channel 1 is disabled: its edges are not tagged"]


def test_every_chain_is_copied():
    registers = tagger(chains=2)
    wide = line([9] * 100)
    registers.lines[5] = words_of([wide, 0 * wide], [table_of(wide), 0 * wide])
    with FakeNode(registers=registers) as node, open_device(node.url) as device:
        channel = read_calibration(device, [2], watch_s=0.001)[0]
    assert [len(chain[0].used) for chain in channel.chains] == [200, 100]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"front_end": 2, "chains": 0, "taps": 0}, "has no delay line to calibrate: its front end is oversampling"),
        ({"front_end": 0, "chains": 0}, "its front end is simulation"),
    ],
)
def test_a_front_end_without_delay_line_is_said(more, message):
    registers = TaggerRegisters(**more)
    with (
        FakeNode(registers=registers) as node,
        open_device(node.url) as device,
        pytest.raises(DeviceError, match=message),
    ):
        read_calibration(device)


def test_taps_need_not_be_a_power_of_two():
    """240 taps are copied as 256 codes."""
    registers = tagger(taps=240)
    with FakeNode(registers=registers) as node, open_device(node.url) as device:
        channel = read_calibration(device, [0], watch_s=0.001)[0]
    assert len(channel.chains[0][0].histogram) == 256
    assert len(channel.chains[0][0].used) == 200


def test_a_server_with_delay_lines_has_a_calibration_too():
    good = line([5] * 200, scale=5000)
    words = words_of([good, 0 * good], [2 * np.array(table_of(good)), 0 * good])
    with FakeNode() as node:
        known = node.registers.words
        for name, value in {"FRONTEND": 3, "CHAINS": 1, "TAPS": 256, "CHANNEL_ENABLE": 15, "CAL_SHARED": 1}.items():
            known[SERVER[name].address] = value
        known.update({SERVER.memory("CAL_BINS").address + i: int(word) for i, word in enumerate(words)})
        write, at = node.registers.write, SERVER.memory("COUNTERS").address
        seen = at + 2 * SERVER.counter_names.index("uncalibrated_qR")

        def go_on(address, value):
            write(address, value)
            if address == SERVER["SNAPSHOT"].address:
                known[at] = known.get(at, 0) + 125_000
                known[seen] = known.get(seen, 0) + 3
            elif address == SERVER["CAL_DUMP"].address:
                known[SERVER["CAL_DUMPS"].address] += 1

        node.registers.write = go_on
        with open_device(node.url) as device:
            channels = read_calibration(device, watch_s=0.005)
    assert [channel.edges > 0 for channel in channels] == [False, True, False, False]
    assert channels[1].chains[0][0].span_ps == 8000
    assert np.nanmax(np.abs(channels[1].chains[0][0].inl_ps)) < TICK_PS


def test_a_copy_that_never_comes_is_an_error(monkeypatch):
    monkeypatch.setattr("twinphase.measure.calibration.DUMP_TIMEOUT_S", 0.05)
    registers = tagger()
    registers.copies = False
    with FakeNode(registers=registers) as node, open_device(node.url) as device:
        with pytest.raises(DeviceError, match="did not copy delay line 0"):
            read_calibration(device, watch_s=0.001)
        with pytest.raises(DeviceError, match="has no channel 4; allowed: 0 to 3"):
            read_calibration(device, [4], watch_s=0.001)


def test_the_command(capsys, tmp_path):
    plot = tmp_path / "lines.png"
    with FakeNode(registers=tagger(rates=(5, 0, 5, 5))) as node:
        code, out, err = run(capsys, "tdc", node.url, "--watch", "0.005", "--json", "--plot", str(plot))
        assert code == 0, err
        channels = json.loads(out)["channels"]
        assert [channel["calibrated"] for channel in channels] == [True] * 4
        assert channels[0]["chains"][0][0]["codes_used"] == 200
        assert plot.read_bytes().startswith(b"\x89PNG")
        assert list(tmp_path.iterdir()) == [plot]
        code, out, err = run(capsys, "tdc", node.url, "--watch", "0.005", "--channels", "0", "1")
        assert code == 0, err
        assert "channel 1 is dead" in out
        assert "INL" in out
        for wrong in (["--plot", "x.txt"], ["--plot", str(tmp_path / "no" / "x.png")], ["--watch", "0"]):
            code, out, err = run(capsys, "tdc", node.url, *wrong)
            assert (code, out, err.count("\n")) == (2, "", 1)
    with FakeNode() as node:
        code, out, err = run(capsys, "tdc", node.url)
        assert (code, out) == (2, "")
        assert "has no delay line" in err
    with FakeNode(CLIENT) as node:
        code, out, err = run(capsys, "tdc", node.url)
        assert (code, out) == (2, "")
        assert "is a client node, no time tagger" in err
