"""All channels of the time tagger and their one stream of tags."""

from amaranth.hdl import Module
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.core.queue import FRONT_DEPTH
from twinphase_spec import tagger, units

from .frontend import Edges
from .input import InputChannel, config_members, strobe_members
from .merge import tag_layout
from .mergetree import MergeTree
from .pairtime import PairTime, whole_pair_layout
from .sizes import Sizes
from .wholetime import WholeTime
from .widetree import WideTree

SHARED = ("i_walk_shift", "i_walk_address", "i_walk_data")
"""Configuration that all channels have in common."""


class TagSource(wiring.Component):
    """Edges of all channels in, tags in the order of (time, channel) out: `InputChannel`, `MergeTree`, `WholeTime`; with merge "wide" in
    pairs: `InputChannel`, `WideTree`, `PairTime`.

    Parameters
    ----------
    channels : int
        2 to 32.
    lanes : int
        Edges per channel and clock, 1 or 2.
    depth, sizes, for_proof, front_depth
        As of `InputChannel`.
    time_bits : int
        Of the tags.
    merge : str
        "one" or "wide".

    Members
    -------
    i : Edges
    i_clock : time_bits - fine_bits
        The clock count that the edges presented in this clock belong to; see `InputChannel` for how it goes on.
    i_pulse, i_pulse_fine : 1, fine_bits
        The test pulser's edge, in lane 0 of the channels of ``i_pulser``.
    i_enable, i_pulser, i_divider_restart, i_walk_write : channels
    i_delay, i_dead_time, i_veto_from, i_veto_to, i_divider : arrays per channel
    i_walk_shift, i_walk_address, i_walk_data
        For all channels; an entry is written into the tables of ``i_walk_write``.
    o : stream of Tag, with merge "wide" of `whole_pair_layout`
        May be held back for less than 2^(order_bits - fine_bits - 2) clocks (2^17: 1 ms) in all while tags wait.
    o_bound : order_bits, ticks
        As of `WholeTime`.
    o_seen : array per channel, 0 .. lanes
    o_generated, o_overrun, o_dead, o_vetoed, o_divided, o_dropped, o_queued : channels
        Numbers of edges, see `InputChannel`. With the tags that leave at ``o`` they account for every edge.
    o_idle : 1
        No edge or tag inside or at the output, and no strobe set: then the clock count may jump.

    Latency: `latency` clocks from an edge to ``o``, constant if no other channel has an earlier tag to come (all delays equal, or no
    walk) and nothing queues: 13 (14 with two lanes) and the levels of the tree. With merge "wide" 2 clocks more than with "one", and
    another one for a tag that nothing follows. Throughput: one tag per clock; with merge "wide" two if the lower half of the channels (a
    power of two) and the upper one each have tags. Overflow: queues drop, and count it.
    """

    def __init__(
        self,
        *,
        channels: int,
        lanes: int = 1,
        depth: int = tagger.QUEUE_DEPTH,
        sizes: Sizes | None = None,
        time_bits: int = units.TIME_BITS,
        for_proof: bool = False,
        front_depth: int = FRONT_DEPTH,
        merge: tagger.Merge = "one",
    ):
        if merge not in tagger.MERGES:
            raise ValueError(f"TagSource: merge is {merge!r}; allowed: {' or '.join(map(repr, tagger.MERGES))}")
        sizes = sizes or Sizes()
        self.channels = [
            InputChannel(
                lanes=lanes, depth=depth, sizes=sizes, for_proof=for_proof, front_depth=front_depth, number=number
            )
            for number in range(channels)
        ]
        wide = merge == "wide"
        self.tree = (WideTree if wide else MergeTree)(channels=channels, order_bits=sizes.order_bits)
        self.whole = (PairTime if wide else WholeTime)(
            channel_bits=self.tree.channel_bits,
            order_bits=sizes.order_bits,
            time_bits=time_bits,
            fine_bits=sizes.fine_bits,
        )
        self._lanes = lanes
        self._config = config_members(sizes)
        self._strobes = strobe_members(lanes)

        def for_all(member: wiring.Member) -> data.ArrayLayout | int:
            return channels if member.shape == 1 else data.ArrayLayout(member.shape, channels)

        super().__init__(
            {
                "i": In(Edges(channels, sizes.fine_bits, lanes=lanes)),
                "i_clock": In(time_bits - sizes.fine_bits),
                "i_pulse": In(1),
                "i_pulse_fine": In(sizes.fine_bits),
                **{name: member if name in SHARED else In(for_all(member)) for name, member in self._config.items()},
                "o": Out(stream.Signature((whole_pair_layout if wide else tag_layout)(time_bits))),
                "o_bound": Out(sizes.order_bits),
                **{name: Out(for_all(member)) for name, member in self._strobes.items()},
                "o_idle": Out(1),
            }
        )

    @property
    def latency(self) -> int:
        """Clocks from an edge to the output."""
        return self.channels[0].latency + self.tree.latency + self.whole.latency

    def elaborate(self, platform):
        m = Module()
        m.submodules.tree = tree = self.tree
        m.submodules.whole = whole = self.whole
        idle = ~self.o.valid & ~tree.o_busy
        for c, channel in enumerate(self.channels):
            m.submodules[f"channel_{c}"] = channel
            for k in range(self._lanes):
                m.d.comb += [
                    channel.i_valid[k].eq(self.i.valid[c * self._lanes + k]),
                    channel.i_fine[k].eq(self.i.fine[c * self._lanes + k]),
                ]
            m.d.comb += [
                channel.i_clock.eq(self.i_clock),
                channel.i_pulse.eq(self.i_pulse),
                channel.i_pulse_fine.eq(self.i_pulse_fine),
                *(
                    getattr(channel, name).eq(getattr(self, name) if name in SHARED else getattr(self, name)[c])
                    for name in self._config
                ),
                *(getattr(self, name)[c].eq(getattr(channel, name)) for name in self._strobes),
            ]
            wiring.connect(m, channel.o, tree.i[c])
            idle &= channel.o_idle
        m.d.comb += [whole.i_clock.eq(self.i_clock), self.o_idle.eq(idle), self.o_bound.eq(whole.o_bound)]
        if isinstance(tree, WideTree):
            m.d.comb += whole.i_bound.eq(tree.o_bound)
        wiring.connect(m, tree.o, whole.i)
        wiring.connect(m, whole.o, wiring.flipped(self.o))
        return m
