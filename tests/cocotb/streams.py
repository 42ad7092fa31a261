"""Stream sources and sinks for the benches: seeded idles and back-pressure, checked against the stream rules."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadOnly, RisingEdge

PERIOD_NS = 8


async def start_clock(dut: Any) -> None:
    """Starts the 125 MHz clock, holds reset for two clocks and drives every undriven input to 0."""
    cocotb.start_soon(Clock(dut.clk, PERIOD_NS, unit="ns").start())
    dut.rst.value = 1
    for _ in range(2):
        await RisingEdge(dut.clk)
    await FallingEdge(dut.clk)
    dut.rst.value = 0
    await RisingEdge(dut.clk)


class StreamSource:
    """Drives ``<prefix>__payload`` and ``__valid``; before each word it idles with probability ``idle``.

    Inputs change on the falling edge, so that transfers are seen at the rising edge on both sides.
    """

    def __init__(self, dut: Any, prefix: str, *, idle: float = 0.0, seed: int = 0, always_ready: bool = False) -> None:
        self.dut, self.idle, self.random = dut, idle, random.Random(seed)
        self.payload, self.valid = getattr(dut, f"{prefix}__payload"), getattr(dut, f"{prefix}__valid")
        self.ready = None if always_ready else getattr(dut, f"{prefix}__ready")
        self.queue: deque[int] = deque()
        self.accepted = 0
        self.valid.value = 0
        self._task = cocotb.start_soon(self._drive())

    def send(self, words: Iterable[int]) -> None:
        """Queues words."""
        self.queue.extend(int(word) for word in words)

    async def drain(self) -> None:
        """Returns when all queued words are accepted."""
        target = self.accepted + len(self.queue)
        while self.accepted < target:
            await RisingEdge(self.dut.clk)

    def stop(self) -> None:
        """Lets go of the ports."""
        self._task.cancel()

    async def _drive(self) -> None:
        while True:
            await FallingEdge(self.dut.clk)
            if not self.queue or self.random.random() < self.idle:
                self.valid.value = 0
                continue
            self.payload.value = self.queue[0]
            self.valid.value = 1
            while True:
                await RisingEdge(self.dut.clk)
                if self.ready is None or self.ready.value:
                    break
            self.queue.popleft()
            self.accepted += 1


class StreamSink:
    """Takes words, not ready with probability ``idle``; asserts that payload and valid hold until the transfer."""

    def __init__(self, dut: Any, prefix: str, *, idle: float = 0.0, seed: int = 0, always_ready: bool = False) -> None:
        self.dut, self.idle, self.random, self.prefix = dut, idle, random.Random(seed), prefix
        self.payload, self.valid = getattr(dut, f"{prefix}__payload"), getattr(dut, f"{prefix}__valid")
        self.ready = None if always_ready else getattr(dut, f"{prefix}__ready")
        self.words: list[int] = []
        self._task = cocotb.start_soon(self._take())

    async def receive(self, count: int, limit_clocks: int = 200_000) -> list[int]:
        """The next ``count`` words; AssertionError when they do not come within ``limit_clocks``."""
        for _ in range(limit_clocks):
            if len(self.words) >= count:
                break
            await RisingEdge(self.dut.clk)
        got = len(self.words)
        assert got >= count, f"{self.prefix}: {got} of {count} words came within {limit_clocks} clocks"
        taken, self.words = self.words[:count], self.words[count:]
        return taken

    def stop(self) -> None:
        """Lets go of the ports."""
        self._task.cancel()

    async def _take(self) -> None:
        held: int | None = None
        while True:
            await FallingEdge(self.dut.clk)
            take = self.ready is None or self.random.random() >= self.idle
            if self.ready is not None:
                self.ready.value = int(take)
            await ReadOnly()
            valid = bool(self.valid.value)
            payload = int(self.payload.value) if valid else None
            assert held is None or payload == held, f"{self.prefix}: valid or payload did not hold until the transfer"
            held = payload if valid and not take else None
            if valid and take:
                self.words.append(int(payload or 0))
