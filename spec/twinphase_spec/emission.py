"""Corrections of a client's emission: what gateware, model and host share (docs/alignment.md, Emission)."""

from __future__ import annotations

PULSES_BITS = 32
"""Of EMIT_PULSES, signed: whole pulses K."""
FRACTION_BITS = 13
"""Of EMIT_FRACTION, in ticks; a period, 8192 / lanes ticks, is the first that is refused."""
SLOT_STEP = 8
"""Corrections begin, and light resumes, in slots that are multiples of this: where clocks begin, with any number of lanes."""
QUEUE = 16
"""Corrections that wait for their slots at most."""
LEAD_SLOTS = 1 << 12
"""A correction's slot lies at least so far ahead when it is written: 4 us at 1 GHz."""
APART_SLOTS = 1 << 17
"""Slots from one correction's to the next's at least: 131 us at 1 GHz."""
MOST_STEP = 1 << 12
"""A correction changes whole pulses by -MOST_STEP to MOST_STEP - 1."""
DARK_SLOTS = 32
"""Slots without light from the first of another K on, at least: its symbols are on their way."""
