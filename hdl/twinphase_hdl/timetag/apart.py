"""Reset values that keep registers of channels apart."""

from .sizes import Sizes


def apart(number: int, sizes: Sizes) -> tuple[int, int]:
    """Clock counts before the first one, of two registers that follow each other, for channel ``number``.

    All channels have the same clock counts. Of registers with the same input and reset value synthesis makes one, bit by bit, which
    then lies far from most of them: with one reset value for every bit of a register, 0 or -1 (the clock before the first, so a bound
    is still one), two registers are four kinds. Channels 2k and 2k + 1, which meet first in the merge tree, share.
    """
    before = (1 << sizes.coarse_bits) - 1
    return before * (number >> 2 & 1), before * (number >> 1 & 1)
