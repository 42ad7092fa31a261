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
from .lab_tracking import MOST_RESIDUAL_RAD
from .phase_noise_design import PhaseNoise, design, differential_noise, reference_noise, smoothed_mse
from .reference_light import Band, ReferenceLight, check_references, most_heralds_hz, reference_light
from .smoothing import SmoothGains, node_bits, smooth_gains, steady_covariance
from .tracking_config import LEAST_GAIN, ChannelConfig, channel_config
from .units import CLOCK_HZ, TICKS_PER_CLOCK, ps_to_ticks

FRONTEND_CLOCKS = 7
"""The slowest front end (delay lines with two chains); the others are faster, and one hold for all keeps their phases equal."""
MERGE_CLOCKS = 6
"""From an edge in time to its tag, where no channel is behind: the channel's queue, the horizon, the merge's output."""
FRAMER_CLOCKS = 31
MARK_CLOCKS = 24
"""From a framed click to its place in the feed's queue, at most."""
NODE_CLOCKS = 128
"""From the clock in which a turn may be let go to its node, at most: feed, tracker, node; with something to spare."""
CONTENTION_CLOCKS = 32
"""Clicks that come out of the merge one after the other though they came together."""
LEAST_HOLD, MOST_HOLD = 16, (1 << smoothing.HOLD_BITS) - 1
NODE_STEPS_APART_BITS = 4
"""psi_d's node step is at most 2^4 times that of psi_r: it lags 32 steps, 512 of psi_r's, and INTERVALS keep 1024."""
MOST_GROUP_BITS = (1 << smoothing.SMOOTH_STEP_BITS) - 1
V_GAIN = 8
"""The visibility follows with the time constant of some 25 000 clicks and a noise of 0.002."""
A_GAIN = 1
"""Adapting gains settle within some hundred time constants, 10 ms of psi_r; costs 0.3 % of the error where D and Q were right."""
GAIN_UNIT_RAD2 = 2 * math.pi * 2.0**-tracking.Q_FRACTION
LEAST_RAD2, MOST_RAD2 = 1.01 * LEAST_GAIN * GAIN_UNIT_RAD2, 0.99 * tracking.Q_MAX * GAIN_UNIT_RAD2
UNKNOWN_RAD = math.pi / math.sqrt(3)
"""Error of a guess."""
OFF = ChannelConfig(
    d=(1 << tracking.D_BITS) - 1,
    kappa=0,
    p_min=0,
    p_start=0,
    p_lost=0,
    v_start=tracking.V_LEAST >> tracking.VISIBILITY_BITS,
)
"""A channel that is not tracked: every turn gives up what a cold start has found."""
NO_GAINS = SmoothGains(h11=0, h12=0, h21=0, h22=0)


@dataclass(frozen=True, kw_only=True)
class ChannelSetup:
    """One tracker channel and its smoother."""

    noise: PhaseNoise
    light: ReferenceLight
    diffusion_rad2_per_s: float
    slope_noise_rad2_per_s3: float
    mse_rad2: float
    """Least causal error of this kind of filter on the lab's phase, no delay."""
    config: ChannelConfig

    @property
    def covariance(self) -> tuple[float, float, float]:
        """(P11, P12, P22) that the filter is made for."""
        return steady_covariance(self.diffusion_rad2_per_s, self.slope_noise_rad2_per_s3, self.light.fisher_hz)

    @property
    def gain_hz(self) -> float:
        """K = P11 J, 1/s."""
        return self.covariance[0] * self.light.fisher_hz

    @property
    def smoothed_mse_rad2(self) -> float:
        """Error of the smoothed phase on the lab's own, lines among them, trucks not."""
        return smoothed_mse(
            self.noise,
            diffusion_rad2_per_s=self.diffusion_rad2_per_s,
            slope_noise_rad2_per_s3=self.slope_noise_rad2_per_s3,
            fisher_hz=self.light.fisher_hz,
        )

    def after(self, delay_s: float) -> float:
        """Error in rad^2 of the estimate carried on by ``delay_s``."""
        p11, p12, p22 = self.covariance
        walk = self.diffusion_rad2_per_s * delay_s + self.slope_noise_rad2_per_s3 * delay_s**3 / 3
        return p11 + 2 * delay_s * p12 + delay_s**2 * p22 + walk


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
    channels: tuple[ChannelSetup | None, ChannelSetup | None]
    """None: not tracked."""

    @property
    def lag_s(self) -> float:
        """Longest time from a herald to its smoothed psi: two blocks of the slower channel."""
        return (2 * smoothing.BLOCK << max(self.node_bits)) / CLOCK_HZ

    @property
    def record_rate_hz(self) -> float:
        """TRACK records per second and channel."""
        return CLOCK_HZ / (1 << (self.epoch_bits + self.every_bits))

    def registers(self) -> dict[str, int]:
        """By their names in the server's map; signed ones as 32-bit words."""
        values = {
            "PSI_SOURCE": int(self.source == "clicks"),
            "TRACK_EPOCH": self.epoch_bits,
            "TRACK_HOLD": self.hold_clocks,
            "TRACK_EVERY": self.every_bits,
        }
        for name, bits, channel in zip(smoothing.CHANNELS, self.node_bits, self.channels, strict=True):
            suffix = name.upper()
            config, gains = (OFF, NO_GAINS) if channel is None else (channel.config, gains_of(channel, bits))
            values |= {f"{key.upper()}_{suffix}": value for key, value in vars(config).items()}
            values[f"SMOOTH_STEP_{suffix}"] = bits - self.epoch_bits
            for key, word in zip(("H11", "H12", "H21", "H22"), gains.words(), strict=True):
                values[f"SMOOTH_{key}_{suffix}"] = word & 0xFFFFFFFF
        return values


@lru_cache(maxsize=64)
def track_setup(lab: Lab) -> TrackSetup:
    """Settings for ``lab``. LabError where it asks for clicks and cannot have them, or for times that do not fit together."""
    asked, reason = lab.tracking.source, None
    r = d = None
    try:
        r = _reference_channel(lab)
        d = _differential_channel(lab, r)
    except LabError as error:
        if asked == "clicks":
            raise
        reason = None if asked == "windows" else str(error).removeprefix(f"lab {lab.name}: ")
    nodes = _node_bits(lab, r, d)
    epoch = _epoch_bits(lab, r, nodes)
    nodes = tuple(min(max(bits, epoch), epoch + MOST_GROUP_BITS) for bits in nodes)  # type: ignore[assignment]
    source = "windows" if asked == "windows" or d is None else "clicks"
    return TrackSetup(
        source=source,
        reason=reason,
        epoch_bits=epoch,
        hold_clocks=hold_clocks(lab, epoch),
        every_bits=min(
            (1 << smoothing.EVERY_BITS) - 1, math.floor(math.log2(CLOCK_HZ / lab.tracking.record_rate_hz)) - epoch
        ),
        node_bits=nodes,
        channels=(r, d),
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


def gains_of(channel: ChannelSetup, bits: int) -> SmoothGains:
    """The smoother's gains for node steps of ``2^bits`` clocks."""
    return smooth_gains(
        diffusion_rad2_per_s=channel.diffusion_rad2_per_s,
        slope_noise_rad2_per_s3=channel.slope_noise_rad2_per_s3,
        fisher_hz=channel.light.fisher_hz,
        node_clocks=1 << bits,
    )


def _reference_channel(lab: Lab) -> ChannelSetup:
    settings = lab.tracking
    noise = settings.diffusion_r_rad2_per_s, settings.slope_noise_r_rad2_per_s3
    return _channel(lab, "psi_r", "r", reference_noise(lab), noise, blur_rad2=0.0)


def _differential_channel(lab: Lab, r: ChannelSetup) -> ChannelSetup:
    """psi_d is measured against the causal psi_r, whose error blurs its fringe."""
    settings = lab.tracking
    noise = settings.diffusion_d_rad2_per_s, settings.slope_noise_d_rad2_per_s3
    bits = settings.epoch_bits or min(node_bits(r.gain_hz), _most_epoch_bits(lab))
    blur = r.after(1.5 * (1 << bits) / CLOCK_HZ)
    return _channel(lab, "psi_d", "q", differential_noise(lab), noise, blur_rad2=blur)


def _channel(
    lab: Lab,
    phase: str,
    band: Band,
    noise: PhaseNoise,
    asked: tuple[float | None, float | None],
    *,
    blur_rad2: float,
) -> ChannelSetup:
    """LabError where the light does not tell the phase."""
    check_references(lab, band)
    light = reference_light(lab, band).blurred(blur_rad2)
    residual = lab.tracking.residual_rad or MOST_RESIDUAL_RAD
    where = f"lab {lab.name}: phase tracking of {phase} by clicks"
    try:
        found = design(noise, light.fisher_hz, least_rad2=LEAST_RAD2, most_rad2=MOST_RAD2)
        if found.mse_rad2 > residual**2:
            least = min(math.sqrt(found.mse_rad2), UNKNOWN_RAD)
            raise ValueError(
                f"{light.click_rate_hz:.3g} reference clicks per second of visibility {light.visibility:.3f} allow no residual below"
                f" {least:.3g} rad on this fibre (D = {noise.diffusion_rad2_per_s:.3g} rad^2/s, drift {noise.slope_rms_rad_per_s:.3g}"
                f" rad/s rms); allowed: {residual:.3g} rad: give more photons"
            )
        diffusion, slope_noise = (
            own if own is not None else value
            for own, value in zip(asked, (found.diffusion_rad2_per_s, found.slope_noise_rad2_per_s3), strict=True)
        )
        config = channel_config(
            diffusion_rad2_per_s=diffusion,
            slope_noise_rad2_per_s3=slope_noise,
            click_rate_hz=light.click_rate_hz,
            visibility=light.visibility,
            slope_rms_rad_per_s=noise.slope_rms_rad_per_s,
            information=light.information,
            v_gain=V_GAIN,
            detect=True,
            a_gain=A_GAIN if band == "r" and lab.tracking.adapt else 0,
        )
        channel = ChannelSetup(
            noise=noise,
            light=light,
            diffusion_rad2_per_s=diffusion,
            slope_noise_rad2_per_s3=slope_noise,
            mse_rad2=found.mse_rad2,
            config=config,
        )
        gains_of(channel, smoothing.BLOCK.bit_length() + tracking.EPOCH_LEAST)
    except (ValueError, OverflowError, ZeroDivisionError) as error:
        raise LabError(f"{where}: {error}") from error
    return channel


def _node_bits(lab: Lab, r: ChannelSetup | None, d: ChannelSetup | None) -> tuple[int, int]:
    """log2 of both node steps: by their gains, at most NODE_STEPS_APART_BITS apart, and short enough for the heralds that wait.

    Where they are too far apart the shorter one becomes longer: what a herald waits does not change, and the chord of a step h misses a
    slope walk by Q h^3/48 only.
    """
    waits_s = min(
        FREE * smoothing.PENDING_HERALDS / max(most_heralds_hz(lab), 1e-9), most_psi_s(lab, most_heralds_hz(lab))
    )
    longest_s = min(lab.tracking.most_lag_s, max(waits_s, 0.0))
    most = math.floor(math.log2(max(longest_s * CLOCK_HZ / (2 * smoothing.BLOCK), 1 << tracking.EPOCH_LEAST)))
    of_r = min(most, node_bits(r.gain_hz)) if r else tracking.EPOCH_BITS - 3
    of_d = min(most, node_bits(d.gain_hz)) if d else of_r
    return max(of_r, of_d - NODE_STEPS_APART_BITS), max(of_d, of_r - NODE_STEPS_APART_BITS)


def _most_epoch_bits(lab: Lab) -> int:
    """The longest epoch that still gives the records that are asked for."""
    return min(tracking.EPOCH_BITS, math.floor(math.log2(CLOCK_HZ / lab.tracking.record_rate_hz)))


def _epoch_bits(lab: Lab, r: ChannelSetup | None, nodes: tuple[int, int]) -> int:
    """E: at most 1/(8 K) of psi_r, as the causal psi is an epoch and a half old, a node step and a record's interval."""
    asked, most = lab.tracking.epoch_bits, _most_epoch_bits(lab)
    if asked is None:
        return max(tracking.EPOCH_LEAST, min(*nodes, most, node_bits(r.gain_hz) if r else most))
    if asked > most:
        raise LabError(
            f"lab {lab.name}: tracking.epoch_bits is {asked} with record_rate_hz of {lab.tracking.record_rate_hz:g}; allowed: at "
            f"most {most}, a record per epoch"
        )
    return asked
