"""Model against native gateware at scale: pairs of block sifters and the numpy model, word by word, protocol by protocol.

    python benchmarks/soak.py [--protocol SNS ...] [--heralds 1e9] [--jobs 2] [--seconds S] [--json]

Heralds come in chunks with a seed each (block, width, sources, rates, losses and delays differ from chunk to chunk). In each process
256 chunks play at once, as gates in vectors (twinphase_sim.native.slicedsifters), which takes about 1.5 GB with chunks of the usual
size. What has been done is kept in a state file after every chunk, so that a soak can be stopped (Ctrl-C, kill) and goes on with the
next call, which plays the chunks under way again; it starts anew when gateware, spec, model, tools or seed are others. The exit code is
1 if anything differs; the file then says the chunk, which --chunk plays again, in the Verilated sifters.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from twinphase.errors import TwinphaseError
from twinphase.stopping import stop_on_signals
from twinphase_sim.soak.chunk import MOST_HERALDS
from twinphase_sim.soak.run import play_chunk, soak, versions
from twinphase_sim.soak.state import State
from twinphase_spec.rules import PROTOCOLS

CHUNK_HERALDS = 1 << 16
LEAST_CHUNK = 2048


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--protocol", nargs="+", choices=list(PROTOCOLS), default=list(PROTOCOLS))
    parser.add_argument("--heralds", type=float, default=1e9, metavar="N", help="of each protocol (1e9)")
    parser.add_argument(
        "--chunk-heralds", type=int, default=CHUNK_HERALDS, metavar="N", help=f"of a chunk ({CHUNK_HERALDS})"
    )
    parser.add_argument(
        "--chunk", type=int, metavar="K", help="play this chunk of one protocol alone, Verilated, and say what differs"
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes (1)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--seconds", type=float, default=float("inf"), metavar="S", help="stop after so long, on the clock"
    )
    parser.add_argument("--state", type=Path, default=Path("build/soak.json"), metavar="FILE")
    parser.add_argument("--json", action="store_true", help="print the state at the end")
    return parser


def main() -> int:
    arguments = parser().parse_args()
    console = Console(stderr=True)
    try:
        return run(arguments, console)
    except TwinphaseError as error:
        console.print(str(error), style="red", markup=False)
        return 2


def run(arguments: argparse.Namespace, console: Console) -> int:
    chunk_heralds = arguments.chunk_heralds
    if not LEAST_CHUNK <= chunk_heralds <= MOST_HERALDS:
        raise TwinphaseError(f"--chunk-heralds is {chunk_heralds}; allowed: {LEAST_CHUNK} to {MOST_HERALDS}")
    if not arguments.jobs >= 1 or not arguments.heralds >= 1 or arguments.seed < 0:
        raise TwinphaseError("--jobs and --heralds are at least 1, --seed at least 0")
    if arguments.chunk is not None:
        if len(arguments.protocol) != 1 or arguments.chunk < 0:
            raise TwinphaseError("--chunk is a number from 0 on of one --protocol")
        result = play_chunk(arguments.protocol[0], arguments.seed, arguments.chunk, chunk_heralds)
        print("\n".join(result.differences) or f"{result.heralds} heralds, no difference")
        return int(bool(result.differences))
    about = {"seed": arguments.seed, "chunk_heralds": chunk_heralds, "versions": versions()}
    state, left = State.open(arguments.state, about)
    if left:
        console.print(
            f"{arguments.state} was of other sources, seed or chunks: begun anew, the old one is beside it as .old"
        )
    begun = time.monotonic()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with stop_on_signals() as stopped, Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        for protocol in arguments.protocol:
            done = state.of(protocol)
            task = bars.add_task(protocol, total=arguments.heralds, completed=done.heralds, rate="")

            def progressed(heralds: int, task=task, done=done) -> None:
                rate = f"{heralds:.3g} heralds, {heralds / done.seconds:,.0f}/s, {done.mismatches} mismatches"
                bars.update(task, completed=heralds, rate=rate)

            soak(
                state,
                protocol,
                heralds=int(arguments.heralds),
                seed=arguments.seed,
                chunk_heralds=chunk_heralds,
                jobs=arguments.jobs,
                stopped=lambda: stopped.is_set() or time.monotonic() - begun > arguments.seconds,
                progressed=progressed,
            )
    chosen = {name: state.of(name) for name in arguments.protocol}
    if arguments.json:
        print(json.dumps(state.as_dict()))
    else:
        for name, done in chosen.items():
            rate = f"{done.heralds / done.seconds:,.0f}/s" if done.seconds else "-"
            print(
                f"{name}: {done.heralds:,} heralds, {done.mismatches} mismatching chunks, {done.seconds:,.0f} s, {rate}"
            )
    for name, done in chosen.items():
        for entry in done.said:
            console.print(
                f"{name} chunk {entry['chunk']}: {'; '.join(entry['differences'])}", style="red", markup=False
            )
    return int(any(done.mismatches for done in chosen.values()))


if __name__ == "__main__":
    sys.exit(main())
