"""Every word that the host received against the reference model, bit for bit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinphase_sim.model.phase.path import PathInputs
from twinphase_sim.model.server import ServerRecords, run_server
from twinphase_sim.model.sift.pair import SiftedPair, sift_pair
from twinphase_spec.configure import server_memories, server_registers, slice_width_turns
from twinphase_spec.frame import FrameConfig
from twinphase_spec.lab import Lab
from twinphase_spec.packets import RECORD_WORDS, TRACK_CLOCK_HIGH_BITS, Stream
from twinphase_spec.port_balance import step_registers
from twinphase_spec.rules import PROTOCOLS
from twinphase_spec.smoothing import BLOCK
from twinphase_spec.symbols import SymbolConfig
from twinphase_spec.track_setup import TrackSetup
from twinphase_spec.units import FRACTION_BITS

from ..truth import Truth
from .receive import Received


@dataclass(frozen=True)
class Model:
    """What the reference model says the three nodes send."""

    server: ServerRecords
    pair: SiftedPair


@dataclass(frozen=True)
class Comparison:
    """``words`` received and compared, ``mismatches`` among them or missing, per node and stream."""

    words: dict[str, int]
    mismatches: dict[str, int]


def predict(
    lab: Lab,
    frame: FrameConfig,
    symbols: Mapping[str, SymbolConfig],
    truth: Truth,
    until_clock: int,
    angles: Sequence[int] | None = None,
) -> Model:
    """The model's records for the clicks of a run that lasted until ``until_clock``, with ``angles`` as STEP_R_k where they are not the
    lab's.

    What an actuator did is taken from the gateware, tag by tag: the model says what follows from it.
    """
    registers, clicks = server_registers(lab, frame.start_clock), truth.clicks
    if angles is not None:
        a, b, c, d = angles
        registers |= step_registers((a, b, c, d))
    table = server_memories(lab).get("SMOOTH_TABLE")

    def server_of(inputs: PathInputs | None) -> ServerRecords:
        return run_server(
            registers, frame, clicks.times_ticks, clicks.channels, until_clock, inputs=inputs, smooth_table=table
        )

    server = server_of(None)
    if truth.clock.size:
        applied, blank = truth.acted_on(server.tag_times_ticks.astype(np.int64), lab)
        server = server_of(PathInputs(applied=applied, blank=blank))
    pair = sift_pair(
        server.heralds,
        server.psi,
        symbols["alice"],
        symbols["bob"],
        block_heralds=lab.protocol.block_heralds,
        slice_width_turns=slice_width_turns(lab),
        protocol=PROTOCOLS[lab.protocol.name],
        pair_span=lab.protocol.pair_span_pulses,
    )
    return Model(server, pair)


def compare(
    received: Mapping[str, Received], model: Model, frame: FrameConfig, setup: TrackSetup, stop_ticks: int
) -> Comparison:
    """Received records against the model's, in order from the first.

    A stream may end early by what was still under way when the host stopped listening: everything that the node
    must have sent before ``stop_ticks`` is required, and whatever came must be right. Sifted words follow blocks, so only
    what came is compared (their number is checked against the nodes' own counters by the summary).
    """
    server = received["server"].records
    tags = model.server
    herald_times, psi_ready = tags.herald_times_ticks, _psi_ready_ticks(tags, frame, setup)
    pairs: list[tuple[str, Stream, NDArray[Any], NDArray[Any], int]] = [
        ("server", Stream.TAG, server[Stream.TAG], _tag_array(tags), _before(tags.tag_times_ticks, stop_ticks)),
        ("server", Stream.PHASE, server[Stream.PHASE], tags.phase, _closed(frame, tags.phase.size, stop_ticks, 1)),
        (
            *("server", Stream.DPHASE, server[Stream.DPHASE], tags.dphase),
            _closed(frame, tags.dphase.size, stop_ticks, frame.windows_per_dwindow),
        ),
        ("server", Stream.HERALD, server[Stream.HERALD], tags.heralds, _before(herald_times, stop_ticks)),
        (
            *("server", Stream.HERALD_CODE, server[Stream.HERALD_CODE], tags.heralds),
            _before(herald_times, stop_ticks),
        ),
        ("server", Stream.PSI, server[Stream.PSI], tags.psi, _before(psi_ready, stop_ticks)),
        (
            *("server", Stream.PSI_CAUSAL, server[Stream.PSI_CAUSAL], tags.psi_causal),
            _before(herald_times, stop_ticks),
        ),
        (
            "server",
            Stream.TRACK,
            _without_applied(server[Stream.TRACK]),
            tags.track,
            _before(_track_ticks(tags.track), stop_ticks),
        ),
        (
            *("server", Stream.ARRIVAL, server[Stream.ARRIVAL], tags.arrival),
            sum(frame.close_clock(int(window)) << FRACTION_BITS < stop_ticks for window in tags.arrival["window"]),
        ),
        ("server", Stream.LIVE, server[Stream.LIVE], tags.live, _closed_runs(tags.live, frame, stop_ticks)),
        ("alice", Stream.SIFTED, received["alice"].records[Stream.SIFTED], model.pair.alice, 0),
        ("bob", Stream.SIFTED, received["bob"].records[Stream.SIFTED], model.pair.bob, 0),
    ]
    words, mismatches = {}, {}
    for node, stream, got, expected, required in pairs:
        name = f"{node} {stream.name.lower()}"
        per_record = RECORD_WORDS[stream]
        words[name] = got.size * per_record
        mismatches[name] = per_record * max(0, required - got.size) + _differing_words(got, expected, per_record)
    return Comparison(words, mismatches)


def _differing_words(got: NDArray[Any], expected: NDArray[Any], per_record: int) -> int:
    """Records of ``got`` that are not those of ``expected`` at the same place, in words."""
    common = min(got.size, expected.size)
    wrong = int(np.count_nonzero(got[:common] != expected[:common].astype(got.dtype)))
    return per_record * (wrong + got.size - common)


def _tag_array(server: ServerRecords) -> NDArray[Any]:
    tags = np.empty(server.tag_times_ticks.size, [("time_ticks", "<i8"), ("channel", "u1")])
    tags["time_ticks"], tags["channel"] = server.tag_times_ticks, server.tag_channels
    return tags


def _without_applied(track: NDArray[Any]) -> NDArray[Any]:
    """The actuator's phase at the clock in which a record is made is not the model's to know."""
    left = track.copy()
    left["applied_turns"] = 0
    return left


def _before(times_ticks: NDArray[np.unsignedinteger[Any]], stop_ticks: int) -> int:
    return int(np.count_nonzero(times_ticks < stop_ticks))


def _closed(frame: FrameConfig, count: int, stop_ticks: int, windows: int) -> int:
    """How many of ``count`` (d-)windows are closed before ``stop_ticks``."""
    return sum(frame.close_clock((i + 1) * windows - 1) << 13 < stop_ticks for i in range(count))


def _closed_runs(runs: NDArray[Any], frame: FrameConfig, stop_ticks: int) -> int:
    """How many runs are closed for sure before ``stop_ticks``: all but the last that has begun by then."""
    first = runs["pulse_high"].astype(np.int64) << 32 | runs["pulse_low"]
    stop_pulse = (stop_ticks - (frame.start_clock << FRACTION_BITS) << 32) // frame.period_q32
    return max(0, int(np.count_nonzero(first < stop_pulse)) - 1)


def _track_ticks(records: NDArray[Any]) -> NDArray[np.uint64]:
    """Times of TRACK records."""
    high = records["clock_high_channel"].astype(np.uint64) & np.uint64((1 << TRACK_CLOCK_HIGH_BITS) - 1)
    return (high << np.uint64(32) | records["clock_low"].astype(np.uint64)) << np.uint64(FRACTION_BITS)


def _psi_ready_ticks(server: ServerRecords, frame: FrameConfig, setup: TrackSetup) -> NDArray[np.uint64]:
    """When each herald's psi is there: its d-window closed, or its blocks of both channels smoothed."""
    if setup.source == "clicks":
        of_channels = []
        for bits, later in zip(setup.node_bits, setup.later, strict=True):
            block_bits = np.uint64(bits + FRACTION_BITS + (BLOCK - 1).bit_length())
            smoothed = ((server.herald_times_ticks >> block_bits) + np.uint64(2)) << block_bits
            of_channels.append(smoothed + np.uint64(later << bits + FRACTION_BITS))
        return np.maximum(*of_channels)
    length_ticks = frame.window_ticks * frame.windows_per_dwindow
    since = server.herald_times_ticks - np.uint64(frame.start_clock << FRACTION_BITS)
    return server.herald_times_ticks - since % np.uint64(length_ticks) + np.uint64(2 * length_ticks)
