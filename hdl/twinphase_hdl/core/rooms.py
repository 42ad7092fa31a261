"""Parts of a node that a simulator may leave out of a clock."""

from collections.abc import Iterable

from amaranth.hdl import Cat, DomainRenamer, Elaboratable, Module, Signal, Value

CONTROL = "control"
"""The room of registers and their requests. What it does may concern everyone: while it is awake, all rooms get edges."""


class Rooms:
    """Gives every part of a node a clock of its own, if ``separate``, and shows which are awake.

    Boards and benches build nodes without: every part stays in the one clock domain, and the hardware is what it would be
    without this class. A simulator of a node with rooms gives an edge to ``clk`` in every clock, and to ``<room>_clk`` as well
    in a clock in which the room or `CONTROL` is awake and in the three clocks after it, as a tick of the timebase acts through
    two registers. Otherwise the room rests: as its parts' ``o_idle`` promise, it would keep its state but for registers that
    follow the time, which nothing looks at before the first clock after they moved again.
    """

    def __init__(self, names: Iterable[str], *, separate: bool = False):
        self._separate = separate
        self._awake = {name: Signal(name=f"{name}_awake") for name in sorted(set(names))}

    def __len__(self) -> int:
        return len(self._awake)

    def put(self, m: Module, room: str, idle: Value | None = None, **parts: Elaboratable) -> None:
        """Makes ``parts`` submodules of m, all in ``room``. ``idle`` is given once for a room."""
        for name, part in parts.items():
            m.submodules[name] = DomainRenamer(room)(part) if self._separate else part
        if self._separate and idle is not None:
            m.d.comb += self._awake[room].eq(~idle)

    @property
    def awake(self) -> Value:
        """Bit k: the k-th room in the alphabet is awake."""
        return Cat(self._awake.values())
