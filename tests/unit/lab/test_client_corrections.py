"""Corrections of emission on their way to the clients' gateware, over the lab's lines, and to the light once they are taken."""

from __future__ import annotations

import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from twinphase_sim.lab.corrections import CLIENTS, CorrectionRefused
from twinphase_sim.lab.device import LabDevice
from twinphase_sim.lab.keys import pair_digest
from twinphase_sim.lab.lines import NODES
from twinphase_sim.lab.mesh import Mesh
from twinphase_sim.lab.virtual import VirtualLab
from twinphase_sim.model.sift.emission import Correction
from twinphase_sim.native import NativeNode, request_packet, write_requests
from twinphase_spec.configure import client_registers, client_table
from twinphase_spec.emission import APART_SLOTS, LEAD_SLOTS
from twinphase_spec.lab import Lab
from twinphase_spec.lab_arms import Arms
from twinphase_spec.packets import RegisterOp
from twinphase_spec.registers import CLIENT

sys.path.insert(0, str(Path(__file__).parent))
from small import small_lab

SLOT = CLIENT["EMIT_SLOT"].address
FAR = 200_000_000
"""Slot that the physics has not drawn yet."""


def aligned_lab() -> Lab:
    """Its aligner finds nothing within the milliseconds that are run here."""
    return small_lab().model_copy(update={"arms": Arms(align=True)})


def send(virtual: VirtualLab, correction: Correction) -> None:
    """To both clients."""
    assert virtual._alignment is not None
    for arm in range(2):
        virtual._alignment._corrections.send(arm, correction, virtual.clock)


def test_the_light_follows_what_the_clients_have_taken() -> None:
    with VirtualLab(aligned_lab(), 3, progress=False) as virtual:
        for _ in virtual.run_to(0.0005):
            pass
        send(virtual, Correction(slot=FAR, pulses=12, fraction=17))
        for schedule in virtual.link.emission.schedules:
            assert schedule.begins(0, 1 << 40) == []
        for _ in virtual.advance(0.001):
            pass
        for name, schedule in zip(CLIENTS, virtual.link.emission.schedules, strict=True):
            assert schedule.begins(0, 1 << 40) == [FAR]
            assert LabDevice(virtual, name).read("EMIT_TAKEN") == 1
        send(virtual, Correction(slot=FAR + APART_SLOTS - 8, pulses=12, fraction=17))
        with pytest.raises(
            CorrectionRefused, match="alice has taken 1 corrections of its emission and refused 1; expected: 2 and"
        ):
            list(virtual.advance(0.001))


def test_corrections_reach_clients_in_processes_of_their_own() -> None:
    """The three labs here are those of three processes; their messages go over TCP."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1] % 60_000
    addresses = {name: ("127.0.0.1", port + k) for k, name in enumerate(NODES)}
    lab = aligned_lab()

    def make(name: str) -> VirtualLab:
        return VirtualLab(lab, 3, progress=False, mesh=Mesh(name, addresses, {}))

    failed = threading.Event()

    def run(virtual: VirtualLab, clocks: int) -> None:
        until = virtual.start_clock + clocks
        try:
            while virtual.clock < until and not failed.is_set():
                if longest := virtual.chunk_clocks:
                    virtual.step(min(until, virtual.clock + longest))
                else:
                    time.sleep(1e-3)
        except BaseException:
            failed.set()
            raise

    with ThreadPoolExecutor(len(NODES)) as pool:
        labs = list(pool.map(make, NODES))
        list(pool.map(run, labs, [10_000] * len(labs)))
        send(labs[0], Correction(slot=FAR, pulses=-3, fraction=5))
        list(pool.map(run, labs, [100_000] * len(labs)))
    for virtual in labs:
        virtual.close()
    for schedule in labs[0].link.emission.schedules:
        assert schedule.begins(0, 1 << 40) == [FAR]
        assert schedule.at(np.array([FAR])).pulse.tolist() == [FAR + 3]


def test_a_client_that_skips_clocks_says_the_same() -> None:
    """Registers read around corrections, at their slots too: the same words at the same clocks with every clock simulated."""
    lab = small_lab()
    nodes = [NativeNode("client", progress=False, lanes=lab.lanes, skip=skip) for skip in (True, False)]
    start = 60_000
    registers = client_registers(lab, "alice", (1, 2, 3, 4), start, digest=pair_digest(1))
    rng = np.random.default_rng(5)
    rx = []

    def at(clock: int, packets: list[bytes]) -> None:
        rx.extend((clock + 40 * k, packet) for k, packet in enumerate(packets))

    writes = write_requests(CLIENT, registers, {"FRAME_TABLE": client_table(lab)}, first_id=1)
    at(10, writes + write_requests(CLIENT, {"CONTROL": 1}, first_id=9000))
    slot, pulses, number, reads = 8 * 1000 + LEAD_SLOTS, 0, 10_000, []
    for change in (5, -3, 0, 700):
        pulses += change
        words = [slot, 0, pulses & 0xFFFFFFFF, 100 + change % 50]
        number += 1
        at(start + (slot - LEAD_SLOTS) // 8 - 100, [request_packet(number, RegisterOp.WRITE, SLOT, 4, words)])
        taken = start + slot // 8
        reads += [taken + d for d in (-50, -12, -1, 0, 7, 300)] + rng.integers(taken, taken + 9000, 5).tolist()
        slot += APART_SLOTS + int(rng.integers(100)) * 8
    for clock in sorted(set(reads)):
        number += 1
        rx.append((clock, request_packet(number, RegisterOp.READ, SLOT, 8)))
    rx.sort(key=lambda entry: entry[0])
    outputs = [node.run(start + slot // 8, rx=rx, word_clocks=True) for node in nodes]
    np.testing.assert_array_equal(outputs[0].words, outputs[1].words)
    np.testing.assert_array_equal(outputs[0].word_clocks, outputs[1].word_clocks)
    assert nodes[0].cycles_simulated < nodes[1].cycles_simulated / 3
    last = np.frombuffer(outputs[0].packet(len(outputs[0]) - 1), "<u4")[8:]
    assert last[4:].tolist() == [pulses, 100 + 700 % 50, 4, 0]
