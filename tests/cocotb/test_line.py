"""Front ends of delay lines against an oracle, in a build of their own: windows of the scale are shorter there.

The stimulus is random from a seed, TWINPHASE_SEED or 1; a failure prints it.
"""

import os

from line_rig import line_rigs
from runner import Shelf, build, run

SEED = int(os.environ.get("TWINPHASE_SEED", "1"))


def test_bench() -> None:
    print(f"TWINPHASE_SEED={SEED}")
    run(build("line", Shelf(line_rigs())), "line", "bench_line", seed=SEED)
