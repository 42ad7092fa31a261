"""Odd-parity pairing at both users: who draws, who answers, what each keeps. Procedure and messages: `twinphase_spec.aopp`.

    bob = PairingUser(bob_bits)                 alice = AnsweringUser(alice_bits)
    pairs = bob.announce()          ->          odd, alice_key = alice.answer(pairs)
    bob_key = bob.keep(odd)         <-

Each object is for one span and one use. A refused message ends it: it says nothing more. `SpanLedger` keeps a user from pairing the same
bits twice, which would reveal parities across pairs.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twinphase_spec import aopp

from .messages import decode_odd, decode_pairs, encode_odd, encode_pairs, pair_positions
from .refused import Refused
from .zbits import ZBits

RandomBytes = Callable[[int], bytes]


@dataclass(frozen=True, kw_only=True, eq=False)
class PairedKey:
    """What one user keeps of a span: ``bits`` (u1), one per odd pair, in the announced order.

    ``kept``, ``discarded``: herald numbers of each pair's kept and discarded bit (u4). ``pairs``: pairs that were announced.
    """

    first_block: int
    blocks: int
    pairs: int
    bits: NDArray[np.uint8]
    kept: NDArray[np.uint32]
    discarded: NDArray[np.uint32]


class SpanLedger:
    """Spans that a user has paired. A user takes all its `PairingUser` and `AnsweringUser` objects with one ledger."""

    def __init__(self) -> None:
        self._spans: list[tuple[int, int]] = []

    def enter(self, bits: ZBits) -> None:
        """Note a span. Raises `Refused` when any of its blocks is there already."""
        start, stop = bits.first_block, bits.first_block + bits.blocks
        for first, last in self._spans:
            if start < last and first < stop:
                raise Refused(f"pairing: {bits.span} overlaps blocks {first} to {last - 1}, which have been paired")
        if self._spans and self._spans[-1][1] == start:
            self._spans[-1] = (self._spans[-1][0], stop)
        else:
            self._spans.append((start, stop))


class PairingUser:
    """The user who draws the pairing, after its span has closed.

    ``random_bytes``: cryptographic randomness; another source is for tests only. Raises `Refused` for a span that ``ledger`` knows.
    """

    def __init__(
        self,
        bits: ZBits,
        *,
        group: int = aopp.GROUP,
        ledger: SpanLedger | None = None,
        random_bytes: RandomBytes = secrets.token_bytes,
    ) -> None:
        if not aopp.MIN_GROUP <= group <= aopp.MAX_GROUP:
            raise Refused(f"pairing: group is {group}; allowed: {aopp.MIN_GROUP} to {aopp.MAX_GROUP}")
        if ledger is not None:
            ledger.enter(bits)
        self._bits, self._group, self._random_bytes = bits, group, random_bytes
        self._message: bytes | None = None
        self._done = False
        self._lower = self._upper = np.empty(0, np.int64)

    @property
    def pairs(self) -> int:
        """Pairs drawn."""
        return self._lower.size

    def announce(self) -> bytes:
        """Draw the pairing; the PAIRS message. Raises `Refused` the second time."""
        if self._message is not None:
            raise Refused(
                f"pairing: {self._bits.span} has been announced; a second pairing of the same bits would reveal them"
            )
        own = self._bits
        seed = self._random_bytes(aopp.SEED_BYTES)
        parts = aopp.groups(seed, own.first_block, own.blocks, own.numbers.size, self._group)
        private = np.frombuffer(self._random_bytes(8 * own.numbers.size), "<u8")
        mates = [_random_pairs(own.bits[part], private[part]) for part in parts]
        self._lower, self._upper = pair_positions(parts, mates)
        self._message = encode_pairs(own, self._group, seed, mates)
        return self._message

    def keep(self, odd_message: bytes) -> PairedKey:
        """The key that the peer's ODD message leaves. Raises `Refused`."""
        if self._message is None or self._done:
            raise Refused(
                f"ODD of {self._bits.span}: it came {'twice' if self._done else 'before any pairs were announced'}"
            )
        self._done = True
        odd = decode_odd(odd_message, self._bits, self.pairs, self._message)
        return _keep(self._bits, self._lower, self._upper, odd)


class AnsweringUser:
    """The other user, who says which pairs are odd. Raises `Refused` for a span that ``ledger`` knows."""

    def __init__(self, bits: ZBits, *, ledger: SpanLedger | None = None) -> None:
        if ledger is not None:
            ledger.enter(bits)
        self._bits = bits
        self._done = False

    def answer(self, pairs_message: bytes) -> tuple[bytes, PairedKey]:
        """The ODD message and the key. Raises `Refused`; nothing is answered then, now or later."""
        if self._done:
            raise Refused(f"PAIRS of {self._bits.span}: it came twice; a second answer would reveal more parities")
        self._done = True
        pairs = decode_pairs(pairs_message, self._bits)
        odd = self._bits.bits[pairs.lower] != self._bits.bits[pairs.upper]
        return encode_odd(self._bits, odd, pairs_message), _keep(self._bits, pairs.lower, pairs.upper, odd)


def _random_pairs(bits: NDArray[np.uint8], private: NDArray[np.uint64]) -> list[int]:
    """An involution of the slots that pairs zeros with ones: both in the order of their private random words, first with first.

    Equal words (probability below 2^-52 per group of 64) fall back on the order of slots.
    """
    order = np.argsort(private, kind="stable")
    zeros, ones = order[bits[order] == 0], order[bits[order] == 1]
    mates = np.arange(bits.size)
    pairs = min(zeros.size, ones.size)
    mates[zeros[:pairs]], mates[ones[:pairs]] = ones[:pairs], zeros[:pairs]
    return mates.tolist()


def _keep(bits: ZBits, lower: NDArray[np.int64], upper: NDArray[np.int64], odd: NDArray[np.bool_]) -> PairedKey:
    return PairedKey(
        first_block=bits.first_block,
        blocks=bits.blocks,
        pairs=odd.size,
        bits=bits.bits[lower[odd]],
        kept=bits.numbers[lower[odd]],
        discarded=bits.numbers[upper[odd]],
    )
