"""Error rates from the sifted streams of the clients.

X windows are in both clients' streams alike, with the outcome of the slice test; one client is enough. The raw Z error
compares the key bits of both clients herald by herald; it is about the sending probability and no diagnostic of the link.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from twinphase_spec import sns

from ..theory.statistics import clopper_pearson

Role = Literal["alice", "bob"]


@dataclass
class XCounts:
    """X windows of one client."""

    windows: int = 0
    psi_invalid: int = 0
    kept: int = 0
    errors: int = 0

    @property
    def qber(self) -> float | None:
        return self.errors / self.kept if self.kept else None


class Qber:
    """Follows the SIFTED records of one or both clients of a pair."""

    def __init__(self) -> None:
        self.x: dict[Role, XCounts] = {"alice": XCounts(), "bob": XCounts()}
        self.z_compared = 0
        """Heralds of Z windows that both clients have sifted."""
        self.z_errors = 0
        self.z_bits: dict[Role, int] = {"alice": 0, "bob": 0}
        self._waiting: dict[Role, tuple[NDArray[np.uint32], NDArray[np.uint32]]] = {
            "alice": (np.empty(0, np.uint32), np.empty(0, np.uint32)),
            "bob": (np.empty(0, np.uint32), np.empty(0, np.uint32)),
        }

    def update(self, role: Role, sifted: NDArray[Any]) -> None:
        """Take in SIFTED records of one client."""
        word = sifted["word"]
        is_x = word & sns.SIFTED_X != 0
        counts, words = self.x[role], word[is_x]
        counts.windows += len(words)
        counts.psi_invalid += int(np.count_nonzero(words & sns.SIFTED_PSI_VALID == 0))
        counts.kept += int(np.count_nonzero(words & sns.SIFTED_KEEP))
        counts.errors += int(np.count_nonzero(words & sns.SIFTED_ERROR))
        self.z_bits[role] += len(word) - len(words)
        numbers, bits = self._waiting[role]
        self._waiting[role] = np.append(numbers, sifted["number"][~is_x]), np.append(bits, word[~is_x] & 1)
        self._compare()

    def _compare(self) -> None:
        (number_a, bit_a), (number_b, bit_b) = self._waiting["alice"], self._waiting["bob"]
        if not len(number_a) or not len(number_b):
            return
        _, at_a, at_b = np.intersect1d(number_a, number_b, assume_unique=True, return_indices=True)
        self.z_compared += len(at_a)
        self.z_errors += int(np.count_nonzero(bit_a[at_a] != bit_b[at_b]))
        # blocks come in order: what lies before the last common herald will find no partner any more
        if len(at_a):
            role: Role
            for role, last in (("alice", at_a.max()), ("bob", at_b.max())):
                numbers, bits = self._waiting[role]
                self._waiting[role] = numbers[last + 1 :], bits[last + 1 :]

    @property
    def z_error(self) -> float | None:
        """Raw Z error."""
        return self.z_errors / self.z_compared if self.z_compared else None

    def as_dict(self) -> dict[str, Any]:
        """For JSON: X from the client that has sifted more so far."""
        x = max(self.x.values(), key=lambda counts: counts.windows)
        return {
            "x_windows": x.windows,
            "x_events": x.kept,
            "x_errors": x.errors,
            "x_qber": x.qber,
            "x_qber_ci95": list(clopper_pearson(x.errors, x.kept)) if x.kept else None,
            "x_psi_invalid": x.psi_invalid,
            "z_bits": max(self.z_bits.values()),
            "z_compared": self.z_compared,
            "z_error_raw": self.z_error,
        }
