"""A node as a USB device (docs/usb.md): one interface of the vendor's own class with two bulk endpoints.

Each endpoint carries the byte stream of a serial port: the frames that `twinphase_spec.packets` describes, wherever USB packets begin.
"""

from __future__ import annotations

VENDOR_ID, PRODUCT_ID = 0x1209, 0x0002
"""One of the identifiers that pid.codes (1209:0001 to 0010) leaves to tests on one's own desk. Devices of others may have it too, so a
host looks at `MANUFACTURER` and `PRODUCT` as well. It must not be sold: a product needs one of its own."""
MANUFACTURER = "Twinphase"
PRODUCT = "Twinphase node"
DEFAULT_SERIAL = "1"
MAX_SERIAL = 32
"""Characters of a serial number, which a build gives its board: letters, digits, ``-`` and ``_``."""

INTERFACE = 0
VENDOR_CLASS = 0xFF
ENDPOINT = 1
ENDPOINT_IN, ENDPOINT_OUT = 0x80 | ENDPOINT, ENDPOINT
"""Addresses: to the host, and from it."""
PACKET_BYTES = 512
"""Longest packet of a bulk endpoint at high speed. At full speed it would be 64: a node has no such endpoints."""

IDLE_SECONDS = 32e-6
"""A transfer to the host ends with a short packet when nothing more to send came for so long."""
TRANSFER_SECONDS = 2e-3
"""And when it has lasted for so long, so that a host that asks for much is not kept waiting by little."""


def check_serial(serial: str) -> None:
    """ValueError for what cannot be a serial number."""
    if not 1 <= len(serial) <= MAX_SERIAL or any(not (c.isascii() and (c.isalnum() or c in "-_")) for c in serial):
        raise ValueError(f"USB serial number is {serial!r}; allowed: 1 to {MAX_SERIAL} letters, digits, '-' and '_'")
