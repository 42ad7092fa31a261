"""``[arms]`` of a lab file: when the light of each arm reaches the server, against its place on the server's grid (docs/alignment.md).

Everything is optional; arms that are left out stand still and their pulses meet.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from .tagger_parts import Part

DELAY_PS_PER_K_KM = 36.8
"""Of standard fibre: 6.8 ns/K per 185 km. Slavik et al., Proc. SPIE 11355, 1135507 (2020), have 40."""
PS_PER_S_PER_PPB = 1e3
DAY_S = 86_400.0
MOST_PPB = 1e4


class Arm(Part):
    """One arm and its client. Times are seconds after pulse 0; later arrival counts positive."""

    offset_ps: float = Field(default=0.0, ge=-1e9, le=1e9)
    """At pulse 0: the clock offset of the client and what its fibre is longer than configured."""
    kelvin_per_s: float = Field(default=0.0, ge=-1, le=1)
    """Steady warming of the whole arm."""
    day_kelvin: float = Field(default=0.0, ge=0, le=100)
    """Peak to peak of a daily sine, which is steepest at pulse 0."""
    walk_ps_per_sqrt_s: float = Field(default=0.0, ge=0, le=1e4)
    """Of a random walk: rms after a second."""
    clock_ppb: float = Field(default=0.0, ge=-MOST_PPB, le=MOST_PPB)
    """How much slower the client's clock is than the server's."""


class Arms(Part):
    """Both arms, and how long their pulses are."""

    a: Arm = Arm()
    b: Arm = Arm()
    pulse_fwhm_ps: float = Field(default=0.0, ge=0, le=1e5)
    """Of Gaussian pulses in intensity. Pulses that come dt apart interfere with ``exp(-dt^2 / (8 s^2))`` of the visibility, s =
    FWHM/2.355, and their clicks spread by s. 0: pulses of one place interfere in full, and clicks spread by the detectors alone."""

    align: bool = False
    """The virtual server searches for the arms' pulses and has the clients correct their emission from then on."""

    @property
    def still(self) -> bool:
        """Whether all pulses are in the middle of their places for ever."""
        return self.a == Arm() and self.b == Arm()

    @property
    def sigma_ps(self) -> float:
        """s, rms length of a pulse in intensity."""
        return self.pulse_fwhm_ps / math.sqrt(8 * math.log(2))

    def overlap(self, apart_ps: NDArray[np.float64]) -> NDArray[np.float64]:
        """Factor of the visibility of two pulses of one place that come ``apart_ps`` apart: overlap of their fields' amplitudes."""
        if not self.pulse_fwhm_ps:
            return np.ones(np.shape(apart_ps))
        return np.exp(-((apart_ps / self.sigma_ps) ** 2) / 8)
