"""Print the Wireshark dissector of this version's protocol, or write it where Wireshark looks for it.

Wireshark then shows streams, tags with channel and time, register requests and receipts of nodes on UDP, and marks malformed
packets. Filters are e.g. twinphase.stream == 1, twinphase.tag.channel == 3 or twinphase.malformed. Behind port 9752 the registers of a
board's link have their names (another port: Wireshark's preference twinphase.link_port).

example:
  twinphase dissector --install
  twinphase dissector > twinphase.lua && tshark -X lua_script:twinphase.lua -i eth0 -O twinphase
"""

from __future__ import annotations

import argparse
from pathlib import Path

NAME = "twinphase.lua"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--install", action="store_true", help="write it into your own Wireshark plugins folder")
    parser.add_argument("--json", action="store_true", help="print the protocol's tables, or the file written, as JSON")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write it into this file")


def plugin_folder() -> Path:
    """Where Wireshark looks for a user's Lua plugins."""
    import os
    import sys

    if sys.platform == "win32":
        return Path(os.environ["APPDATA"]) / "Wireshark" / "plugins"
    return Path.home() / ".local" / "lib" / "wireshark" / "plugins"


def run(arguments: argparse.Namespace) -> int:
    import json

    from ..wireshark.tables import dissector, tables

    path = plugin_folder() / NAME if arguments.install else arguments.out
    if path is None:
        print(json.dumps(tables()) + "\n" if arguments.json else dissector(), end="")
        return 0
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dissector(), encoding="utf-8")
    print(json.dumps({"file": str(path)}) if arguments.json else path)
    return 0
