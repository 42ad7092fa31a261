"""Delay-line time-to-digital conversion: formats and constants of encoder, calibration and scale (docs/timetagger.md).

A delay line with ``lanes`` TDC clocks per system clock covers ``span_ticks(lanes)``; its table holds the time from hit to sampling
TDC edge in quarter ticks, 0 .. 8 span - 1 (4 span is one TDC clock; what lies beyond is for chains that become faster).
"""

from __future__ import annotations

from .units import TICKS_PER_CLOCK

QUARTER_BITS = 2
"""Fractional bits of a tick in a table entry."""
X_BITS = 16
H_BITS = 25
SIGMA_BITS = 16
SIGMA_SHIFT = 18
"""The scale is 1 + sigma / 2^18."""
EXTENDED_BITS = 24
"""Width of the extended sigma (2^-26) and of its rate per window, signed, saturating."""
EXTENDED_SHIFT = 8
MAX_TAPS = 512
CHAINS = (1, 2, 4, 8)
"""Delay lines that a channel may have."""
CHAINS_ALLOWED = "1, 2, 4 or 8"
HIT_WORD_CHAINS = 4
"""Chains whose codes a 64-bit word of a simulated hit holds, behind the polarity."""
MAX_CAL_LAST = 25
DEFAULT_CAL_STEP = 21
DEFAULT_CAL_LAST = 25

ENCODER_GROUP = 16
"""Taps above the first group of so many without an agreeing tap are not counted; a chain is a whole number of groups."""
GROUP_CODES = 16
MIN_GROUPS = 4

TWIN_TAPS = 448
"""A delay line that is sampled at 250 MHz by so many flip-flops, or more, has twins: a chain of so many taps would cover two spans."""
TWIN_CELLS = 4
"""Cells of two taps that a transition passes while it is on the shortest way through the fabric to a tap's second flip-flop, its twin: so
no twin shows it before the taps of the same encoder group do, and none is cut off with an empty group before it."""

ECHO_SHARE_LOG = 3
"""A bin with more than 8 times as many echoes as hits lies beyond the span, but for jitter: its centre is that of both."""

MEASURED = 8
"""Quarter ticks (2 ps): an entry that would be this close to the end of the span, or beyond, is not measured but continued."""
FIT_NEAR = 16
FIT_FAR = 80
"""A continued entry lies on the line through those so many codes before it: one and five periods of the taps' pattern (8 taps).

The table is accepted with a last code of 80 at least. Through a single period the line would carry the random place of two taps
five times as far.
"""

WINDOW_LOG = 14
GEAR_LIMIT_FRACTION = 1.25e-3
FAST_WINDOWS = 128
MEAN_SHIFT = 2
RESTART = 1 << 17
"""Change of the extended sigma (2^-9) after which the histogram starts again."""
SCALE_CLOCKS = 256
"""From the last hit of a window to the first that the new scale acts on; so many that a serial sum has the time."""


def span_ticks(lanes: int) -> int:
    """Ticks of one TDC clock. ValueError unless lanes is 1 or 2."""
    if lanes not in (1, 2):
        raise ValueError(
            f"delay line: lanes is {lanes}; allowed: 1 (TDC at the system clock) or 2 (twice the system clock)"
        )
    return TICKS_PER_CLOCK // lanes


def code_bits(taps: int) -> int:
    """Bits of a code, which is 0 .. taps - 1. ValueError for a number of taps that no delay line has."""
    if not 2 * ENCODER_GROUP <= taps <= MAX_TAPS or taps % ENCODER_GROUP:
        raise ValueError(f"delay line: taps is {taps}; allowed: multiples of {ENCODER_GROUP} from 32 to {MAX_TAPS}")
    return (taps - 1).bit_length()


def has_twins(taps: int, lanes: int) -> bool:
    """Whether each tap along a chain of ``taps`` flip-flops has two, its own and a twin that it reaches through the fabric."""
    return lanes == 2 and taps >= TWIN_TAPS


def chain_taps(taps: int, twins: bool) -> int:
    """Taps along a chain that ``taps`` flip-flops sample: half of them if each tap has two. ValueError for what no delay line has."""
    code_bits(taps)
    if twins and taps % (2 * ENCODER_GROUP):
        raise ValueError(
            f"delay line: taps is {taps}; allowed from {TWIN_TAPS} on at 2 lanes, where each tap along the chain has two flip-flops: "
            f"multiples of {2 * ENCODER_GROUP}"
        )
    return taps // 2 if twins else taps


def group_codes(taps: int, lanes: int) -> int:
    """Codes whose hits a calibrator adds up before it asks whether hits are spread evenly: of 16 taps along the chain."""
    return 2 * GROUP_CODES if has_twins(taps, lanes) else GROUP_CODES


def sample_order(taps: int, twins: bool) -> tuple[tuple[int, bool], ...]:
    """What each of a chain's ``taps`` flip-flops samples: which tap along it, and whether as that tap's twin; about in order of time.

    Taps in their order; with twins, behind those of cell k (2 k and 2 k + 1) the twins of cell k - TWIN_CELLS, the last ones at the end.
    ValueError as `chain_taps`."""
    cells = chain_taps(taps, twins) // 2
    late = TWIN_CELLS if twins else 0
    order: list[tuple[int, bool]] = []
    for cell in range(cells + late):
        order += [(2 * cell + half, False) for half in range(2) if cell < cells]
        order += [(2 * (cell - late) + half, True) for half in range(2) if twins and cell >= late]
    return tuple(order)


def busy_clocks(bits: int) -> int:
    """System clocks of a busy time: 40 per bin of both polarities, and 64 to settle."""
    return 40 * (2 << bits) + 64


def full_scale(lanes: int) -> int:
    """The span in quarter ticks."""
    return span_ticks(lanes) << QUARTER_BITS


def x_max(lanes: int) -> int:
    """Largest table entry: twice the span in quarter ticks, less 1."""
    return 2 * full_scale(lanes) - 1


def theta(lanes: int) -> int:
    """Quarter ticks beyond which a hit counts for the scale: 31/32 of the span."""
    return full_scale(lanes) - full_scale(lanes) // 32


def scale_target(lanes: int) -> int:
    """Expected sum of ``max(0, y4 - theta)`` over a window of uniform hits: each is ``(span/32)^2 / (2 span) = span/2048`` on average.

    Half a unit of the slow rate is added: the rate's shift rounds down, so that the mean of err settles at this half.
    """
    return ((full_scale(lanes) << WINDOW_LOG) // 2048) + (1 << (-gains(lanes)["slow"][1] - 1))


def uneven_err(lanes: int) -> int:
    """A window with ``-this <= err < this`` and ``-2 this <= bend < 2 this`` is even: 2^16 (span 4 ns) or 2^17.

    Half of the expected sum, a scale error of 0.8 %: 9.8 sigma of an even window's err, 13.9 of its bend. Light on the clock
    that leaves the end of the span dark has twice this.
    """
    return (full_scale(lanes) << WINDOW_LOG) // 4096


def tent_target(lanes: int) -> int:
    """Expected sum of the tent over a window of uniform hits, 2^18 or 2^19.

    The tent is 0 at 30/32 and at 32/32 of the span and span/32 at theta. A scale error s changes it by the fraction 512 s^2
    only, while the flank of a pulse that makes err look like uniform hits changes it by half and more.
    """
    return (full_scale(lanes) << WINDOW_LOG) // 1024


def full_gain_shift(lanes: int) -> int:
    """``ext`` changes by ``err << this`` to correct all of an error.

    The sum grows by ``2^14 * 4S * 63/2048`` per unit of scale, so that a unit of err is ``2^26 * 2048 / (63 * 2^14 * 4S)``
    extended units: 8.1 for 4S = 2^14, 4.1 for 2^15.
    """
    return 3 if lanes == 2 else 2


def gains(lanes: int) -> dict[str, tuple[int, int]]:
    """``{"fastest": (gain shift, rate shift), "fast": ..., "slow": ...}``: left shifts of err (negative: right).

    alpha 1/2 and beta 1/16, 1/4 and 1/64, 1/32 and 1/2048. A window's err has a noise of 8.1e-4 of scale; the slow gear leaves
    1.3e-4. The fastest is for the few windows in which the mean error is large: it takes over a rate that has just begun. The
    rate of the fast gear has to be quiet, as it goes on into the slow one: with beta 1/32 it threw that out of its lock again.
    """
    full = full_gain_shift(lanes)
    return {"fastest": (full - 1, full - 4), "fast": (full - 2, full - 6), "slow": (full - 5, full - 11)}


def gear_limit(lanes: int) -> int:
    """|mean err| from which the scale is moving: a scale error of 1.25e-3, 4.1 sigma of the mean of some four windows.

    Chance alone reaches it once in some 25 000 windows (7 minutes at 1 Mcps), and then costs 128 windows in the fast gear.
    """
    return round(GEAR_LIMIT_FRACTION * (full_scale(lanes) << WINDOW_LOG) * 63 / 2048)
