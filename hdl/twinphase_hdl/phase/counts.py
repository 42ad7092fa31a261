"""Four-phase reference counts of a band, window by window."""

from amaranth.hdl import C, Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.types import Click
from twinphase_spec import fixed
from twinphase_spec.frame import SlotClass

BANDS = ("q", "r")
"""A band's detectors are channels 2b (L) and 2b + 1 (R), b its place here."""
DIFFERENCE_BITS = fixed.COUNT_BITS + 1


class ReferenceCounts(wiring.Component):
    """Counts of one band in REF(k) slots: ``D_k = n_L,k - n_R,k`` and ``N = sum of all``, per window.

    Clicks of two windows may alternate, so there are two banks, chosen by the window's lowest bit. A closing window hands out::

        cosine = D0 - D2,  sine = D3 - D1,  N

    and clears its bank. All its clicks have come by then: the anchor runs LAG_CLOCKS behind the clock count, further than a click
    can wait. A click of the window after next, which takes the bank over, is still thousands of clocks away: a window
    lasts at least twice the lag.

    Parameters
    ----------
    band : "q" or "r"

    Members
    -------
    i, i_valid : In(Click), In(1)
        A framed click; always taken.
    i_swap : In(1)
        Exchanges L and R.
    i_close : In(1)
        Strobe: the window closes whose lowest bit is ``i_bank``.
    i_bank : In(1)
    o_cosine, o_sine : Out(signed(21))
        Of the window closed last; they hold until the next close.
    o_total : Out(20)
        N of the window closed last.
    o_idle : Out(1)
        No click is on its way into a count, and no close to the outputs.

    Latency: a click counts 3 clocks after it came in; outputs follow i_close by `latency` = 2 clocks. Throughput: one click
    per clock. Overflow: D_k saturates at +-COUNT_MAX, N at TOTAL_MAX. No run input: its clock domain's reset clears it.
    """

    i: In(Click)
    i_valid: In(1)
    i_swap: In(1)
    i_close: In(1)
    i_bank: In(1)
    o_cosine: Out(signed(DIFFERENCE_BITS))
    o_sine: Out(signed(DIFFERENCE_BITS))
    o_total: Out(fixed.COUNT_BITS)
    o_idle: Out(1)

    def __init__(self, *, band: str) -> None:
        if band not in BANDS:
            raise ValueError(f"ReferenceCounts: band is {band!r}; allowed: 'q' or 'r'")
        self._band = BANDS.index(band)
        super().__init__()

    @property
    def latency(self) -> int:
        """Clocks from i_close to the outputs."""
        return 2

    def elaborate(self, platform) -> Module:
        m = Module()
        differences = [
            [Signal(signed(fixed.COUNT_BITS), name=f"bank{bank}_d{k}") for k in range(4)] for bank in range(2)
        ]
        totals = [Signal(fixed.COUNT_BITS, name=f"bank{bank}_total") for bank in range(2)]

        # First clock: whether the click counts, and where. Clicks come from far away.
        click = self.i
        counts, right = Signal(), Signal()
        bank_of_click, step_of_click = Signal(), Signal(2)
        m.d.sync += [
            counts.eq(
                self.i_valid
                & click.framed
                & click.gated
                & (click.channel[1:] == self._band)
                & (click.slot_class[2:] == SlotClass.REF0 >> 2)
            ),
            right.eq(click.channel[0] ^ self.i_swap),
            bank_of_click.eq(click.window[0]),
            step_of_click.eq(click.slot_class[:2]),  # REF0 is a multiple of four
        ]

        # Second clock: strobes of each counter's own, so that its adder and limit lie beside it.
        hits = [Signal(name=f"bank{bank}_hit") for bank in range(2)]
        closes = [Signal(name=f"bank{bank}_closes") for bank in range(2)]
        for bank, (hit, close, bank_differences, total) in enumerate(
            zip(hits, closes, differences, totals, strict=True)
        ):
            hits_bank = counts & (bank_of_click == bank)
            m.d.sync += [hit.eq(hits_bank), close.eq(self.i_close & (self.i_bank == bank))]
            for k, difference in enumerate(bank_differences):
                up, down = Signal(name=f"bank{bank}_up{k}"), Signal(name=f"bank{bank}_down{k}")
                hits_step = hits_bank & (step_of_click == k)
                m.d.sync += [up.eq(hits_step & ~right), down.eq(hits_step & right)]
                _count(m, difference, up=up, down=down, clear=close, limit=fixed.COUNT_MAX)
            _count(m, total, up=hit, down=C(0, 1), clear=close, limit=fixed.TOTAL_MAX)
            with m.If(close):
                d = bank_differences
                m.d.sync += [self.o_cosine.eq(d[0] - d[2]), self.o_sine.eq(d[3] - d[1]), self.o_total.eq(total)]
        m.d.comb += self.o_idle.eq(~(self.i_valid | self.i_close | counts | Cat(*hits, *closes).any()))
        return m


def _count(m: Module, value: Signal, *, up: Value, down: Value, clear: Value, limit: int) -> None:
    """``value`` one up or down, or to zero, within +-limit.

    That it stands at a limit is a register, so that the comparison is not in the way of the step.
    """
    top, bottom = Signal(name=f"{value.name}_top"), Signal(name=f"{value.name}_bottom")
    with m.If(clear):
        m.d.sync += [value.eq(0), top.eq(0), bottom.eq(0)]
    with m.Elif((up & ~top) | (down & ~bottom)):
        m.d.sync += [
            value.eq(value + Mux(down, -1, 1)),
            top.eq(up & (value == limit - 1)),
            bottom.eq(down & (value == 1 - limit)),
        ]
