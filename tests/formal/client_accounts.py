"""Proofs that a client accounts for every herald, by induction, for any records, peer, ring and back-pressure:

* `IntakeAccounts`: every HERALD record that is taken counts once in ``heralds``, ``late`` or ``overflow``; every number that is settled
  is one of ``heralds`` or ``missing``, and numbers are settled one after the other: ``next = heralds + missing``.
* `PsiAccounts`: every PSI record counts once in ``psi``, ``late`` or ``overflow``; every number has its psi in the ring once.
* `SiftAccounts`: ``blocks = blocks_agreed + blocks_discarded``; in every agreed block each herald has one verdict, in order, and there is
  none outside of agreed blocks; those that are counted in cells are the ones that are not missing (nor unpaired, which is the same in
  the ring); an X or Z record, a kept one and an error is one of a counted herald, and of one of them each.

So the sum of all cells is the number of heralds of agreed blocks that are neither missing nor unpaired. Event counters have 4 bits and
wrap.
"""

from amaranth.hdl import Assert, Assume, Cat, Fragment, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In
from exchange_proof import BLOCK, WALKS, Environment, Script, registers_of, state_in, walk_lemmas

from twinphase_hdl.sift.exchange import Exchange
from twinphase_hdl.sift.intake import RING_BITS, HeraldIntake, PsiIntake
from twinphase_hdl.sift.recall import Recalled
from twinphase_hdl.sift.verdict import VerdictResult
from twinphase_hdl.sift.walk import Known

COUNTER_BITS = 4


def counted(m: Module, bits: int = COUNTER_BITS, **events: Value) -> dict[str, Signal]:
    """Counters of events."""
    counters = {name: Signal(bits, name=f"count_{name}") for name in events}
    m.d.sync += [counters[name].eq(counters[name] + event) for name, event in events.items()]
    return counters


def _in_state(fragment: Fragment, fsm: str, *names: str) -> Value:
    found = fragment.find_generated(fsm)
    return Cat(found._data["signal"] == found.encoding[name] for name in names).any()


class IntakeAccounts(wiring.Component):
    """See the module. A flush is of a psi that found room, as `PsiIntake` asks for it."""

    def __init__(self, intake: type[HeraldIntake] = HeraldIntake, *, lemmas: bool = True) -> None:
        self._intake, self._domain = intake, "comb" if lemmas else "sync"
        super().__init__(
            {"valid": In(1), "number": In(32), "first": In(32), "flush": In(1), "flush_number": In(32), "ready": In(1)}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        dut = self._intake()
        m.submodules.dut = fragment = Fragment.get(dut, None)
        named = dict(registers_of(fragment))
        flushing = named["flushing"]
        busy = _in_state(fragment, "herald_fsm", "DIFFER", "CHECK", "PLACE")
        m.d.comb += [
            *(dut.i_herald.valid.eq(self.valid), dut.i_herald.payload[0].eq(self.number)),
            *(dut.i_first.eq(self.first), dut.i_flush.eq(self.flush), dut.i_flush_number.eq(self.flush_number)),
            dut.i_ready.eq(self.ready),
        ]
        m.d[self._domain] += Assume(~(busy & flushing) | ((named["number"] - self.first)[RING_BITS:32] == 0))
        missing = dut.o_valid & dut.o_missing
        of = counted(
            m,
            came=dut.i_herald.valid & dut.i_herald.ready,
            heralds=dut.o_taken,
            late=dut.o_late,
            overflow=dut.o_overflow,
        )
        settled = counted(m, 32, settled_heralds=dut.o_taken, settled_missing=missing)
        inside, balance, total = Signal(COUNTER_BITS), Signal(COUNTER_BITS), Signal(32)
        m.d.comb += [
            inside.eq((busy & ~flushing) + dut.o_late + dut.o_overflow),
            balance.eq(of["came"] - of["heralds"] - of["late"] - of["overflow"]),
            total.eq(sum(settled.values())),
        ]
        m.d[self._domain] += [
            Assert(balance == inside, "every record counts once"),
            Assert(dut.o_next == total, "every number is there or missing"),
            Assert(dut.o_valid == (dut.o_taken | missing), "the ring gets what counts"),
            Assert(~dut.o_valid | (dut.o_index == dut.o_next[:RING_BITS]), "in order"),
        ]
        if self._domain == "comb":
            checking = _in_state(fragment, "herald_fsm", "CHECK") & flushing
            m.d.comb += Assert(~checking | (named["room"][RING_BITS:] == 0), "lemma: a flush has room")
        return m


class PsiAccounts(wiring.Component):
    """See the module."""

    def __init__(self, intake: type[PsiIntake] = PsiIntake, *, lemmas: bool = True) -> None:
        self._intake, self._domain = intake, "comb" if lemmas else "sync"
        super().__init__(
            {"valid": In(1), "number": In(32), "first": In(32), "next": In(32), "flushed": In(1), "ready": In(1)}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        dut = self._intake()
        m.submodules.dut = fragment = Fragment.get(dut, None)
        named = dict(registers_of(fragment))
        busy = _in_state(fragment, "psi_fsm", "DIFFER", "CHECK", "FLUSH", "SETTLE")
        m.d.comb += [
            *(dut.i_psi.valid.eq(self.valid), dut.i_psi.payload[0].eq(self.number), dut.i_first.eq(self.first)),
            *(dut.i_herald_next.eq(self.next), dut.i_flushed.eq(self.flushed), dut.i_ready.eq(self.ready)),
        ]
        of = counted(
            m, came=dut.i_psi.valid & dut.i_psi.ready, psi=dut.o_taken, late=dut.o_late, overflow=dut.o_overflow
        )
        given = counted(m, 32, given=dut.o_valid)["given"]
        inside, balance, total = Signal(COUNTER_BITS), Signal(COUNTER_BITS), Signal(32)
        m.d.comb += [
            inside.eq(busy + dut.o_late + dut.o_overflow),
            balance.eq(of["came"] - of["psi"] - of["late"] - of["overflow"]),
            total.eq(given + dut.o_valid + named["decided"] + named["found"]),
        ]
        m.d[self._domain] += [
            Assert(balance == inside, "every record counts once"),
            Assert(named["following"] == total, "every number has its psi once"),
            Assert(~dut.o_valid | (dut.o_index == given[:RING_BITS]), "in order"),
        ]
        if self._domain == "comb":
            m.d.comb += [
                Assert(
                    ~named["decided"] | (named["decided_index"] == (given + dut.o_valid)[:RING_BITS]), "lemma: decided"
                ),
                Assert(
                    ~named["found"] | (named["found_index"] == (given + dut.o_valid + named["decided"])[:RING_BITS]),
                    "lemma: found",
                ),
            ]
        return m


class SiftAccounts(Environment):
    """See the module. The ring's entries of a block stay while it is exchanged; which are missing is any."""

    def __init__(self, exchange: type[Exchange] = Exchange, *, script: Script = ()) -> None:
        super().__init__(exchange=exchange, script=script)
        self.place = Signal(RING_BITS)
        """The entry that `recalled` must be: see `recall.HeraldRing`."""
        self.missing = Signal(BLOCK)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        dut, fragment = self._add(m, "dut")
        named = dict(registers_of(fragment))
        verdict, result = dut.o_verdict_valid, dut.o_verdict
        ahead = Signal(RING_BITS)
        with m.If(dut.o_read):
            m.d.sync += [ahead.eq(dut.o_read_index), self.place.eq(ahead)]
        with m.If(state_in(fragment, "IDLE", "NEXT")):
            m.d.sync += self.missing.eq(Cat(self.other.as_value()[k] for k in range(BLOCK)))
        m.d[self._domain] += Assume(self.recalled.missing == self.missing.bit_select(self.place[0], 1))

        # Verdicts and counted heralds of this block; whether it is an agreed one.
        verdicts, cells, agreed = Signal(range(BLOCK + 2)), Signal(range(BLOCK + 2)), Signal()
        present = Signal(range(BLOCK + 1))
        over = state_in(fragment, "NEXT")
        m.d.comb += present.eq(sum((~bit for bit in self.missing), start=0))
        with m.If(over):
            m.d.sync += [verdicts.eq(0), cells.eq(0), agreed.eq(0)]
        with m.Else():
            m.d.sync += [verdicts.eq(verdicts + verdict), cells.eq(cells + (verdict & result.counted))]
            with m.If(dut.o_agreed):
                m.d.sync += agreed.eq(1)
        of = counted(m, 32, agreed=dut.o_agreed, discarded=dut.o_discarded)
        record = result.x_record | result.z_record
        m.d[self._domain] += [
            Assert(~verdict | agreed, "a verdict outside of an agreed block"),
            Assert(~verdict | (verdicts < BLOCK), "a herald too many"),
            Assert(~over | ~agreed | (verdicts == BLOCK), "a verdict for each herald"),
            Assert(~over | ~agreed | (cells == present), "cells count those that are present"),
            Assert(~over | agreed | (verdicts == 0), "none of a discarded block"),
            Assert((of["agreed"] + of["discarded"])[:32] == (named["block"] + (agreed | over))[:32], "blocks"),
        ]
        with m.If(verdict):
            m.d[self._domain] += [
                Assert(~record | result.counted, "a record of a herald that is not counted"),
                Assert(~(result.x_record & result.z_record), "two records"),
                Assert(~result.keep | result.x_record, "kept without a record"),
                Assert(~result.error | result.keep, "an error of what is not kept"),
            ]
        if not self._script:
            self._induct(m, named, fragment, ahead, (verdicts, cells, agreed))
        return m

    def _induct(self, m: Module, named: dict[str, Signal], fragment: Fragment, ahead: Signal, block: tuple) -> None:
        """Where entries and verdicts are in a pass."""
        verdicts, cells, agreed = block
        walk_lemmas(m, named, fragment)
        start, passed, step = named["start"], named["passed"], named["verdict.step"]
        result = data.View(VerdictResult, named["verdict.result"])
        at_end = named["walk.o_valid"]
        stages = [named[f"walk.{name}"] for name in ("o_valid", "coded", "staged", "fetched")]
        lasts = [named[f"walk.{name}"] for name in ("o_last", "coded_last", "staged_last", "fetched_last")]
        first, index, left = named["o_first"], Signal(32), Signal(2)
        m.d.comb += [
            index.eq(named["walk.o_number"] - first),
            left.eq(Mux(named["walk.fetching"], BLOCK - named["walk.fetch_index"], 0)),
            Assert(first == (named["block"] << 1)[:32], "lemma: first herald"),
            Assert((named["walk.last_index"] == BLOCK - 1) | state_in(fragment, "IDLE"), "lemma: last index"),
        ]
        walking, sifting = state_in(fragment, *WALKS), state_in(fragment, "SIFT")
        with m.If(walking & ~start):
            m.d.comb += Assert((index <= BLOCK) & (index[:2] + sum(stages) + left == BLOCK), "lemma: entries")
            m.d.comb += Assert(
                ~named["walk.fetching"] | (named["walk.fetch_ring"] == (first + named["walk.fetch_index"])[:RING_BITS]),
                "lemma: fetched from",
            )
            for k, (stage, last) in enumerate(zip(stages, lasts, strict=True)):
                position = (index[:2] + sum(stages[:k]))[:2]
                m.d.comb += Assert(~stage | (last == (position == BLOCK - 1)), f"lemma: last of stage {k}")
                where = {2: self.place, 3: ahead}.get(k)
                if where is not None:
                    m.d.comb += Assert(~stage | (where == (first + position)[:RING_BITS]), f"lemma: place of stage {k}")
                else:
                    entry = data.View(Recalled, named["walk.o_own" if k == 0 else "walk.coded_own"])
                    is_missing = self.missing.bit_select(position[0], 1)
                    m.d.comb += Assert(~stage | (entry.missing == is_missing), f"lemma: entry of stage {k}")
        own = data.View(Recalled, named["walk.o_own"])
        known = data.View(Known, named["walk.o_known"])
        m.d.comb += [
            Assert(
                agreed
                == (walking | state_in(fragment, "SEND_DONE", "GET_DONE") | (state_in(fragment, "NEXT") & agreed)),
                "lemma: agreed",
            ),
            Assert(
                ~(walking | state_in(fragment, "SEND_DONE", "GET_DONE")) | agreed, "lemma: agreed blocks are walked"
            ),
        ]
        m.d.comb += Assert(~(known.x_record & known.z_record), "lemma: known records")
        with m.If(sifting):
            m.d.comb += [
                Assert(verdicts == Mux(start, 0, index[:2] + passed), "lemma: verdicts"),
                Assert(~(start & passed), "lemma: a new pass"),
                Assert(~passed | (at_end & (step == 0)), "lemma: verdict given"),
                Assert(~at_end | named["walk.o_waits"], "lemma: all are sifted"),
                Assert(~named["accepted"], "lemma: no message is taken"),
                Assert((step == 0) | (at_end & (result.counted == ~own.missing)), "lemma: verdict of this one"),
                Assert(
                    cells == sum(((verdicts > k) & ~self.missing[k] for k in range(BLOCK)), start=0), "lemma: cells"
                ),
            ]
        with m.Elif(~state_in(fragment, "NEXT")):
            m.d.comb += Assert((verdicts == 0) & (cells == 0) & (step == 0), "lemma: no verdict")
        with m.Else():
            m.d.comb += Assert(step == 0, "lemma: over")
        with m.If(step != 0):
            m.d.comb += [
                Assert(result.counted | ~(result.x_record | result.z_record), "lemma: records"),
                Assert(~(result.x_record & result.z_record), "lemma: one record"),
                Assert((~result.keep | result.x_record) & (~result.error | result.keep), "lemma: kept"),
            ]
