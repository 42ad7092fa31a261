"""A word of state per channel, changed by one event per clock."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.phase.clickqueue import CHANNEL_BITS, check_channels


def saturated(word: Value) -> Value:
    """A signed ``word`` in one bit less."""
    inner, top, sign = word[:-2], word[-2], word[-1]
    return Cat(Mux(top ^ sign, (~sign).replicate(len(inner)), inner), sign).as_signed()


class ChannelWord(wiring.Component):
    """Reads, changes and writes a channel's word back in one clock, ``word[channel] = i_word``, where ``i_word`` may follow from
    ``o_word`` by a carry chain: an event finds what the event one clock before it has left, of the same channel or of another.

    The words are in LUT RAM, written from a register, a clock after the change. The one to be changed is read into a register in the
    clock before; what the two events then ahead leave for the same channel goes there instead. What others read is a copy in block RAM;
    of a word that is being written, what is written is taken instead.

    Parameters
    ----------
    channels : int
        1 to 32.
    bits : int
        Width of the word, at least 1.
    read_low, read_bits : int
        Which bits `o_read` shows: `read_bits` from bit `read_low` on; all of them below `bits`.
    clear_bits : int
        How many of its low bits `i_clear` takes back; 0 to `bits`.
    saturates : bool
        The word is signed. `i_word` and `o_word` have a bit more than it, so that no more than a choice lies behind a carry chain, and
        both stand for what they saturate to in `bits`: which is what is kept, left and read.

    Members
    -------
    i_valid, i_channel, i_again, i_twice : In(1), In(5), In(1), In(1)
        An event, two clocks before it changes its channel's word, and whether the events of one and of two clocks before it are of the
        same channel.
    o_word : Out(bits), with saturates Out(signed(bits + 1))
        The word of the event that came two clocks ago, as the events before it left it, but for `i_clear` of the same clock.
    i_word : In(bits), with saturates In(signed(bits + 1))
        What that event leaves, in the same clock.
    i_takes, i_given : In(1), In(shape of i_word)
        It leaves this instead: for what decides late, which then is chosen together with the words of other events.
    i_clear : In(1)
        One clock later: the low `clear_bits` of what it has left are 0 instead.
    o_cleared : Out(1)
        They are those of `o_word`, which does not show it yet.
    o_left : Out(bits)
        What the event has left, in the clock after its change, but for `i_clear`.
    i_read : In(5)
        Another channel.
    o_read : Out(read_bits)
        Its word, two clocks later, with the changes of the clock before `i_read` and earlier ones.

    Latency: `latency` = 2 clocks from i_channel to o_word. Throughput: an event per clock. Overflow: none. All words are 0 at
    power-up and stay through a reset.
    Source: docs/tracking.md, read and write of the state.
    """

    def __init__(
        self,
        *,
        channels: int,
        bits: int,
        read_low: int = 0,
        read_bits: int = 0,
        clear_bits: int = 0,
        saturates: bool = False,
    ) -> None:
        check_channels("ChannelWord", channels)
        reads = min(read_low, read_bits) >= 0 and read_low + read_bits <= bits
        if bits < 1 or not reads or not 0 <= clear_bits <= bits:
            raise ValueError(
                f"ChannelWord: bits is {bits}, read_low {read_low}, read_bits {read_bits}, clear_bits {clear_bits}; allowed: 1 or more"
                f" bits, 0 to {bits} of them read or cleared"
            )
        self._channels, self._bits, self._clear_bits, self._saturates = channels, bits, clear_bits, saturates
        changed = signed(bits + 1) if saturates else unsigned(bits)
        self._read = slice(read_low, read_low + read_bits)
        super().__init__(
            {
                "i_valid": In(1),
                "i_channel": In(CHANNEL_BITS),
                "i_again": In(1),
                "i_twice": In(1),
                "o_word": Out(changed),
                "i_word": In(changed),
                "i_takes": In(1),
                "i_given": In(changed),
                "i_clear": In(1),
                "o_cleared": Out(1),
                "o_left": Out(bits),
                "i_read": In(CHANNEL_BITS),
                "o_read": Out(read_bits),
            }
        )

    @property
    def latency(self) -> int:
        """Clocks from i_channel to o_word."""
        return 2

    def elaborate(self, platform) -> Module:
        m = Module()
        depth = max(self._channels, 2)
        m.submodules.words = words = memory.Memory(
            shape=self._bits, depth=depth, init=[], attrs={"ram_style": "distributed"}
        )
        write, soon = words.write_port(), words.read_port(domain="comb")
        # An event that comes, that changes its word, and whose word is being written.
        next_channel, channel, late_channel = (
            Signal(CHANNEL_BITS, name=f"channel_{k}", reset_less=True) for k in (1, 2, 3)
        )
        next_valid, valid, late_valid = (Signal(name=f"valid_{k}") for k in (1, 2, 3))
        again, twice, was_again = Signal(reset_less=True), Signal(reset_less=True), Signal(reset_less=True)
        word, changed = Signal.like(self.o_word, reset_less=True), Signal.like(self.o_word, reset_less=True)
        left = saturated(changed) if self._saturates else changed

        bits = self._clear_bits
        cleared = Cat(left[:bits] & ~self.i_clear.replicate(bits), left[bits:])
        kept = Mux(twice, cleared, soon.data)
        others = kept.as_signed() if self._saturates else kept
        m.d.sync += [
            next_valid.eq(self.i_valid),
            next_channel.eq(self.i_channel),
            valid.eq(next_valid),
            channel.eq(next_channel),
            late_valid.eq(valid),
            late_channel.eq(channel),
            Cat(again, twice).eq(Cat(self.i_again, self.i_twice)),
            was_again.eq(again),
            word.eq(Mux(~again | self.i_takes, Mux(again, self.i_given, others), self.i_word)),
            changed.eq(Mux(self.i_takes, self.i_given, self.i_word)),
        ]
        m.d.comb += [
            soon.addr.eq(next_channel),
            self.o_word.eq(word),
            self.o_left.eq(left),
            self.o_cleared.eq(was_again & self.i_clear),
            write.addr.eq(late_channel),
            write.data.eq(cleared),
            write.en.eq(late_valid),
        ]
        if len(self.o_read):
            m.submodules.copies = copies = memory.Memory(
                shape=len(self.o_read), depth=depth, init=[], attrs={"ram_style": "block"}
            )
            write, read = copies.write_port(), copies.read_port()
            shown = Signal.like(self.o_read, name="shown", reset_less=True)
            news = [Signal.like(shown, name=f"news_{k}", reset_less=True) for k in range(2)]
            isnew = [Signal(name=f"is_new_{k}", reset_less=True) for k in range(2)]
            m.d.comb += [
                write.addr.eq(late_channel),
                write.data.eq(cleared[self._read]),
                write.en.eq(late_valid),
                read.addr.eq(self.i_read),
                self.o_read.eq(Mux(isnew[1], news[1], shown)),
            ]
            m.d.sync += [
                shown.eq(read.data),
                Cat(isnew).eq(Cat(late_valid & (self.i_read == late_channel), isnew[0])),
                Cat(news).eq(Cat(cleared[self._read], news[0])),
            ]
        return m
