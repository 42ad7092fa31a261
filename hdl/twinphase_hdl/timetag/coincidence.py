"""Virtual channels: a tag for every coincidence of tags of several channels."""

from functools import reduce
from itertools import combinations
from operator import and_, or_

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.timetag.epochs import Epochs, Recent
from twinphase_hdl.timetag.gate import AGE_BITS
from twinphase_hdl.types import CHANNEL_BITS, Tag
from twinphase_spec import tagger

COUNT = tagger.COINCIDENCES


class Coincidences(wiring.Component):
    """Sends tags on, and behind a tag (t, c) that completes coincidence v the tag (t, 32 + v), in rising v.

    The tag completes v if c is in the mask of v, all other channels of the mask (one at least) have a fresh tag for v, and the oldest of
    their latest tags is at most the window of v older than t. Then no channel is fresh for v any more, otherwise c is.

    Which of the others is the oldest comes from one bit per pair of channels: whose latest tag is older. So there is one comparison per
    coincidence that the tag's channel belongs to; they are made one after the other.

    Members
    -------
    i, i_epochs : stream of Tag in the order of time; Epochs that count from the tag before it
    i_mask, i_window : arrays of 4, of channels and 22 bits, ticks
        Change them while no tag comes, or take what is fresh for what is left of the mask.
    o : stream of Tag, always ready
        Whoever cannot take a tag in every clock counts what is lost: were there back-pressure, it would come too late to hold ``i``.
    o_left, o_left_channel : 1, 6
        Strobe, a clock after: a real tag was sent on.
    o_virtual : 4
        The same for virtual tags.
    o_idle : 1
        No tag inside, no strobe.

    Latency: `latency` = 7 clocks. Throughput: a clock per tag, or per coincidence that its channel belongs to if these are more, and a
    clock per virtual tag. Overflow: none, ``i`` waits.
    """

    latency = 7

    def __init__(self, *, channels: int):
        if not 1 <= channels <= tagger.MAX_CHANNELS:
            raise ValueError(f"Coincidences: channels is {channels}; allowed: 1 to {tagger.MAX_CHANNELS}")
        super().__init__(
            {
                "i": In(stream.Signature(Tag)),
                "i_epochs": In(Epochs),
                "i_mask": In(data.ArrayLayout(channels, COUNT)),
                "i_window": In(data.ArrayLayout(tagger.COINCIDENCE_WINDOW_BITS, COUNT)),
                "o": Out(stream.Signature(Tag, always_ready=True)),
                "o_left": Out(1),
                "o_left_channel": Out(CHANNEL_BITS),
                "o_virtual": Out(COUNT),
                "o_idle": Out(1),
            }
        )
        self._channels = channels

    def elaborate(self, platform):
        m = Module()
        channels = range(self._channels)
        bits = max((self._channels - 1).bit_length(), 1)
        masks = [self.i_mask[v] for v in range(COUNT)]

        both = Signal()  # the output has the real tag of two
        go = Signal()
        valid = Signal(6)  # a step in each stage
        reals = Signal(6)  # it is the first of its tag
        tags = [Signal(Tag, name=f"tag_{k}") for k in range(1, 8)]
        members = [Signal(self._channels, name=f"decoded_{k}") for k in range(1, 6)]
        chosen = [Signal(COUNT, name=f"chosen_{k}") for k in range(1, 5)]

        # First stage: a tag and the coincidences that are left to examine.
        epochs, left, more = Signal(Epochs), Signal(COUNT), Signal()  # ``more``: than one is left
        # The first stage takes what comes: a register, so that it may move all that is before it.
        next_tag = Signal(init=1)
        next_valid, next_left = Signal(), Signal(COUNT)
        lowest = Cat(left[v] & ~left[:v].any() for v in range(COUNT))
        decoded = (1 << self.i.payload.channel[:bits])[: self._channels]
        next_both = Signal()
        in_several, several = (
            Signal(self._channels),
            Signal(),
        )  # channels of more than one mask; next_left are more than one
        m.d.sync += in_several.eq(Cat(_several(Cat(mask[c] for mask in masks)) for c in channels))
        m.d.comb += [
            chosen[0].eq(lowest),
            go.eq(~both),
            self.i.ready.eq(next_tag),
            next_valid.eq(Mux(next_tag, self.i.valid, valid[0])),
            next_left.eq(left),
            several.eq(more),
        ]
        with m.If(next_tag):
            m.d.comb += [
                next_left.eq(Cat((mask & decoded).any() for mask in masks)),
                several.eq((in_several & decoded).any()),
            ]
            m.d.sync += [
                reals[0].eq(1),
                tags[0].eq(self.i.payload),
                members[0].eq(decoded),
                epochs.eq(self.i_epochs),
            ]
        with m.Elif(go):
            m.d.comb += [next_left.eq(left & ~lowest), several.eq(_several(left & ~lowest))]
            m.d.sync += reals[0].eq(0)
        m.d.sync += [
            valid[0].eq(next_valid),
            left.eq(next_left),
            more.eq(several),
            next_tag.eq(~next_valid | ~(next_both | several)),
        ]
        others, epochs_2, enters = Signal(self._channels), Signal(Epochs), Signal()
        mask = reduce(or_, (masks[v] & lowest[v].replicate(self._channels) for v in range(COUNT)))
        with m.If(go):
            m.d.sync += [others.eq(mask & ~members[0]), epochs_2.eq(epochs), enters.eq(valid[0] & ~more)]

        # Second stage: the oldest of the other channels. Bit (j, k): j's latest tag is older than k's.
        recent = Recent(m, epochs_2, enters & go, members[1], "coincidence")
        older: dict[tuple[int, int], Value] = {}
        for j, k in combinations(channels, 2):
            bit = Signal(init=1, name=f"older_{j}_{k}")
            with m.If(enters & go & (members[1][j] | members[1][k])):
                m.d.sync += bit.eq(members[1][k])
            older[j, k], older[k, j] = bit, ~bit
        oldest = [reduce(and_, (~others[k] | older[j, k] for k in channels if k != j), others[j]) for j in channels]

        # Third stage: the time since the oldest.
        oldest_number, exists = Signal(bits), Signal()
        last = memory.Memory(shape=AGE_BITS, depth=max(self._channels, 2), init=[], attrs={"ram_style": "distributed"})
        m.submodules.last = last
        last_write, last_read = last.write_port(), last.read_port(domain="comb")
        since, exists_3, window = Signal(AGE_BITS), Signal(), Signal(tagger.COINCIDENCE_WINDOW_BITS)
        m.d.comb += [
            last_read.addr.eq(oldest_number),
            last_write.addr.eq(tags[2].channel),
            last_write.data.eq(tags[2].time),
            last_write.en.eq(valid[2]),
        ]
        with m.If(go):
            m.d.sync += [
                valid[1:].eq(valid),
                reals[1:].eq(reals),
                Cat(tags[1:]).eq(Cat(tags)),
                Cat(members[1:]).eq(Cat(members)),
                Cat(chosen[1:]).eq(Cat(chosen)),
                oldest_number.eq(reduce(or_, (Mux(is_oldest, j, 0) for j, is_oldest in enumerate(oldest)))),
                exists.eq((Cat(oldest) & recent.known).any()),
                since.eq(tags[2].time[:AGE_BITS] - last_read.data),
                exists_3.eq(exists),
                window.eq(reduce(or_, (Mux(chosen[2][v], self.i_window[v], 0) for v in range(COUNT)))),
            ]

        # Fourth stage: whether that is within the window, and whether all other channels will be fresh. (What is fresh changes with the
        # step in the fifth stage alone, and if that completes, nothing is.) Fifth stage: whether the tag completes the coincidence.
        within = Signal()
        with m.If(go):
            within_reach = ~since[len(window) :].any()
            m.d.sync += within.eq(exists_3 & within_reach & (since[: len(window)] <= window))
        completes = Signal(COUNT)
        for v in range(COUNT):
            fresh = Signal(self._channels, name=f"fresh_{v}")
            examined, others_fresh = Signal(name=f"examined_{v}"), Signal(name=f"others_fresh_{v}")
            m.d.comb += completes[v].eq(examined & within & others_fresh)
            joining = members[4] & examined.replicate(self._channels)
            with m.If(go):
                m.d.sync += [
                    examined.eq(valid[3] & chosen[3][v]),
                    others_fresh.eq(~completes[v] & (fresh | joining | members[3] | ~masks[v]).all()),
                ]
            with m.If(go & examined):
                m.d.sync += fresh.eq(fresh | members[4])
            with m.If(go & completes[v]):
                m.d.sync += fresh.eq(0)

        # Sixth stage: it is known. Out: the real tag, then the virtual one.
        completed, some = Signal(COUNT), Signal()
        with m.If(go):
            m.d.sync += [completed.eq(completes), some.eq(completes.any())]
        real, virtual = Signal(), Signal(COUNT)
        virtual_number = reduce(or_, (Mux(virtual[v], v, 0) for v in range(COUNT)))
        m.d.comb += [
            self.o.payload.time.eq(tags[-1].time),
            self.o.payload.channel.eq(
                Mux(real, tags[-1].channel, Cat(virtual_number, Const(0, 5 - len(virtual_number)), 1))
            ),
            self.o_idle.eq(~valid.any() & ~self.o.valid & ~self.o_left & ~self.o_virtual.any()),
        ]
        with m.If(go):
            m.d.sync += [
                self.o.valid.eq((valid[5] & reals[5]) | some),
                real.eq(reals[5]),
                virtual.eq(completed),
            ]
        with m.Else():
            m.d.sync += real.eq(0)
        m.d.comb += next_both.eq(go & reals[5] & some)
        m.d.sync += [
            both.eq(next_both),
            self.o_left.eq(self.o.valid & real),
            self.o_left_channel.eq(tags[-1].channel),
            self.o_virtual.eq(virtual & (self.o.valid & ~real).replicate(COUNT)),
        ]
        return m


def _several(bits: Value) -> Value:
    """More than one of the bits is set."""
    return reduce(or_, (a & b for a, b in combinations(bits, 2)))
