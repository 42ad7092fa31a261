"""Gathers the records of a pair's three nodes into herald blocks and hands each out once it is closed.

A block is *closed* when both clients have sent DONE(SLICE) for it and all SIFTED records that follow from what they revealed have come.
With pairs (PAIR_SPAN), the second herald of a pair stands for it, as docs/rules.md says, and pairs are found anew from HERALD.
A block of which both clients have sent their tags and nothing else before a later block's is *discarded*: their digests of it differed,
which are of heralds and psi under a key that both share, and nothing of it was revealed. One of which something else is missing when
HERALD and both PEER streams, or something at all when all five (both SIFTED as well), have gone on to later blocks is *incomplete*
(records were lost).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from twinphase_spec.packets import Stream
from twinphase_spec.rules import UNREVEALED
from twinphase_spec.sns import Kind

from ..batch import Batch
from .pairs import UNKNOWN, could_pair, pair_detector, paired
from .rule import Outcome, PairRule, outcome

Role = Literal["alice", "bob"]
ROLES: tuple[Role, Role] = ("alice", "bob")
Node = Literal["server", "alice", "bob"]
MOST_WAITING = 1 << 12
"""Blocks that are held at most; beyond, the oldest is given up."""


WHY_DISCARDED = (
    "the clients' digests differ (other heralds, psi or LIVE records, or another DIGEST_KEY, DIGEST_NONCE or DIGEST_LIVE at "
    "one of them) or LIVE records found no room (live_overflow); nothing of them was told"
)
"""What is known of discarded blocks."""


class Fate(Enum):
    """What became of a block."""

    CLOSED = "closed"
    INCOMPLETE = "incomplete"
    DISCARDED = "discarded"


@dataclass
class Side:
    """What one client has sent of a block; one element per herald.

    ``x``: its type; ``typed``: a TYPES message of the herald has come; ``level``: intensity where ``told``, otherwise 3; ``word``: SIFTED
    word where ``sifted``. ``done``: bits of the kinds of DONE seen; ``digests``: digests seen.
    """

    x: NDArray[np.bool_]
    typed: NDArray[np.bool_]
    told: NDArray[np.bool_]
    level: NDArray[np.uint8]
    sifted: NDArray[np.bool_]
    word: NDArray[np.uint32]
    done: int = 0
    digests: int = 0

    @classmethod
    def empty(cls, heralds: int) -> Side:
        """Nothing yet."""
        return cls(
            x=np.zeros(heralds, np.bool_),
            typed=np.zeros(heralds, np.bool_),
            told=np.zeros(heralds, np.bool_),
            level=np.full(heralds, UNREVEALED, np.uint8),
            sifted=np.zeros(heralds, np.bool_),
            word=np.zeros(heralds, np.uint32),
        )


@dataclass
class Block:
    """A herald block; ``pulse`` and ``detector`` (0 L, 1 R) of each herald: -1 and UNKNOWN where the server's record has not come.

    ``live``: of a closed block, heralds that are there for both clients; with pairs, those that stand for one.
    """

    number: int
    pulse: NDArray[np.int64]
    detector: NDArray[np.uint8]
    live: NDArray[np.bool_]
    sides: dict[Role, Side] = field(default_factory=dict)
    fate: Fate | None = None

    @classmethod
    def empty(cls, number: int, heralds: int) -> Block:
        """Nothing of it has come."""
        return cls(
            number,
            np.full(heralds, -1, np.int64),
            np.full(heralds, UNKNOWN, np.uint8),
            np.ones(heralds, np.bool_),
            {role: Side.empty(heralds) for role in ROLES},
        )

    @property
    def first_herald(self) -> int:
        """Its number."""
        return self.number * self.detector.size

    def outcome(self, rule: PairRule) -> Outcome:
        """What each herald (or pair) becomes. A herald of unknown detector counts as one where a client has sifted it."""
        alice, bob = self.sides["alice"], self.sides["bob"]
        present = (self.detector != UNKNOWN) | alice.sifted | bob.sifted | alice.told | bob.told
        return outcome(rule, alice.x, bob.x, alice.level, bob.level, present & self.live)

    def clicked(self, rule: PairRule) -> NDArray[np.uint8]:
        """Detector of each herald, or of the pair that it stands for; UNKNOWN as in ``detector``."""
        return pair_detector(self.detector) if rule.pair_span else self.detector


class BlockGatherer:
    """Takes batches of the three nodes and yields blocks in order.

    Of streams that are joined in the middle, the first blocks are there in part only; they are left out, up to the first that is closed
    or discarded.
    """

    def __init__(self, block_heralds: int, rule: PairRule) -> None:
        self.block_heralds, self.rule = block_heralds, rule
        self._blocks: dict[int, Block] = {}
        streams = ["herald", *(f"{kind} {role}" for kind in ("peer", "sifted") for role in ROLES)]
        self._newest = dict.fromkeys(streams, -1)
        """Newest block of each stream."""
        self._passed = -1
        """Newest block that was handed out."""
        self._joined = False
        """A block has been closed, or block 0 was there."""

    def update(self, node: Node, batch: Batch) -> Iterator[Block]:
        """Take records; blocks that are closed, or known never to close, by now."""
        if node == "server":
            # HERALD_CODE decodes to the same records; where both are sent, they say the same.
            for stream in (Stream.HERALD, Stream.HERALD_CODE):
                if (records := batch.get(stream)) is not None:
                    self._heralds(records)
        else:
            if (records := batch.get(Stream.PEER)) is not None:
                self._peer(node, records)
            if (records := batch.get(Stream.SIFTED)) is not None:
                self._sifted(node, records)
        yield from self._ready()

    def finish(self) -> Iterator[Block]:
        """The streams have ended: closed blocks that are left; one that the end has cut is dropped."""
        yield from self._ready()
        self._blocks.clear()

    def _block(self, number: int) -> Block | None:
        """The block to write into; None for one that was handed out."""
        if number <= self._passed:
            return None
        if number not in self._blocks:
            self._blocks[number] = Block.empty(number, self.block_heralds)
        return self._blocks[number]

    def _parts(self, stream: str, numbers: NDArray[Any]) -> Iterator[tuple[Block, NDArray[np.intp], NDArray[np.int64]]]:
        """(block, indices of its records, their places in the block)."""
        at = numbers.astype(np.int64)
        block = at // self.block_heralds
        self._newest[stream] = max(self._newest[stream], int(block.max(initial=-1)))
        for number in np.unique(block).tolist():
            if (found := self._block(number)) is not None:
                chosen = np.flatnonzero(block == number)
                yield found, chosen, at[chosen] - number * self.block_heralds

    def _heralds(self, records: NDArray[Any]) -> None:
        high = records["pulse_high_detector"]
        detector = (high >> 31).astype(np.uint8)
        pulse = (high & 0xFFFFFF).astype(np.int64) << 32 | records["pulse_low"]
        for block, chosen, places in self._parts("herald", records["number"]):
            block.detector[places], block.pulse[places] = detector[chosen], pulse[chosen]

    def _sifted(self, role: Role, records: NDArray[Any]) -> None:
        for block, chosen, places in self._parts(f"sifted {role}", records["number"]):
            side = block.sides[role]
            side.sifted[places], side.word[places] = True, records["word"][chosen]

    def _peer(self, role: Role, records: NDArray[Any]) -> None:
        kind = records["kind"]
        types = records[kind == Kind.TYPES]
        lanes = np.arange(32)
        for block, chosen, places in self._parts(f"peer {role}", types["number"]):
            where = (places[:, None] + lanes).ravel()
            bits = ((types["value"][chosen][:, None] >> lanes.astype(np.uint32)) & 1).ravel().astype(np.bool_)
            inside = where < self.block_heralds
            side = block.sides[role]
            side.x[where[inside]], side.typed[where[inside]] = bits[inside], True
        levels = records[kind == Kind.INTENSITY]
        for block, chosen, places in self._parts(f"peer {role}", levels["number"]):
            side = block.sides[role]
            side.told[places], side.level[places] = True, levels["value"][chosen] & 3
        by_block = records[(kind == Kind.DONE) | (kind <= Kind.DIGEST_HIGH)]
        if by_block.size:
            self._newest[f"peer {role}"] = max(self._newest[f"peer {role}"], int(by_block["number"].max()))
        for record in by_block:
            if (found := self._block(int(record["number"]))) is not None:
                if record["kind"] == Kind.DONE:
                    found.sides[role].done |= 1 << (int(record["value"]) & 31)
                else:
                    found.sides[role].digests += 1

    def _ready(self) -> Iterator[Block]:
        while self._blocks:
            number = min(self._blocks)
            block = self._blocks[number]
            if self._closed(block):
                block.fate = Fate.CLOSED
            elif self._told(block) and not self._revealed(block):
                told = any(side.done or side.typed.any() or side.sifted.any() for side in block.sides.values())
                tagged = all(side.digests == 2 for side in block.sides.values())
                block.fate = Fate.DISCARDED if tagged and not told else Fate.INCOMPLETE
            elif min(self._newest.values()) > number or len(self._blocks) > MOST_WAITING:
                block.fate = Fate.CLOSED if self._closed(block, overdue=True) else Fate.INCOMPLETE
            else:
                return
            self._passed = number
            del self._blocks[number]
            self._joined |= block.fate is not Fate.INCOMPLETE or number == 0
            if self._joined:
                yield block

    def _told(self, block: Block) -> bool:
        """Whether both PEER streams have gone on to later blocks, and all of its heralds have come or been lost."""
        heralds = block.pulse[-1] >= 0 or self._newest["herald"] > block.number
        return heralds and min(self._newest[f"peer {role}"] for role in ROLES) > block.number

    def _revealed(self, block: Block) -> bool:
        """Whether everything of PEER has come that is known to be due: of heralds for which both types are 0, and of pairs, nobody knows
        yet that both clients have them."""
        alice, bob = block.sides["alice"], block.sides["bob"]
        if not all(side.done >> Kind.SLICE & 1 and side.typed.all() for side in (alice, bob)):
            return False
        heard = alice.x | bob.x
        return bool(self.rule.pair_span) or all(
            np.array_equal(own.told & heard, self.rule.revealed(own.x, peer.x) & heard)
            for own, peer in ((alice, bob), (bob, alice))
        )

    def _closed(self, block: Block, overdue: bool = False) -> bool:
        """Whether all has come; sets ``live``. Of an ``overdue`` block, heralds of which neither client has told or sifted anything, as
        it does of those of type Z that it has, were missing at both."""
        alice, bob = block.sides["alice"], block.sides["bob"]
        if not self._revealed(block):
            return False
        block.live = self._pairs(block, overdue) if self.rule.pair_span else np.ones(self.block_heralds, np.bool_)
        due = self.rule.revealed(alice.x, bob.x), self.rule.revealed(bob.x, alice.x)
        wanted = block.outcome(self.rule)
        if overdue:
            heard = alice.x | bob.x | alice.told | bob.told | alice.sifted | bob.sifted
            block.live &= heard | ~(due[0] | due[1] | wanted.x | wanted.z)
            wanted = block.outcome(self.rule)
        if any(not np.array_equal(side.told, block.live & told) for side, told in zip((alice, bob), due, strict=True)):
            return False
        known = bool((block.clicked(self.rule)[wanted.counted] != UNKNOWN).all())
        return known and all(np.array_equal(side.sifted, wanted.x | wanted.z) for side in (alice, bob))

    def _pairs(self, block: Block, overdue: bool) -> NDArray[np.bool_]:
        """Heralds that stand for a pair. Which heralds both clients have missed shows in an ``overdue`` block where all pairs are told:
        then these are the pairs, if any choice of missing heralds explains them."""
        present, span = block.detector != UNKNOWN, self.rule.pair_span
        second = paired(block.pulse, present, span)
        alice, bob = block.sides["alice"].told, block.sides["bob"].told
        told = overdue and self.rule.all_reveal and np.array_equal(alice, bob)
        return alice.copy() if told and could_pair(block.pulse, present, span, alice) else second
