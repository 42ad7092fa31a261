"""A client's top with outputs "dac" in simulation, from packets to what its output registers take: clock and link are the bench's."""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import numpy as np
from amaranth.hdl import Fragment, Module, Value
from amaranth.sim import Simulator

from twinphase_firmware import clienttop
from twinphase_firmware.boards import Board
from twinphase_firmware.clientoptions import ClientOptions
from twinphase_spec.frame import FrameConfig

LINES = ("clocks", "valid", "q_intensity", "q_phase", "r_intensity", "r_phase", "fraction")


class BoardPins:
    """A board's platform of which there are only the pins, and what lies in front of their output registers, by the names of lines."""

    def __init__(self, board: Board) -> None:
        self._platform = board.prepare(0)
        self.registers: dict[str, Any] = {}

    def request(self, name: str, number: int, **options: Any) -> Any:
        return self._platform.request(name, number, **options)

    def get_io_buffer(self, buffer: Any) -> Module:
        self.registers[buffer.port.io.name.split("__")[1]] = buffer
        return Module()


class ClientRig:
    """Plays benches on the top. ``seen``: of every clock that `step` made, the clock count and both halves of all lines."""

    def __init__(self, board: Board, options: ClientOptions, monkeypatch: Any) -> None:
        nodes: list[Any] = []
        monkeypatch.setattr(clienttop, "BoardClock", lambda **_: Module())
        monkeypatch.setattr(clienttop, "connect_link", lambda m, platform, board, node, link: nodes.append(node))
        self.top = clienttop.ClientTop(board, options, build_hash=0)
        pins = BoardPins(board)
        self._fragment = Fragment.get(self.top, pins)
        (self.node,) = nodes
        assert set(pins.registers) == set(LINES)
        self.widths = {name: len(pins.registers[name].port) for name in LINES}
        self._registers = [pins.registers[name].o for name in LINES]
        self.seen: dict[int, SimpleNamespace] = {}

    def run(self, bench: Any) -> None:
        simulator = Simulator(self._fragment)
        simulator.add_clock(8e-9)
        simulator.add_testbench(bench)
        simulator.run()

    async def step(self, ctx: Any, clocks: int = 1, watch: bool = True) -> None:
        for _ in range(clocks):
            await ctx.tick()
            if watch:
                halves = [
                    tuple(ctx.get(Value.cast(register[half])) for half in range(2)) for register in self._registers
                ]
                self.seen[ctx.get(self.node.o_clock)] = SimpleNamespace(**dict(zip(LINES, halves, strict=True)))

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
