"""The client node: modulator codes, and everything that sifting sends, from the records that come in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from twinphase_sim.model.sift.block import BlockSifter
from twinphase_sim.model.sift.symbols import modulator_codes
from twinphase_spec.digest import DigestConfig
from twinphase_spec.frame import FrameConfig
from twinphase_spec.packets import Stream
from twinphase_spec.registers import CLIENT
from twinphase_spec.rules import RuleTables
from twinphase_spec.symbols import BOUNDS, KEY_WORDS, SymbolConfig


@dataclass(frozen=True)
class ClientRecords:
    """What a client sends, its cells and its counters (without ``clock``)."""

    peer: NDArray[np.void]
    sifted: NDArray[np.void]
    cells: NDArray[np.uint64]
    counters: dict[str, int]


def register(registers: Mapping[str, int], name: str) -> int:
    """A client register's value or its reset value."""
    return registers.get(name, CLIENT[name].reset)


def role_of(registers: Mapping[str, int]) -> Literal["alice", "bob"]:
    """Whose registers these are."""
    return "bob" if register(registers, "ROLE") else "alice"


def symbol_config(registers: Mapping[str, int]) -> SymbolConfig:
    """The generator's key, nonce and bounds as the registers hold them."""
    k0, k1, k2, k3 = (register(registers, f"KEY_{i}") for i in range(KEY_WORDS))
    return SymbolConfig(
        key=(k0, k1, k2, k3),
        nonce=register(registers, "NONCE_0") << 32 | register(registers, "NONCE_1"),
        **{name: register(registers, name.upper()) for name in (*BOUNDS, "slices_z", "slices_x")},
    )


def digest_config(registers: Mapping[str, int]) -> DigestConfig:
    """The block digest's key and nonce as the registers hold them."""
    k0, k1, k2, k3 = (register(registers, f"DIGEST_KEY_{i}") for i in range(KEY_WORDS))
    nonce = register(registers, "DIGEST_NONCE_0") << 32 | register(registers, "DIGEST_NONCE_1")
    return DigestConfig(key=(k0, k1, k2, k3), nonce=nonce)


def rule_tables_of(registers: Mapping[str, int]) -> RuleTables:
    """The protocol's tables as the registers hold them."""
    return RuleTables(
        reveal=register(registers, "RULE_REVEAL"),
        slice=register(registers, "RULE_SLICE"),
        x=register(registers, "RULE_X"),
        z=register(registers, "RULE_Z"),
        key=register(registers, "RULE_KEY"),
        slice_mask=register(registers, "SLICE_MASK"),
        error=register(registers, "RULE_ERROR"),
        pair=register(registers, "RULE_PAIR"),
        source_masks=(15, 15),
    )


def block_sifter(registers: Mapping[str, int]) -> BlockSifter:
    """A sifter set up from a client's registers."""
    return BlockSifter(
        config=symbol_config(registers),
        digest=digest_config(registers),
        role=role_of(registers),
        block_heralds=register(registers, "BLOCK_HERALDS"),
        slice_width_turns=register(registers, "SLICE_WIDTH"),
        tables=rule_tables_of(registers),
        pair_span=register(registers, "PAIR_SPAN"),
        digest_live=bool(register(registers, "DIGEST_LIVE")),
    )


def emitted_codes(
    registers: Mapping[str, int], frame: FrameConfig, first_pulse: int, pulses: int
) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Codes (quantum, reference band) of ``pulses`` emitted pulses from ``first_pulse`` on."""
    indices = np.uint64(first_pulse) + np.arange(pulses, dtype=np.uint64)
    return modulator_codes(frame, role_of(registers), symbol_config(registers), indices)


def run_client(registers: Mapping[str, int], inputs: Iterable[tuple[Stream, NDArray[np.void]]]) -> ClientRecords:
    """One client over its inputs in order of arrival: (HERALD_CODE, PSI, LIVE or PEER; its records, of HERALD_CODE those of HERALD).

    Raises ValueError for other streams.
    """
    sifter = block_sifter(registers)
    push = {
        Stream.HERALD_CODE: sifter.push_heralds,
        Stream.PSI: sifter.push_psi,
        Stream.LIVE: sifter.push_live,
        Stream.PEER: sifter.push_peer,
    }
    for stream, records in inputs:
        if stream not in push:
            raise ValueError(f"client model: input stream {stream!r}; allowed: HERALD_CODE, PSI, LIVE and PEER")
        push[stream](records)
    return records_of(sifter)


def run_pair(
    alice: Mapping[str, int], bob: Mapping[str, int], heralds: NDArray[np.void], psi: NDArray[np.void]
) -> tuple[ClientRecords, ClientRecords]:
    """Both clients over the same heralds and psi, each the other's peer, block by block.

    Between blocks the sifters' messages go to and fro until both are silent. `sift_pair` gives the same words faster.
    """
    sifters = (block_sifter(alice), block_sifter(bob))
    sent: tuple[list[NDArray[np.void]], list[NDArray[np.void]]] = ([], [])
    step = sifters[0].block_heralds
    for start in range(0, psi.size, step):
        chunk = psi[start : start + step]
        first = int(psi["number"][start - 1]) + 1 if start else 0
        in_chunk = (heralds["number"] >= first) & (heralds["number"] <= chunk["number"][-1])
        for sifter in sifters:
            sifter.push_heralds(heralds[in_chunk])
            sifter.push_psi(chunk)
        while True:
            messages = [sifter.take_peer() for sifter in sifters]
            if not any(records.size for records in messages):
                break
            for i, records in enumerate(messages):
                sent[i].append(records)
                sifters[1 - i].push_peer(records)
    for sifter in sifters:
        sifter.push_heralds(heralds[heralds["number"] > psi["number"][-1]] if psi.size else heralds)
    a, b = (records_of(sifter, np.concatenate([sifter.take_peer(), *sent[i]])) for i, sifter in enumerate(sifters))
    return a, b


def records_of(sifter: BlockSifter, peer: NDArray[np.void] | None = None) -> ClientRecords:
    """What a sifter has given; ``peer`` if its messages were taken already."""
    return ClientRecords(
        peer=sifter.take_peer() if peer is None else peer,
        sifted=sifter.take_sifted(),
        cells=sifter.cells.copy(),
        counters=dict(sifter.counters),
    )
