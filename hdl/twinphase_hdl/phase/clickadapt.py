"""Gains of the click tracker's channels that adapt: what clicks say of them, the gains, and the words in use."""

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.core.stages import Stages
from twinphase_hdl.phase.clickblur import BLUR_BITS
from twinphase_hdl.phase.clickconfig import ChannelWords, GainConfig, GainWords
from twinphase_hdl.phase.clickextrapolate import CLOCKS_BITS
from twinphase_hdl.phase.clickgain import ClickGain
from twinphase_hdl.phase.clickqueue import CHANNEL_BITS, check_channels
from twinphase_hdl.phase.clicksense import WRITE_TOLD, ClickSense
from twinphase_hdl.phase.clickstart import KIND_BITS
from twinphase_hdl.phase.clickstate import WRITE_P
from twinphase_hdl.phase.clickstep import STEP_A_BITS
from twinphase_hdl.phase.clickwords import ClickWords
from twinphase_spec import tracking

TOLD = WRITE_TOLD + 1
"""Stage in which a turn hands over what clicks have said."""


class ClickAdapt(wiring.Component):
    """`ClickSense` sums up what clicks say of a channel's gain; after a turn `ClickGain` makes its next words of it, and at the turn
    after that `ClickWords` puts them into use.

    Parameters
    ----------
    channels : int
        1 to 32.

    Members
    -------
    i_run : In(1)
        0 goes back to the configuration.
    i_config, i_config_valid : In(ChannelWords), In(1)
        A channel's configuration; while i_run = 0.
    o_gain, i_gain : Out(5), In(GainConfig)
        A channel, and two clocks later its configuration.
    i_turn : In(1)
        In the clock T + WORDS - 1, T that of the issue of a turn's channel 0.
    i_event, o : In(5), Out(GainWords)
        Channel of the event that is issued in this clock, and its words, `words_latency` clocks later.
    i_read, i_passed, i_blur, i_kappa, i_score, i_kind, i_reset, i_valid, i_channel, i_again, i_twice, i_step_a, i_lost
        As of `ClickSense`.
    i_a_gain : In(4)
        In T + 22, with the kind.

    Latency: `latency` clocks from the issue of a turn's channel 0 until all channels' next words are ready. Throughput: an event per
    clock; a turn per ``8 channels + 128`` clocks, and one that comes sooner than the words are ready goes on with those in use.
    Overflow: all saturate.
    Source: docs/tracking.md, gains that adapt.
    """

    def __init__(self, *, channels: int) -> None:
        check_channels("ClickAdapt", channels)
        self._channels = channels
        self._gain = ClickGain(channels=channels)
        self._words = ClickWords(channels=channels)
        super().__init__(
            {
                "i_run": In(1),
                "i_config": In(ChannelWords),
                "i_config_valid": In(1),
                "o_gain": Out(CHANNEL_BITS),
                "i_gain": In(GainConfig),
                "i_turn": In(1),
                "i_event": In(CHANNEL_BITS),
                "o": Out(GainWords),
                "i_read": In(CHANNEL_BITS),
                "i_passed": In(CLOCKS_BITS),
                "i_blur": In(BLUR_BITS),
                "i_kappa": In(tracking.KAPPA_BITS),
                "i_score": In(signed(tracking.SCORE_BITS)),
                "i_kind": In(KIND_BITS),
                "i_reset": In(1),
                "i_a_gain": In(tracking.A_GAIN_BITS),
                "i_valid": In(1),
                "i_channel": In(CHANNEL_BITS),
                "i_again": In(1),
                "i_twice": In(1),
                "i_step_a": In(signed(STEP_A_BITS)),
                "i_lost": In(1),
            }
        )

    @property
    def latency(self) -> int:
        """Clocks from the issue of a turn's channel 0 until all channels' next words are ready."""
        return TOLD + self._gain.latency + 1

    @property
    def words_latency(self) -> int:
        """Clocks from i_event to its words."""
        return self._words.latency

    def elaborate(self, platform) -> Module:
        m = Module()
        stages = Stages(m)
        m.submodules.sense = sense = ClickSense(channels=self._channels)
        m.submodules.gain = gain = self._gain
        m.submodules.words = words = self._words
        kind = stages.given("kind", WRITE_P - 3, self.i_kind)
        reset = stages.given("reset", WRITE_P - 3, self.i_reset)
        a_gain = stages.given("a_gain", WRITE_P - 3, self.i_a_gain)
        channel = stages.given("channel", WRITE_P - 2, self.i_channel)
        # Where i_run falls, nothing of what is under way may be told after it has risen again.
        valid = self.i_valid
        for stage in range(WRITE_P - 1, TOLD + 1):
            later = Signal(name=f"valid_{stage}")
            m.d.sync += later.eq(valid & self.i_run)
            valid = later

        named = ("read", "passed", "blur", "kappa", "score", "kind", "reset", "valid", "channel", "again", "twice")
        m.d.comb += [getattr(sense, f"i_{name}").eq(getattr(self, f"i_{name}")) for name in (*named, "step_a", "lost")]
        given = self.i_config
        m.d.comb += [
            sense.i_on.eq(self.i_a_gain.any()),
            gain.i_run.eq(self.i_run),
            gain.i_channel.eq(channel.at(TOLD)),
            gain.i.told.eq(sense.o_told),
            gain.i.a_gain.eq(a_gain.at(TOLD)),
            gain.i_valid.eq(valid & (kind.at(TOLD) == tracking.TURN) & ~reset.at(TOLD)),
            *(self.o_gain.eq(gain.o_config), gain.i_config.eq(self.i_gain)),
            words.i_run.eq(self.i_run),
            words.i_config_channel.eq(given.channel),
            *(words.i_config.d.eq(given.early.d), words.i_config.kappa.eq(given.early.kappa)),
            words.i_config_valid.eq(self.i_config_valid),
            *(words.i_next_channel.eq(gain.o_channel), words.i_next.eq(gain.o), words.i_next_valid.eq(gain.o_valid)),
            words.i_next_ready.eq(gain.o_ready),
            words.i_turn.eq(self.i_turn),
            *(words.i_channel.eq(self.i_event), self.o.eq(words.o)),
        ]
        return m
