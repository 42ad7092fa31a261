"""Sources and sinks that one loop drives clock by clock, so that a bench knows the clock of every transfer.

Inputs change after the falling edge; outputs are read once they have settled, before the rising edge at which the transfer
takes place. One loop for all streams costs two triggers per clock, however many streams there are.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadOnly, RisingEdge

PERIOD_NS = 8


class Source:
    """Offers ``queue`` on ``<prefix>__payload``; before each word it pauses with probability ``idle`` per clock.

    ``taken``: (cycle, word) of every transfer.
    """

    def __init__(self, dut: Any, prefix: str, *, idle: float = 0.0, seed: int = 0) -> None:
        self.idle, self.random = idle, random.Random(f"{prefix} {seed}")
        self.payload, self.valid = getattr(dut, f"{prefix}__payload"), getattr(dut, f"{prefix}__valid")
        self.ready = getattr(dut, f"{prefix}__ready", None)
        self.queue: deque[int] = deque()
        self.taken: list[tuple[int, int]] = []
        self.offered = False
        self.driven = -1

    def send(self, words: Iterable[int]) -> None:
        """Appends words to the queue."""
        self.queue.extend(words)

    def stop(self) -> None:
        """Forgets the queue but the word that is already offered."""
        while len(self.queue) > self.offered:
            self.queue.pop()

    def drive(self) -> None:
        if not self.offered:
            self.offered = bool(self.queue) and not (self.idle and self.random.random() < self.idle)
            if self.offered:
                self.payload.value = self.queue[0]
        if self.driven != self.offered:
            self.driven = self.offered
            self.valid.value = int(self.offered)

    def sample(self, cycle: int) -> None:
        if self.offered and (self.ready is None or self.ready.value):
            self.taken.append((cycle, self.queue.popleft()))
            self.offered = False


class Sink:
    """Takes words into ``taken`` as (cycle, word), not ready with probability ``idle`` (1.0: never).

    AssertionError when valid or payload does not hold until the transfer.
    """

    def __init__(self, dut: Any, prefix: str, *, idle: float = 0.0, seed: int = 0) -> None:
        self.prefix, self.idle, self.random = prefix, idle, random.Random(f"{prefix} {seed}")
        self.payload, self.valid = getattr(dut, f"{prefix}__payload"), getattr(dut, f"{prefix}__valid")
        self.ready = getattr(dut, f"{prefix}__ready", None)
        self.taken: list[tuple[int, int]] = []
        self.take, self.held = True, -1
        self.driven = -1

    @property
    def words(self) -> list[int]:
        return [word for _, word in self.taken]

    def drive(self) -> None:
        if self.ready is not None:
            self.take = not self.idle or self.random.random() >= self.idle
            if self.driven != self.take:
                self.driven = self.take
                self.ready.value = int(self.take)

    def sample(self, cycle: int) -> None:
        if not self.valid.value:
            assert self.held == -1, f"{self.prefix}: valid fell before the transfer, at cycle {cycle}"
            return
        word = int(self.payload.value)
        assert self.held in (-1, word), f"{self.prefix}: payload changed before the transfer, at cycle {cycle}"
        if self.take:
            self.taken.append((cycle, word))
            self.held = -1
        else:
            self.held = word


class Lockstep:
    """The loop. ``before`` runs after the falling edge (drive inputs), ``after`` with settled outputs; both get the cycle.

    ``domain``: prefix of the names of clock and reset, "" for ``sync``. Two clocks have a loop each, side by side.
    """

    def __init__(self, dut: Any, *, domain: str = "", period_ps: int = 1000 * PERIOD_NS) -> None:
        self.dut = dut
        self.clk, self.rst = getattr(dut, f"{domain}clk"), getattr(dut, f"{domain}rst")
        self.period_ps = period_ps
        self.cycle = 0
        self.parts: list[Source | Sink] = []
        self.before: list[Callable[[int], None]] = []
        self.after: list[Callable[[int], None]] = []

    async def start(self) -> None:
        """Starts the clock and resets for two clocks; all inputs of added parts are driven from the first cycle on."""
        cocotb.start_soon(Clock(self.clk, self.period_ps, unit="ps").start())
        self.rst.value = 1
        for part in self.parts:
            if isinstance(part, Source):
                part.valid.value = 0
            elif part.ready is not None:
                part.ready.value = 0
        for _ in range(2):
            await RisingEdge(self.clk)
        await FallingEdge(self.clk)
        self.rst.value = 0

    def source(self, prefix: str, *, idle: float = 0.0, seed: int = 0) -> Source:
        """Adds a source."""
        self.parts.append(Source(self.dut, prefix, idle=idle, seed=seed))
        return self.parts[-1]  # type: ignore[return-value]

    def sink(self, prefix: str, *, idle: float = 0.0, seed: int = 0) -> Sink:
        """Adds a sink."""
        self.parts.append(Sink(self.dut, prefix, idle=idle, seed=seed))
        return self.parts[-1]  # type: ignore[return-value]

    async def step(self, clocks: int = 1) -> None:
        """Runs for ``clocks`` clocks."""
        for _ in range(clocks):
            await FallingEdge(self.clk)
            for drive in self.before:
                drive(self.cycle)
            for part in self.parts:
                part.drive()
            await ReadOnly()
            for part in self.parts:
                part.sample(self.cycle)
            for check in self.after:
                check(self.cycle)
            self.cycle += 1
            await RisingEdge(self.clk)  # the transfer is over, and the caller may write again

    async def until(self, condition: Callable[[], bool], limit: int, what: str) -> None:
        """Steps until ``condition``; AssertionError after ``limit`` clocks."""
        for _ in range(limit):
            if condition():
                return
            await self.step()
        assert condition(), f"{what}: not within {limit} clocks"
