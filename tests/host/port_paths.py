"""A lab whose detectors are not equal, and its server's tags as the physics draws them."""

from __future__ import annotations

import numpy as np

from twinphase.batch import TAG_DTYPE, Batch
from twinphase_sim.physics.link import Link
from twinphase_spec.configure import delay_ticks, symbol_config
from twinphase_spec.lab import Lab, parse_lab
from twinphase_spec.packets import Stream

START = 1 << 16
SECONDS = 0.25


def lab_with(detectors: str = "", frame: str = "") -> Lab:
    return parse_lab(f'base = "seed-370km-locked"\nname = "x"\n[detectors]\n{detectors}\n{frame}', "x.toml")


TRUE = """
rL = { efficiency = 0.74, dark_hz = 100.0, dead_time_ns = 40.0, jitter_ps = 70.0, offset_ps = 151300.0 }
rR = { efficiency = 0.62, dark_hz = 200.0, dead_time_ns = 55.0, jitter_ps = 70.0, offset_ps = -43770.0 }
"""
BELIEVED = TRUE.replace("0.74", "0.68").replace("0.62", "0.68").replace("55.0", "40.0")
U = 0.12 / 1.36


def batches(lab: Lab, seed: int, cut: int, seconds: float = SECONDS) -> list[Batch]:
    """Tags as the server's, in batches of ``cut`` that also tell the node's time."""
    symbols = symbol_config(lab.clients.alice, (1, 2, 3, 4)), symbol_config(lab.clients.bob, (5, 6, 7, 8))
    clicks = Link(lab, seed, *symbols, start_clock=START).clicks(0, round(seconds * lab.frame.pulse_rate_hz))
    times = clicks.times_ticks.astype(np.int64) + np.array(delay_ticks(lab))[clicks.channels]
    order = np.argsort(times, kind="stable")
    tags = np.empty(order.size, TAG_DTYPE)
    tags["time_ticks"], tags["channel"] = times[order], clicks.channels[order]
    parts = np.split(tags, range(cut, tags.size, cut))
    return [Batch(records={Stream.TAG: part}, time_ticks=int(part["time_ticks"][-1])) for part in parts]
