"""Symbol generator and emitters: every emitted pulse has the reference's codes, through table wraps and time jumps."""

from __future__ import annotations

import random
from typing import Any

import cocotb
import numpy as np

from lockstep import Lockstep
from sift_rigs import SymbolEmitter, settings_of
from twinphase_hdl.sift.keyschedule import KeySchedule
from twinphase_hdl.sift.symbols import Symbol
from twinphase_hdl.types import Anchor, GridConfig
from twinphase_sim.model.sift.symbols import modulator_codes, symbols
from twinphase_spec.frame import SLOT_RECIPROCAL_SHIFT, FrameConfig, SlotClass, slot_byte
from twinphase_spec.registers import CLIENT_TABLE_ENTRIES
from twinphase_spec.symbols import BOUNDS, CODE_BITS, SymbolConfig

CODE_MASK = (1 << CODE_BITS) - 1
PULSE_MASK = (1 << 56) - 1


def offset_of(layout: Any, name: str) -> int:
    return layout.as_shape()[name].offset


def random_config(draw: random.Random) -> SymbolConfig:
    """Any key and nonce; bounds at their ends as often as not."""
    bounds = sorted(draw.choice([0, 4096, draw.randrange(4097), draw.randrange(4097)]) for _ in BOUNDS)
    return SymbolConfig(
        key=tuple(draw.choice([0, 0xFFFFFFFF, draw.getrandbits(32)]) for _ in range(4)),  # type: ignore[arg-type]
        nonce=draw.choice([0, (1 << 64) - 1, draw.getrandbits(64)]),
        **dict(zip(BOUNDS, bounds, strict=True)),
    )


def random_frame(draw: random.Random, slots: int, slot_pulses: int) -> FrameConfig:
    classes = list(SlotClass)
    weights = [4 if c is SlotClass.SIG else 1 for c in classes]
    table = tuple(slot_byte(*draw.choices(classes, weights, k=2)) for _ in range(slots))
    return FrameConfig(
        period_q32=1024 << 32, slot_pulses=slot_pulses, table=table, frames_per_window=1 << 16, windows_per_dwindow=2
    )


def table_words(frame: FrameConfig, lanes: int) -> list[int]:
    """FRAME_TABLE of a client: byte i of an entry is lane i (register map)."""
    if frame.slot_pulses >= lanes:
        entries = [[byte] * lanes for byte in frame.table]
    else:
        bytes_by_pulse = [byte for byte in frame.table for _ in range(frame.slot_pulses)]
        entries = [bytes_by_pulse[i : i + lanes] for i in range(0, len(bytes_by_pulse), lanes)]
    assert len(entries) <= CLIENT_TABLE_ENTRIES
    return [
        int.from_bytes(bytes(entry).ljust(8, b"\xff")[4 * half : 4 * half + 4], "little")
        for entry in entries
        for half in (0, 1)
    ]


async def settle(dut: Any, loop: Lockstep, name: str, config: SymbolConfig) -> None:
    """Sets up a generator and waits until its key is expanded."""
    getattr(dut, f"{name}__i_settings").value = settings_of(config)
    await loop.step(4)
    await loop.until(lambda: getattr(dut, f"{name}__o_ready").value == 1, KeySchedule.latency, f"{name}'s key")


@cocotb.test()
@cocotb.parametrize((("lanes", "framing"), [(8, 0), (8, 1), (1, 0), (1, 1)]))
async def test_recall(dut: Any, lanes: int, framing: int) -> None:
    """Symbols of random and extreme indices in their order, alone and crowded, under several settings, while pulses are emitted."""
    draw = random.Random(f"recall {lanes} {framing}")
    name = f"emitter{lanes}"
    port = lambda member: getattr(dut, f"{name}__{member}")  # noqa: E731
    loop = Lockstep(dut)
    for member in ("i_stop", "i_framing", "i_anchor", "i_write", "i_grid", "i_role"):
        port(member).value = 0
    source = loop.source(f"{name}__i_recall", idle=0.0)
    got: list[int] = []
    pulse = 0

    def watch(_: int) -> None:
        if port("o_recalled_valid").value:
            got.append(int(port("o_recalled").value))

    loop.after.append(watch)
    await loop.start()
    for idle in (0.0, 0.5, 0.95):
        config = random_config(draw)
        port("i_framing").value = 0
        await settle(dut, loop, name, config)
        extreme = [0, 1, PULSE_MASK, 1 << 32, (1 << 32) - 1, PULSE_MASK - 1]
        pulses = extreme + [draw.getrandbits(56) for _ in range(120)]
        got.clear()
        source.idle = idle
        source.send(pulses)
        port("i_framing").value = framing
        for _ in range(6000):
            port("i_anchor").value = pulse << offset_of(Anchor, "pulse")
            pulse += lanes
            await loop.step()
            if len(got) == len(pulses):
                break
        await loop.step(50)
        want = symbols(config, np.array(pulses, np.uint64))
        for field_name in ("x", "send", "intensity", "slice", "phase"):
            field = Symbol.as_shape()[field_name]
            mask = (1 << field.width) - 1
            values = [word >> field.offset & mask for word in got]
            assert values == getattr(want, field_name).astype(int).tolist(), field_name


@cocotb.test()
@cocotb.parametrize(
    (
        ("lanes", "slots", "slot_pulses"),
        [(8, 48, 1), (8, 50, 24), (8, 4096, 8), (8, 64, 4), (8, 7, 65528), (1, 61, 3), (1, 4096, 1), (1, 3, 65535)],
    )
)
async def test_every_pulse_is_the_references(dut: Any, lanes: int, slots: int, slot_pulses: int) -> None:
    """All codes of both bands over stretches with table wraps, after jumps, past 2^32, and around stops of the frame."""
    draw = random.Random(f"{lanes} {slots} {slot_pulses}")
    name = f"emitter{lanes}"
    port = lambda member: getattr(dut, f"{name}__{member}")  # noqa: E731
    loop = Lockstep(dut)
    frame, config = random_frame(draw, slots, slot_pulses), random_config(draw)
    role = draw.choice(["alice", "bob"])
    entry_pulses = max(slot_pulses, lanes)
    grid = entry_pulses << offset_of(GridConfig, "slot_pulses")
    grid |= (1 << SLOT_RECIPROCAL_SHIFT) // entry_pulses << offset_of(GridConfig, "slot_reciprocal")
    for member, value in {
        "i_grid": grid,
        "i_role": int(role == "bob"),
        "i_stop": 0,
        "i_framing": 0,
        "i_anchor": 0,
        "i_write": 0,
    }.items():
        port(member).value = value
    loop.source(f"{name}__i_recall", idle=0.3).send(draw.getrandbits(56) for _ in range(1000))
    await loop.start()
    await settle(dut, loop, name, config)
    port("i_write").value = 1
    for address, word in enumerate(table_words(frame, lanes)):
        port("i_address").value = address
        port("i_data").value = word
        await loop.step()
    port("i_write").value = 0

    length = frame.frame_pulses
    # Ends of frames (the table wraps), slot borders, 2^32, and anything; 2^56 only where the frame's grid also wraps there.
    starts = [
        length - 5 * lanes,
        7 * length - 3 * lanes,
        (1 << 32) - 6 * lanes,
        3 * length + 2 * slot_pulses - 2 * lanes,
    ]
    starts += [draw.randrange(PULSE_MASK - 4 * length) for _ in range(8)]
    if (1 << 56) % length == 0:
        starts.append((1 << 56) - 4 * lanes)
    driven: list[int | None] = []
    for start in starts:
        first = start // 8 * 8  # a jump is to where a block of the key stream begins
        driven += [first + lanes * i & PULSE_MASK for i in range(draw.randrange(1, 60))]
        driven += [None] * draw.choice([0, 0, 1, 5])
    seen: list[tuple[int, int, int, int]] = []
    latency = SymbolEmitter(lanes=lanes).latency
    pulse_at, frame_at = offset_of(Anchor, "pulse"), offset_of(Anchor, "frame_pulse")
    ports = [port(member) for member in ("o_valid", "o_pulse", "o_q", "o_r")]
    loop.after.append(lambda _: seen.append(tuple(int(p.value) for p in ports)))
    first_cycle = len(seen)
    for n in [*driven, *[None] * latency]:
        shown = n if n is not None else draw.getrandbits(50) // lanes * lanes
        port("i_framing").value = int(n is not None)
        port("i_anchor").value = shown << pulse_at | shown % length << frame_at | draw.getrandbits(51)
        await loop.step()
    got = seen[first_cycle + latency :]
    firsts = np.array([n for n in driven if n is not None], np.uint64)
    pulses = (firsts[:, None] + np.arange(lanes, dtype=np.uint64)) & np.uint64(PULSE_MASK)
    want_q, want_r = modulator_codes(frame, role, config, pulses.reshape(-1))  # type: ignore[arg-type]
    codes = iter(zip(want_q.reshape(-1, lanes).tolist(), want_r.reshape(-1, lanes).tolist(), strict=True))
    for n, (valid, pulse, q, r) in zip(driven, got, strict=True):
        if n is None:
            assert (valid, q, r) == (0, 0, 0)
            continue
        assert (valid, pulse) == (1, n)
        for code, want in zip((q, r), next(codes), strict=True):
            told = [code >> CODE_BITS * lane & CODE_MASK for lane in range(lanes)]
            assert told == want, f"pulse {n} (l = {n % length}): codes {told}, expected {want}"
