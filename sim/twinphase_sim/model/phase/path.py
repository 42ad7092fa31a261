"""The phase's way through the server: feed and tracker, nodes, smoother and the psi of heralds. Source: docs/phase.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twinphase_sim.model.core.framer import Clicks
from twinphase_sim.model.sift.herald import Heralds
from twinphase_sim.model.sift.smoothjoin import causal_psi, join_smooth
from twinphase_spec import smoothing
from twinphase_spec.frame import SlotClass
from twinphase_spec.smooth_follow import WORDS as WORDS_OF_TABLE
from twinphase_spec.tracking_config import ChannelConfig
from twinphase_spec.units import FRACTION_BITS

from .feed import Fed, FeedSettings, References, feed
from .marks import marks, quantum_applied
from .nodes import Nodes, track_records
from .smooth import Intervals, smooth
from .smoothfollow import GainTable

NODE_SETTLE = 128
"""Clocks after the feed has let a turn go in which its nodes have certainly come."""
PASS_NODE_CLOCKS = 34
"""Of a smoother's pass, per node, at most."""
MOST_STEP_RATIO = 4
"""Largest difference of the channels' node steps, as a power of 2: a channel covers a herald up to 95 steps late, and 95 2^4 of the
other's intervals are still kept then."""
WORDS = tuple(ChannelConfig.__dataclass_fields__)


@dataclass(frozen=True, kw_only=True)
class PathInputs:
    """What the model cannot know of each tag, arrays of shape (tags,) in the order of the tags; None: 0 for all."""

    applied: NDArray[np.int64] | None = None
    """A, what the actuator has taken off, 2^-16 turn, unsigned."""
    blank: NDArray[np.bool_] | None = None
    """A is changing or not known."""
    late: NDArray[np.bool_] | None = None
    """It came to the feed after t + HOLD, or found its queue full."""

    def column(self, name: str, count: int) -> NDArray[np.int64]:
        """One of them as int64. ValueError if it has another length than there are tags."""
        given = getattr(self, name)
        column = np.zeros(count, dtype=np.int64) if given is None else np.asarray(given).astype(np.int64)
        if column.shape != (count,):
            raise ValueError(f"server model: {name} has the shape {column.shape}; allowed: ({count},), one per tag")
        return column


@dataclass(frozen=True)
class PhasePath:
    """What comes of it."""

    fed: Fed
    intervals: tuple[Intervals, Intervals]
    track: NDArray[np.void]
    """TRACK_DTYPE."""
    psi: NDArray[np.void] | None
    """PSI_DTYPE, smoothed; None unless PSI_SOURCE is CLICKS."""
    psi_causal: NDArray[np.void]
    """PSI_DTYPE."""
    untracked: int


def phase_path(
    registers: Mapping[str, int],
    clicks: Clicks,
    heralds: Heralds,
    start_clock: int,
    until_clock: int,
    *,
    inputs: PathInputs | None = None,
    smooth_table: Sequence[int] | None = None,
) -> PhasePath:
    """Everything of a run that started from reset, from the values of all ``registers`` and SMOOTH_TABLE's words, ``smooth_table``.

    ``track`` holds the records and ``fed.events`` the events of the turns that the feed has let go by ``until_clock - NODE_SETTLE``: a
    node may have those of one turn more, two records at most. Smoothed psi uses the nodes of turns let go by ``until_clock`` less
    `smooth_settle`: a node may be one block further, or behind by what its link has not taken. Both are in clock counts that go on above
    2^51, as the frame's.

    Raises ValueError for an epoch or V_START that a tracker does not have, inputs that are not one per tag, gains that follow without a
    table or with one of another length, and, with PSI_SOURCE CLICKS, node steps of the channels more than MOST_STEP_RATIO apart, whose
    intervals are overwritten too soon.
    """
    given = inputs or PathInputs()
    applied, blank, late = (given.column(name, clicks.channel.size) for name in ("applied", "blank", "late"))
    start_ticks = np.uint64(start_clock << FRACTION_BITS)
    clocks = start_clock + ((clicks.times_ticks - start_ticks) >> np.uint64(FRACTION_BITS)).astype(np.int64)
    at = clocks[heralds.click]
    settings = FeedSettings(
        words=np.array([[registers[f"{name.upper()}_{c.upper()}"] for name in WORDS] for c in smoothing.CHANNELS]),
        epoch_bits=registers["TRACK_EPOCH"],
        hold=registers["TRACK_HOLD"],
        ratio=registers["RATIO"],
        start_clock=start_clock,
        steps=tuple(registers[f"STEP_R_{k}"] for k in range(4)),
    )
    chosen = np.flatnonzero(clicks.reference)
    channel = 1 - clicks.band[chosen].astype(np.int64)
    fed = feed(
        References(
            clock=clocks[chosen],
            channel=channel,
            port=(clicks.channel[chosen].astype(np.int64) & 1) ^ (registers["SWAP"] >> (1 - channel) & 1),
            step=clicks.slot_class[chosen].astype(np.int64) - SlotClass.REF0,
            applied=applied[chosen],
            refused=blank[chosen] | late[chosen],
        ),
        settings,
        until_epoch=max(until_clock, int(at[-1]) if at.size else 0) >> settings.epoch_bits,
        told_until=until_clock - NODE_SETTLE,
    )
    smoothed = registers["PSI_SOURCE"] == smoothing.PsiSource.CLICKS
    applied_q, blanked = quantum_applied(applied[heralds.click], settings.ratio), blank[heralds.click] == 1
    intervals = _intervals(
        _released(fed.nodes, until_clock - smooth_settle(registers)), registers, start_clock, smooth_table
    )
    return PhasePath(
        fed=fed,
        intervals=intervals,
        track=track_records(_released(fed.nodes, until_clock - NODE_SETTLE), registers["TRACK_EVERY"]),
        psi=join_smooth(heralds, at, intervals, applied_q, blanked) if smoothed else None,
        psi_causal=causal_psi(heralds, marks(fed.nodes, at, applied_q), blanked),
        untracked=int(np.count_nonzero(~fed.tracked)),
    )


def smooth_settle(registers: Mapping[str, int]) -> int:
    """Clocks after the feed has let a turn go in which blocks that end with its nodes are certainly smoothed: passes of both channels."""
    nodes = (2 * smoothing.BLOCK + 1 + registers[f"SMOOTH_LATER_{c.upper()}"] for c in smoothing.CHANNELS)
    return NODE_SETTLE + PASS_NODE_CLOCKS * sum(nodes)


def _intervals(
    nodes: Nodes, registers: Mapping[str, int], start_clock: int, smooth_table: Sequence[int] | None
) -> tuple[Intervals, Intervals]:
    """Of both channels."""
    steps = [registers[f"SMOOTH_STEP_{c.upper()}"] for c in smoothing.CHANNELS]
    if registers["PSI_SOURCE"] == smoothing.PsiSource.CLICKS and abs(steps[0] - steps[1]) > MOST_STEP_RATIO:
        raise ValueError(
            f"server model: SMOOTH_STEP is {steps[0]} and {steps[1]}; allowed: at most {MOST_STEP_RATIO} apart, as no more intervals"
            " are kept"
        )
    gains: list[tuple[int, int, int, int] | GainTable] = [_gains(registers, name) for name in smoothing.CHANNELS]
    if registers["SMOOTH_FOLLOWS"]:
        if smooth_table is None:
            raise ValueError("server model: SMOOTH_FOLLOWS is 1 and there is no SMOOTH_TABLE; give its words")
        if len(smooth_table) != len(gains) * WORDS_OF_TABLE:
            raise ValueError(
                f"server model: SMOOTH_TABLE has {len(smooth_table)} words; allowed: {len(gains) * WORDS_OF_TABLE}"
            )
        for channel, name in enumerate(smoothing.CHANNELS):
            if registers["SMOOTH_FOLLOWS"] >> channel & 1:
                own = smooth_table[WORDS_OF_TABLE * channel : WORDS_OF_TABLE * (channel + 1)]
                gains[channel] = GainTable(words=own, start=registers[f"SMOOTH_FROM_{name.upper()}"])
    first, second = (
        smooth(
            nodes,
            channel,
            step_log=steps[channel],
            gains=gains[channel],
            from_clock=start_clock,
            later=registers[f"SMOOTH_LATER_{name.upper()}"],
        )
        for channel, name in enumerate(smoothing.CHANNELS)
    )
    return first, second


def _gains(registers: Mapping[str, int], channel: str) -> tuple[int, int, int, int]:
    h11, h12, h21, h22 = (registers[f"SMOOTH_{gain}_{channel.upper()}"] for gain in ("H11", "H12", "H21", "H22"))
    return h11, h12, h21, h22


def _released(nodes: Nodes, clock: int) -> Nodes:
    """Those of turns that the feed has let go by ``clock``."""
    return nodes.first(int(np.searchsorted(nodes.released, clock, side="right")))
