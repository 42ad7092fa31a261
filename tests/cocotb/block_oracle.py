"""docs/rules.md, docs/digest.md and docs/contract.md's block sifter in plain Python, record by record: the benches' measure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field

from digest_oracle import Pair, first_of, halves
from twinphase_spec import sns
from twinphase_spec.rules import RuleTables
from twinphase_spec.sns import Kind

MASK32 = (1 << 32) - 1
MASK56 = (1 << 56) - 1
PEER_QUEUE = 4096
Message = tuple[int, int, int]
Symbol = tuple[int, int, int]
"""x, intensity, slice."""
COUNTERS = (
    *("heralds", "missing", "late", "overflow", "psi", "peer", "refused", "blocks_agreed", "blocks_discarded", "unpaired"),
    *("sifted_z", "sifted_x", "kept_x", "error_x", "unrecalled", "starved", "live", "live_overflow"),
)  # fmt: skip


@dataclass(frozen=True)
class Rules:
    """A client's tables and settings."""

    role: str
    tables: RuleTables
    pair_span: int = 0
    block_heralds: int = 32
    slice_width: int = 8192
    pair: Pair = field(default_factory=Pair)
    """Key and nonce of the block digest."""
    live: bool = False
    """The digest covers LIVE records."""


@dataclass(frozen=True)
class Entry:
    """What a herald is to the exchange; with pairs, the second of a pair."""

    x: int
    intensity: int
    slice: int
    detector: int
    key: int
    psi: int
    flags: int


def behind(number: int, expected: int) -> bool:
    """``number`` is lower, as 32-bit modular differences compare."""
    return bool((number - expected & MASK32) >> 31)


def bit(table: int, place: int) -> int:
    return table >> place & 1


class Oracle:
    """One client; ``symbol`` of a pulse is its own. Records in, messages and sifted records out, all as tuples."""

    def __init__(
        self, rules: Rules, symbol: Callable[[int], Symbol], first_herald: int = 0, first_block: int = 0
    ) -> None:
        self.rules, self.symbol = rules, symbol
        self.first_herald, self.first_block = first_herald, first_block
        self.counters = dict.fromkeys(COUNTERS, 0)
        self.cells = [0] * sns.CELLS
        self.bins = [0] * sns.PSI_BINS
        self.messages: list[Message] = []
        self.sifted: list[tuple[int, int]] = []
        self.stop()

    def stop(self) -> None:
        """CONTROL run = 0 and 1 again."""
        self.first, self.block = self.first_herald, self.first_block
        self.blocks = self.first_block  # does not wrap
        self.next_herald = self.next_psi = self.first
        self.heralds: list[tuple[int, int] | None] = []  # of the blocks that are not through, from ``first`` on
        self.psis: list[tuple[int, int]] = []
        self.seconds: list[bool] = []
        self.settled = 0
        self.queue: deque[Message] = deque()
        self.live: list[tuple[int, int, int]] = []  # that belong to no block yet
        self.highest = 0  # pulse of a herald of the blocks that are closed
        self.list: list[tuple[int, int, int]] | None = None
        self.work = self._blocks()
        next(self.work)

    def push(self, stream: str, records: Iterable[tuple[int, ...]]) -> None:
        """Records of one of the four streams."""
        for record in records:
            {"herald": self._herald, "psi": self._psi, "peer": self._peer, "live": self._live}[stream](*record)
            next(self.work)

    def take_peer(self) -> list[Message]:
        """Messages since the last call."""
        new, self.messages = self.messages, []
        return new

    def take_sifted(self) -> list[tuple[int, int]]:
        """Sifted records since the last call."""
        new, self.sifted = self.sifted, []
        return new

    def _herald(self, number: int, low: int, high: int) -> None:
        if behind(number, self.next_herald):
            self.counters["late"] += 1
        elif (number - self.first & MASK32) >= sns.RING_HERALDS:
            self.counters["overflow"] += 1
        else:
            self._missing_until(number)
            self._settle((low | (high & 0xFFFFFF) << 32, high >> 31))
            self.counters["heralds"] += 1

    def _missing_until(self, number: int) -> None:
        while self.next_herald != number:
            self._settle(None)
            self.counters["missing"] += 1

    def _settle(self, herald: tuple[int, int] | None) -> None:
        self.next_herald = self.next_herald + 1 & MASK32
        last = self.heralds[-1] if self.settled % self.rules.block_heralds else None
        near = last is not None and herald is not None and (herald[0] - last[0] & MASK56) <= self.rules.pair_span
        self.seconds.append(near and not self.seconds[-1])
        self.heralds.append(herald)
        self.settled += 1
        self.counters["unpaired"] += bool(self.rules.pair_span and herald and not self.seconds[-1])

    def _psi(self, number: int, psi: int, flags: int) -> None:
        if behind(number, self.next_psi):
            self.counters["late"] += 1
        elif (number - self.first & MASK32) >= sns.RING_HERALDS:
            self.counters["overflow"] += 1
        else:
            if not behind(number, self.next_herald):
                self._missing_until(number + 1 & MASK32)
            self.psis += [(0, 0)] * (number - self.next_psi & MASK32)
            self.psis.append((psi, flags) if self.heralds[len(self.psis)] else (0, 0))
            self.next_psi = number + 1 & MASK32
            self.counters["psi"] += 1

    def _live(self, *record: int) -> None:
        if self.rules.live:
            self.counters["live"] += 1
            self.live.append(record)  # type: ignore[arg-type]

    def _listed(self) -> bool:
        """The next block's list is complete, and taken off what waits."""
        if not self.rules.live:
            return True
        highest = max([self.highest, *(herald[0] for herald in self.heralds[: self.rules.block_heralds] if herald)])
        for count, record in enumerate(self.live):
            if first_of(record) > highest:
                self.highest, self.list, self.live = highest, self.live[:count], self.live[count:]
                return True
        return False

    def _peer(self, *message: int) -> None:
        full = len(self.queue) == PEER_QUEUE
        self.counters["refused" if full else "peer"] += 1
        if not full:
            self.queue.append(message)  # type: ignore[arg-type]

    def _blocks(self) -> Generator[None, None, None]:
        size = self.rules.block_heralds
        while True:
            while len(self.psis) < size or not self._listed():
                yield
            yield from self._exchange()
            del self.heralds[:size], self.psis[:size], self.seconds[:size]
            self.first = self.first + size & MASK32
            self.blocks += 1
            self.block = self.blocks & MASK32

    def _get(self, right: Callable[[int, int, int], bool]) -> Generator[None, None, int]:
        """The value of the next message that is right; others are refused."""
        while True:
            while not self.queue:
                yield
            message = self.queue.popleft()
            if right(*message):
                return message[2]
            self.counters["refused"] += 1

    def _say(self, kind: int, number: int, value: int) -> None:
        self.messages.append((int(kind), number & MASK32, value))

    def _done(self, step: Kind) -> Generator[None, None, None]:
        yield from self._get(lambda k, n, v: (k, n, v) == (Kind.DONE, self.block, step))

    def _tags(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Own tag and the one that the peer must say, in halves."""
        size = self.rules.block_heralds
        digest = self.rules.pair.digest(self.heralds[:size], self.psis[:size], self.list)
        alice, bob = (halves(digest ^ pad) for pad in self.rules.pair.pads(self.blocks))
        return (alice, bob) if self.rules.role == "alice" else (bob, alice)

    def _entry(self, i: int) -> Entry | None:
        herald, tables = self.heralds[i], self.rules.tables
        if herald is None or (self.rules.pair_span and not self.seconds[i]):
            return None
        x, intensity, own_slice = self.symbol(herald[0])
        detector, key, (psi, flags) = herald[1], bit(tables.key, x << 2 | intensity), self.psis[i]
        if self.rules.pair_span:
            first = self.heralds[i - 1]
            assert first is not None
            _, first_intensity, first_slice = self.symbol(first[0])
            nibble = tables.pair >> 4 * (first_intensity << 2 | intensity) & 15
            x, intensity, key = nibble & 1, nibble >> 1 & 3, nibble >> 3
            own_slice = (own_slice - first_slice) % 16
            detector ^= first[1]
            psi, flags = (psi - self.psis[i - 1][0]) % 65536, flags & self.psis[i - 1][1]
        return Entry(x, intensity, own_slice, detector, key, psi, flags)

    def _exchange(self) -> Generator[None, None, None]:
        tables, size, first, block = self.rules.tables, self.rules.block_heralds, self.first, self.block
        mine, right = self._tags()
        theirs = []
        for kind, half in zip((Kind.DIGEST_LOW, Kind.DIGEST_HIGH), mine, strict=True):
            self._say(kind, block, half)
        for kind in (Kind.DIGEST_LOW, Kind.DIGEST_HIGH):
            theirs.append((yield from self._get(lambda k, n, v, kind=kind: (k, n) == (kind, block))))
        if right != tuple(theirs):
            self.counters["blocks_discarded"] += 1
            return
        self.counters["blocks_agreed"] += 1
        entries = [self._entry(i) for i in range(size)]

        for g in range(0, size, 32):
            self._say(Kind.TYPES, first + g, sum(bool(e and e.x) << i for i, e in enumerate(entries[g : g + 32])))
        self._say(Kind.DONE, block, Kind.TYPES)
        peer_x: list[int] = []
        for g in range(0, size, 32):
            told = yield from self._get(lambda k, n, v, g=g: (k, n) == (Kind.TYPES, first + g & MASK32))
            peer_x += [bit(told, i) for i in range(32)]
        yield from self._done(Kind.TYPES)

        level_own, level_peer = [3] * size, [3] * size
        for i, e in enumerate(entries):
            if e and bit(tables.reveal, e.x << 1 | peer_x[i]):
                level_own[i] = e.intensity
                self._say(Kind.INTENSITY, first + i, e.intensity)
        self._say(Kind.DONE, block, Kind.INTENSITY)
        for i, e in enumerate(entries):
            if e and bit(tables.reveal, peer_x[i] << 1 | e.x):
                level_peer[i] = yield from self._get(
                    lambda k, n, v, i=i: (k, n) == (Kind.INTENSITY, first + i & MASK32) and v < 4
                )
        yield from self._done(Kind.INTENSITY)

        places = [
            (e.x << 2 | own) << 3 | x << 2 | peer if e else 0
            for e, own, x, peer in zip(entries, level_own, peer_x, level_peer, strict=True)
        ]
        with_slices = [e is not None and bit(tables.slice, k) for e, k in zip(entries, places, strict=True)]
        for i, e in enumerate(entries):
            if e and with_slices[i]:
                self._say(Kind.SLICE, first + i, e.slice & tables.slice_mask)
        self._say(Kind.DONE, block, Kind.SLICE)
        peer_slices = [0] * size
        for i in range(size):
            if with_slices[i]:
                peer_slices[i] = yield from self._get(
                    lambda k, n, v, i=i: (k, n) == (Kind.SLICE, first + i & MASK32) and not v & ~tables.slice_mask
                )
        yield from self._done(Kind.SLICE)

        for i, e in enumerate(entries):
            if e:
                own_slice = e.slice & tables.slice_mask if with_slices[i] else 0
                self._sift(i, e, places[i], (level_own[i], level_peer[i]), (own_slice, peer_slices[i]))

    def _sift(self, i: int, e: Entry, place: int, levels: tuple[int, int], slices: tuple[int, int]) -> None:
        """Record, cell and bin of one herald; ``levels``, ``slices``: own, peer's."""
        tables, width = self.rules.tables, self.rules.slice_width
        a, b = (0, 1) if self.rules.role == "alice" else (1, 0)
        keep = error = 0
        number = self.first + i & MASK32
        if bit(tables.x, place):
            shifted = ((slices[a] - slices[b]) * 4096 + e.psi + (width >> 1)) % 65536
            branch = shifted >> 15
            keep = int(e.flags == 3 and shifted % 32768 <= width)
            error = int(keep and e.detector != branch and tables.error)
            word = sns.SIFTED_X | sns.SIFTED_KEEP * keep | sns.SIFTED_ERROR * error | sns.SIFTED_BRANCH * branch
            word |= sns.SIFTED_DETECTOR * e.detector | sns.SIFTED_PSI_VALID * (e.flags == 3) | e.psi
            word |= levels[0] << sns.SIFTED_INTENSITY_SHIFT
            word |= e.slice << sns.SIFTED_OWN_SLICE_SHIFT | slices[1] << sns.SIFTED_PEER_SLICE_SHIFT
            self.sifted.append((number, word))
            self.counters["sifted_x"] += 1
            self.counters["kept_x"] += keep
            self.counters["error_x"] += error
            self.bins[e.psi >> 10] += 1
        elif bit(tables.z, place):
            self.sifted.append((number, e.key))
            self.counters["sifted_z"] += 1
        self.cells[sns.cell_index(levels[a], levels[b], e.detector, keep, error)] += 1
