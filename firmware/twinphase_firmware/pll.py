"""ECP5 PLL arithmetic (EHXPLLL) as plain Python: dividers for an exact output frequency.

With the feedback from CLKOP: ``f_vco = f_in / clki_div * clkfb_div * clkop_div``, ``f_out = f_vco / clkop_div``.
Limits: Lattice FPGA-DS-02012 (ECP5 and ECP5-5G family data sheet), sysCLOCK PLL timing.
"""

from __future__ import annotations

from dataclasses import dataclass

INPUT_HZ = (8e6, 400e6)
PHASE_DETECTOR_HZ = (10e6, 400e6)
VCO_HZ = (400e6, 800e6)
MAX_DIVIDER = 128


@dataclass(frozen=True, kw_only=True)
class PllDividers:
    """Divider settings of EHXPLLL with CLKOP feedback."""

    clki_div: int
    clkfb_div: int
    clkop_div: int
    vco_hz: float

    @property
    def clkop_cphase(self) -> int:
        """Coarse phase that puts CLKOP in phase with the input: divider minus 1."""
        return self.clkop_div - 1


def solve_pll(input_hz: float, output_hz: float) -> PllDividers:
    """Dividers that give exactly ``output_hz``, with the fastest phase detector and then the VCO nearest its middle.

    Raises ValueError when the frequencies are out of range or no exact solution exists.
    """
    if not INPUT_HZ[0] <= input_hz <= INPUT_HZ[1]:
        raise ValueError(
            f"PLL input is {input_hz / 1e6:g} MHz; allowed: {INPUT_HZ[0] / 1e6:g} to {INPUT_HZ[1] / 1e6:g} MHz"
        )
    middle_hz = sum(VCO_HZ) / 2
    solutions = [
        PllDividers(clki_div=i, clkfb_div=fb, clkop_div=op, vco_hz=output_hz * op)
        for i in range(1, MAX_DIVIDER + 1)
        if PHASE_DETECTOR_HZ[0] <= input_hz / i <= PHASE_DETECTOR_HZ[1]
        for fb in range(1, MAX_DIVIDER + 1)
        if input_hz * fb == output_hz * i
        for op in range(1, MAX_DIVIDER + 1)
        if VCO_HZ[0] <= output_hz * op <= VCO_HZ[1]
    ]
    if not solutions:
        raise ValueError(
            f"no PLL setting makes {output_hz / 1e6:g} MHz from {input_hz / 1e6:g} MHz; allowed: ratios of whole numbers "
            f"up to {MAX_DIVIDER} with a VCO of {VCO_HZ[0] / 1e6:g} to {VCO_HZ[1] / 1e6:g} MHz"
        )
    return min(solutions, key=lambda s: (s.clki_div, abs(s.vco_hz - middle_hz)))
