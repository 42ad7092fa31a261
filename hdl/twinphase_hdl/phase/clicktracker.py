"""Phase and slope of up to 32 channels from single clicks, in fixed point."""

from amaranth.hdl import C, Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from twinphase_hdl.core.stages import Stages
from twinphase_hdl.phase.clickadapt import ClickAdapt
from twinphase_hdl.phase.clickblur import ClickBlur
from twinphase_hdl.phase.clickconfig import ChannelWords, ClickConfig
from twinphase_hdl.phase.clickepoch import CHOICE_BITS, UNIT_BITS, EpochLength
from twinphase_hdl.phase.clickevidence import ClickEvidence
from twinphase_hdl.phase.clickextrapolate import Extrapolation
from twinphase_hdl.phase.clickqueue import CHANNEL_BITS, ClickEntry, ClickEvent, ClickQueue, check_channels
from twinphase_hdl.phase.clickscore import ALONG, ClickScore
from twinphase_hdl.phase.clicksense import BLUR, FAR, PASSED
from twinphase_hdl.phase.clickstart import KIND_BITS, ColdStart
from twinphase_hdl.phase.clickstate import SHOWN, SKEW_A, SKEW_B, SKEW_P, SUMS, WRITE_A, WRITE_B, WRITE_P, ClickState
from twinphase_hdl.phase.clickstep import ClickStep
from twinphase_hdl.phase.clicktime import ClickTime
from twinphase_spec import tracking, units

FRONT = 1
"""Clocks from the transfer of a click to its issue: the queue's one. Stages are numbered as in the contract: stage 0 is that of the clock
T of the issue, in which an event leaves the queue."""
NEXT = tracking.WORDS - 1
"""Stage in which a turn lets its channels have their next words: the first event that has them leaves the queue a clock later."""
WORDS, SEEN, GAINS, SCORE, STEP, STEPPED = 2, 6, 8, 10, 15, 24
"""Stages in which an event's words are known; all that it has found but A; its q; in which its phase goes into its score; in which its
gains, in rings since stages WORDS and GAINS, come together; in which its steps are known."""


class ClickPhase(data.Struct):
    """State of a channel after an event, and its phase at the event's t; ``phase + (((slope >> 8) (t' - t)) >> 12)`` at a later t'."""

    channel: CHANNEL_BITS
    time: tracking.EVENT_CLOCK_BITS
    kind: KIND_BITS
    locked: 1
    broke: 1
    """Since the channel's last turn its phase has not gone on: a start, a loss, a jump."""
    phase: signed(tracking.A_BITS)
    """Unwrapped, 2^-32 turn."""
    slope: signed(tracking.B_BITS)
    """B, 2^-52 turn/clock."""
    p: tracking.P_BITS
    """2^-34 of rad^2/(2 pi)."""
    v: tracking.V_BITS
    """2^-32."""


class ClickTracker(wiring.Component):
    """Follows the phase psi and its slope by every click (sign +1 at L, -1 at R, reference r), at a variance P and a visibility V::

        v = sign V (1 - P/2),  theta = psi + r
        s = -v sin(theta) / (1 + v cos(theta)),   c = v (cos(theta) + v) / (1 + v cos(theta))^2
        P += D dt;   psi += P s;   slope += kappa P s;   P -= P^2 c

    in the numbers of docs/tracking.md. Clicks that tell of half a turn more move the phase by it; clicks that tell of no fringe, or a
    silence, give it up. D and kappa adapt to what clicks say of them. One pipeline of 28 multipliers serves all channels.

    Parameters
    ----------
    channels : int
        1 to 32.

    Members
    -------
    i_run : In(1)
        0 forgets what is under way; when it becomes 1, every channel is reset.
    i_epoch_bits : In(5)
        E of epochs of 2^E clocks, 9 to 16; while i_run = 1 it stands still.
    i_config, i_config_valid : In(ChannelWords), In(1)
        A channel's configuration; while i_run = 0.
    i : In(stream of ClickEntry)
        Clicks and turns, in the order of their times, a turn first.
    o, o_valid : Out(ClickPhase), Out(1)
        One per click and one per channel of a turn, in the order of entries and channels.

    Latency: `latency` = FRONT + OUTPUT = 32 clocks from the transfer of a click, or of a turn for its first channel, to o_valid;
    `start_up` clocks from i_run to i.ready. Throughput: an event per clock; a turn is ``channels`` events. Overflow: phases wrap, the
    rest saturates; entries wait outside.
    Source: docs/tracking.md.
    """

    def __init__(self, *, channels: int) -> None:
        check_channels("ClickTracker", channels)
        self._queue = ClickQueue(channels=channels)
        self._channels = channels
        super().__init__(
            {
                "i_run": In(1),
                "i_epoch_bits": In(CHOICE_BITS),
                "i_config": In(ChannelWords),
                "i_config_valid": In(1),
                "i": In(stream.Signature(ClickEntry)),
                "o": Out(ClickPhase),
                "o_valid": Out(1),
            }
        )

    @property
    def latency(self) -> int:
        """Clocks from transfer to output."""
        return FRONT + tracking.OUTPUT

    @property
    def start_up(self) -> int:
        """Clocks from i_run to i.ready."""
        return self._queue.start_up

    def elaborate(self, platform) -> Module:
        m = Module()
        stages = Stages(m)
        m.submodules.queue = queue = self._queue
        m.submodules.config = config = ClickConfig(channels=self._channels)
        m.submodules.time = time = ClickTime(channels=self._channels)
        m.submodules.start = start = ColdStart(channels=self._channels)
        m.submodules.blur = blur = ClickBlur()
        m.submodules.extrapolation = extrapolation = Extrapolation()
        m.submodules.score = score = ClickScore()
        m.submodules.step = step = ClickStep()
        m.submodules.evidence = evidence = ClickEvidence(channels=self._channels)
        m.submodules.state = state = ClickState(channels=self._channels)
        m.submodules.adapt = adapt = ClickAdapt(channels=self._channels)
        m.submodules.last_extrapolation = last_extrapolation = Extrapolation()

        connect(m, flipped(self.i), queue.i)
        length = EpochLength(m, self.i_epoch_bits)
        m.d.comb += [
            *(queue.i_run.eq(self.i_run), adapt.i_run.eq(self.i_run)),
            *(time.i_epoch_bits.eq(self.i_epoch_bits), state.i_epoch_bits.eq(self.i_epoch_bits)),
            *(config.i.eq(self.i_config), config.i_valid.eq(self.i_config_valid)),
            *(adapt.i_config.eq(self.i_config), adapt.i_config_valid.eq(self.i_config_valid)),
            *(config.i_gain.eq(adapt.o_gain), adapt.i_gain.eq(config.o_gain)),
        ]
        valid = [queue.o_valid]
        for stage in range(1, tracking.OUTPUT + 1):
            valid.append(Signal(name=f"valid_{stage}"))
            m.d.sync += valid[stage].eq(valid[stage - 1] & self.i_run)

        # The issue: the words of an event, and how much the variance has grown.
        event = {name: stages.given(name, 0, queue.o[name]) for name, _ in data.Layout.cast(ClickEvent)}
        again, twice = (
            stages.given(name, 0, valid[k] & (queue.o.channel == event["channel"].at(k)))
            for name, k in (("again", 1), ("twice", 2))
        )
        x = stages.given("x", 0, length.clocks(queue.o.time))
        parity = stages.given("parity", 0, length.parity(queue.o.time))
        m.d.comb += [
            *(config.i_early.eq(queue.o.channel), adapt.i_event.eq(queue.o.channel)),
            *(time.i_valid.eq(queue.o_valid), time.i_channel.eq(queue.o.channel)),
            *(time.i_again.eq(again.at(0)), time.i_twice.eq(twice.at(0))),
            *(time.i_turn.eq(queue.o.turn), time.i_reset.eq(queue.o.reset)),
            *(time.i_x.eq(x.at(0)), time.i_d.eq(adapt.o.d), time.i_dark.eq(config.o_early.dark)),
            adapt.i_turn.eq(
                valid[NEXT] & event["turn"].at(NEXT) & ~event["reset"].at(NEXT) & (event["channel"].at(NEXT) == 0)
            ),
        ]
        kappa = stages.given("kappa", adapt.words_latency, adapt.o.kappa)
        a_gain = stages.given("a_gain", config.latency, config.o_early.a_gain)
        v_gain = stages.given("v_gain", config.latency, config.o_early.v_gain)
        passed = stages.given("passed", time.passed_latency, time.o_passed)
        silent = stages.given("silent", time.silent_latency, time.o_silent)
        grow = stages.given("grow", time.latency, time.o)

        # What it finds.
        p_seen, b_seen, a_seen = (SHOWN + skew for skew in (SKEW_P, SKEW_B, SKEW_A))
        first = SUMS - 2
        p = stages.given("p", p_seen, state.o_p)
        u = stages.given("u", b_seen, state.o_v)
        locked = stages.given("locked", b_seen, state.o_locked)
        m.d.comb += [state.i_read.eq(event["channel"].at(0)), start.i_valid.eq(valid[first])]
        m.d.comb += [start.i[name].eq(part.at(first)) for name, part in event.items()]
        m.d.comb += [start.i_again.eq(again.at(first)), start.i_twice.eq(twice.at(first))]
        m.d.comb += [
            start.i_locked.eq(locked.at(SUMS)),
            start.i_lost.eq(state.o_lost),
            start.i_lost_channel.eq(state.o_lost_channel),
            blur.i_p.eq(p.at(SEEN)),
            blur.i_grow.eq(grow.at(SEEN)),
            blur.i_u.eq(u.at(SEEN + 2)),
            extrapolation.i_slope.eq(state.o_b),
            extrapolation.i_clocks.eq(
                Cat(x.at(b_seen), 0) | (length.unit & (parity.at(b_seen) ^ state.o_epoch).replicate(UNIT_BITS))
            ),
        ]
        a = stages.given("a", a_seen, state.o_a)
        way = stages.given("way", b_seen + extrapolation.latency, extrapolation.o)
        psi = stages.after("psi", way.stage, lambda a, way: (a + way)[: tracking.A_FRACTION], a, way)
        high = tracking.A_FRACTION - units.TURN_BITS
        theta = stages.after(
            "theta",
            psi.stage,
            lambda psi, reference: (psi[high:] + reference)[units.TURN_BITS - tracking.SINE_BITS : units.TURN_BITS],
            psi,
            event["reference"],
        )
        kind = stages.given("kind", first + 3, start.o_kind)
        tracks = stages.after("tracks", kind.stage, lambda kind: kind == tracking.TRACKING, kind)
        angle = stages.given("angle", first + start.latency, start.o_angle)
        start_step = stages.after(
            "start_step",
            angle.stage,
            lambda angle, psi, kind: Mux(
                kind == tracking.STARTING, (Cat(C(0, high), angle[: units.TURN_BITS]) - psi)[: tracking.A_FRACTION], 0
            ),
            angle,
            psi,
            kind,
        )

        # The click's correction. What is no tracking click has no gain.
        q = stages.given("q", SEEN + 2, blur.o_q)
        w = stages.given("w", SEEN + blur.latency, blur.o_w)
        q = stages.given("q_tracking", GAINS, q.at(GAINS) & tracks.at(GAINS).replicate(tracking.Q_BITS))
        grows = tracks.at(GAINS) | event["turn"].at(GAINS)
        grow = stages.given("grow_taken", GAINS, grow.at(GAINS) & grows.replicate(tracking.P_BITS))
        early = kappa, v_gain, a_gain, x, event["channel"], again, twice, event["reset"], parity
        kappa, v_gain, a_gain, x, channel, again, twice, reset, parity = stages.far("near", WORDS, STEP, *early)
        q, grow, kind, tracks, silent = stages.far("gains", GAINS, STEP, q, grow, kind, tracks, silent)
        (time_of,) = stages.far("time", 0, WRITE_B + 1, event["time"])
        (start_step,) = stages.far("start", start_step.stage, STEPPED, start_step)
        m.d.comb += [
            score.i_index.eq(theta.at(SCORE)),
            score.i_w.eq(w.at(SCORE + 2)),
            score.i_port.eq(event["port"].at(SCORE + 2)),
            *(step.i_q.eq(q.at(STEP)), step.i_kappa.eq(kappa.at(STEP)), step.i_x.eq(x.at(STEP))),
            step.i_v_gain.eq(v_gain.at(STEP) & tracks.at(STEP).replicate(tracking.V_GAIN_BITS)),
            *(getattr(step, f"i_{name}").eq(getattr(score, f"o_{name}")) for name in ("score", "inform", "gradient")),
        ]
        step_a = stages.given("step_a", STEPPED, step.o_a)
        moved = stages.after("moved", STEPPED, lambda step, start: step | start.as_signed(), step_a, start_step)

        # The write.
        words = WRITE_P - 3
        along = stages.given("along", SCORE + ALONG, score.o_along)
        blurred = stages.given("blurred", SEEN + 4, blur.o_blur)
        for part in (state, evidence, adapt):
            m.d.comb += [
                part.i_kind.eq(kind.at(words)),
                part.i_reset.eq(reset.at(words)),
                part.i_valid.eq(valid[WRITE_P - 2]),
                part.i_channel.eq(channel.at(WRITE_P - 2)),
                *(part.i_again.eq(again.at(WRITE_P - 2)), part.i_twice.eq(twice.at(WRITE_P - 2))),
            ]
        m.d.comb += [
            config.i_late.eq(channel.at(words - config.latency)),
            state.i_words.eq(config.o_late),
            state.i_silent.eq(silent.at(words)),
            state.i_parity.eq(parity.at(words)),
            state.i_grow.eq(grow.at(WRITE_P - 2)),
            *(state.i_fall.eq(step.o_fall), state.i_step_b.eq(step.o_b), state.i_step_v.eq(step.o_v)),
            state.i_step_a.eq(moved.at(WRITE_P)),
            *(state.i_jump.eq(evidence.o_jump), state.i_lose.eq(evidence.o_lose)),
            evidence.i_index.eq(along.at(words)),
            evidence.i_words.eq(config.o_late),
            evidence.i_lost.eq(state.o_loses),
            adapt.i_read.eq(event["channel"].at(0)),
            adapt.i_passed.eq(passed.at(PASSED)),
            adapt.i_blur.eq(blurred.at(BLUR)),
            adapt.i_kappa.eq(kappa.at(FAR)),
            adapt.i_score.eq(score.o_score),
            adapt.i_a_gain.eq(a_gain.at(words)),
            adapt.i_step_a.eq(step.o_a),
            adapt.i_lost.eq(state.o_loses),
        ]

        # The output.
        p = stages.given("left_p", WRITE_P + 1, state.o_left_p)
        b = stages.given("left_b", WRITE_B + 1, state.o_left_b)
        v = stages.given("left_v", WRITE_B + 1, state.o_left_v)
        locked = stages.given("left_locked", WRITE_B + 1, state.o_left_locked)
        broke = stages.given("left_broke", WRITE_B + 1, state.o_left_broke)
        a = stages.given("left_a", WRITE_A + 1, state.o_left_a)
        m.d.comb += [
            last_extrapolation.i_slope.eq(state.o_left_b[tracking.B_DROP :]),
            last_extrapolation.i_clocks.eq(length.clocks(time_of.at(WRITE_B + 1))),
        ]
        last = tracking.OUTPUT
        way = stages.given("left_way", last - 1, last_extrapolation.o)
        phase = stages.after("phase", last - 1, lambda a, way: (a + way)[: tracking.A_BITS], a, way)
        m.d.comb += [
            self.o_valid.eq(valid[last] & ~reset.at(last)),
            self.o.channel.eq(channel.at(last)),
            self.o.time.eq(time_of.at(last)),
            self.o.kind.eq(kind.at(last)),
            self.o.locked.eq(locked.at(last)),
            self.o.broke.eq(broke.at(last)),
            self.o.phase.eq(phase.at(last)),
            self.o.slope.eq(b.at(last)),
            self.o.p.eq(p.at(last)),
            self.o.v.eq(v.at(last)),
        ]
        return m
