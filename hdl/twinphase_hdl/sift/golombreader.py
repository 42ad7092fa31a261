"""Golomb's code of gaps read back from words."""

from amaranth.hdl import C, Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .golomb import HERALDS, CodeShape, Divisor, detector_place

WORDS = 4
"""What is looked at of a code lies in three words; the fourth is fetched meanwhile."""


class Gap(data.StructLayout):
    """A decoded gap; ``first``: of a packet's first herald, which has none."""

    def __init__(self, shape: CodeShape) -> None:
        super().__init__({"gap": shape.gap_bits, "detector": 1, "first": 1})


class GolombReader(wiring.Component):
    """The gaps of a packet, of the code that `GolombCoder` makes, and whether they are all that its words say.

    A code is read in four steps: the bits from its place on; with how many ones they begin, q; what is behind them; the remainder, and
    with it the code's length. A gap in full takes two such passes, the second one from the last bit of the first. The remainder adds a
    bit or not, so that most of the way to the next code's bits is gone while it is looked at, and the last bit of it after that.

    Members
    -------
    i : In(stream of words with ``last``) - the words of code; none is taken after the last one.
    i_start, i_count, i_empty : In(1), In, In(1) - strobe, only when idle: a packet of ``i_count`` codes, 1 and more; it has no words.
    i_divisor : In(Divisor) - constant from the second gap on.
    o : Out(stream of Gap)
    o_done, o_bad : Out(1) - strobe, and all that was read has left by ``o``: the words were exactly the codes; they were not.
    o_idle : Out(1)

    Latency: free. Throughput: a code in 4 clocks, 8 for one in full; one of more than a word may take up to three more. Overflow: none.
    Source: docs/heralds.md.
    """

    def __init__(self, *, shape: CodeShape = HERALDS, count_bits: int = 16) -> None:
        self._shape = shape
        word = data.StructLayout({"data": shape.word_bits, "last": 1})
        super().__init__(
            {
                "i": In(stream.Signature(word)),
                "i_start": In(1),
                "i_count": In(count_bits),
                "i_empty": In(1),
                "i_divisor": In(Divisor(shape)),
                "o": Out(stream.Signature(Gap(shape))),
                "o_done": Out(1),
                "o_bad": Out(1),
                "o_idle": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        shape, divisor = self._shape, self.i_divisor
        width, bits = shape.word_bits, shape.divisor_bits
        word_place_bits = (width - 1).bit_length()
        high_bits = shape.gap_bits - bits
        """Of a gap in full, read in the second pass."""

        # Words, the oldest lowest; 0 where there is none. One that comes waits for its place, and as long as words move: what moves so
        # many is registers.
        words, held = Signal(WORDS * width, reset_less=True), Signal(range(WORDS + 1))
        busy, complete, shift = Signal(), Signal(), Signal()
        """``complete``: the packet's last word is there."""
        came, word = Signal(), Signal.like(self.i.payload, reset_less=True)
        m.d.comb += self.i.ready.eq(busy & ~complete & ~came)
        m.d.sync += shift.eq(0)
        with m.If(~came):
            m.d.sync += [came.eq(self.i.valid & self.i.ready), word.eq(self.i.payload)]
        with m.If(shift):
            m.d.sync += [words.eq(words >> width), held.eq(held - 1)]
        with m.Elif(came & ~held[-1]):
            m.d.sync += [came.eq(0), held.eq(held + 1), complete.eq(word.last)]
            with m.Switch(held):
                for index in range(WORDS):
                    with m.Case(index):
                        m.d.sync += words[index * width : (index + 1) * width].eq(word.data)

        # The code at hand. It may begin in the word behind the oldest, which is taken off a clock later; not further back.
        place = Signal(word_place_bits + 2)
        fine_bits = (word_place_bits + 1) // 2
        aim, fine = Signal.like(place), Signal(fine_bits, reset_less=True)
        """A clock before BITS: the code's place or the one before it, whose lowest bits are shifted last."""
        coarse = Signal(shape.short_bits + (1 << fine_bits), reset_less=True)
        window = Signal(shape.short_bits, reset_less=True)
        left, one_left, none_left = Signal(len(self.i_count)), Signal(), Signal()
        first, second, in_full = Signal(), Signal(), Signal()
        """Pass of the first herald, second pass and first pass of a gap in full."""
        ones, q = Signal(shape.quotient_bits), Signal(shape.quotient_bits, reset_less=True)
        m.d.comb += ones.eq(shape.escape - 1)
        for bit in reversed(range(shape.escape)):
            with m.If(~window[bit]):
                m.d.comb += ones.eq(bit)
        behind, base = Signal(bits + 1, reset_less=True), Signal(len(place), reset_less=True)
        alone = Mux(first, 1, Mux(second, high_bits + 2, shape.escape + bits - 1))
        """Length of a pass whose length does not depend on a remainder."""
        end_longer = Signal.like(place)
        """Of a code whose remainder is not a short one; ``aim`` is that of another."""
        remainder = Signal(bits)
        """The bits of r below the (b - 1)th."""
        shorter = Signal()
        m.d.comb += [remainder.eq(behind & divisor.mask), shorter.eq(remainder < divisor.t)]
        fixed, longer = Signal(init=1), Signal()
        """The next place does not depend on a remainder; a clock later, in BITS: it is ``end_longer``, not ``place``."""
        at = Mux(longer, end_longer, place)
        """The code's place, in BITS."""
        beyond, far = at[word_place_bits], at[word_place_bits + 1]
        lacks_short, lacks_longer, enough = Signal(), Signal(), Signal()
        """The code before ended behind the packet's last word, by its remainder; what is looked at of the code at hand is there."""

        def is_behind(end: Value) -> Value:
            """Whether ``end`` lies behind the words."""
            words_to = end[word_place_bits:]
            return (words_to > held) | ((words_to == held) & end[:word_place_bits].any())

        m.d.sync += [
            *(coarse.eq(words >> Cat(C(0, fine_bits), aim[fine_bits:-1])), fine.eq(aim[:fine_bits])),
            longer.eq(~(fixed | shorter)),
            *(lacks_short.eq(complete & is_behind(aim)), lacks_longer.eq(complete & is_behind(end_longer))),
            enough.eq(complete | (held >= WORDS - 1 + aim[word_place_bits])),
            one_left.eq(left == 1),
        ]
        all_read = Signal()
        m.d.sync += all_read.eq(complete & (held == place.any()) & ~window.any())

        start, cancel = Signal(), Signal()
        """A gap has been read; a clock later: it has not."""
        stages = Signal(3)
        free = ~stages.any()
        low = Signal(bits, reset_less=True)
        """Of a gap in full."""
        with m.FSM(name="reader"):
            with m.State("IDLE"):
                m.d.comb += self.o_idle.eq(~self.i_start)
                m.d.sync += [
                    *(left.eq(self.i_count), complete.eq(self.i_empty), busy.eq(self.i_start)),
                    *(held.eq(0), words.eq(0), came.eq(0), place.eq(0), aim.eq(0), fixed.eq(1)),
                    *(first.eq(1), second.eq(0), none_left.eq(0)),
                ]
                with m.If(self.i_start):
                    m.next = "LOOK"
            # The bits of a place that is known.
            with m.State("LOOK"):
                m.next = "BITS"
            with m.State("BITS"):
                m.d.sync += [window.eq(coarse >> fine >> longer), place.eq(at), aim.eq(at)]
                m.next = "LOOK"
                with m.If(Mux(longer, lacks_longer, lacks_short)):
                    m.d.comb += cancel.eq(1)
                    m.next = "BAD"
                with m.Elif(far):
                    m.d.sync += [shift.eq(1), place.eq(at - width), aim.eq(at - width)]
                    m.next = "MOVE"
                with m.Elif(enough):
                    m.d.sync += [shift.eq(beyond), place[word_place_bits].eq(0)]
                    m.next = "ONES"
                    with m.If(none_left):
                        m.next = "CHECK"
            with m.State("MOVE"):
                m.next = "LOOK"
            with m.State("ONES"):
                m.d.sync += [
                    q.eq(Mux(second, 0, ones)),
                    in_full.eq(window[: shape.escape].all() & ~(second | first)),
                    base.eq(place + divisor.b),
                ]
                m.next = "BEHIND"
            with m.State("BEHIND"):
                m.d.sync += [
                    behind.eq(window >> 1 >> q),
                    aim.eq(base + q + 1),
                    end_longer.eq(base + q + 2),
                    fixed.eq(first | second | in_full),
                ]
                with m.If(first | second | in_full):
                    m.d.sync += aim.eq(place + alone)
                m.next = "REST"
            with m.State("REST"), m.If(free):
                m.d.sync += [place.eq(aim), fixed.eq(1), first.eq(0), second.eq(in_full)]
                m.d.comb += start.eq(~in_full)
                m.next = "BITS"
                with m.If(in_full):
                    m.d.sync += low.eq(behind)
                with m.Else():
                    m.d.sync += [left.eq(left - 1), none_left.eq(one_left)]
            # The oldest word has been taken off; then ``all_read`` is of what is left.
            for state, next_state in (("CHECK", "CHECKS"), ("CHECKS", "CHECKED")):
                with m.State(state):
                    m.next = next_state
            with m.State("CHECKED"):
                m.next = "BAD"
                with m.If(all_read):
                    m.next = "DONE"
            for state, strobe in (("DONE", self.o_done), ("BAD", self.o_bad)):
                with m.State(state):
                    m.d.sync += busy.eq(0)
                    m.d.comb += strobe.eq(free & ~self.o.valid)
                    with m.If(strobe):
                        m.next = "IDLE"

        # q m + r: products with two bits of q each, and both meanings of the bits of r; their sum and its choice; the gap. Of a gap in
        # full q is 0 and r its low bits.
        taken_q = Signal(shape.quotient_bits + shape.quotient_bits % 2, reset_less=True)
        taken, at_next, next_but_one = Signal(bits, reset_less=True), Signal(), Signal()
        """The bits of r below the (b - 1)th, and the two behind them."""
        was_shorter, was_first, was_second = Signal(), Signal(), Signal()
        high, high_detector = Signal(high_bits, reset_less=True), Signal()
        with m.If(start):
            m.d.sync += [
                *(taken_q.eq(q), taken.eq(remainder)),
                at_next.eq((behind & divisor.at).any()),
                next_but_one.eq((behind & detector_place(divisor.at)).any()),
                *(was_shorter.eq(shorter), was_first.eq(first), was_second.eq(second)),
                *(
                    high.eq(Mux(second, behind[:high_bits], 0)),
                    high_detector.eq(Mux(first, window[0], behind[high_bits])),
                ),
            ]
        parts = [Signal(bits + 2, name=f"part_{k}", reset_less=True) for k in range(len(taken_q) // 2)]
        with_more, product, rest = (Signal(width, reset_less=True) for width in (bits, bits + len(taken_q), bits))
        m.d.sync += [
            *(
                part.eq(Mux(taken_q[2 * k], divisor.m, 0) + Mux(taken_q[2 * k + 1], divisor.m << 1, 0))
                for k, part in enumerate(parts)
            ),
            with_more.eq(((taken << 1) | at_next) - divisor.t),
        ]
        m.d.sync += product.eq(sum(part << 2 * k for k, part in enumerate(parts)))
        m.d.sync += rest.eq(Mux(was_second, low, Mux(was_shorter, taken, with_more)))
        release = ~self.o.valid | self.o.ready
        m.d.sync += stages.eq(Cat(start, stages[0] & ~cancel, stages[1] | (stages[2] & ~release)))
        with m.If(release):
            m.d.sync += [
                *(self.o.valid.eq(stages[2]), self.o.payload.first.eq(was_first)),
                self.o.payload.gap.eq((product + rest) | Cat(C(0, bits), high)),
                self.o.payload.detector.eq(
                    Mux(was_first | was_second, high_detector, Mux(was_shorter, at_next, next_but_one))
                ),
            ]
        return m
