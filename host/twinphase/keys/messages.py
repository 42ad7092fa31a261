"""The two messages of odd-parity pairing as bytes, and everything that makes one of them refused.

Layout: `twinphase_spec.aopp`. Whoever reads a message says what it must belong to (its own Z bits; the PAIRS message that it sent); a
message that differs in anything raises `Refused` with one sentence.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinphase_spec import aopp

from .bitfields import pack_fields, unpack_fields
from .refused import Refused
from .zbits import ZBits


@dataclass(frozen=True, kw_only=True, eq=False)
class Pairs:
    """A pairing in its announced order: ``lower``, ``upper``: positions of each pair, lower < upper; its ``group`` size and ``seed``."""

    group: int
    seed: bytes
    lower: NDArray[np.int64]
    upper: NDArray[np.int64]


def encode_pairs(own: ZBits, group: int, seed: bytes, mates: list[list[int]]) -> bytes:
    """PAIRS with the involution ``mates`` of every group."""
    header = np.zeros((), aopp.PAIRS_HEADER)
    header["kind"], header["version"], header["group"] = aopp.PAIRS, aopp.VERSION, group
    header["first_block"], header["blocks"], header["positions"] = own.first_block, own.blocks, own.numbers.size
    header["numbers_crc"], header["seed"] = own.numbers_crc, np.void(seed)
    return header.tobytes() + pack_fields((aopp.rank(slots), aopp.field_bits(len(slots))) for slots in mates)


def decode_pairs(message: bytes, own: ZBits) -> Pairs:
    """What a PAIRS message for the same Z heralds as ``own`` says. Raises `Refused`."""
    header = _header(message, aopp.PAIRS_HEADER, aopp.PAIRS, "PAIRS", own)
    group = int(header["group"])
    if not aopp.MIN_GROUP <= group <= aopp.MAX_GROUP:
        raise Refused(f"PAIRS of {own.span}: groups of {group}; allowed: {aopp.MIN_GROUP} to {aopp.MAX_GROUP}")
    if int(header["positions"]) != own.numbers.size:
        raise Refused(
            f"PAIRS of {own.span}: the peer counts {header['positions']} Z heralds, here are {own.numbers.size}: a sifted record was lost"
        )
    if int(header["numbers_crc"]) != own.numbers_crc:
        raise Refused(f"PAIRS of {own.span}: the peer's list of {own.numbers.size} Z heralds is not the one here")
    seed = header["seed"].tobytes()
    parts = aopp.groups(seed, own.first_block, own.blocks, own.numbers.size, group)
    widths = [aopp.field_bits(len(part)) for part in parts]
    try:
        ranks = unpack_fields(message[aopp.PAIRS_HEADER.itemsize :], widths)
    except ValueError as error:
        raise Refused(f"PAIRS of {own.span}: {error}") from error
    mates = []
    for number, (value, part) in enumerate(zip(ranks, parts, strict=True)):
        if value >= aopp.involutions(len(part)):
            raise Refused(f"PAIRS of {own.span}: the field of group {number} is no pairing of {len(part)} positions")
        mates.append(aopp.unrank(value, len(part)))
    lower, upper = pair_positions(parts, mates)
    return Pairs(group=group, seed=seed, lower=lower, upper=upper)


def pair_positions(
    parts: list[NDArray[np.int64]], mates: list[list[int]]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Lower and upper positions of all pairs, in the announced order."""
    lower, upper = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for part, slots in zip(parts, mates, strict=True):
        mate = np.array(slots, np.int64)
        at = np.flatnonzero(mate > np.arange(mate.size))
        lower.append(part[at])
        upper.append(part[mate[at]])
    return np.concatenate(lower), np.concatenate(upper)


def encode_odd(own: ZBits, odd: NDArray[np.bool_], pairs_message: bytes) -> bytes:
    """ODD in answer to ``pairs_message``: ``odd[i]``, whether pair i has two different bits here."""
    header = np.zeros((), aopp.ODD_HEADER)
    header["kind"], header["version"] = aopp.ODD, aopp.VERSION
    header["first_block"], header["blocks"] = own.first_block, own.blocks
    header["pairs"], header["odd"], header["pairs_crc"] = odd.size, np.count_nonzero(odd), zlib.crc32(pairs_message)
    return header.tobytes() + np.packbits(odd, bitorder="little").tobytes()


def decode_odd(message: bytes, own: ZBits, pairs: int, pairs_message: bytes) -> NDArray[np.bool_]:
    """Which of the ``pairs`` of ``pairs_message`` are odd at the peer. Raises `Refused`."""
    header = _header(message, aopp.ODD_HEADER, aopp.ODD, "ODD", own)
    if int(header["reserved"]):
        raise Refused(f"ODD of {own.span}: its reserved field is {header['reserved']}; allowed: 0")
    if int(header["pairs_crc"]) != zlib.crc32(pairs_message):
        raise Refused(f"ODD of {own.span}: it answers another PAIRS message than the one sent")
    if int(header["pairs"]) != pairs:
        raise Refused(f"ODD of {own.span}: it speaks of {header['pairs']} pairs; {pairs} were announced")
    body = message[aopp.ODD_HEADER.itemsize :]
    if len(body) != (pairs + 7) // 8:
        raise Refused(f"ODD of {own.span}: {len(body)} bytes of parities instead of {(pairs + 7) // 8}")
    bits = np.unpackbits(np.frombuffer(body, np.uint8), bitorder="little")
    if bits[pairs:].any():
        raise Refused(f"ODD of {own.span}: bits behind the last pair are not 0")
    odd = bits[:pairs].astype(np.bool_)
    if int(header["odd"]) != np.count_nonzero(odd):
        raise Refused(f"ODD of {own.span}: it counts {header['odd']} odd pairs and marks {np.count_nonzero(odd)}")
    return odd


def _header(message: bytes, dtype: np.dtype[Any], kind: int, name: str, own: ZBits) -> Any:
    """The header, of the right kind, version and span."""
    if len(message) < dtype.itemsize:
        raise Refused(f"{name} of {own.span}: {len(message)} bytes; a header alone has {dtype.itemsize}")
    header = np.frombuffer(message, dtype, 1)[0]
    if int(header["kind"]) != kind:
        raise Refused(f"{name} of {own.span}: the message has kind {header['kind']} instead of {kind}")
    if int(header["version"]) != aopp.VERSION:
        raise Refused(
            f"{name} of {own.span}: version {header['version']}, this host {aopp.VERSION}: both users need the same Twinphase release"
        )
    first, blocks = int(header["first_block"]), int(header["blocks"])
    if (first, blocks) != (own.first_block, own.blocks):
        raise Refused(
            f"{name} of {own.span}: the message is of block {first} and the {blocks - 1} after it, which are not the ones here"
        )
    return header
