"""Light at the server: levels of the users' pulses, arms, beam splitter.

``I_L,R = efficiency ((eta_A k_A + eta_B k_B) / 2 +- V sqrt(eta_A k_A eta_B k_B) cos(theta))``,
``theta = thetaA - thetaB + phi``; a coherent pulse makes its detector click with ``1 - exp(-I)``, independently of the other
port (docs/physics.md, "Clicks at the server").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, overload

import numpy as np
from numpy.typing import NDArray

from twinphase_spec.frame import SlotClass
from twinphase_spec.lab import Client, Detector, Lab
from twinphase_spec.registers import CHANNELS
from twinphase_spec.symbols import Level

Band = Literal["q", "r"]
REFERENCE_STEPS = (SlotClass.REF0, SlotClass.REF1, SlotClass.REF2, SlotClass.REF3)
LEFT, RIGHT = 1, -1


def level_photons(client: Client, band: Band) -> NDArray[np.float64]:
    """Mean photons at the client's output for every `Level`; that of VAC is a vacuum symbol's, in SIG slots only."""
    photons = np.zeros(len(Level))
    photons[Level.VAC] = client.mu_0 if band == "q" else 0.0
    photons[Level.MU_1], photons[Level.MU_2], photons[Level.MU_Z] = client.mu_1, client.mu_2, client.mu_z
    photons[Level.REF] = client.reference_q if band == "q" else client.reference_r
    return photons


@dataclass(frozen=True, kw_only=True)
class Port:
    """One output of a band's beam splitter with its detector. ``sign``: LEFT (bright at theta = 0) or RIGHT."""

    channel: int
    sign: int
    detector: Detector
    visibility: float

    @overload
    def intensity(self, a: float, b: float, cosine: float) -> float: ...
    @overload
    def intensity(
        self, a: NDArray[np.float64], b: NDArray[np.float64], cosine: NDArray[np.float64]
    ) -> NDArray[np.float64]: ...
    def intensity(self, a, b, cosine):  # type: ignore[no-untyped-def]
        """Mean detected photons of a pulse; a, b: photons that arrive from either arm; cosine: cos(theta)."""
        return self.detector.efficiency * ((a + b) / 2 + self.sign * self.visibility * np.sqrt(a * b) * cosine)


def ports(lab: Lab, band: Band) -> tuple[Port, Port]:
    """L and R of a band. SWAP exchanges detectors in the sifting, so the swapped lab's L light falls on the channel R."""
    swap = lab.server.swap_q if band == "q" else lab.server.swap_r
    names = (f"{band}R", f"{band}L") if swap else (f"{band}L", f"{band}R")
    left, right = (
        Port(
            channel=CHANNELS.index(name),
            sign=sign,
            detector=getattr(lab.detectors, name),
            visibility=lab.lasers.visibility,
        )
        for name, sign in zip(names, (LEFT, RIGHT), strict=True)
    )
    return left, right
