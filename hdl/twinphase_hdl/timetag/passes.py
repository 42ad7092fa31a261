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
GROUP_LOG = tdc.GROUP_CODES.bit_length() - 1
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
    "find",
    "found",
    "compare",
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
    up n_p and finds the last code l, ``group`` .. ``committed`` give each group's sum to `Evenness` (twice), ``judge`` asks it,
    ``find`` .. ``compare`` compare l's width with the mean one, and ``divide`` makes an entry by `Quotient`: a bin is scanned twice,
    so that the accumulator goes from 2 A to 2 A + W to the next 2 A; ``extend`` corrects l for the codes beyond. Then ``rewrite``
    goes over all bins, whose sum is the new n. For a dump, ``dump`` scans each bin.

    A stage is a flip-flop of its own. Stages that wait run through ticks `FIRST_TICK` .. `LAST_TICK` (``compare``: four more,
    ``reload``: two).

    Parameters
    ----------
    code_bits, q_bits : int
        Of a code, and of an entry.

    Members
    -------
    i_start : 1
        Begins, whatever is under way.
    i_making, i_dumping : 1
        From ``i_start`` on: a table; a dump. With neither, bins are only written again.
    i_shared : 1
    i_last : 5
        At most 25.
    i_total, i_sum : 28
        The accumulator, and what it will be in the next clock.
    o_clear_total : 1
        The accumulator is zero in the next clock.
    o_addend, o_negative : 26, 1
        What is added to the accumulator; if negative, ``~addend`` sign-extended and one.
    o_scan, o_code, o_polarity, o_rewrite, o_halve : 1, code_bits, 1, 1, 1
        To the histogram.
    i_scanned, i_code, i_count : 1, code_bits, 25
        From the histogram.
    o_refused : 1
        The table is refused.
    o_table_write, o_table_data : 1, 16
        Entry of ``o_code`` and ``o_polarity``.
    o_count_word, o_entry_word : 1
        Of a dump: the count is at the histogram's output, the entry at the table's.
    o_dump_done : 1

    Latency: less than BUSY_CLOCKS from ``i_start``. ValueError for other codes than the contract's.
    """

    def __init__(self, *, code_bits: int, q_bits: int):
        if not 5 <= code_bits <= 9:
            raise ValueError(f"Passes: code_bits is {code_bits}; allowed: 5 to 9")
        self._code_bits, self._q_bits = code_bits, q_bits
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
                "i_code": In(code_bits),
                "i_count": In(tdc.H_BITS),
                "o_refused": Out(1),
                "o_table_write": Out(1),
                "o_table_data": Out(tdc.X_BITS),
                "o_count_word": Out(1),
                "o_entry_word": Out(1),
                "o_dump_done": Out(1),
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
        last_code, reached, all_codes = Signal(self._code_bits), Signal(), Signal()
        two, full, beyond = Signal(), Signal(), Signal()
        narrow, wide = Signal(), Signal()  # the last code is below or above the mean width
        done = tick == LAST_TICK
        m.d.comb += [reached.eq(code == last_code), all_codes.eq(code.all())]

        def one_of(*names: str) -> Value:
            return Cat(at[name] for name in names).any()

        def ticks(*these: int) -> Value:
            return Cat(tick == FIRST_TICK + k for k in these).any()

        def go(source: str, target: str, when: Value | int = 1) -> None:
            leaves[source].append(Value.cast(when))
            if target:
                enters[target].append(at[source] & when)

        next_code = (at["divide"] & done & ~(reached & narrow)) | (at["extend"] & done)
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
        go("group", "grouped", code[:GROUP_LOG].all())
        go("grouped", "look", done)
        go("look", "reload", done)
        go("reload", "commit", done)
        go("commit", "committed", done)
        go("committed", "judge", code == 0)
        go("committed", "group", code != 0)
        go("judge", "judged", done)
        go("judged", "find")
        go("find", "found", reached)
        go("found", "compare", done)
        go("compare", "divide", done)
        go("divide", "extend", done & reached & narrow)
        leaves["divide"].append(codes_done)
        leaves["extend"].append(done)
        enters["divide"].append(at["extend"] & done & ~all_codes)
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
            *(
                "drain",
                "full",
                "counted",
                "grouped",
                "look",
                "reload",
                "commit",
                "judge",
                "found",
                "compare",
                "divide",
                "extend",
            ),
            *("rewritten", "dump"),
        )
        with m.If(~waits | done | self.i_start):
            m.d.sync += tick.eq(Cat(C(0, 1), C(1, 1), ~at["found"], at["look"], at["look"]))

        # Codes.
        counts_on = one_of("count", "group", "rewrite") | (at["find"] & ~reached) | (at["dump"] & done) | next_code
        with m.If(counts_on):
            m.d.sync += code.eq(code + 1)
        with m.If(at["drain"] | at["compare"]):
            m.d.sync += code.eq(0)
        with m.If(all_codes & (at["rewrite"] | (at["dump"] & done) | next_code)):
            m.d.sync += polarity.eq(~polarity & (two | at["rewrite"] | at["dump"]))
        with m.If(at["drain"]):
            m.d.sync += [polarity.eq(0), two.eq(~self.i_shared)]
        with m.If(next_code & reached):
            m.d.sync += beyond.eq(1)
        with m.If(at["count_from"] | at["rewrite_from"] | at["drain"]):
            m.d.sync += beyond.eq(0)
        with m.If(self.i_scanned & self.i_count.any() & one_of("count", "counted")):
            m.d.sync += last_code.eq(self.i_code)
        with m.If(at["count_from"]):
            m.d.sync += last_code.eq(0)

        # What the stages find out.
        divisor = Signal(GROUP_SUM_BITS)
        with m.If(at["counted"]):
            m.d.sync += divisor.eq(self.i_total)
        with m.If(at["full"]):
            m.d.sync += full.eq(full & (quotient.o_bit == (~tick == self.i_last)))
        with m.If(at["drain"]):
            m.d.sync += full.eq(1)
        with m.If(at["judged"]):
            m.d.sync += self.o_refused.eq(self.o_refused | ~evenness.o_even)
        with m.If(self.i_start):
            m.d.sync += self.o_refused.eq(0)
        # The ring starts later, so that its sum is divided by GROUP_CODES.
        inside = tick >= FIRST_TICK
        width, mean_bit = quotient.o_bit, evenness.o_last[-1] & inside
        with m.If(at["compare"] & (tick < FIRST_TICK - GROUP_LOG + GROUP_SUM_BITS) & ~narrow & ~wide):
            m.d.sync += [narrow.eq(~width & mean_bit), wide.eq(width & ~mean_bit)]
        with m.If(at["judged"]):
            m.d.sync += [narrow.eq(0), wide.eq(0)]

        # What they ask for.
        step, first = Signal(), Signal()
        m.d.comb += [
            first.eq(at["divide"] & ticks(SCANNED + 3)),
            self.o_scan.eq(
                one_of("count", "group", "rewrite")
                | (at["find"] & reached)
                | (at["divide"] & ticks(0, 1))
                | (at["extend"] & ticks(0, 1, 2, 3))
                | (at["dump"] & ticks(0))
            ),
            self.o_clear_total.eq(one_of("count_from", "group_from", "committed", "compare", "rewrite_from")),
            self.o_rewrite.eq(one_of("rewrite", "rewritten")),
            self.o_halve.eq(self.o_rewrite & self.i_making & full & ~self.o_refused),
            evenness.i_start.eq(at["count_from"]),
            evenness.i_turn.eq(one_of("look", "commit", "judge") | (at["compare"] & inside)),
            evenness.i_commit.eq(one_of("commit", "committed")),
            evenness.i_done.eq(at["committed"]),
            evenness.i_bit.eq(quotient.o_bit),
            quotient.i_start.eq(at["count_from"]),
            quotient.i_sum.eq(self.i_sum),
            quotient.i_divisor.eq(divisor),
            quotient.i_load.eq(
                (one_of("drain", "grouped", "reload", "found") & (tick == LOAD_TICK))
                | (at["divide"] & ticks(SCANNED + 1))
            ),
            quotient.i_first.eq(first),
            quotient.i_step.eq(step),
            self.o_table_data.eq(quotient.o_q),
            self.o_count_word.eq(at["dump"] & ticks(SCANNED)),
            self.o_entry_word.eq(at["dump"] & ticks(SCANNED + 1)),
            self.o_dump_done.eq(at["dump"] & done & all_codes & polarity),
        ]
        m.d.sync += [
            step.eq(first | (step & ~ticks(SCANNED + 3 + self._q_bits))),
            self.o_table_write.eq(at["divide"] & (tick == LAST_TICK - 1)),
        ]

        # The last code counts as full for those beyond it: less its width twice, and the mean twice.
        minus = at["extend"] & ticks(SCANNED, SCANNED + 1)
        tail = at["extend"] & ticks(SCANNED + 2, SCANNED + 3)
        mean = evenness.o_last >> GROUP_LOG
        m.d.sync += [
            self.o_addend.eq(Mux(minus, ~Cat(self.i_count, C(0, 1)), Mux(beyond | tail, mean, self.i_count))),
            self.o_negative.eq(minus & self.i_scanned),
        ]
        with m.If(~self.i_scanned | self.i_dumping):
            m.d.sync += self.o_addend.eq(0)
        return m
