"""All measurements of the nodes of a pair at once, as the monitor shows them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.table import Table

from twinphase_spec.packets import Stream
from twinphase_spec.registers import NodeType
from twinphase_spec.units import TICKS_PER_SECOND

from ..batch import Batch
from ..device import Device
from ..errors import DeviceError
from ..transport.link_watch import LinkWatch, link_rows
from .channels import channel_name, channel_numbers
from .losses import losses, unexplained_edges
from .phase import Phase, window_seconds
from .qber import Qber, Role
from .rates import Rates
from .silence import NOTED_S
from .track_status import status_rows, track_status


class Overview:
    """Takes batches from several devices in turn: rates of each, phase of servers, QBER of the clients together.

    ``links``: of each device the watch of its link, where it has one.
    """

    def __init__(self, devices: Sequence[Device], links: Sequence[LinkWatch | None] = ()) -> None:
        self.devices = devices
        self.links = links or [None] * len(devices)
        self.rates = [Rates(node=device.identity().node) for device in devices]
        self.phases = [Phase(window_seconds(d)) if d.identity().node is NodeType.SERVER else None for d in devices]
        self.qber = Qber()
        self._roles: list[Role | None] = [
            ("bob" if d.read("ROLE") else "alice") if d.identity().node is NodeType.CLIENT else None for d in devices
        ]
        timeout_s = 0.1 / len(devices)
        self._sources: list[Iterator[Batch] | None] = [d.batches(timeout_s) for d in devices]
        self._counters: list[dict[str, int]] = [{} for _ in devices]
        self._epoch_bits = [_epoch_bits(d) for d in devices]
        self._times: list[tuple[int, int] | None] = [None for _ in devices]

    @property
    def node_seconds(self) -> float:
        """Longest node time watched."""
        return max((stop - start for start, stop in filter(None, self._times)), default=0) / TICKS_PER_SECOND

    def step(self) -> bool:
        """Take one batch from each device; False when all have ended."""
        for i, source in enumerate(self._sources):
            if source is not None:
                batch = next(source, None)
                if batch is None:
                    self._sources[i] = None
                else:
                    self._update(i, batch)
        return any(source is not None for source in self._sources)

    def _update(self, i: int, batch: Batch) -> None:
        if batch.time_ticks is not None:
            known = self._times[i]
            self._times[i] = (known[0] if known else batch.time_ticks, batch.time_ticks)
        self.rates[i].update(batch)
        phase, role = self.phases[i], self._roles[i]
        if phase is not None:
            phase.update(batch)
        if role is not None and Stream.SIFTED in batch.records:
            self.qber.update(role, batch[Stream.SIFTED])
        status = batch.get(Stream.STATUS)
        if status is not None:
            self._counters[i] = {name: int(status[name][-1]) for name in status.dtype.names or ()}

    def as_dict(self) -> dict[str, Any]:
        """For JSON: ``node_seconds``, ``qber`` and one entry per device."""
        return {
            "node_seconds": self.node_seconds,
            "qber": self.qber.as_dict() if any(self._roles) else None,
            "devices": [self._device(i) for i in range(len(self.devices))],
        }

    def _device(self, i: int) -> dict[str, Any]:
        device, phase, counters = self.devices[i], self.phases[i], self._counters[i]
        node = device.identity().node
        return {
            "url": device.url,
            "node": self._roles[i] or node.name.lower(),
            "channels": [channel_name(number, node) for number in channel_numbers(node)],
            "rates_hz": self.rates[i].per_second(),
            "totals": dict(self.rates[i].totals),
            "phase": phase.as_dict() if phase else None,
            "losses": losses(device),
            "silent_s": device.silent_s,
            "advice": device.advice,
            "unexplained_edges": sum(unexplained_edges(counters).values())
            if node is not NodeType.CLIENT and counters
            else None,
            "track": track_status(counters, self._epoch_bits[i]),
            "counters": counters,
            "link": link.state() if (link := self.links[i]) else None,
        }


def _epoch_bits(device: Device) -> int:
    """Of a server; 0 where there is none to be read."""
    if device.identity().node is not NodeType.SERVER:
        return 0
    try:
        return device.read("TRACK_EPOCH")
    except DeviceError:  # a recording from before there was such a register
        return 0


def table(overview: dict[str, Any]) -> Table:
    """The overview for a terminal."""
    view = Table(title=f"{overview['node_seconds']:.1f} s", show_header=False, title_justify="left")
    view.add_column(style="bold")
    view.add_column()
    for device in overview["devices"]:
        view.add_section()
        view.add_row(device["node"], device["url"])
        rates = device["rates_hz"]
        clicks = [f"{name} {rates[name]:,.0f}" for name in device["channels"] if name in rates]
        streams = [f"{name} {rate:,.0f}" for name, rate in rates.items() if name not in device["channels"]]
        view.add_row("clicks/s", "  ".join(clicks) or "-")
        view.add_row("records/s", "  ".join(streams) or "-")
        if (phase := device["phase"]) is not None:
            values = [
                f"{label} {phase[key] * scale:.3f}{unit}"
                for label, key, scale, unit in (
                    ("psi_r", "psi_r_rad", 1, " rad"),
                    ("psi_d", "psi_d_rad", 1, " rad"),
                    ("drift", "drift_rad_per_s", 1e-3, " rad/ms"),
                    ("visibility", "visibility", 1, ""),
                )
                if phase[key] is not None
            ]
            view.add_row("phase", "  ".join(values) or "-")
        for name, text, locked in status_rows(device["track"]):
            view.add_row(name, text, style=None if locked else "red")
        if device["unexplained_edges"]:
            view.add_row(
                "edges", f"{device['unexplained_edges']} unexplained: the node's books do not balance", style="red"
            )
        lost = device["losses"]
        text = f"{lost['records']} records ({lost['node_records']} in the node), {lost['packets']} packets, "
        text += f"{lost['damaged_packets']} damaged, {lost['silences']} silences"
        text += "".join(f", {place} {count}" for place, count in lost["transport"].items() if count)
        trouble = lost["records"] or lost["packets"] or lost["damaged_packets"] or lost["silences"]
        view.add_row("losses", text, style="red" if trouble else None)
        if device["silent_s"] > NOTED_S:
            view.add_row(
                "silent", f"for {device['silent_s']:.0f} s: is the cable in, and the node powered?", style="red"
            )
        for sentence in device["advice"]:
            view.add_row("advice", sentence)
        for name, text, well in link_rows(device["link"]) if device["link"] else ():
            view.add_row(name, text, style=None if well else "red")
    if (qber := overview["qber"]) is not None:
        view.add_section()
        if qber["x_qber"] is not None:
            low, high = qber["x_qber_ci95"]
            x = f"{100 * qber['x_qber']:.2f} % ({100 * low:.2f} to {100 * high:.2f} %, {qber['x_events']} events)"
        else:
            x = "no X events yet"
        view.add_row("X-QBER", x)
        if qber["z_error_raw"] is not None:
            view.add_row("raw Z error", f"{100 * qber['z_error_raw']:.2f} % of {qber['z_compared']} heralds")
    return view
