"""The Ethernet core as a component: a node's UDP port on one side, a PHY on the other."""

from dataclasses import dataclass
from ipaddress import IPv4Address

from amaranth.hdl import ClockSignal, Const, DomainRenamer, Instance, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .dhcpclient import DhcpClient
from .liteethcore import MODULE, CoreOptions, core_verilog, ports
from .udpport import ReceivedWord, SentWord, UdpUserPort

GMII_DOMAIN = "gmii"


@dataclass(frozen=True, kw_only=True)
class Address:
    """What a node is called on its network: ``mac`` "02:54:50:00:00:01", ``ip`` "192.168.1.50".

    With ``dhcp`` the network's server says the IP address, and ``ip`` is what it is called when none has for `FALLBACK_SECONDS`.
    Raises ValueError for what is no address of a single station.
    """

    mac: str = "02:54:50:00:00:01"
    """Locally administered, so that it is nobody's; give every board of a network its own."""
    ip: str = "192.168.1.50"
    dhcp: bool = False

    def __post_init__(self) -> None:
        allowed = "allowed: six bytes like 02:54:50:00:00:01, the first one even, not all 0"
        parts = self.mac.split(":")
        try:
            octets = [int(part, 16) for part in parts if len(part) == 2]
        except ValueError as error:
            raise ValueError(f"MAC address {self.mac!r}; {allowed}") from error
        if len(parts) != 6 or len(octets) != 6 or octets[0] & 1 or not any(octets):
            raise ValueError(f"MAC address {self.mac!r}; {allowed}")
        allowed = "allowed: four bytes like 192.168.1.50, no network's broadcast, no group"
        try:
            address = IPv4Address(self.ip)
        except ValueError as error:
            raise ValueError(f"IP address {self.ip!r}; {allowed}") from error
        if address.is_multicast or address.is_unspecified or address.is_loopback or int(address) & 0xFF in (0, 0xFF):
            raise ValueError(f"IP address {self.ip!r}; {allowed}")

    @property
    def mac_number(self) -> int:
        """First byte highest."""
        return int(self.mac.replace(":", ""), 16)

    @property
    def ip_number(self) -> int:
        """First byte highest."""
        return int(IPv4Address(self.ip))


class EthernetCore(wiring.Component):
    """ARP, ping and UDP of a node, by LiteEth (`twinphase_hdl.link.liteethcore`, whose Verilog must be built beside this one's).

    Parameters
    ----------
    options : CoreOptions
    address : Address
        With ``dhcp`` a `DhcpClient` is between the port and the core, whose second is ``options.timer_hz``.
    pads : dict of str to value
        Of phy "rgmii": the pins by the names of the core's ports, as ``Instance`` takes them.

    Members
    -------
    port : In(UdpUserPort()), domain ``net`` at 62.5 MHz.
    o_ip_address : Out(32), domain ``net`` - the address that the core has now.
    i_rx_dv : In(1), i_rx_data : In(8), o_tx_en : Out(1), o_tx_data : Out(8)
        Of phy "gmii": the PHY's side in domain ``gmii`` at 125 MHz.

    Latency: not constant; ARP goes before a datagram to a host whose MAC address the core does not know. Throughput: the line's.
    Overflow: a frame that meets one in front which its taker does not take is lost. Frames of any length pass (no jumbo limit); with a
    wrong check sequence they come with ``error``. Frames to other IP addresses and UDP ports are dropped.

    With a platform, the core's Verilog is added to it.
    """

    def __init__(self, *, options: CoreOptions, address: Address, pads: dict | None = None):
        if (options.phy == "rgmii") != (pads is not None):
            raise ValueError(
                f"EthernetCore: PHY {options.phy!r} with pads {pads}; allowed: 'rgmii' with, 'gmii' without"
            )
        if options.dhcp != address.dhcp:
            raise ValueError(f"EthernetCore: dhcp is {options.dhcp} and {address.dhcp}; allowed: both or neither")
        self._options, self._address, self._pads = options, address, pads
        members = {"port": In(UdpUserPort()), "o_ip_address": Out(32)}
        if options.phy == "gmii":
            members |= {"i_rx_dv": In(1), "i_rx_data": In(8), "o_tx_en": Out(1), "o_tx_data": Out(8)}
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        if platform is not None:
            platform.add_file(f"{MODULE}.v", core_verilog(self._options))
        port, named = self.port, {"ip_address": Const(self._address.ip_number, 32)}
        if self._address.dhcp:
            client = DhcpClient(
                mac=self._address.mac_number,
                fallback=self._address.ip_number,
                second_clocks=self._options.timer_hz,
            )
            m.submodules.dhcp = DomainRenamer("net")(client)
            wiring.connect(m, wiring.flipped(self.port), client.user)
            port = client.core
            named = {"ip_address": client.o_address, "broadcast_source": client.o_broadcast_source}
        m.d.comb += self.o_ip_address.eq(named["ip_address"])
        sink, source = port.sink, port.source
        error = Signal(4)
        values = {
            "net_clk": ClockSignal("net"),
            "mac_address": Const(self._address.mac_number, 48),
            **named,
            "rx_valid": source.valid,
            "rx_ready": Const(1),
            "tx_valid": sink.valid,
            "tx_ready": sink.ready,
            **{f"tx_{name}": sink.payload[name] for name in SentWord.as_shape().members},
            **{f"rx_{name}": source.payload[name] for name in ReceivedWord.as_shape().members},
            "rx_error": error,
        }
        if self._pads is not None:
            values |= self._pads
        else:
            clock = ClockSignal(GMII_DOMAIN)
            values |= {"gmii_rx_clk": clock, "gmii_tx_clk": clock}
            values |= {"gmii_rx_dv": self.i_rx_dv, "gmii_rx_data": self.i_rx_data}
            values |= {"gmii_tx_en": self.o_tx_en, "gmii_tx_data": self.o_tx_data}
        m.d.comb += source.payload.error.eq(error.any())
        m.submodules.core = Instance(
            MODULE, **{f"{direction}_{name}": values[name] for direction, name, _ in ports(self._options)}
        )
        return m
