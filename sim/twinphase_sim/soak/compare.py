"""What the model says of a chunk, compared with what the gateware gave, word by word.

SIFTED records, cells, bins and counters of all blocks against the vectorised pair (`model.sift.pair`); all PEER records, digests among
them, of a chunk's first blocks against two state machines (`model.sift.block`). What later blocks' PEER records say is in the words and
cells that follow from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinphase_sim.model.client import block_sifter, symbol_config
from twinphase_sim.model.sift.herald import herald_pulses
from twinphase_sim.model.sift.livelists import split_live
from twinphase_sim.model.sift.pair import SiftedPair, sift_pair
from twinphase_sim.model.sift.rule import seconds_of_pairs
from twinphase_sim.native.sifter import SideInputs, SideOutputs
from twinphase_spec import sns
from twinphase_spec.rules import PROTOCOLS

from .chunk import ROLES, Chunk

MACHINE_HERALDS = 1024
"""Of a chunk, those that state machines follow too; one block at least."""


def inputs_of(chunk: Chunk) -> tuple[SideInputs, SideInputs]:
    """For `NativeSifters.play`."""
    alice, bob = (
        SideInputs(
            registers=chunk.registers[role],
            heralds=chunk.heralds[role],
            psi=chunk.psi,
            late_clocks=chunk.late_clocks[role],
            peer_clocks=chunk.peer_clocks[role],
            live=chunk.live[role],
            live_due=chunk.live_due[role],
        )
        for role in ROLES
    )
    return alice, bob


def discarded_blocks(chunk: Chunk) -> NDArray[np.bool_]:
    """Blocks of which the clients have not got the same heralds and, if the digest covers them, LIVE records."""
    has = np.zeros((2, chunk.block_heralds * chunk.blocks), np.bool_)
    for i, role in enumerate(ROLES):
        has[i, chunk.heralds[role]["number"]] = True
    differs: NDArray[np.bool_] = (has[0] != has[1]).reshape(chunk.blocks, -1).any(axis=1)
    if chunk.registers["alice"]["DIGEST_LIVE"]:
        lists = (_lists(chunk, role) for role in ROLES)
        differs |= [not np.array_equal(a, b) for a, b in zip(*lists, strict=True)]
    return differs


def _lists(chunk: Chunk, role: str) -> list[NDArray[np.void]]:
    """A client's LIVE records by block."""
    pulses, _ = herald_pulses(chunk.heralds[role])
    highest = np.zeros(chunk.blocks, np.uint64)
    np.maximum.at(highest, chunk.heralds[role]["number"] // chunk.block_heralds, pulses)
    return split_live(chunk.live[role], highest)


def model_of(protocol: str, chunk: Chunk, discarded: NDArray[np.bool_]) -> SiftedPair:
    """The vectorised pair over the blocks that both agree on."""
    heralds = chunk.heralds["bob"]
    agreed = heralds[~discarded[heralds["number"] // chunk.block_heralds]]
    registers = chunk.registers["alice"]
    return sift_pair(
        agreed,
        chunk.psi,
        *(symbol_config(chunk.registers[role]) for role in ROLES),
        block_heralds=chunk.block_heralds,
        slice_width_turns=registers["SLICE_WIDTH"],
        protocol=PROTOCOLS[protocol],
        pair_span=registers["PAIR_SPAN"],
    )


def differences(protocol: str, chunk: Chunk, outputs: tuple[SideOutputs, SideOutputs]) -> list[str]:
    """Sentences about what is not as the model says; none if all is equal."""
    found: list[str] = []
    discarded = discarded_blocks(chunk)
    pair = model_of(protocol, chunk, discarded)
    if pair.blocks != chunk.blocks:
        found.append(f"the model closes {pair.blocks} blocks of {chunk.blocks}")
    machines = machine_messages(chunk)
    for i, role in enumerate(ROLES):
        given, records = outputs[i], (pair.alice, pair.bob)[i]
        found += _unlike(f"{role}: SIFTED", given.sifted, records)
        found += _unlike(f"{role}: cells", given.cells, pair.cells)
        words = records["word"][records["word"] & sns.SIFTED_X != 0]
        bins = np.bincount((words & sns.SIFTED_PSI_MASK) >> 10, minlength=sns.PSI_BINS)
        found += _unlike(f"{role}: bins", given.bins, bins.astype(np.uint64))
        found += _unlike(f"{role}: PEER of the first blocks", given.peer[: machines[i].size], machines[i])
        wanted = _counters(chunk, pair, discarded, role, outputs[1 - i].peer.size)
        got = {name: given.counters[name] for name in wanted}
        if got != wanted:
            found.append(f"{role}: counters {got}, expected {wanted}")
    return found


def machine_messages(chunk: Chunk) -> tuple[NDArray[np.void], NDArray[np.void]]:
    """PEER records of both users' state machines over a chunk's first blocks."""
    step = chunk.block_heralds
    count = min(max(MACHINE_HERALDS // step, 1), chunk.blocks)
    machines = [block_sifter(chunk.registers[role]) for role in ROLES]
    sent: tuple[list[NDArray[np.void]], list[NDArray[np.void]]] = ([], [])
    for first in range(0, step * count, step):
        for machine, role in zip(machines, ROLES, strict=True):
            machine.push_heralds(_numbered(chunk.heralds[role], first, first + step))
            if first == 0:
                machine.push_live(chunk.live[role])
        for machine in machines:
            machine.push_psi(_numbered(chunk.psi, first, first + step))
        talking = True
        while talking:
            messages = [machine.take_peer() for machine in machines]
            for i, records in enumerate(messages):
                sent[i].append(records)
                machines[1 - i].push_peer(records)
            talking = any(records.size for records in messages)
    a, b = (np.concatenate(records) for records in sent)
    return a, b


def _numbered(records: NDArray[np.void], first: int, stop: int) -> NDArray[np.void]:
    low, high = np.searchsorted(records["number"], (first, stop))
    return records[low:high]


def _counters(chunk: Chunk, pair: SiftedPair, discarded: NDArray[np.bool_], role: str, peer: int) -> Mapping[str, int]:
    """Counters of a client."""
    bad, count = int(discarded.sum()), chunk.block_heralds * chunk.blocks
    heralds = chunk.heralds[role].size
    return {
        "heralds": heralds,
        "missing": count - heralds,
        **dict.fromkeys(("late", "overflow", "refused"), 0),
        "psi": chunk.psi.size,
        "peer": peer,
        "live": chunk.live[role].size,
        "live_overflow": 0,
        "blocks_agreed": pair.blocks - bad,
        "blocks_discarded": bad,
        "unpaired": _unpaired(chunk, role),
        **{name: getattr(pair, name) for name in ("sifted_z", "sifted_x", "kept_x", "error_x")},
    }


def _unpaired(chunk: Chunk, role: str) -> int:
    """Heralds of a client without a partner, in blocks that are agreed or not."""
    span = chunk.registers[role]["PAIR_SPAN"]
    if not span:
        return 0
    records = chunk.heralds[role]
    pulse = np.zeros(chunk.block_heralds * chunk.blocks, np.uint64)
    present = np.zeros(pulse.size, np.bool_)
    pulse[records["number"]], _ = herald_pulses(records)
    present[records["number"]] = True
    return records.size - int(np.count_nonzero(seconds_of_pairs(present, pulse, chunk.block_heralds, span)))


def _unlike(name: str, given: NDArray[Any], wanted: NDArray[Any]) -> list[str]:
    if given.size != wanted.size:
        return [f"{name}: {given.size} records or words, expected {wanted.size}"]
    places = np.flatnonzero(given != wanted)
    if not places.size:
        return []
    at = int(places[0])
    return [f"{name}: {places.size} of {given.size} differ, the first is {given[at]} at {at}, expected {wanted[at]}"]
