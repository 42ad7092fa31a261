"""Cynthion (Great Scott Gadgets) r1.4, of which amaranth-boards knows nothing: what a node uses of it.

Pins: the project's own platform (github.com/greatscottgadgets/cynthion, ``cynthion_r1_4.py``; those named here are the same in r1.2 and
r1.3). Of the three USB sockets AUX is used: its PHY is the FPGA's alone, while CONTROL's is lent by the debug controller, which also
loads bitstreams through it.
"""

from __future__ import annotations

from typing import Any

from amaranth.build import Attrs, Clock, Connector, Pins, Resource
from amaranth.hdl import Fragment, Module
from amaranth.lib import io
from amaranth.vendor import LatticePlatform
from amaranth_boards.resources import ULPIResource

LVCMOS33 = Attrs(IO_TYPE="LVCMOS33")
TO_VCCIO = "E6 E7 D10 E10 E11 F12 J12 K12 L12 N13 P13 M11 P11 P12 L4 M4 R5 M5 N5 P4 M6 F5 G5 H5 H4 J4 J5 J3 J1 J2 R6"
TO_GROUND = "E5 E8 E9 E12 F13 M13 M12 N12 N11 L5 L3 M3 N6 P5 P6 F4 G2 G3 H3 H2"
"""Pins that the board ties to a supply and that are driven to the same level, which lends the I/O banks more current."""


class CynthionPlatform(LatticePlatform):
    """Oscillator, the PHY behind AUX, both Pmods. The speed grade is the slowest: what meets timing at it does at the others."""

    device = "LFE5U-12F"
    package = "BG256"
    speed = "6"
    default_clk = "clk_60MHz"
    ulpi_extra_registers = {0x39: 0b000110}  # noqa: RUF012 - LUNA looks here: USB334x swaps D+ and D-, which are crossed on the board
    resources = [  # noqa: RUF012
        Resource("clk_60MHz", 0, Pins("A8", dir="i"), Clock(60e6), LVCMOS33),
        Resource("to_vccio", 0, Pins(TO_VCCIO, dir="o"), LVCMOS33),
        Resource("to_ground", 0, Pins(TO_GROUND, dir="o"), LVCMOS33),
        ULPIResource(
            "aux_phy",
            0,
            data="F16 G15 G16 H15 J15 J16 K15 K16",
            clk="D16",
            clk_dir="o",
            dir="E16",
            nxt="F15",
            stp="E15",
            rst="J13",
            rst_invert=True,
            attrs=Attrs(IO_TYPE="LVCMOS33", SLEWRATE="FAST"),
        ),
    ]
    connectors = [  # noqa: RUF012
        Connector("pmod", 0, "C9 B9 D11 C12 - - C8 D8 D9 C10 - -"),  # A
        Connector("pmod", 1, "B4 B5 B6 B7 - - C5 A5 A6 A7 - -"),  # B
    ]

    def prepare(self, elaboratable: Any, name: str = "top", **options: Any) -> Any:
        fragment = Fragment.get(elaboratable, self)
        supplies = Module()
        for level, resource in enumerate(("to_ground", "to_vccio")):
            supplies.submodules[resource] = pins = io.Buffer("o", self.request(resource, dir="-"))
            supplies.d.comb += pins.o.eq(-level)
        fragment.add_subfragment(Fragment.get(supplies, self), "supplies")
        return super().prepare(fragment, name, **options)
