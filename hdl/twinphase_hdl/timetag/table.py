"""A delay line's two tables in block RAM: read by hits, written by the calibrator."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from twinphase_spec import tdc


class Tables(wiring.Component):
    """Entries of both banks and polarities, address (code, polarity, bank), 0 at power-up.

    Every lane has a copy of its own, which the calibrator writes too: hits may come in every clock and lane, and a block RAM has
    two ports.

    Members
    -------
    i_read : array of lanes times address
    o_word : array of lanes times 16
        Two clocks later.
    i_address, i_write, i_data : address, 1, 16
        The calibrator's port.
    o_data : 16
        Entry at ``i_address`` two clocks ago, if it was not written.
    """

    def __init__(self, *, code_bits: int, lanes: int):
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
        self._address, self._lanes = address, lanes

    def elaborate(self, platform):
        m = Module()
        for lane in range(self._lanes):
            copy = memory.Memory(shape=tdc.X_BITS, depth=1 << self._address, init=[])
            m.submodules[f"copy_{lane}"] = copy
            read, write = copy.read_port(), copy.write_port()
            m.d.comb += [
                read.addr.eq(self.i_read[lane]),
                write.addr.eq(self.i_address),
                write.data.eq(self.i_data),
                write.en.eq(self.i_write),
            ]
            word = Signal(tdc.X_BITS, name=f"word_{lane}", reset_less=True)  # the block's own output register
            m.d.sync += word.eq(read.data)
            m.d.comb += self.o_word[lane].eq(word)
            if lane == 0:
                # In the clock of a write nothing is read, so that one port of the block can do both.
                back = copy.read_port()
                entry = Signal(tdc.X_BITS, reset_less=True)
                m.d.comb += [back.addr.eq(self.i_address), back.en.eq(~self.i_write), self.o_data.eq(entry)]
                m.d.sync += entry.eq(back.data)
        return m
