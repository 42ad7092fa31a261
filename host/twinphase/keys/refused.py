"""The error of everything that a peer sends and must not send."""

from __future__ import annotations

from ..errors import TwinphaseError


class Refused(TwinphaseError):
    """A message of the peer, or a step of one's own, that the protocol does not allow; nothing was revealed by refusing."""
