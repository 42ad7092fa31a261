"""How a board's packets leave it: over its serial port, as UDP over its Ethernet, or through its USB PHY."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from twinphase_hdl.link.dhcpwords import host_name
from twinphase_hdl.link.ethernet import Address
from twinphase_hdl.link.udpport import LINK_PORT, NODE_PORT, REGISTER_PORT
from twinphase_spec.usb import DEFAULT_SERIAL, check_serial

Kind = Literal["serial", "udp", "usb"]
KINDS: tuple[Kind, ...] = get_args(Kind)
DHCP = "dhcp"


def link_local(address: Address) -> str:
    """An IP address of 169.254.1.1 to 169.254.254.254, by the last two bytes of the MAC address."""
    high, low = divmod(address.mac_number & 0xFFFF, 256)
    return f"169.254.{1 + high % 254}.{1 + low % 254}"


@dataclass(frozen=True, kw_only=True)
class BoardLink:
    """``kind`` of the link; of "udp" the board's ``mac`` and ``ip`` on its network, or "dhcp" for ``ip``: then ``fallback_ip`` is its
    address when no server gives it one, a link-local one made of ``mac`` unless said; of "usb" its serial number. ValueError for what is
    none."""

    kind: Kind = "serial"
    mac: str = Address.mac
    ip: str = Address.ip
    fallback_ip: str | None = None
    usb_serial: str = DEFAULT_SERIAL

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"link is {self.kind!r}; allowed: {', '.join(map(repr, KINDS))}")
        if self.fallback_ip is not None and not self.dhcp:
            raise ValueError(
                f"fallback address {self.fallback_ip!r} of a board at {self.ip}; allowed: with IP address 'dhcp'"
            )
        _ = self.address
        check_serial(self.usb_serial)

    @property
    def dhcp(self) -> bool:
        return self.ip == DHCP

    @property
    def address(self) -> Address:
        if not self.dhcp:
            return Address(mac=self.mac, ip=self.ip)
        return Address(mac=self.mac, ip=self.fallback_ip or link_local(Address(mac=self.mac)), dhcp=True)

    def describe(self) -> dict[str, Any]:
        """For a manifest."""
        if self.kind == "serial":
            return {"kind": self.kind}
        if self.kind == "usb":
            return {"kind": self.kind, "serial": self.usb_serial}
        told = {"kind": self.kind, "mac": self.mac, "ip": self.ip, "ports": [NODE_PORT, REGISTER_PORT, LINK_PORT]}
        if self.dhcp:
            told |= {"fallback_ip": self.address.ip, "host_name": host_name(self.address.mac_number)}
        return told


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
