"""PEER packets between two users by way of a computer that neither of them trusts: authenticated, in their order, none twice.

    sealed = packet | first 16 bytes of HMAC-SHA256(K, packet)
    K = HMAC-SHA256(digest_key, "twinphase peer" | run as 8 bytes, little-endian | name of the sender)

A packet's header has its number, one more than that of the packet before (docs/udp.md). So a packet that was changed or made up, comes
again or from another run, or follows one that was left out, is told. Computational security, as that of the symbols. Source: FIPS 198-1
(HMAC), FIPS 180-4 (SHA-256).
"""

from __future__ import annotations

import hmac

from twinphase_spec.packets import HEADER_WORDS

from ..errors import TwinphaseError
from .secrets import ClientSecrets, Role

TAG_BYTES = 16
DOMAIN = b"twinphase peer"


class Seal:
    """Of the packets that ``sender`` sends in a run."""

    def __init__(self, secrets: ClientSecrets, run: int, sender: Role) -> None:
        key = b"".join(word.to_bytes(4, "little") for word in secrets.digest_key)
        self._key = hmac.digest(key, DOMAIN + run.to_bytes(8, "little") + sender.encode(), "sha256")
        self._sender = sender
        self._next: int | None = None

    def close(self, packet: bytes) -> bytes:
        """``packet`` and its tag."""
        return packet + self._tag(packet)

    def open(self, sealed: bytes) -> bytes:
        """The packet, the first of any number, then the one that follows. TwinphaseError for any other."""
        packet, tag = sealed[:-TAG_BYTES], sealed[-TAG_BYTES:]
        if len(packet) < 4 * HEADER_WORDS or not hmac.compare_digest(self._tag(packet), tag):
            raise TwinphaseError(
                f"a PEER packet is not as {self._sender} sent it: it was changed or made up on its way, or the users' secrets are of "
                "two pairs"
            )
        number = int.from_bytes(packet[4:8], "little")
        if self._next not in (None, number):
            raise TwinphaseError(f"PEER packet {number} of {self._sender} came where {self._next} was to come")
        self._next = (number + 1) & 0xFFFFFFFF
        return packet

    def _tag(self, packet: bytes) -> bytes:
        return hmac.digest(self._key, packet, "sha256")[:TAG_BYTES]
