"""A fraction of the DAC's range rounded to its codes, with an optional dither."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from twinphase_spec import actuator


class DacCode(wiring.Component):
    """``code = min(2^N - 1, (word + r) >> d)``, d = 18 - N; r is half a code, or with dither what the last code sent has left over::

        r = (word' + r') mod 2^d     of the code that the driver took last

    so that with dither the mean of the codes sent is exactly the word's: their error is a difference of two rests that are less than a
    code. Of it a low-pass with a pole of a per code sent passes less than a codes.

    Parameters
    ----------
    bits : int
        N, 10 to 16.

    Members
    -------
    i_word : In(18)
        2^-18 of the range.
    i_dither : In(1)
    i_taken : In(1)
        Strobe: the driver takes o_code.
    o_code : Out(N)

    Latency: `latency` = 1 clock. Throughput: a word, and a code taken, per clock. Overflow: the highest code stays.
    """

    def __init__(self, *, bits: int) -> None:
        self._bits = actuator.check_dac_bits(bits)
        super().__init__(
            {"i_word": In(actuator.WORD_BITS), "i_dither": In(1), "i_taken": In(1), "o_code": Out(self._bits)}
        )

    @property
    def latency(self) -> int:
        """Clocks from word to code."""
        return 1

    def elaborate(self, platform) -> Module:
        m = Module()
        drop = actuator.WORD_BITS - self._bits
        rest, left_over = Signal(drop), Signal(drop)  # of the code that is shown, of the code taken last
        now = Signal(drop)
        total = Signal(actuator.WORD_BITS + 1)
        m.d.comb += [
            now.eq(Mux(self.i_taken, rest, left_over)),
            total.eq(self.i_word + Mux(self.i_dither, now, 1 << drop - 1)),
        ]
        m.d.sync += [
            left_over.eq(now),
            rest.eq(total[:drop]),
            self.o_code.eq(total[drop : actuator.WORD_BITS] | total[-1].replicate(self._bits)),
        ]
        return m
