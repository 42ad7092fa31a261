"""How long a herald waits at the clients, and so how far behind its psi may come."""

from __future__ import annotations

from .lab import Lab
from .packets import FLUSH_BITS, Stream
from .sns import RING_HERALDS
from .units import CLOCK_HZ

FREE = 0.75
"""Part of a ring that may be taken on average; the rest is for fluctuations."""


def exchange_s(lab: Lab) -> float:
    """From a herald's psi at the server until its block is done: a flight, the flushes of herald and psi packets and three exchanges
    between the clients (each twice the flight, by way of the server)."""
    flush_s = (1 << FLUSH_BITS[Stream.PEER]) / CLOCK_HZ
    return lab.fibre.flight_s + 4 * (2 * lab.fibre.flight_s + 2 * flush_s)


def held_heralds(lab: Lab, heralds_hz: float, psi_s: float) -> float:
    """Heralds in a client's ring where psi comes up to ``psi_s`` after its herald: at most two blocks, and what comes meanwhile."""
    return heralds_hz * (psi_s + exchange_s(lab)) + 2 * lab.protocol.block_heralds


def most_psi_s(lab: Lab, heralds_hz: float) -> float:
    """The longest wait for a psi that the ring allows; below 0 where none does."""
    if heralds_hz <= 0:
        return float("inf")
    return (FREE * RING_HERALDS - 2 * lab.protocol.block_heralds) / heralds_hz - exchange_s(lab)
