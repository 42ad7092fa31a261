"""The time tagger's formats and limits (docs/timetagger.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .tdc import CHAINS, CHAINS_ALLOWED, chain_taps, has_twins, span_ticks

MAX_CHANNELS = 32
VIRTUAL_CHANNEL = 32
"""Channel number of the first virtual (coincidence) channel."""
COINCIDENCES = 4
ORDER_BITS = 32
"""Bits of a time within the tagger. Differences below 2^31 ticks (2.1 ms) compare rightly."""
HOLD_BITS = ORDER_BITS - 13 - 2
"""The merge's output may hold tags back for less than 2^HOLD_BITS clocks (1 ms) in all."""
SLOWEST_CLOCKS = 6
"""Clocks per tag behind the merge, at most and in the mean: the filter takes 4; coincidences 4, and 4 more for every second tag."""
LANE_DEPTH = 16
QUEUE_DEPTH = 2048
BURST = 1024
"""Tags per channel that may come at once beyond the delay span."""
DELAY_BITS = 22
DEAD_TIME_BITS = 26
DIVIDER_BITS = 16
WALK_ENTRIES = 64
WALK_BITS = 12
WALK_SHIFT_BITS = 5
GATE_BITS = 28
"""Width of GATE_FROM and GATE_TO; values up to 2^27."""
MEMORY_TICKS = 1 << 27
"""Age at which the selector and the coincidences forget a tag."""
GATE_ENABLE = 1 << 7
FILTER_WINDOW_BITS = 22
FILTER_DEPTH = 512
COINCIDENCE_WINDOW_BITS = 22

CHANNEL_COUNTERS = (
    ("seen", "edges from the pin"),
    ("generated", "edges from the test pulser"),
    ("overrun", "edges that found the lane queue full"),
    ("dead", "edges within the dead time"),
    ("vetoed", "edges within the after-pulse veto"),
    ("divided", "edges that the divider left out"),
    ("dropped", "tags that found the merge queue full"),
    ("gated", "tags outside their gate or time window"),
    ("filtered", "tags without a companion in the conditional filter"),
    ("tags", "tags that were sent on"),
    ("in_flight", "edges that are still on their way"),
    ("uncalibrated", "hits of a delay line that has no table yet"),
    ("runts", "pairs of edges closer than one TDC clock"),
)
"""Counters of a channel, in order; the identity is over the first eleven."""


def delay_span_tags(lanes: int = 1) -> int:
    """Tags that can come in the time that delays can differ by (2^22 ticks), one per clock."""
    return 1 << (DELAY_BITS - 13)


def check_depth(depth: int, burst: int = BURST) -> None:
    """ValueError unless a queue of ``depth`` covers the delay span and a burst of so many tags."""
    least = delay_span_tags() + burst
    if depth < least:
        raise ValueError(
            f"time tagger: queue depth is {depth}; allowed: at least {least} (delay span {delay_span_tags()} and a burst of {burst})"
        )


PARTS = ("gates", "time window", "conditional filter", "coincidences", "time walk")
"""Parts that a build may leave out; bit k of the register PARTS says that it has part k."""


def absent_parts(parts: int) -> tuple[str, ...]:
    """Names of the parts that a build with this register PARTS does not have."""
    return tuple(name for k, name in enumerate(PARTS) if not parts >> k & 1)


Frontend = Literal["simulation", "ddr", "oversampling", "delay line"]
FRONTENDS: tuple[Frontend, ...] = ("simulation", "ddr", "oversampling", "delay line")
"""Where edges come from; the index is what FRONTEND reads."""


Merge = Literal["one", "wide"]
MERGES: tuple[Merge, ...] = ("one", "wide")
"""Tags per clock that the merge brings into order: one, or two where both halves of the channels have some."""
PAIR_DEPTH = 512
"""Pairs of tags that wait behind a wide merge."""


SMALL_CHANNELS = 2
SMALL_FRONTENDS = ("simulation", "oversampling")


@dataclass(frozen=True, kw_only=True)
class TaggerOptions:
    """What a time tagger is built with. ``chains`` and ``taps`` are a delay line's, ``merge`` one of `MERGES`. ValueError for what
    cannot be built. ``taps`` counts the flip-flops that sample a chain: two for each tap along it from 448 on at 2 lanes (`twins`).

    ``small``: for a part without LUT RAM and with slow carry chains. It has two channels, examines an edge in 5 clocks, and leaves out
    what `left_out` names. Only it may have another ``burst`` than `BURST`.
    """

    channels: int = 8
    frontend: Frontend = "simulation"
    lanes: int = 1
    chains: int = 1
    taps: int = 256
    depth: int = QUEUE_DEPTH
    burst: int = BURST
    small: bool = False
    merge: Merge = "one"

    __match_args__ = (
        "channels",
        "frontend",
        "lanes",
        "chains",
        "taps",
        "depth",
        "burst",
        "small",
        "merge",
    )

    def __post_init__(self) -> None:
        if self.frontend not in FRONTENDS:
            raise ValueError(f"time tagger: frontend is {self.frontend!r}; allowed: {', '.join(map(repr, FRONTENDS))}")
        if not 1 <= self.channels <= MAX_CHANNELS:
            raise ValueError(f"time tagger: channels is {self.channels}; allowed: 1 to {MAX_CHANNELS}")
        if self.chains not in CHAINS:
            raise ValueError(f"time tagger: chains is {self.chains}; allowed: {CHAINS_ALLOWED} delay lines per channel")
        span_ticks(self.lanes)
        chain_taps(self.taps, self.twins)
        check_depth(self.depth, self.burst)
        if self.small and (self.channels != SMALL_CHANNELS or self.lanes != 1 or self.frontend not in SMALL_FRONTENDS):
            raise ValueError(
                f"time tagger: small with {self.channels} channels, {self.lanes} lanes and front end {self.frontend!r}; allowed: "
                f"{SMALL_CHANNELS} channels, 1 lane, {' or '.join(map(repr, SMALL_FRONTENDS))}"
            )
        if self.merge not in MERGES:
            raise ValueError(f"time tagger: merge is {self.merge!r}; allowed: {' or '.join(map(repr, MERGES))}")
        if self.merge == "wide" and (self.small or self.channels < 2):
            raise ValueError(
                f"time tagger: merge 'wide' with {self.channels} channels{', small' if self.small else ''}; allowed: 2 channels or more, "
                "not small"
            )
        if not self.small and self.burst != BURST:
            raise ValueError(f"time tagger: burst is {self.burst}; allowed: {BURST}, others only with small")

    @property
    def twins(self) -> bool:
        """Whether each tap along a delay line has two flip-flops, which makes its bins finer (`twinphase_spec.tdc.has_twins`)."""
        return has_twins(self.taps, self.lanes)

    @property
    def waiting_tags(self) -> int:
        """Tags that can wait between the channels' stages and the selector."""
        return self.channels * self.depth + (2 * PAIR_DEPTH if self.merge == "wide" else 0)

    @property
    def parts(self) -> int:
        """What the register PARTS reads."""
        return 0 if self.small else (1 << len(PARTS)) - 1

    @property
    def left_out(self) -> tuple[str, ...]:
        """Parts that the build does not have."""
        return absent_parts(self.parts)
