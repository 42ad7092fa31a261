"""The register bank of parts whose logic is slow."""

from functools import reduce
from operator import or_

from amaranth.hdl import Const, Module, Signal, Value

from .registers import GROUP_BITS, GROUP_WORDS, RegisterBank


class EarlyTableBank(RegisterBank):
    """As `RegisterBank`; tables of addresses are looked up a clock before, by group, a LUT each; only joining them is left."""

    def _in_table(self, m: Module, table: int, address: Value, before: Value) -> Value:
        parts, found = [], {}
        for number in range(1 << len(before) - GROUP_BITS):
            words = table >> number * GROUP_WORDS & (1 << GROUP_WORDS) - 1
            if not words:
                continue
            here = Signal()
            m.d.sync += here.eq(before[GROUP_BITS:] == number)
            if words not in found:
                found[words] = Signal()
                m.d.sync += found[words].eq(Const(words, GROUP_WORDS).bit_select(before[:GROUP_BITS], 1))
            parts.append(here & found[words])
        return reduce(or_, parts, Const(0))
