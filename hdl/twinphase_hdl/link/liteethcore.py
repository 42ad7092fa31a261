"""Verilog of the Ethernet core: LiteEth's MAC, ARP, IPv4, ICMP and UDP with a 32-bit datapath, and a PHY of ours around its registers.

The packages that write it (``liteeth``, ``litex``, ``migen``) are imported when it is made, so that whoever does not ask for it needs
none of them. The text has neither dates nor paths, and depends on `CoreOptions` and the packages' versions only.

Module `MODULE`: ``net_clk``, ``mac_address`` (48) and ``ip_address`` (32), the PHY's ports, and for datagrams, as in
`twinphase_hdl.link.udpport`, ``tx_...`` for those to send and ``rx_...`` for those that came to ``udp_ports``; ``rx_ready`` may be 0, but
then ARP and ping wait too, and frames are lost. With ``dhcp`` also ``broadcast_source`` (32), the sender's address of broadcasts.

What LiteEth's own ``liteeth_gen`` would make is changed in six places, each of which the kernel as a peer can bring about: see
`twinphase_hdl.link.liteethparts`. MAC and check sequences work byte by byte in the PHY's clocks, as a preamble that a PHY has shortened
would shift words of 32 bits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import metadata
from typing import Literal

from .udpport import LINK_PORT, NODE_PORT, REGISTER_PORT

MODULE = "twinphase_ethernet"
PACKAGES = ("liteeth", "litex", "migen")
NET_HZ = 62_500_000
PING_BYTES = 1472
"""Longest ping that is answered: what an Ethernet frame holds."""
MOST_DELAY_NS = 127 * 0.025
"""Of the delay cells of ECP5 pins, 25 ps a step."""
ARP_ENTRIES = 4
PHY_PORTS = {
    "gmii": (
        *(("i", "gmii_rx_clk", 1), ("i", "gmii_rx_dv", 1), ("i", "gmii_rx_data", 8)),
        *(("i", "gmii_tx_clk", 1), ("o", "gmii_tx_en", 1), ("o", "gmii_tx_data", 8)),
    ),
    "rgmii": (
        *(("i", "rgmii_rx_clk", 1), ("i", "rgmii_rx_ctl", 1), ("i", "rgmii_rx_data", 4)),
        *(("o", "rgmii_tx_clk", 1), ("o", "rgmii_tx_ctl", 1), ("o", "rgmii_tx_data", 4)),
    ),
}
"""Direction, name and width of a PHY's ports."""
USER_PORTS = (
    *(("i", "net_clk", 1), ("i", "mac_address", 48), ("i", "ip_address", 32)),
    *(("o", "rx_valid", 1), ("i", "rx_ready", 1), ("o", "rx_last", 1), ("o", "rx_data", 32), ("o", "rx_last_be", 4)),
    *(
        ("o", "rx_error", 4),
        ("o", "rx_length", 16),
        ("o", "rx_ip_address", 32),
        ("o", "rx_src_port", 16),
        ("o", "rx_dst_port", 16),
    ),
    *(("i", "tx_valid", 1), ("o", "tx_ready", 1), ("i", "tx_last", 1), ("i", "tx_data", 32), ("i", "tx_last_be", 4)),
    *(("i", "tx_length", 16), ("i", "tx_ip_address", 32), ("i", "tx_src_port", 16), ("i", "tx_dst_port", 16)),
)


DHCP_PORTS = (("i", "broadcast_source", 32),)


class LiteEthMissing(ImportError):
    """The packages that write the core are not installed."""


@dataclass(frozen=True, kw_only=True)
class CoreOptions:
    """What the core's Verilog depends on.

    ``phy``: "gmii" has clocks, data and control as ports (for simulation), "rgmii" DDR cells of ECP5 pins. ``udp_ports``: where datagrams
    are taken. ``tx_delay_ns``: of the RGMII transmit clock behind its data, ``rx_delay_ns`` of received data and control (0 to
    `MOST_DELAY_NS`). ``timer_hz``: clocks of ``net`` that count as a second in ARP: what was learnt is forgotten when nothing was sent
    for a second; requests go out every 0.1 s, 7 in all, and everything else waits. ``dhcp``: broadcasts to the client's port are taken
    too, and those to send have an address of their own.
    """

    phy: Literal["gmii", "rgmii"] = "gmii"
    udp_ports: tuple[int, ...] = (NODE_PORT, REGISTER_PORT, LINK_PORT)
    tx_delay_ns: float = 2.0
    rx_delay_ns: float = 2.0
    timer_hz: int = NET_HZ
    dhcp: bool = False

    def __post_init__(self) -> None:
        if self.phy not in PHY_PORTS:
            raise ValueError(f"Ethernet PHY {self.phy!r}; allowed: {', '.join(PHY_PORTS)}")
        if not self.udp_ports or any(not 0 < port < 1 << 16 for port in self.udp_ports):
            raise ValueError(f"udp_ports are {self.udp_ports}; allowed: one or more of 1 to 65535")
        for name in ("tx_delay_ns", "rx_delay_ns"):
            if not 0 <= getattr(self, name) <= MOST_DELAY_NS:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed: 0 to {MOST_DELAY_NS:g}")
        if self.timer_hz < 1000:
            raise ValueError(f"timer_hz is {self.timer_hz}; allowed: at least 1000")


def versions() -> dict[str, str]:
    """Of the packages that write the core. Raises LiteEthMissing."""
    try:
        return {name: metadata.version(name) for name in PACKAGES}
    except metadata.PackageNotFoundError as error:
        raise LiteEthMissing("pip install 'twinphase[ethernet]'") from error


def ports(options: CoreOptions) -> tuple[tuple[str, str, int], ...]:
    """Direction, name and width of the ports of `MODULE`."""
    return (*USER_PORTS, *(DHCP_PORTS if options.dhcp else ()), *PHY_PORTS[options.phy])


def core_verilog(options: CoreOptions) -> str:
    """The core as a Verilog module `MODULE`. Raises LiteEthMissing."""
    versions()
    from .liteethparts import convert

    text = convert(options, MODULE, ports(options))
    lines = (re.sub(r"\s*//.*", "", line).rstrip() for line in text.splitlines())
    kept = [line for line in lines if line and not line.startswith("`timescale")]
    return "\n".join(kept) + "\n"
