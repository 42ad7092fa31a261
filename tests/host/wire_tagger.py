"""A time tagger on a network of the kernel: its gateware, and what a host makes of its stream when it knows what should be in it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from wire_bench import NODE_IP, TIMER_HZ

from twinphase.transport.udp import UdpDevice
from twinphase_hdl.link.ethernet import Address
from twinphase_hdl.link.ethernettop import gmii_verilog
from twinphase_hdl.link.liteethcore import CoreOptions
from twinphase_hdl.nodes.timetagger import TimeTaggerNode
from twinphase_hdl.nodes.udp import UdpNode
from twinphase_sim.ethernet.tap import Tap
from twinphase_sim.native.wire import NativeWire
from twinphase_spec.packets import Stream
from twinphase_spec.units import TICKS_PER_CLOCK

URL = f"udp://{NODE_IP}"
ADDRESS = Address(ip=NODE_IP)
MAC = bytes.fromhex(ADDRESS.mac.replace(":", ""))
CHANNELS = 4
PERIOD = 100
"""Clocks between two edges of the test pulser, which each channel gets: 1 tag in 25 clocks in all."""
ALL = (1 << CHANNELS) - 1
STREAMS = 1 << Stream.TAG | 1 << Stream.STATUS


@lru_cache(maxsize=1)
def tagger_verilog() -> str:
    """With an Ethernet core, as module ``native``."""
    tagger = TimeTaggerNode(channels=CHANNELS, frontend="simulation", lanes=1)
    core = CoreOptions(timer_hz=TIMER_HZ)
    return gmii_verilog(UdpNode(tagger, address=ADDRESS, net_hz=TIMER_HZ), options=core, address=ADDRESS)


def tagger_wire() -> NativeWire:
    """It, Verilated and just reset."""
    return NativeWire(tagger_verilog(), title="a time tagger on Ethernet")


@contextmanager
def opened(tap: Tap, query: str = "", *, address: str = NODE_IP) -> Iterator[UdpDevice]:
    """The node as the host behind ``tap`` opens it, with ``query`` behind its address. On a bad line a lost ARP answer costs a second
    here: more tries than usual."""
    with tap.namespace.entered():
        device = UdpDevice(f"udp://{address}{query}", tries=40)
    with device:
        yield device


def start_pulser(device: UdpDevice) -> None:
    """Tags of all channels at once, every PERIOD clocks."""
    for name, value in (
        *(("PULSER_PERIOD", PERIOD), ("PULSER_MASK", ALL), ("CHANNEL_ENABLE", ALL)),
        ("STREAM_ENABLE", STREAMS),
    ):
        device.write(name, value)


@dataclass
class Received:
    """Tags as the host has them, and the place of each in the whole stream as the gaps tell."""

    ticks: list[np.ndarray] = field(default_factory=list)
    channels: list[np.ndarray] = field(default_factory=list)
    places: list[np.ndarray] = field(default_factory=list)
    next_place: int = 0

    def take(self, device: UdpDevice, *, packets: int = 0, seconds: float = 0.0) -> None:
        """Until the TAG stream has so many more packets, or for so long."""
        known = device.streams.get(Stream.TAG)
        enough = (known.packets if known else 0) + packets
        deadline = time.monotonic() + (seconds or 300)
        for batch in device.batches(0.05):
            tags = batch.records.get(Stream.TAG, np.empty(0, [("time_ticks", "<i8"), ("channel", "u1")]))
            missing = np.zeros(len(tags) + 1, np.int64)
            for gap in batch.gaps.get(Stream.TAG, ()):  # several may lie between two tags
                missing[gap.index] += gap.records
            places = self.next_place + np.arange(len(tags)) + np.cumsum(missing)[:-1]
            self.next_place += len(tags) + int(missing.sum())
            for column, values in (
                (self.ticks, tags["time_ticks"]),
                (self.channels, tags["channel"]),
                (self.places, places),
            ):
                column.append(values)
            now = device.streams.get(Stream.TAG)
            if (packets and now and now.packets >= enough) or time.monotonic() > deadline:
                return

    def check(self) -> int:
        """Every tag is where its gaps say: number n of the stream is of channel n mod 4 and edge n // 4. How many are missing."""
        ticks, channels, places = (np.concatenate(column) for column in (self.ticks, self.channels, self.places))
        number = places + int(channels[0])  # the stream may have begun within an edge
        assert np.array_equal(channels, number % CHANNELS)
        assert np.array_equal(ticks - ticks[0], number // CHANNELS * PERIOD * TICKS_PER_CLOCK)
        return self.next_place - len(ticks)

    def in_all(self) -> int:
        """Tags from the first one to the last one as their times tell, gaps or not; exact to an edge's 4 tags. Where the node itself
        lost some, a gap tells between which packets they were, not between which tags."""
        ticks = np.concatenate(self.ticks)
        return int(ticks[-1] - ticks[0]) // (PERIOD * TICKS_PER_CLOCK) * CHANNELS


def written(device: UdpDevice, count: int) -> int:
    """Snapshots that the node has taken for ``count`` writes: one for each that it executed, while none is taken by itself."""
    device.write("STREAM_ENABLE", 0)
    before = device.read("SNAPSHOT_COUNT")
    for _ in range(count):
        device.write("SNAPSHOT", 1)
    return (device.read("SNAPSHOT_COUNT") - before) & 0xFFFFFFFF
