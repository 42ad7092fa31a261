"""Whole stimulus vectors on ports, clock by clock, and packed structures.

`play` is the engine of the benches with a fixed stimulus: inputs change right after a rising edge and outputs are read as
they stand at the next one, so that clock k of the vectors is one clock of the gateware on both sides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cocotb
import numpy as np
from amaranth.hdl import Shape
from amaranth.lib import data
from cocotb.triggers import RisingEdge


def generator() -> np.random.Generator:
    """A generator from the test's seed, which cocotb derives from the run's and this prints."""
    cocotb.log.info("test seed %d", cocotb.RANDOM_SEED)
    return np.random.default_rng(cocotb.RANDOM_SEED)


def pack(layout: Any, values: Mapping[str, int]) -> int:
    """A structure's value from its fields (masked to their widths); absent fields are 0."""
    word = 0
    fields = dict(data.Layout.cast(layout))
    for name, value in values.items():
        field = fields[name]
        word |= (int(value) & ((1 << Shape.cast(field.shape).width) - 1)) << field.offset
    return word


def unpack(layout: Any, words: Sequence[int]) -> dict[str, np.ndarray]:
    """Fields of packed structures, as unsigned 64-bit arrays (Python integers where a field is wider)."""
    columns = {}
    for name, field in data.Layout.cast(layout):
        width = Shape.cast(field.shape).width
        values = [word >> field.offset & ((1 << width) - 1) for word in words]
        columns[name] = np.array(values, dtype=np.uint64 if width <= 64 else object)
    return columns


def lanes(columns: Sequence[Sequence[int]], width: int) -> list[int]:
    """Packed arrays: element i of each word from ``columns[i]``, ``width`` bits each."""
    mask = (1 << width) - 1
    return [
        sum((int(value) & mask) << width * i for i, value in enumerate(values)) for values in zip(*columns, strict=True)
    ]


def unlanes(words: Sequence[int], width: int, count: int) -> np.ndarray:
    """(words, count) array of the elements of packed arrays."""
    mask = (1 << width) - 1
    return np.array([[word >> width * i & mask for i in range(count)] for word in words], dtype=np.uint64)


async def play(
    dut: Any,
    drive: Mapping[str, Sequence[int] | np.ndarray | int],
    watch: Sequence[str] = (),
    when: Mapping[str, str] | None = None,
    clocks: int | None = None,
) -> tuple[dict[str, list[int]], dict[str, list[tuple[int, int]]]]:
    """Drives ports and reads others, one element per clock.

    ``drive``: per input a vector, or an integer that holds. ``watch``: outputs read in every clock. ``when``: output ->
    qualifier; read as (clock, value) where the qualifier is 1. Must be called, and returns, right after a rising edge.
    """
    vectors = {name: values for name, values in drive.items() if not isinstance(values, int)}
    lengths = {len(values) for values in vectors.values()} | ({clocks} if clocks is not None else set())
    if len(lengths) != 1:
        raise ValueError(f"play: vectors of {sorted(lengths)} clocks; allowed: one length")
    total = lengths.pop()
    changes: list[list[tuple[Any, int]]] = [[] for _ in range(total)]
    for name, values in drive.items():
        handle = getattr(dut, name)
        if isinstance(values, int):
            changes[0].append((handle, values))
            continue
        before = None
        for k, value in enumerate(values):
            if value != before:
                changes[k].append((handle, int(value)))
                before = value
    seen: dict[str, list[int]] = {name: [] for name in watch}
    caught: dict[str, list[tuple[int, int]]] = {name: [] for name in when or {}}
    watched = [(getattr(dut, name), seen[name]) for name in watch]
    conditions: dict[str, list[tuple[Any, list[tuple[int, int]]]]] = {}
    for name, qualifier in (when or {}).items():
        conditions.setdefault(qualifier, []).append((getattr(dut, name), caught[name]))
    qualified = [(getattr(dut, name), parts) for name, parts in conditions.items()]
    edge = RisingEdge(dut.clk)
    for k, now in enumerate(changes):
        for handle, value in now:
            handle.value = value
        await edge
        for handle, values in watched:
            values.append(int(handle.value))
        for handle, parts in qualified:
            if int(handle.value):
                for part, values in parts:
                    values.append((k, int(part.value)))
    return seen, caught


def transfers(caught: Sequence[tuple[int, int]], ready: Sequence[int] | np.ndarray) -> list[tuple[int, int]]:
    """(clock, payload) of a stream's transfers, from its payload where valid; checks that both hold until the transfer."""
    taken, held = [], None
    for k, payload in caught:
        assert held is None or held == (k - 1, payload), f"clock {k}: valid or payload did not hold until the transfer"
        held = (k, payload)
        if ready[k]:
            taken.append((k, payload))
            held = None
    assert held is None or held[0] == len(ready) - 1, f"valid fell after clock {held[0]} without a transfer"
    return taken


async def reset(dut: Any, *inputs: str) -> None:
    """One clock of reset; ``inputs`` go to 0."""
    await play(dut, {"rst": [1, 0], **dict.fromkeys(inputs, 0)})
