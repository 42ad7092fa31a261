"""docs/digest.md in plain integers, with AES of the `cryptography` package: what benches and tests hold the gateware's digest to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

MODULUS = 1 << 64 | 1 << 4 | 1 << 3 | 1 << 1 | 1 << 0
Herald = tuple[int, int] | None
"""(pulse, detector); None: missing."""
Psi = tuple[int, int] | None
"""(psi, flags); None: did not come."""
Live = tuple[int, int, int]
"""Words of a LIVE record."""


def times(a: int, b: int) -> int:
    """Product in GF(2^64): without carries, then the remainder by the modulus."""
    product = 0
    for bit in range(64):
        if a >> bit & 1:
            product ^= b << bit
    for bit in reversed(range(64, 128)):
        if product >> bit & 1:
            product ^= MODULUS << bit - 64
    return product


def polynomial(words: Sequence[int], key: int) -> int:
    """``s = 1; s = (s xor word) key`` for each word."""
    s = 1
    for word in words:
        s = times(s ^ word, key)
    return s


def herald_words(heralds: Sequence[Herald]) -> list[int]:
    return [0 if h is None else h[0] | h[1] << 56 | 1 << 63 for h in heralds]


def psi_words(heralds: Sequence[Herald], psis: Sequence[Psi]) -> list[int]:
    halves = []
    for herald, psi in zip(heralds, psis, strict=True):
        value, flags = psi or (0, 0)
        halves.append(0 if herald is None else value | flags << 16 | 1 << 18)
    return [low | high << 32 for low, high in zip(halves[::2], halves[1::2], strict=True)]


def first_of(record: Live) -> int:
    """First pulse of a LIVE record's run."""
    return record[0] + ((record[1] % 2**24) << 32)


def live_words(records: Sequence[Live]) -> list[int]:
    """Two for each record of a block's list."""
    words = []
    for record in records:
        words += [first_of(record) | 1 << 63, record[2] | (record[1] >> 24) << 32]
    return words


def live_lists(blocks: Sequence[Sequence[Herald]], records: Sequence[Live]) -> list[list[Live]]:
    """Lists of the blocks, as far as they are complete: one after the other takes records up to the first behind all its heralds."""
    lists, rest, highest = [], list(records), 0
    for block in blocks:
        highest = max([highest, *(herald[0] for herald in block if herald)])
        taken = []
        while rest and first_of(rest[0]) <= highest:
            taken.append(rest.pop(0))
        if not rest:
            break
        lists.append(taken)
    return lists


@dataclass(frozen=True)
class Pair:
    """The key that two clients share, and the nonce of a run, in register words."""

    key: tuple[int, int, int, int] = (0, 0, 0, 0)
    nonce: tuple[int, int] = (0, 0)

    def encrypted(self, block: bytes) -> bytes:
        key = b"".join(word.to_bytes(4, "big") for word in self.key)
        return Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(block)

    def keys(self) -> tuple[int, int]:
        """h, k."""
        both = self.encrypted(bytes(16))
        return int.from_bytes(both[:8], "big"), int.from_bytes(both[8:], "big")

    def live_key(self) -> int:
        """g."""
        return int.from_bytes(self.encrypted(bytes(15) + b"\x01")[:8], "big")

    def pads(self, block: int) -> tuple[int, int]:
        """Alice's and Bob's of block number ``block`` since the start, which does not wrap."""
        counter = b"".join(word.to_bytes(4, "big") for word in self.nonce) + ((1 << 63) + block).to_bytes(8, "big")
        both = self.encrypted(counter)
        return int.from_bytes(both[:8], "big"), int.from_bytes(both[8:], "big")

    def digest(self, heralds: Sequence[Herald], psis: Sequence[Psi], live: Sequence[Live] | None = None) -> int:
        """Of a block, without a pad; ``live``: its list, if the digest covers it."""
        h, k = self.keys()
        lists = 0 if live is None else polynomial(live_words(live), self.live_key())
        return polynomial(herald_words(heralds), h) ^ polynomial(psi_words(heralds, psis), k) ^ lists

    def settings(self) -> int:
        """Bits of `DigestSettings`."""
        return sum(word << 32 * place for place, word in enumerate((*self.key, *self.nonce)))


def halves(tag: int) -> tuple[int, int]:
    """Values of DIGEST_LOW and DIGEST_HIGH."""
    return tag & 0xFFFFFFFF, tag >> 32
