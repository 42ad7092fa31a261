"""Plays chunks of one protocol, 256 at once in each process, and keeps count."""

from __future__ import annotations

import platform
import queue
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from importlib import metadata
from multiprocessing import get_context
from pathlib import Path
from signal import SIG_IGN, SIGINT, signal
from typing import Any

from twinphase.errors import TwinphaseError
from twinphase_sim.native.gates import yosys
from twinphase_sim.native.sifter import NativeSifters, SideOutputs
from twinphase_sim.native.slicedsifters import PARTS, Play, SlicedSifters
from twinphase_sim.native.toolchain import SOURCES, content_hash, verilator

from .chunk import Chunk, chunk_size, draw_chunk
from .compare import differences, discarded_blocks, inputs_of
from .state import MOST_KEPT, State

POLL_SECONDS = 0.5
"""From look to look whether a soak is to stop, or a process is gone."""


@dataclass(frozen=True)
class Result:
    """Of a chunk; seconds of processor time, the gateware's a share of what all chunks took that were played with it."""

    heralds: int
    blocks: int
    discarded: int
    sifted: int
    differences: list[str]
    gateware_seconds: float
    model_seconds: float


def play_chunk(protocol: str, seed: int, number: int, heralds: int) -> Result:
    """Play and compare one chunk with the Verilated pair. A play that does not end is a difference."""
    chunk = draw_chunk(protocol, seed, number, heralds)
    given: tuple[SideOutputs, SideOutputs] | str
    with closing(NativeSifters()) as sifters:
        start = time.process_time()
        try:
            given = sifters.play(*inputs_of(chunk))
        except RuntimeError as error:
            given = str(error)
        return _result(protocol, chunk, given, time.process_time() - start)


def play_chunks(
    protocol: str, seed: int, numbers: Iterable[int], heralds: int, stopped: Callable[[], bool] = lambda: False
) -> Iterator[tuple[int, Result]]:
    """Play and compare chunks as gates, many at once; numbers are asked for as there is room. Results as they come, until ``stopped()``.

    A play that does not end is a difference."""
    chunks: dict[int, tuple[int, Chunk]] = {}
    drawing = 0.0

    def plays() -> Iterator[Play]:
        nonlocal drawing
        for place, number in enumerate(numbers):
            start = time.process_time()
            chunks[place] = number, draw_chunk(protocol, seed, number, heralds)
            drawing += time.process_time() - start
            yield inputs_of(chunks[place][1])

    with closing(SlicedSifters()) as sifters:
        start = time.process_time()
        for place, given in sifters.play(plays(), stopped):
            seconds, drawing = time.process_time() - start - drawing, 0.0
            number, chunk = chunks.pop(place)
            yield number, _result(protocol, chunk, given, seconds)
            start = time.process_time()


def _result(protocol: str, chunk: Chunk, given: tuple[SideOutputs, SideOutputs] | str, seconds: float) -> Result:
    start = time.process_time()
    said = [given] if isinstance(given, str) else differences(protocol, chunk, given)
    return Result(
        heralds=chunk.block_heralds * chunk.blocks,
        blocks=chunk.blocks,
        discarded=int(discarded_blocks(chunk).sum()),
        sifted=0 if isinstance(given, str) else int(given[0].sifted.size),
        differences=said,
        gateware_seconds=seconds,
        model_seconds=time.process_time() - start,
    )


def versions() -> dict[str, str]:
    """Of what is compared: hashes of the sifter's gates and of all our sources that play and predict it, and the tools.

    Other rooms may change under a soak. Raises ExtraError or ToolchainError when there is no gateware."""
    yosys_version = yosys()
    from twinphase_sim.native.sifter_top import sifter_rtlil

    rtlil, _ = sifter_rtlil()
    return {
        "gateware": content_hash(rtlil),
        "sources": content_hash(*sources()),
        "amaranth": metadata.version("amaranth"),
        "verilator": verilator()[1],
        "yosys": yosys_version,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


def sources() -> list[bytes]:
    """Of the modules of spec, model, native and soak that are loaded, and of what compiles the sifters."""
    rooms = ("twinphase_spec", *(f"twinphase_sim.{room}" for room in ("model", "native", "soak")))
    loaded = (module for name, module in sorted(sys.modules.items()) if name.startswith(rooms))
    files = (getattr(module, "__file__", None) for module in loaded)
    return [Path(file).read_bytes() for file in files if file] + [(SOURCES / name).read_bytes() for name in PARTS]


def _played(
    protocol: str, seed: int, numbers: list[int], heralds: int, jobs: int, stopped: Callable[[], bool]
) -> Generator[tuple[int, Result], None, None]:
    """`play_chunks` in ``jobs`` processes. Raises TwinphaseError when one cannot go on."""
    if jobs == 1:
        yield from play_chunks(protocol, seed, numbers, heralds, stopped)
        return
    context = get_context("spawn")
    tasks, given = context.Queue(), context.Queue()
    for task in [*numbers, *[None] * jobs]:
        tasks.put(task)
    arguments = (tasks, given, protocol, seed, heralds)
    workers = [context.Process(target=_work, args=arguments, daemon=True) for _ in range(jobs)]
    for worker in workers:
        worker.start()
    try:
        left = jobs
        while left and not stopped():
            try:
                said = given.get(timeout=POLL_SECONDS)
            except queue.Empty:
                gone = [worker.exitcode for worker in workers if worker.exitcode]
                if gone:
                    raise TwinphaseError(
                        f"a process of the soak ended with {gone[0]}: check the memory, or use fewer --jobs"
                    ) from None
                continue
            if isinstance(said, TwinphaseError):
                raise said
            left -= said is None
            if said is not None:
                yield said
    finally:
        for worker in workers:
            worker.terminate()
        tasks.cancel_join_thread()


def _work(tasks: Any, given: Any, protocol: str, seed: int, heralds: int) -> None:
    """One process."""
    signal(SIGINT, SIG_IGN)  # the parent says when to stop
    try:
        for result in play_chunks(protocol, seed, iter(tasks.get, None), heralds):
            given.put(result)
        given.put(None)
    except TwinphaseError as error:
        given.put(error)


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

    What is under way when it is stopped is played again by the next call.

    ``progressed``: gets the heralds done so far. Raises TwinphaseError when a process cannot go on."""
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

    numbers, drawn, number = [], progress.heralds, progress.chunks
    while drawn < heralds:
        if number not in progress.ahead:
            numbers.append(number)
            drawn += chunk_size(protocol, seed, number, chunk_heralds)
        number += 1
    if not numbers or stopped():
        return
    with closing(_played(protocol, seed, numbers, chunk_heralds, jobs, stopped)) as results:
        for number, result in results:
            take(number, result)
            if progress.mismatches >= MOST_KEPT or stopped():
                return
