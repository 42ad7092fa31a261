"""A delay line's two tables in block RAM: read by hits, written by the calibrator."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.timetag.halves import middle_is_next
from twinphase_spec import tdc


class Tables(wiring.Component):
    """Entries of both banks and polarities, address (code, polarity, bank), 0 at power-up.

    Hits may come in every clock and lane, and a block RAM has two ports, one of them the calibrator's. So of two lanes each has a
    copy of its own, which the calibrator writes too; or, with ``twice``, one block whose other port reads at the TDC clock, for one
    lane after the other.

    Parameters
    ----------
    code_bits, lanes : int
    twice : bool
        With 2 lanes: there is a domain ``tdc`` of twice the system clock, see `middle_is_next`.

    Members
    -------
    i_read : array of lanes times address
    o_word : array of lanes times 16
        For a register at the end of the clock two clocks later. (With ``twice`` it changes in the middle of a clock.)
    i_address, i_write, i_data : address, 1, 16
        The calibrator's port.
    o_data : 16
        Entry at ``i_address`` two clocks ago, if it was not written.

    A word that is written in the clock in which a hit asks for it may be the old or the new one: hits ask for those of one bank, the
    calibrator writes the other. ValueError: ``twice`` with one lane.
    """

    def __init__(self, *, code_bits: int, lanes: int, twice: bool = False):
        if twice and lanes != 2:
            raise ValueError(f"Tables: twice with lanes {lanes}; allowed: 2, whose hits are those of two TDC clocks")
        address = code_bits + 2
        super().__init__(
            {
                "i_read": In(data.ArrayLayout(address, lanes)),
                "o_word": Out(data.ArrayLayout(tdc.X_BITS, lanes)),
                "i_address": In(address),
                "i_write": In(1),
                "i_data": In(tdc.X_BITS),
                "o_data": Out(tdc.X_BITS),
            }
        )
        self._address, self._lanes, self._twice = address, lanes, twice

    def elaborate(self, platform):
        m = Module()
        for number in range(1 if self._twice else self._lanes):
            copy = memory.Memory(shape=tdc.X_BITS, depth=1 << self._address, init=[])
            m.submodules[f"copy_{number}"] = copy
            read, write = copy.read_port(domain="tdc" if self._twice else "sync"), copy.write_port()
            if self._twice:
                self._read_twice(m, read)
            else:
                m.d.comb += read.addr.eq(self.i_read[number])
            m.d.comb += [
                write.addr.eq(self.i_address),
                write.data.eq(self.i_data),
                write.en.eq(self.i_write),
            ]
            if not self._twice:
                word = Signal(tdc.X_BITS, name=f"word_{number}", reset_less=True)  # the block's own output register
                m.d.sync += word.eq(read.data)
                m.d.comb += self.o_word[number].eq(word)
            if number == 0:
                # In the clock of a write nothing is read, so that one port of the block can do both.
                back = copy.read_port()
                entry = Signal(tdc.X_BITS, reset_less=True)
                m.d.comb += [back.addr.eq(self.i_address), back.en.eq(~self.i_write), self.o_data.eq(entry)]
                m.d.sync += entry.eq(back.data)
        return m

    def _read_twice(self, m: Module, read: memory.ReadPort) -> None:
        """One lane after the other. Addresses are taken, and words given, in the middle of a system clock, half a clock from where the
        other side takes or changes them."""
        first_half = middle_is_next(m)
        address, second = (Signal(self._address, name=name, reset_less=True) for name in ("address", "second"))
        word, word_before = (Signal(tdc.X_BITS, name=name, reset_less=True) for name in ("word", "word_before"))
        pair = Signal.like(self.o_word, reset_less=True)
        m.d.comb += [read.addr.eq(address), self.o_word.eq(pair)]
        m.d.tdc += [address.eq(second), word.eq(read.data), word_before.eq(word)]
        with m.If(first_half):
            m.d.tdc += [
                address.eq(self.i_read[0]),
                second.eq(self.i_read[1]),
                pair[0].eq(word_before),
                pair[1].eq(word),
            ]
