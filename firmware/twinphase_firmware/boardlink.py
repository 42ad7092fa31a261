"""How a board's packets leave it: over its serial port, or as UDP over its Ethernet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from twinphase_hdl.link.ethernet import Address
from twinphase_hdl.link.udpport import LINK_PORT, NODE_PORT, REGISTER_PORT

Kind = Literal["serial", "udp"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, kw_only=True)
class BoardLink:
    """``kind`` of the link; of "udp" the board's ``mac`` and ``ip`` on its network. ValueError for what is none."""

    kind: Kind = "serial"
    mac: str = Address.mac
    ip: str = Address.ip

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"link is {self.kind!r}; allowed: {' or '.join(map(repr, KINDS))}")
        Address(mac=self.mac, ip=self.ip)

    @property
    def address(self) -> Address:
        return Address(mac=self.mac, ip=self.ip)

    def describe(self) -> dict[str, Any]:
        """For a manifest."""
        if self.kind == "serial":
            return {"kind": self.kind}
        return {"kind": self.kind, "mac": self.mac, "ip": self.ip, "ports": [NODE_PORT, REGISTER_PORT, LINK_PORT]}


SERIAL = BoardLink()


@dataclass(frozen=True, kw_only=True)
class RgmiiPins:
    """A board's gigabit PHY as its platform knows it.

    ``resource``: name and number. ``control``: how its receive and transmit control are called. ``tx_delay_ns``, ``rx_delay_ns``: what
    the part adds to the transmit clock and to what is received, where the PHY or the board does not.
    """

    resource: tuple[str, int] = ("eth_rgmii", 0)
    control: tuple[str, str] = ("rx_ctl", "tx_ctl")
    tx_delay_ns: float
    rx_delay_ns: float
