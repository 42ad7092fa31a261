"""One channel of a server's phase tracking from a lab: what moves its phase, its light, and the filter made for both (docs/phase.md)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from . import smoothing, tracking
from .cold_start import noisy_offset, start_variance, steady_offset, unknown_offset
from .fringe_phases import Band, steered, step_parts
from .lab import Lab, LabError
from .lab_tracking import MOST_RESIDUAL_RAD
from .phase_noise_design import LoopDesign, PhaseNoise, design, differential_noise, reference_noise, smoothed_mse
from .reference_light import ReferenceLight, check_references, reference_light
from .smooth_lag import epoch_bits, settling_hz
from .smoothing import SmoothGains, smooth_gains, steady_covariance
from .tracking_config import LEAST_GAIN, ChannelConfig, channel_config, dark_clocks
from .units import CLOCK_HZ

V_GAIN = 8
"""The visibility follows with the time constant of some 25 000 clicks and a noise of 0.002."""
A_GAIN = 1
"""Adapting gains settle within some hundred time constants, 10 ms of psi_r, 0.5 s of psi_d; costs 0.3 % of the error where D and Q were
right."""
GAIN_UNIT_RAD2 = 2 * math.pi * 2.0**-tracking.Q_FRACTION
LEAST_RAD2, MOST_RAD2 = 1.01 * LEAST_GAIN * GAIN_UNIT_RAD2, 0.99 * tracking.Q_MAX * GAIN_UNIT_RAD2
UNKNOWN_RAD = math.pi / math.sqrt(3)
"""Error of a guess."""
STEERED_ROUNDS = 4
"""Light steered within an error, and the error of a loop under that light: a round changes the error by a tenth of the last or less."""


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
    def settling_hz(self) -> float:
        """Rate at which the filter forgets, K/2 to K."""
        return settling_hz(self.diffusion_rad2_per_s, self.slope_noise_rad2_per_s3, self.light.fisher_hz)

    @property
    def smoothed_mse_rad2(self) -> float:
        """Error of the smoothed phase on the lab's own, lines among them, trucks not."""
        return smoothed_mse(
            self.noise,
            diffusion_rad2_per_s=self.diffusion_rad2_per_s,
            slope_noise_rad2_per_s3=self.slope_noise_rad2_per_s3,
            fisher_hz=self.light.fisher_hz,
        )

    def turning(self, epoch_bits: int) -> ChannelSetup:
        """With what is judged at the turns of epochs of 2^E clocks."""
        dark = dark_clocks(self.light.click_rate_hz, epoch_bits)
        return replace(self, config=replace(self.config, dark=dark))

    def after(self, delay_s: float) -> float:
        """Error in rad^2 of the estimate carried on by ``delay_s``."""
        p11, p12, p22 = self.covariance
        walk = self.diffusion_rad2_per_s * delay_s + self.slope_noise_rad2_per_s3 * delay_s**3 / 3
        return p11 + 2 * delay_s * p12 + delay_s**2 * p22 + walk


def gains_of(channel: ChannelSetup, bits: int) -> SmoothGains:
    """The smoother's gains for node steps of ``2^bits`` clocks."""
    return smooth_gains(
        diffusion_rad2_per_s=channel.diffusion_rad2_per_s,
        slope_noise_rad2_per_s3=channel.slope_noise_rad2_per_s3,
        fisher_hz=channel.light.fisher_hz,
        node_clocks=1 << bits,
    )


def reference_channel(lab: Lab) -> ChannelSetup:
    settings = lab.tracking
    noise = settings.diffusion_r_rad2_per_s, settings.slope_noise_r_rad2_per_s3
    actuator = lab.actuator

    def offsets(span_s: float) -> NDArray[np.float64]:
        """What the actuator may take off, and how far it goes meanwhile; without one nothing."""
        if actuator is None or not actuator.on:
            return steady_offset()
        return unknown_offset(actuator.seek_turns_per_s * span_s)

    return _channel(lab, "psi_r", "r", reference_noise(lab), noise, offsets, blur_rad2=0.0)


def differential_channel(lab: Lab, r: ChannelSetup) -> ChannelSetup:
    """psi_d is measured against the causal psi_r, whose error blurs its fringe."""
    settings = lab.tracking
    noise = settings.diffusion_d_rad2_per_s, settings.slope_noise_d_rad2_per_s3
    bits = settings.epoch_bits or min(epoch_bits(r.gain_hz), most_epoch_bits(lab))
    blur = r.after(1.5 * (1 << bits) / CLOCK_HZ)

    def offsets(span_s: float) -> NDArray[np.float64]:
        """psi_r that the reference holds: moving with the fibre, or at the lock point."""
        if lab.actuator is not None and lab.actuator.on:
            return noisy_offset(lab.actuator.lock_deg / 360, math.sqrt(blur) / (2 * math.pi))
        return unknown_offset(r.noise.slope_rms_rad_per_s * span_s / (2 * math.pi))

    return _channel(lab, "psi_d", "q", differential_noise(lab), noise, offsets, blur_rad2=blur)


def _channel(
    lab: Lab,
    phase: str,
    band: Band,
    noise: PhaseNoise,
    asked: tuple[float | None, float | None],
    offsets: Callable[[float], NDArray[np.float64]],
    *,
    blur_rad2: float,
) -> ChannelSetup:
    """``offsets``: of the reference during a cold start that takes so long, in turns (`cold_start`). LabError where the light does not
    tell the phase."""
    check_references(lab, band)
    residual = lab.tracking.residual_rad or MOST_RESIDUAL_RAD
    where = f"lab {lab.name}: phase tracking of {phase} by clicks"
    try:
        light, found = _light_and_loop(lab, band, noise, blur_rad2)
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
        span_s = tracking.START_CLICKS / light.click_rate_hz
        config = channel_config(
            diffusion_rad2_per_s=diffusion,
            slope_noise_rad2_per_s3=slope_noise,
            click_rate_hz=light.click_rate_hz,
            visibility=light.visibility,
            slope_rms_rad_per_s=noise.slope_rms_rad_per_s,
            information=light.information,
            v_gain=V_GAIN,
            detect=True,
            a_gain=A_GAIN if lab.tracking.adapt else 0,
            start_rad2=start_variance(light.visibility, np.array(step_parts(lab, band)), offsets(span_s)),
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


def _light_and_loop(lab: Lab, band: Band, noise: PhaseNoise, blur_rad2: float) -> tuple[ReferenceLight, LoopDesign]:
    """The light, seen with a reference that is unsure by ``blur_rad2``, and the best loop under it. Steered light and the loop's error
    depend on each other."""
    error_rad = 0.0
    for _ in range(STEERED_ROUNDS if steered(lab, band) else 1):
        light = reference_light(lab, band, error_rad).blurred(blur_rad2)
        found = design(noise, light.fisher_hz, least_rad2=LEAST_RAD2, most_rad2=MOST_RAD2)
        error_rad = min(math.sqrt(found.mse_rad2), UNKNOWN_RAD)
    return light, found


def most_epoch_bits(lab: Lab) -> int:
    """The longest epoch that still gives the records that are asked for."""
    return min(tracking.EPOCH_BITS, math.floor(math.log2(CLOCK_HZ / lab.tracking.record_rate_hz)))
