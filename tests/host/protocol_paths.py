"""A pair's sifting by the protocols other than SNS, herald by herald in plain Python: what the three nodes send, and what is to be
counted. Written from docs/protocols, without tables."""

from __future__ import annotations

import random
from dataclasses import dataclass

from sift_paths import BLOCK, DIGEST_HIGH, DIGEST_LOW, DONE, INTENSITY, SLICE, TYPES, WIDTH, PairPath

SPAN = 9_000
MASKS = {"PM": 7, "CAL": 0, "MP": 7, "BB84": 4}
USERS = ("alice", "bob")


@dataclass(frozen=True)
class Light:
    """A user's window, or pair of windows. ``bit``: key of a Z pair."""

    x: bool
    level: int
    slice: int
    bit: int = 0


@dataclass(frozen=True)
class Known:
    """A herald, or a pair at its second one, as both clients know it."""

    number: int
    pulse: int
    detector: int
    psi: int
    valid: bool
    light: dict


def draw(name, role, rng):
    """What a user sends."""
    if name == "CAL" and rng.random() < 0.6:
        return Light(False, 3, rng.choice((0, 8)))
    if name == "BB84":
        return (
            Light(True, 1, rng.choice((0, 4)))
            if role == "bob"
            else Light(True, rng.choice((0, 1, 2)), rng.randrange(4) * 4)
        )
    return Light(True, rng.choice((0, 0, 1, 1, 2) if name == "MP" else (0, 1, 1, 1, 2)), rng.getrandbits(4))


def joined(role, first, second):
    """Two windows as a pair."""
    turned = (second.slice - first.slice) % 16
    if first.level == second.level:
        return Light(True, first.level, turned)
    if first.level and second.level:
        return Light(True, 3, turned)
    lit_first = first.level > 0
    return Light(False, first.level or second.level, turned, int(lit_first if role == "alice" else not lit_first))


def standing(name, heralds):
    """Heralds of one block that something is told of: all that are there, or the pairs."""
    if name != "MP":
        return [h for h in heralds if h]
    pairs, waiting = [], None
    for h in heralds:
        if h and waiting and h.pulse - waiting.pulse <= SPAN:
            light = {role: joined(role, waiting.light[role], h.light[role]) for role in USERS}
            psi = (h.psi - waiting.psi) % 65536
            pairs.append(Known(h.number, h.pulse, h.detector ^ waiting.detector, psi, h.valid and waiting.valid, light))
            waiting = None
        else:
            waiting = h
    return pairs


def tells(name, own, peer):
    return own.x and peer.x if name == "CAL" else True


def phases(name, a, b):
    """Whether the herald is tested by its phase."""
    if name == "CAL":
        return not a.x and not b.x
    if name == "BB84":
        return a.level > 0 and b.level > 0
    return a.x and b.x and a.level == b.level and a.level in (1, 2)


def protocol_path(name, blocks, seed, *, missing=(), quiet=0.1):
    """Streams of ``blocks`` blocks; ``missing``: heralds that reached neither client. ``z``: MP's keys; ``x_keys``: kept X heralds."""
    rng = random.Random(f"{name} {seed}")
    path, mask = PairPath(), MASKS[name]
    path.x_keys = {}
    pulse = 0
    for b in range(blocks):
        heralds = []
        for h in range(b * BLOCK, (b + 1) * BLOCK):
            pulse += rng.randint(1, 12_000)
            detector = rng.getrandbits(1)
            path.heralds.append((h, pulse & 0xFFFFFFFF, pulse >> 32 | detector << 31))
            light = {role: draw(name, role, rng) for role in USERS}
            known = Known(h, pulse, detector, rng.getrandbits(16), rng.random() >= quiet, light)
            heralds.append(None if h in missing else known)
        chosen = standing(name, heralds)
        for role, other in (USERS, USERS[::-1]):
            said = path.peer[role]
            said += [(DIGEST_LOW, b, 1), (DIGEST_HIGH, b, 2)]
            for at in range(b * BLOCK, (b + 1) * BLOCK, 32):
                said.append(
                    (TYPES, at, sum(1 << k.number - at for k in chosen if 0 <= k.number - at < 32 and k.light[role].x))
                )
            said.append((DONE, b, TYPES))
            said += [
                (INTENSITY, k.number, k.light[role].level) for k in chosen if tells(name, k.light[role], k.light[other])
            ]
            said.append((DONE, b, INTENSITY))
            lit = [k for k in chosen if name != "CAL" and phases(name, k.light["alice"], k.light["bob"])]
            said += [(SLICE, k.number, k.light[role].slice & mask) for k in lit]
            said.append((DONE, b, SLICE))
        for k in chosen:
            count(name, path, k, mask)
    return path


def count(name, path, k, mask):
    a, b = k.light["alice"], k.light["bob"]
    told_a = a.level if tells(name, a, b) else 3
    told_b = b.level if tells(name, b, a) else 3
    keep = 0
    if phases(name, a, b):
        s = (((a.slice & mask) - (b.slice & mask)) * 4096 + k.psi + (WIDTH >> 1)) % 65536
        branch = s >> 15
        keep = int(k.valid and s % 32768 <= WIDTH)
        word = 1 << 31 | keep << 30 | branch << 28 | k.detector << 27 | k.valid << 26 | k.psi
        path.sifted["alice"].append((k.number, word | told_a << 24 | a.slice << 20 | (b.slice & mask) << 16))
        path.sifted["bob"].append((k.number, word | told_b << 24 | b.slice << 20 | (a.slice & mask) << 16))
        path.x, path.kept = path.x + 1, path.kept + keep
        if keep:
            path.x_keys[k.number] = (a.slice >> 3, b.slice >> 3 ^ k.detector ^ branch)
    elif name == "MP" and not a.x and not b.x:
        path.z[k.number] = (a.bit, b.bit)
        path.sifted["alice"].append((k.number, a.bit))
        path.sifted["bob"].append((k.number, b.bit))
    path.cells[told_a << 5 | told_b << 3 | k.detector << 2 | keep << 1] += 1
