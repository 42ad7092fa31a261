"""Writes the pages, JSON and SVD that are made from the register maps: python docs/generate.py"""

from pathlib import Path

from twinphase_spec.registers import MAPS

FOLDER = Path(__file__).parent / "registers"


def pages() -> dict[Path, str]:
    """Every generated file with its text."""
    return {
        FOLDER / f"{node_map.node.name.lower()}.{ending}": text
        for node_map in MAPS.values()
        for ending, text in (
            ("md", node_map.to_markdown()),
            ("json", node_map.to_json() + "\n"),
            ("svd", node_map.to_svd()),
        )
    }


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
        print(path)
