"""The passes over the bins of a busy time: a table from counts, bins written again, a copy."""

from amaranth.hdl import C, Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.timetag.evenness import Evenness
from twinphase_hdl.timetag.histogram import SCANNED
from twinphase_hdl.timetag.quotient import Quotient
from twinphase_spec import tdc

SUM_BITS = tdc.H_BITS + 3
"""Of 2 A + W below 4 n."""
GROUP_SUM_BITS = tdc.H_BITS + 1
FIT_LOG = tdc.FIT_NEAR.bit_length() - 1
LAST_TICK = 31
FIRST_TICK = LAST_TICK + 1 - GROUP_SUM_BITS
"""A stage with ticks takes as many clocks as a sum of counts has bits: enough for a quotient, and for a scan to settle."""
LOAD_TICK = LAST_TICK - 1
STAGES = (
    "drain",
    "full",
    "count_from",
    "count",
    "counted",
    "group_from",
    "group",
    "grouped",
    "look",
    "reload",
    "commit",
    "committed",
    "judge",
    "judged",
    "divide",
    "extend",
    "rewrite_from",
    "rewrite",
    "rewritten",
    "dump",
)


class Passes(wiring.Component):
    """What follows each other in a busy time; docs/timetagger.md, "Calibration" and "Dump".

    ``drain`` waits until the last hits are counted. A table: ``full`` compares n with 2^LAST, bit by bit; per polarity ``count`` adds
    up n_p, ``group`` .. ``committed`` give each group's sum to `Evenness` (twice), ``judge`` asks it, and ``divide`` makes an entry
    by `Quotient`: a bin is scanned twice, so that the accumulator goes from 2 A to 2 A + H to the next 2 A. Where the first entry
    is at the end of the span ``extend`` takes over: the accumulator becomes 5 times an earlier entry, less another, and the divisor
    one that makes a quarter of it. Then ``rewrite`` goes over all bins, whose sum is the new n. For a dump, ``dump`` scans each bin.

    With echoes ``divide`` scans a bin three times, so that the accumulator goes from 2 B to 2 B + W and to the next 2 B; and behind the
    bin in which the span ends ``extend`` takes half of it back for another quotient, that bin's entry when it is opened.

    A stage is a flip-flop of its own. Stages that wait run through ticks `FIRST_TICK` .. `LAST_TICK` (``extend``: four more,
    ``reload``: two).

    Parameters
    ----------
    code_bits, q_bits : int
        Of a code, and of an entry.
    group_codes : int
        Codes of a group of `Evenness`, 16 or 32.
    echoes : bool
        There are counts of echoes.

    Members
    -------
    i_start : 1
        Begins, whatever is under way.
    i_making, i_dumping : 1
        From ``i_start`` on: a table; a dump. With neither, bins are only written again.
    i_shared : 1
    i_last : 5
        At most 25. Acts after a clock.
    i_total, i_sum : 28
        The accumulator, and what it will be in the next clock.
    o_clear_total : 1
        The accumulator is zero in the next clock.
    o_addend, o_negative : 26, 1
        What is added to the accumulator; if negative, ``~addend`` sign-extended and one.
    o_scan, o_code, o_polarity, o_rewrite, o_halve : 1, code_bits, 1, 1, 1
        To the histogram.
    i_scanned, i_count : 1, 25
        From the histogram.
    i_echoes : 25
        With echoes: from theirs, beside ``i_count``.
    o_found : 1
        With echoes, strobe: ``o_table_code`` and ``o_polarity`` are the bin in which the span ends, ``o_table_data`` its opened entry.
    o_refused : 1
        The table is refused.
    o_table_code : code_bits
        Code of the entry that is read or written, of ``o_polarity``.
    o_table_write, o_table_data : 1, 16
    i_table_data : 16
        Two clocks later.
    o_count_word, o_entry_word : 1
        Of a dump: the count is at the histogram's output, the entry at the table's.
    o_dump_done : 1

    Latency: less than BUSY_CLOCKS from ``i_start``. ValueError for other codes than the contract's.
    """

    def __init__(self, *, code_bits: int, q_bits: int, group_codes: int, echoes: bool = False):
        if not 5 <= code_bits <= 9:
            raise ValueError(f"Passes: code_bits is {code_bits}; allowed: 5 to 9")
        self._code_bits, self._q_bits, self._group_codes, self._echoes = code_bits, q_bits, group_codes, echoes
        super().__init__(
            {
                "i_start": In(1),
                "i_making": In(1),
                "i_dumping": In(1),
                "i_shared": In(1),
                "i_last": In(5),
                "i_total": In(SUM_BITS),
                "i_sum": In(SUM_BITS),
                "o_clear_total": Out(1),
                "o_addend": Out(GROUP_SUM_BITS),
                "o_negative": Out(1),
                "o_scan": Out(1),
                "o_code": Out(code_bits),
                "o_polarity": Out(1),
                "o_rewrite": Out(1),
                "o_halve": Out(1),
                "i_scanned": In(1),
                "i_count": In(tdc.H_BITS),
                "o_refused": Out(1),
                "o_table_code": Out(code_bits),
                "i_table_data": In(tdc.X_BITS),
                "o_table_write": Out(1),
                "o_table_data": Out(tdc.X_BITS),
                "o_count_word": Out(1),
                "o_entry_word": Out(1),
                "o_dump_done": Out(1),
                **({"i_echoes": In(tdc.H_BITS), "o_found": Out(1)} if echoes else {}),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.evenness = evenness = Evenness(bits=GROUP_SUM_BITS)
        m.submodules.quotient = quotient = Quotient(sum_bits=SUM_BITS, q_bits=self._q_bits)
        at = {name: Signal(name=f"at_{name}") for name in STAGES}
        enters: dict[str, list[Value]] = {name: [] for name in STAGES}
        leaves: dict[str, list[Value]] = {name: [] for name in STAGES}
        tick, code, polarity = Signal(5), self.o_code, self.o_polarity
        all_codes, two, full = Signal(), Signal(), Signal()
        at_end = Signal()  # the entry is not measured; with echoes: the span ends in the bin
        done = tick == LAST_TICK
        m.d.comb += all_codes.eq(code.all())

        def one_of(*names: str) -> Value:
            return Cat(at[name] for name in names).any()

        def ticks(*these: int) -> Value:
            return Cat(tick == FIRST_TICK + k for k in these).any()

        def go(source: str, target: str, when: Value | int = 1) -> None:
            leaves[source].append(Value.cast(when))
            if target:
                enters[target].append(at[source] & when)

        next_code = done & (at["extend"] | (at["divide"] & ~at_end))
        codes_done = next_code & all_codes
        second = two & ~polarity
        go("drain", "full", done & self.i_making)
        go("drain", "dump", done & ~self.i_making & self.i_dumping)
        go("drain", "rewrite_from", done & ~self.i_making & ~self.i_dumping)
        go("full", "count_from", done)
        go("count_from", "count")
        go("count", "counted", all_codes)
        go("counted", "group_from", done)
        go("group_from", "group")
        go("group", "grouped", code[: self._group_codes.bit_length() - 1].all())
        go("grouped", "look", done)
        go("look", "reload", done)
        go("reload", "commit", done)
        go("commit", "committed", done)
        go("committed", "judge", code == 0)
        go("committed", "group", code != 0)
        go("judge", "judged", done)
        go("judged", "divide")
        go("divide", "extend", done & at_end)
        leaves["divide"].append(codes_done)
        leaves["extend"].append(codes_done)
        if self._echoes:
            go("extend", "divide", done & ~all_codes)
        enters["count_from"].append(codes_done & second)
        enters["rewrite_from"].append(codes_done & ~second)
        go("rewrite_from", "rewrite")
        go("rewrite", "rewritten", all_codes & polarity)
        go("rewritten", "", done)
        go("dump", "", done & all_codes & polarity)
        for name, stage in at.items():
            m.d.sync += stage.eq(Cat(*enters[name]).any() | (stage & ~Cat(*leaves[name]).any()))
        with m.If(self.i_start):
            m.d.sync += [stage.eq(name == "drain") for name, stage in at.items()]

        # Ticks begin with a stage; where one follows that has none, nobody looks at them.
        m.d.sync += tick.eq(tick + 1)
        waits = one_of(
            *("drain", "full", "counted", "grouped", "look", "reload", "commit", "judge", "divide", "extend"),
            *("rewritten", "dump"),
        )
        with m.If(~waits | done | self.i_start):
            m.d.sync += tick.eq(
                Cat(C(0, 1), C(1, 1), ~(at["extend"] | (at["divide"] & at_end)), at["look"], at["look"])
            )

        # Codes.
        counts_on = one_of("count", "group", "rewrite") | (at["dump"] & done) | next_code
        with m.If(counts_on):
            m.d.sync += code.eq(code + 1)
        with m.If(at["drain"]):
            m.d.sync += code.eq(0)
        with m.If(all_codes & (at["rewrite"] | (at["dump"] & done) | next_code)):
            m.d.sync += polarity.eq(~polarity & (two | at["rewrite"] | at["dump"]))
        with m.If(at["drain"]):
            m.d.sync += [polarity.eq(0), two.eq(~self.i_shared)]

        # What the stages find out.
        divisor = Signal(GROUP_SUM_BITS)
        with m.If(at["counted"]):
            m.d.sync += divisor.eq(self.i_total)
        if not self._echoes:
            with m.If(at["divide"] & at_end & done):
                m.d.sync += divisor.eq(1 << self._q_bits)
        # The bit of the next tick, known a clock before: LAST comes from far away.
        next_bit, is_set = Mux(at["full"], ~tick - 1, 31 - FIRST_TICK), Signal()
        m.d.sync += is_set.eq(next_bit[: len(tick)] == self.i_last)
        with m.If(at["full"]):
            m.d.sync += full.eq(full & (quotient.o_bit == is_set))
        with m.If(at["drain"]):
            m.d.sync += full.eq(1)
        with m.If(at["judged"]):
            m.d.sync += self.o_refused.eq(self.o_refused | ~evenness.o_even)
        with m.If(self.i_start):
            m.d.sync += self.o_refused.eq(0)
        if self._echoes:
            past = Signal()  # the span has ended in an earlier bin
            with m.If(at["extend"]):
                m.d.sync += past.eq(1)
            with m.If(at["count_from"]):
                m.d.sync += past.eq(0)
            m.d.sync += at_end.eq((self.i_total[1:] > divisor) & ~past)
        else:
            end_bits = quotient.o_q[tdc.MEASURED.bit_length() - 1 : -1]
            m.d.sync += at_end.eq((quotient.o_q[-1] | end_bits.all()) & (code[FIT_LOG:] >= tdc.FIT_FAR // tdc.FIT_NEAR))

        # What they ask for.
        near, far, adds, minus = Signal(), Signal(), Signal(), Signal()
        step, first, divides = Signal(), Signal(), one_of("divide", "extend")
        scans, continues = at["divide"] & ticks(0, 1), at["extend"]
        if self._echoes:
            scans, continues = (divides & ticks(0, 1)) | (at["divide"] & ticks(2)), C(0, 1)
        m.d.comb += [
            first.eq(divides & ticks(SCANNED + 3)),
            self.o_scan.eq(one_of("count", "group", "rewrite") | scans | (at["dump"] & ticks(0))),
            self.o_clear_total.eq(
                one_of("count_from", "group_from", "committed", "rewrite_from") | (continues & ~tick[2:].any())
            ),
            self.o_rewrite.eq(one_of("rewrite", "rewritten")),
            self.o_halve.eq(self.o_rewrite & self.i_making & full & ~self.o_refused),
            evenness.i_start.eq(at["count_from"]),
            evenness.i_turn.eq(one_of("look", "commit", "judge")),
            evenness.i_place.eq(tick),
            evenness.i_commit.eq(one_of("commit", "committed")),
            evenness.i_done.eq(at["committed"]),
            evenness.i_bit.eq(quotient.o_bit),
            quotient.i_sum.eq(self.i_sum),
            quotient.i_divisor.eq(divisor),
            quotient.i_load.eq(
                (one_of("drain", "grouped", "reload") & (tick == LOAD_TICK)) | (divides & ticks(SCANNED + 1))
            ),
            quotient.i_first.eq(first),
            quotient.i_step.eq(step),
            self.o_table_data.eq(quotient.o_q),
            self.o_table_code.eq(Cat(code[:FIT_LOG], code[FIT_LOG:] - Cat(near, C(0, 1), far))),
            self.o_count_word.eq(at["dump"] & ticks(SCANNED)),
            self.o_entry_word.eq(at["dump"] & ticks(SCANNED + 1)),
            self.o_dump_done.eq(at["dump"] & done & all_codes & polarity),
        ]
        m.d.sync += [
            step.eq(first | (step & ~ticks(SCANNED + 3 + self._q_bits))),
            self.o_table_write.eq((at["divide"] if self._echoes else divides) & (tick == LAST_TICK - 1)),
        ]
        if self._echoes:
            # Of the three scans of a bin the first adds W, the others what is left of twice its hits and echoes; behind the span's end
            # the first takes both back once, the second adds them again.
            both, beyond = Signal(GROUP_SUM_BITS), Signal()
            first_sum, second_sum, third_sum = (divides & ticks(SCANNED + k) for k in range(3))
            m.d.comb += [
                both.eq(self.i_count + self.i_echoes),
                beyond.eq(self.i_echoes > Cat(C(0, tdc.ECHO_SHARE_LOG), self.i_count)),
                minus.eq(at["extend"] & first_sum),
            ]
            m.d.sync += [
                self.o_addend.eq(self.i_count),
                self.o_negative.eq(minus),
                self.o_found.eq(at["extend"] & (tick == LAST_TICK - 1)),
            ]
            with m.If(second_sum | (first_sum & (at["extend"] | beyond))):
                m.d.sync += self.o_addend.eq(both ^ minus.replicate(GROUP_SUM_BITS))
            with m.If(third_sum):
                m.d.sync += self.o_addend.eq(Mux(beyond, 0, self.i_echoes))
        else:
            self._continue(m, at["extend"], tick, near, far, adds, minus)
        with m.If(~(self.i_scanned | adds) | self.i_dumping):
            m.d.sync += self.o_addend.eq(0)
        return m

    def _continue(
        self, m: Module, extends: Value, tick: Value, near: Signal, far: Signal, adds: Signal, minus: Signal
    ) -> None:
        """Counts, and what continues a table without echoes."""
        # A line through the entries one and five groups before: five times the near one, less the far one. An entry comes two
        # clocks after its code, and is added a clock later.
        m.d.sync += [
            near.eq(extends & ~tick[4]),  # beside ticks 3 to 16
            far.eq(extends & (tick == 7)),
            adds.eq(extends & (tick >= 4) & (tick < 10)),  # beside ticks 5 to 10
            minus.eq(extends & (tick == 9)),
            self.o_addend.eq(Mux(adds, self.i_table_data ^ minus.replicate(GROUP_SUM_BITS), self.i_count)),
            self.o_negative.eq(minus),
        ]
