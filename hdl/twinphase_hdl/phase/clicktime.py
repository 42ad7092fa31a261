"""How far a channel's variance has grown since its last event, and how long it has been quiet."""

from amaranth.hdl import Cat, Module, Mux
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.core.stages import Stages
from twinphase_hdl.phase.clickepoch import CHOICE_BITS, UNIT_BITS, EpochLength
from twinphase_hdl.phase.clickqueue import CHANNEL_BITS, check_channels
from twinphase_hdl.phase.clickword import ChannelWord
from twinphase_spec import tracking

PIECE = 17
"""Unsigned bits of a multiplier's operand."""


class ClickTime(wiring.Component):
    """``grow = min((d passed) >> 12, 2^32 - 1)``, ``passed = x - last`` of a click, ``2^E - last`` of a turn, whose x is 0; then
    ``last = x``. ``quiet`` is 0 after a click and ``min(quiet + passed, 2^24 - 1)`` after a turn; a turn is silent if that is above dark,
    and dark is not 0.

    Parameters
    ----------
    channels : int
        1 to 32.

    Members
    -------
    i_epoch_bits : In(5)
        E.
    i_valid, i_channel, i_turn, i_reset, i_x : In(1), In(5), In(1), In(1), In(16)
        An event, x in clocks.
    i_d, i_dark : In(34), In(24)
        Of its channel, two clocks later: growth per clock, 2^-46 of rad^2/(2 pi); clocks without a click that lose the phase, or 0.
    o, o_silent : Out(32), Out(1)
        grow, 2^-34 of rad^2/(2 pi), and whether the event is a silent turn; of a reset neither means anything.
    o_passed : Out(17)
        passed.

    Latency: `latency` = 6 clocks to grow, `silent_latency` = 4 to silence, `passed_latency` = 2 to passed. Throughput: an event per
    clock. Overflow: grow and quiet saturate.
    Source: docs/tracking.md, at issue.
    """

    def __init__(self, *, channels: int) -> None:
        check_channels("ClickTime", channels)
        self._channels = channels
        super().__init__(
            {
                "i_epoch_bits": In(CHOICE_BITS),
                "i_valid": In(1),
                "i_channel": In(CHANNEL_BITS),
                "i_turn": In(1),
                "i_reset": In(1),
                "i_x": In(tracking.EPOCH_BITS),
                "i_d": In(tracking.D_BITS),
                "i_dark": In(tracking.QUIET_BITS),
                "o": Out(tracking.P_BITS),
                "o_silent": Out(1),
                "o_passed": Out(UNIT_BITS),
            }
        )

    @property
    def latency(self) -> int:
        """Clocks from event to grow."""
        return 6

    @property
    def silent_latency(self) -> int:
        """Clocks from event to silence."""
        return 4

    @property
    def passed_latency(self) -> int:
        """Clocks from event to passed."""
        return 2

    def elaborate(self, platform) -> Module:
        m = Module()
        stages = Stages(m)
        length = EpochLength(m, self.i_epoch_bits)
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
        # x of a turn is 0, so that 2^E stands beside it.
        now = stages.given("now", 0, Cat(self.i_x, 0) | (length.unit & self.i_turn.replicate(UNIT_BITS)))
        before = stages.after("before", 0, lambda: read.data)
        passed = stages.after("passed", 1, lambda now, before: (now - before)[:UNIT_BITS], now, before)
        d = stages.given("d", 2, self.i_d)
        low = stages.after("d_low", 2, lambda d: d[:PIECE], d)
        high = stages.after("d_high", 2, lambda d: d[PIECE:], d)
        low = stages.after("low", 3, lambda d, passed: d * passed, low, passed)
        high = stages.after("high", 3, lambda d, passed: d * passed, high, passed)
        shift = tracking.D_SHIFT
        whole = stages.after("whole", 4, lambda low, high: (low >> shift) + (high << PIECE - shift), low, high)
        grow = stages.after(
            "grow",
            5,
            lambda whole: Mux(whole[tracking.P_BITS :].any(), tracking.P_MAX, whole[: tracking.P_BITS]),
            whole,
        )

        bits = tracking.QUIET_BITS
        m.submodules.quiet = word = ChannelWord(channels=self._channels, bits=bits)
        m.d.comb += [word.i_valid.eq(self.i_valid), word.i_channel.eq(self.i_channel)]
        goes_on = stages.given("goes_on", 0, self.i_turn & ~self.i_reset)
        dark = stages.given("dark", 2, self.i_dark)
        watched = stages.after("watched", 2, lambda dark: dark.any(), dark)
        longer = word.o_word + passed.at(2)
        m.d.comb += word.i_word.eq((longer[:bits] | longer[bits].replicate(bits)) & goes_on.at(2).replicate(bits))
        quiet = stages.after("quiet", 2, lambda: word.i_word)
        silent = stages.after("silent", 3, lambda quiet, dark, on: on & (dark < quiet), quiet, dark, watched)

        m.d.comb += [self.o.eq(grow.at(6)), self.o_silent.eq(silent.at(4)), self.o_passed.eq(passed.at(2))]
        return m
