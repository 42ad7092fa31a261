"""How long reveals take: from a herald to what a client tells the other of it, and to its sifted word."""

from __future__ import annotations

from typing import Any

import numpy as np

from twinphase_spec.packets import Stream
from twinphase_spec.sns import Kind
from twinphase_spec.units import TICKS_PER_CLOCK, TICKS_PER_SECOND

from ..batch import Batch
from ..device import Device
from .blocks import Block

STEPS = {Kind.TYPES: "types", Kind.INTENSITY: "intensities", Kind.SLICE: "slices"}
SIFTED = "sifted"


class RevealLatency:
    """Of one client, for each closed block, in its own time::

        t - (START_CLOCK 8192 + n P)

    n is the pulse of the block's last herald, t when the packet with the DONE of a step, or with the last SIFTED word, was closed;
    besides, for every herald of the block, n is its own pulse and t that of the last word. A pulse's time is the one at which the client
    emits it, so the light's flight and the herald's way back are part of it, and a block that fills slowly makes the second kind
    long, not the first.
    """

    def __init__(self, device: Device, block_heralds: int) -> None:
        self._device, self._block_heralds = device, block_heralds
        self._grid: tuple[int, int] | None = None
        """Start of the client's frame in ticks, and its period in 2^-32 tick; read once, at the first closed block."""
        self._closed_at: dict[int, dict[str, int]] = {}
        self._from_last: list[list[float]] = []
        """Milliseconds to each step of a block, and to its sifted words."""
        self._from_own: list[tuple[float, float]] = []
        """Median and largest of its heralds, in milliseconds."""

    def update(self, batch: Batch) -> None:
        """Takes what the client has sent."""
        if (records := batch.get(Stream.PEER)) is not None:
            done = np.flatnonzero((records["kind"] == Kind.DONE) & np.isin(records["value"], list(STEPS)))
            for record, ticks in zip(records[done], batch.packet_ticks[Stream.PEER][done].tolist(), strict=True):
                self._note(int(record["number"]), STEPS[Kind(int(record["value"]))], ticks)
        if (records := batch.get(Stream.SIFTED)) is not None:
            block = records["number"].astype(np.int64) // self._block_heralds
            ticks = batch.packet_ticks[Stream.SIFTED]
            for number in np.unique(block).tolist():
                self._note(number, SIFTED, int(ticks[block == number].max()))

    def _note(self, block: int, step: str, ticks: int) -> None:
        self._closed_at.setdefault(block, {})[step] = ticks

    def add(self, block: Block, closed: bool) -> None:
        """Takes a block that was handed out; one that is not closed, or of which something was not seen, is left out."""
        times = self._closed_at.pop(block.number, {})
        for older in [number for number in self._closed_at if number < block.number]:
            del self._closed_at[older]
        pulse = block.pulse[block.pulse >= 0]
        if not closed or not pulse.size or len(times) <= len(STEPS):
            return
        if self._grid is None:
            self._grid = self._device.read("START_CLOCK") * TICKS_PER_CLOCK, self._device.read("PERIOD")
        (start, period_q32), last = self._grid, int(pulse.max())
        emitted = start + (last * period_q32 >> 32)
        to_ms = 1e3 / TICKS_PER_SECOND
        after = [(times[step] - emitted) * to_ms for step in (*STEPS.values(), SIFTED)]
        own = after[-1] + (last - pulse) * (period_q32 / 2**32 * to_ms)
        self._from_last.append(after)
        self._from_own.append((float(np.median(own)), float(own.max())))

    def as_dict(self) -> dict[str, Any] | None:
        """``blocks``, and ``median_ms`` and ``largest_ms`` of each step after a block's last herald and of ``herald_to_sifted``, whose
        median is that of the blocks' medians. None before the first block."""
        if not self._from_last:
            return None
        after, own = np.array(self._from_last), np.array(self._from_own)
        steps = {
            step: {"median_ms": float(np.median(of_step)), "largest_ms": float(of_step.max())}
            for step, of_step in zip((*STEPS.values(), SIFTED), after.T, strict=True)
        }
        whole = {"median_ms": float(np.median(own[:, 0])), "largest_ms": float(own[:, 1].max())}
        return {"blocks": len(after), "after_last_herald": steps, "herald_to_sifted": whole}
