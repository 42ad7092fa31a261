"""A correction for a client's emission, through its registers (docs/alignment.md, Emission)."""

from __future__ import annotations

from dataclasses import dataclass

from twinphase_spec.emission import SLOT_STEP

from .device import Device
from .errors import TwinphaseError


@dataclass(frozen=True, kw_only=True)
class EmissionCorrection:
    """From emission slot ``slot`` on pulse p - ``pulses`` in slot p, ``fraction_ticks`` late."""

    slot: int
    pulses: int
    fraction_ticks: int

    def apply(self, client: Device) -> None:
        """`correct_emission` with it."""
        correct_emission(client, slot=self.slot, pulses=self.pulses, fraction_ticks=self.fraction_ticks)


class CorrectionRefused(TwinphaseError):
    """The client has not taken a correction."""


def correct_emission(device: Device, *, slot: int, pulses: int, fraction_ticks: int) -> None:
    """From emission slot ``slot`` on (the next multiple of 8) the client emits pulse ``p - pulses`` in slot p, ``fraction_ticks`` late.

    The slot should lie the time of four requests ahead, and 4096 slots. Raises CorrectionRefused when the client has refused it,
    DeviceError when it does not answer, a value does not fit or the node is no client.
    """
    named = -(-slot // SLOT_STEP) * SLOT_STEP
    refused = device.read("EMIT_REFUSED")
    for name, value in (("EMIT_SLOT", named), ("EMIT_PULSES", pulses), ("EMIT_FRACTION", fraction_ticks)):
        device.write(name, value)
    if device.read("EMIT_REFUSED") != refused:
        raise CorrectionRefused(
            f"the client has refused to emit pulse p - {pulses}, {fraction_ticks} ticks late, from slot {named} on; allowed: slots 4096 "
            "and more ahead and 131072 behind the correction before, at most 16 that wait, changes of -4096 to 4095 pulses, fractions "
            "below a period"
        )
