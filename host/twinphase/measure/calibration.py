"""A time tagger's calibration read through its registers: a copy of each delay line, its state, and what is wrong with it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from twinphase_spec.registers import CHANNELS, NodeType
from twinphase_spec.tdc import SIGMA_SHIFT, code_bits
from twinphase_spec.units import CLOCK_HZ

from ..device import Device, PacketDevice
from ..errors import DeviceError
from .linearity import Linearity, linearities

FRONT_ENDS = ("simulation", "DDR", "oversampling", "delay line")
DELAY_LINE = 3
CALIBRATED, NONUNIFORM, SCALE_LIMIT, BUSY, LEVEL = (1 << bit for bit in range(5))
"""Bits of CAL_STATUS."""
DUMP_TIMEOUT_S = 2.0


@dataclass(frozen=True, kw_only=True)
class ChannelCalibration:
    """One channel of a time tagger with a delay line."""

    channel: int
    enabled: bool
    status: int
    scale: float
    """Common scale of chain 0 on top of the table, less 1."""
    edges: int
    """Hits that came while the channel was watched."""
    watched_s: float
    from_oscillator: bool
    step_hits: int
    """Hits that a table takes."""
    chains: tuple[tuple[Linearity, ...], ...]
    """Per chain the polarities in use."""

    @property
    def faults(self) -> list[str]:
        """What is wrong, one sentence each, most serious first."""
        found = []
        where = f"channel {self.channel}"
        if not self.enabled:
            return [f"{where} is disabled: its edges are not tagged"]
        if not self.edges:
            source = "the test oscillator" if self.from_oscillator else "its pin"
            if self.status & LEVEL and not self.from_oscillator:
                found.append(f"{where} is stuck: its pin is high and gave no edge in {self.watched_s:.3g} s")
            else:
                found.append(f"{where} is dead: no edge came from {source} in {self.watched_s:.3g} s")
        hits = min((sum(line.hits for line in chain) for chain in self.chains), default=0)
        if self.status & NONUNIFORM:
            found.append(
                f"{where}: hits are not evenly spread over the TDC clock, and its calibration stays as it was: calibrate with "
                "light, or with a source that does not run at a multiple of the clock, and hold it for light that does"
            )
        if not self.status & CALIBRATED:
            enough = f"{hits} of {self.step_hits} hits" if hits < self.step_hits else "a table is due"
            found.append(f"{where} is not calibrated and gives no tags: {enough}")
        if self.status & SCALE_LIMIT:
            found.append(
                f"{where}: the scale is at its limit, times are wrong: the line has drifted too far from its table"
            )
        return found

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "channel": self.channel,
            "enabled": self.enabled,
            "calibrated": bool(self.status & CALIBRATED),
            "refused": bool(self.status & NONUNIFORM),
            "scale_limit": bool(self.status & SCALE_LIMIT),
            "busy": bool(self.status & BUSY),
            "level": bool(self.status & LEVEL),
            "scale": self.scale,
            "edges": self.edges,
            "watched_s": self.watched_s,
            "faults": self.faults,
            "chains": [[line.as_dict() for line in chain] for chain in self.chains],
        }


def check_tagger(device: Device) -> None:
    """Raise DeviceError unless the device is a time tagger."""
    node = device.identity().node
    if node is not NodeType.TIMETAGGER:
        raise DeviceError(
            f"{device.url} is a {node.name.lower()} node, no time tagger: give the address of a time tagger"
        )


def _live(device: Device) -> PacketDevice:
    node = device.identity().node
    if node not in (NodeType.TIMETAGGER, NodeType.SERVER):
        raise DeviceError(
            f"{device.url} is a {node.name.lower()} node, no time tagger: give the address of a time tagger or a server"
        )
    if not isinstance(device, PacketDevice):
        raise DeviceError(f"{device.url} is a recording: it holds no calibration; give the address of the device")
    return device


def read_calibration(
    device: Device, channels: Sequence[int] | None = None, *, watch_s: float = 0.2
) -> list[ChannelCalibration]:
    """The calibration of the channels (all, if None); their edges are counted over ``watch_s`` of node time.

    A server node's channels are 0 to 3 (qL, qR, rL, rR).

    Raises DeviceError when the device is neither time tagger nor server, is a recording, has no delay line or no such channel,
    or does not copy.
    """
    tagger = _live(device)
    front_end = tagger.read("FRONTEND")
    chains, taps = tagger.read("CHAINS"), tagger.read("TAPS")
    server = tagger.identity().node is NodeType.SERVER
    count, lanes = (len(CHANNELS), 1) if server else (tagger.read("CHANNELS"), tagger.read("LANES"))
    if front_end != DELAY_LINE or not chains:
        kind = FRONT_ENDS[front_end] if front_end < len(FRONT_ENDS) else f"front end {front_end}"
        raise DeviceError(f"{device.url} has no delay line to calibrate: its front end is {kind}")
    chosen = range(count) if channels is None else channels
    for channel in chosen:
        if not 0 <= channel < count:
            raise DeviceError(f"{device.url} has no channel {channel}; allowed: 0 to {count - 1}")
    before, after, watched_s = _watch(tagger, watch_s)
    enable, source, shared = (tagger.read(name) for name in ("CHANNEL_ENABLE", "CAL_SOURCE", "CAL_SHARED"))
    step = tagger.read("CAL_STEP")
    return [
        ChannelCalibration(
            channel=c,
            enabled=bool(enable >> c & 1),
            status=tagger.read(f"CAL_STATUS_{c}"),
            scale=tagger.read(f"SCALE_{c}") / (1 << SIGMA_SHIFT),
            edges=sum(
                (after[name] - before[name]) % (1 << 64)
                for kind in ("seen", "uncalibrated")
                for name in (f"{kind}_{CHANNELS[c] if server else c}",)
            ),
            watched_s=watched_s,
            from_oscillator=bool(source >> c & 1),
            step_hits=1 << step,
            chains=tuple(
                tuple(_copy(tagger, c * chains + h, taps=taps, lanes=lanes, shared=bool(shared))) for h in range(chains)
            ),
        )
        for c in chosen
    ]


def _copy(tagger: PacketDevice, line: int, *, taps: int, lanes: int, shared: bool) -> list[Linearity]:
    """Let the node copy one delay line and read the copy."""
    tagger.write("CAL_SELECT", line)
    before = tagger.read("CAL_DUMPS")
    tagger.write("CAL_DUMP", 1)
    deadline = time.monotonic() + DUMP_TIMEOUT_S
    while tagger.read("CAL_DUMPS") == before:
        if time.monotonic() > deadline:
            raise DeviceError(
                f"{tagger.url} did not copy delay line {line} within {DUMP_TIMEOUT_S:g} s: is its calibrator in reset?"
            )
        time.sleep(0.0005)
    return linearities(tagger.read_memory("CAL_BINS", 0, 4 << code_bits(taps)), taps=taps, lanes=lanes, shared=shared)


def _watch(tagger: PacketDevice, watch_s: float) -> tuple[dict[str, int], dict[str, int], float]:
    """Counters before and after ``watch_s`` of node time, and how long it was. Taking batches lets a virtual node run on."""
    before = after = tagger.counters()
    batches = tagger.batches(0.02)
    deadline = time.monotonic() + 20 * watch_s + 5
    while (passed := ((after["clock"] - before["clock"]) % (1 << 64)) / CLOCK_HZ) < watch_s:
        if time.monotonic() > deadline or next(batches, None) is None:
            break
        after = tagger.counters()
    if not passed:
        raise DeviceError(f"{tagger.url}: node time stands still: is its clock running?")
    return before, after, passed
