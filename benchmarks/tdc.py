"""The delay line's figures as rows of the README's table, from the bit-exact model behind the tap model.

    python benchmarks/tdc.py [--quick]

Runs the statistics tests (tests/statistics/test_tdc_*.py), which state reach and sample and fail where a figure is missed, and
prints their rows. Tap delays are the place-and-route tool's model in two readings, its timing reports and its SDF files, not
silicon: the SDF's typical corner has pairs of taps 2 ps apart, which costs a single chain 10.6 ps; two flip-flops for each tap
make up for it, and how much several chains do depends on the routes to them, whose draws have rows of their own. The full table takes
some ten minutes of processor time.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the quick suite's smaller samples")
    arguments = parser.parse_args()
    tests = sorted((ROOT / "tests" / "statistics").glob("test_tdc_*.py"))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-s",
        "-m",
        "not long" if arguments.quick else "long",
        *map(str, tests),
    ]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    lines = run.stdout.splitlines()
    print("| quantity | reach | measured | sample |\n|---|---|---|---|")
    # a progress mark of the test before may stand in front of a row
    print("\n".join(line[line.index("| ") :] for line in lines if line.endswith(" |") and "| " in line))
    if run.returncode:
        print(run.stdout[-3000:], run.stderr[-3000:], file=sys.stderr)
    return run.returncode


if __name__ == "__main__":
    sys.exit(main())
