"""How a board's packets leave it: over its serial port, as UDP over its Ethernet, or through its USB PHY."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from twinphase_hdl.link.ethernet import Address
from twinphase_hdl.link.udpport import NODE_PORT, REGISTER_PORT
from twinphase_spec.usb import DEFAULT_SERIAL, check_serial

Kind = Literal["serial", "udp", "usb"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, kw_only=True)
class BoardLink:
    """``kind`` of the link; of "udp" the board's ``mac`` and ``ip`` on its network, of "usb" its serial number. ValueError for what is
    none."""

    kind: Kind = "serial"
    mac: str = Address.mac
    ip: str = Address.ip
    usb_serial: str = DEFAULT_SERIAL

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"link is {self.kind!r}; allowed: {', '.join(map(repr, KINDS))}")
        Address(mac=self.mac, ip=self.ip)
        check_serial(self.usb_serial)

    @property
    def address(self) -> Address:
        return Address(mac=self.mac, ip=self.ip)

    def describe(self) -> dict[str, Any]:
        """For a manifest."""
        if self.kind == "serial":
            return {"kind": self.kind}
        if self.kind == "usb":
            return {"kind": self.kind, "serial": self.usb_serial}
        return {"kind": self.kind, "mac": self.mac, "ip": self.ip, "ports": [NODE_PORT, REGISTER_PORT]}


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
