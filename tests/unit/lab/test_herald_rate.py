"""A server's heralds at one per clock: for as long as one likes without psi, until the queue for psi is full with it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from twinphase.herald_code import decode
from twinphase_sim.model.server import run_server
from twinphase_sim.native import NativeNode, NodeOutput, write_requests
from twinphase_spec.configure import frame_config, server_memories, server_registers
from twinphase_spec.frame import LAG_CLOCKS, FrameConfig
from twinphase_spec.lab import Slots
from twinphase_spec.packets import HEADER_WORDS, HERALD_DTYPE, PSI_DTYPE, STATUS_BITS, Stream
from twinphase_spec.registers import CHANNELS, SERVER
from twinphase_spec.smoothing import PsiSource
from twinphase_spec.units import FRACTION_BITS

sys.path.insert(0, str(Path(__file__).parent))
from small import small_lab

SEED = 5
START = 40_000
FIRST = START + LAG_CLOCKS + 10_000
PULSES = 8
"""Per clock: 1.0 GHz, a little above that of the lab, so that no clock has less."""
GIGABIT = (1, 0, 0, 0, 0)
"""A word in five clocks of 8 ns: 0.8 Gbit/s."""


def every_clock(rng: np.random.Generator, clocks: int) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
    """A click in each clock, of the two detectors in turn, in the middle of any of its pulses but the first: each a pulse of its own."""
    width = (1 << FRACTION_BITS) // PULSES
    fine = rng.integers(1, PULSES, size=clocks) * width + width // 2
    count = np.arange(clocks)
    return ((FIRST + count << FRACTION_BITS) + fine).astype(np.uint64), (count % 2).astype(np.uint8)


def settings(source: PsiSource, *streams: Stream) -> tuple[FrameConfig, dict[str, int], dict[str, list[int]]]:
    """Frame, registers and memories of signal slots alone; nothing is dead, moved or outside of its gate."""
    lab = small_lab()
    registers = server_registers(lab, START)
    slots = (Slots(q="SIG", r="VAC", repeat=len(lab.frame.table())),)
    frame = frame_config(lab.model_copy(update={"frame": lab.frame.model_copy(update={"slots": slots})}), START)
    registers |= {
        "GATE_START_Q": 0,
        "GATE_STOP_Q": 1 << FRACTION_BITS,
        "SWAP": 0,
        "PSI_SOURCE": source,
        "RECOVERY_PULSES": 0,
    }
    registers |= {f"{name}_{channel}": 0 for channel in CHANNELS for name in ("DELAY", "DEAD_TIME")}
    registers["STREAM_ENABLE"] = sum(1 << s for s in (*streams, Stream.STATUS))
    return frame, registers, server_memories(lab) | {"FRAME_TABLE": list(frame.table)}


def packets_of(output: NodeOutput, stream: Stream) -> list[NDArray[np.uint32]]:
    """A stream's packets, headers and all."""
    parts = np.split(output.words, output.ends[:-1])
    return [words for words in parts if words[0] & 0xFF == stream]


def records_of(output: NodeOutput, stream: Stream, dtype: Any) -> NDArray[np.void]:
    """A stream's records; heralds of HERALD_CODE decoded by the host's decoder."""
    found = packets_of(output, stream)
    if stream is Stream.HERALD_CODE:
        decoded = [decode(words[HEADER_WORDS:], int(words[7]), int(words[2]) >> 16) for words in found]
        return np.concatenate([np.empty(0, HERALD_DTYPE), *decoded])
    return np.concatenate([np.empty(0, np.uint32), *(words[HEADER_WORDS:] for words in found)]).view(dtype)


def run(
    source: PsiSource, streams: tuple[Stream, ...], clocks: int, switched: tuple[int, ...] = ()
) -> tuple[NodeOutput, dict[str, int], Any]:
    """What a node sends, its counters at the last STATUS, and the model's records of these edges. ``switched``: clocks from the first
    edge on at which HERALD goes off, and on again; words then leave in every clock, so that requests are answered soon."""
    frame, registers, memories = settings(source, *streams)
    node = NativeNode("server", progress=False)
    setup = write_requests(SERVER, registers, memories)
    setup += write_requests(SERVER, {"CONTROL": 1}, first_id=len(setup) + 1)
    node.run(FIRST, rx=[(0, packet) for packet in setup])
    ticks, channels = every_clock(np.random.default_rng((SEED, int(source))), clocks)
    until = (FIRST + clocks + 200_000 >> STATUS_BITS) + 1 << STATUS_BITS
    changes = []
    for k, clock in enumerate(switched):
        enabled = registers["STREAM_ENABLE"] ^ (~k & 1) << Stream.HERALD
        changes += [(FIRST + clock, p) for p in write_requests(SERVER, {"STREAM_ENABLE": enabled}, first_id=500 + k)]
    output = node.run(until + 60_000, ticks, channels, changes, tx_ready=None if switched else GIGABIT)
    status = packets_of(output, Stream.STATUS)[-1][HEADER_WORDS:]
    counters = {name: int(status[2 * k]) for k, name in enumerate(SERVER.counter_names)}
    return output, counters, run_server(registers, frame, ticks, channels, until, smooth_table=memories["SMOOTH_TABLE"])


@pytest.mark.parametrize("clocks", [100_000, pytest.param(3_000_000, marks=pytest.mark.long)])
def test_without_psi_a_herald_per_clock_is_sustained(clocks: int) -> None:
    """On a gigabit, through flush ticks and ends of packets; the queue holds 512, so that one lost clock in 195 would show."""
    output, counters, model = run(PsiSource.NONE, (Stream.HERALD_CODE,), clocks)
    assert counters["heralds"] == clocks
    assert not counters["unjoined"] | counters["multiple"]
    assert not any(counters[f"dropped_{name}"] for name in CHANNELS)
    heralds = records_of(output, Stream.HERALD_CODE, HERALD_DTYPE)
    np.testing.assert_array_equal(heralds, model.heralds)
    assert heralds.size == clocks
    assert not model.psi.size


@pytest.mark.parametrize("source", [PsiSource.WINDOWS, PsiSource.CLICKS])
def test_with_psi_a_burst_ends_when_its_queue_is_full(source: PsiSource) -> None:
    """Heralds beyond are refused by number and counted; those that have one all come, and all their psi."""
    clocks = 30_000
    output, counters, _ = run(source, (Stream.HERALD_CODE, Stream.PSI), clocks)
    assert counters["heralds"] + counters["unjoined"] == clocks
    assert counters["heralds"] >= {PsiSource.WINDOWS: 4096, PsiSource.CLICKS: 8192}[source]
    assert counters["unjoined"]
    heralds = records_of(output, Stream.HERALD_CODE, HERALD_DTYPE)
    assert heralds.size == counters["heralds"]
    psi = records_of(output, Stream.PSI, PSI_DTYPE)
    np.testing.assert_array_equal(psi["number"], np.arange(psi.size))
    assert psi.size == heralds.size


def test_heralds_come_to_their_raw_stream_only_while_it_is_on() -> None:
    """Its packer takes three clocks for each, so that many heralds find no place; those with a number are in it or counted lost there."""
    output, counters, _ = run(PsiSource.NONE, (Stream.HERALD, Stream.HERALD_CODE), 10_000)
    raw, coded = (records_of(output, stream, HERALD_DTYPE) for stream in (Stream.HERALD, Stream.HERALD_CODE))
    assert coded.size == counters["heralds"] == 10_000 - counters["unjoined"]
    assert counters["unjoined"] > 5000
    np.testing.assert_array_equal(raw, coded[np.isin(coded["number"], raw["number"])])
    assert raw.size + int(packets_of(output, Stream.HERALD)[-1][5]) == coded.size


def test_the_raw_stream_goes_off_and_on_in_a_burst() -> None:
    """No herald twice or late, whatever waits when it does; and with the stream off one per clock goes on again."""
    switched = tuple(range(1000, 9000, 501))
    output, counters, _ = run(PsiSource.NONE, (Stream.HERALD, Stream.HERALD_CODE), 40_000, (*switched, 9500))
    raw, coded = (records_of(output, stream, HERALD_DTYPE) for stream in (Stream.HERALD, Stream.HERALD_CODE))
    assert coded.size == counters["heralds"] == 40_000 - counters["unjoined"]
    assert counters["unjoined"] < 9500
    np.testing.assert_array_equal(coded["number"], np.arange(coded.size))
    np.testing.assert_array_equal(raw, coded[np.isin(coded["number"], raw["number"])])
    assert np.all(np.diff(raw["number"].astype(np.int64)) > 0)
