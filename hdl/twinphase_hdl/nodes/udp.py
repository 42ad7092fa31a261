"""A node with its link over UDP, for whatever UDP core is behind its port."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from twinphase_hdl.link.ethernet import Address
from twinphase_hdl.link.udplink import UdpLink
from twinphase_hdl.link.udpport import UdpUserPort


class UdpNode(wiring.Component):
    """``node`` behind `UdpLink`.

    Members: ``port``, and the node's own ``i_...`` and ``o_...``. ``address``: what the link's registers say of the core. ``link`` are
    parameters of `UdpLink`.
    """

    def __init__(self, node: wiring.Component, *, address: Address | None = None, **link: object):
        self._node, self._link, self._address = node, UdpLink(**link), address
        pins = {name: member for name, member in node.signature.members.items() if name.startswith(("i_", "o_"))}
        self._pins = tuple(pins)
        super().__init__({"port": Out(UdpUserPort()), **pins})

    def elaborate(self, platform):
        m = Module()
        m.submodules.node, m.submodules.link = node, link = self._node, self._link
        wiring.connect(m, node.tx, link.tx)
        wiring.connect(m, link.rx, node.rx)
        wiring.connect(m, link.port, wiring.flipped(self.port))
        if self._address is not None:
            mac, ip = self._address.mac_number, self._address.ip_number
            m.d.comb += [link.i_mac_address.eq(mac), link.i_ip_address.eq(ip)]
        for name in self._pins:
            mine, its = getattr(self, name), getattr(node, name)
            m.d.comb += its.eq(mine) if name.startswith("i_") else mine.eq(its)
        return m
