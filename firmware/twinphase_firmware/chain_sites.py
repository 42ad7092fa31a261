"""Where the delay lines of a part lie.

An ECP5 has rows of logic tiles that run through from column 2 to the last but one; some rows hold block RAM and multipliers instead. A
carry chain runs to higher columns, eight taps per tile; its injector is in the tile before its first tap. Chains end at the right edge,
where the detector pins of most boards are, and further ones lie left of these. ButterStick's pins are at the left edge; chains there were
tried once, and left the encoders at an estimated 206 MHz of 250 after placement.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from twinphase_spec.tdc import CHAINS, CHAINS_ALLOWED, code_bits

TAPS_PER_TILE = 8
FIRST_COLUMN = 2
FIRST_ROW = 2
ROWS_PER_CHANNEL = 8
"""Rows from one channel's first chain to the next one's, if there is room: an encoder and what follows it lie between."""


@dataclass(frozen=True)
class _Die:
    last_column: int
    last_row: int
    block_rows: frozenset[int]
    """Rows of block RAM and multipliers."""


_DIES = {
    "12F": _Die(70, 48, frozenset((13, 25, 37))),
    "25F": _Die(70, 48, frozenset((13, 25, 37))),
    "45F": _Die(88, 69, frozenset((10, 22, 34, 46, 58))),
    "85F": _Die(124, 93, frozenset((10, 22, 34, 46, 58, 70, 82))),
}


@dataclass(frozen=True)
class Site:
    """Tile of a chain's injector. Its string is what the netlist carries: ``X4/Y20``."""

    column: int
    row: int
    twin_row: int | None = None
    """Row of the twins of its taps, if they have any: in the same columns."""

    def __str__(self) -> str:
        return f"X{self.column}/Y{self.row}"


def chain_sites(
    part: str, *, channels: int, taps: int, chains: int = 1, twins: bool = False, middle_row: int | None = None
) -> tuple[tuple[Site, ...], ...]:
    """Sites of all chains, ``[channel][chain]``; the chains of a channel lie in neighbouring rows of one column, each with the row of its
    twins behind it if it has ``twins``. ``taps``: along a chain.

    ``middle_row``: row around which the channels lie, the die's middle by default. ValueError for a part that is no ECP5, for a number of
    taps that no delay line has, and for more than the part holds.
    """
    match = re.match(r"LFE5UM?(?:5G)?-(\d+F)", part)
    if match is None or match[1] not in _DIES:
        raise ValueError(f"delay lines: part is {part}; allowed: ECP5 and ECP5-5G (LFE5U, LFE5UM, LFE5UM5G) 12F to 85F")
    if channels < 1 or chains not in CHAINS:
        raise ValueError(
            f"delay lines: {channels} channels of {chains} chains; allowed: at least one channel, {CHAINS_ALLOWED} chains"
        )
    code_bits(taps)
    die = _DIES[match[1]]
    width = 1 + taps // TAPS_PER_TILE
    slots = (die.last_column - FIRST_COLUMN + 1) // width
    rows = [row for row in range(FIRST_ROW, die.last_row + 1) if row not in die.block_rows]
    each = 2 if twins else 1
    height = chains * each
    room = slots * (len(rows) // height)
    if channels > room:
        raise ValueError(
            f"delay lines: {channels} channels of {chains} chains of {taps} taps{' with twins' * twins}; {part} has room for {room}"
        )
    per_slot = -(-channels // slots) if channels * height > len(rows) else channels
    pitch = max(height, min(ROWS_PER_CHANNEL, len(rows) // per_slot))
    used = (per_slot - 1) * pitch + height
    middle = (die.last_row + FIRST_ROW) // 2 if middle_row is None else middle_row
    before = sum(row < middle for row in rows)
    first = min(max(before - used // 2, 0), len(rows) - used)
    return tuple(
        tuple(
            Site(
                die.last_column + 1 - width * (1 + channel // per_slot),
                rows[first + channel % per_slot * pitch + each * chain],
                rows[first + channel % per_slot * pitch + each * chain + 1] if twins else None,
            )
            for chain in range(chains)
        )
        for channel in range(channels)
    )
