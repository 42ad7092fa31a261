"""Arrival times of the arms through the Verilated server."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from twinphase_sim.lab.virtual import VirtualLab
from twinphase_sim.model.server import run_server
from twinphase_sim.physics.clicks import join_clicks
from twinphase_spec.configure import server_memories
from twinphase_spec.packets import ARRIVAL_DTYPE, Stream

sys.path.insert(0, str(Path(__file__).parent))
from small import small_lab

SECONDS = 0.046


def test_records_are_those_of_the_model() -> None:
    """Two intervals of 20 ms, of all four places: the quantum band has no one-sided slots, the reference band one per arm."""
    with VirtualLab(small_lab(), 5, progress=False) as virtual:
        steps = list(virtual.run_to(SECONDS))
        registers, frame, until = virtual.registers["server"], virtual.frame, virtual.clock
    clicks = join_clicks([step.clicks for step in steps])
    table = server_memories(virtual.lab).get("SMOOTH_TABLE")
    expected = run_server(registers, frame, clicks.times_ticks, clicks.channels, until, smooth_table=table).arrival
    packets = [packet for step in steps for _, packet in step.outputs["server"].packets]
    records = np.frombuffer(b"".join(p[32:] for p in packets if p[0] == Stream.ARRIVAL), ARRIVAL_DTYPE)
    assert records.tolist() == expected.tolist()
    counts = np.array([sum(record[f"bin_{k}"] for k in range(8)) for record in records]).reshape(2, 4)
    assert (counts[:, :2] == 0).all()
    assert (counts[:, 2:] > 15).all()
