"""The host's correction of a client's emission, with the model as its client."""

from __future__ import annotations

import pytest

from twinphase.emission import CorrectionRefused, correct_emission
from twinphase_sim.model.sift.emission import Correction, EmissionSchedule
from twinphase_spec.emission import APART_SLOTS


class ModelClient:
    """Registers EMIT_* of a client whose anchor stands at slot 1000."""

    def __init__(self) -> None:
        self.schedule = EmissionSchedule(lanes=8)
        self.values: dict[str, int] = {}

    def read(self, name: str) -> int:
        return {"EMIT_TAKEN": self.schedule.taken, "EMIT_REFUSED": self.schedule.refused}[name]

    def write(self, name: str, value: int) -> None:
        self.values[name] = value
        if name == "EMIT_FRACTION":
            slot, pulses, fraction = (self.values[key] for key in ("EMIT_SLOT", "EMIT_PULSES", "EMIT_FRACTION"))
            self.schedule.write(Correction(slot=slot, pulses=pulses, fraction=fraction), 1000)


def test_corrections_are_taken_or_said_to_be_refused() -> None:
    client = ModelClient()
    correct_emission(client, slot=9001, pulses=-7, fraction_ticks=3)  # type: ignore[arg-type]
    assert client.schedule.begins(0, 1 << 20) == [9008]
    for slot, pulses, fraction in ((9000 + APART_SLOTS, -7, 0), (1 << 20, 5000, 0), (1 << 20, -7, 1024)):
        with pytest.raises(
            CorrectionRefused, match=f"refused to emit pulse p - {pulses}, {fraction} ticks late, from slot {slot} on"
        ):
            correct_emission(client, slot=slot, pulses=pulses, fraction_ticks=fraction)  # type: ignore[arg-type]
    correct_emission(client, slot=1 << 20, pulses=-6, fraction_ticks=1023)  # type: ignore[arg-type]
    assert (client.schedule.taken, client.schedule.refused) == (2, 3)
