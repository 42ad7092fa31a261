"""The counter bank conserves steps: at every clock, a counter's steps so far are what its last capture had and what its accumulator has
gained since; behind each sweep the memory has what was captured; and a snapshot shows the captured clock and all sums of that clock.

By induction: for any steps, requests, and pauses of the link. Counters have 10 bits in two words; that steps are added to a 64-bit
counter by the difference of its lowest bits is the same logic.

The inside is described by ``age``, the clocks since the last capture: a sweep is the same sequence each time, whatever is in it.
"""

from amaranth.hdl import Assert, Assume, Cat, Fragment, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from twinphase_hdl.core.counterbank import STAGES, CounterBank
from twinphase_hdl.core.shiftcount import count_of

WIDTH = 10
STEPS = {"strobe": range(0, 2), "level": range(-1, 2)}
WORDS = 2 * (1 + len(STEPS))
SWEEP = WORDS + STAGES + 2
"""Clocks from a capture to the next one at the earliest."""


class CounterBankProof(wiring.Component):
    """``bank``: the bank to be judged; ``forgets``: the sums that the proof keeps leave out the steps of captures."""

    strobe: In(1)
    level: In(2)
    snapshot: In(1)
    status: In(1)
    sent: In(1)

    def __init__(self, bank: CounterBank | None = None, *, forgets: bool = False):
        self.bank = CounterBank(steps=STEPS, width=WIDTH) if bank is None else bank
        self._forgets = forgets
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        bank = self.bank
        words = []  # of the memory; its ports come before it is elaborated, the names of the control's registers with it
        for place in range(2 << len(bank.i_address)):
            peek = bank.memory.read_port(domain="comb")
            m.d.comb += peek.addr.eq(place)
            words.append(peek.data)
        m.submodules.bank = Fragment.get(bank, platform)
        clock, level = Signal(WIDTH), self.level.as_signed()
        m.d.sync += clock.eq(clock + 1)
        m.d.comb += [
            Assume(level != -2),
            bank.i_clock.eq(clock),
            bank.i_steps.strobe.eq(self.strobe),
            bank.i_steps.level.eq(level),
            bank.i_snapshot.eq(self.snapshot),
            bank.i_status_enable.eq(self.status),
            bank.status.sent.eq(self.sent),
        ]

        # What is true: the sums, and the clock and sums of the last capture.
        counted = ~bank.capture if self._forgets else 1
        sums = {name: Signal(WIDTH, name=f"true_{name}") for name in STEPS}
        captured = {name: Signal(WIDTH, name=f"at_capture_{name}") for name in ("clock", *sums)}
        for name, step in (("strobe", self.strobe), ("level", level)):
            m.d.sync += sums[name].eq(sums[name] + Mux(counted, step, 0))
        with m.If(bank.capture):
            m.d.sync += [captured[name].eq(value) for name, value in (("clock", clock), *sums.items())]

        age, done = Signal(range(SWEEP + 1), init=SWEEP), Signal()
        with m.If(bank.capture):
            m.d.sync += age.eq(1)
        with m.Elif(age != SWEEP):
            m.d.sync += age.eq(age + 1)
        with m.If(age == SWEEP - 2):
            m.d.sync += done.eq(1)

        self._control(m, age, done)
        self._few_steps(m, age, sums, captured)
        self._accumulators(m, sums, captured)
        # Words that no counter has stay 0: between sweeps one of them is read over and over, and must not carry into the first.
        unused = [word for place, word in enumerate(words) if place % (len(words) // 2) >= WORDS]
        m.d.comb += Assert(Cat(unused) == 0, "unused words")
        before_all = ~done & (age == SWEEP)
        m.d.comb += Assert(~before_all | (Cat(captured["strobe"], captured["level"]) == 0), "nothing captured yet")
        # Behind a sweep, and what a snapshot showed until the next one is made.
        rests = done & (age >= SWEEP - 1)
        any_snapshot, making = Signal(), bank.control["snapshot"] & (age < SWEEP - 1)
        for k, name in enumerate(captured):
            first, second = (Cat(words[place : place + 2]) for place in (2 * k, len(words) // 2 + 2 * k))
            shown = Signal(WIDTH, name=f"shown_{name}")
            with m.If((age == SWEEP - 2) & bank.control["snapshot"]):
                m.d.sync += [shown.eq(captured[name]), any_snapshot.eq(1)]
            m.d.comb += [
                Assert(~rests | (Mux(bank.shown, second, first) == captured[name]), f"memory of {name}"),
                Assert(~any_snapshot | making | (second == shown), f"snapshot of {name}"),
            ]
        return m

    def _control(self, m: Module, age: Signal, done: Signal) -> None:
        """Each register of a sweep's control by its age."""
        bank, control = self.bank, self.bank.control
        sweeping = (age >= 1) & (age <= WORDS)
        m.d.comb += [
            Assert(age >= 1, "age"),
            Assert(~bank.capture | (age == SWEEP), "a capture behind a sweep"),
            Assert(control["sweeping"] == sweeping, "sweeping"),
            Assert(control["fresh"] == ~done, "fresh"),
            Assert(done | (bank.shown == 0), "the first sweep's bank"),
            Assert(done | (age == SWEEP) | ~control["snapshot"], "no snapshot first"),
        ]
        with m.If(sweeping):
            m.d.comb += [
                Assert(control["place"] == age - 1, "place"),
                Assert(control["turn"] == 1 << ((age - 1) >> 1)[:3], "turn"),
                Assert(control["high"] == (age - 1)[0], "half"),
            ]
        with m.Elif(done | (age != SWEEP)):
            m.d.comb += Assert(Cat(control["place"] == WORDS, ~control["turn"].any(), ~control["high"]).all(), "after")
        with m.Else():
            m.d.comb += Assert(~Cat(control[name] for name in ("place", "turn", "high", "clock")).any(), "before")
        for stage in range(STAGES):
            inside = (age >= 2 + stage) & (age < 2 + stage + WORDS)
            m.d.comb += Assert(control["stages"][stage] == inside, f"stage {stage}")
        writing = (age >= 1 + STAGES) & (age <= SWEEP - 2)
        m.d.comb += Assert(~writing | (control["write_place"] == age - 1 - STAGES), "place of the write")
        m.d.comb += Assert((age >= 1 + STAGES) | (control["write_place"] == 0), "place of the first write")

    def _few_steps(self, m: Module, age: Signal, sums: dict[str, Signal], captured: dict[str, Signal]) -> None:
        """Since the last capture there were not more clocks with steps than a sweep has: accumulators hold them."""
        bank, control = self.bank, self.bank.control
        any_step = self.strobe | (self.level != 0)
        clocks = Signal(range(4 * SWEEP))
        m.d.sync += clocks.eq(Mux(bank.capture, 0, clocks) + any_step)
        full = control["enough"]
        m.d.comb += [
            Assert(clocks <= SWEEP, "few steps"),
            Assert((age == SWEEP) | (clocks <= age), "no more than clocks"),
            Assert(full | (clocks <= control["adding"] + control["any_step"] + control["some"].any()), "counted late"),
            Assert(control["adding"] <= bank._patience, "patience"),
            Assert(full == (control["adding"] == bank._patience), "limit reached"),
            Assert((age != SWEEP) | bank.capture | ~full | (clocks <= bank._patience + 3), "at rest, limit reached"),
        ]
        for name in STEPS:
            gained = (sums[name] - captured[name])[:WIDTH].as_signed()
            m.d.comb += Assert((gained <= clocks) & (gained >= (-clocks if name == "level" else 0)), f"steps of {name}")

    def _accumulators(self, m: Module, sums: dict[str, Signal], captured: dict[str, Signal]) -> None:
        """The identity: sum = sum at the last capture + what the accumulator has gained since."""
        bank = self.bank
        for name in STEPS:
            now, before = bank.accumulators[name], bank.captured[name]
            if name == "strobe":
                now, before = count_of(m, now, "count_now"), count_of(m, before, "count_before")
            gained = (now - before)[: len(now)]
            total = captured[name] + (gained if name == "strobe" else gained.as_signed())
            m.d.comb += [
                Assert(now == sums[name][: len(now)], f"lowest bits of {name}"),
                Assert(before == captured[name][: len(before)], f"captured bits of {name}"),
                Assert(sums[name] == total[:WIDTH], f"conservation of {name}"),
            ]
