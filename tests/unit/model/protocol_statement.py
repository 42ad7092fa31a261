"""Each protocol in plain words of Python, herald by herald: what the two users keep, and with which bits.

Written from the papers' steps as docs/rules.md quotes them, without tables: the judge of `twinphase_spec.rules` and of what is made of
it. The digest that comes before all of it is docs/digest.md's, in integers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

VACUUM = 0
KEPT_SECRET = 3


@dataclass(frozen=True)
class Window:
    """What a user has sent: an X (test, or any of a protocol without types) or a Z window, of an intensity, in a phase slice."""

    is_x: bool
    intensity: int
    slice: int
    first_lit: bool = False
    """Of a pair: light in the first pulse and none in the second."""


@dataclass(frozen=True)
class Herald:
    number: int
    pulse: int
    detector: int
    psi: int
    valid: bool


@dataclass(frozen=True)
class Kept:
    """A record of one herald at one user. ``phase``: it was tested by its phase; otherwise ``bit`` is its key bit."""

    number: int
    phase: bool
    bit: int = 0
    kept: bool = False
    error: bool = False
    branch: int = 0
    own_slice: int = 0
    told_slice: int = 0
    level: int = 0


def phase_test(alice: int, bob: int, psi: int, valid: bool, width: int) -> tuple[bool, int]:
    """Whether the phase difference, of slices of 1/16 turn and psi of 2^-16 turn, is within width/2 of 0 or of half a turn; which."""
    shifted = ((alice - bob) * 4096 + psi + width // 2) % 65536
    return valid and shifted % 32768 <= width, shifted // 32768


def lit_alike(a: Window, b: Window) -> bool:
    return a.is_x and b.is_x and a.intensity == b.intensity and a.intensity not in (VACUUM, KEPT_SECRET)


def one_herald(
    protocol: str, herald: Herald, a: Window, b: Window, width: int
) -> tuple[Kept | None, Kept | None, tuple[int, int, bool, bool]]:
    """(Alice's record, Bob's, (level of A, level of B, kept, error)) of a herald, or of a pair at its second herald."""
    told_a, told_b = a.intensity, b.intensity
    mask, phase, bits = 0, False, None
    if protocol == "SNS":
        told_a, told_b = (w.intensity if w.is_x else KEPT_SECRET for w in (a, b))
        mask, phase = 15, lit_alike(a, b)
        if not a.is_x and not b.is_x:
            bits = int(a.intensity != VACUUM), int(b.intensity == VACUUM)
    elif protocol == "PM":
        mask, phase = 7, lit_alike(a, b)
    elif protocol == "CAL":
        if not (a.is_x and b.is_x):
            told_a = told_b = KEPT_SECRET
        phase = not a.is_x and not b.is_x
    elif protocol == "MP":
        mask, phase = 7, lit_alike(a, b)
        if not a.is_x and not b.is_x:
            bits = int(a.first_lit), int(not b.first_lit)
    else:
        mask, phase = 4, VACUUM not in (a.intensity, b.intensity)
    if bits:
        return Kept(herald.number, False, bits[0]), Kept(herald.number, False, bits[1]), (told_a, told_b, False, False)
    if not phase:
        return None, None, (told_a, told_b, False, False)
    sa, sb = a.slice & mask, b.slice & mask
    kept, branch = phase_test(sa, sb, herald.psi, herald.valid, width)
    error = protocol == "SNS" and kept and herald.detector != branch
    first = Kept(herald.number, True, 0, kept, error, branch, a.slice, sb, told_a)
    second = replace(first, own_slice=b.slice, told_slice=sa, level=told_b)
    return first, second, (told_a, told_b, kept, error)


def of_pair(first: Window, second: Window) -> Window:
    """Two windows of mode pairing as one: equal light X, light in one of them Z; anything else gives nothing."""
    lights = first.intensity, second.intensity
    turned = (second.slice - first.slice) % 16
    if KEPT_SECRET in lights or (lights[0] != lights[1] and VACUUM not in lights):
        return Window(True, KEPT_SECRET, turned)
    if lights[0] == lights[1]:
        return Window(True, lights[0], turned)
    return Window(False, max(lights), turned, first_lit=lights[0] != VACUUM)


def sift(
    protocol: str,
    heralds: list[Herald],
    alice: dict[int, Window],
    bob: dict[int, Window],
    *,
    block: int,
    blocks: int,
    width: int,
    span: int,
) -> tuple[list[Kept], list[Kept], dict[tuple[int, int, int, bool, bool], int], int]:
    """(Alice's records, Bob's, counts per cell, heralds without a partner) of complete blocks; windows by pulse index."""
    a_kept, b_kept, cells, alone = [], [], {}, 0
    waiting: Herald | None = None
    for herald in heralds:
        if herald.number >= block * blocks:
            continue
        a, b, judged = alice[herald.pulse], bob[herald.pulse], herald
        if protocol == "MP":
            partner, waiting = waiting, None
            fits = (
                partner is not None
                and partner.number == herald.number - 1
                and herald.number % block > 0
                and herald.pulse - partner.pulse <= span
            )
            if not fits:
                alone += 1
                waiting = herald
                continue
            a, b = of_pair(alice[partner.pulse], a), of_pair(bob[partner.pulse], b)
            judged = replace(
                herald,
                detector=herald.detector ^ partner.detector,
                psi=(herald.psi - partner.psi) % 65536,
                valid=herald.valid and partner.valid,
            )
        of_a, of_b, (la, lb, kept, error) = one_herald(protocol, judged, a, b, width)
        a_kept += [of_a] if of_a else []
        b_kept += [of_b] if of_b else []
        cell = (la, lb, judged.detector, kept, error)
        cells[cell] = cells.get(cell, 0) + 1
    return a_kept, b_kept, cells, alone


def product(a: int, b: int) -> int:
    """Of two polynomials over GF(2), modulo x^64 + x^4 + x^3 + x + 1, bit by bit."""
    result = 0
    for i in range(64):
        if b >> i & 1:
            result ^= a << i
    for i in reversed(range(64, 128)):
        if result >> i & 1:
            result ^= (1 << 64 | 0b11011) << (i - 64)
    return result


def ciphered(key: bytes, block: bytes) -> tuple[int, int]:
    """AES-128 of 16 bytes: the first eight and the last eight, highest byte first."""
    cipher = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    done = cipher.update(block) + cipher.finalize()
    return int.from_bytes(done[:8], "big"), int.from_bytes(done[8:], "big")


def block_tags(
    heralds: list[tuple[int, int, int, int] | None], block: int, key: bytes, nonce: bytes
) -> tuple[int, int, int]:
    """(digest, Alice's tag, Bob's) of a block of heralds (pulse, detector, psi, flags; None for a missing one)."""
    h, k = ciphered(key, bytes(16))
    of_heralds = of_psi = 1
    half = 0
    for i, herald in enumerate(heralds):
        word = part = 0
        if herald is not None:
            pulse, detector, psi, flags = herald
            word = 2**63 + detector * 2**56 + pulse
            part = 2**18 + flags * 2**16 + psi
        of_heralds = product(of_heralds ^ word, h)
        if i % 2 == 0:
            half = part
        else:
            of_psi = product(of_psi ^ (half + part * 2**32), k)
    digest = of_heralds ^ of_psi
    pads = ciphered(key, nonce + (2**63 + block).to_bytes(8, "big"))
    return digest, digest ^ pads[0], digest ^ pads[1]
