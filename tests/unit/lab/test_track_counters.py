"""Events of the click tracker in the Verilated server's STATUS packets against the model, with light that goes dark, fades and jumps."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from twinphase_sim.lab.virtual import VirtualLab
from twinphase_sim.model.server import run_server
from twinphase_sim.native.requests import answer_words, request_packet
from twinphase_spec.configure import delay_ticks, server_memories
from twinphase_spec.packets import HEADER_DTYPE, HEADER_WORDS, RegisterOp, Stream
from twinphase_spec.register_groups import TRACK_EVENTS, TRACK_STATES
from twinphase_spec.registers import SERVER
from twinphase_spec.units import FRACTION_BITS

sys.path.insert(0, str(Path(__file__).parent))
from small import small_lab

SEED, PULSES = 12, 42_000_000
MS = 125_000
DARK, FADED, TURNED = ((5 * MS, 7 * MS), (15 * MS, 18 * MS), (28 * MS, 50 * MS))
"""Clocks since the start in which the reference band has no light, its ports know no phase, and are exchanged: half a turn more."""
UNDER_WAY = 256
"""Clocks from a click to its events, and to spare."""


@pytest.mark.parametrize("skip", [True, pytest.param(False, marks=pytest.mark.long)])
def test_events_of_a_server_are_those_of_the_model(skip: bool) -> None:
    """Each STATUS packet of 42 ms, and TRACK_LOCKED at its end."""
    names = [name for name, _ in (*TRACK_STATES, *TRACK_EVENTS)]
    rng = np.random.default_rng(SEED)
    with VirtualLab(small_lab(), SEED, skip=skip, progress=False) as virtual:
        clicks = virtual.link.clicks(0, PULSES)
        clocks = (clicks.times_ticks >> FRACTION_BITS) - virtual.start_clock
        kept = np.ones(clocks.size, dtype=np.bool_)
        channels = clicks.channels.copy()
        band_r = channels >= 2
        kept[band_r & (clocks > DARK[0]) & (clocks < DARK[1])] = False
        channels[band_r & (clocks > FADED[0]) & (clocks < FADED[1]) & (rng.uniform(size=clocks.size) < 0.5)] ^= 1
        channels[band_r & (clocks > TURNED[0]) & (clocks < TURNED[1])] ^= 1
        # a click at the other detector comes with that one's delay
        delays = np.array(delay_ticks(virtual.lab))
        ticks = clicks.times_ticks + delays[clicks.channels] - delays[channels]
        order = np.argsort(ticks, kind="stable")
        ticks, channels, kept = ticks[order], channels[order], kept[order]
        # a front end sees one edge per channel and clock
        for channel in range(4):
            own = np.flatnonzero(channels == channel)
            kept[own[1:][np.diff(ticks[own] >> FRACTION_BITS) == 0]] = False
        ticks, channels = ticks[kept], channels[kept]
        node = virtual.nodes["server"]
        stop = virtual.start_clock + 42 * MS
        packets = [data for _, data in node.run(stop, ticks, channels).packets]
        asked = request_packet(1 << 20, RegisterOp.READ, SERVER["TRACK_LOCKED"].address, 1)
        answers = [data for _, data in node.run(stop + 4000, rx=[(stop, asked)]).packets]
        registers, frame = virtual.registers["server"], virtual.frame
        table = server_memories(virtual.lab)["SMOOTH_TABLE"]
    shown = [packet for packet in packets if packet[0] == Stream.STATUS]
    assert len(shown) >= 4
    for packet in shown:
        head = np.frombuffer(packet, HEADER_DTYPE, count=1)[0]
        values = np.frombuffer(packet, "<u8", offset=4 * HEADER_WORDS)
        got = dict(zip(SERVER.counter_names, values.tolist(), strict=True))
        until = got["clock"]
        before = (ticks >> FRACTION_BITS) < until - UNDER_WAY
        expected = run_server(registers, frame, ticks[before], channels[before], until, smooth_table=table).counters
        assert {name: got[name] for name in names} == {name: expected[name] for name in names}, head
        for c in "rd":
            assert got[f"starts_{c}"] == got[f"lost_{c}"] + got[f"faded_{c}"] + got[f"locked_{c}"]
    print({name: got[name] for name in names})
    assert got["lost_r"] >= 1
    assert got["faded_r"] >= 1
    assert got["jumps_r"] >= 1
    assert got["unlocked_r"] > got["starts_r"] > 2
    locked = next(answer_words(data, "server")[1] for data in answers if data[0] == Stream.REGISTER_RESPONSE)
    assert locked == [got["locked_r"] | got["locked_d"] << 1]
