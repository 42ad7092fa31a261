"""The server node: every record of a run, from the edges at its front end.

The model knows no cycles: all edges are taken as drained, and windows count as closed by the clock that the caller gives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twinphase_sim.model.core.framer import Clicks, Gates, closed_windows, frame_clicks
from twinphase_sim.model.phase.counts import window_counts
from twinphase_sim.model.phase.path import PathInputs, phase_path
from twinphase_sim.model.phase.tracker import track
from twinphase_sim.model.sift.arrival import arrival_records
from twinphase_sim.model.sift.herald import find_heralds
from twinphase_sim.model.sift.join import join_psi
from twinphase_sim.model.sift.live import live_windows
from twinphase_sim.model.timetag.channel import tag_edges
from twinphase_sim.model.timetag.merge import merge_tags
from twinphase_spec.fixed import wrap_signed
from twinphase_spec.frame import FrameConfig
from twinphase_spec.registers import CHANNELS, SERVER
from twinphase_spec.smoothing import PsiSource
from twinphase_spec.units import FRACTION_BITS


@dataclass(frozen=True)
class ServerRecords:
    """Everything that the server sends, and what it was made from."""

    tag_times_ticks: NDArray[np.uint64]
    tag_channels: NDArray[np.uint8]
    phase: NDArray[np.void]
    dphase: NDArray[np.void]
    heralds: NDArray[np.void]
    psi: NDArray[np.void]
    """Of windows, or smoothed, or none, by PSI_SOURCE."""
    psi_causal: NDArray[np.void]
    track: NDArray[np.void]
    arrival: NDArray[np.void]
    live: NDArray[np.void]
    """Runs of pulses that are not live."""
    counters: dict[str, int]
    """Final counters by the server map's names, with every edge drained and the clock at ``until_clock``."""
    clicks: Clicks
    herald_times_ticks: NDArray[np.uint64]


def register(registers: Mapping[str, int], name: str) -> int:
    """A server register's value or its reset value, sign-extended where it is signed."""
    entry = SERVER[name]
    value = registers.get(name, entry.reset)
    return wrap_signed(value, entry.width) if entry.signed else value & ((1 << entry.width) - 1)


def run_server(
    lab_registers: Mapping[str, int],
    frame: FrameConfig,
    edges_ticks: NDArray[np.uint64] | NDArray[np.int64],
    channels: NDArray[np.uint8],
    until_clock: int,
    *,
    room: Mapping[int, NDArray[np.bool_]] | None = None,
    unjoined_pulses: NDArray[np.uint64] | None = None,
    unphased: NDArray[np.integer] | None = None,
    inputs: PathInputs | None = None,
    smooth_table: Sequence[int] | None = None,
) -> ServerRecords:
    """Records of a run whose frame started in time, from edges in order of arrival per channel.

    ``lab_registers`` are the RW registers by name (absent: reset value); those of the frame are taken from ``frame``. PHASE,
    DPHASE, ARRIVAL and PSI hold what is closed by ``until_clock``, and TRACK and smoothed PSI what is complete then (see
    `phase_path`); tags, heralds, causal psi and LIVE hold all edges. ``room[channel]`` and ``unjoined_pulses`` replay observed drops (see
    `tag_edges`, `find_heralds`), ``unphased`` the numbers of heralds that found the psi queue full, ``inputs`` what an actuator and
    the feed's queue did to each tag; ``smooth_table`` holds SMOOTH_TABLE's words.
    Raises ValueError for edges that the front end cannot take, and for settings of the phase's way that the node does not have.
    """
    edges = np.asarray(edges_ticks).astype(np.uint64, copy=False)
    channels = np.asarray(channels, dtype=np.uint8)
    if edges.shape != channels.shape or (channels.size and channels.max() >= len(CHANNELS)):
        raise ValueError(
            f"server model: {edges.size} edges have {channels.size} channels; allowed: one of 0 to 3 per edge"
        )
    enabled = register(lab_registers, "CHANNEL_ENABLE")
    swap = register(lab_registers, "SWAP")
    counters = dict.fromkeys(SERVER.counter_names, 0)
    tags = []
    for number, name in enumerate(CHANNELS):
        own = edges[channels == number] if enabled >> number & 1 else edges[:0]
        _check_edges(own, name)
        tagged = tag_edges(
            own,
            register(lab_registers, f"DEAD_TIME_{name}"),
            register(lab_registers, f"DELAY_{name}"),
            room=None if room is None else room.get(number),
        )
        tags.append(tagged.times_ticks)
        counters[f"seen_{name}"] = tagged.seen
        counters[f"dead_{name}"] = tagged.dead
        counters[f"dropped_{name}"] = tagged.dropped
        counters[f"tags_{name}"] = tagged.times_ticks.size
    tag_times, tag_channels = merge_tags(tags)
    clicks = frame_clicks(frame, gates(lab_registers), tag_times, tag_channels)
    tracked = track(
        window_counts(clicks, closed_windows(frame, until_clock), swap=swap),
        ratio=register(lab_registers, "RATIO"),
        windows_per_dwindow=frame.windows_per_dwindow,
    )
    live = live_windows(clicks, register(lab_registers, "RECOVERY_PULSES"), register(lab_registers, "GATE_START_Q"))
    heralds = find_heralds(clicks, swap=swap, not_live=live.not_live, unjoined_pulses=unjoined_pulses)
    registers = {entry.name: register(lab_registers, entry.name) for entry in SERVER.registers}
    path = phase_path(
        registers, clicks, heralds, frame.start_clock, until_clock, inputs=inputs, smooth_table=smooth_table
    )
    psi = join_psi(heralds, tracked) if path.psi is None else path.psi
    if registers["PSI_SOURCE"] == PsiSource.NONE:
        psi = psi[:0]
    if unphased is not None:
        psi = psi[~np.isin(psi["number"], unphased)]
        counters["unphased"] = unphased.size
    counters |= clicks.counters()
    counters |= {"clock": until_clock, "heralds": heralds.records.size}
    counters |= {"multiple": heralds.multiple, "not_live": heralds.not_live, "unjoined": heralds.unjoined}
    counters |= {"untracked": path.untracked}
    counters |= path.fed.events.counters()
    return ServerRecords(
        tag_times_ticks=tag_times,
        tag_channels=tag_channels,
        phase=tracked.phase,
        dphase=tracked.dphase,
        heralds=heralds.records,
        psi=psi,
        psi_causal=path.psi_causal,
        track=path.track,
        arrival=arrival_records(
            clicks, frame.period_q32, register(lab_registers, "ARRIVAL_WINDOWS"), closed_windows(frame, until_clock)
        ),
        live=live.runs,
        counters=counters,
        clicks=clicks,
        herald_times_ticks=heralds.times_ticks,
    )


def gates(lab_registers: Mapping[str, int]) -> Gates:
    """The framer's gates from the registers."""
    start_q, stop_q, start_r, stop_r = (
        register(lab_registers, f"GATE_{edge}_{band}") for band in "QR" for edge in ("START", "STOP")
    )
    return (start_q, stop_q), (start_r, stop_r)


def _check_edges(edges: NDArray[np.uint64], name: str) -> None:
    clocks = edges >> np.uint64(FRACTION_BITS)
    steps = (np.diff(clocks << np.uint64(FRACTION_BITS))).view(np.int64)
    if (steps <= 0).any():
        i = int(np.argmax(steps <= 0))
        raise ValueError(
            f"server model: edge {i + 1} of {name} at tick {edges[i + 1]} follows one at {edges[i]}; allowed: "
            "rising times, at most one edge per channel and clock"
        )
