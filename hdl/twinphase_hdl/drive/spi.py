"""A DAC on a serial line of three wires."""

from amaranth.hdl import C, Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

MAX_FRAME_BITS = 32


class SpiDac(wiring.Component):
    """Sends ``prefix, word, suffix`` in a frame, highest bit first. With B bits in all and half periods of H clocks, a frame is::

        half period 0          o_select low, clock line at rest
        1 .. 2B                an edge of the clock line at the beginning of each; odd: away from rest, even: back
        2B + 1 ..              o_select high, for gap half periods at least

    Bit j is there in half periods 2j and 2j + 1 (CPHA = 0, to be taken at 2j + 1), or 2j + 1 and 2j + 2 (CPHA = 1, at 2j + 2).
    Some DACs take a word at the last edge of the clock line (AD5663R), others when they are no longer selected (AD5541): a half
    period later.

    Parameters
    ----------
    bits : int
        Of a word.
    half_clocks : int
        H, at least 1: the clock line has ``clock / 2 H``.
    cpol, cpha : int
        Rest of the clock line; edge at which a bit is taken.
    prefix, prefix_bits : int
        A command before each word.
    suffix_bits : int
        Zeros behind it.
    gap : int
        Half periods between two frames, at least 1.

    Members
    -------
    i : In(stream of bits)
    o_select : Out(1)
        Low in a frame (SYNC, CS or LOAD of the DAC).
    o_clock, o_data : Out(1), Out(1)
        All three come from flip-flops.

    Latency: `latency` clocks from the transfer of i to o_select high. Throughput: a word per `period` clocks. Overflow: none, i waits.
    """

    def __init__(
        self,
        *,
        bits: int = 16,
        half_clocks: int,
        cpol: int = 0,
        cpha: int = 0,
        prefix: int = 0,
        prefix_bits: int = 0,
        suffix_bits: int = 0,
        gap: int = 1,
    ) -> None:
        frame = prefix_bits + bits + suffix_bits
        if bits < 1 or prefix_bits < 0 or suffix_bits < 0 or frame > MAX_FRAME_BITS:
            raise ValueError(
                f"SpiDac: {prefix_bits} + {bits} + {suffix_bits} bits; allowed: a word of 1 and more, {MAX_FRAME_BITS} in all"
            )
        if not 0 <= prefix < 1 << prefix_bits:
            raise ValueError(
                f"SpiDac: prefix is {prefix}; allowed: 0 to {(1 << prefix_bits) - 1} in {prefix_bits} bits"
            )
        if half_clocks < 1 or gap < 1:
            raise ValueError(f"SpiDac: half_clocks is {half_clocks}, gap {gap}; allowed: 1 and more")
        if cpol not in (0, 1) or cpha not in (0, 1):
            raise ValueError(f"SpiDac: cpol is {cpol}, cpha {cpha}; allowed: 0 or 1")
        self._bits, self._half_clocks, self._cpol, self._cpha, self._gap = bits, half_clocks, cpol, cpha, gap
        self._prefix = C(prefix, prefix_bits)
        self._suffix = C(0, suffix_bits)
        self._frame = frame
        super().__init__(
            {
                "i": In(stream.Signature(bits)),
                "o_select": Out(1, init=1),
                "o_clock": Out(1, init=cpol),
                "o_data": Out(1),
            }
        )

    @property
    def latency(self) -> int:
        """A register, and 2B + 1 half periods."""
        return 1 + (2 * self._frame + 1) * self._half_clocks

    @property
    def period(self) -> int:
        """Clocks from a transfer of i to the next."""
        return self.latency + self._gap * self._half_clocks

    def elaborate(self, platform) -> Module:
        m = Module()
        last = 2 * self._frame + self._gap
        shift = Signal(self._frame)
        half = Signal(range(last + 1))
        timer = Signal(range(self._half_clocks))
        busy, turn = Signal(), Signal()
        m.d.comb += [self.i.ready.eq(~busy), turn.eq(timer == 0)]
        m.d.sync += timer.eq(Mux(turn, self._half_clocks - 1, timer - 1))
        word = Cat(self._suffix, self.i.payload, self._prefix)
        odd = ~half[0]  # of the half period that begins next
        with m.If(~busy):
            m.d.sync += [
                shift.eq(word),
                half.eq(0),
                timer.eq(self._half_clocks - 1),
                busy.eq(self.i.valid),
                self.o_select.eq(~self.i.valid),
            ]
            if not self._cpha:
                # The first bit is there with o_select.
                m.d.sync += [self.o_data.eq(word[-1] & self.i.valid), shift.eq(word << 1)]
        with m.Elif(turn):
            m.d.sync += half.eq(half + 1)
            with m.If(half < 2 * self._frame):
                m.d.sync += self.o_clock.eq(odd ^ self._cpol)
                with m.If(odd if self._cpha else ~odd):
                    m.d.sync += [self.o_data.eq(shift[-1]), shift.eq(shift << 1)]
            with m.Else():
                m.d.sync += [self.o_select.eq(1), self.o_data.eq(0)]
            with m.If(half == last):
                m.d.sync += busy.eq(0)
        return m
