"""The phase's way through the server's model beside the oracle, and streams of photons for both."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from phase_path_oracle import Settings, Tag, Way

from twinphase_sim.model.core.framer import Clicks
from twinphase_sim.model.phase.path import NODE_SETTLE, WORDS, PathInputs, PhasePath, phase_path
from twinphase_sim.model.server import register
from twinphase_sim.model.sift.herald import Heralds, herald_records
from twinphase_spec.frame import SlotClass
from twinphase_spec.packets import TRACK_DTYPE
from twinphase_spec.registers import SERVER
from twinphase_spec.smoothing import smooth_gains
from twinphase_spec.tracking_config import channel_config

EPOCH = 512
Law = Callable[[np.ndarray], np.ndarray]
"""Of clocks since the start."""
WALK = {"diffusion_rad2_per_s": 3e3, "slope_noise_rad2_per_s3": 1e10}
FAST = channel_config(**WALK, click_rate_hz=5e6, visibility=0.98, detect=True)
FAST_D = channel_config(**WALK, click_rate_hz=2.5e6, visibility=0.93, detect=True)
"""Of channel d, whose fringe the error of r blurs."""
GAINS = smooth_gains(**WALK, fisher_hz=4e6, node_clocks=EPOCH).words()


def registers_of(s: Settings, swap: int) -> dict[str, int]:
    """Values of all registers."""
    given = {
        "PSI_SOURCE": 1,
        "SWAP": swap,
        "TRACK_EPOCH": s.epoch,
        "TRACK_HOLD": s.hold,
        "TRACK_EVERY": s.every,
        "RATIO": s.c,
        **{f"STEP_R_{k}": angle for k, angle in enumerate(s.angles)},
        "SMOOTH_FOLLOWS": sum(1 << c for c in s.follows),
    }
    for c, name in enumerate("RD"):
        given |= {f"{word.upper()}_{name}": value for word, value in zip(WORDS, s.configs[c].words(), strict=True)}
        given[f"SMOOTH_STEP_{name}"], given[f"SMOOTH_LATER_{name}"] = s.steps[c], s.later[c]
        given[f"SMOOTH_FROM_{name}"] = s.table_from[c]
        given |= {
            f"SMOOTH_{h}_{name}": value for h, value in zip(("H11", "H12", "H21", "H22"), s.gains[c], strict=True)
        }
    return {entry.name: register(given, entry.name) for entry in SERVER.registers}


def model(s: Settings, tags: list[Tag], until: int, swap: int = 0) -> PhasePath:
    """The model on tags; those without a step are single clicks of SIG slots, with a herald each."""
    t = np.array([tag.t for tag in tags], dtype=np.int64)
    band = np.array([tag.band == "r" for tag in tags], dtype=np.uint8)
    kinds = [SlotClass.SIG if tag.step is None else SlotClass.REF0 + tag.step for tag in tags]
    blank = np.array([tag.blank for tag in tags], dtype=np.bool_)
    zero = np.zeros(t.size, dtype=np.uint32)
    clicks = Clicks(
        times_ticks=(t.astype(np.uint64) << np.uint64(13)) + np.uint64(77),
        channel=band << np.uint8(1) | np.array([tag.port for tag in tags], dtype=np.uint8),
        framed=np.ones(t.size, dtype=np.bool_),
        gated=np.ones(t.size, dtype=np.bool_),
        slot_class=np.array(kinds, dtype=np.uint8),
        pulse=zero.astype(np.uint64),
        position=zero,
        window=zero,
        dwindow=zero,
    )
    chosen = np.flatnonzero([tag.step is None for tag in tags])
    numbers = np.arange(chosen.size, dtype=np.uint32)
    heralds = Heralds(
        records=herald_records(numbers, numbers.astype(np.uint64), np.zeros(chosen.size, dtype=np.uint8)),
        window=zero[chosen],
        dwindow=zero[chosen],
        times_ticks=clicks.times_ticks[chosen],
        click=chosen,
        multiple=0,
        unjoined=0,
        not_live=0,
    )
    inputs = PathInputs(
        applied=np.array([tag.applied for tag in tags], dtype=np.int64),
        blank=blank,
        late=np.array([tag.late for tag in tags], dtype=np.bool_),
    )
    return phase_path(registers_of(s, swap), clicks, heralds, s.start, until, inputs=inputs, smooth_table=s.table)


def track_tuples(records: np.ndarray) -> list[tuple[int, ...]]:
    high = records["clock_high_channel"].astype(np.int64)
    clock = records["clock_low"].astype(np.int64) | (high & 0x7FFFF) << 32
    columns = [clock, high >> 24 & 31, high >> 30 & 1, high >> 31 & 1]
    columns += [records[name].astype(np.int64) for name in TRACK_DTYPE.names[2:]]
    return list(zip(*(column.tolist() for column in columns), strict=True))


def compare(s: Settings, tags: list[Tag], until: int) -> PhasePath:
    """Model against oracle: tracked clicks, nodes, records, intervals, causal and smoothed psi."""
    got = model(s, tags, until)
    way = Way(s, told_until=until - NODE_SETTLE)
    last = max(until, tags[-1].t if tags else 0) >> s.epoch
    references = [tag for tag in tags if tag.step is not None]
    way.run(references, last)
    assert got.fed.tracked.tolist() == way.tracked
    assert got.untracked == way.tracked.count(False)
    assert got.fed.events.counters() == way.events
    nodes = got.fed.nodes
    assert nodes.released.tolist() == way.released
    expected = [[way.nodes[c, e] for e in nodes.epochs.tolist()] for c in range(2)]
    for name, found in (("f", nodes.phase), ("g", nodes.slope), ("locked", nodes.locked), ("broke", nodes.broke)):
        assert found.tolist() == [[getattr(node, name) for node in of] for of in expected], name
    first = nodes.first_epoch
    done = first + sum(at + NODE_SETTLE <= until for at in way.released) - 1
    records = [record for record in way.records if record[0] >> s.epoch <= done]
    assert track_tuples(got.track) == [(at % 2**51, *rest) for at, *rest in records]
    # passes of both channels, a node in 34 clocks at most
    settle = NODE_SETTLE + sum(34 * (33 + later) for later in s.later)
    smoothed = first + sum(at + settle <= until for at in way.released) - 1
    intervals = [way.intervals(c, smoothed) for c in range(2)]
    for c, each in enumerate(got.intervals):
        assert each.start.size == sum(k >= each.first for k in intervals[c])
        found = zip(each.start.tolist(), each.way.tolist(), each.valid.tolist(), strict=True)
        assert list(found) == [intervals[c][each.first + i] for i in range(each.start.size)]
    heralds = [tag for tag in tags if tag.step is None]
    causal = [(0, 0) if tag.blank else way.mark(tag.t, tag.applied)[::2] for tag in heralds]
    assert list(zip(got.psi_causal["psi_turns"].tolist(), got.psi_causal["flags"].tolist(), strict=True)) == causal
    psi = [way.psi(tag, intervals) for tag in heralds]
    covered = [each for each in psi if each is not None]
    assert psi[: len(covered)] == covered
    assert list(zip(got.psi["psi_turns"].tolist(), got.psi["flags"].tolist(), strict=True)) == covered
    assert got.psi["number"].tolist() == list(range(len(covered)))
    return got


def settings_of(**changes: object) -> Settings:
    usual = {
        "configs": [FAST, FAST_D],
        "epoch": 9,
        "hold": 96,
        "c": 27_000_000,
        "start": 1000,
        "every": 0,
        "steps": (0, 0),
        "later": (0, 0),
    }
    return Settings(**usual | {"gains": (GAINS, GAINS)} | changes)  # type: ignore[arg-type]


def scene(
    rng: np.random.Generator,
    *,
    clocks: int,
    rate: float = 0.04,
    share: float = 0.5,
    psi_r: Law = lambda t: 1.0 + 2e-5 * t,
    psi_d: Law = lambda t: 2.0 + 0 * t,
    light_r: Law = lambda t: np.ones(t.shape),
    light_q: Law = lambda t: np.ones(t.shape),
    visibility_r: Law = lambda t: 0.98 + 0 * t,
    ratio: float = 27_000_000 / 2**32,
    start: int = 1000,
) -> list[Tag]:
    """Photons of both bands, ``rate`` each per clock: four-phase references, a ``share`` of the quantum band's clicks heralds. Phases in
    rad of clocks since the start; the reference band's phase runs on in the quantum band, scaled."""
    tags = []
    for band, light in (("r", light_r), ("q", light_q)):
        at = np.flatnonzero(rng.uniform(size=clocks) < rate * light(np.arange(clocks)))
        step = at // 16 % 4
        phase = psi_r(at) if band == "r" else psi_r(at) * (1 + ratio) + psi_d(at)
        fringe = (visibility_r(at) if band == "r" else 0.98) * np.cos(phase + step * math.pi / 2)
        right = rng.uniform(size=at.size) > (1 + fringe) / 2
        signal = (band == "q") & (rng.uniform(size=at.size) < share)
        columns = (at.tolist(), right.tolist(), step.tolist(), signal.tolist())
        tags += [Tag(start + a, band, int(p), None if sig else s) for a, p, s, sig in zip(*columns, strict=True)]
    return sorted(tags, key=lambda tag: tag.t)


def psi_errors(records: np.ndarray, tags: list[Tag], truth: Law, start: int = 1000) -> np.ndarray:
    """Of the heralds with both flags, in rad, wrapped; others NaN."""
    at = np.array([tag.t for tag in tags if tag.step is None])[: records.size] - start
    error = records["psi_turns"] / 65536 * 2 * math.pi - truth(at)
    error = (error + math.pi) % (2 * math.pi) - math.pi
    return np.where(records["flags"] == 3, error, np.nan)
