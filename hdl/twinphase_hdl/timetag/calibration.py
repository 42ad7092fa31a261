"""Code-density calibration of a delay line: counts hits per code, and makes tables of them while hits go on."""

from collections.abc import Iterator
from contextlib import contextmanager

from amaranth.hdl import C, Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.core.add import with_carry
from twinphase_hdl.timetag.evenness import Evenness
from twinphase_hdl.timetag.histogram import SCANNED, Histogram
from twinphase_hdl.timetag.quotient import Quotient
from twinphase_spec import tdc

SUM_BITS = tdc.H_BITS + 3
"""Of 2 A + W below 4 n."""
GROUP_SUM_BITS = tdc.H_BITS + 1
GROUP_LOG = tdc.GROUP_CODES.bit_length() - 1
SETTLE = SCANNED + 4
"""Ticks until the sum of a scan stands in the accumulator."""
LOAD, FIRST = SCANNED + 1, SCANNED + 3
"""Ticks of the division of a bin."""
DUMP_TICKS = 8


class Calibration(wiring.Component):
    """Histogram of the codes of one chain, and from it tables X of elapsed time per (polarity, code), in quarter ticks.

    All of docs/timetagger.md, "Calibration" and "Dump". A busy time goes through these passes: per polarity the number of hits n_p and
    the last code (a bin per clock); per group of codes its sum, judged by `Evenness`; per code the entry, by `Quotient`; then
    all bins are written again, halved or zero where that is due, and n is their sum. One accumulator is n while hits are
    collected, and all of these sums later.

    Parameters
    ----------
    code_bits : int
        5 to 9.
    lanes : int

    Members
    -------
    i_valid, i_polarity, i_code : lanes, lanes, array of lanes times code_bits
        Hits, in the clock in which they are at the fine time's input.
    i_hold, i_reset, i_shared : 1
    i_step_mask : 25
        2^STEP - 1.
    i_last : 26
        2^LAST.
    i_dump : 1
        Strobe: asks for a dump.
    i_uneven : 1
        Strobe: sets ``o_nonuniform``.
    i_restart : 1
        The scale asks for a new beginning, one clock after the clock before the one in which the new sigma begins to act.
    o_restarted : 1
        In the same clock: it is granted.
    o_collected, o_lane : 1, 1
        One clock after the input: a hit is collected, and from which lane.
    o_calibrated, o_bank : 1
        For hits that are at the input now.
    o_accepted : 1
        Strobe in the clock before ``o_bank`` changes.
    o_nonuniform, o_busy : 1
    o_table_address : code_bits + 2
        (code, polarity, bank).
    o_table_write, o_table_data : 1, 16
    i_table_data : 16
        Word at ``o_table_address``, two clocks later.
    o_bin_write, o_bin_address, o_bin_data : 1, code_bits + 2, 32
        The dump; data and address are 0 when nothing is written.
    o_dump_done : 1
        Strobe behind the last word.
    o_idle : 1
        Not busy, nothing to be asked for, and no hit is on its way to the histogram.

    Latency: docs/timetagger.md says from which clock on tables act. Throughput: a hit per clock. Area: one block RAM of 36 bits times
    2^(code_bits + 1).
    """

    def __init__(self, *, code_bits: int = 8, lanes: int = 1):
        if not 5 <= code_bits <= 9:
            raise ValueError(f"Calibration: code_bits is {code_bits}; allowed: 5 to 9")
        tdc.span_ticks(lanes)
        self._code_bits, self._lanes = code_bits, lanes
        super().__init__(
            {
                "i_valid": In(lanes),
                "i_polarity": In(lanes),
                "i_code": In(data.ArrayLayout(code_bits, lanes)),
                "i_hold": In(1),
                "i_reset": In(1),
                "i_shared": In(1),
                "i_step_mask": In(tdc.MAX_CAL_LAST),
                "i_last": In(tdc.MAX_CAL_LAST + 1),
                "i_dump": In(1),
                "i_uneven": In(1),
                "i_restart": In(1),
                "o_restarted": Out(1),
                "o_collected": Out(1),
                "o_lane": Out(1),
                "o_calibrated": Out(1),
                "o_bank": Out(1),
                "o_accepted": Out(1),
                "o_nonuniform": Out(1),
                "o_busy": Out(1),
                "o_table_address": Out(code_bits + 2),
                "o_table_write": Out(1),
                "o_table_data": Out(tdc.X_BITS),
                "i_table_data": In(tdc.X_BITS),
                "o_bin_write": Out(1),
                "o_bin_address": Out(code_bits + 2),
                "o_bin_data": Out(32),
                "o_dump_done": Out(1),
                "o_idle": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        bits = self._code_bits
        q_bits = tdc.x_max(self._lanes).bit_length()
        busy_clocks = tdc.busy_clocks(bits)
        m.submodules.histogram = histogram = Histogram(bin_bits=bits + 1, count_bits=tdc.H_BITS)
        m.submodules.evenness = evenness = Evenness(bits=GROUP_SUM_BITS)
        m.submodules.quotient = quotient = Quotient(sum_bits=SUM_BITS, q_bits=q_bits)

        # Inputs of a clock, one clock later; "busy" below belongs to that clock.
        hit, place, lane = Signal(), Signal(bits + 1), Signal()
        hold, reset, shared, asks = Signal(), Signal(), Signal(), Signal()
        m.d.comb += lane.eq(~self.i_valid[0] if self._lanes == 2 else 0)
        hits = [Cat(self.i_code[k], self.i_polarity[k] & ~self.i_shared) for k in range(self._lanes)]
        m.d.sync += [
            hit.eq(self.i_valid.any()),
            place.eq(Mux(lane, hits[-1], hits[0])),
            self.o_lane.eq(lane),
            hold.eq(self.i_hold),
            reset.eq(self.i_reset),
            shared.eq(self.i_shared),
            asks.eq(self.i_dump),
        ]

        # The accumulator: n while hits are collected.
        total, addend = Signal(SUM_BITS), Signal(GROUP_SUM_BITS)
        negative = Signal()  # the addend is inverted, and one is added
        extension = negative.replicate(SUM_BITS - GROUP_SUM_BITS)
        next_total = with_carry(total, Cat(addend, extension), self.o_collected | negative)
        clear_total = Signal()
        m.d.sync += total.eq(next_total)
        with m.If(clear_total | reset):
            m.d.sync += total.eq(0)
        full_step = (total[: tdc.MAX_CAL_LAST] | ~self.i_step_mask).all()

        # Busy times. A table is first, then a new beginning; a dump waits.
        busy, making, clearing, dumping = Signal(), Signal(), Signal(), Signal()
        left = Signal(range(busy_clocks), init=busy_clocks - 1)
        last_clock = busy & (left == 0)
        waiting = Signal()
        refused, full = Signal(), Signal()
        start_table, start_dump, start = Signal(), Signal(), Signal()
        started = Signal()  # the passes begin a clock later: that a busy time begins is known late in a clock
        m.d.comb += [
            self.o_collected.eq(hit & ~busy & ~hold & ~reset),
            start_table.eq(self.o_collected & full_step),
            start_dump.eq((asks | waiting) & (~busy | last_clock) & ~start_table & ~reset),
            self.o_restarted.eq(self.i_restart & ~busy & ~hold & ~reset & ~start_table & ~start_dump),
            start.eq(start_table | start_dump | self.o_restarted | reset),
            self.o_accepted.eq(making & ~refused & (left == 1) & ~reset),
            self.o_busy.eq(busy),
        ]
        m.d.sync += [waiting.eq((asks | waiting) & ~start_dump), left.eq(left - 1), started.eq(start)]
        with m.If(~busy | last_clock | reset):
            m.d.sync += left.eq(left.init)
        with m.If(last_clock):
            m.d.sync += busy.eq(0)
        with m.If(self.i_uneven):
            m.d.sync += self.o_nonuniform.eq(1)
        with m.If(making & (left == 1)):
            m.d.sync += [making.eq(0), self.o_nonuniform.eq(refused)]
        with m.If(self.o_accepted):
            m.d.sync += [self.o_bank.eq(~self.o_bank), self.o_calibrated.eq(1)]
        with m.If(start):
            m.d.sync += [
                busy.eq(1),
                making.eq(start_table),
                clearing.eq(self.o_restarted | reset),
                dumping.eq(start_dump),
                refused.eq(0),
            ]
        with m.If(reset):
            m.d.sync += [self.o_calibrated.eq(0), self.o_nonuniform.eq(0)]

        # The passes.
        tick = Signal(5)
        code, polarity = Signal(bits), Signal()
        last_code, reached = Signal(bits), Signal()
        two = Signal()  # tables of both polarities are made
        beyond = Signal()  # behind the last code that is reached
        tail, minus = Signal(), Signal()  # what is added: the mean width, or less the count
        narrow, wide = Signal(), Signal()  # the last code is below or above the mean width
        scan, turn, load = Signal(), Signal(), Signal()
        counting, in_dump = Signal(), Signal()
        divisor = Signal(GROUP_SUM_BITS)
        m.d.sync += [tick.eq(tick + 1), self.o_table_write.eq(0)]
        m.d.comb += [
            histogram.i_hit.eq(self.o_collected),
            histogram.i_bin.eq(place),
            histogram.i_scan.eq(scan),
            histogram.i_scan_bin.eq(Cat(code, polarity)),
            histogram.i_halve.eq(making & full & ~refused & histogram.i_rewrite),
            histogram.i_clear.eq((clearing | refused) & histogram.i_rewrite),
            quotient.i_sum.eq(next_total),
            quotient.i_divisor.eq(divisor),
            quotient.i_load.eq(load),
            evenness.i_turn.eq(turn),
            evenness.i_bit.eq(quotient.o_bit),
            reached.eq(code == last_code),
        ]
        mean = evenness.o_last >> GROUP_LOG
        m.d.sync += [
            addend.eq(Mux(minus, ~Cat(histogram.o_count, C(0, 1)), Mux(beyond | tail, mean, histogram.o_count))),
            negative.eq(minus & histogram.o_scanned),
        ]
        with m.If(~histogram.o_scanned | dumping):
            m.d.sync += addend.eq(0)

        def go(state: str) -> None:
            m.d.sync += tick.eq(0)
            m.next = state

        def next_code() -> None:
            m.d.sync += [code.eq(code + 1), beyond.eq(beyond | reached)]
            with m.If(~code.all()):
                go("DIVIDE")
            with m.Elif(two & ~polarity):
                m.d.sync += polarity.eq(1)
                go("COUNT_FROM")
            with m.Else():
                m.d.sync += polarity.eq(0)
                go("REWRITE_FROM")

        @contextmanager
        def state(name: str) -> Iterator[None]:
            """A state that a start leaves, whatever else is due."""
            with m.State(name):
                yield
                with m.If(started):
                    go("DRAIN")

        with m.FSM():
            with state("COLLECT"):
                pass
            with state("DRAIN"):
                # The last hits are written. n stands still.
                m.d.sync += [code.eq(0), polarity.eq(0), two.eq(~shared), full.eq(total == self.i_last)]
                with m.If(tick == 15):
                    with m.If(making):
                        go("COUNT_FROM")
                    with m.Elif(dumping):
                        go("DUMP")
                    with m.Else():
                        go("REWRITE_FROM")
            with state("COUNT_FROM"):
                m.d.comb += [clear_total.eq(1), evenness.i_start.eq(1), quotient.i_start.eq(1)]
                m.d.sync += [last_code.eq(0), beyond.eq(0)]
                go("COUNT")
            with state("COUNT"):
                m.d.comb += [scan.eq(1), counting.eq(1)]
                m.d.sync += code.eq(code + 1)
                with m.If(code.all()):
                    go("COUNTED")
            with state("COUNTED"):
                m.d.comb += counting.eq(1)
                m.d.sync += divisor.eq(total)
                with m.If(tick == SETTLE):
                    go("GROUP_FROM")
            with state("GROUP_FROM"):
                m.d.comb += clear_total.eq(1)
                go("GROUP")
            with state("GROUP"):
                m.d.comb += scan.eq(1)
                m.d.sync += code.eq(code + 1)
                with m.If(code[:GROUP_LOG].all()):
                    go("GROUPED")
            with state("GROUPED"):
                m.d.comb += load.eq(tick == SETTLE - 1)
                with m.If(tick == SETTLE):
                    go("LOOK")
            with state("LOOK"):
                m.d.comb += turn.eq(1)
                with m.If(tick == GROUP_SUM_BITS - 1):
                    go("RELOAD")
            with state("RELOAD"):
                m.d.comb += load.eq(~tick[0])
                with m.If(tick[0]):
                    go("COMMIT")
            with state("COMMIT"):
                m.d.comb += [turn.eq(1), evenness.i_commit.eq(1)]
                with m.If(tick == GROUP_SUM_BITS - 1):
                    go("COMMITTED")
            with state("COMMITTED"):
                m.d.comb += [evenness.i_commit.eq(1), evenness.i_done.eq(1), clear_total.eq(1)]
                with m.If(code == 0):
                    go("JUDGE")
                with m.Else():
                    go("GROUP")
            with state("JUDGE"):
                m.d.comb += turn.eq(1)
                with m.If(tick == GROUP_SUM_BITS - 1):
                    go("JUDGED")
            with state("JUDGED"):
                m.d.sync += [refused.eq(refused | ~evenness.o_even), narrow.eq(0), wide.eq(0)]
                go("FIND")
            with state("FIND"):
                m.d.comb += scan.eq(reached)
                with m.If(reached):
                    go("FOUND")
                with m.Else():
                    m.d.sync += code.eq(code + 1)
            with state("FOUND"):
                m.d.comb += load.eq(tick == SETTLE - 1)
                with m.If(tick == SETTLE):
                    go("COMPARE")
            with state("COMPARE"):
                # The ring starts later, so that its sum is divided by GROUP_CODES.
                inside = tick >= GROUP_LOG
                width, other = quotient.o_bit, evenness.o_last[-1] & inside
                m.d.comb += [turn.eq(inside), clear_total.eq(1)]
                with m.If((tick < GROUP_SUM_BITS) & ~narrow & ~wide):
                    m.d.sync += [narrow.eq(~width & other), wide.eq(width & ~other)]
                with m.If(tick == GROUP_SUM_BITS + GROUP_LOG - 1):
                    m.d.sync += code.eq(0)
                    go("DIVIDE")
            with state("DIVIDE"):
                # Two scans of the bin: the first makes 2 A + W of the accumulator, the second 2 A of the next bin.
                end = FIRST + q_bits + 2
                m.d.comb += [
                    scan.eq(tick < 2),
                    load.eq(tick == LOAD),
                    quotient.i_first.eq(tick == FIRST),
                    quotient.i_step.eq((tick > FIRST) & (tick <= FIRST + q_bits)),
                ]
                m.d.sync += self.o_table_write.eq(tick == end - 1)
                with m.If(tick == end):
                    with m.If(reached & narrow):
                        go("EXTEND")
                    with m.Else():
                        next_code()
            with state("EXTEND"):
                # The last code counts as full for those beyond it: less its width twice, and the mean twice.
                m.d.comb += [
                    scan.eq(tick < 4),
                    minus.eq((tick == SCANNED) | (tick == SCANNED + 1)),
                    tail.eq((tick == SCANNED + 2) | (tick == SCANNED + 3)),
                ]
                with m.If(tick == SCANNED + 5):
                    next_code()
            with state("REWRITE_FROM"):
                m.d.comb += clear_total.eq(1)
                m.d.sync += beyond.eq(0)
                go("REWRITE")
            with state("REWRITE"):
                m.d.comb += [scan.eq(1), histogram.i_rewrite.eq(1)]
                m.d.sync += Cat(code, polarity).eq(Cat(code, polarity) + 1)
                with m.If(Cat(code, polarity).all()):
                    go("REWRITTEN")
            with state("REWRITTEN"):
                m.d.comb += histogram.i_rewrite.eq(1)
                with m.If(tick == SETTLE):
                    go("COLLECT")
            with state("DUMP"):
                m.d.comb += [scan.eq(tick == 0), in_dump.eq(1)]
                with m.If(tick == DUMP_TICKS - 1):
                    m.d.sync += Cat(code, polarity).eq(Cat(code, polarity) + 1)
                    go("DUMP")
                    with m.If(Cat(code, polarity).all()):
                        m.d.comb += self.o_dump_done.eq(1)
                        go("COLLECT")

        # What the passes see, and what leaves.
        with m.If(histogram.o_scanned & histogram.o_count.any() & counting):
            m.d.sync += last_code.eq(histogram.o_bin[:bits])
        first_word, second_word = tick == SCANNED, tick == SCANNED + 1
        m.d.comb += [
            self.o_table_address.eq(Cat(code, polarity, self.o_bank ^ making)),
            self.o_table_data.eq(quotient.o_q),
            self.o_idle.eq(~busy & histogram.o_idle & ~hit & ~asks & ~waiting & ~reset),
        ]
        m.d.sync += [
            self.o_bin_write.eq(in_dump & (first_word | second_word)),
            self.o_bin_address.eq(Cat(second_word, code, polarity)),
            self.o_bin_data.eq(Mux(first_word, histogram.o_count, self.i_table_data)),
        ]
        with m.If(~in_dump | ~(first_word | second_word)):
            m.d.sync += [self.o_bin_address.eq(0), self.o_bin_data.eq(0)]
        return m
