"""Clocks per second of the native engine: a server node at a lab's click rate, every clock simulated and with idle skipping.

    python benchmarks/native.py [--lab seed-370km] [--seconds 0.2] [--json]

"active" counts simulated clocks, "equivalent" the lab's clocks, both per second of processor time
of one core. Only the server node runs while the time is taken; clicks are drawn before. "whole lab" is server, clients, physics and
the messages between them in one process, as seconds of a core per second of lab time.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np

from twinphase_sim.lab.virtual import VirtualLab
from twinphase_sim.physics.link import Link
from twinphase_spec.lab import load_lab
from twinphase_spec.units import CLOCK_HZ, FRACTION_BITS


def measure(lab_name: str, seconds: float, skip: bool) -> dict[str, float]:
    """Speed of the server node of a lab over ``seconds`` of lab time from pulse 0 on."""
    with VirtualLab(load_lab(lab_name), 1, skip=skip) as virtual:
        node, start = virtual.nodes["server"], virtual.start_clock
        link = Link(virtual.lab, 1, virtual.symbols["alice"], virtual.symbols["bob"], start_clock=start)
        pulses = int(seconds * virtual.lab.frame.pulse_rate_hz)
        node.run(start)
        clicks = link.clicks(0, pulses)
        stop = start + round(seconds * CLOCK_HZ)
        inside = (clicks.times_ticks >= start << FRACTION_BITS) & (clicks.times_ticks < stop << FRACTION_BITS)
        clicks = clicks[inside]
        cycles = node.cycles_simulated
        began = time.thread_time()
        output = node.run(stop, clicks.times_ticks, clicks.channels)
        taken = time.thread_time() - began
        cycles = node.cycles_simulated - cycles
    return {
        "lab_seconds": seconds,
        "clicks": len(clicks),
        "packets": len(output),
        "words": int(np.size(output.words)),
        "cpu_seconds": taken,
        "simulated_cycles": cycles,
        "active_cycles_per_second": cycles / taken,
        "equivalent_cycles_per_second": (stop - start) / taken,
        "cycles_per_click": cycles / max(1, len(clicks)),
    }


def measure_lab(lab_name: str, seconds: float) -> dict[str, float]:
    """Processor time of the whole lab over its first ``seconds``, the way there (configuration, delays) included."""
    with VirtualLab(load_lab(lab_name), 1) as virtual:
        began = time.process_time()
        clicks = sum(len(step.clicks) for step in virtual.run_to(seconds))
        taken = time.process_time() - began
    return {
        "lab_seconds": seconds,
        "clicks": clicks,
        "cpu_seconds": taken,
        "cpu_seconds_per_lab_second": taken / seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lab", default="seed-370km")
    parser.add_argument("--seconds", type=float, default=0.2)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    result = {
        "native, every clock": measure(arguments.lab, arguments.seconds / 10, skip=False),
        "native, idle skipping": measure(arguments.lab, arguments.seconds, skip=True),
    }
    lab = measure_lab(arguments.lab, arguments.seconds)
    if arguments.json:
        print(json.dumps({**result, "whole lab": lab}, indent=1))
        return
    for name, figures in result.items():
        print(
            f"{name:<22} {figures['active_cycles_per_second'] / 1e6:6.2f} M active, "
            f"{figures['equivalent_cycles_per_second'] / 1e6:8.2f} M equivalent cycles/s; "
            f"{figures['cycles_per_click']:.1f} cycles per click, {figures['clicks']} clicks"
        )
    print(
        f"{'whole lab':<22} {lab['cpu_seconds_per_lab_second']:6.2f} s of a core per lab second; {lab['clicks']} clicks"
    )


if __name__ == "__main__":
    main()
