"""Counters of a node's strobes."""

from amaranth.hdl import Module, Signal, Value


def count_steps(m: Module, strobes: dict[str, Value]) -> dict[str, Signal]:
    """A counter of 64 bits per strobe, by its name: ``counter += strobe``, a clock later, as counters lie beside their snapshot, far from
    what they count. They wrap."""
    counters = {}
    for name, strobe in strobes.items():
        counters[name], step = Signal(64, name=name), Signal(len(strobe), name=f"{name}_step")
        m.d.sync += step.eq(strobe)
        with m.If(step.any()):
            m.d.sync += counters[name].eq(counters[name] + step)
    return counters
