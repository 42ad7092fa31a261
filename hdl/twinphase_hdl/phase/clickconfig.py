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
    """The words of each channel, for two places of the pipeline.

    Parameters
    ----------
    channels : int
        1 to 32.

    Members
    -------
    i, i_valid : In(ChannelWords), In(1)
        A channel's words, written in this clock.
    i_early, o_early : In(5), Out(EarlyWords)
    i_late, o_late : In(5), Out(LateWords)
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
                "o_early": Out(EarlyWords),
                "i_late": In(CHANNEL_BITS),
                "o_late": Out(LateWords),
            }
        )

    @property
    def latency(self) -> int:
        """Clocks from channel to words."""
        return 2

    def elaborate(self, platform) -> Module:
        m = Module()
        for name, shape, given, channel, shown in (
            ("early", EarlyWords, self.i.early, self.i_early, self.o_early),
            ("late", LateWords, self.i.late, self.i_late, self.o_late),
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
