"""From the codes of a channel's delay lines to the fine time of its edges."""

from amaranth.hdl import C, Cat, Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.core.along import delayed
from twinphase_spec import tdc, units

Y4_BITS = tdc.X_BITS + 1
TABLE_CLOCKS = 2
"""From an address at the table to its word in a register."""
SIGMA_CLOCKS = TABLE_CLOCKS
"""From a hit at the input to the clock in which the multiplier's registers take its entry and the scale."""
Y4_CLOCKS = TABLE_CLOCKS + 3
"""From a hit at the input to its quarter ticks: registers before and behind the multiplier, and the sum."""


class FineTime(wiring.Component):
    """``fine = (k + 1) S - elapsed`` of the hit of lane k, S the span of a TDC clock::

        y4 = X + ((X sigma) >> 18)      per chain, floor
        elapsed = (sum of y4 + 2 chains) >> (2 + log2 chains), clamped to 1 .. S

    Parameters
    ----------
    lanes : int
    chains : int
        1, 2, 4 or 8.

    Members
    -------
    i_valid : lanes
        A hit, in the clock in which it is at the input (and its address at the table).
    i_x : array of chains times lanes, index h * lanes + k, times 16 bits
        Table entries, two clocks later.
    i_sigma : array of chains, signed 16
        Two clocks later as well.
    o_y4 : array like ``i_x``, times 17 bits
        `Y4_CLOCKS` clocks after the input.
    o_valid, o_fine : lanes, array of lanes times 13 bits
        Ticks into the system clock.

    Latency: `latency` = 6 + log2 chains clocks. Throughput: a hit per lane and clock. Per chain and lane a multiplier.
    """

    def __init__(self, *, lanes: int = 1, chains: int = 1):
        tdc.span_ticks(lanes)
        if chains not in tdc.CHAINS:
            raise ValueError(f"FineTime: chains is {chains}; allowed: {tdc.CHAINS_ALLOWED} delay lines per channel")
        self._lanes, self._chains = lanes, chains
        self._log_chains = chains.bit_length() - 1
        self.latency = Y4_CLOCKS + 1 + self._log_chains
        super().__init__(
            {
                "i_valid": In(lanes),
                "i_x": In(data.ArrayLayout(tdc.X_BITS, chains * lanes)),
                "i_sigma": In(data.ArrayLayout(signed(tdc.SIGMA_BITS), chains)),
                "o_y4": Out(data.ArrayLayout(Y4_BITS, chains * lanes)),
                "o_valid": Out(lanes),
                "o_fine": Out(data.ArrayLayout(units.FRACTION_BITS, lanes)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        span = tdc.span_ticks(self._lanes)
        span_bits = span.bit_length() - 1
        m.d.comb += self.o_valid.eq(delayed(m, self.i_valid, self.latency, "valid"))
        for lane in range(self._lanes):
            sums = []
            for chain in range(self._chains):
                place = chain * self._lanes + lane
                name = f"{chain}_{lane}"
                # Signed operands of the multiplier, in registers of its own.
                x = Signal(signed(tdc.X_BITS + 1), name=f"x_{name}", reset_less=True)
                sigma = Signal(signed(tdc.SIGMA_BITS), name=f"sigma_{name}", reset_less=True)
                product = Signal(signed(tdc.X_BITS + tdc.SIGMA_BITS + 1), name=f"product_{name}", reset_less=True)
                m.d.sync += [x.eq(self.i_x[place]), sigma.eq(self.i_sigma[chain]), product.eq(x * sigma)]
                beside = delayed(m, self.i_x[place], 2, f"beside_{name}")
                m.d.sync += self.o_y4[place].eq(beside + (product >> tdc.SIGMA_SHIFT))
                sums.append(self.o_y4[place])
            level = 0
            while len(sums) > 1:
                level += 1
                pairs = [a + b for a, b in zip(sums[::2], sums[1::2], strict=True)]
                sums = [Signal(Y4_BITS + level, name=f"sum_{lane}_{level}_{i}") for i in range(len(pairs))]
                m.d.sync += [after.eq(pair) for after, pair in zip(sums, pairs, strict=True)]
            total = sums[0]

            # S - elapsed = (4 chains S + 2 chains - 1 - total) >> shift, one subtraction; it says itself whether it is S or below 0.
            shift = tdc.QUARTER_BITS + self._log_chains
            rest = Signal(signed(len(total) + 2), name=f"rest_{lane}")
            m.d.comb += rest.eq(C((span << shift) + (1 << shift - 1) - 1, len(total) + 1) - total)
            ticks = Signal(span_bits, name=f"ticks_{lane}")
            m.d.comb += ticks.eq(rest[shift:])
            early = rest[span_bits + shift] & ~rest[-1]
            fine = Signal(span_bits, name=f"fine_{lane}")
            m.d.comb += self.o_fine[lane].eq(Cat(fine, C(lane, 1)))
            m.d.sync += fine.eq(ticks | early.replicate(span_bits))
            with m.If(rest[-1]):
                m.d.sync += fine.eq(0)
        return m
