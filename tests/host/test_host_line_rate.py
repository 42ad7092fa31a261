"""A gigabit of tags: what the loopback takes is all accounted for, and a tag costs less than its share of one core."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from twinphase.packets import Decoder
from twinphase_spec.packets import Stream
from twinphase_spec.registers import TIMETAGGER

PATH = Path(__file__).resolve().parents[2] / "benchmarks" / "udp_line_rate.py"
LINE_TAGS_PER_S = 28e6
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="sendmmsg and recvmmsg are Linux's")


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("udp_line_rate", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules["udp_line_rate"] = module  # its sender is a process that imports it by name
    sys.path.insert(0, str(PATH.parent))
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(PATH.parent))


def test_the_sender_sends_even_tags_with_overflow_words(bench):
    packets = bench.tag_packets()
    decoder = Decoder(TIMETAGGER)
    tags = decoder.decode(packets, now_s=0.0)[Stream.TAG]
    assert len(tags) == len(packets) * bench.PER_PACKET
    assert set(np.diff(tags["time_ticks"]).tolist()) == {32896, 32897}  # 1020 tags in 2^25 ticks
    assert set(map(len, packets)) == {32 + 4 * 255, 32 + 4 * 256}
    assert decoder.damaged == 0


@linux
def test_a_tag_at_line_rate_costs_less_than_its_share_of_a_core(bench):
    """Received, checked, ordered and decoded. `measure` ends the program if a packet or a tag is not accounted for."""
    results = [bench.measure("decode", 0.7, LINE_TAGS_PER_S) for _ in range(3)]
    cpu_s_per_tag = min(result["cores"] / result["packets_per_s"] / bench.PER_PACKET for result in results)
    assert cpu_s_per_tag < 1 / LINE_TAGS_PER_S


@linux
def test_full_speed_is_accounted_for(bench):
    for kind in ("receive", "decode", "bare", "record"):
        assert bench.measure(kind, 0.3)["lost_share"] < 1
