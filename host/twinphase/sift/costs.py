"""Classical bits that sifting and pairing take, by message, as sent and as they could be coded; per survivor of the pairing.

Each message counts once, also where the server sends it to both clients. *Sent*: payload of the records on the wire, without packet heads
(which are given apart). *Coded*: heralds as HERALD_CODE would have them (docs/heralds.md, without packet heads), types and
intensities at the entropy of their frequencies, 4 bits a slice, 18 bits a psi (psi and flags). The pairing's messages are sent coded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinphase_spec.herald_code import BATCH, ESCAPE, MAX_CODE_BITS, bound_bits, divisor_of_batch
from twinphase_spec.packets import HEADER_WORDS, RECORD_WORDS, Stream

from ..device import Device
from .blocks import Node
from .tally import Tally

DIGEST_AND_DONE = 5
"""PEER records of a client and block besides types, intensities and slices: two digests, three times DONE."""
SLICE_BITS, PSI_BITS = 4, 18


def binary_entropy(probability: float) -> float:
    """Bits."""
    if not 0 < probability < 1:
        return 0.0
    return -probability * math.log2(probability) - (1 - probability) * math.log2(1 - probability)


@dataclass
class HeraldCost:
    """Bits that HERALD_CODE takes for heralds with rising pulse indices, batch by batch with the divisor of the batch before."""

    heralds: int = 0
    bits: int = 0
    pulses: int = 0
    """Between the first and the last herald counted."""
    _left: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    def add(self, pulses: NDArray[np.int64]) -> None:
        """Pulse indices of the next heralds."""
        self._left = np.append(self._left, pulses)
        while self._left.size > 2 * BATCH:
            known = self._left[: 2 * BATCH + 1]
            m = divisor_of_batch(int(known[BATCH] - known[0])).m
            gaps = np.diff(known[BATCH:]) - 1
            whole = (m - 1).bit_length()
            quotient, rest = np.divmod(gaps, m)
            bits = quotient + 2 + whole - (rest < (1 << whole) - m)
            self.bits += int(np.where(quotient < ESCAPE, bits, MAX_CODE_BITS).sum())
            self.heralds += BATCH
            self.pulses += int(known[-1] - known[BATCH])
            self._left = self._left[BATCH:]

    @property
    def per_herald(self) -> float | None:
        """Bits."""
        return self.bits / self.heralds if self.heralds else None

    @property
    def probability(self) -> float | None:
        """Heralds per pulse."""
        return self.heralds / self.pulses if self.pulses else None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        p = self.probability
        return {
            "heralds": self.heralds,
            "per_pulse": p,
            "bits_per_herald": self.per_herald,
            "bound_bits_per_herald": bound_bits(p) if p else None,
        }


def wire_bits(devices: Mapping[Node, Device]) -> dict[str, dict[str, int]]:
    """Payload and packet heads of the sifting streams, in bits, as the host has received them; HERALD_CODE is not among them."""
    wanted: tuple[tuple[Node, Stream], ...] = (
        ("server", Stream.HERALD),
        ("server", Stream.PSI),
        ("alice", Stream.PEER),
        ("bob", Stream.PEER),
    )
    found = {}
    for node, stream in wanted:
        if (state := devices[node].streams.get(stream)) is not None:
            found[f"{node} {stream.name.lower()}"] = {
                "payload": 32 * RECORD_WORDS[stream] * state.records,
                "heads": 32 * HEADER_WORDS * state.packets,
            }
    return found


def costs(
    tally: Tally,
    heralds: HeraldCost,
    *,
    block_heralds: int,
    pairs_bits: int,
    odd_bits: int,
    paired_z: int,
    survivors: int,
) -> dict[str, Any]:
    """Bits per survivor of every message.

    Sifting is counted over all closed blocks, pairing over the ``paired_z`` Z bits of finished spans with ``survivors``; sifting's bits
    per Z bit join the two. ``core`` is heralds, types, pairs and parities: what the pairing alone needs.
    """
    if not survivors or not tally.z or not tally.heralds:
        return {"survivors": survivors, "messages": {}, "sent": None, "coded": None, "core": None}
    n, revealed = tally.heralds, _revealed(tally)
    records = {
        "heralds": (32 * RECORD_WORDS[Stream.HERALD] * n, n * (heralds.per_herald or math.nan)),
        "psi": (32 * RECORD_WORDS[Stream.PSI] * n, PSI_BITS * n),
        "digests and done": (
            2 * DIGEST_AND_DONE * 96 * n / block_heralds,
            2 * DIGEST_AND_DONE * 32 * n / block_heralds,
        ),
        "types": (2 * 96 * n / 32, n * sum(binary_entropy(count / n) for count in tally.x_windows.values())),
        "intensities": (96 * sum(map(sum, revealed)), sum(map(_entropy_bits, revealed))),
        "slices": (2 * 96 * tally.x_total.records, 2 * SLICE_BITS * tally.x_total.records),
    }
    share = paired_z / tally.z / survivors
    messages = {name: {"sent": sent * share, "coded": coded * share} for name, (sent, coded) in records.items()}
    for name, bits in (("pairs", pairs_bits), ("parities", odd_bits)):
        messages[name] = {"sent": bits / survivors, "coded": bits / survivors}
    return {
        "survivors": survivors,
        "messages": messages,
        "sent": sum(message["sent"] for message in messages.values()),
        "coded": sum(message["coded"] for message in messages.values()),
        "core": sum(messages[name]["coded"] for name in ("heralds", "types", "pairs", "parities")),
    }


def _revealed(tally: Tally) -> tuple[list[int], list[int]]:
    """Revealed intensities of each user, per intensity (without 3: not revealed)."""
    cells = tally.cells.reshape(4, 4, 8).sum(axis=2)
    return cells.sum(axis=1)[:3].tolist(), cells.sum(axis=0)[:3].tolist()


def _entropy_bits(counts: list[int]) -> float:
    total = sum(counts)
    return sum(-count * math.log2(count / total) for count in counts if count)
