"""Names of tag channels: qL, qR, rL, rR of a server node; ch0, ch1, ... and virtual v0 to v3 of a time tagger."""

from __future__ import annotations

from collections.abc import Sequence

from twinphase_spec.registers import CHANNELS, TIMETAGGER_CHANNELS, NodeType
from twinphase_spec.tagger import COINCIDENCES, VIRTUAL_CHANNEL

from ..errors import TwinphaseError


def channel_name(number: int, node: NodeType = NodeType.SERVER) -> str:
    """The name of channel ``number`` of a node."""
    if node is NodeType.SERVER and number < len(CHANNELS):
        return CHANNELS[number]
    if node is NodeType.TIMETAGGER and VIRTUAL_CHANNEL <= number < VIRTUAL_CHANNEL + COINCIDENCES:
        return f"v{number - VIRTUAL_CHANNEL}"
    return f"ch{number}"


def channel_numbers(node: NodeType, channels: int = TIMETAGGER_CHANNELS) -> tuple[int, ...]:
    """All channels that tags of a node can have; ``channels`` inputs of a time tagger and its virtual channels."""
    if node is NodeType.SERVER:
        return tuple(range(len(CHANNELS)))
    if node is NodeType.TIMETAGGER:
        return (*range(channels), *range(VIRTUAL_CHANNEL, VIRTUAL_CHANNEL + COINCIDENCES))
    return ()


def channel_number(text: str, node: NodeType, channels: int = TIMETAGGER_CHANNELS) -> int:
    """The channel that a user names by number (``2``, ``32``) or by name (``qL``, ``ch2``, ``v0``).

    Raises TwinphaseError, which lists the channels that there are.
    """
    known = channel_numbers(node, channels)
    for number in known:
        if text in (str(number), f"ch{number}", channel_name(number, node)):
            return number
    names = ", ".join(f"{number} ({channel_name(number, node)})" for number in known)
    raise TwinphaseError(f"there is no channel {text}; allowed: {names or 'none, this node has no tags'}")


def distinct(numbers: Sequence[int], what: str) -> tuple[int, ...]:
    """The numbers as a tuple. Raises TwinphaseError when one comes twice."""
    twice = sorted({number for number in numbers if list(numbers).count(number) > 1})
    if twice:
        raise TwinphaseError(f"{what} names channel {twice[0]} twice; allowed: each channel once")
    return tuple(numbers)
