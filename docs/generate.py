"""Writes the pages, JSON and SVD that are made from the register maps, and the tables on the pages of protocols and boards:
python docs/generate.py"""

from pathlib import Path

from twinphase_firmware.pin_pages import with_pins
from twinphase_spec.registers import MAPS
from twinphase_spec.rule_pages import with_tables
from twinphase_spec.rules import PROTOCOLS
from twinphase_spec.udp_registers import UDP_LINK

FOLDER = Path(__file__).parent / "registers"
BOARDS_PAGE = Path(__file__).parent / "boards.md"
PROTOCOL_FOLDER = Path(__file__).parent / "protocols"


def pages() -> dict[Path, str]:
    """Every generated file with its text."""
    registers = {
        FOLDER / f"{node_map.node.name.lower()}.{ending}": text
        for node_map in (*MAPS.values(), UDP_LINK)
        for ending, text in (
            ("md", node_map.to_markdown()),
            ("json", node_map.to_json() + "\n"),
            ("svd", node_map.to_svd()),
        )
    }
    protocols = {}
    for name, definition in PROTOCOLS.items():
        path = PROTOCOL_FOLDER / f"{name.lower()}.md"
        protocols[path] = with_tables(path.read_text(encoding="utf-8"), definition)
    boards = {BOARDS_PAGE: with_pins(BOARDS_PAGE.read_text(encoding="utf-8"))}
    return registers | protocols | boards


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
        print(path)
