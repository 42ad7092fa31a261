"""Configuration words of the click tracker's channels."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.phase.clickqueue import CHANNEL_BITS, check_channels
from twinphase_spec import tracking


class EarlyWords(data.Struct):
    """Words that an event's gains and its silence follow from; `twinphase_spec.tracking_config.ChannelConfig`."""

    d: tracking.D_BITS
    kappa: tracking.KAPPA_BITS
    v_gain: tracking.V_GAIN_BITS
    dark: tracking.QUIET_BITS
    a_gain: tracking.A_GAIN_BITS
    k_follows: 1


class EventWords(data.Struct):
    """Those of them that an event takes from the configuration, whatever its channel's gain is."""

    v_gain: tracking.V_GAIN_BITS
    dark: tracking.QUIET_BITS
    a_gain: tracking.A_GAIN_BITS


class GainWords(data.Struct):
    """d and kappa of one channel, those of the configuration or of a gain g times as large."""

    d: tracking.D_BITS
    kappa: tracking.KAPPA_BITS


class GainConfig(data.Struct):
    """Configuration of a channel's gains: growth and slope gain at g = 1, and whether the latter follows."""

    words: GainWords
    k_follows: 1


class LateWords(data.Struct):
    """Words that its write uses."""

    p_min: tracking.P_BITS
    p_start: tracking.P_BITS
    p_lost: tracking.P_BITS
    v_start: tracking.VISIBILITY_BITS
    j_alarm: tracking.EVIDENCE_BITS
    w_alarm: tracking.EVIDENCE_BITS


class ChannelWords(data.Struct):
    """All words of one channel."""

    channel: CHANNEL_BITS
    early: EarlyWords
    late: LateWords


class ClickConfig(wiring.Component):
    """The words of each channel, for two places of the pipeline and for its gain.

    Parameters
    ----------
    channels : int
        1 to 32.

    Members
    -------
    i, i_valid : In(ChannelWords), In(1)
        A channel's words, written in this clock.
    i_early, o_early : In(5), Out(EventWords)
    i_late, o_late : In(5), Out(LateWords)
    i_gain, o_gain : In(5), Out(GainConfig)
        Channel, and its words. While words are being written these mean nothing.

    Latency: `latency` = 2 clocks from channel to words. Throughput: a channel per clock. 0 at power-up.
    Source: docs/tracking.md, state and configuration.
    """

    def __init__(self, *, channels: int) -> None:
        check_channels("ClickConfig", channels)
        self._channels = channels
        super().__init__(
            {
                "i": In(ChannelWords),
                "i_valid": In(1),
                "i_early": In(CHANNEL_BITS),
                "o_early": Out(EventWords),
                "i_late": In(CHANNEL_BITS),
                "o_late": Out(LateWords),
                "i_gain": In(CHANNEL_BITS),
                "o_gain": Out(GainConfig),
            }
        )

    @property
    def latency(self) -> int:
        """Clocks from channel to words."""
        return 2

    def elaborate(self, platform) -> Module:
        m = Module()
        given = self.i.early
        event, gain = Signal(EventWords), Signal(GainConfig)
        m.d.comb += [
            *(event.v_gain.eq(given.v_gain), event.dark.eq(given.dark), event.a_gain.eq(given.a_gain)),
            *(gain.words.d.eq(given.d), gain.words.kappa.eq(given.kappa), gain.k_follows.eq(given.k_follows)),
        ]
        for name, shape, given, channel, shown in (
            ("early", EventWords, event, self.i_early, self.o_early),
            ("late", LateWords, self.i.late, self.i_late, self.o_late),
            ("gain", GainConfig, gain, self.i_gain, self.o_gain),
        ):
            words = memory.Memory(shape=shape, depth=max(self._channels, 2), init=[], attrs={"ram_style": "block"})
            m.submodules[name] = words
            write, read = words.write_port(), words.read_port()
            register = Signal(shape, name=f"{name}_words", reset_less=True)
            m.d.comb += [
                write.addr.eq(self.i.channel),
                write.data.eq(given),
                write.en.eq(self.i_valid),
                read.addr.eq(channel),
                shown.eq(register),
            ]
            m.d.sync += register.eq(read.data)
        return m
