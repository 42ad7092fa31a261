"""Feed: which clicks the click tracker gets and when, and what comes of it. Source: "Feed" of docs/phase.md.

The references of the quantum band's clicks need nodes that the reference band's clicks have made: one kernel plays feed, tracker and
nodes, in the order of the entries.

A compiled kernel kept by numba does not see changes in functions of other files: after one in `clicktracker_kernel`, `nodes`,
`marks` or `trackevents`, this file needs a new date (a fresh clone has one).
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from twinphase_spec import smoothing
from twinphase_spec import tracking as t
from twinphase_spec.units import TURN, TURN_BITS

from . import clicktracker_kernel as kernel
from . import nodes as node
from . import trackevents as event
from .clicktracker import check_epoch_bits
from .marks import TURN_SHIFT, quantum_applied, reference_phase

CHANNELS = len(smoothing.CHANNELS)
STEP_SHIFT = TURN_BITS - 2
"""A reference step is a quarter of a turn."""
OUT_LOCKED, OUT_BROKE = 4, 5
"""Places in a tracker's output."""
OFFERED, WRITTEN = range(2)
"""Events issued; written."""


@dataclass(frozen=True)
class FeedSettings:
    """What the feed needs to know. ValueError for epochs that a tracker does not have, or a V_START above what it keeps."""

    words: NDArray[np.int64]
    """Configuration words of the channels, shape (2, 10), in the order of `ChannelConfig`."""
    epoch_bits: int
    hold: int
    """TRACK_HOLD."""
    ratio: int
    """RATIO, signed."""
    start_clock: int
    steps: tuple[int, ...] = tuple(k << STEP_SHIFT for k in range(4))
    """STEP_R_k."""

    def __post_init__(self) -> None:
        check_epoch_bits(self.epoch_bits)
        most = t.VISIBILITY_MOST
        if (self.words[:, kernel.V_START] > most).any():
            raise ValueError(
                f"click tracker: v_start of {self.words[:, kernel.V_START].max()} is above {most}, which bounds its arithmetic"
            )

    @property
    def first_epoch(self) -> int:
        """The first e with ``2^E e >= START_CLOCK``."""
        return -(-self.start_clock >> self.epoch_bits)


@dataclass(frozen=True)
class References:
    """Gated clicks of REF(k) slots in the order of the tags, arrays of shape (n,), int64."""

    clock: NDArray[np.int64]
    """t, not wrapped."""
    channel: NDArray[np.int64]
    """Of the tracker: 0 for the reference band, 1 for the quantum band."""
    port: NDArray[np.int64]
    """0 L, 1 R, after SWAP."""
    step: NDArray[np.int64]
    """k."""
    applied: NDArray[np.int64]
    """A in 2^-16 turn."""
    refused: NDArray[np.int64]
    """1: blank or late, whatever the phase."""


@dataclass(frozen=True)
class Fed:
    """What the feed made of its clicks."""

    nodes: node.Nodes
    tracked: NDArray[np.bool_]
    """Of every click in `References`: it went into the tracker; the rest count ``untracked``."""
    events: event.TrackEvents
    """Of all outputs but those of turns let go after ``told_until``."""


@numba.njit(cache=True)
def _settle(
    clock: int,
    flow: NDArray[np.int64],
    rows: NDArray[np.int64],
    words: NDArray[np.int64],
    epoch_bits: int,
    first_epoch: int,
    pipeline: tuple[NDArray[np.int64], ...],
    table: NDArray[np.int64],
    told: tuple[NDArray[np.int64], NDArray[np.int64], int],
) -> None:
    """All writes that an event issued in ``clock`` sees, and the nodes and events that come of them."""
    ways, channels, clicks, out = pipeline
    before, counts, told_until = told
    while flow[WRITTEN] < flow[OFFERED]:
        place = flow[WRITTEN] % kernel.RING
        way, channel = ways[place], channels[place]
        if way[kernel.ISSUE] + t.WRITE >= clock:
            return
        row = rows[channel]
        kernel.write(row, words[channel], epoch_bits, way)
        kernel.leave(row, epoch_bits, way, out)
        flow[WRITTEN] += 1
        if way[kernel.KIND] != t.TURN or way[kernel.ISSUE] - channel <= told_until:
            event.tell(before[channel], way[kernel.KIND], out[OUT_LOCKED], out[OUT_BROKE], counts[channel])
        if way[kernel.KIND] != t.TURN:
            clicks[channel] += 1
            continue
        entry = table[channel, (way[kernel.CLOCK] >> epoch_bits) - first_epoch]
        entry[: node.CLICKS] = out[: node.CLICKS]
        entry[node.CLICKS] = clicks[channel]


@numba.njit(cache=True)
def _quantum_reference(clock: int, epoch_bits: int, first_epoch: int, ratio: int, table: NDArray[np.int64]) -> int:
    """rq of a click's mark, or -1 if r is not valid: a node that has not come yet is 0 in ``table``, so not locked."""
    before = (clock >> epoch_bits) - 1 - first_epoch
    if before < 0 or table[node.R, before, node.LOCKED] == 0:
        return -1
    entry = table[node.R, before]
    since = clock - ((first_epoch + before) << epoch_bits)
    return reference_phase(node.quantum_phase(entry[node.U], ratio), entry[node.B] >> t.B_DROP, since) >> TURN_SHIFT


@numba.njit(cache=True)
def _play(
    clicks: tuple[NDArray[np.int64], ...],
    rows: NDArray[np.int64],
    words: NDArray[np.int64],
    settings: tuple[int, int, int, int],
    table: NDArray[np.int64],
    released: NDArray[np.int64],
    tracked: NDArray[np.bool_],
    told: tuple[NDArray[np.int64], NDArray[np.int64], int],
) -> None:
    """Entries in their order: turns for all of ``table``, and the clicks that are tracked."""
    clocks, bands, ports, references, refused = clicks
    epoch_bits, hold, ratio, first_epoch = settings
    flow = np.zeros(2, dtype=np.int64)
    ways = np.zeros((kernel.RING, kernel.UNDERWAY), dtype=np.int64)
    channels = np.zeros(kernel.RING, dtype=np.int64)
    pipeline = (ways, channels, np.zeros(CHANNELS, dtype=np.int64), np.zeros(kernel.OUTPUTS, dtype=np.int64))
    turns, i = 0, 0
    # first clock in which the next entry can go; before the first one any
    free = (first_epoch << epoch_bits) + hold
    while i < clocks.size or turns < released.size:
        start = (first_epoch + turns) << epoch_bits
        if turns < released.size and (i == clocks.size or clocks[i] >= start):
            clock = max(free, start + hold)
            for channel in range(CHANNELS):
                _settle(clock + channel, flow, rows, words, epoch_bits, first_epoch, pipeline, table, told)
                place = flow[OFFERED] % kernel.RING
                ways[place, kernel.ISSUE], channels[place] = clock + channel, channel
                kernel.issue(rows[channel], words[channel], epoch_bits, True, start, 0, 0, ways[place])
                flow[OFFERED] += 1
            released[turns] = clock
            turns += 1
            free = clock + CHANNELS
            continue
        channel, reference = bands[i], references[i]
        clock = max(free, clocks[i] + hold)
        taken = turns > 0 and refused[i] == 0
        if taken:
            _settle(clock, flow, rows, words, epoch_bits, first_epoch, pipeline, table, told)
            if channel == node.D:
                rq = _quantum_reference(clocks[i], epoch_bits, first_epoch, ratio, table)
                taken = rq >= 0
                reference += rq
        if taken:
            place = flow[OFFERED] % kernel.RING
            ways[place, kernel.ISSUE], channels[place] = clock, channel
            kernel.issue(
                rows[channel],
                words[channel],
                epoch_bits,
                False,
                clocks[i],
                ports[i],
                reference & (TURN - 1),
                ways[place],
            )
            flow[OFFERED] += 1
            free = clock + 1
        tracked[i] = taken
        i += 1
    _settle(np.iinfo(np.int64).max, flow, rows, words, epoch_bits, first_epoch, pipeline, table, told)


def feed(clicks: References, settings: FeedSettings, *, until_epoch: int, told_until: int | None = None) -> Fed:
    """Feed and tracker from reset, with the turns up to ``until_epoch`` and to the last click's epoch.

    Events are those of clicks and of turns let go by ``told_until`` (all).

    Clicks are taken to come in time but for those that are refused. An event's clock of issue is taken to be T: a constant more
    changes nothing.
    """
    s = settings
    last = max(until_epoch, int(clicks.clock[-1]) >> s.epoch_bits if clicks.clock.size else until_epoch)
    count = max(0, last + 1 - s.first_epoch)
    rows = kernel.after_reset(s.words)
    table = np.zeros((CHANNELS, count, node.MEMBERS), dtype=np.int64)
    released, tracked = np.zeros(count, dtype=np.int64), np.zeros(clicks.clock.size, dtype=np.bool_)
    applied = np.where(clicks.channel == node.R, clicks.applied, quantum_applied(clicks.applied, s.ratio))
    steps = np.where(clicks.channel == node.R, np.array(s.steps)[clicks.step], clicks.step << STEP_SHIFT)
    references = steps - applied
    before = np.zeros((CHANNELS, event.BEFORE), dtype=np.int64)
    counts = np.zeros((CHANNELS, event.EVENTS), dtype=np.int64)
    _play(
        (clicks.clock, clicks.channel, clicks.port, references, clicks.refused),
        rows,
        s.words,
        (s.epoch_bits, s.hold, s.ratio, s.first_epoch),
        table,
        released,
        tracked,
        (before, counts, np.iinfo(np.int64).max if told_until is None else told_until),
    )
    events = event.TrackEvents(counts=counts, locked=before[:, event.WAS_LOCKED])
    phase = table[..., node.U] & node.PHASE_MASK
    phase[node.R] = node.quantum_phase.py_func(table[node.R, :, node.U], s.ratio)
    nodes = node.Nodes(epoch_bits=s.epoch_bits, first_epoch=s.first_epoch, table=table, released=released, phase=phase)
    return Fed(nodes=nodes, tracked=tracked, events=events)
