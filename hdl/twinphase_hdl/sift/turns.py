"""Which groups of pulses have their turn to be drawn: each index once, whatever the emission's corrections do to them."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..core.along import delayed


class GroupTurns(wiring.Component):
    """Says of each group that is asked for whether it is drawn, and whether all that was drawn before it is to be forgotten.

    Formula: with w the group after the one that was drawn last and lag ``(w - g) mod 2^bits``: 0, drawn; 1 to ``most`` - 1, passed;
    all else, and the first group since one was not asked for, drawn and forgets.

    Members
    -------
    i_asks, i_group : In(1), In(bits), group g is asked for
    o_asked, o_group : Out(1), Out(bits), the same, `latency` clocks later
    o_draws, o_forgets : Out(1), Out(1), it is drawn; and the ring forgets (only with ``o_draws``)

    Latency: `latency` clocks (group; step from the one before; its size; decided). Throughput: a group per clock. Overflow: none.
    Source: docs/symbols.md.

    ``bits``: of a group's number; ``most``: a power of two, below 2^(bits - 2). ValueError otherwise.
    """

    latency = 4

    def __init__(self, *, bits: int, most: int) -> None:
        if most < 2 or most & (most - 1) or most >= 1 << (bits - 2):
            raise ValueError(
                f"GroupTurns: most is {most} of {bits} bits; allowed: powers of two from 2, below 2^(bits - 2)"
            )
        self._lag_bits = most.bit_length() - 1
        super().__init__(
            {
                "i_asks": In(1),
                "i_group": In(bits),
                "o_asked": Out(1),
                "o_group": Out(bits),
                "o_draws": Out(1),
                "o_forgets": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bits, near_bits = len(self.i_group), self._lag_bits + 2
        group, before, step = Signal(bits), Signal(bits), Signal(bits)
        asks, asked_before, moves, first = Signal(), Signal(), Signal(), Signal()
        m.d.sync += [
            *(group.eq(self.i_group), asks.eq(self.i_asks)),
            *(before.eq(group), asked_before.eq(asks)),
            *(step.eq(group - before), moves.eq(asks), first.eq(~asked_before)),
        ]
        # A step beyond what a lag can be forgets, whatever the lag was.
        near, short, decides, fresh = Signal(), Signal(signed(near_bits)), Signal(), Signal()
        upper = step[near_bits - 1 :]
        m.d.sync += [
            near.eq(~upper.any() | upper.all()),
            short.eq(step[:near_bits]),
            *(decides.eq(moves), fresh.eq(first)),
        ]
        # From the group before to w: its lag, or 1 if it was drawn. So the lag is that less the step.
        ahead = Signal(self._lag_bits, init=1)
        lag = Signal(signed(near_bits + 1))
        in_turn, forgets = Signal(), Signal()
        m.d.comb += [
            lag.eq(ahead - short),
            in_turn.eq(short == ahead),
            forgets.eq(fresh | ~near | lag[self._lag_bits :].any()),
        ]
        m.d.sync += [
            self.o_asked.eq(decides),
            self.o_draws.eq(decides & (forgets | in_turn)),
            self.o_forgets.eq(decides & forgets),
        ]
        with m.If(decides):
            m.d.sync += ahead.eq(Mux(forgets | in_turn, 1, lag))
        m.d.comb += self.o_group.eq(delayed(m, group, self.latency - 1, "group"))
        return m
