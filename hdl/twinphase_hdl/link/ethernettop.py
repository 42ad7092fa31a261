"""What is simulated of a node on Ethernet: its packets' way to GMII, in the three clocks that it has there."""

from amaranth.back import verilog
from amaranth.hdl import ClockDomain, Elaboratable, Module, Signal, Value
from amaranth.lib import wiring

from .ethernet import GMII_DOMAIN, Address, EthernetCore
from .liteethcore import CoreOptions, core_verilog


class GmiiTop(Elaboratable):
    """``user`` (a component with a member ``port`` of `UdpUserPort`, in ``net`` and if it likes ``sync``) behind an Ethernet core.

    Ports: ``clk, net_clk, gmii_clk, i_rx_dv, i_rx_data, o_tx_en, o_tx_data``, and ``more`` of ``user`` by its own names.
    """

    def __init__(self, user: wiring.Component, *, options: CoreOptions, address: Address, more: tuple[str, ...] = ()):
        self._user = user
        self._core = EthernetCore(options=options, address=address)
        self._domains = [ClockDomain(name, reset_less=True) for name in ("sync", "net", GMII_DOMAIN)]
        self._joined: list[tuple[Value, Signal]] = []
        for owner, names in ((self._core, ("i_rx_dv", "i_rx_data", "o_tx_en", "o_tx_data")), (user, more)):
            for name in names:
                inner = Value.cast(getattr(owner, name))
                self._joined.append((inner, Signal(len(inner), name=name)))
        self.ports = {domain.clk.name: (domain.clk, None) for domain in self._domains}
        self.ports |= {port.name: (port, None) for _, port in self._joined}

    def elaborate(self, platform):
        m = Module()
        m.domains += self._domains
        m.submodules.user, m.submodules.core = self._user, self._core
        wiring.connect(m, self._user.port, self._core.port)
        for inner, port in self._joined:
            m.d.comb += inner.eq(port) if port.name.startswith("i_") else port.eq(inner)
        return m


def gmii_verilog(
    user: wiring.Component, *, options: CoreOptions, address: Address, more: tuple[str, ...] = (), name: str = "native"
) -> str:
    """Verilog of `GmiiTop` as module ``name``, and of the core in it."""
    top = GmiiTop(user, options=options, address=address, more=more)
    text = verilog.convert(top, name=name, ports=top.ports, emit_src=False, strip_internal_attrs=True)
    return text + core_verilog(options)
