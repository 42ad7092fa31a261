"""``[tracking]`` of a lab file: how the server follows the phase. Everything is optional; what is left out is derived (`track_setup`)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .smoothing import HOLD_BITS, MOST_LAG_S
from .tagger_parts import Part
from .tracking import EPOCH_BITS, EPOCH_LEAST

LEAST_RECORD_RATE_HZ = 1e4
MOST_RESIDUAL_RAD = 0.4
"""A causal error above this slips by whole turns too often to be called tracked: at 0.16 rad^2 a loop of 1e4/s once in minutes
(Viterbi, Proc. IEEE 51, 1737 (1963))."""

Noise = Annotated[float, Field(ge=0, le=1e18)]


class Tracking(Part):
    """Settings of the click tracker."""

    source: Literal["clicks", "windows"] | None = None
    """Where the psi of heralds comes from: single clicks, or the angles of estimation windows. Without it clicks, where the lab's light
    allows that; a lab that asks for clicks and has too few is refused."""
    residual_rad: float | None = Field(default=None, gt=0, le=MOST_RESIDUAL_RAD)
    """Largest causal error (RMS) that psi_r and psi_d may have by the photon budget; without it MOST_RESIDUAL_RAD."""
    epoch_bits: int | None = Field(default=None, ge=EPOCH_LEAST, le=EPOCH_BITS)
    """E: an epoch has 2^E clocks."""
    hold_clocks: int | None = Field(default=None, ge=1, lt=1 << HOLD_BITS)
    """Clocks from a click to its way into the tracker."""
    record_rate_hz: float = Field(default=LEAST_RECORD_RATE_HZ, ge=LEAST_RECORD_RATE_HZ, le=2e5)
    """Least number of TRACK records per second and channel."""
    most_lag_s: float = Field(default=10e-3, gt=0, le=MOST_LAG_S)
    """Longest time that a herald may wait for its smoothed psi; its gain asks for 5.2/K to 12.3/K (smooth_lag)."""
    adapt: bool = True
    """The gains of psi_r and psi_d follow what their clicks say of them, so that D and Q need not be right, and the smoother's those."""
    announce_all: bool = False
    """Whether heralds that find the psi queue full are announced without psi, and not refused. Clients that do not keep up then stand
    once their rings are full: for servers whose heralds are counted or sifted elsewhere."""
    ports: Literal["told", "measured"] = "told"
    """Where the angles of the reference steps (STEP_R_k) come from: efficiencies and dead times of the lab file's detectors, or a
    measurement of the server's clicks before the run; until then they are those of equal ports."""
    diffusion_r_rad2_per_s: Noise | None = None
    """D of psi_r; the same for the three below: of psi_d, and Q of both."""
    diffusion_d_rad2_per_s: Noise | None = None
    slope_noise_r_rad2_per_s3: Noise | None = None
    slope_noise_d_rad2_per_s3: Noise | None = None
