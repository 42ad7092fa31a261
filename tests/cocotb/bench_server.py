"""The server core from edges to records against `run_server`: every word of every stream, every counter."""

from __future__ import annotations

import dataclasses
from typing import Any

import cocotb
import numpy as np

from bench_phase import assert_records, records
from bench_tagger import edge_vectors
from frames import grid_word
from streams import start_clock
from twinphase_hdl.timetag.channel import Channel
from twinphase_hdl.types import Anchor, Herald, Tag
from twinphase_sim.model.server import run_server
from twinphase_sim.model.sift.herald import herald_records
from twinphase_sim.model.timetag.channel import accept_edges
from twinphase_spec.frame import LAG_CLOCKS, FrameConfig, SlotClass, slot_byte
from twinphase_spec.packets import DPHASE_DTYPE, PHASE_DTYPE, PSI_DTYPE, Stream
from twinphase_spec.registers import CHANNELS
from twinphase_spec.units import CLOCK_BITS
from vectors import generator, lanes, pack, play, transfers, unlanes, unpack

TICKS = 8192
DELAY_MAX = (1 << 21) - 1
STREAMS = {"phase": 0.9, "dphase": 0.9, "herald": 0.4, "psi": 0.6}
"""Record streams and how often they are not ready."""
COUNTS = ("unframed", "background", "signal", "reference_q", "reference_r", "other", "heralds", "multiple", "unjoined")


@dataclasses.dataclass(frozen=True)
class Case:
    """What a run is made of."""

    frame: FrameConfig
    gates: tuple[tuple[int, int], tuple[int, int]]
    delays: tuple[int, int, int, int]
    deads: tuple[int, int, int, int]
    swap: int
    ratio: int
    bursts: tuple[tuple[int, int], ...]
    """(first clock after START, clocks) with an edge of every channel in every clock."""
    density: float
    """Edges per channel and clock elsewhere."""

    @property
    def registers(self) -> dict[str, int]:
        registers = {"CHANNEL_ENABLE": 15, "SWAP": self.swap, "RATIO": self.ratio & 0xFFFFFFFF}
        for band, (start, stop) in zip("QR", self.gates, strict=True):
            registers |= {f"GATE_START_{band}": start, f"GATE_STOP_{band}": stop}
        for name, delay, dead in zip(CHANNELS, self.delays, self.deads, strict=True):
            registers |= {f"DELAY_{name}": delay & 0xFFFFFFFF, f"DEAD_TIME_{name}": dead}
        return registers


def frame(period_q32: int, slots: list[tuple[SlotClass, SlotClass]], slot_pulses: int, start: int) -> FrameConfig:
    """A frame with windows as short as they may be."""
    pulses = len(slots) * slot_pulses
    return FrameConfig(
        period_q32=period_q32,
        slot_pulses=slot_pulses,
        table=tuple(slot_byte(q, r) for q, r in slots),
        frames_per_window=-(-(1 << 58) // (pulses * period_q32)),
        windows_per_dwindow=2,
        start_clock=start,
    )


REFERENCES = [SlotClass(SlotClass.REF0 + k) for k in range(4)]


async def run_case(dut: Any, rng: np.random.Generator, case: Case, windows: int) -> None:
    """From a load just before START past the last window's close, until everything has left."""
    start = case.frame.start_clock
    first = start - 700
    span = case.frame.close_clock(windows - 1) - LAG_CLOCKS - first
    total = case.frame.close_clock(windows - 1) + 4000 - first
    hits = rng.random((4, span)) < case.density
    for begin, clocks in case.bursts:
        hits[:, 700 + begin : 700 + begin + clocks] = True
    edges = []
    for channel in range(4):
        at = np.flatnonzero(hits[channel])
        fine = np.where(
            rng.random(at.size) < 0.3, rng.choice([0, 8191, 4096], at.size), rng.integers(0, TICKS, at.size)
        )
        edges.append(at * TICKS + fine)
    valid, fine = edge_vectors(edges, total)

    quiet = {"server__i_run": 0, "server__i_valid": 0, "server__i_config": grid_word(case.frame)}
    table = {
        "server__i_table_address": list(range(len(case.frame.table))),
        "server__i_table_data": list(case.frame.table),
    }
    await play(dut, {**quiet, "rst": 1}, clocks=2)
    await play(dut, {"rst": 0, "server__i_table_en": 1, **table})
    settings: dict[str, Any] = {"server__i_table_en": 0, "server__i_enable": 15}
    for band, (low, high) in zip("qr", case.gates, strict=True):
        settings |= {f"server__i_gate_start_{band}": low, f"server__i_gate_stop_{band}": high}
    settings |= {
        "server__i_delay": lanes([[delay] for delay in case.delays], 22)[0],
        "server__i_dead_time": lanes([[dead] for dead in case.deads], 32)[0],
        "server__i_swap": case.swap,
        "server__i_ratio": case.ratio & 0xFFFFFFFF,
    }
    await play(dut, settings, clocks=8)
    load = pack(Anchor, {"clock": first - 1})
    await play(dut, {"server__i_run": 1, "server__sim_anchor": load, "server__sim_load": [1, 0]})
    ready = {name: (rng.random(total) >= idle).astype(int) for name, idle in STREAMS.items()}
    for vector in ready.values():
        vector[-2500:] = 1
    when = {f"server__{name}__payload": f"server__{name}__valid" for name in STREAMS}
    when |= {"server__o_tag": "server__o_tag_valid", "server__o_dropped": "server__o_dropped"}
    takes = {f"server__{name}__ready": vector for name, vector in ready.items()}
    _, caught = await play(dut, {"server__i_valid": valid, "server__i_fine": fine, **takes}, when=when)
    got_words = {
        name: [word for _, word in transfers(caught[f"server__{name}__payload"], ready[name])] for name in STREAMS
    }
    assert int(dut.server__o_clock.value) == (first + total - 1) % (1 << CLOCK_BITS)
    assert not int(dut.server__o_lost.value)

    # Which accepted edges found the queue full is observed: the counter's step shows a channel's latency after the edge.
    room, all_edges, all_channels = {}, [], []
    for channel in range(4):
        absolute = ((edges[channel].astype(object) + first * TICKS) % (1 << 64)).astype(np.uint64)
        full = np.array(
            [k - Channel.latency for k, mask in caught["server__o_dropped"] if mask >> channel & 1], dtype=np.int64
        )
        at = edges[channel][accept_edges(absolute, case.deads[channel])] // TICKS
        assert np.isin(full, at).all(), "a drop without an accepted edge"
        room[channel] = ~np.isin(at, full)
        all_edges.append(absolute)
        all_channels.append(np.full(absolute.size, channel, dtype=np.uint8))
    until = first + total
    model = run_server(
        case.registers, case.frame, np.concatenate(all_edges), np.concatenate(all_channels), until, room=room
    )
    tags = unpack(Tag, [word for _, word in caught["server__o_tag"]])
    np.testing.assert_array_equal(tags["time"], model.tag_times_ticks)
    np.testing.assert_array_equal(tags["channel"], model.tag_channels)
    counts = unlanes([int(dut.server__o_counts.value)], 32, len(COUNTS))[0]
    assert dict(zip(COUNTS, counts.tolist(), strict=True)) == {name: model.counters[name] for name in COUNTS}
    for member, name in (("seen", "seen"), ("dead", "dead"), ("drops", "dropped"), ("tags", "tags")):
        got = unlanes([int(getattr(dut, f"server__o_{member}").value)], 64, 4)[0].tolist()
        assert got == [model.counters[f"{name}_{channel}"] for channel in CHANNELS], name
    assert model.phase.size == windows
    assert model.counters["heralds"] > 20
    assert model.counters["multiple"] > 5
    for name, dtype in (("phase", PHASE_DTYPE), ("dphase", DPHASE_DTYPE), ("psi", PSI_DTYPE)):
        stream = Stream[name.upper()]
        assert_records(records(got_words[name], dtype, stream), getattr(model, name), stream.name)
    got = unpack(Herald, got_words["herald"])
    heralds = herald_records(got["number"].astype(np.uint32), got["pulse"], got["detector"].astype(np.uint8))
    assert_records(heralds, model.heralds, "HERALD")
    assert int(dut.server__o_idle.value)


@cocotb.test()
async def sparse_and_bursts(dut: Any) -> None:
    """Delays of both signs at their ends, bursts that fill the full-size queues, a burst over a window's end, the clock wraps."""
    rng = generator()
    await start_clock(dut)
    slots = [(SlotClass.SIG, REFERENCES[k % 4]) for k in range(13)] + [
        (REFERENCES[k], SlotClass.GUARD) for k in range(4)
    ]
    case = Case(
        frame=frame((8192 << 32) // 8 + 12345, slots, 2, (1 << CLOCK_BITS) - 9000),
        gates=((100, 900), (0, 1025)),
        delays=(DELAY_MAX, -DELAY_MAX - 1, 0, -1),
        deads=(0, 0, 0, 8192),
        swap=2,
        ratio=27_000_000,
        bursts=((-600, 300), (7500, 1400), (12_000, 40)),
        density=0.02,
    )
    await run_case(dut, rng, case, 2)


@cocotb.test()
async def long_pulses(dut: Any) -> None:
    """Pulses of 16 clocks with all channels clicking: what a pulse gets must reach the finder within its hold time."""
    rng = generator()
    await start_clock(dut)
    slots = [(SlotClass.SIG, REFERENCES[k % 4]) for k in range(15)] + [
        (REFERENCES[1], SlotClass.REF0),
        (REFERENCES[2], SlotClass.VAC),
    ]
    case = Case(
        frame=frame(131_071 << 32, slots, 1, 5000),
        gates=((0, 131_071), (5, 131_000)),
        delays=(-DELAY_MAX - 1, DELAY_MAX, 77, 12_345),
        deads=(60_000, 0, 0, 0),
        swap=1,
        ratio=-(1 << 31),
        bursts=tuple((begin, 48) for begin in range(1000, 6000, 400)),
        density=0.03,
    )
    await run_case(dut, rng, case, 2)
