"""Evidence of the click tracker's channels for a phase half a turn further, and for no fringe."""

from amaranth.hdl import Cat, Module, Mux, Value
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.core.stages import Staged, Stages
from twinphase_hdl.phase.clickconfig import LateWords
from twinphase_hdl.phase.clickqueue import CHANNEL_BITS, check_channels
from twinphase_hdl.phase.clickstart import KIND_BITS
from twinphase_hdl.phase.clickstate import WRITE_P
from twinphase_hdl.phase.clickword import ChannelWord
from twinphase_spec import tracking

WRITE = WRITE_P
"""J, W and what they found are written in the clock of p: the next event of the channel finds it done, and so does p itself."""
BITS = tracking.EVIDENCE_BITS


class Evidence(data.Struct):
    """J, W, and which of them have found something that is not yet done: if both have, J's counts."""

    j: BITS
    w: BITS
    jump: 1
    fade: 1


class ClickEvidence(wiring.Component):
    """Two sums of log-likelihood ratios per channel, never below 0, with the index ``a = (along + 2^17) >> 8``::

        tracking       J = max(J + JUMP[a], 0),  W = max(W + FADE[a], 0)
                       if j_alarm > 0 and J >= j_alarm:  jump = 1, J = W = 0;  else if w_alarm > 0 and W >= w_alarm:  lose = 1, J = W = 0
        starting, reset, given up                        J = W = 0
        every event    finds jump and lose of the channel's event before; they are then 0 but for what it has found itself

    Whatever decides about an alarm is summed beside the sum itself: ``JUMP[a] - j_alarm`` is known before. What makes J and W 0 does so
    by what the channel's next event starts from: an alarm is in its word, and a loss is known a clock later than the rest.

    Parameters
    ----------
    channels : int
        1 to 32.

    Members
    -------
    i_index, i_kind, i_reset, i_words : In(10), In(3), In(1), In(LateWords)
        a, kind, reset and configuration of the event of T + 22.
    i_valid, i_channel, i_again, i_twice : In(1), In(5), In(1), In(1)
        The event of T + 23, and whether the one and the two clocks before are of its channel.
    i_lost : In(1)
        The event of T + 26 has given its channel up.
    o_jump, o_lose : Out(1), Out(1)
        What was pending when the event of T + 25 came.

    Latency: `latency` = 3 clocks from index to write. Throughput: an event per clock. Overflow: the upper limit of J and W
    never shows: above their alarm they become 0, and without an alarm nothing follows from them, so that they may wrap.
    Source: docs/tracking.md, at write; Page, Biometrika 41, 1954, 100.
    """

    def __init__(self, *, channels: int) -> None:
        check_channels("ClickEvidence", channels)
        self._channels = channels
        super().__init__(
            {
                "i_index": In(tracking.EVIDENCE_INDEX_BITS),
                "i_kind": In(KIND_BITS),
                "i_reset": In(1),
                "i_words": In(LateWords),
                "i_valid": In(1),
                "i_channel": In(CHANNEL_BITS),
                "i_again": In(1),
                "i_twice": In(1),
                "i_lost": In(1),
                "o_jump": Out(1),
                "o_lose": Out(1),
            }
        )

    @property
    def latency(self) -> int:
        """Clocks from index to write."""
        return 3

    def elaborate(self, platform) -> Module:
        m = Module()
        stages = Stages(m)
        step_bits = tracking.EVIDENCE_STEP_BITS
        m.submodules.steps = steps = memory.Memory(
            shape=2 * step_bits,
            depth=1 << tracking.EVIDENCE_INDEX_BITS,
            init=[
                jump % (1 << step_bits) | fade % (1 << step_bits) << step_bits
                for jump, fade in zip(tracking.JUMP, tracking.FADE, strict=True)
            ],
            attrs={"ram_style": "block"},
        )
        first = WRITE - self.latency
        index = stages.given("index", first, self.i_index)
        both = stages.table("both", first, steps, index)
        kind = stages.given("kind", first, self.i_kind)
        reset = stages.given("reset", first, self.i_reset)
        tracks = stages.after("tracks", first, lambda kind: kind == tracking.TRACKING, kind)
        fresh = stages.after("fresh", first, lambda kind, reset: (kind == tracking.STARTING) | reset, kind, reset)

        m.submodules.evidence = word = ChannelWord(
            channels=self._channels, bits=Evidence.as_shape().size, clear_bits=2 * BITS
        )
        m.d.comb += [
            getattr(word, f"i_{name}").eq(getattr(self, f"i_{name}")) for name in ("valid", "channel", "again", "twice")
        ]
        m.d.comb += word.i_clear.eq(self.i_lost)
        found = data.View(Evidence, word.o_word)
        none = fresh.at(WRITE) | found.jump | found.fade | word.o_cleared

        def judged(name: str, before: Value, alarm: Value, part: slice) -> tuple[Value, Value]:
            """Sum of the evidence, from 0 if there is none, not below 0; and whether it has reached the alarm."""
            alarm = stages.given(f"{name}_alarm", first, alarm)
            on = stages.after(f"{name}_on", first + 1, lambda alarm, tracks: alarm.any() & tracks, alarm, tracks)
            step, alone, margin = self._step(stages, name, part, both, alarm, tracks)
            whole = before + step.at(WRITE)
            limited = whole[:BITS] & ~whole[-1].replicate(BITS)
            short = Mux(none, margin.at(WRITE)[-1], (before + margin.at(WRITE))[-1])
            return Mux(none, alone.at(WRITE), limited)[:BITS], on.at(WRITE) & ~short

        j, jumps = judged("jump", found.j, self.i_words.j_alarm, slice(0, step_bits))
        w, fades = judged("fade", found.w, self.i_words.w_alarm, slice(step_bits, None))
        m.d.comb += [
            word.i_word.eq(Cat(j, w, jumps, fades)),
            self.o_jump.eq(found.jump),
            self.o_lose.eq(found.fade & ~found.jump),
        ]
        return m

    @staticmethod
    def _step(
        stages: Stages, name: str, part: slice, both: Staged, alarm: Staged, tracks: Staged
    ) -> tuple[Staged, Staged, Staged]:
        """The step of a tracking click, otherwise 0; the same if it is above 0; and how far it is above the alarm."""
        stage, bits = both.stage, tracking.EVIDENCE_STEP_BITS
        step = stages.given(f"{name}_step", stage, both.at(stage)[part].as_signed())
        margin = stages.after(f"{name}_margin", stage, lambda step, alarm: step - alarm, step, alarm)
        taken = stages.after(f"{name}_taken", stage, lambda step, on: Mux(on, step, 0)[:bits].as_signed(), step, tracks)
        alone = stages.after(
            f"{name}_alone", stage, lambda step, on: Mux(on & ~step[-1], step[: bits - 1], 0), step, tracks
        )
        return taken, alone, margin
