"""The smoother's gains of a channel, which follow those of the tracker."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.phase.clickepoch import CHOICE_BITS
from twinphase_hdl.phase.clicktracker import ClickPhase
from twinphase_hdl.phase.smoothstep import GAINS
from twinphase_spec import smooth_follow as follow
from twinphase_spec import smoothing, tracking

BLOCK_BITS = (follow.NODES - 1).bit_length()
MOST_SHIFT = tracking.EPOCH_BITS - tracking.EPOCH_LEAST + (1 << smoothing.SMOOTH_STEP_BITS) - 1
"""Of a smoother's node step over the shortest epoch, log2."""
WORDS = 4
"""Gains of an entry."""
ENTRY_BITS = (follow.ENTRIES - 1).bit_length()
QUARTER = 2
"""An entry is as wide as four steps of a logarithm."""


class GainFollower(wiring.Component):
    """Once in 64 nodes of the smoother, over the outputs of channel ``channel``, S being the sum of p at the nodes and N the clicks::

        entry = (ld(S) + ld(N) - from) >> 2, limited to 0 ... 15;   ld(v) = 8 floor(log2 v) + the three bits below the highest

    if all 64 were locked. The gains are those of the table's entry, and change before the block's last node comes to the smoother, which
    `PhaseNodes` takes longer for.

    Members
    -------
    i_run : In(1)
        0 forgets all; entry 8 is in use when it becomes 1.
    i, i_valid : In(ClickPhase), In(1)
        Outputs of the tracker; of a turn channel 0 a clock before channel 1, and ``latency`` clocks or more to the next turn (256, as
        the smoother asks).
    i_epoch_bits, i_step : In(5), In(3)
        E, and g of the channel; they stand still while i_run is 1, as do the next two.
    i_follows, i_from, i_gains : In(1), In(10), In(ArrayLayout(signed(18), 4))
        The channel's bit of SMOOTH_FOLLOWS and its SMOOTH_FROM; the gains without.
    i_write, i_address, i_data : In(1), In(6), In(18)
        Write port of the channel's table.
    o_gains : Out(ArrayLayout(signed(18), 4))
    o_idle : Out(1)

    Latency: `latency` clocks from a turn's output to its gains, at most. Throughput: an output per clock. Overflow: none, as a block has
    fewer than 2^30 clicks.
    Source: docs/phase.md, gains that follow.
    """

    i_run: In(1)
    i: In(ClickPhase)
    i_valid: In(1)
    i_epoch_bits: In(CHOICE_BITS)
    i_step: In(smoothing.SMOOTH_STEP_BITS)
    i_follows: In(1)
    i_from: In(follow.LD_BITS)
    i_gains: In(GAINS)
    i_write: In(1)
    i_address: In((WORDS * follow.ENTRIES - 1).bit_length())
    i_data: In(smoothing.GAIN_BITS)
    o_gains: Out(GAINS)
    o_idle: Out(1)

    latency = follow.VARIANCE_SUM_BITS + 5 + WORDS + 3
    """Taken, placed, summed; a place per clock; logarithms, entry; words and their way through block RAM."""

    def __init__(self, channel: int = 0) -> None:
        """``channel``: 0 or 1, of `smoothing.CHANNELS`."""
        if channel not in range(len(smoothing.CHANNELS)):
            raise ValueError(f"gain follower: channel is {channel}; allowed: 0 or 1")
        super().__init__()
        self.channel = channel

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.table = table = memory.Memory(
            shape=smoothing.GAIN_BITS, depth=WORDS * follow.ENTRIES, init=[], attrs={"ram_style": "block"}
        )
        write, read = table.write_port(), table.read_port()
        m.d.comb += [write.en.eq(self.i_write), write.addr.eq(self.i_address), write.data.eq(self.i_data)]

        # Taken: a click, or a turn that is a node, and the last of a block. All bits of its e below 2^g are 0, or the next six 1.
        shift = Signal(range(MOST_SHIFT + 1), reset_less=True)
        low, block = Signal(MOST_SHIFT, reset_less=True), Signal(MOST_SHIFT + BLOCK_BITS, reset_less=True)
        clicked, turned, locked = Signal(), Signal(), Signal()
        p, epoch = Signal(tracking.P_BITS, reset_less=True), Signal(MOST_SHIFT + BLOCK_BITS, reset_less=True)
        mine = self.i_valid & self.i_run & (self.i.channel[0] == self.channel)
        m.d.sync += [
            shift.eq(self.i_epoch_bits - tracking.EPOCH_LEAST + self.i_step),
            low.eq(Cat(shift > k for k in range(MOST_SHIFT))),
            block.eq(Cat((shift <= k) & (shift + BLOCK_BITS > k) for k in range(MOST_SHIFT + BLOCK_BITS))),
            *(clicked.eq(mine & (self.i.kind != tracking.TURN)), turned.eq(mine & (self.i.kind == tracking.TURN))),
            *(locked.eq(self.i.locked), p.eq(self.i.p), epoch.eq(self.i.time[tracking.EPOCH_LEAST :])),
        ]
        node, last, node_locked, counted = Signal(), Signal(), Signal(), Signal()
        """``counted``: a click, as far behind its output as a block's end is one clock later."""
        node_p = Signal(tracking.P_BITS, reset_less=True)
        m.d.sync += [
            node.eq(turned & ~(epoch & low).any()),
            last.eq(~(~epoch & block).any()),
            *(node_locked.eq(locked), node_p.eq(p), counted.eq(clicked)),
        ]

        # Sums of a block; a block in which a run began is not whole.
        variances, clicks, whole = Signal(follow.VARIANCE_SUM_BITS), Signal(follow.CLICKS_BITS), Signal()
        ends, good = Signal(), Signal()
        """The sums are those of a block, in this clock; of one that was locked throughout."""
        m.d.sync += ends.eq(node & last)
        with m.If(node):
            m.d.sync += [variances.eq(variances + node_p), whole.eq(whole & node_locked), good.eq(whole & node_locked)]
        with m.If(counted):
            m.d.sync += clicks.eq(clicks + 1)
        with m.If(ends):
            m.d.sync += [variances.eq(0), clicks.eq(counted), whole.eq(1)]

        # Logarithms: shifted up until the highest bit is 1.
        s, n = Signal.like(variances, reset_less=True), Signal.like(clicks, reset_less=True)
        s_place = Signal(range(len(s)), reset_less=True)
        n_place = Signal(range(len(n)), reset_less=True)
        steps = (follow.LD_STEPS - 1).bit_length()

        def logarithm(value: Signal, place: Signal):
            return Cat(value[-1 - steps : -1], place)

        fills, adds, takes, loads = Signal(), Signal(), Signal(), Signal()
        above = Signal(signed(follow.LD_BITS + 1), reset_less=True)
        total = Signal(follow.LD_BITS, reset_less=True)
        entry, word = Signal(ENTRY_BITS, init=follow.CENTRE), Signal(range(WORDS))
        s_done, n_done = s[-1] | (s_place == 0), n[-1] | (n_place == 0)
        m.d.sync += [adds.eq(fills & s_done & n_done), takes.eq(adds)]
        with m.If(ends & good):
            m.d.sync += [
                *(s.eq(variances), s_place.eq(len(s) - 1), n.eq(clicks), n_place.eq(len(n) - 1)),
                fills.eq(1),
            ]
        with m.Elif(fills):
            for value, place, done in ((s, s_place, s_done), (n, n_place, n_done)):
                with m.If(~done):
                    m.d.sync += [value.eq(value << 1), place.eq(place - 1)]
            with m.If(s_done & n_done):
                m.d.sync += [fills.eq(0), total.eq(logarithm(s, s_place) + logarithm(n, n_place))]
        m.d.sync += above.eq(total - self.i_from)
        limited = Signal(ENTRY_BITS)
        beyond = (above >> (QUARTER + ENTRY_BITS)).any()
        m.d.comb += limited.eq(Mux(above < 0, 0, Mux(beyond, follow.ENTRIES - 1, above[QUARTER:])))

        # The entry's words: address, block RAM, register.
        came, place_1, place_2 = Signal(2), Signal.like(word), Signal.like(word)
        data_2 = Signal(smoothing.GAIN_BITS)
        m.d.comb += read.addr.eq(Cat(word, entry))
        m.d.sync += [came.eq(Cat(loads, came)), place_1.eq(word), place_2.eq(place_1), data_2.eq(read.data)]
        gains = Signal(GAINS)
        with m.If(came[1]):
            m.d.sync += gains[place_2].eq(data_2)
        with m.If(loads):
            m.d.sync += [word.eq(word + 1), loads.eq(word != WORDS - 1)]
        with m.If(takes):
            m.d.sync += [entry.eq(limited), loads.eq(1), word.eq(0)]
        with m.If(~self.i_run):
            m.d.sync += [
                *(
                    v.eq(0)
                    for v in (clicked, turned, counted, node, ends, whole, clicks, variances, fills, adds, takes, word)
                ),
                *(entry.eq(follow.CENTRE), loads.eq(1)),
            ]
        under_way = (
            clicked | turned | counted | node | ends | fills | adds | takes | ((loads | came.any()) & self.i_run)
        )
        m.d.comb += [
            self.o_gains.eq(Mux(self.i_follows, gains.as_value(), self.i_gains.as_value())),
            self.o_idle.eq(~(self.i_valid | under_way)),
        ]
        return m


assert data.Layout.cast(GAINS).size == WORDS * smoothing.GAIN_BITS
