"""Drives a tag source with whole stimulus vectors and compares all that leaves it with the oracle; makes hostile stimuli."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from rigs import SOURCE_CHANNELS, WIDE
from source_oracle import TICKS, Config, channel, merged, ordered
from twinphase_hdl.timetag.pairtime import whole_pair_layout
from twinphase_hdl.types import Tag
from twinphase_spec.tagger import ORDER_BITS
from twinphase_spec.units import CLOCK_BITS
from vectors import play, reset, transfers, unpack

COUNTS = ("seen", "generated", "overrun", "dead", "vetoed", "divided")
ENDS = (*COUNTS[2:], "dropped")
DELAY_MAX = (1 << 21) - 1
ORDER = 1 << ORDER_BITS
LEAD = 32
"""Bounds of channels that were not enabled are gone after these clocks."""


def tags_of(transfers: list[tuple[int, int]], *, wide: bool) -> list[tuple[int, int]]:
    """(clock, tag) one by one of what was transferred: tags, or pairs, of which a second one is in the clock of the first."""
    if not wide:
        return transfers
    pair = whole_pair_layout()
    size = Tag.as_shape().size
    both = pair["both"].offset
    return [
        (k, word >> size * lane & (1 << size) - 1) for k, word in transfers for lane in range(1 + (word >> both & 1))
    ]


@dataclass
class Result:
    """Tags as (clock of the transfer, time, channel), strobes (clocks, channels) by name, what was predicted."""

    tags: list[tuple[int, int, int]]
    strobes: dict[str, np.ndarray]
    dropped: int
    expected: list[tuple[int, int]]


class Source:
    """One tag source of the shelf."""

    def __init__(self, dut: Any, name: str) -> None:
        self.dut, self.name = dut, name
        self.channels, self.lanes = SOURCE_CHANNELS[name]

    def _port(self, name: str) -> str:
        return f"{self.name}__{name}"

    async def configure(self, configs: list[Config]) -> None:
        """Reset, configuration, walk tables."""

        def packed(name: str, width: int) -> int:
            return sum((getattr(config, name) & (1 << width) - 1) << width * c for c, config in enumerate(configs))

        await reset(self.dut, self._port("i__valid"), self._port("i_pulse"), self._port("i_enable"))
        drive: dict[str, Any] = {
            "i_delay": packed("delay", 22),
            "i_dead_time": packed("dead_time", 26),
            "i_veto_from": packed("veto_from", 26),
            "i_veto_to": packed("veto_to", 26),
            "i_divider": packed("divider", 16),
            "i_pulser": packed("pulser", 1),
            "i_walk_shift": configs[0].walk_shift,
            "i_divider_restart": [(1 << self.channels) - 1] + [0] * (64 * self.channels),
            "i_walk_write": [1 << c for c in range(self.channels) for _ in range(64)] + [0],
            "i_walk_address": list(range(64)) * self.channels + [0],
            "i_walk_data": [entry & 0xFFF for config in configs for entry in config.walk] + [0],
        }
        await play(self.dut, {self._port(name): values for name, values in drive.items()})

    async def run(
        self,
        configs: list[Config],
        fines: np.ndarray,
        pulses: np.ndarray,
        start: int,
        ready: np.ndarray,
        jumps: dict[int, int] | None = None,
    ) -> Result:
        """``fines``: (clocks, channels, lanes) of ticks, -1 none; ``pulses``: (clocks,); ``ready`` may be longer, for what is left.

        All of it begins LEAD clocks after the channels are enabled, in clock ``start + LEAD``. ``jumps``: by clock, how many the
        count leaves out.
        """
        await self.configure(configs)
        fines = np.concatenate([np.full((LEAD, *fines.shape[1:]), -1), fines])
        pulses = np.concatenate([np.full(LEAD, -1), pulses])
        ready = np.concatenate([np.ones(LEAD, dtype=bool), ready])
        clocks, total = len(fines), len(ready)
        flat = np.full((total, self.channels * self.lanes), -1, dtype=object)
        flat[:clocks] = fines.reshape(clocks, -1)
        pulse = np.full(total, -1)
        pulse[:clocks] = pulses
        counts = [start]
        for k in range(1, total):
            counts.append(counts[-1] + 1 + (jumps or {}).get(k - LEAD, 0))
        drive = {
            "i_enable": sum(config.enable << c for c, config in enumerate(configs)),
            "i_clock": [count % (1 << CLOCK_BITS) for count in counts],
            "i__valid": [sum((fine >= 0) << j for j, fine in enumerate(row)) for row in flat],
            "i__fine": [sum(max(fine, 0) << 13 * j for j, fine in enumerate(row)) for row in flat],
            "i_pulse": (pulse >= 0).astype(int),
            "i_pulse_fine": np.maximum(pulse, 0),
            "o__ready": ready.astype(int),
        }
        names = [f"o_{name}" for name in (*COUNTS, "dropped", "queued")]
        seen, caught = await play(
            self.dut,
            {self._port(name): values for name, values in drive.items()},
            [self._port(name) for name in (*names, "o_idle", "o_bound")],
            {self._port("o__payload"): self._port("o__valid")},
        )
        tags = tags_of(transfers(caught[self._port("o__payload")], ready), wide=self.name in WIDE)
        fields = unpack(Tag, [word for _, word in tags])
        strobes = {}
        for name in (*COUNTS, "dropped", "queued"):
            width = 2 if name == "seen" and self.lanes == 2 else 1
            words = seen[self._port(f"o_{name}")]
            strobes[name] = np.array([[w >> width * c & (1 << width) - 1 for c in range(self.channels)] for w in words])
        self._identity(strobes, tags, fields["channel"], seen[self._port("o_idle")])

        kept, dropped = [], 0
        for c, config in enumerate(configs):
            outcome = channel(
                config,
                [[None if fine < 0 else int(fine) for fine in row[c]] for row in fines],
                [None if fine < 0 else int(fine) for fine in pulses],
                counts,
            )
            for name in COUNTS:
                assert strobes[name][:, c].sum() == outcome.counts[name], f"channel {c}: {name}"
            ended = strobes["queued"][:, c] + strobes["dropped"][:, c]
            kept.append(ordered(outcome.reached, strobes["queued"][ended > 0, c].astype(bool)))
            dropped += int(strobes["dropped"][:, c].sum())
        expected = merged(kept)
        times = [(int(time), int(c)) for time, c in zip(fields["time"], fields["channel"], strict=True)]
        assert times == [(time % (1 << 64), c) for time, c in expected], "tags or their order"
        self._bounds(seen[self._port("o_bound")], [k for k, _ in tags], [time for time, _ in expected], counts)
        return Result(
            [(k, time, c) for (k, _), (time, c) in zip(tags, expected, strict=True)], strobes, dropped, expected
        )

    def _identity(self, strobes: dict[str, np.ndarray], tags: list[tuple[int, int]], of: np.ndarray, idle: list[int]):
        """At every clock nothing ends that has not begun; idle means nothing inside; in the end nothing is inside."""
        left = np.zeros_like(strobes["seen"])
        for (k, _), c in zip(tags, of, strict=True):
            left[k, int(c)] += 1
        ends = sum(strobes[name] for name in ENDS) + left
        inside = np.cumsum(strobes["seen"] + strobes["generated"], axis=0) - np.cumsum(ends, axis=0)
        assert (inside >= 0).all()
        rests = np.array(idle, dtype=bool)
        assert not inside[rests].any(), "idle with edges inside"
        assert rests[-1], "something stayed inside"

    def _bounds(self, shown: list[int], clocks: list[int], times: list[int], counts: list[int]) -> None:
        """No tag leaves below a bound that was shown in its clock or before it."""
        highest, k = None, 0
        for clock, time in zip(clocks, times, strict=True):
            while k <= clock:
                now = counts[k] * TICKS
                bound = now + ((shown[k] - now + ORDER // 2) % ORDER - ORDER // 2)
                if k >= LEAD and (highest is None or bound > highest):
                    highest = bound
                k += 1
            assert highest is None or time >= highest, f"clock {clock}: a tag below the bound"


def hostile(rng: np.random.Generator, clocks: int, channels: int, lanes: int) -> np.ndarray:
    """Fine times: channels that are silent, sparse, dense or full; bursts on all at once, of equal times."""
    span = TICKS // lanes
    base = np.arange(lanes) * span
    density = rng.choice([0.0, 0.01, 0.3, 0.9, 1.0], channels, p=[0.2, 0.4, 0.2, 0.1, 0.1])
    fines = base + rng.integers(0, span, (clocks, channels, lanes))
    if rng.random() < 0.5:
        edges = rng.random(fines.shape) < 0.3
        fines[edges] = (base + rng.choice([0, span - 1], fines.shape))[edges]
    present = rng.random((clocks, channels, lanes)) < density[:, None]
    for _ in range(4):
        at, length = int(rng.integers(clocks)), int(rng.integers(1, 40))
        present[at : at + length] = True
        fines[at : at + length] = fines[at : at + length, :1]
    quiet = int(rng.integers(clocks))
    present[quiet : quiet + 200] &= rng.random() < 0.5
    return np.where(present, fines, -1)


def any_config(rng: np.random.Generator, lanes: int, kind: int) -> Config:
    """Dead times and vetoes around the distances of successive edges, extreme delays, dividers, random walk."""
    near = [0, 1, 4095, 4096, 8191, 8192, 8193, 16383, 16384, 40_000, 1 << 18, (1 << 26) - 1]
    veto_from = int(rng.choice(near))
    walk = {0: [0] * 64, 1: rng.choice([-2048, 2047], 64), 2: rng.integers(-2048, 2048, 64)}[int(rng.integers(3))]
    return Config(
        enable=rng.random() < 0.85,
        pulser=rng.random() < 0.15,
        delay=0
        if kind == 0
        else int(rng.choice([0, DELAY_MAX, -DELAY_MAX - 1, int(rng.integers(-DELAY_MAX, DELAY_MAX))])),
        dead_time=int(rng.choice([0, 0, *near])),
        veto_from=veto_from,
        veto_to=min(veto_from + int(rng.choice([0, 1, 5000, 100_000])), (1 << 26) - 1),
        divider=int(rng.choice([0, 1, 2, 3, 7, 65_535])) if rng.random() < 0.4 else 0,
        walk=tuple(int(entry) for entry in walk),
    )


def any_ready(rng: np.random.Generator, clocks: int) -> np.ndarray:
    chances = np.repeat(rng.choice([0.0, 0.1, 0.5, 0.9, 1.0], -(-clocks // 64)), 64)[:clocks]
    return rng.random(clocks) < chances
