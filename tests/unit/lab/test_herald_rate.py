"""A server's heralds at one per clock for as long as one likes: all of them announced, psi for as many as the link has room."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from twinphase.herald_code import decode
from twinphase_sim.model.server import run_server
from twinphase_sim.native import NativeNode, NodeOutput, write_requests
from twinphase_spec.configure import frame_config, frame_registers, server_memories, server_registers
from twinphase_spec.frame import LAG_CLOCKS, FrameConfig, SlotClass
from twinphase_spec.lab import Slots
from twinphase_spec.packets import HEADER_WORDS, HERALD_DTYPE, PSI_DTYPE, STATUS_BITS, Stream
from twinphase_spec.registers import CHANNELS, SERVER
from twinphase_spec.smoothing import HOLD_BITS, PsiSource
from twinphase_spec.units import FRACTION_BITS

sys.path.insert(0, str(Path(__file__).parent))
from small import small_lab

SEED = 5
START = 40_000
FIRST = START + LAG_CLOCKS + 10_000
REFERENCE = 16
"""Where there are clicks of the reference band, of so many clocks one has one instead, and one has none."""
PULSES, MOST_PULSES = 8, 20
"""Per clock: 1 GHz, as in the lab, and 2.5 GHz, the most of a server."""
LINKS = {PULSES: (1, 0, 0, 0, 0), MOST_PULSES: (1, 0, 0, 0) * 5 + (1, 0, 0, 0, 0) * 4}
"""Words of a gigabit link: one in five clocks of 8 ns, 0.8 Gbit/s; nine in forty, 0.9 Gbit/s, where a herald has 7.1 bits instead of 5.3
(a gigabit's datagrams have 0.913, docs/udp.md)."""


def every_clock(
    rng: np.random.Generator, frame: FrameConfig, clocks: int, reference: bool, silence: int
) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
    """A click in each clock, of the two detectors in turn, in the middle of any of its pulses but the first: each a pulse of its own.
    ``reference``: some are of the reference band, whose phase is 0. ``silence``: clocks without after half of them."""
    pulses = (1 << FRACTION_BITS << 32) // frame.period_q32
    width = (1 << FRACTION_BITS) // pulses
    fine = rng.integers(1, pulses, size=clocks) * width + width // 2
    count = np.arange(clocks)
    channels = (count % 2).astype(np.uint8)
    at = FIRST + count + silence * (count >= clocks // 2)
    ticks = (at << FRACTION_BITS) + fine
    if reference:
        pulse = ((ticks[::REFERENCE] - (frame.start_clock << FRACTION_BITS)) / (frame.period_q32 / 2**32)).astype(
            np.int64
        )
        step = (np.array(frame.table)[pulse // frame.slot_pulses % len(frame.table)] >> 4) - SlotClass.REF0
        right = rng.random(step.size) < (1 - np.cos(step * np.pi / 2)) / 2
        channels[::REFERENCE] = 2 + right
        some = count % REFERENCE != REFERENCE // 2
        ticks, channels = ticks[some], channels[some]
    return ticks.astype(np.uint64), channels


def settings(
    source: PsiSource, *streams: Stream, pulses: int = PULSES
) -> tuple[FrameConfig, dict[str, int], dict[str, list[int]]]:
    """Frame of ``pulses`` per clock, registers and memories, of signal slots alone; nothing is dead, moved or outside of its gate."""
    lab = small_lab()
    quarter, rest = divmod(len(lab.frame.table()), 4)
    slots = (
        Slots(q="SIG", r="REF0", repeat=quarter + rest),
        *(Slots(q="SIG", r=step, repeat=quarter) for step in ("REF1", "REF2", "REF3")),
    )
    frame = frame_config(lab.model_copy(update={"frame": lab.frame.model_copy(update={"slots": slots})}), START)
    frame = replace(
        frame,
        period_q32=(1 << FRACTION_BITS << 32) // pulses,
        frames_per_window=frame.frames_per_window * pulses // PULSES,
    )
    registers = server_registers(lab, START) | frame_registers(frame)
    registers |= {
        **{f"GATE_START_{band}": 0 for band in "QR"},
        **{f"GATE_STOP_{band}": 1 << FRACTION_BITS for band in "QR"},
        "SWAP": 0,
        "PSI_SOURCE": source,
        "RECOVERY_PULSES": 0,
        "TRACK_HOLD": (1 << HOLD_BITS) - 1,  # tags wait for each other at this rate
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
    source: PsiSource,
    streams: tuple[Stream, ...],
    clocks: int,
    switched: tuple[int, ...] = (),
    reference: bool = False,
    silence: int = 0,
    announce_all: bool = True,
    pulses: int = PULSES,
) -> tuple[NodeOutput, dict[str, int], Any]:
    """What a node sends, its counters at the last STATUS, and the model's records of these edges. ``switched``: clocks from the first
    edge on at which HERALD goes off, and on again; words then leave in every clock, so that requests are answered soon."""
    frame, registers, memories = settings(source, *streams, pulses=pulses)
    registers["ANNOUNCE_ALL"] = int(announce_all)
    node = NativeNode("server", progress=False)
    setup = write_requests(SERVER, registers, memories)
    setup += write_requests(SERVER, {"CONTROL": 1}, first_id=len(setup) + 1)
    node.run(FIRST, rx=[(0, packet) for packet in setup])
    ticks, channels = every_clock(np.random.default_rng((SEED, int(source))), frame, clocks, reference, silence)
    until = (FIRST + clocks + silence + 200_000 >> STATUS_BITS) + 1 << STATUS_BITS
    changes = []
    for k, clock in enumerate(switched):
        enabled = registers["STREAM_ENABLE"] ^ (~k & 1) << Stream.HERALD
        changes += [(FIRST + clock, p) for p in write_requests(SERVER, {"STREAM_ENABLE": enabled}, first_id=500 + k)]
    output = node.run(until + 60_000, ticks, channels, changes, tx_ready=None if switched else LINKS[pulses])
    status = packets_of(output, Stream.STATUS)[-1][HEADER_WORDS:]
    counters = {name: int(status[2 * k]) for k, name in enumerate(SERVER.counter_names)}
    return output, counters, run_server(registers, frame, ticks, channels, until, smooth_table=memories["SMOOTH_TABLE"])


@pytest.mark.parametrize("pulses", [PULSES, MOST_PULSES])
@pytest.mark.parametrize("clocks", [100_000, pytest.param(3_000_000, marks=pytest.mark.long)])
def test_without_psi_a_herald_per_clock_is_sustained(clocks: int, pulses: int) -> None:
    """On a gigabit, through flush ticks and ends of packets; the queue holds 512, so that one lost clock in 195 would show."""
    output, counters, model = run(PsiSource.NONE, (Stream.HERALD_CODE,), clocks, pulses=pulses)
    assert counters["heralds"] == clocks
    assert not counters["unjoined"] | counters["multiple"]
    assert not any(counters[f"dropped_{name}"] for name in CHANNELS)
    heralds = records_of(output, Stream.HERALD_CODE, HERALD_DTYPE)
    np.testing.assert_array_equal(heralds, model.heralds)
    assert heralds.size == clocks
    assert not model.psi.size


@pytest.mark.parametrize(("reference", "pulses"), [(False, PULSES), (True, PULSES), (True, MOST_PULSES)])
@pytest.mark.parametrize("source", [PsiSource.WINDOWS, PsiSource.CLICKS])
@pytest.mark.parametrize(("clocks", "silence"), [(59_968, 150_000), pytest.param(3_000_000, 0, marks=pytest.mark.long)])
def test_with_psi_too(source: PsiSource, clocks: int, silence: int, reference: bool, pulses: int) -> None:
    """None is refused, whatever psi does: those that find its queue full are announced, counted, and missing in the numbers of psi. All
    others get theirs, but a phase that has left its ring while the link was busy is told as none."""
    streams = (Stream.HERALD_CODE, Stream.PSI)
    output, counters, model = run(source, streams, clocks, reference=reference, silence=silence, pulses=pulses)
    assert counters["heralds"] == clocks - reference * 2 * (clocks // REFERENCE)
    assert not counters["unjoined"] | counters["untracked"]
    np.testing.assert_array_equal(records_of(output, Stream.HERALD_CODE, HERALD_DTYPE), model.heralds)
    psi = records_of(output, Stream.PSI, PSI_DTYPE)
    assert psi.size + counters["unphased"] == counters["heralds"]
    assert psi.size > {PsiSource.WINDOWS: 4096, PsiSource.CLICKS: 8192}[source]
    steps = np.diff(psi["number"].astype(np.int64))
    assert np.all(steps > 0)
    assert np.any(steps > 1), "no psi behind heralds that were passed over"
    expected = model.psi[np.isin(model.psi["number"], psi["number"])]
    assert expected.size == psi.size
    held_up = (psi["flags"] == 0) & (psi["psi_turns"] == 0)
    np.testing.assert_array_equal(psi[~held_up], expected[~held_up])
    told = psi["flags"] != 0
    assert bool(told.any()) == reference
    if source is PsiSource.CLICKS:
        np.testing.assert_array_equal(psi, expected)


@pytest.mark.parametrize("source", [PsiSource.WINDOWS, PsiSource.CLICKS])
def test_unless_told_so_a_burst_ends_when_the_psi_queue_is_full(source: PsiSource) -> None:
    """Heralds beyond are refused by number and counted; those that have one all come, and all their psi."""
    clocks = 30_000
    output, counters, _ = run(source, (Stream.HERALD_CODE, Stream.PSI), clocks, announce_all=False)
    assert counters["heralds"] + counters["unjoined"] == clocks
    assert counters["heralds"] >= {PsiSource.WINDOWS: 4096, PsiSource.CLICKS: 8192}[source]
    assert counters["unjoined"]
    assert not counters["unphased"]
    heralds = records_of(output, Stream.HERALD_CODE, HERALD_DTYPE)
    assert heralds.size == counters["heralds"]
    psi = records_of(output, Stream.PSI, PSI_DTYPE)
    np.testing.assert_array_equal(psi["number"], np.arange(psi.size))
    assert psi.size == heralds.size


def test_with_the_raw_stream_too() -> None:
    """Its packer takes three clocks for each and its records eight times what a gigabit has: those that do not come are counted there."""
    clocks = 100_000
    output, counters, _ = run(PsiSource.NONE, (Stream.HERALD, Stream.HERALD_CODE), clocks)
    raw, coded = (records_of(output, stream, HERALD_DTYPE) for stream in (Stream.HERALD, Stream.HERALD_CODE))
    assert coded.size == counters["heralds"] == clocks
    assert not counters["unjoined"] | counters["untracked"]
    assert 100 < raw.size < clocks
    np.testing.assert_array_equal(raw, coded[np.isin(coded["number"], raw["number"])])
    assert raw.size + int(packets_of(output, Stream.HERALD)[-1][5]) == coded.size


def test_the_raw_stream_goes_off_and_on_in_a_burst() -> None:
    """No herald twice or late, whatever waits when it does; and with the stream off one per clock goes on again."""
    switched = tuple(range(1000, 9000, 501))
    output, counters, _ = run(PsiSource.NONE, (Stream.HERALD, Stream.HERALD_CODE), 40_000, (*switched, 9500))
    raw, coded = (records_of(output, stream, HERALD_DTYPE) for stream in (Stream.HERALD, Stream.HERALD_CODE))
    assert coded.size == counters["heralds"] == 40_000
    np.testing.assert_array_equal(coded["number"], np.arange(coded.size))
    np.testing.assert_array_equal(raw, coded[np.isin(coded["number"], raw["number"])])
    assert np.all(np.diff(raw["number"].astype(np.int64)) > 0)
