"""The selector's gates: tags pass in a time after another channel's tag, and in a window of absolute time."""

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.timetag.epochs import Epochs, Recent, Skipped
from twinphase_hdl.types import Tag
from twinphase_spec import tagger, units

EPOCH_BITS = tagger.MEMORY_TICKS.bit_length() - 1
AGE_BITS = EPOCH_BITS + 2
"""Of times of the last tags: an age is below two epochs, and a comparison needs a sign."""
GATE_CHANNEL_BITS = 5


def lookup(m, name: str, shape, channels: int, write: wiring.PureInterface, *channel_numbers) -> list:
    """A register per channel in LUT RAM, written by ``write``; its value for each of the channel numbers, in the same clock."""
    m.submodules[name] = table = memory.Memory(
        shape=shape, depth=max(channels, 2), init=[], attrs={"ram_style": "distributed"}
    )
    port = table.write_port()
    m.d.comb += [
        port.addr.eq(write.address),
        port.data.eq(write.data),
        port.en.eq(write.enable & (write.address < channels)),
    ]
    reads = [table.read_port(domain="comb") for _ in channel_numbers]
    m.d.comb += [read.addr.eq(number) for read, number in zip(reads, channel_numbers, strict=True)]
    return [read.data for read in reads]


class WritePort(wiring.Signature):
    """Of a configuration memory with a word per channel: with ``enable``, ``data`` goes to ``address``."""

    def __init__(self, shape):
        super().__init__({"enable": Out(1), "address": Out(GATE_CHANNEL_BITS), "data": Out(shape)})


class Gate(wiring.Component):
    """A tag (t, c) passes if ``GATE_FROM[c] <= t - last < GATE_TO[c]`` where c has a gate (bit 7 of GATE_TABLE[c]), with last the time
    of the latest tag before it of the channel in bits 0-4 that is not more than 2^27 ticks old; and if
    ``WINDOW_FROM <= t < WINDOW_UNTIL`` where bit c of WINDOW_ENABLE is set. All tags, passed or not, open gates.

    GATE_TO above 2^27 acts as 2^27. Times rise, modulo 2^64 for the gates; the window compares plainly.

    Members
    -------
    i_valid, i : 1, Tag; any tag in any clock, times not falling.
    gate_table, gate_from, gate_to : write ports of 8, 28, 28 bits.
    i_window_from, i_window_until, i_window_enable : 64, 64, channels
        Act on tags that come in the clock after a change; the upper halves of the window a clock sooner.
    o_passed, o_gated, o, o_epochs : 1, 1, Tag, Epochs
        What became of a tag. The epochs count from the tag that passed before it.
    o_idle : 1
        No tag inside.

    Latency: `latency` = 3 clocks. Throughput: one tag per clock.
    """

    latency = 3

    def __init__(self, *, channels: int):
        super().__init__(
            {
                "i_valid": In(1),
                "i": In(Tag),
                "gate_table": In(WritePort(8)),
                "gate_from": In(WritePort(tagger.GATE_BITS)),
                "gate_to": In(WritePort(tagger.GATE_BITS)),
                "i_window_from": In(units.TIME_BITS),
                "i_window_until": In(units.TIME_BITS),
                "i_window_enable": In(channels),
                "o_passed": Out(1),
                "o_gated": Out(1),
                "o": Out(Tag),
                "o_epochs": Out(Epochs),
                "o_idle": Out(1),
            }
        )
        self._channels = channels

    def elaborate(self, platform):
        m = Module()
        bits = max((self._channels - 1).bit_length(), 1)
        half = units.TIME_BITS // 2
        valid = Signal(3)
        tags = [Signal(Tag, name=f"tag_{k}") for k in range(1, 4)]
        m.d.sync += [valid.eq(Cat(self.i_valid, valid)), Cat(tags).eq(Cat(self.i, *tags))]

        # First clock: the channel's configuration; how far the tag is from the one before; the window's lower halves.
        time, channel = self.i.time, self.i.channel[:bits]
        gate, first, end = Signal(8), Signal(tagger.GATE_BITS), Signal(tagger.GATE_BITS)
        for register, name, port in (
            (gate, "table", self.gate_table),
            (first, "from", self.gate_from),
            (end, "to", self.gate_to),
        ):
            m.d.sync += register.eq(lookup(m, name, len(register), self._channels, port, channel)[0])
        number = time[EPOCH_BITS:]
        number_before, step, windowed = Signal.like(number), Signal.like(number), Signal()
        m.d.sync += [step.eq(number - number_before), windowed.eq(self.i_window_enable.bit_select(channel, 1))]
        with m.If(self.i_valid):
            m.d.sync += number_before.eq(number)
        low_before_first, low_before_end = Signal(), Signal()
        m.d.sync += [
            low_before_first.eq(time[:half] < self.i_window_from[:half]),
            low_before_end.eq(time[:half] < self.i_window_until[:half]),
        ]

        # Second clock: the time since the gate's last tag; the window's upper halves.
        tag = tags[0]
        last = memory.Memory(shape=AGE_BITS, depth=max(self._channels, 2), init=[], attrs={"ram_style": "distributed"})
        m.submodules.last = last
        last_write, last_read = last.write_port(), last.read_port(domain="comb")
        opener = gate[:GATE_CHANNEL_BITS]
        m.d.comb += [
            last_write.addr.eq(tag.channel),
            last_write.data.eq(tag.time),
            last_write.en.eq(valid[0]),
            last_read.addr.eq(opener),
        ]
        since, opener_2, gated_2, first_2, end_2 = (
            Signal(AGE_BITS),
            Signal(GATE_CHANNEL_BITS),
            Signal(),
            Signal.like(first),
            Signal.like(end),
        )
        epochs, after_first, before_end, windowed_2 = Signal(Epochs), Signal(), Signal(), Signal()

        def upper_below(limit, low_below):
            """Whether the upper half, with what the lower half borrows, is below the limit's."""
            longer = Signal(half + 2)
            m.d.comb += longer.eq(Cat(Const(0, 1), tag.time[half:], 0) - Cat(low_below, limit[half:], 0))
            return longer[-1]

        m.d.sync += [
            since.eq(tag.time[:AGE_BITS] - last_read.data),
            Cat(opener_2, gated_2, first_2, end_2, windowed_2).eq(Cat(opener, gate[7], first, end, windowed)),
            epochs.one.eq(step == 1),
            epochs.more.eq(step[1:].any()),
            after_first.eq(~upper_below(self.i_window_from, low_before_first)),
            before_end.eq(upper_below(self.i_window_until, low_before_end)),
        ]

        # Third clock: comparisons, and whether there was such a tag.
        tag = tags[1]
        decoded = Signal(self._channels)
        m.d.comb += decoded.eq(1 << tag.channel[:bits])
        recent = Recent(m, epochs, valid[1], decoded, "gate")
        below_first, below_end, exists, near, gated_3, out_of_window = (Signal() for _ in range(6))
        epochs_3 = Signal(Epochs)
        age = since[:EPOCH_BITS]
        m.d.sync += [
            below_first.eq(age < first_2),
            below_end.eq(age < end_2),
            near.eq(~since[EPOCH_BITS:].any()),
            exists.eq(recent.known.bit_select(opener_2, 1)),
            gated_3.eq(gated_2),
            out_of_window.eq(windowed_2 & ~(after_first & before_end)),
            epochs_3.eq(epochs),
        ]

        passes = Signal()
        m.d.comb += [
            passes.eq(~out_of_window & (~gated_3 | (exists & near & ~below_first & below_end))),
            self.o_passed.eq(valid[2] & passes),
            self.o_gated.eq(valid[2] & ~passes),
            self.o.eq(tags[2]),
            self.o_idle.eq(~valid.any()),
        ]
        m.d.comb += self.o_epochs.eq(Skipped(m, epochs_3, self.o_passed, self.o_gated, "gate").now)
        return m
