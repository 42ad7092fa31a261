"""Raw and paired keys of both sides from closed blocks, and the file that holds them.

Both users' parts of the pairing run here one after the other, each on what it has, with the messages in between as they would be sent: a
test bench. Two real users run `twinphase.keys.aopp` on two computers.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinphase_spec import aopp, sns

from ..keys.aopp import AnsweringUser, PairedKey, PairingUser, SpanLedger
from ..keys.refused import Refused
from ..keys.zbits import ZBits
from .blocks import ROLES, Block, Fate, Role
from .rule import PairRule, phase_key
from .tally import ratio

FORMAT = 1


class KeyMaker:
    """Takes blocks in order; pairs every ``span`` closed blocks in a row (0: no pairing)."""

    def __init__(self, rule: PairRule, block_heralds: int, *, span: int, group: int = aopp.GROUP) -> None:
        self.rule, self.block_heralds, self.span, self.group = rule, block_heralds, span, group
        self.pairs_bits = self.odd_bits = self.pairs = self.paired_z = self.spans = 0
        self.refused: list[str] = []
        self._numbers: list[NDArray[np.uint32]] = []
        self._bits: dict[Role, list[NDArray[np.uint8]]] = {"alice": [], "bob": []}
        self._x_numbers: list[NDArray[np.uint32]] = []
        self._x_bits: dict[Role, list[NDArray[np.uint8]]] = {"alice": [], "bob": []}
        self._keys: dict[Role, list[PairedKey]] = {"alice": [], "bob": []}
        self._open: list[int] = []
        """Blocks of the span that is being gathered: the last ones of the lists above."""
        self._ledgers: dict[Role, SpanLedger] = {role: SpanLedger() for role in ROLES}

    def add(self, block: Block) -> None:
        """Take a block; one that is not closed ends the span."""
        if block.fate is not Fate.CLOSED:
            self._open = []
            return
        wanted = block.outcome(self.rule)
        if self.rule.phase_keys:
            x = np.flatnonzero(wanted.x & (block.sides["alice"].word & sns.SIFTED_KEEP != 0))
            self._x_numbers.append((block.first_herald + x).astype(np.uint32))
            for role in ROLES:
                self._x_bits[role].append(phase_key(block.sides[role].word[x], bob=role == "bob"))
        at = np.flatnonzero(wanted.z)
        self._numbers.append((block.first_herald + at).astype(np.uint32))
        for role in ROLES:
            self._bits[role].append((block.sides[role].word[at] & 1).astype(np.uint8))
        if not self.span:
            return
        if self._open and self._open[-1] + 1 != block.number:
            self._open = []
        self._open.append(block.number)
        if len(self._open) == self.span:
            self._pair()
            self._open = []

    def _pair(self) -> None:
        numbers = np.concatenate(self._numbers[-self.span :])
        bits = {
            role: ZBits(
                first_block=self._open[0],
                blocks=self.span,
                block_heralds=self.block_heralds,
                numbers=numbers,
                bits=np.concatenate(self._bits[role][-self.span :]),
            )
            for role in ROLES
        }
        try:
            bob = PairingUser(bits["bob"], group=self.group, ledger=self._ledgers["bob"])
            pairs = bob.announce()
            odd, alice_key = AnsweringUser(bits["alice"], ledger=self._ledgers["alice"]).answer(pairs)
            bob_key = bob.keep(odd)
        except Refused as refusal:
            self.refused.append(str(refusal))
            return
        self._keys["alice"].append(alice_key)
        self._keys["bob"].append(bob_key)
        self.spans += 1
        self.pairs += bob.pairs
        self.paired_z += numbers.size
        self.pairs_bits += 8 * len(pairs)
        self.odd_bits += 8 * len(odd)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What the file holds.

        ``number``, ``alice``, ``bob``: herald number and key bits of each Z herald. ``key_number``, ``key_discarded``: herald numbers
        of each surviving pair's kept and discarded bit; ``key_alice``, ``key_bob``: the kept bits. ``x_number``, ``x_alice``, ``x_bob``:
        the same of kept X heralds, where their phases are key."""
        none = np.empty(0, np.uint8)
        kept = [np.concatenate([key.bits for key in self._keys[role]] or [none]) for role in ROLES]
        of_bob = self._keys["bob"]
        numbers = [np.empty(0, np.uint32)]
        return {
            "number": np.concatenate(self._numbers or numbers),
            **{role: np.concatenate(self._bits[role] or [none]) for role in ROLES},
            "key_number": np.concatenate([key.kept for key in of_bob] or numbers),
            "key_discarded": np.concatenate([key.discarded for key in of_bob] or numbers),
            "key_alice": kept[0],
            "key_bob": kept[1],
            "x_number": np.concatenate(self._x_numbers or numbers),
            **{f"x_{role}": np.concatenate(self._x_bits[role] or [none]) for role in ROLES},
        }

    @property
    def survivors(self) -> int:
        """Odd pairs so far."""
        return sum(key.bits.size for key in self._keys["bob"])

    @property
    def errors(self) -> int:
        """Survivors that differ."""
        sides = zip(self._keys["alice"], self._keys["bob"], strict=True)
        return sum(int(np.count_nonzero(alice.bits != bob.bits)) for alice, bob in sides)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "blocks_per_span": self.span,
            "group": self.group,
            "spans": self.spans,
            "z_bits": self.paired_z,
            "pairs": self.pairs,
            "survivors": ratio(self.survivors, self.pairs),
            "error": ratio(self.errors, self.survivors),
            "refused": self.refused,
        }


def write_keys(path: Path, maker: KeyMaker, about: dict[str, Any]) -> None:
    """Write `KeyMaker.arrays` as NPZ, readable for its owner only, with ``about`` as a JSON text of that name.

    Mismatches are where ``alice != bob``, ``key_alice != key_bob`` and ``x_alice != x_bob``.
    """
    part = path.with_name(path.name + ".part")
    opened = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(opened, "wb") as file:
        text = json.dumps({"format": FORMAT, "block_heralds": maker.block_heralds, **about})
        np.savez_compressed(file, allow_pickle=False, about=np.array(text), **maker.arrays())
    os.replace(part, path)
