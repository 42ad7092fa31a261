"""How phase and slope of the click tracker's channels would differ under another gain, and what clicks say of it."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.core.stages import Stages
from twinphase_hdl.phase.clickblur import BLUR_BITS
from twinphase_hdl.phase.clickextrapolate import CLOCKS_BITS
from twinphase_hdl.phase.clickqueue import CHANNEL_BITS, check_channels
from twinphase_hdl.phase.clickstart import KIND_BITS
from twinphase_hdl.phase.clickstate import SHOWN, SKEW_P, WRITE_P
from twinphase_hdl.phase.clickstep import STEP_A_BITS
from twinphase_hdl.phase.clickword import ChannelWord
from twinphase_spec import tracking

SKEW = SKEW_P + 4
"""Clocks by which z and w are read and written later than the contract has it, four more than p: their steps follow from that of A."""
WRITE_TOLD = WRITE_P + 1
"""Stage in which a is written."""
PASSED = SHOWN + SKEW
"""Stage in which z and w are seen; the multipliers lie far from them, so that there is a register more before and behind each."""
BLUR = PASSED + 5
"""Stage in which z at the click is known, and multiplied with the blur."""
FAR = BLUR + 2
SCORE = WRITE_P - 3
"""Stage in which the score is known. The ring leaves out those from FAR on, in which nothing is done."""
TOLD_BITS = tracking.TOLD_BITS - tracking.TOLD_DROP


def saturated(value: Value, bits: int) -> Value:
    """``sat_bits`` of a signed value."""
    rest = value[bits - 1 :]
    sign = value[-1]
    return Mux(rest.any() & ~rest.all(), Cat((~sign).replicate(bits - 1), sign), value[:bits]).as_signed()


class ClickSense(wiring.Component):
    """z, w and a of each channel: sensitivities of phase and slope to ln g, and the sum of what clicks say of it, by four multipliers::

        at issue  adv = (w passed) >> 14
        tracking  zr = sat_18(z + adv),  dz = sat_18((dA >> 12) - ((zr blur) >> 16)),  dw = sat_18((kappa dz + 2^13) >> 14),
                  da = sat_18((s zr) >> 16)
                  z = sat_18(z + sat_18(adv + dz)),  w = sat_18(w + dw),  a = sat_26(a + da)
        turn      z = sat_18(z + sat_18(adv)),  told = a >> 8,  a = a mod 2^8
        given up  z = w = 0
        reset     z = w = a = 0

    Where i_on is 0, dz is 0, and with it z, w and a from the reset on.

    Parameters
    ----------
    channels : int
        1 to 32.

    Members
    -------
    i_read : In(5)
        Channel of the event issued in clock T.
    i_passed : In(17)
        Clocks since its channel's last event, in T + 8.
    i_blur : In(14)
        P/2 in 2^-16, in T + 13.
    i_kappa : In(17)
        2^-28 per clock, in T + 15.
    i_score : In(signed(18))
        s, 2^-14 1/rad, in T + 22.
    i_kind, i_reset, i_on : In(3), In(1), In(1)
        Kind, reset, and whether the channel's gains adapt, in T + 22.
    i_valid, i_channel, i_again, i_twice : In(1), In(5), In(1), In(1)
        In T + 23.
    i_step_a : In(signed(37))
        dA, 2^-32 turn, in T + 24.
    i_lost : In(1)
        The event has given its channel up, in T + 26.
    o_told : Out(signed(18))
        ``a >> 8`` before the event, in T + 27.

    Latency: `latency` = 30 clocks from reading to z and w as they are left. Throughput: an event per clock. Overflow: z, w, a saturate.
    Source: docs/tracking.md, gains that adapt; Ljung and Soederstroem, Theory and Practice of Recursive Identification, 1983, ch. 3.
    """

    def __init__(self, *, channels: int) -> None:
        check_channels("ClickSense", channels)
        self._channels = channels
        super().__init__(
            {
                "i_read": In(CHANNEL_BITS),
                "i_passed": In(CLOCKS_BITS),
                "i_blur": In(BLUR_BITS),
                "i_kappa": In(tracking.KAPPA_BITS),
                "i_score": In(signed(tracking.SCORE_BITS)),
                "i_kind": In(KIND_BITS),
                "i_reset": In(1),
                "i_on": In(1),
                "i_valid": In(1),
                "i_channel": In(CHANNEL_BITS),
                "i_again": In(1),
                "i_twice": In(1),
                "i_step_a": In(signed(STEP_A_BITS)),
                "i_lost": In(1),
                "o_told": Out(signed(TOLD_BITS)),
            }
        )

    @property
    def latency(self) -> int:
        """Clocks from reading to z and w as they are left."""
        return tracking.WRITE + SKEW + 1

    def elaborate(self, platform) -> Module:
        m = Module()
        stages = Stages(m)
        z_bits, w_bits = tracking.Z_BITS, tracking.W_BITS
        m.submodules.senses = senses = ChannelWord(
            channels=self._channels, bits=z_bits + w_bits, read_bits=z_bits + w_bits
        )
        m.submodules.told = told = ChannelWord(channels=self._channels, bits=tracking.TOLD_BITS)

        # What the event finds.
        m.d.comb += senses.i_read.eq(stages.given("read", 0, self.i_read).at(SKEW))
        z = stages.given("z", PASSED, senses.o_read[:z_bits].as_signed())
        w = stages.given("w", PASSED, senses.o_read[z_bits:].as_signed())
        passed = stages.given("passed", PASSED, self.i_passed)
        advanced = stages.after("advanced", PASSED + 1, lambda w, passed: w * passed, w, passed)
        come = PASSED + 3
        advance = stages.given("advance", come, advanced.at(come) >> tracking.ADVANCE_SHIFT)
        ahead = stages.after("ahead", come, lambda z, advance: z + advance, z, advance)
        here = stages.after("here", come + 1, lambda ahead: saturated(ahead, z_bits), ahead)
        blur = stages.given("blur", BLUR, self.i_blur)
        blurred = stages.after("blurred", BLUR, lambda here, blur: here * blur, here, blur)
        fall = stages.given("fall", FAR, blurred.at(FAR) >> tracking.Z_FALL_SHIFT)
        kappa = stages.given("kappa", FAR, self.i_kappa)
        here, fall, advance, kappa = stages.far("sense", FAR, SCORE, here, fall, advance, kappa)

        # What it says of the gain.
        write = tracking.WRITE + SKEW
        valids = {WRITE_P - 2: self.i_valid}
        for stage in range(WRITE_P - 1, write - 1):
            valids[stage] = Signal(name=f"valid_{stage}")
            m.d.sync += valids[stage].eq(valids[stage - 1])
        kind = stages.given("kind", WRITE_P - 3, self.i_kind)
        reset = stages.given("reset", WRITE_P - 3, self.i_reset)
        on = stages.given("on", WRITE_P - 3, self.i_on)
        tracks = stages.after("tracks", WRITE_P - 3, lambda kind: kind == tracking.TRACKING, kind)
        turns = stages.after("turns", WRITE_P - 3, lambda kind: kind == tracking.TURN, kind)
        score = stages.given("score", SCORE, self.i_score)
        tells = stages.after("tells", SCORE + 1, lambda score, here: score * here, score, here)
        tells = stages.after(
            "tells_limited", SCORE + 2, lambda tells: saturated(tells >> tracking.TELL_SHIFT, tracking.TELL_BITS), tells
        )
        tells = stages.after("tells_tracking", WRITE_P, lambda tells, on: Mux(on, tells, 0), tells, tracks)
        channel = stages.given("channel", WRITE_P - 2, self.i_channel)
        again, twice = (stages.given(name, WRITE_P - 2, getattr(self, f"i_{name}")) for name in ("again", "twice"))
        for word, place in ((told, WRITE_TOLD - 2), (senses, write - 2)):
            m.d.comb += [
                *(word.i_valid.eq(valids[place]), word.i_channel.eq(channel.at(place))),
                *(word.i_again.eq(again.at(place)), word.i_twice.eq(twice.at(place))),
            ]
        total = saturated(told.o_word.as_signed() + tells.at(WRITE_TOLD), tracking.TOLD_BITS)
        drop = tracking.TOLD_DROP
        # A turn tells nothing: of its sum the low bits are what is left, and of a reset none.
        m.d.comb += told.i_word.eq(
            Cat(
                total[:drop] & ~reset.at(WRITE_TOLD).replicate(drop),
                total[drop:] & ~turns.at(WRITE_TOLD).replicate(TOLD_BITS),
            )
        )
        left = stages.after("told", WRITE_TOLD, lambda: told.o_word[drop:])
        m.d.comb += self.o_told.eq(left.at(WRITE_TOLD + 1))

        # Its steps of z and w.
        step_a = stages.given("step_a", WRITE_P - 1, self.i_step_a)
        net = stages.after("net", WRITE_P - 1, lambda step, fall: (step >> tracking.Z_SHIFT) - fall, step_a, fall)
        adapts = stages.after("adapts", WRITE_P - 2, lambda on, tracks: on & tracks, on, tracks)
        step = stages.after("step", WRITE_P, lambda net, on: Mux(on, saturated(net, z_bits), 0), net, adapts)
        moves = stages.after("moves", WRITE_P - 2, lambda tracks, turns: tracks | turns, tracks, turns)
        along = stages.after("along", WRITE_P, lambda advance, on: Mux(on, advance, 0), advance, moves)
        both = stages.after("both", WRITE_P + 1, lambda step, along: step + along, step, along)
        turned = stages.after("turned", WRITE_P + 1, lambda kappa, step: kappa * step, kappa, step)
        step_z = stages.after("step_z", WRITE_P + 3, lambda both: saturated(both, z_bits), both)
        nearest = stages.after(
            "nearest", WRITE_P + 2, lambda turned: ((turned >> tracking.W_STEP_SHIFT - 1) + 1) >> 1, turned
        )
        step_w = stages.after("step_w", WRITE_P + 3, lambda nearest: saturated(nearest, w_bits), nearest)

        lost = stages.given("lost", WRITE_P + 1, self.i_lost)
        stays = stages.after("stays", write - 1, lambda lost, reset: ~lost & ~reset, lost, reset).at(write)
        z = saturated(senses.o_word[:z_bits].as_signed() + step_z.at(write), z_bits)
        w = saturated(senses.o_word[z_bits:].as_signed() + step_w.at(write), w_bits)
        m.d.comb += [
            senses.i_word.eq(Cat(z, w) & stays.replicate(z_bits + w_bits)),
        ]
        return m
