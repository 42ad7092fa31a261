"""Builds of every board's nodes, over every link that the board has, from three placement seeds: what each clock reaches, or that it
misses.

``python tests/build/seeds.py [BOARD NODE LINK ...]`` takes them anew and writes ``seeds.json`` beside this file; a build takes minutes.
Delays are nextpnr's slow-corner model.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import cast

from twinphase.errors import TwinphaseError
from twinphase_firmware.boardlink import BoardLink, Kind
from twinphase_firmware.boards import BOARDS
from twinphase_firmware.build import build

RECORD = Path(__file__).with_name("seeds.json")
SEEDS = (1, 2, 3)


def builds() -> list[tuple[str, str, Kind]]:
    """All (board, node, link)."""
    return [
        (board.name, node, link)
        for board in BOARDS.values()
        for node in board.nodes
        for link in dict.fromkeys((board.link, "udp") if board.rgmii else (board.link,))
    ]


def key(board: str, node: str, link: str) -> str:
    """Of a build in the record."""
    return f"{board} {node} {link}"


def measure(board: str, node: str, link: Kind, seed: int, folder: Path) -> dict[str, object]:
    """Clocks, utilisation, and area per channel or a client's options, of one build; or ``failed`` with the reason."""
    try:
        manifest = build(board, node, folder, link=BoardLink(kind=link), seed=seed, tries=1)
    except TwinphaseError as error:
        return {"failed": str(error)}
    clocks = {name: clock for name, clock in manifest["clocks"].items() if name not in manifest["hit_clocks"]}
    told: dict[str, object] = {
        name: manifest[name] for name in ("client", "area_per_channel", "herald_path") if name in manifest
    }
    return {
        "clocks": clocks,
        "used": {name: use["used"] for name, use in manifest["utilisation"].items()},
        "source_hash": manifest["source_hash"],
        **told,
    }


def main(words: list[str]) -> None:
    wanted = list(zip(words[::3], words[1::3], words[2::3], strict=True)) or builds()
    record = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    for board, node, link in wanted:
        for seed in SEEDS:
            with tempfile.TemporaryDirectory() as folder:
                result = measure(board, node, cast(Kind, link), seed, Path(folder))
            record.setdefault(key(board, node, link), {})[str(seed)] = result
            print(key(board, node, link), seed, result, flush=True)
            RECORD.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
