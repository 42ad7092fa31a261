"""The state of the click tracker's channels."""

from amaranth.hdl import C, Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.core.stages import Stages
from twinphase_hdl.phase.clickconfig import LateWords
from twinphase_hdl.phase.clickepoch import CHOICE_BITS, EpochLength
from twinphase_hdl.phase.clickqueue import CHANNEL_BITS, check_channels
from twinphase_hdl.phase.clickstart import KIND_BITS
from twinphase_hdl.phase.clickstep import FALL_BITS, STEP_A_BITS, STEP_B_BITS, STEP_V_BITS
from twinphase_hdl.phase.clickword import ChannelWord, saturated
from twinphase_spec import tracking

SKEW_P, SKEW_B, SKEW_A = 2, 3, 5
"""Clocks by which p; B, V, locked, broke and e0; and A are read and written later than the contract has it: the loss that p tells clears
B, and the turn moves A by B, which is shifted first. A state that is read as much later as it is written shows an event what the contract
says."""
WRITE_P, WRITE_B, WRITE_A = (tracking.READ + tracking.WRITE + skew for skew in (SKEW_P, SKEW_B, SKEW_A))
SHOWN = 2
"""Clocks from the reading of a state to where it is seen."""
SUMS = SHOWN + SKEW_B + 1
"""Stage in which the sums of the cold start change: a clock after locked is seen."""
LOST = tracking.WRITE + SUMS
"""Stage in which a loss clears them: as far behind the write as those are behind the issue."""
READ_B_BITS = tracking.B_BITS - tracking.B_DROP


class ClickState(wiring.Component):
    """p, B, V, locked, broke, e0 and A of each channel, read at the issue of an event and changed by it WRITE clocks later::

        turn      A += ((B >> 8) 2^E) >> 12;  e0 = e mod 2;  p = min(p + dp, 2^32 - 1);  if p > p_lost or silent:  given up
        starting  A += dA;  p = p_start;  locked = broke = 1
        tracking  A += dA;  B = sat_42(B + dB);  p = max(min(p + dp, 2^32 - 1), p_min);  V = min(max(V + dV, 2^30), 2^32 - 1)
        all       if jump:  A += 2^31, broke = 1;   if lose:  given up
        given up  locked = B = p = 0, broke = 1, o_lost
        reset     A = B = p = locked = broke = e0 = 0;  V = v_start 2^16

    A turn shows broke, and then clears it.

    What decides about p_min and p_lost is summed beside p itself: ``dp - p_min`` is known before.

    Parameters
    ----------
    channels : int
        1 to 32.

    Members
    -------
    i_epoch_bits : In(5)
        E.
    i_read : In(5)
        Channel of the event issued in clock T.
    o_p, o_b, o_v, o_locked, o_epoch, o_a : Out(32), Out(signed(34)), Out(16), Out(1), Out(1), Out(32)
        Its state: p in T + 4; B >> 8, V >> 16, locked, e0 in T + 5; the fraction of A in T + 7.
    i_kind, i_reset, i_silent, i_parity, i_words : In(3), In(1), In(1), In(1), In(LateWords)
        Kind, reset, silence, e mod 2 and configuration of the event of T + 22.
    i_valid, i_channel, i_again, i_twice, i_grow : In(1), In(5), In(1), In(1), In(32)
        The event of T + 23, whether the one and the two clocks before are of its channel, and the growth of its variance; 0 of one
        that is neither a turn nor tracking.
    i_fall, i_step_b, i_step_v : In(signed(35)), In(signed(40)), In(signed(33))
        Steps of the event of T + 24, of p downwards.
    i_jump, i_lose, i_step_a : In(1), In(1), In(signed(37))
        What was pending for the event of T + 25, and its step of A.
    o_left_p, o_left_b, o_left_v, o_left_locked, o_left_broke : Out(32), Out(signed(42)), Out(32), Out(1), Out(1)
        What an event leaves: p in T + 26; B, V, locked, broke in T + 27.
    o_left_a : Out(signed(64))
        A, in T + 29.
    o_loses : Out(1)
        T + 26: the event, if it is one, has given its channel up.
    o_lost, o_lost_channel : Out(1), Out(5)
        T + 29: an event has given this channel up.

    Latency: `latency` = 29 clocks from reading to A as it is left. Throughput: an event per clock. Overflow: A wraps, the others
    saturate.
    Source: docs/tracking.md, at write.
    """

    def __init__(self, *, channels: int) -> None:
        check_channels("ClickState", channels)
        self._channels = channels
        super().__init__(
            {
                "i_epoch_bits": In(CHOICE_BITS),
                "i_read": In(CHANNEL_BITS),
                "o_p": Out(tracking.P_BITS),
                "o_b": Out(signed(READ_B_BITS)),
                "o_v": Out(tracking.VISIBILITY_BITS),
                "o_locked": Out(1),
                "o_epoch": Out(1),
                "o_a": Out(tracking.A_FRACTION),
                "i_kind": In(KIND_BITS),
                "i_reset": In(1),
                "i_silent": In(1),
                "i_parity": In(1),
                "i_words": In(LateWords),
                "i_valid": In(1),
                "i_channel": In(CHANNEL_BITS),
                "i_again": In(1),
                "i_twice": In(1),
                "i_grow": In(tracking.P_BITS),
                "i_fall": In(signed(FALL_BITS)),
                "i_step_a": In(signed(STEP_A_BITS)),
                "i_step_b": In(signed(STEP_B_BITS)),
                "i_step_v": In(signed(STEP_V_BITS)),
                "i_jump": In(1),
                "i_lose": In(1),
                "o_left_p": Out(tracking.P_BITS),
                "o_left_b": Out(signed(tracking.B_BITS)),
                "o_left_v": Out(tracking.V_BITS),
                "o_left_locked": Out(1),
                "o_left_broke": Out(1),
                "o_left_a": Out(signed(tracking.A_BITS)),
                "o_loses": Out(1),
                "o_lost": Out(1),
                "o_lost_channel": Out(CHANNEL_BITS),
            }
        )

    @property
    def latency(self) -> int:
        """Clocks from reading to A as it is left."""
        return WRITE_A + 1

    def elaborate(self, platform) -> Module:
        m = Module()
        stages = Stages(m)
        length = EpochLength(m, self.i_epoch_bits)
        read = stages.given("read", 0, self.i_read)
        channel = stages.given("channel", WRITE_P - 2, self.i_channel)
        again, twice = (stages.given(name, WRITE_P - 2, getattr(self, f"i_{name}")) for name in ("again", "twice"))
        valids = [self.i_valid]
        for stage in range(WRITE_P - 1, LOST + 1):
            valid = Signal(name=f"valid_{stage}")
            m.d.sync += valid.eq(valids[-1])
            valids.append(valid)

        kind = stages.given("kind", WRITE_P - 3, self.i_kind)
        reset = stages.given("reset", WRITE_P - 3, self.i_reset)
        silent = stages.given("silent", WRITE_P - 3, self.i_silent)
        parity = stages.given("parity", WRITE_P - 3, self.i_parity)
        jump = stages.given("jump", WRITE_P, self.i_jump)
        turn = stages.after("turn", WRITE_P - 3, lambda kind: kind == tracking.TURN, kind)
        starting = stages.after("starting", WRITE_P - 3, lambda kind: kind == tracking.STARTING, kind)

        def word(
            name: str, bits: int, skew: int, read_bits: int, read_low: int = 0, saturates: bool = False
        ) -> ChannelWord:
            place = tracking.WRITE + skew - 2
            m.submodules[name] = word = ChannelWord(
                channels=self._channels, bits=bits, read_bits=read_bits, read_low=read_low, saturates=saturates
            )
            m.d.comb += [
                word.i_read.eq(read.at(skew)),
                word.i_valid.eq(valids[skew - SKEW_P]),
                word.i_channel.eq(channel.at(place)),
                *(word.i_again.eq(again.at(place)), word.i_twice.eq(twice.at(place))),
            ]
            return word

        # p, and whether the turn gives the channel up.
        words = self.i_words
        tracks = kind.at(WRITE_P - 3) == tracking.TRACKING
        turns = kind.at(WRITE_P - 3) == tracking.TURN
        starts = kind.at(WRITE_P - 3) == tracking.STARTING
        limit = stages.after("limit", WRITE_P - 3, lambda: Mux(tracks, words.p_min, words.p_lost))
        strict = stages.after("strict", WRITE_P - 3, lambda: turns)
        other = stages.after("other", WRITE_P - 3, lambda: Mux(tracks, words.p_min, Mux(starts, words.p_start, 0)))
        always = stages.after(
            "always", WRITE_P - 3, lambda reset, silent: starts | reset | (turns & silent), reset, silent
        )
        ends = stages.after("ends", WRITE_P - 3, lambda silent: turns & silent, silent)
        if_below = stages.after("if_below", WRITE_P - 3, lambda: tracks)
        # Above the highest p_lost there is no p.
        if_above = stages.after("if_above", WRITE_P - 3, lambda reset: turns & ~reset & ~words.p_lost.all(), reset)
        grow = stages.given("grow", WRITE_P - 2, self.i_grow)

        def over_limit(grow: Value, limit: Value, strict: Value) -> Value:
            """``grow - limit``, 1 less if strict, of one carry chain: what is carried in stands below the numbers."""
            return (Cat(~strict, grow, C(0, 1)) + Cat(~strict, ~limit, C(1, 1)))[1 : tracking.P_BITS + 2].as_signed()

        spare = stages.after("spare", WRITE_P - 2, over_limit, grow, limit, strict)
        fall = stages.given("fall", WRITE_P - 1, self.i_fall)
        step_p, margin = (
            stages.after(name, WRITE_P - 1, lambda up, down: up - down, up, fall)
            for name, up in (("step_p", grow), ("margin", spare))
        )
        p = word("p", tracking.P_BITS, SKEW_P, tracking.P_BITS)
        # A step of 2^32 or more takes p to its limit whatever it is; of any other one, bit 32 of the sum says whether it does, unless
        # the sum is below 0, where it is not looked at.
        change = step_p.at(WRITE_P)
        far = ~change[-1] & change[tracking.P_BITS :].any()
        sum_p = (p.o_word + Cat(change[: tracking.P_BITS], change[-1]))[: tracking.P_BITS + 1]
        below = (p.o_word + margin.at(WRITE_P))[-1]
        ended = ends.at(WRITE_P) | self.i_lose
        gives_up = Mux(below, ended, ended | if_above.at(WRITE_P))
        replaced = always.at(WRITE_P) | self.i_lose
        if_less, if_more = replaced | if_below.at(WRITE_P), replaced | if_above.at(WRITE_P)
        other_p = other.at(WRITE_P) & ~self.i_lose.replicate(tracking.P_BITS)
        substitute = other_p | (far & ~if_more).replicate(tracking.P_BITS)
        limited = sum_p[: tracking.P_BITS] | sum_p[tracking.P_BITS].replicate(tracking.P_BITS)
        m.d.comb += [p.i_word.eq(limited), p.i_given.eq(substitute), p.i_takes.eq(Mux(below, if_less, if_more | far))]
        lost = stages.after("lost", WRITE_P, lambda: gives_up)

        # B.
        clear = lost.at(WRITE_B) | reset.at(WRITE_B)
        step_b = stages.given("step_b", WRITE_P - 1, self.i_step_b)
        b = word("b", tracking.B_BITS, SKEW_B, READ_B_BITS, tracking.B_DROP, saturates=True)
        slope = saturated(b.o_word)
        m.d.comb += b.i_word.eq(Mux(clear, 0, slope + step_b.at(WRITE_B)))

        # V.
        v_start = stages.after("v_start", WRITE_P - 3, lambda: words.v_start)
        step_v = stages.given("step_v", WRITE_P - 1, self.i_step_v)
        whole = tracking.V_BITS - tracking.VISIBILITY_BITS
        v = word("v", tracking.V_BITS, SKEW_B, tracking.VISIBILITY_BITS, read_low=whole)
        sum_v = v.o_word + step_v.at(WRITE_B)
        # 2^30 to 2^32 - 1: what is above and below shows in the highest four of 34 bits.
        v_low = sum_v[-1] | ~sum_v[tracking.V_BITS - 2 : -1].any()
        v_high = ~sum_v[-1] & sum_v[tracking.V_BITS]
        m.d.comb += v.i_word.eq(
            Mux(
                reset.at(WRITE_B),
                Cat(C(0, tracking.VISIBILITY_BITS), v_start.at(WRITE_B)),
                Mux(v_low, tracking.V_LEAST, Mux(v_high, tracking.V_MOST, sum_v[: tracking.V_BITS])),
            )
        )

        # locked, e0 and broke.
        flags = word("flags", 3, SKEW_B, 2)
        locked, epoch, broke = flags.o_word
        breaks = ~reset.at(WRITE_B) & (broke | starting.at(WRITE_B) | jump.at(WRITE_B) | lost.at(WRITE_B))
        m.d.comb += flags.i_word.eq(
            Cat(
                ~clear & (starting.at(WRITE_B) | locked),
                ~reset.at(WRITE_B) & Mux(turn.at(WRITE_B), parity.at(WRITE_B), epoch),
                ~turn.at(WRITE_B) & breaks,
            )
        )

        # A: a turn moves it by the slope over an epoch, in two steps of a shift by E - 12.
        step_a = stages.given("step_a", WRITE_P, self.i_step_a)
        near = stages.after(
            "near", WRITE_B, lambda turn: Mux(turn, (slope >> tracking.B_DROP) << length.beyond[:2], 0), turn
        )
        right = tracking.B_SHIFT - tracking.EPOCH_LEAST

        def moved(near: Value, step: Value, jump: Value) -> Value:
            # Either of them is 0.
            move = (Mux(length.beyond[2], near << 4, near) >> right) | step
            half = tracking.A_FRACTION - 1
            return Cat(move[:half], move[half:].as_signed() + jump).as_signed()

        move = stages.after("move", WRITE_A - 1, moved, near, step_a, jump)
        a = word("a", tracking.A_BITS, SKEW_A, tracking.A_FRACTION)
        m.d.comb += a.i_word.eq(Mux(reset.at(WRITE_A), 0, (a.o_word + move.at(WRITE_A))[: tracking.A_BITS]))

        m.d.comb += [
            self.o_p.eq(p.o_read),
            self.o_b.eq(b.o_read),
            self.o_v.eq(v.o_read),
            Cat(self.o_locked, self.o_epoch).eq(flags.o_read),
            self.o_a.eq(a.o_read),
            self.o_loses.eq(lost.at(WRITE_P + 1)),
            self.o_lost.eq(lost.at(LOST) & valids[LOST - (WRITE_P - 2)]),
            self.o_lost_channel.eq(channel.at(LOST)),
            self.o_left_p.eq(p.o_left),
            self.o_left_b.eq(b.o_left),
            self.o_left_v.eq(v.o_left),
            self.o_left_a.eq(a.o_left),
            self.o_left_locked.eq(flags.o_left[0]),
            self.o_left_broke.eq(stages.after("left_broke", WRITE_B, lambda: breaks).at(WRITE_B + 1)),
        ]
        return m
