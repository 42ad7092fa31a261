"""ECP5 PLL arithmetic (EHXPLLL) as plain Python: dividers for an exact output frequency.

With the feedback from CLKOP: ``f_vco = f_in / clki_div * clkfb_div * clkop_div``, ``f_out = f_vco / clkop_div``. A second output,
CLKOS, has ``f_vco / clkos_div``; both begin a period together when one frequency is a multiple of the other.
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
    clkos_div: int = 0
    """0: CLKOS is not used."""

    @property
    def clkop_cphase(self) -> int:
        """Coarse phase that puts CLKOP in phase with the input: divider minus 1."""
        return self.clkop_div - 1

    @property
    def clkos_cphase(self) -> int:
        """The same for CLKOS, so that its edges and those of CLKOP are aligned."""
        return self.clkos_div - 1

    @property
    def half_div(self) -> int:
        """Of CLKOS2, where it gives half the frequency of CLKOP; at most MAX_DIVIDER, as the VCO is not above 800 MHz and CLKOP not below
        12.5 MHz."""
        return 2 * self.clkop_div

    @property
    def half_cphase(self) -> int:
        """Every edge of it together with one of CLKOP."""
        return self.half_div - 1


def solve_pll(input_hz: float, output_hz: float, *, second_hz: float = 0) -> PllDividers:
    """Dividers that give exactly ``output_hz``, with the fastest phase detector and then the VCO nearest its middle.

    With ``second_hz`` CLKOS gives exactly this; it must be a whole multiple of ``output_hz``.

    Raises ValueError when the frequencies are out of range or no exact solution exists.
    """
    if not INPUT_HZ[0] <= input_hz <= INPUT_HZ[1]:
        raise ValueError(
            f"PLL input is {input_hz / 1e6:g} MHz; allowed: {INPUT_HZ[0] / 1e6:g} to {INPUT_HZ[1] / 1e6:g} MHz"
        )
    if second_hz % output_hz:
        raise ValueError(
            f"the PLL's second output is {second_hz / 1e6:g} MHz; allowed: whole multiples of the first, {output_hz / 1e6:g} MHz"
        )
    middle_hz = sum(VCO_HZ) / 2
    solutions = [
        PllDividers(
            clki_div=i,
            clkfb_div=fb,
            clkop_div=op,
            vco_hz=output_hz * op,
            clkos_div=round(output_hz * op / second_hz) if second_hz else 0,
        )
        for i in range(1, MAX_DIVIDER + 1)
        if PHASE_DETECTOR_HZ[0] <= input_hz / i <= PHASE_DETECTOR_HZ[1]
        for fb in range(1, MAX_DIVIDER + 1)
        if input_hz * fb == output_hz * i
        for op in range(1, MAX_DIVIDER + 1)
        if VCO_HZ[0] <= output_hz * op <= VCO_HZ[1]
        if not second_hz or output_hz * op % second_hz == 0
    ]
    if not solutions:
        wanted = f"{output_hz / 1e6:g}" + (f" and {second_hz / 1e6:g}" if second_hz else "")
        raise ValueError(
            f"no PLL setting makes {wanted} MHz from {input_hz / 1e6:g} MHz; allowed: ratios of whole numbers "
            f"up to {MAX_DIVIDER} with a VCO of {VCO_HZ[0] / 1e6:g} to {VCO_HZ[1] / 1e6:g} MHz"
        )
    return min(solutions, key=lambda s: (s.clki_div, abs(s.vco_hz - middle_hz)))
