"""What drives a block sifter on its shelf: a client with its oracle, its partner, and records sound and damaged."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from block_oracle import Oracle, Rules
from digest_oracle import Pair
from lockstep import Lockstep
from sift_rigs import settings_of
from twinphase_hdl.sift.cells import CellCounters
from twinphase_hdl.sift.pads import DigestPads
from twinphase_hdl.sift.tables import RULE_REGISTERS
from twinphase_hdl.sift.tables import RuleTables as RuleMembers
from twinphase_sim.model.sift.symbols import symbols
from twinphase_spec.packets import HERALD_DTYPE, LIVE_DTYPE, PEER_DTYPE, PSI_DTYPE, SIFTED_DTYPE
from twinphase_spec.registers import CLIENT, CORE_COUNTERS
from twinphase_spec.rules import PROTOCOLS, RuleTables, rule_tables
from twinphase_spec.sns import CELLS, PSI_BINS, Kind
from twinphase_spec.symbols import SymbolConfig

WRAP_BLOCK, WRAP_HERALD = 0xFFFFFFFE, 0x100000000 - 3 * 32
"""Reset values of the shelf's second sifter, ``bob``: its numbers pass 2^32 within three blocks of 32."""
MASK32 = (1 << 32) - 1
TAG_KINDS = (Kind.DIGEST_LOW, Kind.DIGEST_HIGH)
PAIR = Pair(key=(0x2B7E1516, 0xFFFFFFFF, 0, 0x09CF4F3C), nonce=(0x80000001, 7))
"""Key and nonce of the digests."""
COUNTER_NAMES = [name for name in CLIENT.counter_names if name not in dict(CORE_COUNTERS)]
CONFIGS = {
    "alice": SymbolConfig(
        key=(1, 0xFFFFFFFF, 0x80000000, 77),
        nonce=0xFFFFFFFF_00000001,
        sent_below=480,
        z_below=1560,
        vacuum_below=1910,
        mu1_below=3300,
    ),
    "bob": SymbolConfig(
        key=(0xDEADBEEF, 5, 0, 0x12345678), sent_below=950, z_below=1560, vacuum_below=2030, mu1_below=3100
    ),
}
SOURCES = {"herald": HERALD_DTYPE, "psi": PSI_DTYPE, "peer": PEER_DTYPE, "live": LIVE_DTYPE}
Script = list[tuple[str, list[tuple[int, ...]]]]
"""("herald", "psi" or "live", records) in the order in which they arrive."""


def word_of(record: tuple[int, ...], stream: str) -> int:
    return int.from_bytes(np.array([record], SOURCES[stream]).tobytes(), "little")


def record_of(word: int, dtype: np.dtype) -> tuple[int, ...]:
    return np.frombuffer(word.to_bytes(dtype.itemsize, "little"), dtype)[0].item()


@dataclass(frozen=True)
class Protocol:
    """Tables of both clients, and the span of pairs (0: none)."""

    alice: RuleTables
    bob: RuleTables
    pair_span: int = 0


def protocol(name: str, pair_span: int = 0) -> Protocol:
    """One of `twinphase_spec.rules`."""
    definition = PROTOCOLS[name]
    return Protocol(rule_tables(definition, "alice"), rule_tables(definition, "bob"), pair_span)


def random_protocol(draw: random.Random, pair_span: int = 0) -> Protocol:
    """Any tables, as long as those over codes are symmetric and both clients know what is revealed."""

    def table(share: float) -> int:
        result = 0
        for a, b in itertools.combinations_with_replacement(range(8), 2):
            if draw.random() < share:
                result |= 1 << (a << 3 | b) | 1 << (b << 3 | a)
        return result

    shared = {
        "reveal": draw.getrandbits(4),
        "slice": table(0.5),
        "x": table(0.5),
        "z": table(0.5),
        "slice_mask": draw.getrandbits(4),
        "error": draw.getrandbits(1),
        "source_masks": (15, 15),
    }
    alice, bob = (RuleTables(**shared, key=draw.getrandbits(8), pair=draw.getrandbits(64)) for _ in range(2))
    return Protocol(alice, bob, pair_span)


SNS = protocol("SNS")


def symbol_of(config: SymbolConfig) -> Callable[[int], tuple[int, int, int]]:
    """Type, intensity and slice of a pulse."""

    @cache
    def one(pulse: int) -> tuple[int, int, int]:
        found = symbols(config, np.array([pulse], np.uint64))
        return int(found.x[0]), int(found.intensity[0]), int(found.slice[0])

    return one


SYMBOLS = {role: symbol_of(config) for role, config in CONFIGS.items()}


class Client:
    """A sifter of the shelf and the oracle set up like it."""

    def __init__(
        self, loop: Lockstep, name: str, role: str, *, block: int = 32, width: int = 8192, idle: float = 0.0, pause: float = 0.0,
        seed: int = 0, protocol: Protocol = SNS, live: bool = False,
    ) -> None:  # fmt: skip
        self.loop, self.name, self.dut = loop, name, loop.dut
        self.protocol = protocol
        self.rules = Rules(role, getattr(protocol, role), protocol.pair_span, block, width, PAIR, live)
        # Numbers that the sifter begins with, and so its oracle.
        self.first_block, self.first_herald = (WRAP_BLOCK, WRAP_HERALD) if name == "bob" else (0, 0)
        self.model = shadow(self)
        self.sources = {
            stream: loop.source(f"{name}__i_{stream}", idle=0.0 if stream in ("peer", "live") else idle, seed=seed)
            for stream in SOURCES
        }
        self.peer = loop.sink(f"{name}__o_peer", idle=pause, seed=seed)
        self.sifted = loop.sink(f"{name}__o_sifted", idle=pause, seed=seed)
        self.told: list[tuple[int, ...]] = []
        self.model_sifted: list[tuple[int, ...]] = []
        config = CONFIGS[role]
        # A span says whether there are pairs, and not whether a table for them is there.
        registers = self.rules.tables.registers(int(bool(self.rules.tables.pair))) | {"PAIR_SPAN": protocol.pair_span}
        for port, value in {
            "i_run": 0,
            "i_role": int(role == "bob"),
            "i_settings": settings_of(config),
            "i_digest": PAIR.settings(),
            "i_digest_written": 0,
            "i_digest_live": int(live),
            "i_rules": sum(
                registers[register] << RuleMembers.as_shape()[member].offset
                for member, register in RULE_REGISTERS.items()
            ),
            "i_block_heralds": block,
            "i_slice_width": width,
            "i_snapshot": 0,
        }.items():
            self.port(port).value = value

    def _pad(self, kind: int, block: int, role: str) -> int:
        """Half of the pad of block ``block`` from 0, which has another number here, and so another pad."""
        pad = self.rules.pair.pads(self.first_block + block)[role == "bob"]
        return pad & MASK32 if kind == Kind.DIGEST_LOW else pad >> 32

    def numbered(self, stream: str, records: Iterable[tuple[int, ...]]) -> list[tuple[int, ...]]:
        """Records numbered from 0 as this sifter numbers them; tags of the peer that have no pad get theirs."""
        result = []
        for record in records:
            if stream == "live":
                result.append(record)
                continue
            if stream != "peer":
                result.append((record[0] + self.first_herald & MASK32, *record[1:]))
                continue
            kind, number, value = record
            if kind in TAG_KINDS:
                value ^= self._pad(kind, number, "alice" if self.rules.role == "bob" else "bob")
            by_block = kind in (*TAG_KINDS, Kind.DONE)
            result.append((kind, number + (self.first_block if by_block else self.first_herald) & MASK32, value))
        return result

    def from_zero(self, messages: Iterable[tuple[int, ...]]) -> list[tuple[int, ...]]:
        """This sifter's messages numbered from 0, tags without their pad."""
        result = []
        for kind, number, value in messages:
            by_block = kind in (*TAG_KINDS, Kind.DONE)
            from_zero = number - (self.first_block if by_block else self.first_herald) & MASK32
            pad = self._pad(kind, from_zero, self.rules.role) if kind in TAG_KINDS else 0
            result.append((kind, from_zero, value ^ pad))
        return result

    def port(self, name: str) -> Any:
        return getattr(self.dut, f"{self.name}__{name}")

    async def feed(self, script: Script) -> None:
        """Sends the script to sifter and oracle; between the streams it waits, so that their order is that of the script."""
        for stream, records in script:
            self.sources[stream].send(word_of(record, stream) for record in records)
            await self.loop.until(lambda s=stream: not self.sources[s].queue, 200_000, f"{self.name} {stream}")
            # Numbers that are filled in stall the next record of either stream.
            await self.loop.step(8)
            self.push(stream, records)

    def push(self, stream: str, records: list[tuple[int, ...]]) -> None:
        self.model.push(stream, records)

    def model_messages(self) -> list[tuple[int, ...]]:
        """What the oracle has sent since the last call."""
        new = self.model.take_peer()
        self.told += new
        return new

    def sent(self) -> list[tuple[int, ...]]:
        return [record_of(word, PEER_DTYPE) for word in self.peer.words]

    def counters(self) -> dict[str, int]:
        value = int(self.port("o_counters").value)
        return {name: value >> 64 * i & (1 << 64) - 1 for i, name in enumerate(COUNTER_NAMES)}

    async def snapshot(self) -> dict[str, int]:
        """Asks for a copy of cells and bins; the counters of its clock."""
        self.port("i_snapshot").value = 1
        counters: dict[str, int] = {}
        self.loop.after.append(lambda _: counters.update(self.counters()))
        await self.loop.step()
        self.loop.after.pop()
        self.port("i_snapshot").value = 0
        return counters

    async def copied(self) -> tuple[list[int], list[int]]:
        """The copy of cells and bins, when it is complete."""
        for _ in range(CellCounters.copy_clocks + 1):
            await self.loop.step()
            if not self.port("o_copying").value:
                break
        assert not self.port("o_copying").value, f"{self.name}: the copy takes too long"
        copies = []
        for name, count in (("cell", CELLS), ("bin", PSI_BINS)):
            words = []
            for address in range(2 * count):
                self.port(f"i_{name}_address").value = address
                await self.loop.step(2)
                words.append(int(self.port(f"o_{name}").value))
            copies.append([low | high << 32 for low, high in zip(words[::2], words[1::2], strict=True)])
        return copies[0], copies[1]

    async def cells(self) -> list[int]:
        """All counter cells, then all bins of psi."""
        await self.snapshot()
        cells, bins = await self.copied()
        return cells + bins

    async def begin(self) -> None:
        """Starts when the digest's key is expanded; no reset clears the cells, so they are counted from here on."""
        self.cells_before = await self.cells()
        await self.loop.until(lambda: bool(self.port("o_ready").value), DigestPads.latency, f"{self.name}: ready")
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
        """Messages, sifted words, counters and cells equal the oracle's."""
        await self.quiet()
        self.model_messages()
        got = self.sent()
        for i, (a, b) in enumerate(itertools.zip_longest(got, self.told)):
            assert a == b, f"{self.name}: message {i} of {len(got)} is {a}, expected {b} of {len(self.told)}"
        self.model_sifted += self.model.take_sifted()
        sifted = [record_of(word, SIFTED_DTYPE) for word in self.sifted.words]
        for i, (a, b) in enumerate(itertools.zip_longest(sifted, self.model_sifted)):
            assert a == b, f"{self.name}: sifted record {i} is {a}, expected {b}"
        assert self.counters() == self.model.counters
        cells = [
            after - before & (1 << 64) - 1 for after, before in zip(await self.cells(), self.cells_before, strict=True)
        ]
        assert cells == self.model.cells + self.model.bins

    async def restart(self) -> None:
        """run = 0 and 1 again, on both."""
        self.port("i_run").value = 0
        await self.loop.step(2)
        self.port("i_run").value = 1
        await self.loop.step(1)
        self.model.stop()


def at_rest(client: Client) -> Callable[[int], None]:
    """Check for every clock: a sifter that says it is idle stays so, and says and counts nothing, until something comes."""
    counted: int | None = None

    def check(cycle: int) -> None:
        nonlocal counted
        idle = bool(client.port("o_idle").value)
        if counted is not None and not any(source.valid.value for source in client.sources.values()):
            assert idle, f"{client.name} goes on by itself at cycle {cycle}"
            assert int(client.port("o_counters").value) == counted
            assert not client.port("o_peer__valid").value
            assert not client.port("o_sifted__valid").value
        counted = int(client.port("o_counters").value) if idle else None

    return check


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
    """The oracles talk until both are silent."""
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
    """The other side, played by an oracle: gives its messages one by one."""

    def __init__(self, client: Client, pair: Pair = PAIR) -> None:
        self.client = client
        role = "bob" if client.rules.role == "alice" else "alice"
        rules = replace(client.rules, role=role, tables=getattr(client.protocol, role), pair=pair)
        self.model = Oracle(rules, SYMBOLS[role], client.first_herald, client.first_block)

    def prepare(self, script: Script, own: Script | None = None) -> list[tuple[int, ...]]:
        """Feeds the script to both oracles, or ``own`` to the partner's, and lets them talk; returns all that the partner says."""
        said: list[tuple[int, ...]] = []
        for stream, records in script:
            self.client.push(stream, records)
        for stream, records in own or script:
            self.model.push(stream, records)
        while True:
            mine, theirs = self.client.model_messages(), self.model.take_peer()
            if not mine and not theirs:
                return said
            said += theirs
            self.model.push("peer", mine)
            self.client.push("peer", theirs)


def shadow(client: Client) -> Oracle:
    """An oracle with the client's settings that has heard nothing."""
    return Oracle(client.rules, SYMBOLS[client.rules.role], client.first_herald, client.first_block)


def near_heralds(draw: random.Random, numbers: Iterable[int], gap: int) -> list[tuple[int, ...]]:
    """Heralds whose pulses rise by up to ``gap``, by 0 and 2^32 at times, and once in a while fall."""
    pulse, result = draw.getrandbits(55), []
    for n in numbers:
        pulse = pulse + draw.choice([0, 1 << 32, -1, *(draw.randrange(1, gap) for _ in range(20))]) & (1 << 56) - 1
        result.append((n & MASK32, pulse & MASK32, pulse >> 32 | draw.getrandbits(1) << 31))
    return result
