"""Secrets of a pair's clients, one file each, and the runs that they have served.

A client's symbols and the pair's block digest are AES-128 in counter mode: a key and a nonce serve for one run only, as symbols that come
again tell what was sent, and a pad that comes again tells the digest's key (docs/symbols.md, docs/digest.md). The keys stay in the file;
the nonce is the number of the run, and the file knows the next one that has not been used.
"""

from __future__ import annotations

import os
import secrets
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from twinphase_spec.digest import DigestConfig
from twinphase_spec.symbols import KEY_WORDS, NONCE_BITS

from ..errors import TwinphaseError

Role = Literal["alice", "bob"]
ROLES: tuple[Role, ...] = ("alice", "bob")
Key = tuple[int, int, int, int]
MOST_RUN = (1 << NONCE_BITS) - 1


@dataclass(frozen=True, kw_only=True)
class ClientSecrets:
    """What one client holds. ``symbols_key`` is its own, ``digest_key`` both have; ``next_run``: no run from this number on is used."""

    role: Role
    symbols_key: Key
    digest_key: Key
    next_run: int

    def digest(self, run: int) -> DigestConfig:
        """Key and nonce of the block digest in a run."""
        return DigestConfig(key=self.digest_key, nonce=run)

    def text(self) -> str:
        """As it stands in the file."""
        return (
            f"# Secrets of the client {self.role}: whoever reads them knows all that it will send.\n"
            f'role = "{self.role}"\nsymbols_key = "{_hex(self.symbols_key)}"\ndigest_key = "{_hex(self.digest_key)}"\n'
            f"next_run = {self.next_run}\n"
        )


def new_pair(folder: Path) -> tuple[Path, Path]:
    """Draw the secrets of a new pair into ``folder``: ``alice.toml``, ``bob.toml``, for their owner's eyes only.

    Raises TwinphaseError where there are some already, or the folder cannot be used."""
    digest_key = _drawn()
    paths = [folder / f"{role}.toml" for role in ROLES]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for role, path in zip(ROLES, paths, strict=True):
            drawn = ClientSecrets(role=role, symbols_key=_drawn(), digest_key=digest_key, next_run=1)
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                file.write(drawn.text())
    except FileExistsError as error:
        raise TwinphaseError(
            f"{error.filename} is there already; it is not written over: choose another folder for a new pair"
        ) from error
    except OSError as error:
        raise TwinphaseError(f"secrets cannot be written into {folder}: {error.strerror}") from error
    return paths[0], paths[1]


def load_secrets(path: Path) -> ClientSecrets:
    """From a file. Raises TwinphaseError for one that is none."""
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise TwinphaseError(
            f"{path} is no readable file of secrets ({error}); `twinphase secrets` makes a pair"
        ) from error
    unknown = set(found) ^ {"role", "symbols_key", "digest_key", "next_run"}
    if unknown:
        raise TwinphaseError(f"{path}: {', '.join(sorted(unknown))} is missing or is no key of a file of secrets")
    if found["role"] not in ROLES:
        raise TwinphaseError(f"{path}: role is {found['role']!r}; allowed: alice, bob")
    run = found["next_run"]
    if type(run) is not int or not 1 <= run <= MOST_RUN:
        raise TwinphaseError(f"{path}: next_run is {run!r}; allowed: 1 to 2^{NONCE_BITS} - 1")
    return ClientSecrets(
        role=found["role"],
        symbols_key=_key(path, "symbols_key", found["symbols_key"]),
        digest_key=_key(path, "digest_key", found["digest_key"]),
        next_run=run,
    )


def take_run(paths: Sequence[Path], run: int | None = None) -> int:
    """The number of a new run of all the clients whose files these are, ``run`` or the lowest that none has used; the files know it as
    used before this returns.

    Raises TwinphaseError for a number that one of them has used, and when a file cannot be written."""
    held = [load_secrets(path) for path in paths]
    least = max(secret.next_run for secret in held)
    chosen = least if run is None else run
    if not least <= chosen < MOST_RUN:
        raise TwinphaseError(
            f"run {chosen} may not be taken: {paths[0].parent} has used its secrets in runs up to {least - 1}; allowed: {least} and up"
        )
    for path, secret in zip(paths, held, strict=True):
        part = path.with_name(path.name + ".part")
        try:
            part.unlink(missing_ok=True)
            with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                file.write(
                    ClientSecrets(
                        role=secret.role,
                        symbols_key=secret.symbols_key,
                        digest_key=secret.digest_key,
                        next_run=chosen + 1,
                    ).text()
                )
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
        except OSError as error:
            raise TwinphaseError(
                f"{path} cannot be written ({error.strerror}), and a run that it does not know as used could be taken twice"
            ) from error
    return chosen


def _drawn() -> Key:
    a, b, c, d = (secrets.randbits(32) for _ in range(KEY_WORDS))
    return a, b, c, d


def _hex(key: Key) -> str:
    return "".join(f"{word:08x}" for word in key)


def _key(path: Path, name: str, value: object) -> Key:
    digits = 8 * KEY_WORDS
    if not isinstance(value, str) or len(value) != digits or set(value) - set("0123456789abcdef"):
        raise TwinphaseError(f"{path}: {name} is not {digits} digits 0 to 9, a to f")
    a, b, c, d = (int(value[at : at + 8], 16) for at in range(0, digits, 8))
    return a, b, c, d
