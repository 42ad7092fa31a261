"""A board's link while somebody watches its node: what it says now, and what it has counted since it was first asked."""

from __future__ import annotations

import time
from typing import Any

from ..errors import DeviceError
from .udp_link import UdpLinkDevice

TRIES = 2
"""A host on the network that has no link and says nothing costs so many waits of 0.25 s, once."""
AGAIN_S = 5.0
"""A link that did not answer is asked again after so long: meanwhile nobody waits for it."""
COUNT_MASK = 0xFFFFFFFF


class LinkWatch:
    """The link of the node at ``url`` (``udp://host[:port]``). Close it. DeviceError where there is none."""

    def __init__(self, url: str) -> None:
        self._link = UdpLinkDevice(url, tries=TRIES)
        try:
            self._last: dict[str, Any] = dict(self._link.state())
        except DeviceError:
            self._link.close()
            raise
        self._first: dict[str, int] = self._last["counters"]
        self._read_s = time.monotonic()
        self._failed_s: float | None = None

    def close(self) -> None:
        self._link.close()

    def state(self) -> dict[str, Any]:
        """`UdpLinkDevice.state` of now, or the last one that came; ``since_opened``: the counters' growth, mod 2^32; ``age_s``: how long
        ago it was read, 0 of now. Takes up to 0.5 s, and that every AGAIN_S only, while the link is silent."""
        now = time.monotonic()
        if self._failed_s is None or now - self._failed_s >= AGAIN_S:
            try:
                self._last = dict(self._link.state())
                self._read_s, self._failed_s = now, None
            except DeviceError:
                self._failed_s = time.monotonic()
        counters: dict[str, int] = self._last["counters"]
        grown = {name: (count - self._first[name]) & COUNT_MASK for name, count in counters.items()}
        return self._last | {"since_opened": grown, "age_s": now - self._read_s}


def watch_link(url: str) -> LinkWatch | None:
    """A watch of the link behind a device's URL; None where there is none: recordings, other transports, virtual nodes."""
    if not url.startswith("udp://"):
        return None
    try:
        return LinkWatch(url)
    except DeviceError:
        return None


def link_rows(state: dict[str, Any]) -> list[tuple[str, str, bool]]:
    """Name, text and whether all is well, for a table; counters that are not 0, and how much they have grown."""
    group = f", group {state['group']}" if state["group"] else ""
    text = f"{state['mac']} at {state['ip']}, {state['subscribers']} subscribers{group}"
    if silent := state["age_s"] > 0:
        text += f"; has not answered for {state['age_s']:.0f} s"
    grown = state["since_opened"]
    counts = [
        f"{name.lower()} {count:,}" + (f" (+{grown[name]:,})" if grown[name] else "")
        for name, count in state["counters"].items()
        if count or grown[name]
    ]
    return [("link", text, not silent), ("link counts", "  ".join(counts) or "all 0", True)]
