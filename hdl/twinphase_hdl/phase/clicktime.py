"""How far a channel's variance has grown since its last event."""

from amaranth.hdl import Cat, Module, Mux
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.core.stages import Stages
from twinphase_hdl.phase.clickqueue import CHANNEL_BITS, check_channels
from twinphase_spec import tracking

PIECE = 17
"""Unsigned bits of a multiplier's operand."""


class ClickTime(wiring.Component):
    """``grow = min((d passed) >> 12, 2^32 - 1)``, ``passed = x - last`` of a click, ``2^16 - last`` of a turn, whose x is 0; then
    ``last = x``.

    Parameters
    ----------
    channels : int
        1 to 32.

    Members
    -------
    i_valid, i_channel, i_turn, i_x : In(1), In(5), In(1), In(16)
        An event, x in clocks.
    i_d : In(34)
        Its channel's growth per clock, one clock later, 2^-46 of rad^2/(2 pi).
    o : Out(32)
        grow, 2^-34 of rad^2/(2 pi).

    Latency: `latency` = 5 clocks. Throughput: an event per clock. Overflow: grow saturates.
    Source: docs/tracking.md, at issue.
    """

    def __init__(self, *, channels: int) -> None:
        check_channels("ClickTime", channels)
        self._channels = channels
        super().__init__(
            {
                "i_valid": In(1),
                "i_channel": In(CHANNEL_BITS),
                "i_turn": In(1),
                "i_x": In(tracking.EPOCH_BITS),
                "i_d": In(tracking.D_BITS),
                "o": Out(tracking.P_BITS),
            }
        )

    @property
    def latency(self) -> int:
        """Clocks from event to grow."""
        return 5

    def elaborate(self, platform) -> Module:
        m = Module()
        stages = Stages(m)
        m.submodules.last = last = memory.Memory(
            shape=tracking.EPOCH_BITS, depth=max(self._channels, 2), init=[], attrs={"ram_style": "distributed"}
        )
        read, write = last.read_port(domain="comb"), last.write_port()
        m.d.comb += [
            read.addr.eq(self.i_channel),
            write.addr.eq(self.i_channel),
            write.data.eq(self.i_x),
            write.en.eq(self.i_valid),
        ]
        now = stages.given("now", 0, Cat(self.i_x, self.i_turn))
        before = stages.after("before", 0, lambda: read.data)
        passed = stages.after("passed", 1, lambda now, before: (now - before)[: tracking.EPOCH_BITS + 1], now, before)
        d = stages.given("d", 1, self.i_d)
        low = stages.after("d_low", 1, lambda d: d[:PIECE], d)
        high = stages.after("d_high", 1, lambda d: d[PIECE:], d)
        low = stages.after("low", 2, lambda d, passed: d * passed, low, passed)
        high = stages.after("high", 2, lambda d, passed: d * passed, high, passed)
        shift = tracking.D_SHIFT
        whole = stages.after("whole", 3, lambda low, high: (low >> shift) + (high << PIECE - shift), low, high)
        grow = stages.after(
            "grow",
            4,
            lambda whole: Mux(whole[tracking.P_BITS :].any(), tracking.P_MAX, whole[: tracking.P_BITS]),
            whole,
        )
        m.d.comb += self.o.eq(grow.at(5))
        return m
