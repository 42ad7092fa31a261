"""The smoothed phase at a herald's time."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.core.stages import Stages
from twinphase_hdl.phase.smoothpass import CHANNELS
from twinphase_hdl.sift.columns import ColumnMemory
from twinphase_hdl.types import PhaseInterval
from twinphase_spec import smoothing, tracking, units

FRACTION_BITS = smoothing.FRACTION_BITS
SHIFT_BITS = (FRACTION_BITS - tracking.EPOCH_LEAST).bit_length()
KEPT_BITS = FRACTION_BITS + (smoothing.INTERVALS - 1).bit_length()
"""Of a shifted time: its fraction and an interval's index."""
PIECE = 17
"""Low bits of a way that one multiplication takes, unsigned; the next takes the rest, signed."""
SLOTS = 2 * CHANNELS
"""Multiplications of a phase: of each channel the low piece of the way and the high one."""


class _Interval(data.Struct):
    """A word of the ring."""

    start: smoothing.STEP_BITS
    way: signed(smoothing.STEP_BITS)
    valid: 1


class SmoothedPhase(wiring.Component):
    """Keeps the last intervals of both channels, and gives the phase at a time t from those that hold it, with one multiplier::

        v_c = start + ((way phi) >> 16),   phi = ((t mod 2^(E + g)) 2^16) >> (E + g),   of channel c's interval t >> (E + g)
        psi = ((v_0 + v_1) mod 2^32 >> 16) - A_q mod 2^16,   flags = valid of channel 0 | valid of channel 1 << 1

    Members
    -------
    i_epoch_bits, i_step : In(5), In(ArrayLayout(3, 2))
        E, and g of each channel; E + g is 9 to 15 (above, o_psi and o_flags mean nothing). Constant while in use.
    i_interval, i_interval_valid : In(PhaseInterval), In(1)
    i_start, i_time, i_applied_q, i_known : In(1), In(26), In(16), In(1)
        Asks for a phase; what is not ``i_known`` has psi 0 and flags 0.
    o_ready : Out(1)
        ``i_start`` may come in the next clock.
    o_psi, o_flags, o_valid : Out(16), Out(2), Out(1)
        Strobe, and what holds with it.

    Latency: `latency` clocks from i_start to o_valid, constant; an interval is there a clock after it came. Throughput: a phase in
    `spacing` clocks. Overflow: phases wrap, no other.
    Source: docs/phase.md, smooth join.
    """

    i_epoch_bits: In(5)
    i_step: In(data.ArrayLayout(smoothing.SMOOTH_STEP_BITS, CHANNELS))
    i_interval: In(PhaseInterval)
    i_interval_valid: In(1)
    i_start: In(1)
    i_time: In(smoothing.TIME_BITS)
    i_applied_q: In(units.TURN_BITS)
    i_known: In(1)
    o_ready: Out(1)
    o_psi: Out(units.TURN_BITS)
    o_flags: Out(2)
    o_valid: Out(1)

    spacing = 8
    """Fewest clocks from i_start to i_start."""

    @property
    def latency(self) -> int:
        """Kept; the last of the slots; shifted; read and kept; operands, product and term; sum."""
        return 1 + SLOTS - 1 + SHIFT_BITS + 2 + 3 + 1

    def elaborate(self, platform) -> Module:
        m = Module()
        stages = Stages(m)
        m.submodules.ring = ring = ColumnMemory(shape=_Interval, depth=CHANNELS * smoothing.INTERVALS)
        came = self.i_interval
        m.d.comb += [
            ring.i_write.eq(self.i_interval_valid),
            ring.i_write_address.eq(Cat(came.index, came.channel)),
            *(getattr(ring.i_write_data, name).eq(getattr(came, name)) for name in ("start", "way", "valid")),
            ring.i_read.eq(1),
        ]

        # What is asked for stays until the next; a slot per multiplication begins with each of the next clocks.
        time, applied, known = Signal(smoothing.TIME_BITS), Signal(units.TURN_BITS), Signal()
        left = Signal(data.ArrayLayout(SHIFT_BITS, CHANNELS))
        """16 - E - g: place and fraction are the time, shifted left by this."""
        clocks, busy, slot = Signal(range(self.spacing)), Signal(), Signal(range(SLOTS), init=SLOTS - 1)
        last = Signal()
        m.d.comb += [last.eq(busy & (slot == SLOTS - 1)), self.o_ready.eq(~self.i_start & (clocks == 0))]
        m.d.sync += [left[c].eq(FRACTION_BITS - self.i_epoch_bits - self.i_step[c]) for c in range(CHANNELS)]
        with m.If(self.i_start):
            m.d.sync += [
                *(time.eq(self.i_time), applied.eq(self.i_applied_q), known.eq(self.i_known)),
                *(busy.eq(1), slot.eq(0), clocks.eq(self.spacing - 2)),
            ]
        with m.Else():
            # The last slot is where it rests: it starts no sum and sets no flag.
            with m.If(last):
                m.d.sync += busy.eq(0)
            with m.Elif(busy):
                m.d.sync += slot.eq(slot + 1)
            with m.If(clocks != 0):
                m.d.sync += clocks.eq(clocks - 1)

        # 0 to 3: place and fraction; 4, 5: the interval.
        number = stages.given("slot", 0, slot)
        shifted = stages.given("time", 0, time)
        amount = stages.given("left", 0, left[slot[1]])
        for bit in reversed(range(SHIFT_BITS)):
            stage = SHIFT_BITS - 1 - bit
            shifted = stages.after(
                f"shifted_{bit}",
                stage,
                lambda value, amount, bit=bit: Mux(amount[bit], value << (1 << bit), value)[:KEPT_BITS],
                shifted,
                amount,
            )
        at = SHIFT_BITS
        place = shifted.at(at)
        m.d.comb += ring.i_read_address.eq(Cat(place[FRACTION_BITS:], number.at(at)[1]))
        interval = Signal(_Interval, reset_less=True)
        known_then = Signal()
        """For as long as intervals of it are looked at."""
        m.d.sync += [interval.eq(ring.o_data), known_then.eq(known)]
        at += 2

        # 5 to 9: the products, summed; A_q with the last.
        low = ~number.at(at)[0]
        piece = Mux(low, interval.way[:PIECE], interval.way[PIECE:].as_signed())
        way = stages.operand("way", at, Mux(known_then, piece, 0))
        part = stages.given("fraction", SHIFT_BITS, place[:FRACTION_BITS])
        fraction = stages.operand("fraction_operand", at, part.at(at))
        start = stages.after("start", at, lambda: Mux(known_then, interval.start, 0))
        product = stages.after("product", at + 1, lambda way, fraction: way * fraction, way, fraction)
        taken_off = Signal(units.TURN_BITS)
        """-A_q."""
        with m.If(last):
            m.d.sync += taken_off.eq(Mux(known, -applied, 0))
        slot_then = number.at(at + 2)
        term = Signal(smoothing.STEP_BITS, reset_less=True)
        aside, start_then = Signal(smoothing.STEP_BITS), start.at(at + 2)
        with m.If(~slot_then[0]):
            m.d.comb += aside.eq(start_then)
        with m.Elif(slot_then[1]):
            m.d.comb += aside.eq(taken_off << smoothing.STEP_BITS - units.TURN_BITS)
        done = product.at(at + 2)
        m.d.sync += term.eq(Mux(slot_then[0], done << PIECE - FRACTION_BITS, done >> FRACTION_BITS) + aside)
        total = Signal(smoothing.STEP_BITS, reset_less=True)
        m.d.sync += total.eq(Mux(number.at(at + 3) == 0, 0, total) + term)
        slot_read = number.at(at)
        for c in range(CHANNELS):
            with m.If(slot_read == 2 * c):
                m.d.sync += self.o_flags[c].eq(interval.valid & known_then)

        inside = last
        for stage in range(at + 4):
            later = Signal(name=f"last_{stage + 1}")
            m.d.sync += later.eq(inside)
            inside = later
        m.d.comb += [self.o_valid.eq(inside), self.o_psi.eq(total[-units.TURN_BITS :])]
        return m
