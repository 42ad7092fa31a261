"""What both clients' rule tables make of a herald, on arrays; and the slice test, stated once more for the host.

Source: docs/rules.md and `twinphase_spec.sns`. Protocols that pair heralds (PAIR_SPAN) are not recomputed here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinphase_spec import sns
from twinphase_spec.rules import SNS, rule_tables

from ..device import Device
from ..errors import DeviceError


@dataclass(frozen=True, kw_only=True)
class PairRule:
    """``reveal``, ``x``, ``z``: RULE_REVEAL, RULE_X, RULE_Z; ``slice_width``: Ds in 2^-16 turn; ``errors``: RULE_ERROR."""

    reveal: int
    x: int
    z: int
    slice_width: int
    errors: bool = True

    @classmethod
    def of(cls, client: Device) -> PairRule:
        """From a client's registers; where these hold no rule, SNS. Raises DeviceError for a protocol of pairs."""
        known = {register.name for register in client.map.registers}
        tables = rule_tables(SNS, "alice")
        width = client.read("SLICE_WIDTH")
        if "RULE_X" not in known or not (client.read("RULE_X") | client.read("RULE_Z")):
            return cls(reveal=tables.reveal, x=tables.x, z=tables.z, slice_width=width)
        if client.read("PAIR_SPAN"):
            raise DeviceError(
                f"{client.url} pairs its heralds (PAIR_SPAN is not 0): sift recomputes single-herald protocols"
            )
        return cls(
            reveal=client.read("RULE_REVEAL"),
            x=client.read("RULE_X"),
            z=client.read("RULE_Z"),
            slice_width=width,
            errors=bool(client.read("RULE_ERROR")),
        )

    def revealed(self, own_x: NDArray[np.bool_], peer_x: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Heralds of which a user reveals its intensity."""
        table = np.array([self.reveal >> i & 1 for i in range(4)], np.bool_)
        return table[own_x.astype(np.int64) << 1 | peer_x]


@dataclass(frozen=True)
class Outcome:
    """Per herald: gives an X record, gives a Z record, is counted in a cell."""

    x: NDArray[np.bool_]
    z: NDArray[np.bool_]
    counted: NDArray[np.bool_]


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
    return Outcome(x=present & gives_x, z=present & gives_z & ~gives_x, counted=present)


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


def wrong_words(rule: PairRule, word: NDArray[np.uint32], detector: NDArray[np.uint8], bob: bool) -> int:
    """X words of a client that are not what their own slices and psi, and the server's detector, say. Full slices only."""
    if not rule.errors:
        return 0
    f = x_fields(word)
    d = (f["peer"] - f["own"] if bob else f["own"] - f["peer"]) * 4096 + f["psi"]
    s = (d + (rule.slice_width >> 1)) % 65536
    keep = f["valid"] & (s % 32768 <= rule.slice_width)
    branch = s >= 32768
    error = keep & (branch != (f["detector"] == 1))
    right = (f["keep"] == keep) & (f["branch"] == branch) & (f["error"] == error) & (f["detector"] == detector)
    return int(np.count_nonzero(~right))
