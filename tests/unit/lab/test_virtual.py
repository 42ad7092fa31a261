"""The virtual lab end to end on the Verilated nodes, and its nodes with and without idle skipping."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from twinphase.device import open_device
from twinphase.packets import total_losses
from twinphase_sim.lab.device import LabDevice, open_lab
from twinphase_sim.lab.keys import pair_digest
from twinphase_sim.lab.process import LabProcess
from twinphase_sim.lab.virtual import NODES, LabStep, NodeName, VirtualLab
from twinphase_sim.model.sift.herald import herald_pulses
from twinphase_sim.model.sift.heraldcode import payloads
from twinphase_sim.native import NativeNode, NodeOutput
from twinphase_spec.frame import FRAME_BITS, PULSE_BITS, WINDOW_BITS
from twinphase_spec.herald_code import FIRST
from twinphase_spec.lab import load_lab
from twinphase_spec.packets import HEADER_DTYPE, HERALD_DTYPE, SIFTED_DTYPE, Stream
from twinphase_spec.units import CLOCK_BITS, FRACTION_BITS, TICKS_PER_CLOCK, seconds_to_ticks

sys.path.insert(0, str(Path(__file__).parent))
from small import small_lab

SECONDS = 0.004
SEED = 11


def _run(skip: bool) -> tuple[VirtualLab, list[LabStep]]:
    with VirtualLab(small_lab(), SEED, skip=skip, progress=False) as virtual:
        return virtual, list(virtual.run_to(SECONDS))


@pytest.fixture(scope="module")
def skipped() -> tuple[VirtualLab, list[LabStep]]:
    return _run(skip=True)


def _packets(steps: list[LabStep], name: NodeName) -> list[tuple[int, bytes]]:
    return [packet for step in steps for packet in step.outputs[name].packets]


def _records(steps: list[LabStep], name: NodeName, stream: Stream, dtype: np.dtype) -> np.ndarray:
    return np.frombuffer(b"".join(data[32:] for _, data in _packets(steps, name) if data[0] == stream), dtype)


def test_lab_is_the_same_with_every_clock_simulated(skipped: tuple[VirtualLab, list[LabStep]]) -> None:
    fast, steps = skipped
    slow, slow_steps = _run(skip=False)
    for name in NODES:
        assert _packets(steps, name) == _packets(slow_steps, name)
        assert slow.cycles_simulated[name] > SECONDS * 125e6
        # A small lab's clicks come every 2 us; each is under way for 130 clocks in the server.
        most = 0.75 if name == "server" else 0.5
        assert fast.cycles_simulated[name] < most * slow.cycles_simulated[name]


def test_coded_heralds_are_bit_for_bit_the_models(skipped: tuple[VirtualLab, list[LabStep]]) -> None:
    """Of every HERALD_CODE packet of the server: its heralds are those of HERALD, and its words those of the model's coder."""
    _, steps = skipped
    heralds = _records(steps, "server", Stream.HERALD, HERALD_DTYPE)
    packets = [data for _, data in _packets(steps, "server") if data[0] == Stream.HERALD_CODE]
    headers = np.frombuffer(b"".join(data[:32] for data in packets), HEADER_DTYPE)
    starts = headers["first_record"].astype(np.int64)
    assert (np.diff(np.append(starts, heralds.size)) == headers["flags"]).all()
    assert heralds.size > 100
    pulses, detectors = herald_pulses(heralds)
    filled = headers["flags"] > 0
    expected = payloads(pulses, detectors, starts[filled], FIRST)
    words = [np.frombuffer(data[32:], "<u4") for data, one in zip(packets, filled, strict=True) if one]
    for got, model in zip(words, expected, strict=True):
        np.testing.assert_array_equal(got, model)
    assert all(len(data) == 32 for data, one in zip(packets, filled, strict=True) if not one)


def test_clients_agree_and_sift(skipped: tuple[VirtualLab, list[LabStep]]) -> None:
    _, steps = skipped
    alice, bob = (_records(steps, name, Stream.SIFTED, SIFTED_DTYPE) for name in ("alice", "bob"))
    count = min(len(alice), len(bob))
    assert count > 10
    np.testing.assert_array_equal(alice["number"][:count], bob["number"][:count])
    z = alice["word"][:count] < 1 << 31
    np.testing.assert_array_equal(z, bob["word"][:count] < 1 << 31)
    clicks = sum(len(step.clicks) for step in steps)
    assert 0.7 * 480_000 * SECONDS < clicks < 1.3 * 480_000 * SECONDS


def _replay(virtual: VirtualLab, steps: list[LabStep], name: NodeName, ready: np.ndarray) -> list[list[NodeOutput]]:
    """The inputs of a node once more into fresh nodes, set up alike, with back-pressure: skipped and every clock."""
    outputs = []
    for skip in (True, False):
        with VirtualLab(virtual.lab, SEED, skip=skip, progress=False) as again:
            node = again.nodes[name]
        parts = []
        for step in steps:
            edges = (step.clicks.times_ticks, step.clicks.channels) if name == "server" else ((), ())
            parts.append(node.run(step.stop_clock, *edges, step.inputs[name], ready, word_clocks=True))
        outputs.append(parts)
    return outputs


@pytest.mark.parametrize("duty", [0.5, 0.03])
@pytest.mark.parametrize("name", ["server", "alice"])
def test_back_pressure_is_the_same_with_every_clock_simulated(
    skipped: tuple[VirtualLab, list[LabStep]], name: NodeName, duty: float
) -> None:
    virtual, steps = skipped
    ready = np.random.default_rng(SEED).random(4099) < duty
    fast, slow = _replay(virtual, steps, name, ready)
    for one, other in zip(fast, slow, strict=True):
        np.testing.assert_array_equal(one.words, other.words)
        np.testing.assert_array_equal(one.word_clocks, other.word_clocks)
    assert sum(part.words.size for part in fast) > 100


@pytest.mark.parametrize("duty", [None, 0.3])
def test_wraps_are_the_same_with_every_clock_simulated(duty: float | None) -> None:
    lab = small_lab()
    rng = np.random.default_rng(SEED)
    ready = None if duty is None else rng.random(997) < duty
    nodes: list[NativeNode] = []
    for skip in (True, False):
        with VirtualLab(lab, SEED, skip=skip, progress=False) as virtual:
            node = virtual.nodes["server"]
            node.run(virtual.start_clock + 20_000)
            frame = virtual.frame
            near = replace(
                frame.anchor_at(node.clock),
                clock=(1 << CLOCK_BITS) - 60_000,
                pulse=(1 << PULSE_BITS) - 8 * 50_000,
                frame=(1 << FRAME_BITS) - 200,
                window_frame=frame.frames_per_window - 100,
                window=(1 << WINDOW_BITS) - 3,
                dwindow=(1 << WINDOW_BITS) - 2,
            )
            assert node.idle
            node.load(near)
            nodes.append(node)
    first = near.clock
    for length in (70_001, 90_000):
        clocks = first + np.unique(rng.integers(0, length, length // 150)).astype(np.uint64)
        ticks = (clocks << np.uint64(FRACTION_BITS)) + rng.integers(0, 1 << FRACTION_BITS, len(clocks)).astype(
            np.uint64
        )
        channels = rng.integers(0, 4, len(clocks))
        first += length
        fast, slow = (node.run(first, ticks, channels, tx_ready=ready, word_clocks=True) for node in nodes)
        np.testing.assert_array_equal(fast.words, slow.words)
        np.testing.assert_array_equal(fast.word_clocks, slow.word_clocks)
        tags = sum(int(data[8]) | data[9] << 8 for _, data in fast.packets if data[0] == Stream.TAG)
        assert tags > 0.7 * length / 150
    assert nodes[0].cycles_simulated < 0.7 * nodes[1].cycles_simulated


def test_codes_are_the_symbols_of_the_model() -> None:
    from twinphase_sim.model.sift.symbols import symbols

    with VirtualLab(small_lab(), SEED, progress=False) as virtual:
        node = virtual.nodes["alice"]
        emission = virtual.start_clock - virtual._flight_clocks("a")
        node.run(emission + 30_000)
        codes = node.run(node.clock + 5000, codes=(node.clock + 2000, node.clock + 2100)).codes
    assert codes is not None
    assert len(codes.clock) == 100
    lanes = virtual.lab.lanes
    pulses = codes.pulse[:, None] + np.arange(lanes, dtype=np.uint64)
    quantum = np.array([entry & 15 for entry in virtual.frame.table])
    slot = (pulses // np.uint64(virtual.frame.slot_pulses)) % np.uint64(len(quantum))
    signal = quantum[slot.astype(np.intp)] == 1
    assert signal.any()
    expected = symbols(virtual.symbols["alice"], pulses)
    code = expected.intensity.astype(np.uint16) << 8 | expected.phase
    np.testing.assert_array_equal(codes.q[signal], code[signal])


@pytest.mark.parametrize("lanes", [8, 1])
def test_a_new_key_stops_a_running_client_before_its_symbols_change(lanes: int) -> None:
    """Codes end with the old key's; the frame, once missed, rests until it is started anew, and then goes by the new key."""
    from twinphase_sim.model.client import emitted_codes
    from twinphase_sim.native import write_requests
    from twinphase_spec.configure import client_registers, client_table, frame_config

    lab = small_lab() if lanes == 8 else load_lab("metro-50km")
    node = NativeNode("client", progress=False, lanes=lab.lanes)
    requests = 0

    def write(registers: dict[str, int], memories: dict[str, list[int]] | None = None) -> None:
        nonlocal requests
        packets = write_requests(node.map, registers, memories, first_id=requests + 1)
        requests += len(packets)
        node.run(node.clock + 300_000, rx=[(node.clock, packet) for packet in packets])

    def start_and_see(key: tuple[int, int, int, int]) -> None:
        emission = node.clock + 700_000
        registers = client_registers(lab, "alice", key, emission, nonce=77, digest=pair_digest(SEED))
        write(registers)
        # The key once more, right before the start, which waits for its expansion.
        write({f"KEY_{k}": word for k, word in enumerate(key)} | {"CONTROL": 1})
        output = node.run(emission + 2000, codes=(emission - 100, emission + 1000))
        assert output.codes is not None
        assert output.codes.clock[0] - emission in range(1, 100)
        first, clocks = int(output.codes.pulse[0]), len(output.codes.clock)
        frame = frame_config(lab, registers["START_CLOCK"])
        q, r = emitted_codes(registers, frame, first, clocks * lab.lanes)
        np.testing.assert_array_equal(output.codes.q.reshape(-1), q)
        np.testing.assert_array_equal(output.codes.r.reshape(-1), r)

    write({}, {"FRAME_TABLE": client_table(lab)})
    assert lab.lanes == lanes
    start_and_see((1, 2, 3, 4))
    until = node.clock + 3000
    packets = write_requests(node.map, {"KEY_3": 5}, first_id=requests + 1)
    requests += 1
    # Codes are looked at from a while after the run's start on: the emitter's are those of its latency ago.
    output = node.run(until, rx=[(node.clock + 400, packet) for packet in packets], codes=(node.clock + 300, until))
    assert output.codes is not None
    assert 100 < len(output.codes.clock) < 300
    registers = client_registers(lab, "alice", (1, 2, 3, 4), 0 + (1 << 20), nonce=77, digest=pair_digest(SEED))
    q, _ = emitted_codes(
        registers, frame_config(lab, 0), int(output.codes.pulse[0]), len(output.codes.clock) * lab.lanes
    )
    np.testing.assert_array_equal(output.codes.q.reshape(-1), q)
    write({"CONTROL": 0})
    start_and_see((1, 2, 3, 5))


def test_device_reads_registers_and_streams_without_loss() -> None:
    with LabDevice(VirtualLab(small_lab(), SEED, progress=False), "server", seconds=0.004) as device:
        assert device.identity().node.name == "SERVER"
        assert device.read("FRAME_PULSES") == device.virtual.frame.frame_pulses
        device.write("SWAP", 3)
        assert device.read("SWAP") == 3
        device.virtual.submit("server", b"no packet at all")
        tags = sum(len(batch.get(Stream.TAG)) for batch in device.batches() if batch.get(Stream.TAG) is not None)
        counters = device.counters()
        assert (counters["malformed"], counters["unsent"]) == (1, 0)
        left_merge = sum(counters[f"tags_{channel}"] for channel in ("qL", "qR", "rL", "rR"))
        assert left_merge - 300 < tags <= left_merge  # the last packets are still open
        assert tags > 1000
        assert total_losses(device.streams) == 0


def test_the_psi_of_a_busy_dwindow_all_leave() -> None:
    """All psi of a d-window come at once, here far more than a packer holds (256), and take turns with the other streams."""
    lab = small_lab()
    frame, fibre, clients = lab.frame, lab.fibre, lab.clients
    bright = lab.model_copy(
        update={
            "frame": frame.model_copy(update={"windows_per_dwindow": 32}),
            "fibre": fibre.model_copy(
                update={"attenuation_db_per_km": fibre.attenuation_db_per_km - 13 / fibre.length_a_km}
            ),
            "clients": clients.model_copy(
                update={
                    name: client.model_copy(
                        update={"reference_q": client.reference_q / 20, "reference_r": client.reference_r / 20}
                    )
                    for name, client in (("alice", clients.alice), ("bob", clients.bob))
                }
            ),
        }
    )
    psi: list[np.ndarray] = []
    with LabDevice(VirtualLab(bright, SEED, progress=False), "server", seconds=0.015) as device:
        psi += [batch[Stream.PSI] for batch in device.batches() if Stream.PSI in batch.records]
        assert total_losses(device.streams) == 0
        assert device.counters()["unjoined"] == 0
    numbers = np.concatenate([records["number"] for records in psi])
    np.testing.assert_array_equal(numbers, np.arange(len(numbers)))
    per_dwindow = len(numbers) / (
        0.015 / (32 * bright.frame.frames_per_window * device.virtual.frame.frame_pulses / 1e9)
    )
    assert per_dwindow > 600


def test_served_lab_reaches_the_host_whole() -> None:
    with LabProcess("seed-370km", seed=SEED, seconds=0.004, readers=1) as served:
        with open_device(served.nodes["server"]) as device:
            tags, heralds = 0, 0
            for batch in device.batches():
                tags += len(batch.records.get(Stream.TAG, ()))
                heralds += len(batch.records.get(Stream.HERALD, ()))
                if (batch.time_ticks or 0) > seconds_to_ticks(0.003) + served.start_clock * TICKS_PER_CLOCK:
                    break
            assert tags > 700
            assert heralds > 20
            assert total_losses(device.streams) == 0
            assert not any(device.transport_losses.values())
        assert served.stop() == 0
    assert served.result["lab_seconds"] > 0.0025


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("lab:nowhere", "neither a preset"),
        ("lab:seed-370km?node=eve", "names the node eve; allowed: server, alice, bob"),
        ("lab:seed-370km?sed=1", "unknown option sed"),
        ("lab:seed-370km?seed=-1", "must not be negative"),
        ("lab:seed-370km?seconds=soon", "seconds a number"),
    ],
)
def test_bad_lab_urls_are_one_sentence(url: str, text: str) -> None:
    from twinphase.errors import DeviceError

    with pytest.raises(DeviceError, match=text.replace("?", r"\?")):
        open_lab(url)
