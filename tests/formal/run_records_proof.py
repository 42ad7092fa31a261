"""Proof that of runs that are given, one by one, each that found room leaves as the record of its first pulse and length, once and in
order, and that one is lost only if no room is left. By induction, for pulses and lengths of few bits; one run, any one, is followed."""

from typing import Any

from amaranth.hdl import Assert, Cat, Const, Fragment, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In
from exchange_proof import registers_of
from live_proof import LENGTH_BITS, OFFSET, PULSE_BITS, RECORDS, RECOVERY_BITS

from twinphase_hdl.sift.runrecords import RunRecords


class RecordsProof(wiring.Component):
    """The run that ``mark`` picks is followed; ``ahead`` records leave before its own. Without ``lemmas`` for simulated runs."""

    def __init__(self, records: type[RunRecords] = RunRecords, *, lemmas: bool = True) -> None:
        self._records, self._lemmas = records, lemmas
        self._domain = "comb" if lemmas else "sync"
        super().__init__(
            {
                "valid": In(1),
                "pulse": In(PULSE_BITS),
                "length": In(LENGTH_BITS),
                "beyond": In(RECOVERY_BITS + 1),
                "ready": In(1),
                "mark": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        dut = self._records(
            pulse_bits=PULSE_BITS, recovery_bits=RECOVERY_BITS, length_bits=LENGTH_BITS, records=RECORDS
        )
        peek = dut.waiting.read_port(domain="comb")
        fragment = Fragment.get(dut, None)
        m.submodules.dut = fragment
        named = dict(registers_of(fragment))
        started, beyond = Signal(), Signal(RECOVERY_BITS + 1)
        with m.If(~started):
            m.d.sync += [started.eq(1), beyond.eq(self.beyond)]
        m.d.comb += [
            *(dut.i_pulse.eq(self.pulse), dut.i_length.eq(self.length), dut.i_valid.eq(self.valid & started)),
            *(dut.i_beyond.eq(beyond), dut.o.ready.eq(self.ready)),
        ]
        level, halfway, ready_next = named["level"], named["halfway"], named["ready_next"]
        inside = Signal(range(RECORDS + 3))
        takes, gives = dut.i_valid & ~dut.o_lost, dut.o.valid & dut.o.ready
        m.d.comb += inside.eq(level + halfway + ready_next + dut.o.valid)
        came, went = Signal(4), Signal(4)
        m.d.sync += [came.eq(came + takes), went.eq(went + gives)]

        followed, ahead, p, length = Signal(), Signal.like(inside), Signal(PULSE_BITS), Signal(LENGTH_BITS)
        with m.If(self.mark & takes & ~followed):
            m.d.sync += [followed.eq(1), ahead.eq(inside - gives), p.eq(self.pulse), length.eq(self.length)]
        with m.Elif(gives & (ahead == 0)):
            m.d.sync += followed.eq(0)
        with m.Elif(gives):
            m.d.sync += ahead.eq(ahead - 1)
        own = (length - OFFSET)[:LENGTH_BITS]
        first = Signal(PULSE_BITS)
        back = Signal(LENGTH_BITS + 1)
        record = Cat(first, Const(0, 64 - PULSE_BITS), own, Const(0, 32 - LENGTH_BITS))
        held = dut.o.payload.as_value() == record
        m.d.comb += [
            *(back.eq(length - OFFSET - beyond), first.eq(p - back.as_signed())),
        ]
        m.d[self._domain] += [
            Assert(~dut.o_lost | (level == RECORDS), "lost with room"),
            Assert((came - went)[:4] == inside, "as many leave as come"),
            Assert(dut.o_idle == ~(dut.i_valid | inside.any()), "idle"),
        ]
        with m.If(followed & gives & (ahead == 0)):
            m.d[self._domain] += Assert(held, "record")

        if self._lemmas:
            self._induct(m, named, dut, peek, (started, followed, ahead, inside), (p, length, own, back, held))
        return m

    def _induct(
        self, m: Module, named: dict[str, Signal], dut: RunRecords, peek: Any, state: tuple, run: tuple
    ) -> None:
        """Where it is."""
        started, followed, ahead, inside = state
        p, length, own, back, held = run
        level, halfway, ready_next = (named[name] for name in ("level", "halfway", "ready_next"))
        half = PULSE_BITS // 2
        waits_before, place = Signal.like(inside), Signal.like(inside)
        m.d.comb += [
            waits_before.eq(dut.o.valid + (halfway | ready_next)),
            *(place.eq(ahead - waits_before), peek.addr.eq(named["read__addr"] + place)),
            Assert(level <= RECORDS, "lemma: depth"),
            Assert(
                (named["write__addr"] - named["read__addr"])[: len(peek.addr)] == level[: len(peek.addr)],
                "lemma: places",
            ),
            Assert(~(halfway & ready_next), "lemma: one at a time"),
            Assert(~followed | (ahead < inside), "lemma: inside"),
        ]
        with m.If(followed & started):
            with m.If(dut.o.valid & (ahead == 0)):
                m.d.comb += Assert(held, "lemma: offered")
            with m.Elif((halfway | ready_next) & (ahead == dut.o.valid)):
                m.d.comb += [
                    Assert((named["pulse"] == p) & (named["length"] == own), "lemma: taken"),
                    Assert(named["back"].as_unsigned() == back, "lemma: way back"),
                ]
                with m.If(ready_next):
                    low = Signal(half + 1)
                    m.d.comb += [
                        low.eq(p[:half] - back[:half]),
                        Assert(named["low"] == low, "lemma: lower half"),
                    ]
            with m.Else():
                m.d.comb += Assert((peek.data.pulse == p) & (peek.data.length == length), "lemma: in the memory")
        m.d.comb += Assert(started | (~followed & ~inside.any()), "lemma: before the start")
