"""Load a bitstream into a board, until power-off or (--flash) for good.

The manifest that the build wrote beside the bitstream says for which board it is; another board's file is refused. The work is
done by a tool on PATH: apollo for Cynthion, openFPGALoader for all other boards, ecpprog for ECPIX-5, Versa and ButterStick, fujprog
for ULX3S, iceprog for the HX8K board.
--options go to the tool, e.g. the serial number of one of two boards.

example:
  twinphase program ecpix5-85f bitstreams/ecpix5-85f-timetagger.bit
  twinphase program ulx3s-85f bitstreams/ulx3s-85f-timetagger.bit --flash
  twinphase program ice40-hx8k bitstreams/ice40-hx8k-timetagger.bin --dry-run
  twinphase program ulx3s-85f bitstreams/ulx3s-85f-timetagger.bit --options='--ftdi-serial D00001'
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from twinphase.errors import TwinphaseError

STDERR = 2
"""File descriptor: a tool's words must not mix with JSON on stdout."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "board", help="ecpix5-85f, ulx3s-85f, ulx3s-25f, versa-ecp5-5g, butterstick, ice40-hx8k or cynthion"
    )
    parser.add_argument("file", type=Path, help="the bitstream, its manifest (.json) beside it")
    parser.add_argument(
        "--flash", action="store_true", help="write the board's flash, from which it starts at power-on"
    )
    parser.add_argument("--tool", metavar="NAME", help="this tool instead of the first that is there")
    parser.add_argument("--options", default="", metavar="TEXT", help="further options of the tool, as one text")
    parser.add_argument("--force", action="store_true", help="load it whatever its manifest says, or without one")
    parser.add_argument("--dry-run", action="store_true", help="print the command and do nothing")
    parser.add_argument(
        "--json", action="store_true", help="print what was done as JSON; the tool's words go to stderr"
    )


def check_file(board: str, file: Path) -> dict[str, Any]:
    """The manifest of ``file``, which says that it is for ``board`` and whole. TwinphaseError otherwise."""
    import json

    path = file.with_suffix(".json")
    advice = "build it with `twinphase build`, or load it with --force"
    if path == file:
        raise TwinphaseError(f"{file} is a manifest; give the bitstream beside it")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise TwinphaseError(
            f"{file} has no manifest {path.name} beside it that says for which board it is; {advice}"
        ) from error
    except (OSError, ValueError) as error:
        raise TwinphaseError(f"{path} cannot be read as a manifest ({error}); {advice}") from error
    if not isinstance(manifest, dict) or not {"board", "bitstream", "bitstream_bytes"} <= set(manifest):
        raise TwinphaseError(f"{path} is not the manifest of a bitstream; {advice}")
    if manifest["bitstream"] != file.name:
        raise TwinphaseError(f"{path} is the manifest of {manifest['bitstream']}, not of {file.name}; {advice}")
    if manifest["board"] != board:
        raise TwinphaseError(f"{file} is for the board {manifest['board']}, not for {board}; {advice}")
    if (size := file.stat().st_size) != manifest["bitstream_bytes"]:
        raise TwinphaseError(
            f"{file} has {size} bytes where its manifest says {manifest['bitstream_bytes']}: not whole, or of another build; {advice}"
        )
    return manifest


def where_to_look(manifest: dict[str, Any] | None) -> str:
    """How a board that was loaded is found."""
    link = (manifest or {}).get("link", {})
    if link.get("ip") == "dhcp":
        return (
            f"it asks for an address by DHCP as {link['host_name']}; `twinphase devices --network` finds it, after 15 s without a server "
            f"at udp://{link['fallback_ip']}"
        )
    if link.get("kind") == "udp":
        return f"it is at udp://{link['ip']}, which a computer in its network finds with `twinphase devices --network {link['ip']}/24`"
    if link.get("kind") == "usb":
        return f"with a cable in its socket AUX it is at usb://{link['serial']}"
    return "`twinphase devices` lists the ports on which it may be"


def run(arguments: argparse.Namespace) -> int:
    import json
    import shlex
    import subprocess
    import sys

    from .loaders import NOTES, check_board, command_line, find_loader

    board, file = check_board(arguments.board), arguments.file
    if not file.is_file():
        raise TwinphaseError(f"{file} is not a file; `twinphase build {board}` makes one")
    manifest = None if arguments.force else check_file(board, file)
    loader, path = find_loader(board, flash=arguments.flash, tool=arguments.tool)
    command = command_line(loader, path, str(file), flash=arguments.flash, extra=shlex.split(arguments.options))
    done = {
        "board": board,
        "file": str(file),
        "node": manifest.get("node") if manifest else None,
        "source_hash": manifest.get("source_hash") if manifest else None,
        "link": manifest.get("link") if manifest else None,
        "flash": arguments.flash,
        "tool": loader.tool,
        "command": command,
        "loaded": not arguments.dry_run,
    }
    words = sys.stderr if arguments.json else sys.stdout
    print(shlex.join(command), file=words, flush=True)
    if not arguments.dry_run:
        code = subprocess.run(command, stdout=STDERR if arguments.json else None, check=False).returncode
        if code:
            note = f"; {NOTES[board]}" if board in NOTES else ""
            raise TwinphaseError(
                f"{loader.tool} ended with code {code}, the board may hold nothing now: is it plugged in, powered, and its USB device "
                f"yours to use (udev rules)?{note}"
            )
    if arguments.json:
        print(json.dumps(done))
    elif not arguments.dry_run:
        where = "flash" if arguments.flash else "memory (until power-off)"
        print(f"{file.name} is in the {where} of {board}; {where_to_look(manifest)}")
    return 0
