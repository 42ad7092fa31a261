"""A pipeline that never stalls, written by what is known in which stage."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate, pairwise

from amaranth.hdl import Cat, Module, Signal, Value, ValueLike
from amaranth.lib import memory

NEAREST = 4
"""Fewest stages that a ring bridges: a word is read after it was written, and into two registers."""


class Staged:
    """A value that belongs to a stage, and its copies in later ones."""

    def __init__(self, m: Module, value: Value, stage: int, name: str) -> None:
        self._m, self._copies, self.name, self.stage = m, [value], name, stage

    def at(self, stage: int) -> Value:
        """The value in a stage, by registers that always move. Never inside of an ``m.If``. ValueError before it is known."""
        if stage < self.stage:
            raise ValueError(f"Staged: {self.name} is not known before stage {self.stage}; asked for in stage {stage}")
        while len(self._copies) <= stage - self.stage:
            before = self._copies[-1]
            copy = Signal.like(before, name=f"{self.name}_{self.stage + len(self._copies)}", reset_less=True)
            self._m.d.sync += copy.eq(before)
            self._copies.append(copy)
        return self._copies[stage - self.stage]


class Stages:
    """Values of a pipeline, an element per clock. All registers are without reset and enable, so that multipliers and block RAM can take
    the ones beside them: what is an element and what is not, valid bits say.
    """

    def __init__(self, m: Module) -> None:
        self._m = m

    def given(self, name: str, stage: int, value: ValueLike) -> Staged:
        """A value that comes in a stage."""
        return Staged(self._m, Value.cast(value), stage, name)

    def after(self, name: str, stage: int, function: Callable[..., ValueLike], *values: Staged) -> Staged:
        """``function`` of the values as they are in ``stage``, registered: known in the stage behind it."""
        result = Value.cast(function(*(value.at(stage) for value in values)))
        register = Signal.like(result, name=f"{name}_{stage + 1}", reset_less=True)
        self._m.d.sync += register.eq(result)
        return Staged(self._m, register, stage + 1, name)

    def operand(self, name: str, stage: int, value: ValueLike) -> Staged:
        """A multiplier's operand: a register of ``value``, which is known in ``stage``, that nothing but multipliers looks at."""
        return self.after(name, stage, lambda: value)

    def table(self, name: str, stage: int, content: memory.Memory, address: Staged) -> Staged:
        """The word of a table in block RAM: known two stages after the address, so that the RAM's own register is used."""
        port = content.read_port()
        self._m.d.comb += port.addr.eq(address.at(stage))
        return self.after(name, stage + 1, lambda: port.data)

    def far(self, name: str, since: int, until: int, *values: Staged) -> list[Staged]:
        """The values of stage ``since`` in stage ``until`` by way of a ring in block RAM. ValueError for less than NEAREST stages."""
        # A word stays in the ring from its writing to the clock before the first of the two registers.
        inside = until - since - 2
        if inside < NEAREST - 2:
            raise ValueError(f"Stages: {name} goes along for {until - since} stages; allowed: {NEAREST} or more")
        words = [value.at(since) for value in values]
        depth = 1 << inside.bit_length()
        ring = memory.Memory(shape=len(Cat(words)), depth=depth, init=[], attrs={"ram_style": "block"})
        self._m.submodules[f"{name}_ring"] = ring
        write, read = ring.write_port(), ring.read_port()
        place, behind = (
            Signal(range(depth), name=f"{name}_place"),
            Signal(range(depth), name=f"{name}_behind", init=depth - inside),
        )
        self._m.d.sync += [place.eq(place + 1), behind.eq(behind + 1)]
        self._m.d.comb += [write.addr.eq(place), write.data.eq(Cat(words)), write.en.eq(1), read.addr.eq(behind)]
        whole = self.after(name, until - 1, lambda: read.data).at(until)
        result = []
        for value, word, (low, high) in zip(
            values, words, pairwise(accumulate(map(len, words), initial=0)), strict=True
        ):
            part = whole[low:high]
            result.append(Staged(self._m, part.as_signed() if word.shape().signed else part, until, value.name))
        return result
