"""iCE40 PLL arithmetic (SB_PLL40) as plain Python: dividers for an exact output frequency.

With FEEDBACK_PATH SIMPLE: ``f_vco = f_in / (divr + 1) * (divf + 1)``, ``f_out = f_vco / 2^divq``.
Limits: Lattice FPGA-DS-02029 (iCE40 LP/HX family data sheet), sysCLOCK PLL timing; FILTER_RANGE: FPGA-TN-02052.
"""

from __future__ import annotations

from dataclasses import dataclass

INPUT_HZ = (10e6, 133e6)
VCO_HZ = (533e6, 1066e6)
OUTPUT_HZ = (16e6, 275e6)
FILTER_HZ = (17e6, 26e6, 44e6, 66e6, 101e6, 133e6)
"""Phase detector frequencies below which FILTER_RANGE is 1, 2 and so on."""


@dataclass(frozen=True, kw_only=True)
class Ice40Dividers:
    """Settings of SB_PLL40."""

    divr: int
    divf: int
    divq: int
    filter_range: int


def solve_pll(input_hz: float, output_hz: float) -> Ice40Dividers:
    """Dividers that give exactly ``output_hz``, with the fastest phase detector. ValueError when there are none."""
    for name, value, (low, high) in (("input", input_hz, INPUT_HZ), ("output", output_hz, OUTPUT_HZ)):
        if not low <= value <= high:
            raise ValueError(f"PLL {name} is {value / 1e6:g} MHz; allowed: {low / 1e6:g} to {high / 1e6:g} MHz")
    for divr in range(16):
        reference = input_hz / (divr + 1)
        if reference < INPUT_HZ[0]:
            break
        for divq in range(1, 7):
            for divf in range(128):
                vco = reference * (divf + 1)
                if vco == output_hz * (1 << divq) and VCO_HZ[0] <= vco <= VCO_HZ[1]:
                    filter_range = next((k for k, limit in enumerate(FILTER_HZ, 1) if reference < limit), 6)
                    return Ice40Dividers(divr=divr, divf=divf, divq=divq, filter_range=filter_range)
    raise ValueError(
        f"no PLL setting makes {output_hz / 1e6:g} MHz from {input_hz / 1e6:g} MHz; allowed: ratios with a VCO of "
        f"{VCO_HZ[0] / 1e6:g} to {VCO_HZ[1] / 1e6:g} MHz"
    )
