"""A node's packets as UDP over the board's gigabit Ethernet."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib import io, wiring

from twinphase.errors import ExtraError
from twinphase_hdl.link.ethernet import EthernetCore
from twinphase_hdl.link.liteethcore import NET_HZ, CoreOptions, LiteEthMissing, versions
from twinphase_hdl.link.udplink import UdpLink
from twinphase_spec.packets import Stream

from .boardlink import BoardLink
from .boards import Board

RGMII_HZ = 125e6
RESET_SECONDS = 0.02
"""The PHY is held in reset so long after the part's start; PHYs of these boards ask for 10 ms."""
NOT_CHECKED = (
    "set-up and hold of the RGMII pins, whose delays are set and not measured; links slower than 1000 Mb/s, for which the core does "
    "not send and receive"
)
"""What a manifest says of a board with this link."""


def check_packages() -> dict[str, str]:
    """Versions of the packages that write the core. Raises ExtraError."""
    try:
        return versions()
    except LiteEthMissing as error:
        raise ExtraError(str(error)) from error


def connect_udp(
    m: Module, platform: Any, board: Board, node: Any, link: BoardLink, *, streams: Iterable[Stream] = ()
) -> None:
    """The node's packets to and from the board's PHY, in domain ``net`` at 62.5 MHz; ``streams``: what it takes besides requests.
    ValueError for a board without one."""
    if board.rgmii is None:
        raise ValueError(f"link 'udp': {board.name} has no Ethernet; allowed: 'serial'")
    rgmii = board.rgmii
    names = ("rx_clk", "rx_data", "tx_clk", "tx_data", *rgmii.control)
    name, number = rgmii.resource
    pins = platform.request(name, number, dir=dict.fromkeys((*names, "rst", "mdc", "mdio"), "-"))
    m.submodules.ethernet_clock = clock = io.Buffer("i", pins.rx_clk)
    platform.add_clock_constraint(pins.rx_clk.io, RGMII_HZ)
    rx_control, tx_control = rgmii.control
    pads = {
        "rgmii_rx_clk": clock.i,
        "rgmii_rx_ctl": getattr(pins, rx_control).io,
        "rgmii_rx_data": pins.rx_data.io,
        "rgmii_tx_clk": pins.tx_clk.io,
        "rgmii_tx_ctl": getattr(pins, tx_control).io,
        "rgmii_tx_data": pins.tx_data.io,
    }
    options = CoreOptions(phy="rgmii", tx_delay_ns=rgmii.tx_delay_ns, rx_delay_ns=rgmii.rx_delay_ns, dhcp=link.dhcp)
    m.submodules.ethernet = core = EthernetCore(options=options, address=link.address, pads=pads)
    m.submodules.udp = udp = UdpLink(net_hz=NET_HZ, streams=streams)
    m.d.comb += [udp.i_mac_address.eq(link.address.mac_number), udp.i_ip_address.eq(core.o_ip_address)]
    wiring.connect(m, udp.port, core.port)
    wiring.connect(m, node.tx, udp.tx)
    wiring.connect(m, udp.rx, node.rx)
    m.submodules.ethernet_reset = reset = io.Buffer("o", pins.rst)
    left = Signal(range(round(RESET_SECONDS * NET_HZ) + 1), init=round(RESET_SECONDS * NET_HZ))
    m.d.net += left.eq(left - (left != 0))
    m.d.comb += reset.o.eq(left != 0)
    m.submodules.ethernet_management = management = io.Buffer("o", pins.mdc)
    m.d.comb += management.o.eq(0)
