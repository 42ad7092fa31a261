"""From position to DAC range: a table in block RAM with straight lines between its entries."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from twinphase_spec import actuator

_F = actuator.INTERPOLATION_BITS
_ENTRY_SHIFT = actuator.POSITION_BITS - actuator.TABLE_LOG


class DriveTable(wiring.Component):
    """``o_word = a + ((b - a) f + 2^13 >> 14)`` modulo 2^18, a and b the entries k and min(k + 1, 1023), b - a signed 18 bits::

        k = x >> 23,   f = (x >> 9) mod 2^14         x the position in 2^-32 turn: an entry is 1/512 turn from the next

    Two banks: one acts, the other may be written meanwhile, so that no position is looked up in half a table.

    Members
    -------
    i_position, i_step : In(33), In(1)
        A position with its first clock; it stays for STEP_CLOCKS clocks.
    i_bank : In(1)
        Taken with i_step, and to be left alone for two clocks behind it by writes to that bank.
    i_write, i_address, i_data : In(1), In(11), In(18)
        Entry ``i_address mod 1024`` of bank ``i_address div 1024``.
    o_word : Out(18)
        Fraction of the DAC's range in 2^-18. 0 before the first step.

    Latency: `latency` clocks from i_step. Throughput: a position per STEP_CLOCKS clocks. Overflow: none between entries that
    differ by less than half of the range.
    """

    i_position: In(actuator.POSITION_BITS)
    i_step: In(1)
    i_bank: In(1)
    i_write: In(1)
    i_address: In(actuator.TABLE_LOG + 1)
    i_data: In(actuator.WORD_BITS)
    o_word: Out(actuator.WORD_BITS)

    @property
    def latency(self) -> int:
        """Block RAM, its output register, difference, product, sum, and a clock for the second entry."""
        return 6

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.table = table = memory.Memory(
            shape=actuator.WORD_BITS, depth=2 * actuator.TABLE_ENTRIES, init=[], attrs={"ram_style": "block"}
        )
        read, write = table.read_port(), table.write_port()
        m.d.comb += [write.addr.eq(self.i_address), write.data.eq(self.i_data), write.en.eq(self.i_write)]

        # Stage k: k clocks after i_step.
        steps = [self.i_step]
        for stage in range(1, self.latency):
            steps.append(Signal(name=f"step_{stage}"))
            m.d.sync += steps[stage].eq(steps[stage - 1])
        k = self.i_position[_ENTRY_SHIFT:]
        bank = Signal()
        right = Signal(actuator.TABLE_LOG + 1)
        fraction = Signal(_F)
        with m.If(self.i_step):
            m.d.sync += [
                right.eq(Mux(k.all(), k, k + 1)),
                fraction.eq(self.i_position[_ENTRY_SHIFT - _F : _ENTRY_SHIFT]),
                bank.eq(self.i_bank),
            ]
        m.d.comb += read.addr.eq(
            Mux(self.i_step, k, right[: actuator.TABLE_LOG]) | Mux(self.i_step, self.i_bank, bank) << actuator.TABLE_LOG
        )
        entry, left = Signal(actuator.WORD_BITS), Signal(actuator.WORD_BITS)
        difference = Signal(signed(actuator.WORD_BITS))
        product = Signal(signed(actuator.WORD_BITS + _F))
        m.d.sync += [entry.eq(read.data), difference.eq(entry - left), product.eq(difference * fraction)]
        with m.If(steps[2]):
            m.d.sync += left.eq(entry)
        with m.If(steps[5]):
            m.d.sync += self.o_word.eq(left + (product + (1 << _F - 1) >> _F))
        return m
