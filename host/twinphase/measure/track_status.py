"""What a server's counters say of its click tracker: has it a phase now, and what happened to it since the node started."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twinphase_spec.register_groups import TRACK_EVENTS
from twinphase_spec.smoothing import CHANNELS
from twinphase_spec.units import CLOCK_HZ

EVENTS = tuple(name.removesuffix(f"_{CHANNELS[0]}") for name, _ in TRACK_EVENTS[: len(TRACK_EVENTS) // len(CHANNELS)])
"""starts, lost, faded, jumps, unlocked."""


def track_status(counters: Mapping[str, int], epoch_bits: int) -> list[dict[str, Any]]:
    """Of each tracker channel, for JSON; empty where the counters are not a server's.

    ``locked``; ``starts``, ``lost``, ``faded``, ``jumps``, ``unlocked`` as in the server's map (docs/phase.md, Events); ``unlocked_s``:
    time without a phase, turns times ``2^epoch_bits`` clocks.
    """
    if f"locked_{CHANNELS[0]}" not in counters:
        return []
    return [
        {
            "channel": channel,
            "locked": bool(counters[f"locked_{channel}"]),
            **{name: int(counters[f"{name}_{channel}"]) for name in EVENTS},
            "unlocked_s": (int(counters[f"unlocked_{channel}"]) << epoch_bits) / CLOCK_HZ,
        }
        for channel in CHANNELS
    ]


def status_rows(status: list[dict[str, Any]]) -> list[tuple[str, str, bool]]:
    """Of each channel that ever had a phase: its name, a line of text, and whether it has one now."""
    return [
        (
            f"psi_{each['channel']} now",
            f"{'tracked' if each['locked'] else 'no phase'}; since the start found {each['starts']}, lost {each['lost']}, "
            f"faded {each['faded']}, jumped by half a turn {each['jumps']}, {each['unlocked_s']:.3g} s without a phase",
            each["locked"],
        )
        for each in status
        if each["starts"]
    ]
