"""A chunk of a soak: what both sifters get, drawn from a seed of its own.

Sources, widths, blocks, rates and losses differ from chunk to chunk, so that a long run is not a long run of the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twinphase_spec.packets import HERALD_DTYPE, LIVE_DTYPE, PSI_DTYPE
from twinphase_spec.registers import CLIENT
from twinphase_spec.rules import PROTOCOLS, rule_tables

BLOCKS = (32, 96, 512, 1024, 2048, 2048)
WIDTHS = (0, 1, 3640, 8192, 8193, 32768)
MEAN_GAPS = (1, 30, 10_000, 1_000_000)
"""Pulses from herald to herald."""
LOSSES = (0.0, 0.0, 0.0, 0.001, 0.03)
"""Share of heralds, and of psi, that reach neither client."""
ONE_SIDED = (0.0, 0.0, 0.0, 2e-5)
"""Share of heralds that reach Bob alone: their blocks are discarded."""
LAGS = (0, 0, 1, 7, 60, 400)
"""Clocks for which messages, or the first heralds, are on their way."""
LIVE = (0, 0, 1)
"""DIGEST_LIVE."""
LIVE_LAGS = (-200, -1, 0, 1, 300)
"""Heralds by which LIVE records come later than the one behind them."""
PULSE_BITS = 55
"""Of the first herald; the chunk ends below 2^56."""
ROLES = ("alice", "bob")
MOST_HERALDS = 1 << 20


@dataclass(frozen=True)
class Chunk:
    """Registers by role; HERALD records of both clients; PSI records; LIVE records of both and the heralds taken before each; delays in
    clocks by role."""

    registers: dict[str, dict[str, int]]
    heralds: dict[str, NDArray[np.void]]
    psi: NDArray[np.void]
    live: dict[str, NDArray[np.void]]
    live_due: dict[str, NDArray[np.uint64]]
    late_clocks: dict[str, int]
    peer_clocks: dict[str, int]
    block_heralds: int
    blocks: int


def draw_chunk(protocol: str, seed: int, number: int, heralds: int) -> Chunk:
    """Chunk ``number`` of a soak with ``seed``, of at most ``heralds`` heralds: whole blocks. ValueError for sizes that do not fit."""
    if not max(BLOCKS) <= heralds <= MOST_HERALDS:
        raise ValueError(f"soak: a chunk has {heralds} heralds; allowed: {max(BLOCKS)} to {MOST_HERALDS}")
    rng, block = _begun(protocol, seed, number)
    blocks = heralds // block
    count = block * blocks
    width = int(rng.choice([*WIDTHS, int(rng.integers(0, 32769))]))
    gap = int(rng.choice(MEAN_GAPS))
    span = int(rng.choice([1, 2 * gap, 100 * gap, (1 << 32) - 1])) if protocol == "MP" else 0
    key = {f"DIGEST_KEY_{k}": int(rng.integers(1 << 32)) for k in range(4)}
    key |= {f"DIGEST_NONCE_{k}": int(rng.integers(1 << 32)) for k in range(2)}
    shared = key | {"BLOCK_HERALDS": block, "SLICE_WIDTH": width}
    registers = {role: shared | _source(protocol, role, span, rng) for role in ROLES}

    pulses = np.cumsum(rng.geometric(1 / gap, count).astype(np.uint64)) + np.uint64(rng.integers(1 << PULSE_BITS))
    records = np.zeros(count, HERALD_DTYPE)
    records["number"] = np.arange(count)
    records["pulse_low"] = pulses & np.uint64(0xFFFFFFFF)
    records["pulse_high_detector"] = pulses >> np.uint64(32) | rng.integers(0, 2, count, dtype=np.uint64) << np.uint64(
        31
    )
    psi = np.zeros(count, PSI_DTYPE)
    psi["number"] = records["number"]
    psi["psi_turns"] = rng.integers(0, 65536, count)
    psi["flags"] = rng.choice([0, 1, 2, 3, 3, 3, 3, 3], count)
    loss, one_sided = rng.choice(LOSSES), rng.choice(ONE_SIDED)
    there, psi_there = rng.random(count) >= loss, rng.random(count) >= loss
    psi_there[-1] = True  # it ends the last block
    of_alice = there & (rng.random(count) >= one_sided)
    heard = {"alice": of_alice, "bob": there}
    late_clocks, peer_clocks = ({role: int(rng.choice(LAGS)) for role in ROLES} for _ in range(2))
    # Drawn last, so that all else is what it was before there were any.
    live, live_due = _live(pulses, heard, one_sided, rng) if rng.choice(LIVE) else ({}, {})
    return Chunk(
        registers={role: registers[role] | {"DIGEST_LIVE": int(bool(live))} for role in ROLES},
        heralds={role: records[heard[role]] for role in ROLES},
        psi=psi[psi_there],
        live={role: live.get(role, np.zeros(0, LIVE_DTYPE)) for role in ROLES},
        live_due={role: live_due.get(role, np.zeros(0, np.uint64)) for role in ROLES},
        late_clocks=late_clocks,
        peer_clocks=peer_clocks,
        block_heralds=block,
        blocks=blocks,
    )


def _live(
    pulses: NDArray[np.uint64], heard: dict[str, NDArray[np.bool_]], one_sided: float, rng: np.random.Generator
) -> tuple[dict[str, NDArray[np.void]], dict[str, NDArray[np.uint64]]]:
    """LIVE records by role, a run behind each herald and others between, and how many heralds are taken before each.

    With the share ``one_sided`` Alice has not got one, or it has another length."""
    others = pulses[rng.random(pulses.size) < rng.choice([0.0, 0.1, 0.7])]
    first = np.sort(np.concatenate([pulses, others + np.uint64(2)])) + np.uint64(1)
    records = np.zeros(first.size, LIVE_DTYPE)
    records["pulse_low"], records["pulse_high"] = first & np.uint64(0xFFFFFFFF), first >> np.uint64(32)
    records["length"] = rng.integers(1, 1 << 32, first.size)
    there, changed = rng.random((2, first.size)) >= one_sided
    there[-1] = True  # it completes the last list
    of_alice = records.copy()
    of_alice["length"] ^= ~changed
    live = {"alice": of_alice[there], "bob": records}
    due = {}
    for role, mask in heard.items():
        known = pulses[mask]
        own = first[there] if role == "alice" else first
        ahead = np.searchsorted(known, own) + 1 + int(rng.choice(LIVE_LAGS))
        due[role] = np.clip(ahead, 0, known.size).astype(np.uint64)
    return live, due


def chunk_size(protocol: str, seed: int, number: int, heralds: int) -> int:
    """Heralds of `draw_chunk` with the same arguments."""
    _, block = _begun(protocol, seed, number)
    return heralds // block * block


def _begun(protocol: str, seed: int, number: int) -> tuple[np.random.Generator, int]:
    """A chunk's generator, and its block."""
    rng = np.random.default_rng((seed, list(PROTOCOLS).index(protocol), number))
    return rng, int(rng.choice(BLOCKS))


def _source(protocol: str, role: str, span: int, rng: np.random.Generator) -> dict[str, int]:
    """Registers of one client's role, rules and symbols; bounds as docs/rules.md asks of each protocol's users."""
    definition = PROTOCOLS[protocol]
    sent, z, vacuum, mu_1 = np.sort(rng.integers(0, 4097, 4)).tolist()
    if protocol in ("PM", "MP", "BB84"):
        sent = z = 0
    if protocol == "CAL":
        z = sent
    if protocol == "BB84" and role == "bob":
        vacuum, mu_1 = 0, 4096
    tables = rule_tables(definition, "bob" if role == "bob" else "alice")
    known = {register.name for register in CLIENT.registers}
    registers = {
        **tables.registers(span),
        "ROLE": int(role == "bob"),
        "SENT_BELOW": sent,
        "Z_BELOW": z,
        "VACUUM_BELOW": vacuum,
        "MU1_BELOW": mu_1,
        "SLICES_Z": tables.source_masks[0],
        "SLICES_X": tables.source_masks[1],
        **{f"KEY_{k}": int(rng.integers(1 << 32)) for k in range(4)},
        **{f"NONCE_{k}": int(rng.integers(1 << 32)) for k in range(2)},
    }
    return {name: value for name, value in registers.items() if name in known}
