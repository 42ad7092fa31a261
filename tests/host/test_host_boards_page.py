"""The page of boards: its links lead somewhere, and what it quotes of the host's words are the host's words."""

import importlib.util
import re
import sys
from pathlib import Path

from twinphase.measure import silence
from twinphase.transport import link, udp
from twinphase_firmware import boards, loaders, pin_pages

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "boards.md"


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_links_lead_somewhere():
    text = PAGE.read_text()
    links = re.findall(r"\]\(([^)#]*)(#[^)]*)?\)", text)
    assert len(links) > 4
    for path, anchor in links:
        target = PAGE.parent / path if path else PAGE
        assert target.exists(), path
        titles = re.findall(r"^#+ (.+)$", target.read_text(), re.M)
        names = {"#" + re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles}
        assert not anchor or anchor in names, anchor


def test_figures_and_sentences_are_those_of_the_code():
    text = " ".join(PAGE.read_text().split())
    assert f"silent for {link.SILENT_S:g} s and answers nothing" in text
    assert f"it is asked every {link.PROBE_EVERY_S:g} s" in text
    assert f"| {silence.NOTED_S:g} s |" in text
    assert f"{link.QUEUE_PACKETS:,} packets".replace(",", " ") in text
    assert f"net.core.rmem_max={udp.RECEIVE_BUFFER_BYTES}" in text
    assert "3 Mbaud unless ?baud= says otherwise" in text
    source = "".join(path.read_text() for path in (ROOT / "host").rglob("*.py"))
    for sentence in (
        "is the node running and the address right?",
        "is silent: is the cable in, and the node powered?",
        "and answers nothing",
        "has started anew",
        "cannot be opened",
        "has register map",
        "answers ID_MAGIC",
    ):
        assert sentence in text
        assert sentence in source
    assert "no tool is on PATH that loads" in Path(loaders.__file__).read_text()


def test_pins_are_those_of_the_boards():
    """Every row of the table, from the connectors' mappings, for the pins that a build asks for."""
    table = pin_pages.pins_markdown()
    assert table in PAGE.read_text()
    for board in boards.BOARDS.values():
        mapping = board.platform().connectors[board.connector].mapping
        for channel, pin in enumerate(board.input_pins.split()):
            (row,) = [line for line in table.splitlines() if line.startswith(f"| channel {channel} |")]
            assert f"{pin} ({mapping[pin]})" in row
    assert "X4, pin 4" in table


def test_first_tags_are_written_between_their_marks(monkeypatch, tmp_path):
    """The script that fills them in, with a bench that is ready at once and commands that need none."""
    script = load(ROOT / "docs" / "first_tags.py")
    monkeypatch.setenv("PYTHONPATH", "host:spec")
    monkeypatch.chdir(ROOT)
    ready = [sys.executable, "-c", "import time; print('{}', flush=True); time.sleep(60)"]
    text = script.section((("The version:", ("--version",)),), ready)
    assert re.search(r"The version:\n```\n\$ twinphase --version\ntwinphase [0-9.]+\n```\n$", text)
    commands = PAGE.read_text().partition("## First tags")[2].partition(script.BEGIN)[0]
    listed = re.findall(r"^    twinphase (.+)$", commands, re.M)
    assert listed == [" ".join(arguments) for _, arguments in script.STEPS]
    page = f"a\n{script.BEGIN}\nold\n{script.END}\nb\n"
    assert script.with_section(page, text) == f"a\n{script.BEGIN}\n{text}{script.END}\nb\n"
    assert PAGE.read_text().count(script.BEGIN) == PAGE.read_text().count(script.END) == 1
    written = PAGE.read_text().partition(script.BEGIN)[2].partition(script.END)[0]
    assert re.findall(r"^\$ twinphase (.+)$", written, re.M) == listed
