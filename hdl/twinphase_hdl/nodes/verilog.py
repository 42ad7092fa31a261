"""Verilog of the node tops with the flat port names of `twinphase_hdl.nodes`."""

import hashlib
from typing import Literal

from amaranth.back import verilog
from amaranth.hdl import Elaboratable, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from twinphase_hdl.types import Anchor

from .client import ClientNode
from .server import ServerNode
from .timetagger import TimeTaggerNode

Kind = Literal["server", "client", "timetagger"]
NODES = {"server": ServerNode, "client": ClientNode, "timetagger": TimeTaggerNode}


class FlatNode(Elaboratable):
    """A node with one plain signal per port in ``ports``, named as the Verilog shows it."""

    def __init__(self, node: wiring.Component):
        self._node = node
        self._inputs: list[tuple[Value, Signal]] = []
        self._outputs: list[tuple[Value, Signal]] = []
        self.ports: dict[str, tuple[Signal, None]] = {}
        for name in ("rx", "tx"):
            port = getattr(node, name)
            source, sink = (self._inputs, self._outputs) if name == "rx" else (self._outputs, self._inputs)
            self._add(source, f"{name}_data", port.payload.data)
            self._add(source, f"{name}_last", port.payload.last)
            self._add(source, f"{name}_valid", port.valid)
            self._add(sink, f"{name}_ready", port.ready)
        self._add(self._inputs, "sim_load", node.sim_load)
        for field in Anchor.as_shape().members:
            self._add(self._inputs, f"sim_anchor_{field}", node.sim_anchor[field])
        for name, member in node.signature.members.items():
            if name.startswith(("i_", "o_")):
                self._add(self._inputs if member.flow == In else self._outputs, name, getattr(node, name))

    def _add(self, ports: list[tuple[Value, Signal]], name: str, inner) -> None:
        inner = Value.cast(inner)
        port = Signal(len(inner), name=name)
        ports.append((inner, port))
        self.ports[name] = (port, None)

    def elaborate(self, platform):
        m = Module()
        m.submodules.node = self._node
        m.d.comb += [inner.eq(port) for inner, port in self._inputs]
        m.d.comb += [port.eq(inner) for inner, port in self._outputs]
        return m


def node_verilog(kind: Kind, **options: object) -> str:
    """Verilog text of a node; module ``twinphase_<kind>``, ports as in `twinphase_hdl.nodes`.

    ``options`` go to `ServerNode`, `ClientNode` or `TimeTaggerNode`. Raises ValueError for an unknown kind or option value.
    """
    if kind not in NODES:
        raise ValueError(f"node_verilog: kind is {kind!r}; allowed: {', '.join(NODES)}")
    top = FlatNode(NODES[kind](**options))
    return verilog.convert(top, name=f"twinphase_{kind}", ports=top.ports, emit_src=False, strip_internal_attrs=True)


def build_hash(kind: Kind, **options: object) -> int:
    """First 32 bits of the SHA-256 of the node's Verilog with BUILD_HASH 0: what BUILD_HASH should read."""
    text = node_verilog(kind, **{**options, "build_hash": 0})
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")
