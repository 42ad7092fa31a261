"""TOML files that configure something: presets by name, files by path, and every fault as one sentence.

A sentence says where, the key, the value and what is allowed. Kinds: labs, taggers, benches.

``base = "seed-370km"`` at a file's top starts from that preset: keys of the file go over the preset's, table by table; any other
value, a list as well, is replaced whole.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

M = TypeVar("M", bound=BaseModel)


class ConfigError(ValueError):
    """A file that cannot be used; the text is one sentence per fault."""


@dataclass(frozen=True, kw_only=True)
class ConfigFile(Generic[M]):
    """One kind of file. All its errors are of type ``error``."""

    kind: str
    """As sentences name it: ``lab``."""
    model: type[M]
    error: type[ConfigError]
    folder: str
    """Where the presets lie in this package."""

    def preset_names(self) -> list[str]:
        """Names of the presets that ship with Twinphase, sorted."""
        folder = resources.files("twinphase_spec") / self.folder
        return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))

    def load(self, name_or_path: str | Path) -> M:
        """What a preset's name or a TOML file's path stands for. Raises ``error``."""
        name = str(name_or_path)
        presets = self.preset_names()
        if name in presets:
            text = self._preset_text(name)
        else:
            try:
                text = Path(name_or_path).read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise self.error(
                    f"{self.kind} {name} is neither a preset ({', '.join(presets)}) nor a readable TOML file: {error}"
                ) from error
        return self.parse(text, name)

    def parse(self, text: str, name: str) -> M:
        """What ``text`` (TOML) describes; ``name`` is used in errors. Raises ``error``, one line per fault.

        A validator that finds several faults raises ValueError with one line for each.
        """
        try:
            return self.model.model_validate(self._tables(text, name))
        except tomllib.TOMLDecodeError as error:
            raise self.error(f"{self.kind} {name} is not valid TOML: {error}") from error
        except ValidationError as error:
            lines = [line for fault in error.errors() for line in self._lines(name, fault)]  # type: ignore[arg-type]
            raise self.error("\n".join(lines)) from error

    def _preset_text(self, name: str) -> str:
        return (resources.files("twinphase_spec") / self.folder / f"{name}.toml").read_text(encoding="utf-8")

    def _tables(self, text: str, name: str) -> dict[str, Any]:
        """Content of ``text`` over that of its base. Raises TOMLDecodeError and ``error``."""
        tables = tomllib.loads(text)
        if "base" not in tables:
            return tables
        base, presets = tables.pop("base"), self.preset_names()
        if base not in presets or base == name:
            allowed = ", ".join(preset for preset in presets if preset != name)
            raise self.error(f"{self.kind} {name}: base is {base!r}; allowed: {allowed}")
        return _over(self._tables(self._preset_text(base), base), tables)

    def _lines(self, name: str, fault: Mapping[str, Any]) -> Sequence[str]:
        where = f"{self.kind} {name}"
        key = ".".join(str(part) for part in fault["loc"])
        message = str(fault["msg"]).removeprefix("Value error, ")
        match fault["type"]:
            case "missing":
                return [f"{where}: {key} is missing; give it a value"]
            case "extra_forbidden":
                return [f"{where}: {key} is not a key of a {self.kind} file; remove it or correct its spelling"]
            case "union_tag_invalid":
                return [f"{where}: {key}.kind is {fault['ctx']['tag']!r}; allowed: {fault['ctx']['expected_tags']}"]
            case "union_tag_not_found":
                return [f"{where}: {key}.kind is missing; give it a value"]
            case "value_error":
                return [f"{where}: {key + ': ' if key else ''}{line}" for line in message.splitlines()]
            case _:
                allowed = message[0].lower() + message[1:]
                return [f"{where}: {key} is {fault['input']!r}; allowed: {allowed.removeprefix('input should be ')}"]


def _over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """``below`` with the values of ``above``; tables that both have are joined."""
    joined = dict(below)
    for key, value in above.items():
        old = below.get(key)
        joined[key] = _over(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return joined
