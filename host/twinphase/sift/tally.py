"""Counts of closed blocks: cells recomputed from the streams, errors with intervals, kept fraction, histogram of psi."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinphase_spec import sns
from twinphase_spec.units import TURN

from ..theory.statistics import clopper_pearson
from .blocks import ROLES, UNKNOWN, Block, Fate, Role
from .rule import PairRule, phase_key, wrong_words, x_fields

PSI_BINS = 32
NAMES = ("vacuum", "mu_1", "mu_2", "Z")
"""Of intensity codes in cells; 3 is an intensity that was not revealed."""


def ratio(part: int, whole: int) -> dict[str, Any]:
    """``part`` of ``whole`` with the exact (Clopper-Pearson) interval of 95 %; None where there is nothing."""
    return {
        "count": part,
        "of": whole,
        "fraction": part / whole if whole else None,
        "ci95": list(clopper_pearson(part, whole)) if whole else None,
    }


@dataclass
class XCounts:
    """X records of one intensity."""

    records: int = 0
    valid: int = 0
    """With a valid psi."""
    kept: int = 0
    errors: int = 0
    key_errors: int = 0
    """Of the kept ones, those whose key bits differ, where slices hold a key."""


@dataclass
class Tally:
    """Takes blocks in order.

    * ``cells``: heralds per `sns.cell_index`, recomputed (i8, 128).
    * ``x``: X records by intensity code. ``psi``, ``psi_kept``: histogram of psi of X records with valid psi, and of those kept.
    * ``z``, ``z_errors``: heralds with a Z record, and those whose two bits differ (raw, about the probability to send).
    * ``wrong_words``: X words that their own slices and psi contradict. ``unlike``: X heralds of which the clients say different things.
    With pairs, a herald here is one that stands for a pair.
    """

    rule: PairRule
    cells: NDArray[np.int64] = field(default_factory=lambda: np.zeros(sns.CELLS, np.int64))
    x: dict[int, XCounts] = field(default_factory=dict)
    psi: NDArray[np.int64] = field(default_factory=lambda: np.zeros(PSI_BINS, np.int64))
    psi_kept: NDArray[np.int64] = field(default_factory=lambda: np.zeros(PSI_BINS, np.int64))
    z: int = 0
    z_errors: int = 0
    z_ones: Counter[Role] = field(default_factory=Counter)
    wrong_words: int = 0
    unlike: int = 0
    fates: Counter[Fate] = field(default_factory=Counter)
    heralds: int = 0
    x_windows: Counter[Role] = field(default_factory=Counter)
    """Of each client, heralds of type X."""

    def add(self, block: Block) -> None:
        """Count a block; of one that is not closed only its fate."""
        assert block.fate is not None
        self.fates[block.fate] += 1
        if block.fate is not Fate.CLOSED:
            return
        alice, bob = block.sides["alice"], block.sides["bob"]
        wanted = block.outcome(self.rule)
        clicked = block.clicked(self.rule)
        counted, at = wanted.counted & (clicked != UNKNOWN), np.flatnonzero(wanted.x)
        word_a, word_b, detector = alice.word[at], bob.word[at], clicked[at]
        ours, other = x_fields(word_a), x_fields(word_b)
        index: Any = sns.cell_index  # the spec's formula holds for arrays as it does for integers
        keep, error = np.zeros(counted.size, np.int64), np.zeros(counted.size, np.int64)
        keep[at], error[at] = ours["keep"], ours["error"]
        levels = alice.level.astype(np.int64), bob.level.astype(np.int64)
        cells = index(*levels, clicked.astype(np.int64), keep, error)[counted]
        self.cells += np.bincount(cells, minlength=sns.CELLS)
        self.heralds += int(np.count_nonzero(counted))
        for role in ROLES:
            self.x_windows[role] += int(np.count_nonzero(block.sides[role].x & counted))
        told = wanted.slices[at] * np.int64(self.rule.slice_mask)
        self.wrong_words += wrong_words(self.rule, word_a, detector, told, bob=False)
        self.wrong_words += wrong_words(self.rule, word_b, detector, told, bob=True)
        same = ((word_a ^ word_b) & ~np.uint32(0x3FF << 16)) == 0
        same &= (ours["intensity"] == levels[0][at]) & (other["intensity"] == levels[1][at])
        crossed = (ours["own"] & told == other["peer"]) & (ours["peer"] == other["own"] & told)
        self.unlike += int(np.count_nonzero(~(same & crossed)))
        differ = ours["keep"] & (phase_key(word_a, bob=False) != phase_key(word_b, bob=True)) & self.rule.phase_keys
        self._count_x(ours, differ)
        key_a, key_b = alice.word[wanted.z] & 1, bob.word[wanted.z] & 1
        self.z += key_a.size
        self.z_errors += int(np.count_nonzero(key_a != key_b))
        self.z_ones["alice"] += int(key_a.sum())
        self.z_ones["bob"] += int(key_b.sum())

    def _count_x(self, words: dict[str, NDArray[Any]], differ: NDArray[np.bool_]) -> None:
        for intensity in np.unique(words["intensity"]).tolist():
            here = words["intensity"] == intensity
            counts = self.x.setdefault(intensity, XCounts())
            counts.records += int(np.count_nonzero(here))
            counts.valid += int(np.count_nonzero(here & words["valid"]))
            counts.kept += int(np.count_nonzero(here & words["keep"]))
            counts.errors += int(np.count_nonzero(here & words["error"]))
            counts.key_errors += int(np.count_nonzero(here & differ))
        bins = words["psi"] * PSI_BINS // TURN
        self.psi += np.bincount(bins[words["valid"]], minlength=PSI_BINS)
        self.psi_kept += np.bincount(bins[words["keep"]], minlength=PSI_BINS)

    @property
    def x_total(self) -> XCounts:
        """Over all intensities."""
        names = [part.name for part in fields(XCounts)]
        return XCounts(**{name: sum(getattr(part, name) for part in self.x.values()) for name in names})

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        total = self.x_total
        return {
            "blocks": {fate.value: self.fates[fate] for fate in Fate},
            "heralds": self.heralds,
            "x_windows": {role: self.x_windows[role] for role in ROLES},
            "x": {
                NAMES[intensity]: {
                    "records": counts.records,
                    "valid": counts.valid,
                    "kept": ratio(counts.kept, counts.valid),
                    "qber": ratio(counts.errors, counts.kept) if self.rule.errors else None,
                    "key_error": ratio(counts.key_errors, counts.kept) if self.rule.phase_keys else None,
                }
                for intensity, counts in sorted(self.x.items())
            },
            "x_records": total.records,
            "kept": ratio(total.kept, total.valid),
            "x_qber": ratio(total.errors, total.kept) if self.rule.errors else None,
            "x_key_error": ratio(total.key_errors, total.kept) if self.rule.phase_keys else None,
            "z_bits": self.z,
            "z_error_raw": ratio(self.z_errors, self.z),
            "z_ones": {role: self.z_ones[role] for role in ROLES},
            "psi_histogram": {"counts": self.psi.tolist(), "kept": self.psi_kept.tolist()},
            "wrong_words": self.wrong_words,
            "unlike_between_clients": self.unlike,
            "cells": cell_rows(self.cells),
        }


def cell_rows(cells: NDArray[np.int64]) -> list[dict[str, Any]]:
    """Cells that are not empty, with their names."""
    rows = []
    for number in np.flatnonzero(cells).tolist():
        rows.append(
            {
                "cell": number,
                "alice": NAMES[number >> 5],
                "bob": NAMES[number >> 3 & 3],
                "detector": "LR"[number >> 2 & 1],
                "kept": bool(number >> 1 & 1),
                "error": bool(number & 1),
                "heralds": int(cells[number]),
            }
        )
    return rows
