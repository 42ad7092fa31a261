"""`twinphase phase` on a node and on a recording of it: JSON, plots, folder, and what it refuses."""

import json
import re

import numpy as np
import pytest
from fake_node import CLIENT, FakeNode, Registers, record_packets
from phase_paths import DT, phase_records, walk_path

from twinphase import cli
from twinphase.batch import Batch
from twinphase.measure.phase_analysis import bars, live_table
from twinphase.measure.phase_trace import PhaseTracer
from twinphase.packets import pack
from twinphase_spec.packets import HERALD_DTYPE, Stream
from twinphase_spec.registers import SERVER

PER_PACKET = 20
WINDOW_CLOCKS = 12_500
SAMPLES = 6000
LINE_HZ, LINE_RAD = 440.0, 0.5


def run(capsys, *arguments):
    try:
        code = cli.main(list(map(str, arguments)))
    except SystemExit as end:  # argparse
        code = end.code
    return code, *capsys.readouterr()


def server_registers(node_map=SERVER):
    """Windows of 0.1 ms from clock 0 on."""
    registers = Registers(node_map)
    for name, value in {"PERIOD": 8192 << 32, "FRAME_PULSES": 125, "FRAMES_PER_WINDOW": 100}.items():
        register = node_map[name]
        for i in range(register.words):
            registers.words[register.address + i] = value >> 32 * i & 0xFFFFFFFF
    return registers


def with_heartbeats(packets, stream, records, count=500):
    """The packets and empty ones after them: a stretch of node time begins with the end of the first batch, and what lies behind a
    missing packet waits for it, for up to 256 packets where they come as fast as here."""
    number = int(np.frombuffer(packets[-1], "<u4")[1]) + 1
    beats = [
        pack(stream, number + i, base_ticks=(number + 1 + i) * PER_PACKET * WINDOW_CLOCKS << 13, first_record=records)
        for i in range(count)
    ]
    return packets + beats


@pytest.fixture
def packets():
    """0.6 s of a walk with an acoustic line, without the packet of windows 2000 to 2019, windows 4000 to 4019 without a fringe."""
    phase = walk_path(np.random.default_rng(40), SAMPLES, walk=20.0)
    phase += LINE_RAD * np.cos(2 * np.pi * LINE_HZ * DT * np.arange(SAMPLES))
    records = phase_records(phase)
    records["flags"][4000:4020] = 0
    made = record_packets(Stream.PHASE, records, PER_PACKET, PER_PACKET * WINDOW_CLOCKS, PER_PACKET * WINDOW_CLOCKS)
    return made[:100] + made[101:]


def check(result):
    trace = result["trace"]
    assert (trace["lost_samples"], trace["invalid_samples"], trace["samples"]) == (20, 20, SAMPLES - 20)
    assert trace["interval_s"] == pytest.approx(DT)
    assert trace["origin_ticks"] == 0
    line = result["lines"][0]
    assert line["frequency_hz"] == pytest.approx(LINE_HZ, abs=result["spectrum"]["resolution_hz"] / 3)
    assert line["amplitude_rad"] == pytest.approx(LINE_RAD / np.sinc(LINE_HZ * DT), rel=0.1)
    assert [gap["kind"] for gap in result["events"]["losses"]] == ["lost", "invalid"]
    assert result["walk"]["noise_rad2"] > 0
    assert result["fibre"]["per_km_rad2_hz"] == pytest.approx(result["fibre"]["strength_rad2_hz"] / 370)
    assert result["allan"]["fractional"][0] == pytest.approx(result["allan"]["deviation_hz"][0] / 1.937e14)


def test_on_a_node_and_on_its_recording(capsys, tmp_path, packets):
    options = ("--fibre-km", "370", "--optical-hz", "1.937e14")
    with FakeNode(paced=True, registers=server_registers()) as node:
        node.outbox = with_heartbeats(packets, Stream.PHASE, SAMPLES)
        code, out, err = run(capsys, "phase", node.url, "--seconds", "1.0", "--json", *options)
        assert code == 0, err
        live = json.loads(out)
        check(live["result"])
        assert live["losses"]["records"] == 20
    with FakeNode(paced=True, registers=server_registers()) as node:
        node.outbox = with_heartbeats(packets, Stream.PHASE, SAMPLES)
        assert run(capsys, "record", node.url, "--out", tmp_path / "run", "--seconds", "1.0")[0] == 0
    folder = tmp_path / "plots"
    code, out, err = run(
        capsys, "phase", tmp_path / "run", "--json", "--out", folder, "--plot", tmp_path / "all.png", *options
    )
    assert code == 0, err
    check(json.loads(out)["result"])
    assert json.loads((folder / "phase.json").read_text()) == json.loads(out)
    assert {path.name for path in folder.glob("*.png")} == {"trace.png", "spectrum.png", "structure.png", "allan.png"}
    assert (tmp_path / "all.png").stat().st_size > 20_000
    code, out, err = run(capsys, "phase", tmp_path / "run", "--last", "0.5", "--resolution-hz", "10")
    assert code == 0, err
    assert re.search(r"4(39|40)\S* Hz", out), out
    assert "Allan deviation" in out


def test_what_cannot_be_shown_is_one_sentence(capsys, tmp_path, packets):
    heralds = np.zeros(200, HERALD_DTYPE)
    for name, outbox in (
        ("none", with_heartbeats(record_packets(Stream.HERALD, heralds, 20, 1 << 17, 60_000), Stream.HERALD, 200)),
        ("short", with_heartbeats(packets[:4], Stream.PHASE, 80)),
    ):
        with FakeNode(paced=True, registers=server_registers()) as node:
            node.outbox = outbox
            assert run(capsys, "record", node.url, "--out", tmp_path / name, "--seconds", "0.05")[0] == 0
    (tmp_path / "file").write_text("")
    with FakeNode(CLIENT) as client:
        for arguments, says in (
            ((tmp_path / "none",), "has no phase stream"),
            ((tmp_path / "short",), "too short for a power spectral density"),
            ((client.url,), "is a client node, which tracks no phase"),
            ((tmp_path / "short", "--seconds", "0"), "--seconds is 0; allowed: more than 0"),
            ((tmp_path / "short", "--plot", "x.gif"), "--plot x.gif has the ending .gif"),
            ((tmp_path / "short", "--out", tmp_path / "file"), "is a file; give a folder"),
        ):
            code, out, err = run(capsys, "phase", *arguments)
            assert (code, out, err.count("\n")) == (2, "", 1), (arguments, err)
            assert says in err


def test_the_live_table_draws_what_there_is():
    tracer = PhaseTracer(window_ticks=WINDOW_CLOCKS * 8192)
    assert bars(tracer.trace()) == "-"
    assert live_table(tracer.trace(), "").row_count == 6
    records = phase_records(1 + 0.01 * np.arange(600), counts=100_000)
    records["flags"][300:310] = 0
    tracer.update(Batch(records={Stream.PHASE: records}))
    line = bars(tracer.trace())
    assert line[0] == "▁"
    assert line[59] == "█"
    assert line[30] == " "
    assert line.endswith("+1.0 to +6.9 rad") or line.endswith("+1.1 to +6.9 rad")
