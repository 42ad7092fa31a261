"""Where a lab's clients have their symbols from, and whether a ring holds them until their heralds come (docs/symbols.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from .frame import LAG_CLOCKS
from .packets import FLUSH_BITS, Stream
from .symbol_ring import RingConfig
from .units import CLOCK_HZ

if TYPE_CHECKING:
    from .lab import Lab

Source = Literal["aes", "qrng"]
MESSAGE_CLOCKS = 4096
"""Messages take at least this long (33 us) also over the shortest fibre: switches and sockets are not instant."""
QUEUE_CLOCKS = 512 * 8
"""A full queue of heralds that wait for the digest."""


def recall_s(lab: Lab) -> float:
    """From the emission of a pulse to the recall of its symbol, at most: there, through the server, back and out of the queue."""
    clocks = 2 * LAG_CLOCKS + (1 << FLUSH_BITS[Stream.HERALD_CODE]) + QUEUE_CLOCKS
    return lab.fibre.flight_s + clocks / CLOCK_HZ + max(lab.fibre.flight_s, MESSAGE_CLOCKS / CLOCK_HZ)


def check_symbol_source(lab: Lab) -> None:
    """ValueError where a ring cannot be made, or forgets symbols before their heralds come."""
    if lab.clients.symbols == "aes":
        return
    ring = RingConfig(symbols=lab.clients.ring_symbols)
    needed = recall_s(lab) * lab.frame.pulse_rate_hz
    if needed > ring.held_symbols:
        raise ValueError(
            f"clients.symbols is 'qrng', and heralds come back up to {recall_s(lab) * 1e3:.3f} ms after their pulses, "
            f"{needed:.0f} symbols; allowed: the {ring.held_symbols} that a ring of {ring.symbols} holds, or symbols 'aes'"
        )
