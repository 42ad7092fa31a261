"""The time below which no tag is still to come."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out


class Horizon(wiring.Component):
    """``o_horizon = (clock - 2) * 8192 + min(delay of enabled channels)``, modulo 2^order_bits: the horizon of the next clock.

    ``clock`` is the count that edges presented in this clock belong to. In the next clock, edges of all clocks before ``clock - 2``
    are in a queue (a channel's latency is 4), so no tag that is still to come is below this. With no channel enabled none is to
    come: the largest delay stands in.

    The sum is made a clock before. In the first clock after the count was loaded it follows the old count: too low after
    a jump ahead, so that tags wait for a clock; a jump back is only for when no tags are inside.

    Members
    -------
    i_clock : clock_bits
    i_enable : channels
    i_delay : array of signed delay_bits, ticks
        Act `config_latency` clocks after they change; edges that come sooner may leave out of order.
    o_horizon : order_bits, ticks
    """

    def __init__(self, *, channels: int, clock_bits: int, fine_bits: int, delay_bits: int, order_bits: int):
        super().__init__(
            {
                "i_clock": In(clock_bits),
                "i_enable": In(channels),
                "i_delay": In(data.ArrayLayout(signed(delay_bits), channels)),
                "o_horizon": Out(order_bits),
            }
        )
        self._channels = channels
        self._fine_bits = fine_bits
        self._delay_bits = delay_bits

    @property
    def config_latency(self) -> int:
        """Clocks from a change of enable or delay to its effect."""
        return 3 + (self._channels - 1).bit_length()

    def elaborate(self, platform):
        m = Module()
        largest = (1 << (self._delay_bits - 1)) - 1

        def register(value):
            after = Signal(signed(self._delay_bits))
            m.d.sync += after.eq(value)
            return after

        level = [
            register(Mux(self.i_enable[channel], self.i_delay[channel], largest)) for channel in range(self._channels)
        ]
        while len(level) > 1:
            pairs = [level[i : i + 2] for i in range(0, len(level), 2)]
            level = [register(Mux(pair[0] < pair[-1], pair[0], pair[-1])) for pair in pairs]
        least = Signal(signed(max(self._delay_bits, self._fine_bits + 1) + 1))
        m.d.sync += [
            least.eq(level[0] - (1 << self._fine_bits)),
            self.o_horizon.eq(Cat(Const(0, self._fine_bits), self.i_clock) + least),
        ]
        return m
