"""A client's top in simulation, from packets and a QRNG's input registers to what its output registers take: clocks and link are the
bench's."""

from __future__ import annotations

import random
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import numpy as np
from amaranth.hdl import Fragment, Module, Value
from amaranth.sim import Simulator

from twinphase_firmware import clienttop
from twinphase_firmware.boards import Board
from twinphase_firmware.clientoptions import ClientOptions
from twinphase_spec.configure import frame_registers
from twinphase_spec.frame import LAG_CLOCKS, FrameConfig, SlotClass, slot_byte
from twinphase_spec.symbols import BOUNDS, SymbolConfig

LINES = ("clocks", "valid", "q_intensity", "q_phase", "r_intensity", "r_phase", "fraction")
"""Of a client with outputs "dac"."""
QRNG = "qrng"


class BoardPins:
    """A board's platform of which there are only the pins, and their registers, by the names of lines; ``qrng``: those of a QRNG."""

    def __init__(self, board: Board) -> None:
        self._platform = board.prepare(0)
        self.registers: dict[str, Any] = {}
        self.qrng: dict[str, Any] = {}

    def request(self, name: str, number: int, **options: Any) -> Any:
        return self._platform.request(name, number, **options)

    def get_io_buffer(self, buffer: Any) -> Module:
        resource, line, _ = buffer.port.io.name.split("__")
        (self.qrng if resource.startswith(QRNG) else self.registers)[line] = buffer
        return Module()


class ClientRig:
    """Plays benches on the top. ``seen``: of every clock that `step` made, the clock count and both halves of all ``lines``."""

    def __init__(self, board: Board, options: ClientOptions, monkeypatch: Any, lines: tuple[str, ...] = LINES) -> None:
        nodes: list[Any] = []
        monkeypatch.setattr(clienttop, "BoardClock", lambda **_: Module())
        monkeypatch.setattr(clienttop, "connect_link", lambda m, platform, board, node, link, **_: nodes.append(node))
        self.top = clienttop.ClientTop(board, options, build_hash=0)
        pins = BoardPins(board)
        self._fragment = Fragment.get(self.top, pins)
        (self.node,) = nodes
        assert set(pins.registers) == set(lines)
        self.widths = {name: len(pins.registers[name].port) for name in lines}
        self.qrng = pins.qrng
        self._lines = lines
        self._registers = [pins.registers[name].o for name in lines]
        self.seen: dict[int, SimpleNamespace] = {}

    def run(self, bench: Any, *beside: Any) -> None:
        """``beside``: further benches, which end with it."""
        simulator = Simulator(self._fragment)
        simulator.add_clock(8e-9)
        simulator.add_testbench(bench)
        for other in beside:
            simulator.add_testbench(other, background=True)
        simulator.run()

    async def step(self, ctx: Any, clocks: int = 1, watch: bool = True) -> None:
        for _ in range(clocks):
            await ctx.tick()
            if watch:
                halves = [
                    tuple(ctx.get(Value.cast(register[half])) for half in range(2)) for register in self._registers
                ]
                self.seen[ctx.get(self.node.o_clock)] = SimpleNamespace(**dict(zip(self._lines, halves, strict=True)))

    async def send(self, ctx: Any, packets: Iterable[bytes]) -> None:
        """Packets to the node's link, a word per clock."""
        rx = self.node.rx
        for packet in packets:
            words = np.frombuffer(packet, "<u4").tolist()
            for number, word in enumerate(words):
                ctx.set(rx.payload.data, word)
                ctx.set(rx.payload.last, number == len(words) - 1)
                ctx.set(rx.valid, 1)
                taken = False
                while not taken:
                    taken = bool(ctx.get(rx.ready))
                    await self.step(ctx, watch=False)
        ctx.set(rx.valid, 0)

    async def jump(self, ctx: Any, frame: FrameConfig, clock: int) -> None:
        """On to a clock count, with the anchor that belongs to it."""
        ctx.set(self.node.sim_anchor, vars(frame.anchor_at(clock)))
        ctx.set(self.node.sim_load, 1)
        await self.step(ctx, watch=False)
        ctx.set(self.node.sim_load, 0)


def random_setting(draw: random.Random, lanes: int) -> tuple[FrameConfig, SymbolConfig]:
    """A frame with slots of all classes, which begins at clock 10 000, and symbols of all kinds."""
    classes = list(SlotClass)
    weights = [6 if slot is SlotClass.SIG else 1 for slot in classes]
    frame = FrameConfig(
        period_q32=(8192 << 32) // lanes,
        slot_pulses=2,
        table=tuple(slot_byte(*draw.choices(classes, weights, k=2)) for _ in range(40)),
        frames_per_window=1 << 16,
        windows_per_dwindow=2,
        start_clock=10_000 - LAG_CLOCKS,
    )
    bounds = dict(zip(BOUNDS, (900, 1700, 2300, 3300), strict=True))
    key = tuple(draw.getrandbits(32) for _ in range(4))
    return frame, SymbolConfig(key=key, nonce=draw.getrandbits(64), **bounds)  # type: ignore[arg-type]


def registers_of(frame: FrameConfig, config: SymbolConfig, bob: bool) -> dict[str, int]:
    return {
        **frame_registers(frame),
        "ROLE": int(bob),
        **{f"KEY_{k}": word for k, word in enumerate(config.key)},
        "NONCE_0": config.nonce >> 32,
        "NONCE_1": config.nonce & 0xFFFFFFFF,
        **{name.upper(): getattr(config, name) for name in BOUNDS},
        "DIGEST_KEY_0": 1,
    }
