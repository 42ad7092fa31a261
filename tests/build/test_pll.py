"""PLL arithmetic of the boards."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinphase_firmware import pll


@pytest.mark.parametrize("board_mhz", [12, 25, 30, 50, 100, 125])
def test_every_board_clock_makes_125_mhz_exactly(board_mhz: int) -> None:
    if board_mhz == 12:
        with pytest.raises(ValueError, match=r"no PLL setting makes 125 MHz from 12 MHz"):
            pll.solve_pll(12e6, 125e6)  # 125/12 needs a phase detector below its 10 MHz
        return
    found = pll.solve_pll(board_mhz * 1e6, 125e6)
    assert board_mhz * 1e6 / found.clki_div * found.clkfb_div * (found.clkos3_div or found.clkop_div) == found.vco_hz
    assert found.vco_hz == 125e6 * found.clkop_div
    assert found.feedback_path == ("INT_OS3" if board_mhz == 30 else "CLKOP")


def test_a_feedback_of_its_own_reaches_what_the_first_output_cannot() -> None:
    """ButterStick's oscillator: all three clocks of a node with delay lines and Ethernet."""
    found = pll.solve_pll(30e6, 125e6, second_hz=250e6)
    assert found == pll.PllDividers(clki_div=1, clkfb_div=5, clkop_div=6, vco_hz=750e6, clkos_div=3, clkos3_div=5)
    assert found.vco_hz / found.half_div == 62.5e6


@given(st.integers(1, 500), st.integers(1, 500))
def test_solutions_keep_the_data_sheet_limits(input_mhz: int, output_mhz: int) -> None:
    try:
        found = pll.solve_pll(input_mhz * 1e6, output_mhz * 1e6)
    except ValueError:
        return  # out of the data sheet's range, or no exact ratio
    assert pll.VCO_HZ[0] <= found.vco_hz <= pll.VCO_HZ[1]
    assert pll.PHASE_DETECTOR_HZ[0] <= input_mhz * 1e6 / found.clki_div <= pll.PHASE_DETECTOR_HZ[1]
    assert found.vco_hz == output_mhz * 1e6 * found.clkop_div
    fed_back = found.clkos3_div or found.clkop_div
    assert found.vco_hz * found.clki_div == input_mhz * 1e6 * found.clkfb_div * fed_back
    assert found.vco_hz / fed_back <= pll.MAX_OUTPUT_HZ
    assert 1 <= found.clkfb_div <= pll.MAX_FEEDBACK_DIVIDER
    if found.clkos3_div:  # only where the other path has no setting
        assert not any(
            input_mhz * fb == output_mhz * i and input_mhz >= 10 * i for i in range(1, 129) for fb in range(1, 81)
        )


@pytest.mark.parametrize("board_mhz", [25, 30, 50, 100, 125])
def test_the_second_output_is_twice_the_first_and_aligned_with_it(board_mhz: int) -> None:
    found = pll.solve_pll(board_mhz * 1e6, 125e6, second_hz=250e6)
    assert found.vco_hz == 125e6 * found.clkop_div == 250e6 * found.clkos_div
    assert pll.VCO_HZ[0] <= found.vco_hz <= pll.VCO_HZ[1]
    # An output rises CPHASE + 1 periods of the VCO after the dividers' start, and every DIV periods then.
    rises = [
        {phase + 1 + period * divider for period in range(20)}
        for phase, divider in ((found.clkop_cphase, found.clkop_div), (found.clkos_cphase, found.clkos_div))
    ]
    common = range(1, 10 * found.clkop_div)
    assert set(common) & rises[0] <= rises[1]
    assert len(set(common) & rises[1]) == 2 * len(set(common) & rises[0]) + 1


def test_without_a_second_output_nothing_changes() -> None:
    assert pll.solve_pll(25e6, 125e6).clkos_div == 0


@pytest.mark.parametrize(
    ("second_mhz", "words"),
    [
        (200, "second output is 200 MHz; allowed: whole multiples of the first"),
        (1000, "no PLL setting makes 125 and 1000 MHz"),
    ],
)
def test_a_second_output_out_of_reach_is_refused(second_mhz: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        pll.solve_pll(25e6, 125e6, second_hz=second_mhz * 1e6)
