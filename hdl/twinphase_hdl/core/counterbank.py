"""Many wide counters in block RAM, and their values of one instant for the COUNTERS memory and the STATUS stream."""

from collections.abc import Mapping
from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.core.add import with_carry
from twinphase_hdl.core.shiftcount import count_of, counting
from twinphase_hdl.core.steps import STROBE, Balance, accumulator_shape, check_steps
from twinphase_hdl.types import KeptRecord
from twinphase_spec import packets, units

MEMORY_WORDS = 256
GROUP = 8
"""Counters, or steps, that are joined in one clock."""
STAGES = 5
PATIENCE = 128
"""Clocks with something to add after which a sweep begins."""
SPARE_CLOCKS = STAGES + 2
"""Between two captures, beside the words of a sweep."""


class Kind(data.Struct):
    """Of the word in a stage: whose it is, which half, and what it is to the next balance."""

    is_clock: 1
    is_strobe: 1
    is_signed: 1
    is_high: 1
    came: 1
    went: 1
    is_balance: 1


class CounterBank(wiring.Component):
    """Adds up steps: ``counter[k] += i_steps[k]`` at every clock, modulo 2^width; the first counter of all is the clock count.

    Each counter has a small accumulator with its lowest bits. A *sweep* begins by capturing all of them at one clock, and then brings
    the counters in memory up to what was captured, a word per clock: by the difference of the lowest bits. A sweep begins when there
    was something to add in `PATIENCE` clocks since the last capture, so that a node at rest stays at rest, and for a snapshot. An
    accumulator holds the steps of a whole sweep, so that none is ever lost. Those of strobes are shift registers, see `shiftcount`.

    The memory has two banks. A sweep leaves its sums in the first. One that is a *snapshot* leaves them in the second, where they
    stay for ``i_address`` and ``status`` until the next snapshot; the sweep after it takes them from there.

    A snapshot is due when ``i_snapshot`` is high, and when ``i_clock mod 2^STATUS_BITS = 0`` with ``i_status_enable``; this one is
    also to be sent as a STATUS record. Both at once share one snapshot. One that becomes due during a snapshot's sweep or while a
    record waits to be sent is taken after it.

    Parameters
    ----------
    steps : mapping of counter's name to range or `Balance`
        What can be added per clock: ``range(0, 2)`` for a strobe, ``range(-2, 3)`` for a level. In the register map's order, the
        clock left out.
    width : int
        Bits of a counter, even; smaller ones are for proofs.
    words : int
        Of a bank of the memory, a power of two: two per counter, the clock's too.

    Members
    -------
    i_clock : In(51) - clock count; ticks come from it.
    i_steps : In(struct), a field per counter that has steps - what to add in this clock.
    i_status_enable : In(1) - STATUS stream enabled.
    i_snapshot : In(1) - strobe.
    i_address : In(8); o_data : Out(32) - read port of COUNTERS, one clock latency; words beyond the counters are 0.
    o_snapshot_count : Out(32) - complete snapshots.
    status : Out(KeptRecord) - the second bank, for the STATUS stream.
    o_idle : Out(1) - all steps are in accumulators or memory, no sweep is due or running, no snapshot is due, being made or waiting.

    A snapshot with clock count c shows all steps of the clocks before c, and none of c or later ones.

    Latency: that clock is three after the tick, two after ``i_snapshot``, if the bank rests; at most `sweep_clocks` more. The
    snapshot is complete another `sweep_clocks` later.
    Throughput: a step per counter and clock. Overflow: counters wrap; two equal requests before a capture become one.
    """

    def __init__(self, *, steps: Mapping[str, range | Balance], width: int = 64, words: int = MEMORY_WORDS):
        most = words // 2 - 1
        if not 1 <= len(steps) <= most:
            raise ValueError(f"CounterBank: there are {len(steps)} counters beside the clock; allowed: 1 to {most}")
        check_steps(steps)
        if width % 2 or not 4 <= width <= 64:
            raise ValueError(f"CounterBank: width is {width}; allowed: even numbers from 4 to 64")
        self._counters = 1 + len(steps)
        self._names = list(steps)
        self._balances = {name: step for name, step in steps.items() if isinstance(step, Balance)}
        steps = {name: step for name, step in steps.items() if name not in self._balances}
        self._word_bits = width // 2
        self._address_bits = (2 * self._counters - 1).bit_length()
        if width == 64:
            self._address_bits = (words - 1).bit_length()
        strobe_bits = self.sweep_clocks.bit_length()
        others = [accumulator_shape(step, self.sweep_clocks).width for step in steps.values() if step != STROBE]
        self._strobe_bits, self._bits = strobe_bits, max([strobe_bits, *others])
        if self._bits > self._word_bits:
            raise ValueError(f"CounterBank: a sweep adds {self._bits} bits; allowed: half of the width ({width})")
        self._steps = dict(steps)
        self._patience = min(PATIENCE, self.sweep_clocks - SPARE_CLOCKS - 1)
        super().__init__(
            {
                "i_clock": In(units.CLOCK_BITS),
                "i_steps": In(data.StructLayout(dict(steps))),
                "i_status_enable": In(1),
                "i_snapshot": In(1),
                "i_address": In(self._address_bits),
                "o_data": Out(self._word_bits),
                "o_snapshot_count": Out(32),
                "status": Out(KeptRecord(word_bits=self._word_bits, address_bits=self._address_bits)),
                "o_idle": Out(1),
            }
        )
        # State, here so that a proof can speak of it.
        self.memory = memory.Memory(shape=self._word_bits, depth=2 << self._address_bits, init=[])
        lengths = {name: strobe_bits if step == STROBE else self._bits for name, step in steps.items()}
        self.accumulators = {name: Signal(length, name=f"sum_{name}") for name, length in lengths.items()}
        self.captured = {name: Signal(length, name=f"captured_{name}") for name, length in lengths.items()}
        self.capture = Signal()
        self.shown = Signal()  # the newest sums are in the second bank
        self.control: dict[str, Signal] = {}  # of sweeps; when elaborated

    @property
    def sweep_clocks(self) -> int:
        """Clocks from a capture to the next when sweeps follow each other: a word per clock, two per counter, and the pipeline."""
        return 2 * self._counters + SPARE_CLOCKS

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = store = self.memory
        write, old_read, read, status_read = store.write_port(), *(store.read_port() for _ in range(3))
        m.d.comb += [read.addr.eq(Cat(self.i_address, 1)), self.o_data.eq(read.data)]

        # Comparing the clock count takes two clocks: a half of the bits each, then both.
        ticks = self.i_clock[: packets.STATUS_BITS]
        half = packets.STATUS_BITS // 2
        zeros, ticked, asked = Signal(2), Signal(), Signal()
        m.d.sync += zeros.eq(Cat(ticks[:half] == 0, ticks[half:] == 0))
        m.d.comb += [
            ticked.eq(zeros.all() & self.i_status_enable),
            asked.eq(((ticks == 0) & self.i_status_enable) | ticked | self.i_snapshot),
        ]

        # In how many clocks was there anything to add? Known three clocks late. The limit is reached during a sweep if at all by then, or
        # there have been fewer steps than that: an accumulator that holds a sweep's holds all.
        added = [Value.cast(self.i_steps[name]).any() for name in self._steps]
        groups = [reduce(or_, added[first : first + GROUP]) for first in range(0, len(added), GROUP)]
        some, any_step = Signal(len(groups)), Signal()
        pending = Signal(init=1)  # the first sweep clears the memory
        adding, enough = Signal(range(self._patience + 1)), Signal()  # ``enough``: adding is at its limit
        m.d.sync += [
            some.eq(Cat(groups)),
            any_step.eq(some.any()),
            pending.eq(~self.capture & (enough | pending)),
        ]
        with m.If(self.capture):
            m.d.sync += [adding.eq(any_step), enough.eq(0)]
        with m.Elif(any_step & ~enough):
            m.d.sync += [adding.eq(adding + 1), enough.eq(adding == self._patience - 1)]

        # Requests and the beginning of sweeps.
        turn = Signal(self._counters)
        high = Signal()  # the higher word of a counter
        place = Signal(self._address_bits)
        sweeping = Signal()
        stages = Signal(STAGES)  # a word is in stage 1, 2 and so on
        fresh = Signal(init=1)  # what is in memory does not count
        snapshot, to_send = Signal(), Signal()
        status_due, snapshot_due = Signal(), Signal()
        rests, start, start_snapshot, done = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            rests.eq(~self.capture & ~sweeping & ~stages.any()),
            start_snapshot.eq(rests & (status_due | snapshot_due) & ~self.status.waits & ~fresh),
            start.eq(start_snapshot | (rests & pending)),
        ]
        m.d.sync += [
            self.capture.eq(start),
            status_due.eq(ticked | (status_due & ~start_snapshot)),
            snapshot_due.eq(self.i_snapshot | (snapshot_due & ~start_snapshot)),
        ]
        with m.If(start):
            m.d.sync += [snapshot.eq(start_snapshot), to_send.eq(start_snapshot & status_due)]
        # The turn's bit comes in with a capture and leaves with the last counter, so that it takes no logic.
        with m.If(self.capture | high):
            m.d.sync += turn.eq(Cat(self.capture, turn))
        with m.If(self.capture):
            m.d.sync += [sweeping.eq(1), high.eq(0), place.eq(0)]
        with m.Elif(sweeping):
            m.d.sync += [place.eq(place + 1), high.eq(~high), sweeping.eq(~(high & turn[-1]))]

        clock = Signal(min(units.CLOCK_BITS, 2 * self._word_bits))
        with m.If(self.capture):
            m.d.sync += clock.eq(self.i_clock)
        for name, accumulator in self.accumulators.items():
            step = self.i_steps[name]
            if self._steps[name] == STROBE:
                self._add_strobe(m, accumulator, step)
            else:
                m.d.sync += accumulator.eq(accumulator + step)
            with m.If(self.capture):
                m.d.sync += self.captured[name].eq(accumulator)

        # Stage 1: the captured value whose turn it is, out of its group. Strobes and others are kept apart.
        turns = dict(zip(self._names, turn[1:], strict=True))
        strobes = [name for name, step in self._steps.items() if step == STROBE]
        groups_of = {
            kind: self._grouped(m, names, turns, kind)
            for kind, names in (("strobes", strobes), ("others", [name for name in self._steps if name not in strobes]))
        }
        place_1 = Signal(self._address_bits)
        m.d.sync += [stages.eq(Cat(sweeping, stages)), place_1.eq(place)]

        # Stage 2: the counter's word at the memory's output. Stage 3: the lowest bits as they are, and the old word.
        state, other = Signal(self._strobe_bits), Signal(self._bits)
        now, kind_2, kind_3 = Signal(self._bits), Signal(Kind), Signal(Kind)
        clock_word = Signal(self._word_bits)
        for flag, names in (
            (kind_2.is_strobe, strobes),
            (kind_2.is_signed, [name for name, step in self._steps.items() if step.start < 0]),
            (kind_2.came, [name for balance in self._balances.values() for name in balance.came]),
            (kind_2.went, [name for balance in self._balances.values() for name in balance.went]),
            (kind_2.is_balance, list(self._balances)),
        ):
            m.d.sync += flag.eq(self._is_one_of(names, place_1[1:]))
        m.d.sync += kind_2.is_clock.eq(place_1[1:] == 0)
        m.d.comb += [
            old_read.addr.eq(Cat(place_1, self.shown)),
        ]
        m.d.sync += [
            kind_2.is_high.eq(place_1[0]),
            state.eq(reduce(or_, groups_of["strobes"], Const(0))),
            other.eq(reduce(or_, groups_of["others"], Const(0))),
            now.eq(self._strobes(m, state) | other),
            kind_3.eq(kind_2),
            clock_word.eq(Mux(kind_2.is_high, clock[self._word_bits :], clock[: self._word_bits])),
        ]

        old = self._old_word(m, old_read.data, kind_2.is_clock | fresh)

        # Stage 4: what to add. The higher word gets the carry, and the sign that the lower one had. Stage 5: the sum.
        added_now, kept_bits = Signal(self._bits), Signal(self._bits)
        sign, sign_kept, carry, kind_4, kind_5 = Signal(), Signal(), Signal(), Signal(Kind), Signal(Kind)
        old_4, addend, total = Signal(self._word_bits), Signal(self._word_bits), Signal(self._word_bits)
        sum_and_carry = Signal(self._word_bits + 1)
        only_low = (1 << self._strobe_bits) - 1
        m.d.comb += [
            added_now.eq(now - old),
            kept_bits.eq(added_now & Mux(kind_3.is_strobe, only_low, -1)),
            sign.eq(kind_3.is_signed & added_now[-1]),
            sum_and_carry.eq(with_carry(Cat(old_4, Const(0)), Cat(addend, Const(0)), carry)),
        ]
        m.d.sync += [
            old_4.eq(old),
            addend.eq(Cat(kept_bits, sign.replicate(self._word_bits - self._bits))),
            sign_kept.eq(sign),
            kind_4.eq(kind_3),
            total.eq(sum_and_carry),
            kind_5.eq(kind_4),
            carry.eq(sum_and_carry[-1] & ~kind_4.is_high),
        ]
        with m.If(kind_3.is_clock):
            m.d.sync += addend.eq(clock_word)
        with m.Elif(kind_3.is_high):
            m.d.sync += addend.eq(sign_kept.replicate(self._word_bits))

        write_place = Signal(self._address_bits)
        self.control = {
            "sweeping": sweeping,
            "turn": turn,
            "high": high,
            "place": place,
            "stages": stages,
            "write_place": write_place,
            "clock": clock,
            "fresh": fresh,
            "snapshot": snapshot,
            "some": some,
            "any_step": any_step,
            "adding": adding,
            "enough": enough,
            "pending": pending,
        }
        with m.If(self.capture):
            m.d.sync += write_place.eq(0)
        with m.Elif(stages[-1]):
            m.d.sync += write_place.eq(write_place + 1)
        self._write(m, write, Cat(write_place, snapshot), total, kind_5, stages[-1])
        m.d.comb += done.eq(stages == 1 << (STAGES - 1))
        with m.If(done):
            m.d.sync += [self.shown.eq(snapshot), fresh.eq(0)]
        self._count_snapshot(m, done, snapshot)

        # The record, from the second bank.
        m.d.comb += [
            status_read.addr.eq(Cat(self.status.address, 1)),
            status_read.en.eq(self.status.read),
            self.status.data.eq(status_read.data),
        ]
        with m.If(done & to_send):
            m.d.sync += [self.status.waits.eq(1), self.status.clock.eq(clock)]
        with m.Elif(self.status.sent):
            m.d.sync += self.status.waits.eq(0)
        busy = (
            Cat(added).any() | some.any() | any_step | pending | asked | status_due | snapshot_due | self.status.waits
        )
        m.d.comb += self.o_idle.eq(rests & ~busy)
        return m

    def _add_strobe(self, m: Module, accumulator: Signal, strobe: Value) -> None:
        """What an accumulator of strobes does in a clock."""
        counting(m, accumulator, strobe)

    def _strobes(self, m: Module, state: Value) -> Value:
        """Number of strobes in such an accumulator."""
        return count_of(m, state, "strobes")

    def _old_word(self, m: Module, word: Value, clears: Value) -> Value:
        """``word`` of the memory a clock later, or zero: a register without reset may be the memory's own."""
        old, cleared = Signal(self._word_bits, reset_less=True), Signal()
        m.d.sync += [old.eq(word), cleared.eq(clears)]
        return old & ~cleared.replicate(self._word_bits)

    def _is_one_of(self, names: list[str], number: Value) -> Value:
        """Whether the counter of this number is one of those."""
        return Const(sum(1 << 1 + self._names.index(name) for name in names), self._counters).bit_select(number, 1)

    def _count_snapshot(self, m: Module, done: Value, snapshot: Value) -> None:
        """``o_snapshot_count``: a sweep is done, which was a snapshot's or not."""
        with m.If(done):
            m.d.sync += self.o_snapshot_count.eq(self.o_snapshot_count + snapshot)

    def _write(self, m: Module, port, address: Value, total: Value, kind: data.View, valid: Value) -> None:
        """``total``, a word of this kind, goes to its ``address`` through the memory's write port."""
        word = self._balanced(m, total, kind, valid)
        m.d.comb += [port.addr.eq(address), port.data.eq(word), port.en.eq(valid)]

    def _balanced(self, m: Module, total: Value, kind: data.View, valid: Value) -> Value:
        """The word to be written: ``total``, or that of a balance, which is added up from the words that pass."""
        if not self._balances:
            return total
        rest = Signal(self._word_bits)
        with m.If(valid & kind.is_balance):
            m.d.sync += rest.eq(0)
        with m.Elif(valid & ~kind.is_high & (kind.came | kind.went)):
            m.d.sync += rest.eq(with_carry(rest, total ^ kind.went.replicate(self._word_bits), kind.went))
        return Mux(kind.is_balance, Mux(kind.is_high, 0, rest), total)

    def _grouped(self, m: Module, names: list[str], turns: dict[str, Value], kind: str) -> list[Value]:
        """Registers of GROUP counters each, with the captured value of the one whose turn it is."""
        registers = []
        for first in range(0, len(names), GROUP):
            members = [(self.captured[name], turns[name]) for name in names[first : first + GROUP]]
            of_group = Signal(len(members[0][0]), name=f"{kind}_{first}")
            m.d.sync += of_group.eq(
                reduce(or_, (value & its_turn.replicate(len(value)) for value, its_turn in members))
            )
            registers.append(of_group)
        return registers
