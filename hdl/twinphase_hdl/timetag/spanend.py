"""The bin of a delay line in which the span ends: its entry when a chain that has become faster reaches all of it."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from twinphase_spec import tdc


class SpanEnd(wiring.Component):
    """Gives hits of one code per polarity another entry than the table's while it is opened; docs/timetagger.md, "The span's end".

    Parameters
    ----------
    code_bits, lanes : int

    Members
    -------
    i_place : array of lanes times (code_bits + 1)
        Code and polarity, in the clock in which a hit is at the fine time's input.
    i_busy : 1
        One clock later: that clock is a busy one.
    i_found, i_found_place, i_found_entry : 1, code_bits + 1, 16
        Strobe, in a busy time: the code of a polarity, and its entry when opened.
    i_forgets : 1
        Strobe, in a busy time or before one: there is no such code of either polarity, and all is closed.
    i_opens : 1
        Strobe, before a busy time.
    o_takes, o_entry : lanes, array of lanes times 16
        Two clocks after the input: this instead of the table's entry.

    Latency: 2 clocks. Throughput: a hit per lane and clock. Nothing is given in busy clocks, so that strobes need not be on time.
    """

    def __init__(self, *, code_bits: int, lanes: int):
        super().__init__(
            {
                "i_place": In(data.ArrayLayout(code_bits + 1, lanes)),
                "i_busy": In(1),
                "i_found": In(1),
                "i_found_place": In(code_bits + 1),
                "i_found_entry": In(tdc.X_BITS),
                "i_forgets": In(1),
                "i_opens": In(1),
                "o_takes": Out(lanes),
                "o_entry": Out(data.ArrayLayout(tdc.X_BITS, lanes)),
            }
        )
        self._code_bits, self._lanes = code_bits, lanes

    def elaborate(self, platform):
        m = Module()
        codes = [Signal(self._code_bits, name=f"code_{p}") for p in range(2)]
        entries = [Signal(tdc.X_BITS, name=f"entry_{p}") for p in range(2)]
        known, opened = Signal(2), Signal()
        for p in range(2):
            with m.If(self.i_found & (self.i_found_place[-1] == p)):
                m.d.sync += [
                    codes[p].eq(self.i_found_place[:-1]),
                    entries[p].eq(self.i_found_entry),
                    known[p].eq(1),
                ]
        with m.If(self.i_opens):
            m.d.sync += opened.eq(1)
        with m.If(self.i_forgets):
            m.d.sync += [known.eq(0), opened.eq(0)]
        for lane in range(self._lanes):
            place = Signal(self._code_bits + 1, name=f"place_{lane}")
            polarity = place[-1]
            is_it = place[:-1] == Mux(polarity, codes[1], codes[0])
            m.d.sync += [
                place.eq(self.i_place[lane]),
                self.o_takes[lane].eq(is_it & Mux(polarity, known[1], known[0]) & opened & ~self.i_busy),
                self.o_entry[lane].eq(Mux(polarity, entries[1], entries[0])),
            ]
        return m
