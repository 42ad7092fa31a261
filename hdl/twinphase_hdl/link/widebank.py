"""The register bank of a node that fills its part: a hundred words whose registers lie all over it."""

from functools import reduce
from operator import or_

from amaranth.hdl import Array, Const, Module, Mux, Signal, Value

from .earlyknown import FOUR, EarlyKnownBank
from .registers import GROUP_WORDS, Kept


class WideBank(EarlyKnownBank):
    """As `RegisterBank`, clock for clock; all that depends on an address alone is known a clock before.

    That a request is for one of four words is a register for each four, which may lie beside them: from there a word's strobe is one
    LUT away, and so is what the four say of "has been written". Reset values wait in a register of their own for what all fours say.
    """

    def elaborate(self, platform) -> Module:
        self._turns: dict[int, Signal] = {}
        return super().elaborate(platform)

    def _turn(self, m: Module, first: int) -> Signal:
        """The bank's own address is that of one of the four words from ``first``."""
        four = first // FOUR
        if four not in self._turns:
            self._turns[four] = turn = Signal(name=f"turn_{four}")
            m.d.sync += turn.eq(self.i_address[2:] == four)
        return self._turns[four]

    def _written_at(self, m: Module, number: int, place: int, written: Value, here: Value, address: Value) -> Value:
        return written & self._turn(m, number * GROUP_WORDS + place) & (address[:2] == place % FOUR)

    def _known_in_group(
        self, m: Module, number: int, words: list[Value], address: Value, before: Value, here: Value
    ) -> Value:
        fours = []
        for four in range(GROUP_WORDS // FOUR):
            of_four = words[four * FOUR : (four + 1) * FOUR]
            if all(isinstance(word, Const) and not word.value for word in of_four):
                continue
            turn, flag = self._turn(m, number * GROUP_WORDS + four * FOUR), Signal(name=f"known_{number}_{four}")
            m.d.sync += flag.eq(Array(of_four)[address[:2]] & turn)
            fours.append(flag)
        return reduce(or_, fours)

    def _known_here(self, flag: Value, here: Value) -> Value:
        return flag

    def _choose_not_known(
        self, m: Module, not_known: Signal, kept: dict[int, Kept], number: int, flag: Value, here: Value, address: Value
    ) -> None:
        """All groups at once: `_join_not_known`."""

    def _join_not_known(
        self, m: Module, not_known: Signal, kept: dict[int, Kept], address: Value, known_here: list[Value]
    ) -> None:
        value = Signal.like(not_known, name="reset_value")
        m.d.sync += value.eq(0)
        with m.Switch(address):
            for a, word in kept.items():
                if word.is_written and word.value:
                    with m.Case(a):
                        m.d.sync += value.eq(word.value)
        m.d.sync += not_known.eq(Mux(reduce(or_, known_here), 0, value))
