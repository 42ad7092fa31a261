"""From a lab to the settings of its server's phase tracking (docs/phase.md): which light, which gains, which times.

`track_setup` decides where the psi of heralds comes from. Clicks need light that tells psi_r and psi_d to the residual that is
asked, a reference with steps a quarter turn apart, and gains that have a word. Where one is missing, psi comes from windows and
`TrackSetup.reason` says why in one sentence; a lab that asks for clicks is refused instead.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from . import smoothing, tracking
from .herald_wait import FREE, most_psi_s
from .lab import Lab, LabError
from .reference_light import check_steps_alike, most_heralds_hz
from .smooth_follow import WORDS, GainTable
from .smooth_lag import epoch_bits, later_steps, node_bits, slope_bits
from .smoothing import SmoothGains
from .track_channel import ChannelSetup, differential_channel, gains_of, most_epoch_bits, reference_channel
from .tracking_config import ChannelConfig
from .units import CLOCK_HZ, TICKS_PER_CLOCK, ps_to_ticks

FRONTEND_CLOCKS = 7
"""The slowest front end (delay lines with two chains); the others are faster, and one hold for all keeps their phases equal."""
MERGE_CLOCKS = 6
"""From an edge in time to its tag, where no channel is behind: the channel's queue, the horizon, the merge's output."""
FRAMER_CLOCKS = 32
MARK_CLOCKS = 24
"""From a framed click to its place in the feed's queue, at most."""
NODE_CLOCKS = 128
"""From the clock in which a turn may be let go to its node, at most: feed, tracker, node; with something to spare."""
CONTENTION_CLOCKS = 32
"""Clicks that come out of the merge one after the other though they came together."""
LEAST_HOLD, MOST_HOLD = 16, (1 << smoothing.HOLD_BITS) - 1
NODE_STEPS_APART_BITS = 4
"""psi_d's node step is at most 2^4 times that of psi_r: it lags 95 steps, 1520 of psi_r's, and INTERVALS keep 2048."""
MOST_DRIFT_RAD_PER_S = (2e4, 400.0)
"""Steady drifts of psi_r and psi_d that the smoother keeps up with beside the lab's own slopes."""
MOST_GROUP_BITS = (1 << smoothing.SMOOTH_STEP_BITS) - 1
OFF = ChannelConfig(
    d=(1 << tracking.D_BITS) - 1,
    kappa=0,
    p_min=0,
    p_start=0,
    p_lost=0,
    v_start=tracking.VISIBILITY_LEAST,
)
"""A channel that is not tracked: every turn gives up what a cold start has found."""
NO_GAINS = SmoothGains(h11=0, h12=0, h21=0, h22=0)


@dataclass(frozen=True, kw_only=True)
class TrackSetup:
    """Everything that the server's registers say about phase tracking. Channels are in the order of `smoothing.CHANNELS`."""

    source: str
    """Of the heralds' psi: ``clicks`` or ``windows``."""
    reason: str | None
    """Why windows, where the lab did not ask for them."""
    epoch_bits: int
    hold_clocks: int
    every_bits: int
    node_bits: tuple[int, int]
    later: tuple[int, int]
    """Node steps of lag above 17 to 32."""
    channels: tuple[ChannelSetup | None, ChannelSetup | None]
    """None: not tracked."""
    announce_all: bool
    """Heralds that find the psi queue full are announced without."""

    @property
    def lag_s(self) -> float:
        """Longest time from a herald to its smoothed psi: two blocks of the slower channel, and what it is later."""
        steps = zip(self.node_bits, self.later, strict=True)
        return max(2 * smoothing.BLOCK + later << bits for bits, later in steps) / CLOCK_HZ

    @property
    def record_rate_hz(self) -> float:
        """TRACK records per second and channel."""
        return CLOCK_HZ / (1 << (self.epoch_bits + self.every_bits))

    def registers(self) -> dict[str, int]:
        """By their names in the server's map; signed ones as 32-bit words."""
        values = {
            "PSI_SOURCE": smoothing.PsiSource[self.source.upper()],
            "ANNOUNCE_ALL": int(self.announce_all),
            "TRACK_EPOCH": self.epoch_bits,
            "TRACK_HOLD": self.hold_clocks,
            "TRACK_EVERY": self.every_bits,
        }
        for name, bits, later, channel in zip(
            smoothing.CHANNELS, self.node_bits, self.later, self.channels, strict=True
        ):
            suffix = name.upper()
            config, gains = (OFF, NO_GAINS) if channel is None else (channel.config, gains_of(channel, bits))
            values |= {f"{key.upper()}_{suffix}": value for key, value in vars(config).items()}
            values |= {f"SMOOTH_STEP_{suffix}": bits - self.epoch_bits, f"SMOOTH_LATER_{suffix}": later}
            for key, word in zip(("H11", "H12", "H21", "H22"), gains.words(), strict=True):
                values[f"SMOOTH_{key}_{suffix}"] = word & 0xFFFFFFFF
        tables = self._tables()
        if follows := sum(1 << c for c, table in enumerate(tables) if table):
            values["SMOOTH_FOLLOWS"] = follows
        for name, table in zip(smoothing.CHANNELS, tables, strict=True):
            if table:
                values[f"SMOOTH_FROM_{name.upper()}"] = table.start
        return values

    def memories(self) -> dict[str, list[int]]:
        """The server's SMOOTH_TABLE, where gains follow; the part of a channel whose gains do not is 0."""
        tables = self._tables()
        if not any(tables):
            return {}
        return {"SMOOTH_TABLE": [word for table in tables for word in (table.words if table else [0] * WORDS)]}

    def _tables(self) -> list[GainTable | None]:
        """Of each channel whose tracker adapts."""
        return [
            GainTable.design(
                diffusion_rad2_per_s=channel.diffusion_rad2_per_s,
                slope_noise_rad2_per_s3=channel.slope_noise_rad2_per_s3,
                click_rate_hz=channel.light.click_rate_hz,
                information=channel.light.information,
                node_clocks=1 << bits,
                slope_follows=channel.config.k_follows == 1,
            )
            if channel and channel.config.a_gain
            else None
            for channel, bits in zip(self.channels, self.node_bits, strict=True)
        ]


@lru_cache(maxsize=64)
def track_setup(lab: Lab) -> TrackSetup:
    """Settings for ``lab``. LabError where it asks for clicks and cannot have them, or for times that do not fit together."""
    asked, reason = lab.tracking.source, None
    r = d = None
    try:
        r = reference_channel(lab)
        d = differential_channel(lab, r)
    except LabError as error:
        if asked == "clicks":
            raise
        reason = None if asked == "windows" else str(error).removeprefix(f"lab {lab.name}: ")
    longest_s = _longest_s(lab)
    nodes = _node_bits(longest_s, r, d)
    epoch = _epoch_bits(lab, r, nodes)
    r, d = (None if c is None else c.turning(epoch) for c in (r, d))
    nodes = tuple(min(max(bits, epoch), epoch + MOST_GROUP_BITS) for bits in nodes)  # type: ignore[assignment]
    source = "windows" if asked == "windows" or d is None else "clicks"
    if source == "windows":
        check_steps_alike(lab)
    return TrackSetup(
        source=source,
        reason=reason,
        epoch_bits=epoch,
        hold_clocks=hold_clocks(lab, epoch),
        every_bits=min(
            (1 << smoothing.EVERY_BITS) - 1, math.floor(math.log2(CLOCK_HZ / lab.tracking.record_rate_hz)) - epoch
        ),
        node_bits=nodes,
        later=tuple(  # type: ignore[arg-type]
            later_steps(bits, longest_s) if channel else 0 for channel, bits in zip((r, d), nodes, strict=True)
        ),
        channels=(r, d),
        announce_all=lab.tracking.announce_all,
    )


def hold_clocks(lab: Lab, epoch_bits: int) -> int:
    """TRACK_HOLD: clocks after a click's t by which it is in the feed's queue, whatever the front end. LabError for one of the lab's own
    that clicks or nodes cannot keep.

    A tag leaves the merge when the horizon has passed it: the clock count less the latency of front end and channel plus the smallest
    delay of the channels (docs/contract.md, Merge). So with the least delay m, in clocks, it comes ``6 - m`` clocks after t and a
    front end's latency more; framer and marks follow, and CONTENTION_CLOCKS are kept for clicks of a burst. At the other end the node
    of a turn must be there an epoch later, when the first click needs it that comes through the fastest front end.
    """
    offsets = (getattr(lab.detectors, name).offset_ps for name in ("qL", "qR", "rL", "rR"))
    behind = math.ceil(max(ps_to_ticks(offset) for offset in offsets) / TICKS_PER_CLOCK)
    least = max(LEAST_HOLD, FRONTEND_CLOCKS + MERGE_CLOCKS + FRAMER_CLOCKS + MARK_CLOCKS + behind)
    most = min(MOST_HOLD, (1 << epoch_bits) + MERGE_CLOCKS + FRAMER_CLOCKS + behind - NODE_CLOCKS)
    asked = lab.tracking.hold_clocks
    if asked is None:
        return min(least + CONTENTION_CLOCKS, most)
    if not least <= asked <= most:
        raise LabError(
            f"lab {lab.name}: tracking.hold_clocks is {asked}; allowed: {least}, the way of a click to the tracker, to {most}, for which "
            f"phases are there an epoch of 2^{epoch_bits} clocks later"
        )
    return asked


def _longest_s(lab: Lab) -> float:
    """Longest lag that the lab, the heralds that wait in the smooth join and those in the clients' rings allow."""
    waits_s = min(
        FREE * smoothing.PENDING_HERALDS / max(most_heralds_hz(lab), 1e-9), most_psi_s(lab, most_heralds_hz(lab))
    )
    return min(lab.tracking.most_lag_s, max(waits_s, 0.0))


def _node_bits(longest_s: float, r: ChannelSetup | None, d: ChannelSetup | None) -> tuple[int, int]:
    """log2 of both node steps: by their gains and slopes, at most NODE_STEPS_APART_BITS apart, and with 32 of them in ``longest_s``.

    Where they are too far apart the shorter one becomes longer: what a herald waits does not change, and the chord of a step h misses a
    slope walk by Q h^3/48 only.
    """
    most = math.floor(math.log2(max(longest_s * CLOCK_HZ / (2 * smoothing.BLOCK), 1 << tracking.EPOCH_LEAST)))
    of_r = min(most, _free_bits(r, MOST_DRIFT_RAD_PER_S[0])) if r else tracking.EPOCH_BITS - 3
    of_d = min(most, _free_bits(d, MOST_DRIFT_RAD_PER_S[1])) if d else of_r
    return max(of_r, of_d - NODE_STEPS_APART_BITS), max(of_d, of_r - NODE_STEPS_APART_BITS)


def _free_bits(channel: ChannelSetup, drift_rad_per_s: float) -> int:
    return min(node_bits(channel.settling_hz), slope_bits(channel.noise.slope_rms_rad_per_s, drift_rad_per_s))


def _epoch_bits(lab: Lab, r: ChannelSetup | None, nodes: tuple[int, int]) -> int:
    """E: at most 1/(8 K) of psi_r, a node step and a record's interval."""
    asked, most = lab.tracking.epoch_bits, most_epoch_bits(lab)
    if asked is None:
        return max(tracking.EPOCH_LEAST, min(*nodes, most, epoch_bits(r.gain_hz) if r else most))
    if asked > most:
        raise LabError(
            f"lab {lab.name}: tracking.epoch_bits is {asked} with record_rate_hz of {lab.tracking.record_rate_hz:g}; allowed: at "
            f"most {most}, a record per epoch"
        )
    return asked
