"""Live windows: what gateware, model and host share (docs/live.md)."""

from __future__ import annotations

RECOVERY_BITS = 16
"""Of RECOVERY_PULSES, pulses after that of a click that are not live; 0: all are, and no runs are recorded."""
RUN_LIMIT = (1 << 32) - (1 << RECOVERY_BITS + 1)
"""A run is shorter, in pulses."""
SILENT_HEARTBEATS = 6
"""A run is closed at the sixth heartbeat tick after its last click, if no click closes it before."""
