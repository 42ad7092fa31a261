"""What drives a block sifter on its shelf: a client with its reference, its partner, and records sound and damaged."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from lockstep import Lockstep
from twinphase_sim.model.sift.block import BlockSifter
from twinphase_spec.packets import HERALD_DTYPE, PEER_DTYPE, PSI_DTYPE, SIFTED_DTYPE
from twinphase_spec.registers import CLIENT, CORE_COUNTERS
from twinphase_spec.sns import CELLS, Kind
from twinphase_spec.symbols import SymbolConfig

WRAP_BLOCK, WRAP_HERALD = 0xFFFFFFFE, 0x100000000 - 3 * 32
"""Reset values of the shelf's second sifter, ``bob``: its numbers pass 2^32 within three blocks of 32."""
MASK32 = (1 << 32) - 1
COUNTER_NAMES = [name for name in CLIENT.counter_names if name not in dict(CORE_COUNTERS)]
CONFIGS = {
    "alice": SymbolConfig(
        key=(1, 0xFFFFFFFF, 0x80000000, 77), z_threshold=25000, send_threshold=20000, vac_threshold=9000, mu1_threshold=45000
    ),
    "bob": SymbolConfig(
        key=(0xDEADBEEF, 5, 0, 0x12345678), z_threshold=25000, send_threshold=40000, vac_threshold=12000, mu1_threshold=40000
    ),
}  # fmt: skip
SOURCES = {"herald": HERALD_DTYPE, "psi": PSI_DTYPE, "peer": PEER_DTYPE}
Script = list[tuple[str, list[tuple[int, ...]]]]
"""("herald" or "psi", records) in the order in which they arrive."""


def word_of(record: tuple[int, ...], stream: str) -> int:
    return int.from_bytes(np.array([record], SOURCES[stream]).tobytes(), "little")


def record_of(word: int, dtype: np.dtype) -> tuple[int, ...]:
    return np.frombuffer(word.to_bytes(dtype.itemsize, "little"), dtype)[0].item()


class Client:
    """A sifter of the shelf and the reference sifter set up like it."""

    def __init__(
        self, loop: Lockstep, name: str, role: str, *, block: int = 32, width: int = 8192, idle: float = 0.0, pause: float = 0.0,
        seed: int = 0,
    ) -> None:  # fmt: skip
        self.loop, self.name, self.dut = loop, name, loop.dut
        self.model = BlockSifter(config=CONFIGS[role], role=role, block_heralds=block, slice_width_turns=width)  # type: ignore[arg-type]
        self.sources = {
            stream: loop.source(f"{name}__i_{stream}", idle=0.0 if stream == "peer" else idle, seed=seed)
            for stream in SOURCES
        }
        self.peer = loop.sink(f"{name}__o_peer", idle=pause, seed=seed)
        self.sifted = loop.sink(f"{name}__o_sifted", idle=pause, seed=seed)
        # Numbers that the sifter begins with, and so its reference.
        self.first_block, self.first_herald = (WRAP_BLOCK, WRAP_HERALD) if name == "bob" else (0, 0)
        self.rewind(self.model)
        self.told: list[tuple[int, ...]] = []
        self.model_sifted: list[tuple[int, ...]] = []
        config = CONFIGS[role]
        thresholds = (config.z_threshold, config.send_threshold, config.vac_threshold, config.mu1_threshold)
        settings = sum(word << 32 * i for i, word in enumerate(config.key))
        settings |= sum(t << 128 + 16 * i for i, t in enumerate(thresholds))
        for port, value in {
            "i_run": 0,
            "i_role": int(role == "bob"),
            "i_settings": settings,
            "i_block_heralds": block,
            "i_slice_width": width,
        }.items():
            self.port(port).value = value

    def rewind(self, model: BlockSifter) -> None:
        """A reference without numbers, as after a stop, gets those of this sifter."""
        model._next_herald = model._next_psi = model._first = self.first_herald
        model._block = self.first_block

    def numbered(self, stream: str, records: Iterable[tuple[int, ...]]) -> list[tuple[int, ...]]:
        """Records numbered from 0 as this sifter numbers them."""
        result = []
        for record in records:
            i = 1 if stream == "peer" else 0
            by_block = stream == "peer" and record[0] in (Kind.DIGEST_HERALD, Kind.DIGEST_PSI, Kind.DONE)
            number = record[i] + (self.first_block if by_block else self.first_herald) & MASK32
            result.append((*record[:i], number, *record[i + 1 :]))
        return result

    def from_zero(self, messages: Iterable[tuple[int, ...]]) -> list[tuple[int, ...]]:
        """This sifter's messages numbered from 0."""
        by_block = (Kind.DIGEST_HERALD, Kind.DIGEST_PSI, Kind.DONE)
        return [
            (kind, number - (self.first_block if kind in by_block else self.first_herald) & MASK32, value)
            for kind, number, value in messages
        ]

    def port(self, name: str) -> Any:
        return getattr(self.dut, f"{self.name}__{name}")

    async def feed(self, script: Script) -> None:
        """Sends the script to both; between the streams it waits, so that their order is that of the script."""
        for stream, records in script:
            self.sources[stream].send(word_of(record, stream) for record in records)
            await self.loop.until(lambda s=stream: not self.sources[s].queue, 200_000, f"{self.name} {stream}")
            # Numbers that are filled in stall the next record of either stream.
            await self.loop.step(8)
            self.push(stream, records)

    def push(self, stream: str, records: list[tuple[int, ...]]) -> None:
        array = np.array(records, SOURCES[stream])
        {"herald": self.model.push_heralds, "psi": self.model.push_psi, "peer": self.model.push_peer}[stream](array)

    def model_messages(self) -> list[tuple[int, ...]]:
        """What the reference has sent since the last call."""
        new = self.model.take_peer().tolist()
        self.told += new
        return new

    def sent(self) -> list[tuple[int, ...]]:
        return [record_of(word, PEER_DTYPE) for word in self.peer.words]

    def counters(self) -> dict[str, int]:
        value = int(self.port("o_counters").value)
        return {name: value >> 64 * i & (1 << 64) - 1 for i, name in enumerate(COUNTER_NAMES)}

    async def cells(self) -> list[int]:
        """All counter cells."""
        cells = []
        for address in range(CELLS):
            self.port("i_cell_address").value = address
            await self.loop.step(2)
            cells.append(int(self.port("o_cell").value))
        return cells

    async def begin(self) -> None:
        """Starts; no reset clears the cells, so they are counted from here on."""
        self.cells_before = await self.cells()
        self.port("i_run").value = 1

    async def quiet(self, limit: int = 100_000) -> None:
        """Steps until the sifter has been idle for some clocks."""
        still = 0
        for _ in range(limit):
            await self.loop.step()
            still = still + 1 if self.port("o_idle").value and not self.sources["peer"].queue else 0
            if still > 6:
                return
        raise AssertionError(f"{self.name} is busy after {limit} clocks")

    async def check(self) -> None:
        """Messages, sifted words, counters and cells equal the reference's."""
        await self.quiet()
        self.model_messages()
        got = self.sent()
        for i, (a, b) in enumerate(itertools.zip_longest(got, self.told)):
            assert a == b, f"{self.name}: message {i} of {len(got)} is {a}, expected {b} of {len(self.told)}"
        self.model_sifted += self.model.take_sifted().tolist()
        sifted = [record_of(word, SIFTED_DTYPE) for word in self.sifted.words]
        for i, (a, b) in enumerate(itertools.zip_longest(sifted, self.model_sifted)):
            assert a == b, f"{self.name}: sifted record {i} is {a}, expected {b}"
        assert self.counters() == self.model.counters
        cells = [(after - before) & MASK32 for after, before in zip(await self.cells(), self.cells_before, strict=True)]
        assert cells == self.model.cells.tolist()

    async def restart(self) -> None:
        """run = 0 and 1 again, on both."""
        self.port("i_run").value = 0
        await self.loop.step(2)
        self.port("i_run").value = 1
        await self.loop.step(1)
        self.model.stop()
        self.rewind(self.model)


def relay(sender: Client, receiver: Client) -> Callable[[int], None]:
    """Every message that leaves ``sender`` goes to ``receiver``'s sifter at once."""
    position = itertools.count()
    following = next(position)

    def pump(_: int) -> None:
        nonlocal following
        while following < len(sender.peer.taken):
            message = sender.from_zero([record_of(sender.peer.taken[following][1], PEER_DTYPE)])
            receiver.sources["peer"].send(word_of(record, "peer") for record in receiver.numbered("peer", message))
            following = next(position)

    return pump


def exchange(clients: tuple[Client, Client]) -> None:
    """The reference sifters talk until both are silent."""
    while True:
        messages = [client.from_zero(client.model_messages()) for client in clients]
        if not any(messages):
            return
        for client, records in zip(clients, reversed(messages), strict=True):
            client.push("peer", client.numbered("peer", records))


def heralds(draw: random.Random, numbers: Iterable[int]) -> list[tuple[int, ...]]:
    return [(n & MASK32, draw.getrandbits(32), draw.getrandbits(24) | draw.getrandbits(1) << 31) for n in numbers]


def psis(draw: random.Random, numbers: Iterable[int]) -> list[tuple[int, ...]]:
    """Mostly valid; psi at the bounds of the slice test (width 8192) more often than by chance."""
    bounds = [0, 0x7FFF, 0x8000, 0xFFFF, 4096, 4097, 0xEFFF, 0xF000, 0xF001, 0x9000, 0x9001, 0x7000, 0x6FFF]

    def psi() -> int:
        return draw.choice([*bounds, draw.getrandbits(16)]) + draw.randrange(16) * 4096 & 0xFFFF

    return [(n & MASK32, psi(), draw.choice([3, 3, 3, 0, 1, 2])) for n in numbers]


def damaged(draw: random.Random, records: list[tuple[int, ...]], rate: float) -> list[tuple[int, ...]]:
    """Loses, repeats, delays and mislabels records."""
    result: list[tuple[int, ...]] = []
    for record in records:
        fate = draw.random()
        if fate < rate:
            continue
        result.append(record)
        if fate < 1.5 * rate:
            result.append(record)
        elif fate < 2 * rate and len(result) > 1:
            result[-1], result[-2] = result[-2], result[-1]
        elif fate < 2.2 * rate:
            result.append((draw.choice([MASK32, 1 << 31, record[0] + 0x7FFFFFFF & MASK32]), *record[1:]))
    return result


class Partner:
    """The other side, played by a reference sifter: gives its messages one by one."""

    def __init__(self, client: Client) -> None:
        self.client = client
        role = "bob" if client.model.role == "alice" else "alice"
        mine = client.model
        self.model = BlockSifter(
            config=CONFIGS[role],
            role=role,  # type: ignore[arg-type]
            block_heralds=mine.block_heralds,
            slice_width_turns=mine.slice_width_turns,
        )
        self.script: list[tuple[int, ...]] = []

    def prepare(self, script: Script) -> list[tuple[int, ...]]:
        """Feeds the script to both references and lets them talk; returns all that the partner says."""
        said: list[tuple[int, ...]] = []
        for stream, records in script:
            self.client.push(stream, records)
            array = np.array(records, SOURCES[stream])
            (self.model.push_heralds if stream == "herald" else self.model.push_psi)(array)
        while True:
            mine, theirs = self.client.model_messages(), self.model.take_peer().tolist()
            if not mine and not theirs:
                return said
            said += theirs
            self.model.push_peer(mine)
            self.client.push("peer", theirs)


def shadow(client: Client) -> BlockSifter:
    """A second reference with the client's settings."""
    mine = client.model
    return BlockSifter(
        config=mine.config, role=mine.role, block_heralds=mine.block_heralds, slice_width_turns=mine.slice_width_turns
    )
