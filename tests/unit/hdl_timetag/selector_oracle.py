"""Gate, filter and coincidences as the contract says them, on lists of (time, channel) with times that never wrap."""

from collections.abc import Sequence
from dataclasses import dataclass, field

Tags = list[tuple[int, int]]
MEMORY = 1 << 27
TIME = 1 << 64


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """Of 8 channels; a gate is (opening channel, from, to)."""

    gates: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    masks: dict[int, int] = field(default_factory=dict)
    window: int = 0
    absolute: tuple[int, int] = (0, TIME - 1)
    absolute_mask: int = 0


def gate(tags: Tags, config: Configuration) -> list[bool]:
    last: dict[int, int] = {}
    passed = []
    for t, c in tags:
        passes = True
        if c in config.gates:
            opener, first, end = config.gates[c]
            passes = opener in last and t - last[opener] <= MEMORY and first <= t - last[opener] < end
        if config.absolute_mask >> c & 1:
            passes = passes and config.absolute[0] <= t % TIME < config.absolute[1]
        passed.append(passes)
        last[c] = t
    return passed


def select(tags: Tags, config: Configuration, depth: int) -> tuple[Tags, Tags, Tags]:
    """What is sent, gated and filtered. The lookahead holds ``depth`` tags, so that each is decided with the depth - 1 behind it."""
    passed = gate(tags, config)
    gated = [tag for tag, passes in zip(tags, passed, strict=True) if not passes]
    stream = [tag for tag, passes in zip(tags, passed, strict=True) if passes]
    sent, filtered = [], []
    for i, (t, c) in enumerate(stream):
        mask = config.masks.get(c, 0) & ~(1 << c)
        near = any(
            j != i and mask >> other & 1 and abs(t - t_other) <= config.window
            for j, (t_other, other) in enumerate(stream[: i + depth])
        )
        (sent if near or not mask else filtered).append((t, c))
    return sent, gated, filtered


def coincide(tags: Tags, masks: Sequence[int], windows: Sequence[int]) -> Tags:
    fresh: list[dict[int, int]] = [{} for _ in masks]
    out = []
    for t, c in tags:
        out.append((t, c))
        for v, (mask, window) in enumerate(zip(masks, windows, strict=True)):
            if not mask >> c & 1:
                continue
            others = [j for j in range(32) if mask >> j & 1 and j != c]
            if others and all(j in fresh[v] and t - fresh[v][j] <= min(window, MEMORY) for j in others):
                out.append((t, 32 + v))
                fresh[v] = {}
            else:
                fresh[v][c] = t
    return out
