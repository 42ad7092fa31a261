"""A pair's sifting by SNS, herald by herald in plain Python: what the three nodes send, and what is to be counted."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import numpy as np

from twinphase_spec.packets import HERALD_DTYPE, PEER_DTYPE, SIFTED_DTYPE

BLOCK = 64
WIDTH = 7282  # 40 degrees
DIGEST_LOW, DIGEST_HIGH, TYPES, INTENSITY, SLICE, DONE = range(1, 7)


@dataclass
class PairPath:
    """Records of all nodes in order, and the truth beside them."""

    heralds: list = field(default_factory=list)
    peer: dict = field(default_factory=lambda: {"alice": [], "bob": []})
    sifted: dict = field(default_factory=lambda: {"alice": [], "bob": []})
    cells: list = field(default_factory=lambda: [0] * 128)
    kept: int = 0
    errors: int = 0
    x: int = 0
    z: dict = field(default_factory=dict)
    """Herald number: (Alice's bit, Bob's bit)."""
    counts_after: list = field(default_factory=list)
    """(Z, X, kept, errors) after each SIFTED record."""

    def herald_array(self):
        return np.array(self.heralds, HERALD_DTYPE)

    def peer_array(self, role):
        return np.array(self.peer[role], PEER_DTYPE)

    def sifted_array(self, role):
        return np.array(self.sifted[role], SIFTED_DTYPE)


def pair_path(blocks, seed, *, discarded=(), missing=(), p_x=0.5, first_block=0, quiet=0.0):
    """``discarded``: blocks whose digests differ; ``missing``: heralds that reached neither client; ``quiet``: share without psi."""
    rng = random.Random(seed)
    path = PairPath()
    pulse = first_block * BLOCK * 1000
    for b in range(first_block, first_block + blocks):
        known = []
        for h in range(b * BLOCK, (b + 1) * BLOCK):
            pulse += rng.randint(1, 20_000)
            detector = rng.getrandbits(1)
            path.heralds.append((h, pulse & 0xFFFFFFFF, pulse >> 32 | detector << 31))
            known.append(None if h in missing else (h, detector, rng.getrandbits(16), rng.random() >= quiet))
        user = {}
        for role in ("alice", "bob"):
            user[role] = [
                (rng.random() < p_x, rng.choice((0, 1, 1, 1, 2)), rng.getrandbits(4), rng.getrandbits(1)) for _ in known
            ]
            path.peer[role] += [(DIGEST_LOW, b, 1), (DIGEST_HIGH, b, 2 + (b in discarded and role == "bob"))]
        if b in discarded:
            continue
        for role in ("alice", "bob"):
            for at in range(0, BLOCK, 32):
                bits = sum(1 << i for i in range(32) if known[at + i] and user[role][at + i][0])
                path.peer[role].append((TYPES, b * BLOCK + at, bits))
            path.peer[role].append((DONE, b, TYPES))
            path.peer[role] += [(INTENSITY, k[0], u[1]) for k, u in zip(known, user[role], strict=True) if k and u[0]]
            path.peer[role].append((DONE, b, INTENSITY))
        for role, other in (("alice", "bob"), ("bob", "alice")):
            path.peer[role] += [
                (SLICE, k[0], own[2])
                for k, own, peer in zip(known, user[role], user[other], strict=True)
                if k and own[0] and peer[0] and own[1] == peer[1] != 0
            ]
            path.peer[role].append((DONE, b, SLICE))
        for k, a, b_ in zip(known, user["alice"], user["bob"], strict=True):
            if k is not None:
                _sift(path, k, a, b_)
    return path


def _sift(path, known, a, b):
    h, detector, psi, valid = known
    (x_a, level_a, slice_a, send_a), (x_b, level_b, slice_b, send_b) = a, b
    keep = error = 0
    if not x_a and not x_b:
        path.z[h] = (send_a, 1 - send_b)
        path.sifted["alice"].append((h, send_a))
        path.sifted["bob"].append((h, 1 - send_b))
    elif x_a and x_b and level_a == level_b != 0:
        path.x += 1
        s = ((slice_a - slice_b) * 4096 + psi + (WIDTH >> 1)) % 65536
        branch = s >> 15
        keep = int(valid and s % 32768 <= WIDTH)
        error = int(keep and branch != detector)
        path.kept += keep
        path.errors += error
        word = 1 << 31 | keep << 30 | error << 29 | branch << 28 | detector << 27 | valid << 26 | level_a << 24 | psi
        path.sifted["alice"].append((h, word | slice_a << 20 | slice_b << 16))
        path.sifted["bob"].append((h, word | slice_b << 20 | slice_a << 16))
    if path.sifted["alice"] and path.sifted["alice"][-1][0] == h:
        path.counts_after.append((len(path.z), path.x, path.kept, path.errors))
    told_a, told_b = level_a if x_a else 3, level_b if x_b else 3
    path.cells[told_a << 5 | told_b << 3 | detector << 2 | keep << 1 | error] += 1
