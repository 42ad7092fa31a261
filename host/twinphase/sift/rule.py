"""What both clients' rule tables make of a herald, on arrays; and the slice test, stated once more for the host.

Source: docs/rules.md and `twinphase_spec.sns`; pairs: `twinphase.sift.pairs`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinphase_spec import sns
from twinphase_spec.rules import SNS, RuleTables, rule_tables

from ..device import Device


@dataclass(frozen=True, kw_only=True)
class PairRule:
    """``reveal``, ``slice``, ``x``, ``z``: tables RULE_REVEAL, RULE_SLICE, RULE_X, RULE_Z; ``slice_width``: Ds in 2^-16 turn;
    ``slice_mask``: SLICE_MASK; ``errors``: RULE_ERROR; ``pair_span``: PAIR_SPAN in pulses, 0: single heralds."""

    reveal: int
    slice: int
    x: int
    z: int
    slice_width: int
    slice_mask: int
    errors: bool
    pair_span: int = 0

    @classmethod
    def of_tables(cls, tables: RuleTables, *, slice_width: int, pair_span: int = 0) -> PairRule:
        """From a protocol's tables."""
        return cls(
            reveal=tables.reveal,
            slice=tables.slice,
            x=tables.x,
            z=tables.z,
            slice_width=slice_width,
            slice_mask=tables.slice_mask,
            errors=bool(tables.error),
            pair_span=pair_span,
        )

    @classmethod
    def of(cls, client: Device) -> PairRule:
        """From a client's registers; where these hold no rule, SNS."""
        known = {register.name for register in client.map.registers}
        width = client.read("SLICE_WIDTH")
        if "RULE_X" not in known or not (client.read("RULE_X") | client.read("RULE_Z")):
            return cls.of_tables(rule_tables(SNS, "alice"), slice_width=width)
        return cls(
            reveal=client.read("RULE_REVEAL"),
            slice=client.read("RULE_SLICE"),
            x=client.read("RULE_X"),
            z=client.read("RULE_Z"),
            slice_width=width,
            slice_mask=client.read("SLICE_MASK"),
            errors=bool(client.read("RULE_ERROR")),
            pair_span=client.read("PAIR_SPAN"),
        )

    @property
    def phase_keys(self) -> bool:
        """Kept X records are key, by bit 3 of their own slices: no user tells it, so errors are not known to the nodes."""
        return not self.errors

    @property
    def odd_parity(self) -> bool:
        """Z bits are to be paired by AOPP: those of SNS, whose errors pairing lowers."""
        return self.errors and not self.pair_span

    @property
    def all_reveal(self) -> bool:
        """Every herald that counts is told of, whatever its types."""
        return self.reveal == 15

    def revealed(self, own_x: NDArray[np.bool_], peer_x: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Heralds of which a user reveals its intensity."""
        table = np.array([self.reveal >> i & 1 for i in range(4)], np.bool_)
        return table[own_x.astype(np.int64) << 1 | peer_x]


@dataclass(frozen=True)
class Outcome:
    """Per herald: gives an X record, gives a Z record, is counted in a cell, has its slices told."""

    x: NDArray[np.bool_]
    z: NDArray[np.bool_]
    counted: NDArray[np.bool_]
    slices: NDArray[np.bool_]


def outcome(
    rule: PairRule,
    x_a: NDArray[np.bool_],
    x_b: NDArray[np.bool_],
    level_a: NDArray[np.uint8],
    level_b: NDArray[np.uint8],
    present: NDArray[np.bool_],
) -> Outcome:
    """By announced codes ``k = (x_a << 2 | L_a) << 3 | (x_b << 2 | L_b)``."""
    k = ((x_a.astype(np.int64) << 2 | level_a) << 3) | (x_b.astype(np.int64) << 2 | level_b)
    gives_x, gives_z = _bits(rule.x)[k], _bits(rule.z)[k]
    slices = present & _bits(rule.slice)[k]
    return Outcome(x=present & gives_x, z=present & gives_z & ~gives_x, counted=present, slices=slices)


def _bits(table: int) -> NDArray[np.bool_]:
    return np.array([table >> i & 1 for i in range(64)], np.bool_)


def x_fields(word: NDArray[np.uint32]) -> dict[str, NDArray[Any]]:
    """Fields of the SIFTED words of X windows."""
    return {
        "keep": word & sns.SIFTED_KEEP != 0,
        "error": word & sns.SIFTED_ERROR != 0,
        "branch": word & sns.SIFTED_BRANCH != 0,
        "detector": (word & sns.SIFTED_DETECTOR != 0).astype(np.uint8),
        "valid": word & sns.SIFTED_PSI_VALID != 0,
        "intensity": (word >> sns.SIFTED_INTENSITY_SHIFT & 3).astype(np.uint8),
        "own": (word >> sns.SIFTED_OWN_SLICE_SHIFT & 15).astype(np.int64),
        "peer": (word >> sns.SIFTED_PEER_SLICE_SHIFT & 15).astype(np.int64),
        "psi": (word & sns.SIFTED_PSI_MASK).astype(np.int64),
    }


def wrong_words(
    rule: PairRule, word: NDArray[np.uint32], detector: NDArray[np.uint8], told: NDArray[np.int64], bob: bool
) -> int:
    """X words of a client that are not what their own slices and psi, and the server's detector, say. ``told``: bits of the own slice
    that went to the peer."""
    f = x_fields(word)
    own = f["own"] & told
    d = (f["peer"] - own if bob else own - f["peer"]) * 4096 + f["psi"]
    s = (d + (rule.slice_width >> 1)) % 65536
    keep = f["valid"] & (s % 32768 <= rule.slice_width)
    branch = s >= 32768
    error = keep & (branch != (f["detector"] == 1)) & rule.errors
    right = (f["keep"] == keep) & (f["branch"] == branch) & (f["error"] == error) & (f["detector"] == detector)
    return int(np.count_nonzero(~right))


def phase_key(word: NDArray[np.uint32], bob: bool) -> NDArray[np.uint8]:
    """Key bits of X words: own slice's bit 3, at Bob xor detector xor branch."""
    f = x_fields(word)
    key = (f["own"] >> 3).astype(np.uint8)
    return key ^ f["detector"] ^ f["branch"].astype(np.uint8) if bob else key
