"""From the sampled taps of a delay line to hits, their polarity and their code."""

from collections.abc import Sequence

from amaranth.hdl import C, Cat, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.core.add import sums_in_one_chain
from twinphase_spec.tdc import ENCODER_GROUP, code_bits, has_twins

BLOCK = 4
"""Groups that are asked together whether one is empty."""
CHAINED = {1: 16, 2: 8}
"""Sums that share a carry chain, for one sum per clock and for two: more save area, but a chain is timed from end to end."""
CHAINED_OF_TWINS = 4
"""For one sum per clock of taps that lie in two rows, from where a sum's bits come together later."""


def full_adder(a: Value, b: Value, carry: Value) -> Value:
    """``a + b + carry`` of single bits, in two LUT."""
    return Cat(a ^ b ^ carry, (a & b) | (carry & (a | b)))


def sums(terms: Sequence[tuple[Value, Value, Value]], chained: int) -> list[Value]:
    """``a + b + carry`` of each term, ``chained`` of them in a carry chain."""
    parts = [terms[start : start + chained] for start in range(0, len(terms), chained)]
    return [value for part in parts for value in sums_in_one_chain(part)]


def registers(m: Module, values: Sequence[Value], name: str) -> list[Signal]:
    """``values`` one clock later; not reset, so that the flip-flops' reset is free for what a stage wants to be zero."""
    later = [Signal(len(value), name=f"{name}_{i}", reset_less=True) for i, value in enumerate(values)]
    m.d.sync += [signal.eq(value) for signal, value in zip(later, values, strict=True)]
    return later


class TapEncoder(wiring.Component):
    """Counts the taps that agree with the detector, tap 0, up to the first group of 16 in which none does.

    With q_K the taps sampled at clock K, zero before the first, and z the first group without a tap i >= 1 that agrees::

        hit_K = q_K[0] != q_{K-1}[0]        p = q_K[0]
        code = #{i >= 1: q_K[i] = p, i div 16 < z}
        runt_K = not hit_K and not hit_{K-1} and code < taps - 1

    Neither the order of taps in time nor bubbles matter. Ones are counted, in groups of 3, 7 and 15 taps, each of which is two of
    the size before and a tap as their carry; a group of 16 is a count of 15 and a tap. Behind the first group without an
    agreeing tap a group counts as zero, for p = 0 as 16: then the sum S of all is ``code`` for p = 1, and ``taps - 1 - S`` for p = 0,
    the inverse of S if taps is a power of two. (What taps lacks to one is a further number for p = 0.) With all taps counted, no group is
    empty, so that code = taps - 1 says that all agree.

    Parameters
    ----------
    taps : int
        A multiple of 16 from 32 to 512.
    per_clock : int
        Sums per register in the tree of groups: 1 where the clock is 250 MHz (speed grade 8 of the 5G parts), 2 at 125 MHz.
    follower : bool
        A further chain of a channel. Hit and polarity are those of ``i_detector``, tap 0 of the channel's first chain; this
        chain's own tap 0 is not looked at, and no runts are counted.
    registered : bool
        Without it the outputs come from the last sum, not from registers, for a `Gearbox`, whose registers they are then.

    Members
    -------
    i_taps : taps
        Output of the taps' registers.
    i_detector : 1
        Only of a follower; in step with ``i_taps``.
    o_valid, o_polarity, o_code : 1, 1, log2 taps
        A hit, in each clock. The code is that of a clock without one, too: an echo, behind one that has.
    o_runt : 1
        Strobe per clock in which a runt shows, one clock after the code of that clock.

    Latency: `latency` clocks. Throughput: one hit per clock. One clock domain, ``sync`` unless renamed.
    ValueError for other parameters than these.
    """

    def __init__(self, *, taps: int = 256, per_clock: int = 1, follower: bool = False, registered: bool = True):
        self.code_bits = code_bits(taps)
        if per_clock not in (1, 2):
            raise ValueError(f"TapEncoder: per_clock is {per_clock}; allowed: 1 (250 MHz) or 2 (125 MHz)")
        self._taps = taps
        self._per_clock = per_clock
        self._twins = has_twins(taps, 3 - per_clock)
        self._follower = follower
        self._registered = registered
        super().__init__(
            {
                "i_taps": In(taps),
                **({"i_detector": In(1)} if follower else {}),
                "o_valid": Out(1),
                "o_polarity": Out(1),
                "o_code": Out(self.code_bits),
                "o_runt": Out(1),
            }
        )

    @property
    def latency(self) -> int:
        """Clocks from ``i_taps`` to ``o_code``: four until pairs of groups are left out (six with twins), then those of the sum."""
        groups = self._taps // ENCODER_GROUP
        numbers = -(-groups // 2) + (self._taps != 1 << self.code_bits)
        levels = (numbers - 1).bit_length()
        return 3 + max(1, -(-levels // self._per_clock)) + self._registered + 2 * self._twins

    def elaborate(self, platform):
        m = Module()
        chained = CHAINED_OF_TWINS if self._twins else CHAINED[self._per_clock]
        detector = self.i_detector if self._follower else self.i_taps[0]
        before = Signal()
        m.d.sync += before.eq(detector)
        hits = [detector ^ before]
        polarities = [detector]

        def step() -> None:
            """Hit and polarity one clock later."""
            for past, what in ((hits, "hit"), (polarities, "polarity")):
                later = Signal(name=f"{what}_{len(past)}")
                m.d.sync += later.eq(past[-1])
                past.append(later)

        # The ones of 15 taps of each group; the first group has no more.
        starts = range(0, self._taps, ENCODER_GROUP)
        taps = [self.i_taps[start + 1 : start + ENCODER_GROUP] for start in starts]
        sixteenth = [self.i_taps[start] for start in starts[1:]]
        halves = [half for group in taps for half in (group[:7], group[7:14])]
        threes = [adder for half in halves for adder in (full_adder(*half[:3]), full_adder(*half[3:6]))]
        sevenths = [half[6] for half in halves]
        fifteenth = [group[14] for group in taps]
        if self._twins:  # ways from two rows leave no time for a sum behind the adders
            step()
            threes, sevenths = registers(m, threes, "three"), registers(m, sevenths, "seventh")
            fifteenth, sixteenth = registers(m, fifteenth, "early_15"), registers(m, sixteenth, "early_16")
        sevens = sums(list(zip(threes[::2], threes[1::2], sevenths, strict=True)), chained)
        step()
        sevens = registers(m, sevens, "seven")
        fifteenth, sixteenth = registers(m, fifteenth, "fifteenth"), registers(m, sixteenth, "sixteenth")

        def all_differ(number: Value) -> Value:
            """None of a number's taps agrees."""
            return ((number == 0) | number.all()) & (number[0] ^ polarities[-1])

        def differ(extras: list[Value]) -> list[Value]:
            return [extra ^ polarities[-1] for extra in (~polarities[-1], *extras)]

        # The sevens are asked, beside their sum: that takes more LUT than to ask the sum, but no number has to wait for the answer.
        parts = list(zip(sevens[::2], sevens[1::2], fifteenth, differ(sixteenth), strict=True))
        empty = [all_differ(a) & all_differ(b) & (last ^ polarities[-1]) & d for a, b, last, d in parts]
        step()
        numbers = registers(m, sums(list(zip(sevens[::2], sevens[1::2], fifteenth, strict=True)), chained), "group")
        extras = registers(m, sixteenth, "extra")

        # Which groups are empty, and which come behind the first that is.
        # Pairs of groups are left out together: a pair whose first group is empty is worth as much as one behind an empty group.
        empty = registers(m, empty, "empty")
        firsts = range(0, len(numbers), 2)
        alone = numbers[firsts[-1] :] if len(numbers) % 2 else []
        pairs = sums(list(zip(numbers[::2], numbers[1::2], extras[::2], strict=False)), chained)
        earlier = [Cat(*empty[i - i % BLOCK : i + 1]).any() for i in firsts]  # in the same block
        blocks = [Cat(*empty[start : start + BLOCK]).any() for start in range(0, len(empty), BLOCK)]
        step()
        numbers, extras = registers(m, [*pairs, *alone], "waiting"), registers(m, extras[1::2], "extra_waiting")
        blocks, earlier = registers(m, blocks, "block"), registers(m, earlier, "earlier")
        blocks = [Cat(*blocks[:b]).any() for b in range(len(blocks))]
        polarity = polarities[-1]
        behind = [blocks[i // BLOCK] | near for i, near in zip(firsts, earlier, strict=True)]
        if self._twins:
            step()
            polarity, behind = polarities[-1], registers(m, behind, "behind")
            numbers, extras = registers(m, numbers, "longer"), registers(m, extras, "extra_longer")
        step()
        numbers, extras = registers(m, numbers, "number"), registers(m, extras, "late")
        left_out = registers(m, behind[1:], "left_out")
        for number, extra, out in zip(numbers[1:], extras, behind[1:], strict=True):
            with m.If(out):
                m.d.sync += [number.eq(0), extra.eq(0)]
        with m.If(behind[0]):  # the first pair has 31 taps
            m.d.sync += numbers[0].eq((~polarity).replicate(len(numbers[0])))
        with m.If(polarity):
            m.d.sync += [out.eq(0) for out in left_out]

        # The sum of all. Of an odd number the last waits for the next level.
        numbers = [numbers[0], *(Cat(number, out) for number, out in zip(numbers[1:], left_out, strict=True))]
        lacks = (1 << self.code_bits) - self._taps
        if lacks:
            inverse = ~polarities[-1]
            numbers.append(Cat(inverse & (lacks >> k & 1) for k in range(lacks.bit_length())))
            extras.append(C(0, 1))
        since = 0
        while len(numbers) > 1:
            terms = list(zip(numbers[::2], numbers[1::2], extras, strict=False))
            extras = extras[len(terms) :]
            numbers = [total[: self.code_bits] for total in sums(terms, chained)] + numbers[2 * len(terms) :]
            since += 1
            if len(numbers) > 1 and since == self._per_clock:
                step()
                numbers = registers(m, numbers, f"sum_{len(numbers)}")
                extras = registers(m, extras, f"extra_{len(numbers)}")
                since = 0
        # Whoever takes the word registers it as here, so that synthesis makes one register of both.
        word = [hits[-1], polarities[-1], numbers[0] ^ (~polarities[-1]).replicate(self.code_bits)]
        valid, _, code = later = registers(m, word, "found")
        outputs = [self.o_valid, self.o_polarity, self.o_code]
        m.d.comb += [
            output.eq(value) for output, value in zip(outputs, later if self._registered else word, strict=True)
        ]
        if not self._follower:
            hit_before = Signal()
            m.d.sync += hit_before.eq(valid)
            quiet, differs = ~valid & ~hit_before, code != self._taps - 1
            runt = quiet & differs
            if self._twins and self._registered:
                m.d.comb += self.o_runt.eq(Cat(registers(m, [quiet, differs], "runt")).all())
            elif self._registered:
                m.d.sync += self.o_runt.eq(runt)
            else:
                m.d.comb += self.o_runt.eq(runt)
        return m
