"""The command line ``twinphase``. Each command is one module; help texts load none of them.

A command module has a docstring whose first line is its summary, ``configure(parser)`` and ``run(arguments) -> int``, and
imports heavy things inside ``run`` only. Those in `twinphase.commands` are found by themselves; other packages add
theirs by entry points of the group ``twinphase.commands`` (name of the command: module, with the extra it needs).
"""

from __future__ import annotations

import argparse
import ast
import os
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path

from .errors import TwinphaseError
from .extras import load_entry_point, raise_if_extra

COMMAND_GROUP = "twinphase.commands"
EXIT_KNOWN_ERROR = 2
EXIT_INTERRUPTED = 130


def commands() -> dict[str, EntryPoint]:
    """All commands by name."""
    own = sorted(path.stem for path in (Path(__file__).parent / "commands").glob("[a-z]*.py"))
    found = {name: EntryPoint(name, f"twinphase.commands.{name}", COMMAND_GROUP) for name in own}
    found.update({point.name: point for point in entry_points(group=COMMAND_GROUP)})
    return dict(sorted(found.items()))


def summary(point: EntryPoint) -> str:
    """First line of the docstring of a command's module, read from its source without importing anything."""
    package, _, rest = point.module.partition(".")
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        source = Path(folder, *rest.split(".")).with_suffix(".py")
        try:
            docstring = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8")))
        except (OSError, SyntaxError, ValueError):
            continue
        if docstring:
            return docstring.splitlines()[0]
    return "(not installed)"


def _top_parser(found: dict[str, EntryPoint]) -> argparse.ArgumentParser:
    width = max(map(len, found), default=0)
    lines = [f"  {name:<{width}}  {summary(point)}" for name, point in found.items()]
    parser = argparse.ArgumentParser(
        prog="twinphase",
        description="Control and acquisition for twin-field QKD.",
        epilog="\n".join(["commands:", *lines, "", "example:", "  twinphase labs", "  twinphase record --help"]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    parser.add_argument("command", nargs="?", metavar="COMMAND", help="what to do; see below")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code: 0 done, 2 a known error (one sentence on stderr), 130 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone, e.g. `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (TwinphaseError, OSError) as error:
        return _report(error)
    except ValueError as error:
        from twinphase_spec.config_file import ConfigError

        if isinstance(error, ConfigError):
            return _report(error)
        raise


def _report(error: Exception) -> int:
    print(str(error), file=sys.stderr)
    return EXIT_KNOWN_ERROR


def _run(arguments: list[str]) -> int:
    found = commands()
    parser = _top_parser(found)
    if not arguments or arguments[0].startswith("-"):
        options = parser.parse_args(arguments[:1])
        if options.version:
            from importlib.metadata import version

            print(f"twinphase {version('twinphase')}")
            return 0
        parser.print_help()
        return 0
    name, *rest = arguments
    point = found.get(name)
    if point is None:
        print(f"twinphase has no command {name!r}; it has: {', '.join(found)}", file=sys.stderr)
        return EXIT_KNOWN_ERROR
    module = load_entry_point(point)
    command = argparse.ArgumentParser(
        prog=f"twinphase {name}", description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    module.configure(command)
    options = command.parse_args(rest)
    try:
        return module.run(options)
    except ModuleNotFoundError as error:  # a heavy import inside run
        raise_if_extra(point, error)
        raise


if __name__ == "__main__":
    sys.exit(main())
