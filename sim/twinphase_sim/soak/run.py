"""Plays chunks of one protocol after the other, in one process or several, and keeps count."""

from __future__ import annotations

import hashlib
import platform
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from signal import SIG_IGN, SIGINT, signal
from typing import Any

from twinphase_sim.native.sifter import NativeSifters
from twinphase_sim.native.toolchain import verilator

from .chunk import draw_chunk
from .compare import differences, discarded_blocks, inputs_of
from .state import MOST_KEPT, State

_sifters: NativeSifters | None = None
"""One in each process, compiled once."""


@dataclass(frozen=True)
class Result:
    """Of a chunk."""

    heralds: int
    blocks: int
    discarded: int
    sifted: int
    differences: list[str]
    gateware_seconds: float
    model_seconds: float


def play_chunk(protocol: str, seed: int, number: int, heralds: int) -> Result:
    """Play and compare one chunk. A play that does not end is a difference, and the sifters are made anew."""
    global _sifters
    if _sifters is None:
        _sifters = NativeSifters()
    chunk = draw_chunk(protocol, seed, number, heralds)
    start = time.process_time()
    outputs = None
    try:
        outputs = _sifters.play(*inputs_of(chunk))
    except RuntimeError as error:
        said = [str(error)]
        _sifters.close()
        _sifters = None
    middle = time.process_time()
    if outputs is not None:
        said = differences(protocol, chunk, outputs)
    return Result(
        heralds=chunk.block_heralds * chunk.blocks,
        blocks=chunk.blocks,
        discarded=int(discarded_blocks(chunk).sum()),
        sifted=int(outputs[0].sifted.size) if outputs is not None else 0,
        differences=said,
        gateware_seconds=middle - start,
        model_seconds=time.process_time() - middle,
    )


def versions() -> dict[str, str]:
    """Of what is compared: hashes of the sources, and the tools."""
    packages = {"gateware": ["twinphase_hdl"], "spec": ["twinphase_spec"]}
    packages["sim"] = [f"twinphase_sim.{part}" for part in ("model", "native", "soak")]
    return {
        **{name: _hash(parts) for name, parts in packages.items()},
        "amaranth": metadata.version("amaranth"),
        "verilator": verilator()[1],
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


def _hash(packages: list[str]) -> str:
    digest = hashlib.sha256()
    for package in packages:
        found = find_spec(package)
        assert found is not None
        assert found.submodule_search_locations
        root = Path(found.submodule_search_locations[0])
        for path in sorted(file for file in root.rglob("*") if file.suffix in (".py", ".cpp", ".h")):
            digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def soak(
    state: State,
    protocol: str,
    *,
    heralds: int,
    seed: int,
    chunk_heralds: int,
    jobs: int,
    stopped: Callable[[], bool],
    progressed: Callable[[int], Any],
) -> None:
    """Go on until ``heralds`` heralds are done, too many chunks differ, or ``stopped()``; the state is written after each chunk.

    ``progressed``: gets the heralds done so far."""
    progress = state.of(protocol)
    before, mark = progress.seconds, time.monotonic()

    def take(number: int, result: Result) -> None:
        progress.heralds += result.heralds
        progress.blocks += result.blocks
        progress.discarded += result.discarded
        progress.sifted += result.sifted
        progress.gateware_seconds += result.gateware_seconds
        progress.model_seconds += result.model_seconds
        if result.differences:
            progress.mismatches += 1
            if len(progress.said) < MOST_KEPT:
                progress.said.append({"chunk": number, "differences": result.differences})
        progress.seconds = before + time.monotonic() - mark
        progress.close(number)
        state.write()
        progressed(progress.heralds)

    def goes_on() -> bool:
        return progress.heralds < heralds and progress.mismatches < MOST_KEPT and not stopped()

    if jobs == 1:
        while goes_on():
            number = progress.pending(set())
            take(number, play_chunk(protocol, seed, number, chunk_heralds))
        return
    running: dict[Future[Result], int] = {}
    with ProcessPoolExecutor(jobs, get_context("spawn"), signal, (SIGINT, SIG_IGN)) as pool:
        while goes_on() or running:
            while goes_on() and len(running) < jobs and progress.heralds + len(running) * chunk_heralds < heralds:
                number = progress.pending(set(running.values()))
                running[pool.submit(play_chunk, protocol, seed, number, chunk_heralds)] = number
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                take(running.pop(future), future.result())
