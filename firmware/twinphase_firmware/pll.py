"""ECP5 PLL arithmetic (EHXPLLL) as plain Python: dividers for an exact output frequency.

With the feedback from CLKOP: ``f_vco = f_in / clki_div * clkfb_div * clkop_div``, ``f_out = f_vco / clkop_div``. A second output,
CLKOS, has ``f_vco / clkos_div``; both begin a period together when one frequency is a multiple of the other.

That reaches only multiples of ``f_in / clki_div``, which has a lower limit: 125 MHz from 30 MHz would need 5 MHz. Where it fails, the
feedback is from CLKOS3, inside of the PLL (FEEDBK_PATH INT_OS3): ``f_vco = f_in / clki_div * clkfb_div * clkos3_div``, whatever the
outputs' dividers; 30 MHz * 25 = 750 MHz = 6 * 125 MHz. The outputs are then aligned among each other as before, but not with the input,
which nothing here asks for.

Limits: Lattice FPGA-DS-02012 (ECP5 and ECP5-5G family data sheet), sysCLOCK PLL timing; dividers and feedback paths: FPGA-TN-02200. Of
the feedback divider the open tools use 1 to 80 (prjtrellis' ecppll, LiteX), which is kept to. LiteX runs ButterStick's 30 MHz with
INT_OS3.
"""

from __future__ import annotations

from dataclasses import dataclass

INPUT_HZ = (8e6, 400e6)
PHASE_DETECTOR_HZ = (10e6, 400e6)
VCO_HZ = (400e6, 800e6)
MAX_OUTPUT_HZ = 400e6
MAX_DIVIDER = 128
MAX_FEEDBACK_DIVIDER = 80


@dataclass(frozen=True, kw_only=True)
class PllDividers:
    """Divider settings of EHXPLLL."""

    clki_div: int
    clkfb_div: int
    clkop_div: int
    vco_hz: float
    clkos_div: int = 0
    """0: CLKOS is not used."""
    clkos3_div: int = 0
    """0: the feedback is from CLKOP, else from CLKOS3."""

    @property
    def feedback_path(self) -> str:
        """EHXPLLL's FEEDBK_PATH."""
        return "INT_OS3" if self.clkos3_div else "CLKOP"

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
    """Dividers that give exactly ``output_hz``, with the fastest phase detector and then the VCO nearest its middle; with the feedback
    from CLKOP if that has a solution, else from CLKOS3.

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
    outputs = [
        op
        for op in range(1, MAX_DIVIDER + 1)
        if max(output_hz, second_hz) <= MAX_OUTPUT_HZ
        and VCO_HZ[0] <= output_hz * op <= VCO_HZ[1]
        and not (second_hz and output_hz * op % second_hz)
    ]
    references = [i for i in range(1, MAX_DIVIDER + 1) if PHASE_DETECTOR_HZ[0] <= input_hz / i <= PHASE_DETECTOR_HZ[1]]
    paths = [
        (i, op, fb, 0)
        for i in references
        for fb in range(1, MAX_FEEDBACK_DIVIDER + 1)
        if input_hz * fb == output_hz * i
        for op in outputs
    ] or [
        (i, op, round(times / os3), os3)
        for i in references
        for op in outputs
        if (times := output_hz * op * i / input_hz) == round(times)
        for os3 in range(1, MAX_DIVIDER + 1)
        if times % os3 == 0 and times / os3 <= MAX_FEEDBACK_DIVIDER and output_hz * op / os3 <= MAX_OUTPUT_HZ
    ]
    solutions = [
        PllDividers(
            clki_div=i,
            clkfb_div=fb,
            clkop_div=op,
            vco_hz=output_hz * op,
            clkos_div=round(output_hz * op / second_hz) if second_hz else 0,
            clkos3_div=os3,
        )
        for i, op, fb, os3 in paths
    ]
    if not solutions:
        wanted = f"{output_hz / 1e6:g}" + (f" and {second_hz / 1e6:g}" if second_hz else "")
        raise ValueError(
            f"no PLL setting makes {wanted} MHz from {input_hz / 1e6:g} MHz; allowed: ratios of whole numbers "
            f"up to {MAX_DIVIDER} with a VCO of {VCO_HZ[0] / 1e6:g} to {VCO_HZ[1] / 1e6:g} MHz, a phase detector of at least "
            f"{PHASE_DETECTOR_HZ[0] / 1e6:g} MHz and outputs of at most {MAX_OUTPUT_HZ / 1e6:g} MHz"
        )
    return min(solutions, key=lambda s: (s.clki_div, abs(s.vco_hz - middle_hz), s.clkos3_div))
