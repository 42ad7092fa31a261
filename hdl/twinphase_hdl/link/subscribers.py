"""Who has asked for a node's streams, and until when."""

from amaranth.hdl import Array, Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

TICKS = 64
"""Parts of a lease's length: it ends so much late at most."""


class Subscribers(wiring.Component):
    """A table of ``places`` addresses. A SUBSCRIBE renews its sender's lease or enters it in the first free place.

    A lease lasts ``lease_clocks``, and less than a tick of a 64th of it more: it counts ticks down, so that no time wraps around.

    Members
    -------
    i_renew, i_ip_address, i_port : In(1), In(32), In(16) - strobe: a SUBSCRIBE came from there; the address holds for two clocks more,
        in which there is no other.
    o_refused : Out(1) - strobe: there was no free place.
    o_live : Out(places) - one bit per place whose lease lasts.
    i_select : In(range(places)); o_ip_address, o_port : Out(32), Out(16) - the address there, a clock later.
    i_strike : In(1) - strobe: the lease of the selected place ends.

    Latency: a lease begins 3 clocks after ``i_renew``. Overflow: who finds no place is refused and may come again.
    """

    def __init__(self, *, places: int, lease_clocks: int):
        if not 1 <= places <= 16:
            raise ValueError(f"subscribers: places is {places}; allowed: 1 to 16")
        if lease_clocks < TICKS:
            raise ValueError(f"subscribers: lease_clocks is {lease_clocks}; allowed: at least {TICKS}")
        self._places = places
        self._tick_clocks = -(-lease_clocks // TICKS)
        super().__init__(
            {
                "i_renew": In(1),
                "i_ip_address": In(32),
                "i_port": In(16),
                "o_refused": Out(1),
                "o_live": Out(places),
                "i_select": In(range(places)),
                "o_ip_address": Out(32),
                "o_port": Out(16),
                "i_strike": In(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        places = range(self._places)
        wait = Signal(range(self._tick_clocks), init=self._tick_clocks - 1)
        tick = Signal()
        m.d.sync += [wait.eq(wait - 1), tick.eq(wait == 0)]
        with m.If(wait == 0):
            m.d.sync += wait.eq(self._tick_clocks - 1)

        address = [Signal(48, name=f"address_{k}") for k in places]
        left = [Signal(range(TICKS + 2), name=f"left_{k}") for k in places]
        """Ticks that the lease sees, the one under way among them."""
        asks = Cat(self.i_ip_address, self.i_port)
        known, free = Signal(self._places), Signal(self._places)
        """One bit at most in each: the sender's place, the first without a lease."""
        matched, renews = Signal(), Signal()
        m.d.sync += [matched.eq(self.i_renew), renews.eq(matched)]
        live = Cat(ticks.any() for ticks in left)
        m.d.comb += self.o_live.eq(live)
        equal = Signal(self._places)
        for k in places:
            # A place keeps its address when its lease ends, and so an address may be in two: only one of them lives.
            m.d.sync += [
                equal[k].eq(address[k] == asks),
                known[k].eq(equal[k] & live[k]),
                free[k].eq(~live[k] & (live[:k].all() if k else 1)),
            ]
            with m.If(tick & live[k]):
                m.d.sync += left[k].eq(left[k] - 1)
            with m.If(self.i_strike & (self.i_select == k)):
                m.d.sync += left[k].eq(0)
            with m.If(renews & (known[k] | (free[k] & ~known.any()))):
                m.d.sync += [left[k].eq(TICKS + 1), address[k].eq(asks)]
        m.d.sync += [
            self.o_refused.eq(renews & ~known.any() & ~free.any()),
            Cat(self.o_ip_address, self.o_port).eq(Array(address)[self.i_select]),
        ]
        return m
