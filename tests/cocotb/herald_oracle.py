"""The herald code bit by bit in plain Python, as docs/heralds.md states it: what the benches of coder and decoder compare with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

PULSES = 1 << 56
MAX_WORDS = 256
WORD = 0xFFFFFFFF


class Herald(NamedTuple):
    number: int
    pulse: int
    detector: int


class Malformed(Exception):
    """``kept``: the heralds before the error."""

    def __init__(self, kept: list[Herald]) -> None:
        super().__init__(f"malformed behind {len(kept)} heralds")
        self.kept = kept


def divisor(byte: int) -> int:
    """m of a divisor byte."""
    return ((8 + (byte & 7)) << (byte >> 3)) >> 3


def batch_byte(span: int) -> int:
    """Divisor byte of a batch that took ``span`` pulses."""
    c = max(1, (177 * min(span, (1 << 40) - 1) + (1 << 14)) >> 16)
    exponent = len(f"{c:b}") - 1
    return exponent << 3 | ((c << 3) >> exponent) - 8


def remainder_bits(m: int) -> tuple[int, int]:
    """b, and t."""
    b = 0 if m == 1 else len(f"{m - 1:b}")
    return b, (1 << b) - m


def field(value: int, bits: int) -> list[int]:
    """``bits`` bits of a value, lowest first."""
    return [value >> k & 1 for k in range(bits)]


def code(gap: int, m: int, detector: int) -> list[int]:
    """Bits of a herald that is not its packet's first."""
    q, r = divmod(gap, m)
    if q >= 16:
        return [1] * 16 + field(gap, 56) + [detector]
    b, t = remainder_bits(m)
    if m == 1:
        tail = []
    elif r < t:
        tail = field(r, b - 1)
    else:
        tail = [*field((r + t) >> 1, b - 1), (r + t) & 1]
    return [1] * q + [0] + tail + [detector]


def words_of(bits: Sequence[int]) -> list[int]:
    """Bits as code words."""
    return [sum(bit << k for k, bit in enumerate(bits[low : low + 32])) for low in range(0, len(bits), 32)]


def payload(heralds: Sequence[Herald], byte: int) -> list[int]:
    """Payload words of a packet of these heralds."""
    first = heralds[0]
    bits = [first.detector]
    before = first.pulse
    for herald in heralds[1:]:
        bits += code(herald.pulse - before - 1, divisor(byte), herald.detector)
        before = herald.pulse
    return [first.pulse & WORD, first.pulse >> 32 | byte << 24, *words_of(bits)]


def packet(heralds: Sequence[Herald], byte: int, number: int = 0, count: int | None = None) -> list[int]:
    """A packet's words from w1 on, with ``last`` in bit 32; ``number`` is that of a heartbeat."""
    body = payload(heralds, byte) if heralds else []
    return framed(body, heralds[0].number if heralds else number, len(heralds) if count is None else count)


def framed(body: Sequence[int], number: int, count: int) -> list[int]:
    """A packet's words from w1 on, with ``last`` in bit 32."""
    words = [0, count << 16 | len(body), 0, 0, 0, 0, number, *body]
    words[-1] |= 1 << 32
    return words


def decode(body: Sequence[int], number: int, count: int) -> list[Herald]:
    """Heralds of a packet's payload. Raises Malformed."""
    found: list[Herald] = []
    if not body and not count:
        return found
    if not count or len(body) < 2:
        raise Malformed(found)
    pulse, byte = body[0] | (body[1] & 0xFFFFFF) << 32, body[1] >> 24
    m = divisor(byte)
    b, t = remainder_bits(m)
    bits = [bit for word in body[2:] for bit in field(word, 32)]
    place = 0

    def take(length: int) -> int:
        nonlocal place
        if place + length > len(bits):
            raise Malformed(found)
        place += length
        return sum(bit << k for k, bit in enumerate(bits[place - length : place]))

    for index in range(count):
        if index:
            q = 0
            while q < 16 and take(1):
                q += 1
            if q == 16:
                gap = take(56)
            elif m == 1:
                gap = q
            else:
                v = take(b - 1)
                gap = q * m + (v if v < t else (v << 1 | take(1)) - t)
            pulse += gap + 1
        detector = take(1)
        if pulse >= PULSES:
            raise Malformed(found)
        found.append(Herald((number + index) & WORD, pulse, detector))
    if len(bits) - place >= 32 or any(bits[place:]):
        raise Malformed(found)
    return found


class Divisors:
    """Divisor byte that is in force for a packet which begins with a herald; heralds are told in order."""

    def __init__(self) -> None:
        self.before: int | None = None
        self.starts: dict[int, int] = {}
        self.first = 0
        """Heralds since the numbers began anew."""

    def add(self, herald: Herald) -> None:
        if self.before is None or herald.number != (self.before + 1) & WORD:
            self.starts.clear()
        self.before = herald.number
        if herald.number % 256 == 0:
            self.starts[herald.number >> 8] = herald.pulse

    def force(self, number: int, register: int) -> int:
        """For the herald that was told last, or one of the last few."""
        j = ((number - 16) & WORD) >> 8
        now, earlier = self.starts.get(j), self.starts.get((j - 1) % (1 << 24))
        return register if now is None or earlier is None else batch_byte(now - earlier)


def numbered(pulses: Iterable[int], detectors: Iterable[int], first: int = 0) -> list[Herald]:
    """Heralds in order."""
    return [
        Herald((first + k) & WORD, pulse, detector)
        for k, (pulse, detector) in enumerate(zip(pulses, detectors, strict=True))
    ]
