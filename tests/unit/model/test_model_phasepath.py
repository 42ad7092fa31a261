"""The phase's way through the server's model, bit for bit against the page's steps in plain integers, on adversarial streams."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from phase_oracle import Settings, Tag, Way

from twinphase_sim.model.core.framer import Clicks
from twinphase_sim.model.phase.path import NODE_SETTLE, SMOOTH_SETTLE, WORDS, PathInputs, PhasePath, phase_path
from twinphase_sim.model.server import register
from twinphase_sim.model.sift.herald import Heralds, herald_records
from twinphase_spec.frame import SlotClass
from twinphase_spec.packets import TRACK_DTYPE
from twinphase_spec.registers import SERVER
from twinphase_spec.smoothing import smooth_gains
from twinphase_spec.tracking_config import channel_config

EPOCH = 512
FAST = channel_config(
    diffusion_rad2_per_s=3e4, click_rate_hz=5e6, visibility=0.98, slope_noise_rad2_per_s3=1e11, detect=True
)
GAINS = smooth_gains(diffusion_rad2_per_s=3e4, slope_noise_rad2_per_s3=1e11, fisher_hz=4e6, node_clocks=EPOCH).words()


def registers_of(s: Settings, *, psi_source: int = 1) -> dict[str, int]:
    """Values of all registers."""
    given = {
        "PSI_SOURCE": psi_source,
        "TRACK_EPOCH": s.epoch,
        "TRACK_HOLD": s.hold,
        "TRACK_EVERY": s.every,
        "RATIO": s.c,
    }
    for c, name in enumerate("RD"):
        given |= {f"{word.upper()}_{name}": value for word, value in zip(WORDS, s.configs[c].words(), strict=True)}
        given[f"SMOOTH_STEP_{name}"] = s.steps[c]
        given |= {
            f"SMOOTH_{h}_{name}": value for h, value in zip(("H11", "H12", "H21", "H22"), s.gains[c], strict=True)
        }
    return {entry.name: register(given, entry.name) for entry in SERVER.registers}


def model(s: Settings, tags: list[Tag], until: int) -> PhasePath:
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
    )
    inputs = PathInputs(
        applied=np.array([tag.applied for tag in tags], dtype=np.int64),
        blank=blank,
        late=np.array([tag.late for tag in tags], dtype=np.bool_),
    )
    return phase_path(registers_of(s), clicks, heralds, s.start, until, inputs=inputs)


def track_tuples(records: np.ndarray) -> list[tuple[int, ...]]:
    high = records["clock_high_channel"].astype(np.int64)
    clock = records["clock_low"].astype(np.int64) | (high & 0x7FFFF) << 32
    columns = [clock, high >> 24 & 31, high >> 30 & 1, high >> 31 & 1]
    columns += [records[name].astype(np.int64) for name in TRACK_DTYPE.names[2:]]
    return list(zip(*(column.tolist() for column in columns), strict=True))


def compare(s: Settings, tags: list[Tag], until: int) -> PhasePath:
    """Model against oracle: tracked clicks, nodes, records, intervals, causal and smoothed psi."""
    got = model(s, tags, until)
    way = Way(s)
    last = max(until, tags[-1].t if tags else 0) >> s.epoch
    references = [tag for tag in tags if tag.step is not None]
    way.run(references, last)
    assert got.fed.tracked.tolist() == way.tracked
    assert got.untracked == way.tracked.count(False)
    nodes = got.fed.nodes
    assert nodes.released.tolist() == way.released
    expected = [[way.nodes[c, e] for e in nodes.epochs.tolist()] for c in range(2)]
    for name, found in (("f", nodes.phase), ("g", nodes.slope), ("locked", nodes.locked), ("broke", nodes.broke)):
        assert found.tolist() == [[getattr(node, name) for node in of] for of in expected], name
    first = nodes.first_epoch
    done = first + sum(at + NODE_SETTLE <= until for at in way.released) - 1
    records = [record for record in way.records if record[0] >> s.epoch <= done]
    assert track_tuples(got.track) == [(at % 2**51, *rest) for at, *rest in records]
    smoothed = first + sum(at + SMOOTH_SETTLE <= until for at in way.released) - 1
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
        "configs": [FAST, FAST],
        "epoch": 9,
        "hold": 96,
        "c": 27_000_000,
        "start": 1000,
        "every": 0,
        "steps": (0, 0),
    }
    return Settings(**usual | {"gains": (GAINS, GAINS)} | changes)  # type: ignore[arg-type]


gaps = st.one_of(st.sampled_from([0, 0, 1, 1, 2, 33, 511, 512, 513]), st.integers(0, 120), st.integers(0, 4000))
drawn_tags = st.lists(
    st.tuples(
        gaps,
        st.sampled_from("rrrq"),
        st.integers(0, 1),
        st.one_of(st.none(), st.integers(0, 3)),
        st.one_of(st.just(0), st.integers(0, 65535)),
        st.sampled_from([False] * 12 + [True]),
        st.sampled_from([False] * 12 + [True]),
    ),
    max_size=150,
)
gain_words = st.tuples(
    *[st.one_of(st.integers(-(2**17), 2**17 - 1), st.sampled_from([-(2**17), 0, 2**16, 2**17 - 1]))] * 4
)


@settings(max_examples=60)
@given(
    drawn=drawn_tags,
    start=st.sampled_from([0, 1, 1000, 512 * 16 * 3, 2**51 - 6000]),
    hold=st.sampled_from([0, 96, 300]),
    ratio=st.sampled_from([0, 27_000_000, -(2**31), 2**31 - 1]),
    steps=st.sampled_from([(0, 0), (1, 0), (0, 2)]),
    every=st.integers(0, 3),
    gains=st.tuples(gain_words, gain_words),
    longer=st.sampled_from([0, 700, 512 * 70]),
)
def test_any_stream(drawn, start, hold, ratio, steps, every, gains, longer) -> None:
    """Any tags at any time, with any ratio and gains, also across the wrap of the clock count."""
    times = start + np.cumsum([gap for gap, *_ in drawn], dtype=np.int64)
    tags = [
        Tag(int(at), "q" if step is None else band, port, step, *rest)
        for at, (_, band, port, step, *rest) in zip(times, drawn, strict=True)
    ]
    s = settings_of(start=start, hold=hold, c=ratio, steps=steps, every=every, gains=gains)
    until = (tags[-1].t if tags else start) + longer
    compare(s, tags, until)
