"""What goes along with the elements of a pipeline."""

from collections.abc import Sequence
from itertools import accumulate, pairwise

from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib import memory

LUT_RAM_DEPTH = 16
"""Words of a LUT RAM; two of them and a choice make twice as many."""


def delayed(m: Module, value: Value, clocks: int, name: str) -> Value:
    """``value``, ``clocks`` clocks later: registers that always move, so that nothing ties them to a place.

    Neither this nor `carried` may be called inside of an ``m.If``.
    """
    for clock in range(1, clocks + 1):
        later = Signal.like(value, name=f"{name}_{clock}")
        m.d.sync += later.eq(value)
        value = later
    return value


def carried(
    m: Module, values: Sequence[Value], valids: Sequence[Value], since: int, until: int, name: str
) -> list[Value]:
    """``values``, which belong to stage ``since``, in stage ``until``; ``valids[k]``: an element is in stage k.

    The elements stay in order, so that a ring of LUT RAM holds their values, written at ``since`` and read a clock before ``until``
    into a register; it moves only for elements. A bit costs a register and 1.5 LUT (4 beyond 16 stages), not a register per stage.
    ``until - since``: 2 to 32.
    """
    if not 2 <= until - since <= 2 * LUT_RAM_DEPTH:
        raise ValueError(f"carried: {name} goes along for {until - since} stages; allowed: 2 to {2 * LUT_RAM_DEPTH}")
    # Deeper than what is in it at once: the place being written is never read.
    depth = LUT_RAM_DEPTH if until - since <= LUT_RAM_DEPTH else 2 * LUT_RAM_DEPTH
    ring = memory.Memory(shape=len(Cat(values)), depth=depth, init=[], attrs={"ram_style": "distributed"})
    m.submodules[f"{name}_ring"] = ring
    write, read = ring.write_port(), ring.read_port()
    m.d.comb += [write.data.eq(Cat(values)), write.en.eq(valids[since])]
    for port, valid in ((write, valids[since]), (read, valids[until - 1])):
        place = Signal(range(depth), name=f"{name}_place")
        m.d.comb += port.addr.eq(place)
        with m.If(valid):
            m.d.sync += place.eq(place + 1)
    ends = list(accumulate(map(len, values), initial=0))
    return [read.data[low:high] for low, high in pairwise(ends)]


def delayed_in_ram(m: Module, value: Value, clocks: int, name: str) -> Value:
    """``value``, ``clocks`` clocks later, as `delayed`, in rings of LUT RAM that always turn: for what is wide and goes along far.

    The first ``clocks`` clocks after a reset give anything. Not inside of an ``m.If``.
    """
    for number, start in enumerate(range(0, clocks, LUT_RAM_DEPTH)):
        part = min(LUT_RAM_DEPTH, clocks - start)
        if part < 2:
            value = delayed(m, value, part, f"{name}_{number}")
            continue
        # The reading place starts to turn when the first value has been written for so long.
        turns = [Const(1)]
        for clock in range(1, part):
            turns.append(Signal(name=f"{name}_{number}_turns_{clock}"))
            m.d.sync += turns[-1].eq(turns[-2])
        (value,) = carried(m, [value], turns, 0, part, f"{name}_{number}")
    return value
