"""Whether a part's carry chains are long enough, and its flip-flops fast enough, for a delay line."""

from __future__ import annotations

import json
import re
from importlib import resources

from twinphase_spec.tagger import TaggerOptions
from twinphase_spec.tdc import chain_taps

SYSTEM_CLOCK_PS = 8000
FAST_FAMILY = "LFE5UM5G"
"""Speed grade 8 of ECP5-5G samples at 250 MHz, other parts at 125 MHz."""


def tap_delays_ps(part: str, corner: str = "typ") -> list[int]:
    """Delay of every tap of 256 on ``part``, at the corner min, typ or max of the tools' model. ValueError for a part without a table."""
    match = re.match(r"(LFE5UM5G|LFE5U)-\d+F-(\d)", part)
    table = resources.files("twinphase_spec") / "taptables" / f"{match[1].lower()}-{match[2]}.json" if match else None
    if table is None or not table.is_file():
        raise ValueError(f"delay lines: part is {part}; allowed: parts with a tap table (LFE5UM5G -8, LFE5U -6)")
    return json.loads(table.read_text(encoding="utf-8"))["taps"][corner]


def check_span(part: str, options: TaggerOptions) -> None:
    """ValueError unless the part samples ``lanes`` times per system clock, and a chain of ``taps`` taps covers that time but not twice.

    By the typical corner of the tools' model; real parts can be faster, and then the last codes of a chain are wide bins, which the
    calibration shows.
    """
    if options.lanes == 2 and not part.startswith(FAST_FAMILY):
        raise ValueError(
            f"delay lines: lanes is 2, 250 MHz; allowed on {part}: 1, as only {FAST_FAMILY} -8 meets 250 MHz"
        )
    delays = tap_delays_ps(part)
    taps = chain_taps(options.taps, options.twins)
    per_tap = (delays[-1] - delays[0]) / (len(delays) - 1)
    span_ps = SYSTEM_CLOCK_PS / options.lanes
    if not span_ps < per_tap * taps < 2 * span_ps:
        raise ValueError(
            f"delay lines: {taps} taps cover {per_tap * taps / 1000:.1f} ns on {part}; allowed: more than the "
            f"{span_ps / 1000:g} ns between two samples and less than twice that"
        )
