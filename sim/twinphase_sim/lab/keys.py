"""Keys of a virtual lab's clients: they follow from its seed, so that a run can be repeated. For simulation only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from twinphase_sim.model.sift.qrng import SEED_BITS, QrngConfig
from twinphase_spec.configure import client_symbols
from twinphase_spec.digest import DigestConfig
from twinphase_spec.lab import Lab, LabError
from twinphase_spec.symbols import KEY_WORDS, NONCE_BITS, SymbolConfig

from .lines import NodeName

if TYPE_CHECKING:
    from twinphase_sim.native import NativeNode


def client_key(seed: int, role: Literal["alice", "bob"]) -> tuple[int, int, int, int]:
    """The key of a client's generator that belongs to a lab's seed."""
    words = np.random.default_rng([seed, 0x6B6579, int(role == "bob")]).integers(0, 1 << 32, KEY_WORDS)
    return tuple(words.tolist())  # type: ignore[return-value]


def client_nonce(seed: int, role: Literal["alice", "bob"]) -> int:
    """The nonce of its counter blocks."""
    generator = np.random.default_rng([seed, 0x6E6F6E, int(role == "bob")])
    return int(generator.integers(0, 1 << NONCE_BITS, dtype=np.uint64))


def client_qrng_seed(seed: int, role: Literal["alice", "bob"]) -> int:
    """The seed of what stands for a client's QRNG."""
    generator = np.random.default_rng([seed, 0x71726E67, int(role == "bob")])
    return int(generator.integers(0, 1 << SEED_BITS, dtype=np.uint64))


def client_generator(lab: Lab, seed: int, role: Literal["alice", "bob"]) -> SymbolConfig:
    """The generator of a lab's client: a simulation's key or QRNG, which its seed tells. Raises LabError."""
    if lab.clients.symbols == "qrng":
        if lab.arms.align:
            raise LabError(
                f"lab {lab.name}: clients.symbols is 'qrng' with arms.align, whose corrections leave pulses out, and the virtual QRNG "
                "gives word n to pulse n; allowed: symbols 'aes', or no align"
            )
        symbols = asdict(client_symbols(lab, role, (0, 0, 0, 0)))
        return QrngConfig(**symbols, seed=client_qrng_seed(seed, role))
    return client_symbols(lab, role, client_key(seed, role), client_nonce(seed, role))


def source_options(lab: Lab) -> dict[str, Any]:
    """Options of the client nodes' gateware that say where symbols come from."""
    return {"symbols": "ring", "ring_symbols": lab.clients.ring_symbols} if lab.clients.symbols == "qrng" else {}


def start_qrngs(nodes: Mapping[NodeName, NativeNode], generators: Mapping[str, SymbolConfig]) -> None:
    """Give the clients that are here and have a ring of symbols the bits that their generators stand for."""
    for name, node in nodes.items():
        generator = generators.get(name)
        if isinstance(generator, QrngConfig):
            node.set_qrng(generator.seed)


def pair_digest(seed: int) -> DigestConfig:
    """Key and nonce of the block digest, one for the pair: nothing else can make its two clients differ in it."""
    generator = np.random.default_rng([seed, 0x646967])
    words = generator.integers(0, 1 << 32, KEY_WORDS).tolist()
    nonce = int(generator.integers(0, 1 << NONCE_BITS, dtype=np.uint64))
    return DigestConfig(key=tuple(words), nonce=nonce)
