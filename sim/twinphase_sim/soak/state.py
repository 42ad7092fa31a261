"""What a soak has done so far, in a file: it goes on where it was stopped, and starts anew when gateware or model have changed."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from twinphase.errors import TwinphaseError

FORMAT = 1
MOST_KEPT = 20
"""Mismatching chunks that are written down."""


@dataclass
class Progress:
    """Of one protocol. ``chunks``: all before this number are done; ``ahead``: done beyond it. ``seconds``: on the clock, while it ran;
    ``gateware_seconds``, ``model_seconds``: of processor time. ``mismatches``: chunks that differ; ``said``: how, of the first ones."""

    heralds: int = 0
    blocks: int = 0
    discarded: int = 0
    sifted: int = 0
    mismatches: int = 0
    chunks: int = 0
    ahead: list[int] = field(default_factory=list)
    seconds: float = 0.0
    gateware_seconds: float = 0.0
    model_seconds: float = 0.0
    said: list[dict[str, Any]] = field(default_factory=list)

    def pending(self, running: set[int]) -> int:
        """The next chunk that is neither done nor under way."""
        number = self.chunks
        taken = running | set(self.ahead)
        while number in taken:
            number += 1
        return number

    def close(self, number: int) -> None:
        """A chunk is done."""
        self.ahead = sorted({*self.ahead, number})
        while self.ahead and self.ahead[0] == self.chunks:
            self.ahead.pop(0)
            self.chunks += 1

    def as_dict(self) -> dict[str, Any]:
        """For JSON, with the rates."""
        return {
            **asdict(self),
            "heralds_per_second": self.heralds / self.seconds if self.seconds else None,
            "heralds_per_gateware_second": self.heralds / self.gateware_seconds if self.gateware_seconds else None,
        }


@dataclass
class State:
    """All protocols. ``about``: versions, seed and size of chunks; a file with others is not gone on with."""

    path: Path
    about: dict[str, Any]
    protocols: dict[str, Progress] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path, about: dict[str, Any]) -> tuple[State, bool]:
        """From the file, or new; whether a file with other versions was left aside (as ``.old``).

        Raises TwinphaseError for a file that is no state."""
        state = cls(path, about)
        if not path.exists():
            return state, False
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            same = found["format"] == FORMAT and found["about"] == about
            made = {
                name: Progress(**{key: entry[key] for key in Progress.__dataclass_fields__})
                for name, entry in found["protocols"].items()
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise TwinphaseError(
                f"{path} is no state of a soak ({error}): delete it, or give another --state"
            ) from error
        if not same:
            os.replace(path, path.with_name(path.name + ".old"))
            return state, True
        state.protocols = made
        return state, False

    def of(self, protocol: str) -> Progress:
        """Its progress."""
        return self.protocols.setdefault(protocol, Progress())

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "format": FORMAT,
            "about": self.about,
            "protocols": {name: progress.as_dict() for name, progress in self.protocols.items()},
        }

    def write(self) -> None:
        """Whole or not at all."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_name(self.path.name + ".part")
        part.write_text(json.dumps(self.as_dict(), indent=1) + "\n", encoding="utf-8")
        os.replace(part, self.path)
