"""Two channels of a small time tagger and their one stream of tags."""

from amaranth.hdl import Module
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from twinphase_spec import tagger, units

from .frontend import Edges
from .input import config_members, strobe_members
from .merge import tag_layout
from .sizes import Sizes
from .turnchannel import TurnChannel
from .turnmerge import SIDES, TurnMerge


class TurnSource(wiring.Component):
    """Edges of two channels in, tags in the order of (time, channel) out: `TurnChannel`, `TurnMerge`. Takes the place of `TagSource`.

    Parameters
    ----------
    depth, burst : int
        As of `TurnChannel`.

    Members
    -------
    As of `TagSource`, but for ``i_walk_*`` and ``o_bound``, and

    i_clock : coarse_bits
        Low bits of the clock count that the edges presented in this clock belong to.
    i_now : 51
        The clock count itself, less than a millisecond from that.

    Latency: 23 clocks from an edge to ``o`` if nothing waits. Throughput: an edge in 5 clocks per channel, a tag in 11 and those that
    ``o`` waits for. Overflow: see `TurnChannel`.
    """

    def __init__(self, *, depth: int, burst: int = tagger.BURST):
        sizes = Sizes()
        self.channels = [TurnChannel(depth=depth, burst=burst) for _ in range(SIDES)]
        self._config = {name: m for name, m in config_members(sizes).items() if not name.startswith("i_walk")}
        self._strobes = strobe_members(1)

        def for_all(member: wiring.Member) -> data.ArrayLayout | int:
            return SIDES if member.shape == 1 else data.ArrayLayout(member.shape, SIDES)

        super().__init__(
            {
                "i": In(Edges(SIDES)),
                "i_clock": In(sizes.coarse_bits),
                "i_now": In(units.CLOCK_BITS),
                "i_pulse": In(1),
                "i_pulse_fine": In(sizes.fine_bits),
                **{name: In(for_all(member)) for name, member in self._config.items()},
                "o": Out(stream.Signature(tag_layout(units.TIME_BITS))),
                **{name: Out(for_all(member)) for name, member in self._strobes.items()},
                "o_idle": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.merge = merge = TurnMerge()
        idle = merge.o_idle
        for c, channel in enumerate(self.channels):
            m.submodules[f"channel_{c}"] = channel
            m.d.comb += [
                channel.i_valid.eq(self.i.valid[c]),
                channel.i_fine.eq(self.i.fine[c]),
                channel.i_clock.eq(self.i_clock),
                channel.i_pulse.eq(self.i_pulse),
                channel.i_pulse_fine.eq(self.i_pulse_fine),
                *(getattr(channel, name).eq(getattr(self, name)[c]) for name in self._config),
                *(getattr(self, name)[c].eq(getattr(channel, name)) for name in self._strobes),
                merge.i_valid[c].eq(channel.o_valid),
                merge.i_time[c].eq(channel.o_time),
                merge.i_bound[c].eq(channel.o_bound),
                channel.i_pop.eq(merge.o_pop[c]),
            ]
            idle &= channel.o_idle
        m.d.comb += [merge.i_clock.eq(self.i_now), self.o_idle.eq(idle)]
        wiring.connect(m, merge.o, wiring.flipped(self.o))
        return m
