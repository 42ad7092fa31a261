"""From the sampled taps of a delay line to hits, their polarity and their code."""

from collections.abc import Sequence

from amaranth.hdl import C, Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.core.add import with_carry
from twinphase_spec.tdc import ENCODER_GROUP, code_bits


def full_adder(a: Value, b: Value, carry: Value) -> Value:
    """``a + b + carry`` of single bits, in two LUT."""
    return Cat(a ^ b ^ carry, (a & b) | (carry & (a | b)))


def carry_chain(a: Value, b: Value, carry: Value) -> Value:
    """``a + b + carry``, one bit longer. A chain even for two bits: in LUT, synthesis makes twice as many of two layers."""
    bits = max(len(a), len(b)) + 1
    return with_carry(Cat(a, C(0, bits - len(a))), Cat(b, C(0, bits - len(b))), carry)


def count_seven(taps: Value) -> Value:
    """Ones among seven bits."""
    return carry_chain(full_adder(*taps[:3]), full_adder(*taps[3:6]), taps[6])


def register(m: Module, value: Value, name: str) -> Signal:
    """``value`` one clock later."""
    later = Signal(len(value), name=name)
    m.d.sync += later.eq(value)
    return later


def registers(m: Module, values: Sequence[Value], name: str) -> list[Signal]:
    """`register` of each."""
    return [register(m, value, f"{name}_{i}") for i, value in enumerate(values)]


class TapEncoder(wiring.Component):
    """Counts the taps that agree with the detector, tap 0, up to the first group of 16 in which none does.

    With q_K the taps sampled at clock K, zero before the first, and z the first group without a tap i >= 1 that agrees::

        hit_K = q_K[0] != q_{K-1}[0]        p = q_K[0]
        code = #{i >= 1: q_K[i] = p, i div 16 < z}
        runt_K = not hit_K and not hit_{K-1} and code < taps - 1

    Neither the order of taps in time nor bubbles matter. Ones are counted, in groups of 3, 7 and 15 taps, each of which is two of
    the size before and a tap as their carry. A group of 16 is a count of 15 and a tap; both are inverted for p = 0 (15 - x is ~x)
    and zero from group z on. Then the sums go on as before, with the sixteenth taps as carries. (With all taps counted, no
    group is empty, so that code = taps - 1 says that all agree.)

    Parameters
    ----------
    taps : int
        A multiple of 16 from 32 to 512.
    per_clock : int
        Sums per register: 1 where the clock is 250 MHz (speed grade 8 of the 5G parts), 2 at 125 MHz.
    follower : bool
        A further chain of a channel. Hit and polarity are those of ``i_detector``, tap 0 of the channel's first chain; this
        chain's own tap 0 is not looked at, and no runts are counted.

    Members
    -------
    i_taps : taps
        Output of the taps' registers.
    i_detector : 1
        Only of a follower; in step with ``i_taps``.
    o_valid, o_polarity, o_code : 1, 1, log2 taps
        A hit, in each clock.
    o_runt : 1
        Strobe per clock in which a runt shows, one clock after the code of that clock.

    Latency: `latency` clocks. Throughput: one hit per clock. One clock domain, ``sync`` unless renamed.
    ValueError for other parameters than these.
    """

    def __init__(self, *, taps: int = 256, per_clock: int = 1, follower: bool = False):
        self.code_bits = code_bits(taps)
        if per_clock not in (1, 2):
            raise ValueError(f"TapEncoder: per_clock is {per_clock}; allowed: 1 (250 MHz) or 2 (125 MHz)")
        self._taps = taps
        self._per_clock = per_clock
        self._follower = follower
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
        """Clocks from ``i_taps`` to ``o_code``: one per register on the way."""
        sums = (self._taps // ENCODER_GROUP - 1).bit_length()
        return 4 + sums if self._per_clock == 1 else 2 + -(-sums // 2)

    def elaborate(self, platform):
        m = Module()
        fast = self._per_clock == 1
        detector = self.i_detector if self._follower else self.i_taps[0]
        before = Signal()
        m.d.sync += before.eq(detector)
        hits = [detector ^ before]
        polarities = [detector]

        def step(values: list[Value], name: str) -> list[Signal]:
            """``values`` one clock later, hit and polarity as well."""
            for past, what in ((hits, "hit"), (polarities, "polarity")):
                past.append(register(m, past[-1], f"{what}_{len(past)}"))
            return [register(m, value, f"{name}_{i}") for i, value in enumerate(values)]

        # The ones of 15 taps of each group; the first group has no more.
        starts = range(0, self._taps, ENCODER_GROUP)
        taps = [self.i_taps[start + 1 : start + ENCODER_GROUP] for start in starts]
        sixteenth = [self.i_taps[start] for start in starts[1:]]
        sevens = [seven for group in taps for seven in (count_seven(group[:7]), count_seven(group[7:14]))]
        between = [*(group[14] for group in taps), *sixteenth]
        if fast:
            sevens, between = step(sevens, "seven"), registers(m, between, "between")
        pairs = zip(sevens[::2], sevens[1::2], between[: len(taps)], strict=True)
        numbers = step([carry_chain(a, b, tap) for a, b, tap in pairs], "group")
        extras = registers(m, between[len(taps) :], "sixteenth")

        # Which groups are empty, and which come before the first that is.
        polarity = polarities[-1]
        full = [Cat(number, extra) for number, extra in zip(numbers, [~polarity, *extras], strict=True)]
        some = [(Mux(polarity, f, ~f)).any() for f in full[1:]]
        some.insert(0, Mux(polarity, numbers[0], ~numbers[0]).any())
        if fast:
            numbers, extras, some = step(numbers, "waiting"), registers(m, extras, "extra"), registers(m, some, "some")
        counted = [Cat(*some[: i + 1]).all() for i in range(len(some))]
        numbers, extras = step(numbers, "number"), registers(m, extras, "late")
        counted = registers(m, counted, "counted")

        polarity = polarities[-1]
        numbers = [Mux(polarity, n, ~n) & c.replicate(len(n)) for n, c in zip(numbers, counted, strict=True)]
        extras = [(extra ^ ~polarity) & c for extra, c in zip(extras, counted[1:], strict=True)]
        since = 0
        while len(numbers) > 1:
            pairs = [carry_chain(a, b, c) for a, b, c in zip(numbers[::2], numbers[1::2], extras, strict=False)]
            extras = extras[len(pairs) :]
            numbers = pairs + numbers[2 * len(pairs) :]
            since += 1
            if len(numbers) > 1 and since == self._per_clock:
                numbers, extras = step(numbers, f"sum_{len(numbers)}"), registers(m, extras, f"extra_{len(numbers)}")
                since = 0
        m.d.sync += [self.o_valid.eq(hits[-1]), self.o_polarity.eq(polarities[-1]), self.o_code.eq(numbers[0])]
        if not self._follower:
            hit_before = Signal()
            m.d.sync += [
                hit_before.eq(self.o_valid),
                self.o_runt.eq(~self.o_valid & ~hit_before & (self.o_code != self._taps - 1)),
            ]
        return m
