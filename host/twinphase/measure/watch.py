"""Takes a device's batches into a measurement for a stretch of node time, with updates for the eye in between."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from twinphase_spec.packets import Stream
from twinphase_spec.registers import NodeType
from twinphase_spec.units import TICKS_PER_SECOND

from ..batch import Batch
from ..device import Device
from ..errors import DeviceError
from .losses import RestartWatch, losses
from .silence import NOTED_S

PLOT_INTERVAL_S = 5.0


@dataclass
class Watched:
    """How far a measurement has come."""

    wanted_s: float | None = None
    node_seconds: float = 0.0
    tags: int = 0
    ended: str = "running"
    losses: dict[str, Any] = field(default_factory=dict)
    silent_s: float = 0.0
    """For how long nothing has come."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"node_seconds": self.node_seconds, "tags": self.tags, "ended": self.ended, "losses": self.losses}

    def title(self, *, tags: bool = True) -> str:
        """One line for a table's head, with or without the number of tags."""
        text = f"{self.node_seconds:.2f} s"
        if self.wanted_s is not None and self.ended == "running":
            text += f" of {self.wanted_s:g} s ({min(1.0, self.node_seconds / self.wanted_s):.0%})"
        if tags:
            text += f", {self.tags:,} tags"
        lost = self.losses.get("records", 0)
        return (
            text
            + (f", {lost:,} records lost" if lost else "")
            + (f", silent for {self.silent_s:.0f} s" if self.silent_s > NOTED_S else "")
            + (f" ({self.ended})" if self.ended != "running" else "")
        )


def check_tags(device: Device) -> None:
    """Raise DeviceError when the device sends no tags."""
    node = device.identity().node
    if node is NodeType.CLIENT:
        raise DeviceError(f"{device.url} is a client node, which has no tags: measure its server or a time tagger")
    if not device.read("STREAM_ENABLE") >> Stream.TAG & 1:
        raise DeviceError(
            f"{device.url} does not send its tags (bit {int(Stream.TAG)} of STREAM_ENABLE is 0): set the node up first, "
            "a time tagger with `twinphase tagger URL --config FILE`"
        )


def watch(
    device: Device,
    update: Callable[[Batch], object],
    *,
    seconds: float | None = None,
    interval_s: float = 0.5,
    stop: Callable[[], bool] = lambda: False,
    show: Callable[[Watched], object] = lambda state: None,
    plot: Callable[[], object] | None = None,
) -> Watched:
    """Feed ``update`` until ``seconds`` of node time have passed, the device ends or ``stop()``.

    ``show`` is called about every ``interval_s``, ``plot`` every 5 s and at the end. Of the last batch, tags beyond the time wanted
    are measured, too.
    """
    state = Watched(wanted_s=seconds, ended="device ended")
    first: int | None = None
    running = Watched(wanted_s=seconds)
    show_due = time.monotonic() + interval_s
    plot_due = time.monotonic() + PLOT_INTERVAL_S
    restart = RestartWatch(device)
    for batch in device.batches():
        if restart.restarted(batch):
            raise DeviceError(
                f"{device.url} has started anew after {state.node_seconds:.3f} s: its times begin again; set it up and measure again"
            )
        update(batch)
        tags = batch.get(Stream.TAG)
        state.tags += 0 if tags is None else len(tags)
        if batch.time_ticks is not None:
            first = batch.time_ticks if first is None else min(first, batch.time_ticks)
            state.node_seconds = (batch.time_ticks - first) / TICKS_PER_SECOND
        now = time.monotonic()
        if now >= show_due:
            show_due = now + interval_s
            running.node_seconds, running.tags, running.losses = state.node_seconds, state.tags, losses(device)
            running.silent_s = device.silent_s
            show(running)
        if plot is not None and now >= plot_due:
            plot()
            plot_due = time.monotonic() + PLOT_INTERVAL_S
        if seconds is not None and state.node_seconds >= seconds:
            state.ended = "time over"
            break
        if stop():
            state.ended = "stopped"
            break
    state.losses = losses(device)
    if plot is not None:
        plot()
    return state
