"""How far a channel's variance has grown since its last event, and how long it has been quiet."""

from amaranth.hdl import Cat, Module, Mux, Signal
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
    i_valid, i_channel, i_again, i_twice : In(1), In(5), In(1), In(1)
        An event, and whether the events of one and of two clocks before it are of the same channel.
    i_turn, i_reset, i_x : In(1), In(1), In(16)
        What it is, and its x in clocks.
    i_d, i_dark : In(34), In(24)
        Of its channel, two clocks later: growth per clock, 2^-46 of rad^2/(2 pi); clocks without a click that lose the phase, or 0.
    o, o_silent : Out(32), Out(1)
        grow, 2^-34 of rad^2/(2 pi), and whether the event is a silent turn; of a reset neither means anything.
    o_passed : Out(17)
        passed.

    Latency: `latency` = 6 clocks to grow, `silent_latency` = 5 to silence, `passed_latency` = 3 to passed. Throughput: an event per
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
                "i_again": In(1),
                "i_twice": In(1),
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
        return 5

    @property
    def passed_latency(self) -> int:
        """Clocks from event to passed."""
        return 3

    def elaborate(self, platform) -> Module:
        m = Module()
        stages = Stages(m)
        length = EpochLength(m, self.i_epoch_bits)
        m.submodules.last = last = memory.Memory(
            shape=tracking.EPOCH_BITS, depth=max(self._channels, 2), init=[], attrs={"ram_style": "block"}
        )
        read, write = last.read_port(), last.write_port()
        x = stages.given("x", 0, self.i_x)
        channel = stages.given("channel", 0, self.i_channel)
        again, twice = (stages.given(name, 0, getattr(self, f"i_{name}")) for name in ("again", "twice"))
        valid = Signal()
        # It is written a clock late: what the event one clock before has left is not there yet.
        m.d.sync += valid.eq(self.i_valid)
        m.d.comb += [
            read.addr.eq(self.i_channel),
            write.addr.eq(channel.at(1)),
            write.data.eq(x.at(1)),
            write.en.eq(valid),
        ]
        stored = stages.after("stored", 1, lambda: read.data)
        # x of a turn is 0, so that 2^E stands beside it.
        now = stages.given("now", 0, Cat(self.i_x, 0) | (length.unit & self.i_turn.replicate(UNIT_BITS)))
        ahead = x.at(3)
        passed = stages.after(
            "passed",
            2,
            lambda now, again, stored: (now - Mux(again, ahead, stored))[:UNIT_BITS],
            now,
            again,
            stored,
        )
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
        m.d.comb += [
            *(word.i_valid.eq(valid), word.i_channel.eq(channel.at(1))),
            *(word.i_again.eq(again.at(1)), word.i_twice.eq(twice.at(1))),
        ]
        goes_on = stages.given("goes_on", 0, self.i_turn & ~self.i_reset)
        dark = stages.given("dark", 2, self.i_dark)
        watched = stages.after("watched", 2, lambda dark: dark.any(), dark)
        longer = word.o_word + passed.at(3)
        m.d.comb += word.i_word.eq((longer[:bits] | longer[bits].replicate(bits)) & goes_on.at(3).replicate(bits))
        quiet = stages.after("quiet", 3, lambda: word.i_word)
        silent = stages.after("silent", 4, lambda quiet, dark, on: on & (dark < quiet), quiet, dark, watched)

        m.d.comb += [self.o.eq(grow.at(6)), self.o_silent.eq(silent.at(5)), self.o_passed.eq(passed.at(3))]
        return m
