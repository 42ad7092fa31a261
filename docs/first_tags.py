"""Runs the commands of "First tags" on the page of boards against a virtual bench, and writes what they print into the page.

Not a part of generate.py: the gateware is compiled once, a minute or two. python docs/first_tags.py
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

PAGE = Path(__file__).parent / "boards.md"
BEGIN = "<!-- first tags: made by docs/first_tags.py -->"
END = "<!-- end of first tags -->"
BENCH = "bench:pairs"
URL = "udp://localhost:9750"
STEPS = (
    ("What is there? The node's type, clock, interface and build, and whether they fit this host:", ("devices",)),
    ("Set it up by name, from a preset or a file of your own:", ("tagger", URL, "--config", "pairs")),
    ("Are the delay lines calibrated?", ("tdc", URL)),
    (
        "Rates of all channels, over a tenth of a second of the node's time:",
        ("measure", URL, "rates", "--seconds", "0.1"),
    ),
    ("Record, then measure on the recording as on the board:", ("record", URL, "--out", "run1", "--seconds", "0.1")),
    (
        "Coincidences of the two detectors:",
        ("measure", "run1", "coincidences", "--channels", "0", "1", "--window-ps", "1000"),
    ),
)


def run(arguments: tuple[str, ...], folder: Path) -> str:
    """What a command prints, with what it says on stderr behind it."""
    command = [sys.executable, "-m", "twinphase.cli", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment())
    if done.returncode:
        raise SystemExit(f"twinphase {' '.join(arguments)} ended with {done.returncode}: {done.stderr}")
    lines = [line.rstrip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return "\n".join(lines)


def environment() -> dict[str, str]:
    """That of this process, with import paths that hold in another folder."""
    import os

    paths = [str(Path(path).resolve()) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "110"}


def section(steps: tuple[tuple[str, tuple[str, ...]], ...], serve: list[str]) -> str:
    """The page's section: ``serve`` prints a line of JSON when its nodes are ready, then each step is run."""
    parts = [f"    twinphase serve {BENCH}                        # the bench, in a terminal of its own", ""]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(serve, stdout=subprocess.PIPE, text=True, env=environment()) as bench,
    ):
        try:
            assert bench.stdout is not None
            json.loads(bench.stdout.readline())
            for words, arguments in steps:
                shown = run(arguments, Path(folder))
                parts += [words, "```", f"$ twinphase {' '.join(arguments)}", shown, "```"]
        finally:
            bench.terminate()
    return "\n".join(parts) + "\n"


def with_section(page: str, text: str) -> str:
    """``page`` with what is between the marks replaced."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n{text}{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    served = [sys.executable, "-m", "twinphase.cli", "serve", BENCH, "--json"]
    PAGE.write_text(with_section(PAGE.read_text(encoding="utf-8"), section(STEPS, served)), encoding="utf-8")
    print(PAGE)
