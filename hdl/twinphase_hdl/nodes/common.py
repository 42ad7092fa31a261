"""What nodes have in common: the bus between link and registers, the timebase on them, the simulation port."""

from amaranth.hdl import Module, Signal, Value
from amaranth.lib.wiring import In, Out

from twinphase_hdl.core.timebase import Timebase
from twinphase_hdl.link.link import NodeLink
from twinphase_hdl.link.registers import RegisterBank
from twinphase_hdl.types import Anchor, GridConfig, word_stream
from twinphase_spec import units
from twinphase_spec.registers import CORE_COUNTERS, RegisterMap

NODE_MEMBERS = {
    "rx": In(word_stream()),
    "tx": Out(word_stream()),
    "sim_load": In(1),
    "sim_anchor": In(Anchor),
    "o_idle": Out(1),
    "o_clock": Out(units.CLOCK_BITS),
}
"""Members of all node tops; see `twinphase_hdl.nodes`."""


def connect_bus(m: Module, node, bank: RegisterBank, link: NodeLink, timebase: Timebase) -> None:
    """Connects what every node has: registers to link, clock count to link, simulation port to timebase."""
    m.d.comb += [
        bank.i_address.eq(link.o_address),
        bank.i_write.eq(link.o_write),
        bank.i_write_data.eq(link.o_write_data),
        link.i_read_data.eq(bank.o_read_data),
        link.i_counters_address.eq(bank.o_counters_address),
        bank.i_counters_data.eq(link.o_counters_data),
        link.i_snapshot.eq(bank.o_snapshot),
        bank.i_snapshot_count.eq(link.o_snapshot_count),
        link.i_stream_enable.eq(bank.o_stream_enable),
        link.i_clock.eq(timebase.o_anchor.clock),
        timebase.sim_load.eq(node.sim_load),
        timebase.sim_anchor.eq(node.sim_anchor),
        node.o_clock.eq(timebase.o_anchor.clock),
    ]


def connect_core(
    m: Module,
    node,
    register_map: RegisterMap,
    bank: RegisterBank,
    link: NodeLink,
    timebase: Timebase,
    counters: dict[str, Value],
    run: Value | None = None,
) -> None:
    """Connects what the nodes of a link have: `connect_bus`, the frame's registers, and counters that are latched.

    ``counters``: value of each latched counter of the map but CORE_COUNTERS, by name; those that the snapshot does not latch, the last of
    the map, are left to the node. ``run``: starts the frame, otherwise CONTROL does. Raises ValueError if a counter is missing.
    """
    latched = link.snapshot.i_counters
    names = register_map.counter_names[: len(latched)]
    missing = set(names) ^ {*dict(CORE_COUNTERS), *counters}
    if missing:
        raise ValueError(f"node: counters {sorted(missing)} are either not in the register map or not connected")
    connect_bus(m, node, bank, link, timebase)
    malformed = Signal(64)
    with m.If(link.o_dropped.any()):
        m.d.sync += malformed.eq(malformed + link.o_dropped)
    values = {"clock": timebase.o_anchor.clock, "malformed": malformed, **counters}
    m.d.comb += [
        *(latched[k].eq(values[name]) for k, name in enumerate(names)),
        *(timebase.i_config[name].eq(getattr(bank, f"o_{name}")) for name in GridConfig.as_shape().members),
        timebase.i_run.eq(bank.o_control if run is None else run),
        bank.i_framing.eq(timebase.o_running),
    ]
