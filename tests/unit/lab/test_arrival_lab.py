"""Arrival times of the arms through the Verilated server."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from twinphase_hdl.nodes.client import ClientNode
from twinphase_sim.lab.device import LabDevice
from twinphase_sim.lab.virtual import VirtualLab
from twinphase_sim.model.client import role_of, symbol_config
from twinphase_sim.model.server import run_server
from twinphase_sim.model.sift.emission import emitted_codes
from twinphase_sim.native import NodeOutput
from twinphase_sim.native.output import Codes
from twinphase_sim.physics.clicks import join_clicks
from twinphase_spec.configure import server_memories
from twinphase_spec.lab_arms import Arm, Arms
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


class EmissionWatch:
    """Has a client's codes recorded around the slots of its corrections: the light of a virtual lab is what its gateware emits."""

    def __init__(self, virtual: VirtualLab, name: str, arm: int) -> None:
        self._virtual, self._name = virtual, name
        self._schedule = virtual.link.emission.schedules[arm]
        self._node, self._run = virtual.nodes[name], virtual.nodes[name].run
        self._emission = virtual.start_clock - virtual._flight_clocks("ab"[arm])
        self._latency = ClientNode(lanes=virtual.lab.lanes).latency
        self._codes: list[Codes] = []
        self._node.run = self._recording  # type: ignore[method-assign]

    def _slot(self, clock: int) -> int:
        """Of lane 0 of the codes of a clock."""
        return (clock - self._latency - self._emission) * self._virtual.lab.lanes

    def _recording(self, stop: int, *given: Any, **named: Any) -> NodeOutput:
        begins = self._schedule.begins(self._slot(self._node.clock), self._slot(stop))
        if not begins:
            return self._run(stop, *given, **named)
        first = self._emission + self._latency + begins[0] // self._virtual.lab.lanes
        output = self._run(stop, *given, **named, codes=(max(first - 20, self._node.clock), min(first + 40, stop)))
        assert output.codes is not None
        self._codes.append(output.codes)
        return output

    def check(self) -> None:
        """Codes slot by slot, and what the client's registers say."""
        lab, registers = self._virtual.lab, self._virtual.registers[self._name]
        dark = lit = 0
        for codes in self._codes:
            slots = np.array([self._slot(int(clock)) for clock in codes.clock])[:, None] + np.arange(lab.lanes)
            emitted = self._schedule.at(slots)
            np.testing.assert_array_equal(codes.pulse.astype(np.int64), emitted.pulse[:, 0])
            want = emitted_codes(
                self._schedule, self._virtual.frame, role_of(registers), symbol_config(registers), slots
            )
            np.testing.assert_array_equal(codes.q, want[0])
            np.testing.assert_array_equal(codes.r, want[1])
            dark, lit = dark + np.count_nonzero(~emitted.light), lit + np.count_nonzero(codes.q | codes.r)
        assert dark >= 40
        assert lit > 100
        device = LabDevice(self._virtual, self._name)
        before = self._slot(self._virtual.clock)
        taken, refused, pulses, fraction = (
            device.read(name) for name in ("EMIT_TAKEN", "EMIT_REFUSED", "EMITTED_PULSES", "EMITTED_FRACTION")
        )
        slots = np.array([before, self._slot(self._virtual.clock) + 1000])
        possible = self._schedule.at(slots)
        assert taken >= self._schedule.taken >= len(self._codes) >= 1
        assert refused == 0
        assert pulses in slots - possible.pulse
        assert fraction in possible.fraction


@pytest.mark.parametrize(("seconds", "within_ps"), [(0.3, 40.0), pytest.param(0.75, 35.0, marks=pytest.mark.long)])
def test_an_initial_offset_is_found_and_closed(seconds: float, within_ps: float) -> None:
    """12.3 pulses late, 7.55 early, drifting by 50 ps/s each way: searched, put right, and held.

    The search takes some 0.1 s; its correction acts 0.125 s and a flight later. It knows d to 4.4 ps (1 sigma) and nothing of the
    rate, which adds 12 ps until the first corrections of the loop act, at 0.41 s. At 0.75 s the filter knows d to 6 ps, at a horizon
    of 0.16 s and with its rate known to 30 ps/s to 8 ps: 4 sigma are 32 ps.
    """
    arms = Arms(
        a=Arm(offset_ps=12_300.0, clock_ppb=0.05),
        b=Arm(offset_ps=-7_550.0, clock_ppb=-0.05),
        pulse_fwhm_ps=100.0,
        align=True,
    )
    lab = small_lab().model_copy(update={"arms": arms})
    with VirtualLab(lab, 5, progress=False) as virtual:
        watches = [EmissionWatch(virtual, name, arm) for arm, name in enumerate(("alice", "bob"))]
        for _ in virtual.run_to(seconds):
            pass
        for watch in watches:
            watch.check()
        assert virtual.aligner is not None
        found = virtual.aligner.found
        emission = virtual.link.emission
    assert found is not None
    assert [offset.pulses for offset in found] == [12, -8]
    places = np.arange(0, round(seconds * 1e9), 1_000_000)
    for arm, at_start in enumerate((12_300.0, -7_550.0)):
        late = emission.late_ps(arm, places)
        assert late[0] == pytest.approx(at_start, abs=0.01)
        closed = int(np.argmax(np.abs(late) < 50))
        assert 0 < closed < 300
        assert np.abs(late[closed:]).max() < within_ps
