"""Clocks per second of the server node in every engine: native, cocotb and Amaranth's simulator.

    python benchmarks/engines.py [--lab seed-370km] [--seconds 1] [--json]

"active" counts simulated clocks, "equivalent" the lab's clocks. Native figures are taken at the lab's click rate, the others
with quiet inputs (which flatters them). All per second of processor time of one core.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path

from native import measure

ROOT = Path(__file__).resolve().parents[1]
COCOTB_CYCLES = 100_000
AMARANTH_CYCLES = 300


def cocotb_cycles_per_second() -> float:
    """The server node under cocotb, as this repository's benches run it."""
    sys.path[:0] = [str(ROOT / "tests" / "cocotb"), str(ROOT / "benchmarks")]
    import runner
    from twinphase_hdl.nodes.server import ServerNode

    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result"
        os.environ.update(TWINPHASE_CYCLES=str(COCOTB_CYCLES), TWINPHASE_RESULT=str(result))
        runner.run(runner.build("benchmark_server", ServerNode()), "benchmark_server", "cocotb_clock")
        return float(result.read_text())


def amaranth_cycles_per_second() -> float:
    """The server node in Amaranth's own simulator."""
    from amaranth.sim import Simulator

    from twinphase_hdl.nodes.server import ServerNode

    simulator = Simulator(ServerNode())
    simulator.add_clock(8e-9)
    simulator.run_until(80e-9)  # the first clocks settle and compile
    began = time.process_time()
    simulator.run_until(80e-9 + AMARANTH_CYCLES * 8e-9)
    return AMARANTH_CYCLES / (time.process_time() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lab", default="seed-370km")
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    skipping = measure(arguments.lab, arguments.seconds, skip=True)
    full = measure(arguments.lab, arguments.seconds / 10, skip=False)
    rates = {
        "native, idle skipping": (skipping["active_cycles_per_second"], skipping["equivalent_cycles_per_second"]),
        "native, every clock": (full["active_cycles_per_second"],) * 2,
        "cocotb": (cocotb_cycles_per_second(),) * 2,
        "Amaranth simulator": (amaranth_cycles_per_second(),) * 2,
    }
    if arguments.json:
        print(json.dumps({name: {"active": a, "equivalent": e} for name, (a, e) in rates.items()}, indent=1))
        return
    print(
        f"server node, {arguments.lab}: {skipping['clicks'] / skipping['lab_seconds']:.3g} clicks per second, ", end=""
    )
    print(f"{skipping['cycles_per_click']:.1f} simulated clocks per click")
    for name, (active, equivalent) in rates.items():
        print(f"  {name:<22} {active:>12,.0f} active   {equivalent:>14,.0f} equivalent clocks/s")


if __name__ == "__main__":
    main()
