"""From a clock at twice the system clock to two lanes of the system clock."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.timetag.halves import middle_is_next


class Gearbox(wiring.Component):
    """Joins the words of two clocks of ``tdc`` to the two lanes of one clock of ``sync``.

    Both clocks come from one PLL with their edges aligned, ``tdc`` at twice the frequency. The TDC clock that ends in the middle of
    system clock c is lane 0 of c, that which ends with c is lane 1. Both words lie in registers that change in the middle of a
    system clock only, half a clock before and after the edge of ``sync`` that takes them: set-up and hold are half a clock each, whatever
    the skew between the clock trees.

    Parameters
    ----------
    width : int
        Bits of a word.
    before : int
        TDC clocks that a word has behind it at ``i``, from the register that sampled it. If odd, one more is added here.

    Members
    -------
    i : width
        Domain ``tdc``; a word sampled at an edge is here ``before`` clocks after it.
    o : array of 2 times width
        Domain ``sync``. Lane 0 is the earlier.

    Latency: `latency` system clocks from the clock in which the word is sampled to ``o``, ``before`` included. Throughput: two words per
    system clock. During the first four system clocks after a reset the output may be anything that was at the input. ValueError for
    a width below 1 or a negative ``before``.
    """

    def __init__(self, *, width: int, before: int):
        if width < 1:
            raise ValueError(f"Gearbox: width is {width}; allowed: at least 1")
        if before < 0:
            raise ValueError(f"Gearbox: before is {before}; allowed: 0 or more TDC clocks")
        super().__init__({"i": In(width), "o": Out(data.ArrayLayout(width, 2))})
        self._width = width
        self._odd = before & 1
        self.latency = 2 + (before + 1) // 2

    def elaborate(self, platform):
        m = Module()
        first_half = middle_is_next(m)

        word = self.i
        if self._odd:
            word = Signal(self._width, name="word")
            m.d.tdc += word.eq(self.i)
        earlier = Signal(self._width)
        pair = Signal(data.ArrayLayout(self._width, 2))
        m.d.tdc += earlier.eq(word)
        with m.If(first_half):
            m.d.tdc += [pair[0].eq(earlier), pair[1].eq(word)]
        m.d.sync += self.o.eq(pair)
        return m
