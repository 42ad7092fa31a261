"""What a run does with each of its nodes before light: a folder, the clock that pulse 0 has, settings, whether it was in time."""

from __future__ import annotations

from pathlib import Path

from twinphase_spec.lab import Lab
from twinphase_spec.units import CLOCK_HZ

from ..device import PacketDevice
from ..errors import DeviceError, TwinphaseError
from .secrets import ROLES
from .settings import Settings, flight_clocks

SLACK_CLOCKS = CLOCK_HZ // 100
"""By which counts may differ from what is told, beyond the time that reading them takes: half a millisecond of a slow link and more."""
DRAIN_S = 0.5
"""What is under way when the nodes stop."""
ROUNDING_BITS = 16
"""START_CLOCK of the server is a multiple of 2^16."""


def empty_folder(folder: Path) -> None:
    """Make ``folder``. TwinphaseError for one that holds something, or that cannot be used."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise TwinphaseError(f"folder {folder} is not empty; choose another one for the run")
    except OSError as error:
        raise TwinphaseError(f"cannot record into {folder}: {error.strerror}; choose another folder") from error


def clock_count(device: PacketDevice) -> int:
    """Clocks since the node counts."""
    return device.counters()["clock"]


def start_clock(lab: Lab, now_clock: int, after_s: float) -> int:
    """The server's clock of pulse 0, where it counts ``now_clock`` now: ``after_s`` and the longest flight later, rounded up."""
    earliest = now_clock + round(after_s * CLOCK_HZ) + max(flight_clocks(lab, role) for role in ROLES)
    return -(-earliest >> ROUNDING_BITS) << ROUNDING_BITS


def write_settings(device: PacketDevice, settings: Settings) -> None:
    """Memories, then registers."""
    for name, words in settings.memories.items():
        mask = (1 << device.map.memory(name).width) - 1  # of signed words, those bits that a memory keeps
        device.write_memory(name, [word & mask for word in words])
    for name, value in settings.registers.items():
        device.write(name, value)


def check_in_time(device: PacketDevice, least_clock: int) -> None:
    """DeviceError for a node that runs, but whose count had reached ``least_clock`` before it was told to."""
    if (late := clock_count(device) - least_clock) >= 0:
        raise DeviceError(
            f"{device.url} was told to run {late / CLOCK_HZ:.3g} s after its start: the links are slow; give a longer --after"
        )
