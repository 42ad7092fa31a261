"""Register maps: no overlaps, a hash that sees every change, generated pages that are up to date."""

import dataclasses
import importlib.util
from pathlib import Path
from xml.etree import ElementTree

import pytest

from twinphase_spec.registers import CLIENT, MAPS, SERVER, Register, RegisterMap

DOCS = Path(__file__).resolve().parents[3] / "docs"


@pytest.mark.parametrize("node_map", MAPS.values(), ids=lambda m: m.node.name)
def test_counters_fit_their_memory(node_map: RegisterMap) -> None:
    assert node_map.status_words <= node_map.memory("COUNTERS").words


def test_overlaps_are_refused() -> None:
    clash = Register(name="CLASH", address=SERVER["PERIOD"].address + 1, width=1, doc="")
    with pytest.raises(ValueError, match="CLASH and PERIOD share address"):
        dataclasses.replace(SERVER, registers=(*SERVER.registers, clash))


def test_hash_changes_with_any_entry() -> None:
    first, *rest = SERVER.registers
    renamed = dataclasses.replace(SERVER, registers=(dataclasses.replace(first, doc="other"), *rest))
    assert len({SERVER.hash, CLIENT.hash, renamed.hash}) == 3


def test_unknown_names_say_so() -> None:
    with pytest.raises(KeyError, match="no register NOPE in the server map"):
        SERVER["NOPE"]


def test_svd_lists_every_word() -> None:
    names = [e.findtext("name") for e in ElementTree.fromstring(SERVER.to_svd()).iter("register")]
    assert len(names) == sum(r.words for r in SERVER.registers) + len(SERVER.memories)
    assert {"PERIOD_LOW", "PERIOD_HIGH"} <= set(names)


def test_generated_pages_are_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    for path, text in generate.pages().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name} is stale: run python docs/generate.py"
