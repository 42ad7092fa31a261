"""Proves two Verilog modules equal by Yosys: every register takes the same value, for all values of registers and inputs."""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path

from sat import YOSYS

_SIDE = "read_verilog -sv {side}.v; proc -norom; memory_collect; rename {top} {side}"
_PROOF = (
    f"{_SIDE.format(side='gold', top='{top}')}; design -stash gold; {_SIDE.format(side='gate', top='{top}')}; "
    "design -copy-from gold -as gold gold; equiv_make gold gate equiv; hierarchy -top equiv; clean -purge; "
    "equiv_simple; equiv_status -assert"
)
_MODULE = re.compile(r"^module (\S+) ?\((.*?)\);\n(.*?)^endmodule\n", re.MULTILINE | re.DOTALL)
_PORT = re.compile(r"^  (?:input|output)[^;]*;\n", re.MULTILINE)
# What registers and memories start with is not compared; as simulators do, no value is unknown where no case is taken.
_LEFT_OUT = re.compile(r"^  initial begin\n.*?^  end\n|\(\* full_case = 32'd1 \*\)", re.MULTILINE | re.DOTALL)


def modules(verilog: str) -> dict[str, str]:
    """The text of each module, by its name."""
    return {found[1]: _LEFT_OUT.sub("", found[0]) for found in _MODULE.finditer(verilog)}


def unequal(gold: str, gate: str, *, top: str, parts: dict[str, str] | None = None) -> str:
    """What Yosys says where module ``top`` of one text is not proven to be that of the other, otherwise nothing.

    ``parts``: modules that may be in it; theirs are boxes that take the same values on both sides.
    """
    boxes = "".join(
        f"(* blackbox *)\nmodule {name} ({found[2]});\n{''.join(_PORT.findall(found[3]))}endmodule\n"
        for name, text in (parts or {}).items()
        if name != top and f"\n  {name} " in gold and (found := _MODULE.match(text))
    )
    script = _PROOF.format(top=f"\\{top.removeprefix(chr(92))}")
    with tempfile.TemporaryDirectory(prefix="twinphase-equal-") as folder:
        for side, text in (("gold", gold), ("gate", gate)):
            (Path(folder) / f"{side}.v").write_text(boxes + text)
        (Path(folder) / "proof.ys").write_text(script.replace("; ", "\n"))
        done = subprocess.run([YOSYS, "-q", "proof.ys"], cwd=folder, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr
