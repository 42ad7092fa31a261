"""The aligner on packets of the reference model: offsets found and closed; after a long silence, lost and found again."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from twinphase.operate.aligner import PulseAligner
from twinphase.packets import pack
from twinphase_sim.lab.corrections import LEAD_S, as_model
from twinphase_sim.lab.keys import client_generator
from twinphase_sim.model.core.framer import frame_clicks
from twinphase_sim.model.link.t2 import t2_words
from twinphase_sim.model.sift.arrival import arrival_records
from twinphase_sim.physics.link import Link
from twinphase_spec.configure import delay_ticks
from twinphase_spec.lab import Lab
from twinphase_spec.lab_arms import Arm, Arms
from twinphase_spec.packets import Stream

sys.path.insert(0, str(Path(__file__).parent))
from small import small_lab

INTERVAL_S, WINDOWS, START = 0.02, 200, 1 << 16
PULSES = 20_000_000
"""Of an interval."""
GATES = ((0, 1024), (0, 1024))
TAGS_PER_PACKET = 100


class ModelServer:
    """Packets of the TAG and ARRIVAL streams, interval by interval, of the light of ``link``."""

    def __init__(self, lab: Lab, link: Link) -> None:
        self._delays, self._link = np.array(delay_ticks(lab)), link
        self._tags = self._tag_packets = self._records = 0

    def interval(self, number: int) -> list[bytes]:
        """Everything of one interval; light that detectors and arms have moved over its ends is left out."""
        clicks = self._link.clicks(number * PULSES, (number + 1) * PULSES)
        times = clicks.times_ticks + self._delays[clicks.channels]
        order = np.argsort(times)
        times, channels = times[order].astype(np.uint64), clicks.channels[order]
        framed = frame_clicks(self._link.frame, GATES, times, channels)
        records = arrival_records(framed, self._link.frame.period_q32, WINDOWS, (number + 1) * WINDOWS)[-4:]
        packets = []
        for at in range(0, times.size, TAGS_PER_PACKET):
            own = slice(at, at + TAGS_PER_PACKET)
            base = int(times[at]) & ~((1 << 25) - 1)
            words = t2_words(times[own], channels[own], base).astype("<u4").tobytes()
            packets.append(pack(Stream.TAG, self._tag_packets, words, base_ticks=base, first_record=self._tags))
            self._tag_packets, self._tags = self._tag_packets + 1, self._tags + len(times[own])
        end = START + round((number + 1) * INTERVAL_S * 125e6) << 13
        packets.append(
            pack(Stream.ARRIVAL, self._records // 4, records.tobytes(), base_ticks=end, first_record=self._records)
        )
        self._records += 4
        return packets


def test_found_closed_lost_and_found_again() -> None:
    """50 ps/s each way; known to some 30 ps/s after half a second, 8 s of silence leave it unknown by 240 ps: no pulse any more."""
    arms = Arms(
        a=Arm(offset_ps=12_300.0, clock_ppb=0.05), b=Arm(offset_ps=-7_550.0, clock_ppb=-0.05), pulse_fwhm_ps=100.0
    )
    lab = small_lab().model_copy(update={"arms": arms})
    configs = [client_generator(lab, 1, role) for role in ("alice", "bob")]
    link = Link(lab, 1, *configs, start_clock=START)
    aligner = PulseAligner(
        link.frame,
        interval_s=INTERVAL_S,
        wait_s=1e-3 + LEAD_S,
        correct=lambda arm, correction: link.correct(arm, as_model(correction)),
    )
    server = ModelServer(lab, link)

    def run(first: int, last: int) -> None:
        for number in range(first, last):
            aligner.take(server.interval(number), START + round((number + 1) * INTERVAL_S * 125e6))

    def late(arm: int, begin_s: float, end_s: float) -> np.ndarray:
        return link.emission.late_ps(arm, np.arange(round(begin_s * 1e9), round(end_s * 1e9), 1_000_000))

    run(0, 26)
    assert aligner.found is not None
    assert [offset.pulses for offset in aligner.found] == [12, -8]
    first = aligner.found
    for arm in range(2):
        assert np.abs(late(arm, 0.35, 0.6)).max() < 40
        assert abs(late(arm, 8.5, 8.501)[0]) > 60
    run(425, 455)
    assert aligner.found is not first
    for arm, offset in enumerate(aligner.found):
        assert offset.pulses == 0
        assert offset.fraction_ps == pytest.approx(late(arm, 8.6, 8.601)[0], abs=50)
        assert np.abs(late(arm, 8.95, 9.1)).max() < 40
