"""The words of growth and slope gain that the click tracker's events go by."""

from amaranth.hdl import C, Cat, Module, Mux, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.phase.clickconfig import GainWords
from twinphase_hdl.phase.clickqueue import CHANNEL_BITS, check_channels


class ClickWords(wiring.Component):
    """d_now and kappa_now: at the start those of the configuration, and from a turn on those that have been made ready before it.

    There are two sets of words beside the configuration's: the one in use, and the next. At a turn channels go over from one to the other
    in the order of their events, one per clock. A turn that comes before all of the next set is ready leaves the words as they are.

    Parameters
    ----------
    channels : int
        1 to 32.

    Members
    -------
    i_run : In(1)
        0 goes back to the configuration.
    i_config_channel, i_config, i_config_valid : In(5), In(GainWords), In(1)
        A channel's configuration; while i_run = 0.
    i_next_channel, i_next, i_next_valid, i_next_ready : In(5), In(GainWords), In(1), In(1)
        A channel's next words; with those of the last channel, that all are ready.
    i_turn : In(1)
        Channel c has its next words, if they are ready, from c + 1 clocks later on.
    i_channel, o : In(5), Out(GainWords)
        A channel, and its words.

    Latency: `latency` = 2 clocks from channel to words. Throughput: a channel per clock. Overflow: none.
    Source: docs/tracking.md, gains that adapt.
    """

    def __init__(self, *, channels: int) -> None:
        check_channels("ClickWords", channels)
        self._channels = channels
        super().__init__(
            {
                "i_run": In(1),
                "i_config_channel": In(CHANNEL_BITS),
                "i_config": In(GainWords),
                "i_config_valid": In(1),
                "i_next_channel": In(CHANNEL_BITS),
                "i_next": In(GainWords),
                "i_next_valid": In(1),
                "i_next_ready": In(1),
                "i_turn": In(1),
                "i_channel": In(CHANNEL_BITS),
                "o": Out(GainWords),
            }
        )

    @property
    def latency(self) -> int:
        """Clocks from channel to words."""
        return 2

    def elaborate(self, platform) -> Module:
        m = Module()
        # Sets 0 and 1, and the configuration as set 2.
        m.submodules.words = words = memory.Memory(
            shape=GainWords, depth=3 << CHANNEL_BITS, init=[], attrs={"ram_style": "block"}
        )
        write, read = words.write_port(), words.read_port()

        # Channels below `gone` use the set `newest`, the others the one before it.
        newest, from_config, ready = Signal(), Signal(init=1), Signal()
        gone = Signal(range(self._channels + 1))
        with m.If(~self.i_run):
            m.d.sync += [gone.eq(0), from_config.eq(1), ready.eq(0)]
        with m.Elif(self.i_turn & ready):
            m.d.sync += [newest.eq(~newest), from_config.eq(gone == 0), gone.eq(1), ready.eq(0)]
        with m.Else():
            with m.If((gone != 0) & (gone != self._channels)):
                m.d.sync += gone.eq(gone + 1)
            with m.If(self.i_next_ready):
                m.d.sync += ready.eq(1)

        which = Mux(self.i_channel < gone, newest, Mux(from_config, 2, ~newest))
        # Block RAM is slow: what its register feeds must be registers.
        shown = Signal(GainWords, reset_less=True)
        m.d.sync += shown.eq(read.data)
        m.d.comb += [
            read.addr.eq(Cat(self.i_channel, which)),
            self.o.eq(shown),
            write.en.eq(self.i_config_valid | self.i_next_valid),
            write.addr.eq(
                Mux(self.i_config_valid, Cat(self.i_config_channel, C(2, 2)), Cat(self.i_next_channel, ~newest))
            ),
            write.data.eq(Mux(self.i_config_valid, self.i_config, self.i_next)),
        ]
        return m
