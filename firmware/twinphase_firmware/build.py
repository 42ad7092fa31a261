"""Builds a node for a board: synthesis, place and route, bitstream, manifest. Failing timing is an error."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from twinphase.errors import ExtraError, TwinphaseError
from twinphase_spec.tagger import TaggerOptions

from . import pack, place_chains, place_twins
from .area import area_of_parts, area_per_channel
from .boardlink import SERIAL, BoardLink
from .boards import Board, find_board
from .chain_sites import Site
from .clientoptions import ClientOptions
from .delayline_check import check_delay_lines, check_injectors
from .family import ECP5, Family
from .manifest import TimingError, check_log, make_manifest, tool_versions, write_manifest
from .portvolts import NOT_CHECKED as VOLTS_NOT_CHECKED
from .reference import check_reference

NAME = "top"
PLACED = f"{NAME}.placed.json"

DROP_READ_BEFORE_WRITE = (
    "setparam -set COLLISION_X_MASK 1'1 t:$memrd_v2 r:COLLISION_X_MASK=1'0 %i r:CLK_ENABLE=1 %i "
    "w:tdc_clk %co1:+$memrd_v2[CLK] %d"
)
"""Frees Yosys from building "a read in the clock of a write gives the old word" out of logic between block RAM and register, which
alone costs the 125 MHz at speed grade 6. No memory of the nodes uses such a word: queues and rings never read the place that
they write, tables are written while the frame is stopped, and a snapshot is read after its count has gone up.
Reads at the TDC clock are left out: where the clocks of read and write differ, Yosys promises nothing and builds nothing."""

KEEP_READS_OF = f" {NAME}.{{kind}}*/* %d"
"""Leaves out the memories of a link over UDP or USB, which have twice the time, and of which nobody has shown that they never read the
place that they write."""

PURGE_BEFORE_LUTS = "{synthesis} -run begin:map_luts -top {top}; opt_clean -purge"
"""What comes before a family's ``synth_... -run map_luts:``. Without the purge, ABC9 of Yosys 0.70 stops at unused wires of some
designs."""
MAP_LUTS = "-run map_luts:"


ROUTED_BY_TIME = ("--tmg-ripup",)
"""The router gives up routes that are late and tries others. With Ethernet more clocks are near their limits: one placement of ECPIX-5's
time tagger had its TDC clock at 249.4 MHz without and at 257.9 with it, and the PHY's at 122.8 and 125.7. So are a client's long ways
between block RAM at speed grade 6, a time tagger with USB in the smallest part, and one whose taps have twins (one placement had its TDC
clock at 246.4 MHz without and at 248.7 with it)."""

PERIOD_ROUNDING = 2e-4
"""nextpnr counts periods in picoseconds, and multiplies what it rounded: 60 MHz, which it takes for 60.0024, makes 125.016."""
SET_UP_SCRIPTS = ("AMARANTH_ENV_TRELLIS", "AMARANTH_ENV_ICESTORM")
"""Variables that would name a script for the tools' environment: there is none."""


class BuildError(TwinphaseError):
    """A tool failed; the text says which and where its log is."""


def build_environment(family: Family = ECP5) -> dict[str, str]:
    """Environment of the tools: the YoWASP commands beside this Python, or from PATH. Raises `ExtraError`."""
    environment = {**os.environ, **dict.fromkeys(SET_UP_SCRIPTS, ""), "PYTHON": sys.executable}
    for variable, tool in family.tools.items():
        beside = Path(sys.executable).parent / tool
        found = str(beside) if beside.exists() else shutil.which(tool)
        if found is None:
            raise ExtraError("pip install 'twinphase[build]'")
        environment[variable] = found
    return environment


def run_before_placement(plan: Any, script: ModuleType, family: Family = ECP5) -> None:
    """Lets the plan's shell script run a module that stands alone (`pack`, `place_chains`) on the netlist between synthesis and
    placement, behind those asked for before. BuildError if the shell script has no such place."""
    name, source = f"build_{NAME}.sh", Path(str(script.__file__))
    plan.files[source.name] = source.read_text()
    before, call, after = plan.files[name].partition(f'"${family.nextpnr}"')
    if not call:
        raise BuildError(
            f"{name} of this Amaranth does not call nextpnr as expected; install the version that pyproject.toml names"
        )
    plan.files[name] = f'{before}"$PYTHON" {source.name} {NAME}.json\n{call}{after}'


def make_plan(platform: Any, top: Any, *, seed: int, family: Family = ECP5, clock_hz: int = 0) -> Any:
    """All files of a build of ``top`` with the shell script that runs the tools. They depend on nothing but the design and the tools, so
    that two checkouts give the same. nextpnr writes its placement (`PLACED`), its report, with the time at which a signal comes to each
    flip-flop, and its log (``top.tim``).
    """
    kind = getattr(top, "link", SERIAL).kind
    twins = any(site.twin_row is not None for site in delay_lines(top))
    is_client = isinstance(getattr(top, "options", None), ClientOptions)
    drop = DROP_READ_BEFORE_WRITE + ("" if kind == "serial" else KEEP_READS_OF.format(kind=kind))
    plan = platform.prepare(
        top,
        NAME,
        emit_src=False,
        script_after_read=f"{drop}; {family.settings}{PURGE_BEFORE_LUTS.format(synthesis=family.synthesis, top=NAME)}",
        synth_opts=[MAP_LUTS],
        nextpnr_opts=[
            *("--report", f"{NAME}.report.json", "--detailed-timing-report", "--write", PLACED),
            *("--placer", family.placer, "--seed", str(seed)),
            *(ROUTED_BY_TIME if kind != "serial" or is_client or twins else ()),
            *(("--freq", f"{clock_hz / 1e6:g}") if clock_hz else ()),
        ],
    )
    if family.packed:
        run_before_placement(plan, pack)
    if twins:
        plan.files[Path(str(place_chains.__file__)).name] = Path(str(place_chains.__file__)).read_text()
        run_before_placement(plan, place_twins)
    elif delay_lines(top):
        run_before_placement(plan, place_chains)
    return plan


def delay_lines(top: Any) -> dict[Site, int]:
    """Delay lines of a top: site of each chain and its number of taps. A top that has any says so in its attribute ``delay_lines``."""
    return dict(getattr(top, "delay_lines", {}))


def check_placement(work: Path, top: Any) -> None:
    """Proves the delay lines of ``top`` on what nextpnr wrote into ``work``. Raises `DelayLineError`."""
    if lines := delay_lines(top):
        check_delay_lines(json.loads((work / PLACED).read_text()), lines)
        check_injectors((work / f"{NAME}.config").read_text(), lines)


def source_hash(plan: Any, family: Family = ECP5) -> int:
    """32 bits over all files that go into the tools (RTL, constraints, scripts) and the tools' versions."""
    digest = hashlib.sha256(json.dumps(tool_versions(family), sort_keys=True).encode())
    for name in sorted(plan.files):
        content = plan.files[name]
        digest.update(name.encode() + (content.encode() if isinstance(content, str) else content))
    return int.from_bytes(digest.digest()[:4], "little")


def build(
    board_name: str,
    node: str,
    folder: Path,
    *,
    options: TaggerOptions | ClientOptions | None = None,
    link: BoardLink | None = None,
    reference_hz: int | None = None,
    seed: int | None = None,
    tries: int = 3,
    progress: Callable[[str], None] = lambda step: None,
) -> dict[str, Any]:
    """Builds ``node`` for ``board_name`` into ``folder``: ``<board>-<node>.bit`` (iCE40: ``.bin``) and ``.json``. Returns the manifest.

    ``options``: of the front end or of a client's lanes, the board's own if None. ``link``: how its packets leave the board, likewise.
    ``reference_hz``: of a clock on the board's reference pin, which it counts instead of its oscillator (`reference`).

    Placement starts from ``seed``, the board's own if None; one that misses timing is tried again with the next, ``tries`` times in
    all. The identity register holds the hash of the sources with that constant at zero. Raises TwinphaseError (unknown board or node,
    or more than the part holds), `BuildError` (tools), `TimingError` (of the last try; no bitstream is written) or ValueError (no
    tries).
    """
    board = find_board(board_name)
    if reference_hz is not None:
        check_reference(board, options or board.nodes.get(node), reference_hz)
    environment = build_environment(board.family)
    if seed is None:
        kind = board.link if link is None else link.kind
        seed = board.seeds.get((node, kind), 1)
    last = seed + tries - 1
    for attempt in range(seed, last + 1):
        progress(f"synthesis, place and route, seed {attempt}")
        try:
            return _build_once(board, node, options, link, reference_hz, folder, attempt, environment)
        except TimingError:
            if attempt == last:
                raise
    raise ValueError(f"build: tries is {tries}; allowed: at least 1")


def _build_once(
    board: Board,
    node: str,
    options: TaggerOptions | ClientOptions | None,
    link: BoardLink | None,
    reference_hz: int | None,
    folder: Path,
    seed: int,
    environment: dict[str, str],
) -> dict[str, Any]:
    from .tops import make_top

    family = board.family
    os.environ.update(dict.fromkeys(SET_UP_SCRIPTS, ""))

    def planned(build_hash: int) -> tuple[Any, Any]:
        top = make_top(node, board, build_hash=build_hash, options=options, link=link)
        return top, make_plan(
            board.prepare(top.channels, reference_hz=reference_hz),
            top,
            seed=seed,
            family=family,
            clock_hz=0 if family.derives_clocks else board.clock_hz,
        )

    build_hash = source_hash(planned(0)[1], family)
    top, plan = planned(build_hash)
    work = folder / f"{board.name}-{node}.work"
    work.mkdir(parents=True, exist_ok=True)
    stem = folder / f"{board.name}-{node}"
    for stale in (stem.with_suffix(family.bitstream), stem.with_suffix(".json")):
        stale.unlink(missing_ok=True)
    try:
        plan.execute_local(str(work), env=environment)
    except Exception as error:
        check_log(work / f"{NAME}.tim")
        raise BuildError(f"building {board.name} failed ({error}); the tools' logs are in {work}") from error
    check_placement(work, top)
    manifest = make_manifest(
        board=board.name,
        node=node,
        part=board.part,
        source_hash=build_hash,
        seed=seed,
        report=json.loads((work / f"{NAME}.report.json").read_text()),
        log=(work / f"{NAME}.tim").read_text(),
        bitstream=work / f"{NAME}{family.bitstream}",
        family=family,
    )
    off = (abs(clock["constraint_mhz"] * 1e6 / board.clock_hz - 1) for clock in manifest["clocks"].values())
    if not any(share < PERIOD_ROUNDING for share in off):
        raise BuildError(f"no clock of {board.name} was asked for {board.clock_hz / 1e6:g} MHz: timing was not checked")
    placed = json.loads((work / PLACED).read_text())
    manifest |= describe(top, placed, family) | describe_link(top.link, manifest)
    manifest |= describe_ports(board, manifest) | ({} if reference_hz is None else {"reference_hz": reference_hz})
    shutil.copy(work / f"{NAME}{family.bitstream}", stem.with_suffix(family.bitstream))
    manifest["bitstream"] = stem.with_suffix(family.bitstream).name
    write_manifest(manifest, stem.with_suffix(".json"))
    return manifest


def describe_link(link: BoardLink, manifest: dict[str, Any]) -> dict[str, Any]:
    """What a manifest says of the ``link``; of Ethernet and USB also what writes its core, and what of it nobody has
    checked."""
    if link.kind == "serial":
        return {"link": link.describe()}
    from . import ethernet, usbport

    port = usbport if link.kind == "usb" else ethernet
    return {
        "link": link.describe(),
        "not_checked": f"{manifest['not_checked']}; {port.NOT_CHECKED}",
        "tools": manifest["tools"] | port.check_packages(),
    }


def describe_ports(board: Board, manifest: dict[str, Any]) -> dict[str, Any]:
    """What a manifest says of ports whose supply the gateware sets: their volts, and that nobody has measured them."""
    if not board.port_volts:
        return {}
    return {"port_volts": board.port_volts, "not_checked": f"{manifest['not_checked']}; {VOLTS_NOT_CHECKED}"}


def describe(top: Any, placed: dict[str, Any], family: Family = ECP5) -> dict[str, Any]:
    """What a manifest says of the node beyond the build, from the netlist as nextpnr writes it: a client's options; else
    the ``front_end``, what is ``left_out`` and ``area_per_channel``; a server's ``herald_path`` is that part's area."""
    if isinstance(top.options, ClientOptions):
        return {"client": vars(top.options) | {"ring": top.options.ring_symbols}}
    chains = top.options.chains if top.delay_lines else 0
    parts = {name: area_of_parts(placed, pattern, family) for name, pattern in getattr(top, "parts", {}).items()}
    return parts | {
        "front_end": vars(top.options),
        "left_out": list(top.options.left_out),
        "area_per_channel": area_per_channel(placed, channels=top.options.channels, chains=chains, family=family),
    }
