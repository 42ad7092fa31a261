"""Corrections of a client's emission: written by the host, taken or refused, in force from their slot on."""

from itertools import pairwise

from amaranth.hdl import C, Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, enum, memory, wiring
from amaranth.lib.wiring import In, Out

from twinphase_spec import emission as spec
from twinphase_spec.frame import FRAME_PULSE_BITS, PULSE_BITS
from twinphase_spec.registers import CLIENT_LANES
from twinphase_spec.units import TICKS_PER_CLOCK

from ..core.add import with_carry
from ..core.along import LUT_RAM_DEPTH

HALF_BITS = PULSE_BITS // 2
"""Slots are added and compared in halves, as no carry chain in a clock should be longer."""
SLOT_STEP_BITS = (spec.SLOT_STEP - 1).bit_length()
DARK_STEPS = spec.DARK_SLOTS // spec.SLOT_STEP
CHANGE_BITS = (spec.MOST_STEP - 1).bit_length() + 1
"""Of K - K', signed."""
PLACE_BITS = FRAME_PULSE_BITS + 2
OFFSET_BITS = CHANGE_BITS + 2
SEEN_CLOCKS = 3
"""From an anchor to what is done because of it."""


class State(enum.Enum, shape=4):
    """Of the head of the queue."""

    EMPTY = 0
    PLACE = 1
    FOLD = 2
    LOW = 3
    HIGH = 4
    SETTLE = 5
    SEES = 6
    DUE = 7
    TAKES = 8
    LIGHT_HIGH = 9
    DARK = 10


class Shift(data.Struct):
    """What the emitter has to do in a clock."""

    pulses: signed(spec.PULSES_BITS)
    """K."""
    place: FRAME_PULSE_BITS
    """K mod L."""
    fraction: spec.FRACTION_BITS
    """F, ticks."""
    dark: 1


class Waiting(data.Struct):
    """A correction that was taken."""

    step: PULSE_BITS - SLOT_STEP_BITS
    """N div 8."""
    pulses: signed(spec.PULSES_BITS)
    fraction: spec.FRACTION_BITS


class Corrections(wiring.Component):
    """Queue of corrections, and the one in force.

    Formula: docs/alignment.md, Emission. ``i_slot`` is compared with a mark that lies SEEN_CLOCKS before what is to begin: slot N - lanes
    (dark, and a clock later K), then R (light). K mod L follows from the one before by adding or subtracting L, at most
    ``MOST_STEP / 16 + 1`` times. APART_SLOTS keeps all of that apart from the next one.

    Members
    -------
    i_framing, i_slot : In(1), In(56), the anchor runs, and its pulse: the slot p of lane 0. p may jump forward, by less than APART_SLOTS;
        what has been passed is done within 16 clocks then.
    i_frame_pulses : In(24), L, constant while framing
    i_write : In(1), strobe, at most every 8 clocks: a correction, for i_slot of this clock
    i_from, i_pulses, i_fraction : In(56), In(signed 32), In(13), N, K, F; constant for 5 clocks from the strobe on
    o_shift : Out(Shift), for the anchor of this clock
    o_taken, o_refused : Out(32), corrections since reset; they wrap
    o_idle : Out(1), nothing changes until another write or slot

    Latency: ``latency`` clocks from a write to o_taken or o_refused. Throughput: 16 corrections may wait; those beyond are refused.
    Source: docs/alignment.md.

    ``lanes``: 1, 2, 4 or 8. ValueError otherwise.
    """

    latency = 5

    i_framing: In(1)
    i_slot: In(PULSE_BITS)
    i_frame_pulses: In(FRAME_PULSE_BITS)
    i_write: In(1)
    i_from: In(PULSE_BITS)
    i_pulses: In(signed(spec.PULSES_BITS))
    i_fraction: In(spec.FRACTION_BITS)
    o_shift: Out(Shift)
    o_taken: Out(32)
    o_refused: Out(32)
    o_idle: Out(1)

    def __init__(self, *, lanes: int = CLIENT_LANES) -> None:
        if lanes not in (1, 2, 4, 8):
            raise ValueError(f"Corrections: lanes is {lanes}; allowed: 1, 2, 4 or 8")
        self._lanes = lanes
        super().__init__()

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.queue = queue = memory.Memory(
            shape=Waiting, depth=spec.QUEUE, init=[], attrs={"ram_style": "distributed"}
        )
        assert spec.QUEUE == LUT_RAM_DEPTH
        push, head = queue.write_port(), queue.read_port(domain="comb")
        ends = Signal(range(2 * spec.QUEUE))  # where the next one is put
        begins = Signal(range(2 * spec.QUEUE))
        full = Signal()
        m.d.comb += [push.addr.eq(ends), head.addr.eq(begins)]
        m.d.sync += full.eq((ends ^ begins) == spec.QUEUE)

        slot_high = Signal(PULSE_BITS - HALF_BITS)
        m.d.sync += slot_high.eq(self.i_slot[HALF_BITS:])
        # What clears all, a clock after the frame has stopped: out of a register of its own, as it goes everywhere.
        stopped = Signal(init=1)
        m.d.sync += stopped.eq(~self.i_framing)
        taken, writing = self._taken(m, slot_high, full, push, stopped)
        with m.If(taken):
            m.d.sync += ends.eq(ends + 1)
        waits = self._in_force(m, slot_high, head.data, begins, ends, stopped)
        m.d.comb += self.o_idle.eq(waits & ~writing & (stopped != self.i_framing))
        with m.If(stopped):
            m.d.sync += [ends.eq(0), begins.eq(0)]
        return m

    def _taken(
        self, m: Module, slot_high: Signal, full: Signal, push: memory.WritePort, stopped: Signal
    ) -> tuple[Value, Value]:
        """Whether a write is taken, and whether one is under way: differences in two clocks, what they say in a third, and a fourth."""
        last, is_first = Signal(Waiting), Signal(init=1)
        step = self.i_from[SLOT_STEP_BITS:]
        comes = [self.i_write, *(Signal(name=f"write_{k}") for k in range(1, 4))]
        m.d.sync += [after.eq(before) for before, after in pairwise(comes)]

        ahead_low, apart_low = Signal(HALF_BITS + 1), Signal(HALF_BITS + 1)
        ahead, apart = Signal(PULSE_BITS), Signal(len(step))
        change, near = Signal(signed(spec.PULSES_BITS + 1)), Signal()
        far, free, small = Signal(), Signal(), Signal()
        m.d.sync += [
            # The first of two clocks has i_slot of the strobe, the second its high half.
            ahead_low.eq(Cat(C(0, SLOT_STEP_BITS), step[: HALF_BITS - SLOT_STEP_BITS]) - self.i_slot[:HALF_BITS]),
            ahead.eq(Cat(ahead_low[:HALF_BITS], self.i_from[HALF_BITS:] - slot_high - ahead_low[HALF_BITS])),
            apart_low.eq(step[:HALF_BITS] - last.step[:HALF_BITS]),
            apart.eq(Cat(apart_low[:HALF_BITS], step[HALF_BITS:] - last.step[HALF_BITS:] - apart_low[HALF_BITS])),
            change.eq(self.i_pulses - last.pulses),
            near.eq(self.i_fraction < TICKS_PER_CLOCK // self._lanes),
            far.eq(~ahead[-1] & ahead[spec.LEAD_SLOTS.bit_length() - 1 :].any()),
            free.eq(is_first | (~apart[-1] & apart[spec.APART_SLOTS.bit_length() - 1 - SLOT_STEP_BITS :].any())),
            small.eq((change[CHANGE_BITS - 1 :] == 0) | change[CHANGE_BITS - 1 :].all()),
        ]
        taken, refused = Signal(), Signal()
        takes = far & free & small & near & ~full & self.i_framing
        m.d.sync += [taken.eq(comes[3] & takes), refused.eq(comes[3] & ~takes)]
        m.d.comb += [
            push.en.eq(taken),
            push.data.step.eq(step),
            push.data.pulses.eq(self.i_pulses),
            push.data.fraction.eq(self.i_fraction),
        ]
        with m.If(taken):
            m.d.sync += [last.eq(push.data), is_first.eq(0)]
        with m.If(stopped):
            m.d.sync += [last.eq(0), is_first.eq(1)]
        m.d.sync += [self.o_taken.eq(self.o_taken + taken), self.o_refused.eq(self.o_refused + refused)]
        return taken, Cat(comes).any() | taken | refused

    def _in_force(
        self, m: Module, slot_high: Signal, head: data.View, begins: Signal, ends: Signal, stopped: Signal
    ) -> Value:
        """The head of the queue is prepared, waits for its slot and takes over. Gives whether it has nothing to do but wait."""
        lanes, shift = self._lanes, self.o_shift
        state, then = Signal(State), Signal(State)
        change, place = Signal(signed(CHANGE_BITS)), Signal(signed(PLACE_BITS))
        less = Signal(signed(PLACE_BITS))
        changes = Signal()

        # The mark, in two clocks: the head's N, later the mark itself, and ``offset``. What has passed it is known two clocks after.
        mark, offset = Signal(PULSE_BITS), Signal(signed(OFFSET_BITS))
        base, low = Signal(PULSE_BITS), Signal(HALF_BITS + 1)
        passed_low, passed, distance = Signal(), Signal(), Signal(PULSE_BITS - HALF_BITS)
        sign = offset[-1].replicate(PULSE_BITS)
        loads = Signal()  # state is LOW or HIGH
        m.d.comb += [
            base.eq(Mux(loads, Cat(C(0, SLOT_STEP_BITS), head.step), mark)),
            distance.eq(slot_high - mark[HALF_BITS:] - passed_low),
            less.eq(place - self.i_frame_pulses),
        ]
        m.d.sync += [
            low.eq(base[:HALF_BITS] + Cat(offset, sign)[:HALF_BITS]),
            passed_low.eq(self.i_slot[:HALF_BITS] < mark[:HALF_BITS]),
            passed.eq(~distance[-1]),
            changes.eq(change != 0),
        ]
        # R - N + lanes, a multiple of 8 and lanes. In three clocks, before HIGH takes it.
        steps, dark_steps, resumes = (
            Signal(signed(OFFSET_BITS), name=name) for name in ("steps", "dark_steps", "resumes")
        )
        m.d.sync += [
            steps.eq((change + (spec.SLOT_STEP - 1 - lanes)) >> SLOT_STEP_BITS),
            dark_steps.eq(Mux(steps > DARK_STEPS, steps, DARK_STEPS)),
            resumes.eq(dark_steps * spec.SLOT_STEP + lanes),
        ]

        with m.Switch(state):
            with m.Case(State.EMPTY):
                m.d.sync += change.eq(head.pulses - shift.pulses)
                with m.If(begins != ends):
                    m.d.sync += state.eq(State.PLACE)
            with m.Case(State.PLACE):
                m.d.sync += [
                    place.eq(shift.place + change),
                    offset.eq(-(1 + SEEN_CLOCKS) * lanes),
                    state.eq(State.FOLD),
                ]
            with m.Case(State.FOLD):
                with m.If(place[-1]):
                    m.d.sync += place.eq(place + self.i_frame_pulses)
                with m.Elif(~less[-1]):
                    m.d.sync += place.eq(less)
                with m.Else():
                    m.d.sync += [loads.eq(1), state.eq(State.LOW)]
            with m.Case(State.LOW):
                m.d.sync += [then.eq(State.DUE), state.eq(State.HIGH)]
            with m.Case(State.HIGH, State.LIGHT_HIGH):
                m.d.sync += [
                    mark.eq(Cat(low[:HALF_BITS], with_carry(base[HALF_BITS:], sign[HALF_BITS:], low[HALF_BITS]))),
                    *(offset.eq(resumes), loads.eq(0)),
                    state.eq(State.SETTLE),
                ]
            with m.Case(State.SETTLE):
                m.d.sync += state.eq(State.SEES)
            with m.Case(State.SEES):
                m.d.sync += state.eq(then)
            with m.Case(State.DUE), m.If(passed):
                m.d.sync += [shift.dark.eq(changes), state.eq(State.TAKES)]
            with m.Case(State.TAKES):
                m.d.sync += [
                    shift.pulses.eq(head.pulses),
                    shift.place.eq(place),
                    shift.fraction.eq(head.fraction),
                    begins.eq(begins + 1),
                    then.eq(State.DARK),
                    state.eq(Mux(changes, State.LIGHT_HIGH, State.EMPTY)),
                ]
            with m.Case(State.DARK), m.If(passed):
                m.d.sync += [shift.dark.eq(0), state.eq(State.EMPTY)]
        with m.If(stopped):
            m.d.sync += [shift.eq(0), loads.eq(0), state.eq(State.EMPTY)]
        return (state == State.EMPTY) & (begins == ends) | (state == State.DUE) | (state == State.DARK)
