"""Click tracker, bit for bit: docs/tracking.md with the formats of `twinphase_spec.tracking`; its kernel is in `clicktracker_kernel`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twinphase_spec import tracking as t
from twinphase_spec.tracking_config import ChannelConfig

from .clicktracker_kernel import OUTPUTS, after_reset, play


@dataclass(frozen=True)
class Events:
    """Events in the order of their issue, arrays of shape (n,), int64."""

    issue: NDArray[np.int64]
    """Clock of the issue: grows by INTERVAL or more."""
    clock: NDArray[np.int64]
    """Clock count t of the click; 2^E e of the turn to epoch e."""
    channel: NDArray[np.int64]
    turn: NDArray[np.int64]
    """1: turn of the epoch; 0: click."""
    port: NDArray[np.int64]
    reference: NDArray[np.int64]
    """r in 2^-16 turn, unsigned; 0 with a turn."""


@dataclass(frozen=True)
class Outputs:
    """One output per event, OUTPUT clocks after its issue: the channel's state after its write. Arrays of shape (n,)."""

    phase: NDArray[np.int64]
    """Unwrapped, at the event's t, 2^-32 turn."""
    slope: NDArray[np.int64]
    """B."""
    p: NDArray[np.int64]
    v: NDArray[np.int64]
    locked: NDArray[np.int64]
    broke: NDArray[np.int64]
    """Since the channel's last turn the phase has not gone on."""
    kind: NDArray[np.int64]


def check_epoch_bits(epoch_bits: int) -> None:
    """ValueError for an E that a tracker does not have."""
    if not t.EPOCH_LEAST <= epoch_bits <= t.EPOCH_BITS:
        raise ValueError(
            f"click tracker: epochs of 2^{epoch_bits} clocks; allowed: 2^{t.EPOCH_LEAST} to 2^{t.EPOCH_BITS}"
        )


def reset(configs: Sequence[ChannelConfig]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """States after reset and configuration words of channels, shapes (channels, STATES) and (channels, words)."""
    words = np.array([config.words() for config in configs], dtype=np.int64)
    return after_reset(words), words


def schedule(
    clock: NDArray[np.int64],
    channel: NDArray[np.int64],
    port: NDArray[np.int64],
    reference: NDArray[np.int64],
    *,
    channels: int,
    latency: int = 0,
    epoch_bits: int = t.EPOCH_BITS,
) -> Events:
    """Events of clicks (clocks that do not fall), each offered ``latency`` clocks after its t and issued as soon as may be.

    Before the first click of an epoch come the turns to it, for every channel, and to all epochs since the last, each offered
    ``latency`` clocks after its epoch's start. ``epoch_bits`` is E; ValueError outside EPOCH_LEAST to EPOCH_BITS.
    """
    check_epoch_bits(epoch_bits)
    epochs = clock >> epoch_bits
    turned = np.arange(epochs[0], epochs[-1] + 1) if clock.size else np.zeros(0, dtype=np.int64)
    turn_epochs = np.repeat(turned, channels)
    places = np.searchsorted(epochs, turn_epochs, side="left")

    def merged(of_turns: NDArray[np.int64], of_clicks: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.insert(of_clicks.astype(np.int64), places, of_turns)

    none = np.zeros(turn_epochs.size, dtype=np.int64)
    clocks = merged(turn_epochs << epoch_bits, clock)
    waiting = t.INTERVAL * np.arange(clocks.size)
    return Events(
        issue=np.maximum.accumulate(clocks + latency - waiting) + waiting,
        clock=clocks,
        channel=merged(np.tile(np.arange(channels), turned.size), channel),
        turn=merged(none + 1, np.zeros(clock.size, dtype=np.int64)),
        port=merged(none, port),
        reference=merged(none, reference),
    )


def track(events: Events, configs: Sequence[ChannelConfig], *, epoch_bits: int = t.EPOCH_BITS) -> Outputs:
    """All outputs of a tracker in its state after reset, ``epoch_bits`` E.

    ValueError where events are issued closer than INTERVAL, and for an E outside EPOCH_LEAST to EPOCH_BITS.
    """
    check_epoch_bits(epoch_bits)
    if (np.diff(events.issue) < t.INTERVAL).any():
        raise ValueError(f"click tracker: events must be issued at least {t.INTERVAL} clocks apart")
    rows, words = reset(configs)
    out = np.empty((events.issue.size, OUTPUTS), dtype=np.int64)
    e = events
    play(rows, words, epoch_bits, (e.issue, e.clock, e.channel, e.turn, e.port, e.reference), out)
    return Outputs(*out.T)
