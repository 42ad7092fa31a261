"""Words about a node that falls silent, and comes back, while somebody waits for it."""

from __future__ import annotations

import time

from ..device import Device

NOTED_S = 2.0
"""Silence that is worth a word: a node sends something every 10 ms, a virtual one may think for a while."""


class SilenceNotes:
    """Asked often, it says once that a device has fallen silent and once that it is back."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._since_s: float | None = None

    def note(self) -> str:
        """For the end of a line: how long the silence is, if it is worth a word."""
        silent_s = self._device.silent_s
        return f", silent for {silent_s:.0f} s" if silent_s > NOTED_S else ""

    def news(self) -> str | None:
        """A sentence when the silence has begun or ended since the last call."""
        silent_s, now = self._device.silent_s, time.monotonic()
        if self._since_s is None and silent_s > NOTED_S:
            self._since_s = now - silent_s
            return f"{self._device.url} is silent: is the cable in, and the node powered? What it sends when it is back is taken"
        if self._since_s is not None and silent_s <= NOTED_S:
            gone_s, self._since_s = now - self._since_s, None
            return f"{self._device.url} is back after {gone_s:.1f} s"
        return None
