"""One client's block sifting, as a state machine over its ordered inputs.

Source: docs/rules.md, docs/digest.md, the order of messages in `twinphase_spec.sns`, counters in ``sift.block`` of docs/contract.md.
Processing takes no time here: after every input the machine runs until it has to wait, so ring and peer queue are never fuller than in
the gateware.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterable
from enum import Enum, auto
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from twinphase_sim.model.sift.digest import BlockDigest
from twinphase_sim.model.sift.herald import herald_pulses
from twinphase_sim.model.sift.livelists import LiveLists
from twinphase_sim.model.sift.ring import MASK32, HeraldRing
from twinphase_sim.model.sift.rule import (
    Announced,
    Windows,
    by_codes,
    count_cells,
    level,
    outcome,
    reveals,
    seconds_of_pairs,
    sifted_words,
    windows,
)
from twinphase_sim.model.sift.symbols import symbols
from twinphase_spec.digest import BLOCK_COUNT_BITS, DigestConfig
from twinphase_spec.packets import PEER_DTYPE, SIFTED_DTYPE
from twinphase_spec.rules import SNS, RuleTables, rule_tables
from twinphase_spec.sns import CELLS, MAX_BLOCK_HERALDS, Kind
from twinphase_spec.symbols import SLICES, SymbolConfig

PEER_QUEUE = 4096
ANY = range(1 << 32)
"""Any value of a message."""
TYPE_BITS = 32
"""Heralds per TYPES message."""

COUNTERS = (
    *("heralds", "missing", "late", "overflow", "psi", "peer", "refused"),
    *("blocks_agreed", "blocks_discarded", "unpaired", "sifted_z", "sifted_x", "kept_x", "error_x"),
    *("unrecalled", "starved", "live", "live_overflow"),
)


def by_kind(tag: int) -> dict[Kind, int]:
    """The two messages that bring a tag."""
    return {Kind.DIGEST_LOW: tag & MASK32, Kind.DIGEST_HIGH: tag >> 32}


class State(Enum):
    """What the sifter waits for: final psi of a whole block, or one of the peer's steps."""

    COLLECT = auto()
    DIGEST = auto()
    TYPES = auto()
    INTENSITY = auto()
    SLICE = auto()


class BlockSifter:
    """Feed records with `push_heralds`, `push_psi`, `push_live` and `push_peer`; fetch results with `take_peer` and `take_sifted`.

    ``digest``: key and nonce that the pair shares; ``digest_live``: it covers LIVE records. ``tables`` are the protocol's (SNS by
    default). ``unrecalled``: pulses whose symbols a ring refuses (docs/symbols.md), to be there before their psi come. It, ``cells``
    (CELLS counters) and ``counters`` (by the client's counter names) survive `stop`.
    """

    def __init__(
        self,
        *,
        config: SymbolConfig,
        digest: DigestConfig,
        role: Literal["alice", "bob"],
        block_heralds: int,
        slice_width_turns: int,
        tables: RuleTables | None = None,
        pair_span: int = 0,
        digest_live: bool = False,
    ) -> None:
        if block_heralds % TYPE_BITS or not TYPE_BITS <= block_heralds <= MAX_BLOCK_HERALDS:
            raise ValueError(
                f"block sifter: block_heralds is {block_heralds}; allowed: multiples of {TYPE_BITS} up to {MAX_BLOCK_HERALDS}"
            )
        self.config = config
        self._digest = BlockDigest(digest)
        self.role = role
        self.block_heralds = block_heralds
        self.slice_width_turns = slice_width_turns
        self.tables = rule_tables(SNS, role) if tables is None else tables
        self.pair_span = pair_span
        self.digest_live = digest_live
        self.unrecalled: set[int] = set()
        self.cells = np.zeros(CELLS, dtype=np.uint64)
        self.counters = dict.fromkeys(COUNTERS, 0)
        self._peer_out: list[tuple[int, int, int]] = []
        self._sifted_out: list[NDArray[np.void]] = []
        self.stop()

    def stop(self) -> None:
        """CONTROL run = 0: forget ring, numbers, queue and state; keep counters and cells."""
        self.state = State.COLLECT
        self._ring = HeraldRing(self.counters)
        self._lists = LiveLists()
        self._blocks = 0
        """Blocks before the one under way."""
        self._queue: deque[tuple[int, int, int]] = deque()

    # Inputs

    def push_heralds(self, records: NDArray[np.void]) -> None:
        """HERALD records in order of arrival."""
        pulses, detectors = herald_pulses(records)
        for herald in zip(records["number"].tolist(), pulses.tolist(), detectors.tolist(), strict=True):
            self._ring.put_herald(*herald)

    def push_psi(self, records: NDArray[np.void]) -> None:
        """PSI records in order of arrival."""
        for psi in records.tolist():
            self._ring.put_psi(*psi)
            self._advance()

    def push_live(self, records: NDArray[np.void]) -> None:
        """LIVE records in order of arrival; nothing if the digest does not cover them."""
        if self.digest_live:
            self.counters["live"] += records.size
            self._lists.put(records)
            self._advance()

    def push_peer(self, records: Iterable[tuple[int, int, int]] | NDArray[np.void]) -> None:
        """PEER records (kind, number, value) in order of arrival."""
        for record in records.tolist() if isinstance(records, np.ndarray) else records:
            if len(self._queue) >= PEER_QUEUE:
                self.counters["refused"] += 1
                continue
            self.counters["peer"] += 1
            self._queue.append(record)
            self._advance()

    # Outputs

    def take_peer(self) -> NDArray[np.void]:
        """PEER records sent since the last call."""
        records = np.array(self._peer_out, dtype=PEER_DTYPE)
        self._peer_out = []
        return records

    def take_sifted(self) -> NDArray[np.void]:
        """SIFTED records since the last call."""
        records = np.concatenate([np.zeros(0, dtype=SIFTED_DTYPE), *self._sifted_out])
        self._sifted_out = []
        return records

    # The machine

    @property
    def _block(self) -> int:
        """Number of the block under way, as records have it."""
        return self._blocks & MASK32

    def _advance(self) -> None:
        while True:
            if self.state is State.COLLECT:
                if not self._ring.has(self.block_heralds):
                    return
                announced, live = self._ring.oldest(self.block_heralds), None
                if self.digest_live:
                    live = self._lists.take(announced)
                    if live is None:
                        return
                self._close_block(announced, live)
            elif self._queue:
                self._read_peer(*self._queue.popleft())
            else:
                return

    def _close_block(self, announced: Announced, live: NDArray[np.void] | None) -> None:
        second = None
        self._known = announced
        if self.pair_span:
            second = seconds_of_pairs(announced.present, announced.pulse, self.block_heralds, self.pair_span)
            self._known = announced.paired(second)
        own = symbols(self.config, announced.pulse)
        self._own: Windows = windows(self.tables, own, announced.present, second)
        self.counters["unpaired"] += int(np.count_nonzero(announced.present & ~self._known.present))
        pads, digest = self._digest.pads(self._blocks), self._digest.of(announced, live)
        own_pad, peer_pad = pads if self.role == "alice" else pads[::-1]
        self._peer_tag = by_kind(digest ^ peer_pad)
        """The peer's if it has the same heralds, psi and key."""
        refused = int(np.isin(announced.pulse[announced.present], list(self.unrecalled)).sum())
        self.counters["unrecalled"] += refused
        self._agrees = not refused
        self._expected: deque[tuple[int, int, Container[int]]] = deque(
            (kind, self._block, ANY) for kind in self._peer_tag
        )
        self._peer_x = np.zeros(self.block_heralds, dtype=np.bool_)
        self._peer_intensity = np.zeros(self.block_heralds, dtype=np.uint8)
        self._peer_slice = np.zeros(self.block_heralds, dtype=np.uint8)
        self._peer_out += [
            (kind, self._block, word) for kind, word in by_kind(digest ^ own_pad ^ bool(refused)).items()
        ]
        self.state = State.DIGEST

    def _read_peer(self, kind: int, number: int, value: int) -> None:
        """Takes the one message that the order of `twinphase_spec.sns` allows now, refuses any other."""
        expected_kind, expected_number, values = self._expected[0]
        if kind != expected_kind or number != expected_number or value not in values:
            self.counters["refused"] += 1
            return
        self._expected.popleft()
        offset = (number - self._ring.first) & MASK32
        if kind == Kind.TYPES:
            self._peer_x[offset : offset + TYPE_BITS] = value >> np.arange(TYPE_BITS) & 1
        elif kind == Kind.INTENSITY:
            self._peer_intensity[offset] = value
        elif kind == Kind.SLICE:
            self._peer_slice[offset] = value
        elif kind == Kind.DONE:
            self._next_step()
        else:
            self._agrees &= value == self._peer_tag[Kind(kind)]
            if not self._expected:
                self._compare_digests()

    def _expect(self, kind: Kind, offsets: Iterable[int], values: Container[int]) -> None:
        """The peer's step is one ``kind`` per offset into the block, in this order, then DONE."""
        numbers = [(self._ring.first + offset) & MASK32 for offset in offsets]
        self._expected = deque([*((kind, number, values) for number in numbers)])
        self._expected.append((Kind.DONE, self._block, range(kind, kind + 1)))

    def _compare_digests(self) -> None:
        if not self._agrees:
            self.counters["blocks_discarded"] += 1
            self._finish_block()
            return
        self.counters["blocks_agreed"] += 1
        words = np.packbits(self._own.x, bitorder="little").view("<u4")
        for i, word in enumerate(words.tolist()):
            self._peer_out.append((Kind.TYPES, (self._ring.first + TYPE_BITS * i) & MASK32, word))
        self._done(Kind.TYPES, State.TYPES)
        self._expect(Kind.TYPES, range(0, self.block_heralds, TYPE_BITS), ANY)

    def _next_step(self) -> None:
        """The peer's step is done: send the next one of our own, or sift."""
        live, own, tables = self._known.present, self._own, self.tables
        if self.state is State.TYPES:
            self._peer_x &= live
            self._tells = reveals(tables, live, own.x, self._peer_x)
            self._asks = reveals(tables, live, self._peer_x, own.x)
            self._reveal(Kind.INTENSITY, self._tells, own.intensity)
            self._done(Kind.INTENSITY, State.INTENSITY)
            self._expect(Kind.INTENSITY, np.flatnonzero(self._asks).tolist(), range(4))
        elif self.state is State.INTENSITY:
            self._level = level(self._tells, own.intensity)
            self._peer_level = level(self._asks, self._peer_intensity)
            chosen = self._by_codes(tables.slice)
            self._reveal(Kind.SLICE, chosen, own.slice & np.uint8(tables.slice_mask))
            self._done(Kind.SLICE, State.SLICE)
            masked = [value for value in range(SLICES) if not value & ~tables.slice_mask]
            self._expect(Kind.SLICE, np.flatnonzero(chosen).tolist(), masked)
        else:
            self._sift()
            self._finish_block()

    def _reveal(self, kind: Kind, chosen: NDArray[np.bool_], values: NDArray[np.uint8]) -> None:
        for offset in np.flatnonzero(chosen).tolist():
            self._peer_out.append((kind, (self._ring.first + offset) & MASK32, int(values[offset])))

    def _done(self, kind: Kind, state: State) -> None:
        self._peer_out.append((Kind.DONE, self._block, kind))
        self.state = state

    def _by_codes(self, table: int) -> NDArray[np.bool_]:
        codes = (self._own.x, self._level, self._peer_x, self._peer_level)
        return by_codes(table, self._known.present, *codes)

    def _sift(self) -> None:
        known, own, tables = self._known, self._own, self.tables
        alice = self.role == "alice"
        own_slice = own.slice & self._by_codes(tables.slice) * np.uint8(tables.slice_mask)
        slices = (own_slice, self._peer_slice)
        levels = (self._level, self._peer_level)
        slice_a, slice_b = slices if alice else slices[::-1]
        level_a, level_b = levels if alice else levels[::-1]
        is_x, is_z = self._by_codes(tables.x), self._by_codes(tables.z)
        result = outcome(tables, known, is_x, is_z, slice_a, slice_b, self.slice_width_turns)

        offsets = np.flatnonzero(result.is_x | result.is_z)
        records = np.zeros(offsets.size, dtype=SIFTED_DTYPE)
        records["number"] = (self._ring.first + offsets) & MASK32
        records["word"] = sifted_words(known, result, self._level, own, self._peer_slice)[offsets]
        self._sifted_out.append(records)

        self.cells += count_cells(known, level_a, level_b, result)
        counted = {
            "sifted_z": result.is_z,
            "sifted_x": result.is_x,
            "kept_x": result.kept,
            "error_x": result.error,
        }
        for name, chosen in counted.items():
            self.counters[name] += int(np.count_nonzero(chosen))

    def _finish_block(self) -> None:
        self._ring.clear(self.block_heralds)
        self._blocks = (self._blocks + 1) % (1 << BLOCK_COUNT_BITS)
        self.state = State.COLLECT
