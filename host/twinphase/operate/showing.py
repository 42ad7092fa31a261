"""A run on the screen: a bar while it goes on, a sentence or JSON at its end."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .recorders import Progress


@contextmanager
def show_run(before: str, seconds: float | None) -> Iterator[Callable[[Progress], None]]:
    """What a run's ``progress`` may be: a bar up to ``seconds`` of node time on a terminal, with ``before`` until it begins."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(before, total=seconds)

        def show(now: Progress) -> None:
            records = ", ".join(f"{name} {count:,}" for name, count in now.records.items())
            bar.update(task, completed=now.seconds, description=f"{now.seconds:.2f} s, records: {records}")

        yield show


def say_result(as_json: bool, folder: Path, result: dict[str, Any], then: str = "") -> int:
    """Print the result; the exit code."""
    if as_json:
        print(json.dumps(result))
    else:
        carried = sum(result["relay"]["carried"].values())
        print(f"{folder}: run {result['run']}, {result['ended']}; {carried} packets carried between the nodes{then}")
    return 0
