"""The time tagger: every tag and counter of a run, from the edges at its front end. Source: docs/timetagger.md.

The model knows no cycles: at the end all tags have left (``in_flight`` is 0), and a wide merge gives the same as one of a tag per
clock. What depends on cycles - full lane queues, full merge queues - is replayed from observed flags.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twinphase_spec.fixed import wrap_signed
from twinphase_spec.registers import TIMETAGGER, TIMETAGGER_CHANNELS
from twinphase_spec.tagger import COINCIDENCES, MAX_CHANNELS, VIRTUAL_CHANNEL, WALK_ENTRIES

from .coincidence import Coincidence, add_coincidences
from .input import Fate, InputSettings, InputTags, check_edges, pulser_edges, tag_inputs
from .merge import merge_tags
from .selector import SelectorSettings, Verdict, select_tags


@dataclass(frozen=True, eq=False)
class TaggerTags:
    """What the time tagger sends, and how it accounts for every edge."""

    times_ticks: NDArray[np.uint64]
    channels: NDArray[np.uint8]
    """Channel numbers; 32 + v is coincidence v."""
    counters: dict[str, int]
    """Final counters by the map's names; the delay line's own (uncalibrated, runts) are 0, no hit is lost before it."""
    inputs: tuple[InputTags | None, ...]
    """Per channel; None where it is disabled."""


def register(registers: Mapping[str, int], name: str) -> int:
    """A time tagger register's value or its reset value, sign-extended where it is signed."""
    entry = TIMETAGGER[name]
    value = registers.get(name, entry.reset)
    return wrap_signed(value, entry.width) if entry.signed else value & ((1 << entry.width) - 1)


def memory(memories: Mapping[str, Sequence[int]], name: str) -> NDArray[np.int64]:
    """Words of a memory, those that are not given 0, cut to its width. ValueError for too many words."""
    entry = TIMETAGGER.memory(name)
    given = memories.get(name, ())
    if len(given) > entry.words:
        raise ValueError(f"time tagger model: {name} has {len(given)} words; allowed: at most {entry.words}")
    words = np.zeros(entry.words, dtype=np.int64)
    words[: len(given)] = np.asarray(given, dtype=np.int64) & ((1 << entry.width) - 1)
    return words


def input_settings(registers: Mapping[str, int], memories: Mapping[str, Sequence[int]], channel: int) -> InputSettings:
    """Settings of a channel's input stages."""
    width = TIMETAGGER.memory("WALK").width
    walk = memory(memories, "WALK")[channel * WALK_ENTRIES : (channel + 1) * WALK_ENTRIES]
    return InputSettings(
        dead_time=register(registers, f"DEAD_TIME_{channel}"),
        veto_from=register(registers, f"VETO_FROM_{channel}"),
        veto_to=register(registers, f"VETO_TO_{channel}"),
        divider=register(registers, f"DIVIDER_{channel}"),
        walk_shift=register(registers, "WALK_SHIFT"),
        walk=walk - ((walk >> (width - 1)) << width),
        delay=register(registers, f"DELAY_{channel}"),
    )


def selector_settings(registers: Mapping[str, int], memories: Mapping[str, Sequence[int]]) -> SelectorSettings:
    """Settings of gates, time window and filter."""
    return SelectorSettings(
        gate_table=memory(memories, "GATE_TABLE"),
        gate_from=memory(memories, "GATE_FROM"),
        gate_to=memory(memories, "GATE_TO"),
        window_enable=register(registers, "WINDOW_ENABLE"),
        window_from=register(registers, "WINDOW_FROM"),
        window_until=register(registers, "WINDOW_UNTIL"),
        filter_mask=memory(memories, "FILTER_MASK"),
        filter_window=register(registers, "FILTER_WINDOW"),
    )


def coincidence_settings(registers: Mapping[str, int]) -> list[Coincidence]:
    """All virtual channels."""
    return [
        Coincidence(
            mask=register(registers, f"COINCIDENCE_MASK_{v}"), window=register(registers, f"COINCIDENCE_WINDOW_{v}")
        )
        for v in range(COINCIDENCES)
    ]


def run_timetagger(
    registers: Mapping[str, int],
    memories: Mapping[str, Sequence[int]],
    edges_ticks: NDArray[np.uint64] | NDArray[np.int64],
    channels: NDArray[np.uint8],
    until_clock: int,
    *,
    lanes: int = 1,
    pulser_clock: int = 0,
    overrun: Mapping[int, NDArray[np.bool_]] | None = None,
    room: Mapping[int, NDArray[np.bool_]] | None = None,
) -> TaggerTags:
    """Tags and counters of a run whose settings stood before its first edge.

    ``registers`` are the RW registers by name (absent: reset value), ``memories`` their words by name (absent: 0). Edges are
    in the order of (clock, lane) per channel, and all are taken, whatever ``until_clock``; the test pulser's edges are in the clocks
    ``pulser_clock + k PULSER_PERIOD`` below ``until_clock``. ``overrun[channel]`` and ``room[channel]`` replay observed losses (see
    `tag_inputs`); edges of a channel in PULSER_MASK are the pulser's. Raises ValueError for edges no front end makes.
    """
    edges = np.asarray(edges_ticks).astype(np.uint64, copy=False)
    channels = np.asarray(channels, dtype=np.uint8)
    if edges.shape != channels.shape or (channels.size and channels.max() >= TIMETAGGER_CHANNELS):
        raise ValueError(
            f"time tagger model: {edges.size} edges have {channels.size} channels; allowed: one of 0 to "
            f"{TIMETAGGER_CHANNELS - 1} per edge"
        )
    if lanes not in (1, 2):
        raise ValueError(f"time tagger model: lanes is {lanes}; allowed: 1 or 2")
    counters = dict.fromkeys(TIMETAGGER.counter_names, 0) | {"clock": until_clock}
    enabled, pulsed = register(registers, "CHANNEL_ENABLE"), register(registers, "PULSER_MASK")
    inputs: list[InputTags | None] = []
    for channel in range(TIMETAGGER_CHANNELS):
        if not enabled >> channel & 1:
            inputs.append(None)
            continue
        if pulsed >> channel & 1:
            own = pulser_edges(
                register(registers, "PULSER_PERIOD"), register(registers, "PULSER_FINE"), pulser_clock, until_clock
            )
        else:
            own = edges[channels == channel]
            check_edges(own, lanes, channel)
        tagged = tag_inputs(
            own,
            input_settings(registers, memories, channel),
            overrun=None if overrun is None else overrun.get(channel),
            room=None if room is None else room.get(channel),
        )
        inputs.append(tagged)
        counters[f"{'generated' if pulsed >> channel & 1 else 'seen'}_{channel}"] = own.size
        for fate in Fate:
            if fate != Fate.QUEUED:
                counters[f"{fate.name.lower()}_{channel}"] = tagged.count(fate)

    nothing = np.empty(0, dtype=np.uint64)
    times, numbers = merge_tags([nothing if tagged is None else tagged.times_ticks for tagged in inputs])
    verdicts = select_tags(times, numbers, selector_settings(registers, memories))
    for verdict, name in ((Verdict.SENT, "tags"), (Verdict.GATED, "gated"), (Verdict.FILTERED, "filtered")):
        counts = np.bincount(numbers[verdicts == verdict], minlength=MAX_CHANNELS)
        counters |= {f"{name}_{channel}": int(counts[channel]) for channel in range(TIMETAGGER_CHANNELS)}

    sent = verdicts == Verdict.SENT
    times, numbers = add_coincidences(times[sent], numbers[sent], coincidence_settings(registers))
    for v in range(COINCIDENCES):
        counters[f"virtual_{v}"] = int(np.count_nonzero(numbers == VIRTUAL_CHANNEL + v))
    return TaggerTags(times, numbers, counters, tuple(inputs))
