"""Speed of the host's measurements on one core, as ratios against numpy's sort and a copy of the same tags.

    python benchmarks/measure.py [--tags 4000000] [--rate 2000000] [--json]

Tags of four independent channels with ``--rate`` tags per second in all, in batches of 50 ms of node time (as a recording hands
them out). A ratio says how many times as long the measurement takes as ``numpy.sort`` of the (shuffled) times, and as a copy of
the tags in memory: it hardly depends on the machine.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from twinphase.batch import TAG_DTYPE, Batch
from twinphase.measure.channel_rates import ChannelRates
from twinphase.measure.coincidences import Coincidences
from twinphase.measure.correlate import Bins
from twinphase.measure.g2 import G2, symmetric_bins
from twinphase.measure.histogram import Histogram
from twinphase_spec.packets import Stream
from twinphase_spec.units import TICKS_PER_SECOND

REPEATS = 3


def batches_of(count: int, rate_hz: float) -> list[Batch]:
    """``count`` tags as batches of 50 ms."""
    rng = np.random.default_rng(1)
    tags = np.zeros(count, TAG_DTYPE)
    tags["time_ticks"] = np.cumsum(rng.exponential(TICKS_PER_SECOND / rate_hz, count)).astype(np.int64)
    tags["channel"] = rng.integers(0, 4, count)
    cuts = np.searchsorted(tags["time_ticks"], np.arange(1, 20 * count / rate_hz) * (TICKS_PER_SECOND // 20))
    return [
        Batch(records={Stream.TAG: part.copy()}, time_ticks=int(part["time_ticks"][-1]))
        for part in np.split(tags, cuts)
        if len(part)
    ]


def fastest(run: Callable[[], object]) -> float:
    """Processor seconds of the fastest of some runs."""
    best = np.inf
    for _ in range(REPEATS):
        began = time.thread_time()
        run()
        best = min(best, time.thread_time() - began)
    return float(best)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tags", type=int, default=4_000_000)
    parser.add_argument("--rate", type=float, default=2e6)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    batches = batches_of(arguments.tags, arguments.rate)
    tags = np.concatenate([batch[Stream.TAG] for batch in batches])
    shuffled = np.random.default_rng(2).permutation(tags["time_ticks"])
    sort_s, copy_s = fastest(lambda: np.sort(shuffled)), fastest(tags.copy)
    microsecond = TICKS_PER_SECOND // 1_000_000
    measurements: dict[str, Callable[[], Any]] = {
        "rates": ChannelRates,
        "histogram, 4 stops, 1 us": lambda: Histogram(
            start=0, stops=range(4), bins=Bins(low_ticks=0, width_ticks=128, count=microsecond // 128)
        ),
        "histogram, start-stop": lambda: Histogram(
            start=0, stops=[1], bins=Bins(low_ticks=0, width_ticks=128, count=microsecond // 128), mode="single"
        ),
        "g2, +-1 us": lambda: G2(channels=(0, 1), bins=symmetric_bins(1024, microsecond)),
        "coincidences, 1 ns": lambda: Coincidences(channels=(0, 1), window_ticks=1024),
        "coincidences, 4-fold, 1 us": lambda: Coincidences(channels=(0, 1, 2, 3), window_ticks=microsecond),
    }
    figures = {}
    for name, make in measurements.items():

        def run(make: Callable[[], Any] = make) -> None:
            measurement = make()
            for batch in batches:
                measurement.update(batch)

        seconds = fastest(run)
        figures[name] = {
            "tags_per_second": arguments.tags / seconds,
            "against_sort": seconds / sort_s,
            "against_copy": seconds / copy_s,
        }
    if arguments.json:
        print(json.dumps(figures, indent=1))
        return
    print(f"{arguments.tags} tags at {arguments.rate:g}/s; sort {sort_s * 1e3:.0f} ms, copy {copy_s * 1e3:.1f} ms")
    for name, row in figures.items():
        print(
            f"  {name:<28} {row['tags_per_second'] / 1e6:7.1f} M tags/s   {row['against_sort']:6.2f} x sort"
            f"   {row['against_copy']:7.1f} x copy"
        )


if __name__ == "__main__":
    main()
