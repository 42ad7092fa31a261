"""Front ends of delay lines against an oracle, in a build of their own: windows of the scale are shorter there."""

from line_rig import line_rigs
from runner import Shelf, build, run


def test_bench() -> None:
    run(build("line", Shelf(line_rigs())), "line", "bench_line")
