"""The figures of a run. Their names are the keys of ``summary.json`` and stay stable."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What one run showed. Rates per second of lab time; phases in radians; nan where the run had no event."""

    lab: str
    lab_seconds: float
    wall_seconds: float
    cycles_per_second: float
    """Clocks of all nodes that were covered per second of wall time, skipped ones included."""
    clicks: dict[str, int]
    """Detector clicks that the physics made, per channel."""
    tags: dict[str, int]
    """Tags that reached the host, per channel."""
    losses: dict[str, int]
    """Records lost per node and stream, as counted by the nodes and the host."""
    unexplained_losses: int
    """Clicks that are neither a tag nor in a counter for what removed them."""
    words_compared: int
    """32-bit words received by the host that were compared with the reference model."""
    mismatches: int
    psi_rms_rad: float
    """RMS of psi_q at the heralds minus the physics' phase."""
    psi_rms_expected_rad: float
    """The same from the estimator's formula."""
    heralds_per_second: float
    heralds_per_second_expected: float
    z_error_raw: float
    z_error_after_pairing: float
    """Upper end of the 95 % interval of the Z error after AOPP."""
    x_events: int
    """X events kept by the slice test."""
    x_qber: float
    x_qber_ci95: tuple[float, float]
    x_qber_expected: float
    key_rate_per_slot: float
    """SNS with AOPP, asymptotic, at the measured noise; may be negative; not a security proof."""
    plob_per_slot: float
    plob_per_slot_with_detectors: float
    psi_source: str = "windows"
    """Where the heralds' psi came from: clicks or windows."""
    psi_estimates: list[dict[str, Any]] = field(default_factory=list)
    """Each estimate of the same phase at the same heralds: name, error against the truth, bound, X events it would keep, their errors."""
    details: dict[str, Any] = field(default_factory=dict)
    """Further figures for the page; not part of the stable keys."""

    def to_json(self) -> str:
        """JSON text; nan becomes null."""
        return json.dumps(_clean(asdict(self)), indent=2) + "\n"

    def write(self, path: Path) -> None:
        """Writes the JSON text."""
        path.write_text(self.to_json(), encoding="utf-8")


def _clean(value: Any) -> Any:
    match value:
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {str(key): _clean(entry) for key, entry in value.items()}
        case list() | tuple():
            return [_clean(entry) for entry in value]
        case int() | str() | bool() | None:
            return value
        case _:
            return _clean(value.item())
