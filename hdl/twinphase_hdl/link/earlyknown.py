"""The register bank of parts with a slow fabric and many registers."""

from functools import reduce
from operator import or_

from amaranth.hdl import Array, Const, Module, Signal, Value

from .registers import GROUP_BITS, GROUP_WORDS, RegisterBank

FOUR = 4


class EarlyKnownBank(RegisterBank):
    """As `RegisterBank`; tables of addresses are looked up a clock before, and of the flags "has been written", which lie all over the
    part beside their registers, four at a time are chosen from."""

    def _known_in_group(
        self, m: Module, number: int, words: list[Value], address: Value, before: Value, here: Value
    ) -> Value:
        fours = []
        for four in range(GROUP_WORDS // FOUR):
            of_four = words[four * FOUR : (four + 1) * FOUR]
            turn, flag = Signal(name=f"turn_{number}_{four}"), Signal(name=f"known_{number}_{four}")
            m.d.sync += [
                turn.eq(before[2:GROUP_BITS] == four),
                flag.eq(Array(of_four)[address[:2]] & turn & here),
            ]
            fours.append(flag)
        return reduce(or_, fours)

    def _in_table(self, m: Module, table: int, address: Value, before: Value) -> Value:
        found = Signal()
        m.d.sync += found.eq(Const(table, 1 << len(before)).bit_select(before, 1))
        return found
