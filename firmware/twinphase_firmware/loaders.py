"""The tools that load a bitstream into a board, and the command line of each.

Every board names its tools in the order in which they are looked for. Options are those of the tools' own help: openFPGALoader
``-b`` board, ``-m`` memory, ``-f`` flash; ecpprog ``-S`` memory; iceprog ``-S`` memory; fujprog ``-j`` target; apollo
``configure`` for memory, ``flash-program`` for flash. None was run on a board here.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass

from twinphase.errors import TwinphaseError

INSTALL = {
    "openFPGALoader": "apt install openfpgaloader, brew install openfpgaloader, or github.com/trabucayre/openFPGALoader",
    "ecpprog": "github.com/gregdavill/ecpprog",
    "fujprog": "github.com/kost/fujprog",
    "apollo": "pip install apollo-fpga",
    "iceprog": "apt install fpga-icestorm, or github.com/YosysHQ/icestorm",
}


@dataclass(frozen=True, kw_only=True)
class Loader:
    """One tool as it is called for one board. ``memory``, ``flash``: its options for loading until power-off and for good; None: it
    cannot, or not on this board."""

    tool: str
    memory: tuple[str, ...] | None
    flash: tuple[str, ...] | None

    def options(self, flash: bool) -> tuple[str, ...] | None:
        """The tool's options before the file."""
        return self.flash if flash else self.memory


def _open_fpga_loader(*options: str) -> Loader:
    return Loader(tool="openFPGALoader", memory=(*options, "-m"), flash=(*options, "-f"))


_ECPPROG = Loader(tool="ecpprog", memory=("-S",), flash=())
_ULX3S = (
    _open_fpga_loader("-b", "ulx3s"),
    Loader(tool="fujprog", memory=("-j", "sram"), flash=("-j", "flash")),
)
LOADERS: dict[str, tuple[Loader, ...]] = {
    "ecpix5-85f": (_open_fpga_loader("-b", "ecpix5"), _ECPPROG),
    "ulx3s-85f": _ULX3S,
    "ulx3s-25f": _ULX3S,
    "versa-ecp5-5g": (_ECPPROG, _open_fpga_loader("-c", "ft2232")),
    "butterstick": (_ECPPROG, _open_fpga_loader("-c", "ft2232")),
    "ice40-hx8k": (
        Loader(tool="iceprog", memory=("-S",), flash=()),
        Loader(tool="openFPGALoader", memory=None, flash=("-b", "ice40_generic", "-f")),
    ),
    "cynthion": (Loader(tool="apollo", memory=("configure",), flash=("flash-program",)),),
}
"""By name of the board (`boards.BOARDS`)."""

NOTES = {
    "cynthion": "its debug controller listens at the socket CONTROL; `apollo info` says whether it is seen",
    "versa-ecp5-5g": "its jumper J50 must leave the ECP5 alone in the JTAG chain",
    "butterstick": "it has no bridge of its own: a JTAG adapter with an FT2232 must be on its header",
    "ice40-hx8k": "its jumpers select flash or memory: those of the mode that is loaded must be set (Lattice FPGA-EB-02031)",
}
"""What a board needs beside a tool."""


def check_board(name: str) -> str:
    """The name, if a board is called so. TwinphaseError lists the boards there are. (`boards` has more of them, and needs Amaranth.)"""
    if name not in LOADERS:
        raise TwinphaseError(f"board {name} is not known; allowed: {', '.join(sorted(LOADERS))}")
    return name


def find_loader(board: str, *, flash: bool, tool: str | None = None) -> tuple[Loader, str]:
    """The first tool for ``board`` on PATH (or ``tool``, if given), and its path. TwinphaseError, which says how to install one, if none
    is there."""
    able = [loader for loader in LOADERS[board] if loader.options(flash) is not None]
    names = [loader.tool for loader in able]
    where = "flash" if flash else "memory"
    if tool is not None and tool not in names:
        raise TwinphaseError(f"{tool} does not load the {where} of {board}; allowed: {', '.join(names)}")
    for loader in able:
        if tool in (None, loader.tool) and (path := shutil.which(loader.tool)):
            return loader, path
    wanted = names if tool is None else [tool]
    hints = "; ".join(f"{name}: {INSTALL[name]}" for name in wanted)
    raise TwinphaseError(
        f"no tool is on PATH that loads the {where} of {board}; install {' or '.join(wanted)} ({hints})"
    )


def command_line(loader: Loader, path: str, bitstream: str, *, flash: bool, extra: Sequence[str] = ()) -> list[str]:
    """The command that loads ``bitstream``; ``extra`` options go before the file. ValueError if this tool cannot."""
    options = loader.options(flash)
    if options is None:
        raise ValueError(f"{loader.tool} cannot load {'flash' if flash else 'memory'} here")
    return [path, *options, *extra, bitstream]
