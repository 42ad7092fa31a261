"""A clock from outside in the place of a board's oscillator: which boards and builds can take it, and which frequencies.

The node then counts that clock: several boards on one source have one time base, and a 10 MHz standard disciplines a time tagger by
itself (docs/boards.md). While the clock is not there the PLL is not locked and all registers are held at their initial values: the node
answers nothing and makes no tags, and what comes back afterwards has started anew, which hosts see.
"""

from __future__ import annotations

from twinphase.errors import TwinphaseError
from twinphase_spec.tagger import TaggerOptions
from twinphase_spec.units import CLOCK_HZ

from .boards import Board
from .clientoptions import ClientOptions
from .pll import INPUT_HZ, solve_pll


def check_reference(board: Board, options: TaggerOptions | ClientOptions | None, reference_hz: int) -> None:
    """TwinphaseError where the board, the build or the part's PLL cannot take a clock of ``reference_hz``."""
    if board.reference_pin is None:
        raise TwinphaseError(f"board {board.name} has no pin for a clock from outside; it counts its oscillator")
    if isinstance(options, ClientOptions) and (options.symbols == "ring" or options.outputs == "dac"):
        what = "symbols 'ring'" if options.symbols == "ring" else "outputs 'dac'"
        raise TwinphaseError(f"client with {what}: no pin is left for a clock from outside on {board.name}")
    twice = isinstance(options, TaggerOptions) and (options.frontend == "oversampling" or options.lanes == 2)
    try:
        solve_pll(reference_hz, CLOCK_HZ, second_hz=2 * CLOCK_HZ if twice else 0)
    except ValueError as error:
        raise TwinphaseError(
            f"a clock of {reference_hz / 1e6:g} MHz cannot be taken: {error}; 10, 25, 50, 100 and 125 MHz can"
            if INPUT_HZ[0] <= reference_hz <= INPUT_HZ[1]
            else f"a clock of {reference_hz / 1e6:g} MHz cannot be taken: {error}"
        ) from error
