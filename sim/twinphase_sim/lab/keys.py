"""Keys of a virtual lab's clients: they follow from its seed, so that a run can be repeated. For simulation only."""

from __future__ import annotations

from typing import Literal

import numpy as np

from twinphase_spec.configure import client_symbols
from twinphase_spec.digest import DigestConfig
from twinphase_spec.lab import Lab
from twinphase_spec.symbols import KEY_WORDS, NONCE_BITS, SymbolConfig


def client_key(seed: int, role: Literal["alice", "bob"]) -> tuple[int, int, int, int]:
    """The key of a client's generator that belongs to a lab's seed."""
    words = np.random.default_rng([seed, 0x6B6579, int(role == "bob")]).integers(0, 1 << 32, KEY_WORDS)
    return tuple(words.tolist())  # type: ignore[return-value]


def client_nonce(seed: int, role: Literal["alice", "bob"]) -> int:
    """The nonce of its counter blocks."""
    generator = np.random.default_rng([seed, 0x6E6F6E, int(role == "bob")])
    return int(generator.integers(0, 1 << NONCE_BITS, dtype=np.uint64))


def client_generator(lab: Lab, seed: int, role: Literal["alice", "bob"]) -> SymbolConfig:
    """The generator of a lab's client: a simulation's key, which its seed tells. Raises LabError."""
    return client_symbols(lab, role, client_key(seed, role), client_nonce(seed, role))


def pair_digest(seed: int) -> DigestConfig:
    """Key and nonce of the block digest, one for the pair: nothing else can make its two clients differ in it."""
    generator = np.random.default_rng([seed, 0x646967])
    words = generator.integers(0, 1 << 32, KEY_WORDS).tolist()
    nonce = int(generator.integers(0, 1 << NONCE_BITS, dtype=np.uint64))
    return DigestConfig(key=tuple(words), nonce=nonce)
