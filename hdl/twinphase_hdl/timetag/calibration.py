"""Code-density calibration of a delay line: counts hits per code, and makes tables of them while hits go on."""

from amaranth.hdl import C, Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.core.add import with_carry
from twinphase_hdl.core.shiftcounter import next_state, state_after, width_for
from twinphase_hdl.timetag.histogram import Histogram
from twinphase_hdl.timetag.passes import GROUP_SUM_BITS, SUM_BITS, Passes
from twinphase_spec import tdc

STEP_LOW, STEP_HIGH = 7, 3
"""Bits of a decoded STEP."""


def decode_step(step: Value) -> tuple[Value, Value]:
    """STEP, 0 to 31, for `all_ones`: ``STEP_LOW`` bits "STEP mod 8 > k" and ``STEP_HIGH`` bits "STEP div 8 > k"."""
    return Cat(step[:3] > k for k in range(STEP_LOW)), Cat(step[3:] > k for k in range(STEP_HIGH))


def all_ones(number: Value, low: Value, high: Value) -> Value:
    """The bits 1 .. STEP - 1 of ``number`` are all 1, with STEP from `decode_step`; those beyond the number's width do not count.

    Of a byte that STEP is beyond all bits count, of that in which it lies those of ``low``: ten registers per line, not a mask of 25.
    """
    parts = []
    for k in range(0, len(number), 8):
        byte = number[max(k, 1) : k + 8]
        ruled = min(len(byte), STEP_LOW - (k == 0))
        beyond, reached = high[k // 8] if k // 8 < STEP_HIGH else C(0, 1), high[k // 8 - 1] if k else C(1, 1)
        parts.append(byte.all() | ~beyond)
        parts.append((byte[:ruled] | ~low[k == 0 :][:ruled]).all() | ~reached)
    return Cat(parts).all()


class Calibration(wiring.Component):
    """Histogram of the codes of one chain, and from it tables X of elapsed time per (polarity, code), in quarter ticks.

    All of docs/timetagger.md, "Calibration" and "Dump". Here hits are collected, and busy times begin and end; what is done in
    them is in `Passes`. One accumulator is n while hits are collected, and all sums of the passes later.

    Parameters
    ----------
    code_bits : int
        5 to 9.
    lanes : int
    group_codes : int
        `twinphase_spec.tdc.group_codes` of the chain, 16 or 32.
    echo_taps : int
        TAPS of a chain with twins, whose echoes are counted; 0: none are. 2 lanes only.

    Members
    -------
    i_valid, i_polarity, i_code : lanes, lanes, array of lanes times code_bits
        Hits, in the clock in which they are at the fine time's input; with echoes, the codes of all TDC clocks.
    i_hold, i_reset, i_shared : 1
    i_step_low, i_step_high : 7, 3
        Of STEP, see `decode_step`; more than 25 is 25.
    i_last : 5
        LAST, at most 25.
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
        Of the inputs a clock before.
    o_found, o_forgets : 1, 1
        With echoes, strobes for `SpanEnd`: ``o_table_address`` and ``o_table_data`` are of the bin in which the span ends; none is known.
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
    2^(code_bits + 1), with echoes two.
    """

    def __init__(self, *, code_bits: int = 8, lanes: int = 1, group_codes: int = tdc.GROUP_CODES, echo_taps: int = 0):
        if not 5 <= code_bits <= 9:
            raise ValueError(f"Calibration: code_bits is {code_bits}; allowed: 5 to 9")
        tdc.span_ticks(lanes)
        if echo_taps and lanes != 2:
            raise ValueError(f"Calibration: echo_taps is {echo_taps} with lanes {lanes}; allowed: 0, or 2 lanes")
        self._echo_taps = echo_taps
        self._code_bits, self._lanes, self._group_codes = code_bits, lanes, group_codes
        super().__init__(
            {
                "i_valid": In(lanes),
                "i_polarity": In(lanes),
                "i_code": In(data.ArrayLayout(code_bits, lanes)),
                "i_hold": In(1),
                "i_reset": In(1),
                "i_shared": In(1),
                "i_step_low": In(STEP_LOW),
                "i_step_high": In(STEP_HIGH),
                "i_last": In(5),
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
                **({"o_found": Out(1), "o_forgets": Out(1)} if echo_taps else {}),
            }
        )

    def elaborate(self, platform):
        m = Module()
        bits = self._code_bits
        q_bits = tdc.x_max(self._lanes).bit_length()
        busy_clocks = tdc.busy_clocks(bits)
        m.submodules.histogram = histogram = Histogram(bin_bits=bits + 1, count_bits=tdc.H_BITS)
        m.submodules.passes = passes = Passes(
            code_bits=bits, q_bits=q_bits, group_codes=self._group_codes, echoes=self._echo_taps > 0
        )

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
        total, next_total = Signal(SUM_BITS), Signal(SUM_BITS)
        extension = passes.o_negative.replicate(SUM_BITS - GROUP_SUM_BITS)
        counts = Signal()  # a hit is collected, but for a reset, which clears the total anyway
        m.d.comb += next_total.eq(with_carry(total, Cat(passes.o_addend, extension), counts | passes.o_negative))
        m.d.sync += total.eq(next_total)
        with m.If(passes.o_clear_total | reset):
            m.d.sync += total.eq(0)
        # Whether n's next hit completes a step: worked out a clock before, for n as it was and for one more.
        low = self.i_step_low[0] | self.i_step_high[0]
        rest = Signal()
        m.d.comb += rest.eq(all_ones(total[: tdc.MAX_CAL_LAST], self.i_step_low, self.i_step_high))
        as_it_was, one_more, counted = Signal(), Signal(), Signal()
        m.d.sync += [
            as_it_was.eq((total[0] | ~low) & rest),
            one_more.eq(~low | (~total[0] & rest)),
            counted.eq(self.o_collected),
        ]
        full_step = Mux(counted, one_more, as_it_was)

        # Busy times. A table is first, then a new beginning; a dump waits.
        busy, making, clearing, dumping = Signal(), Signal(), Signal(), Signal()
        past = Signal(width_for(busy_clocks), init=1)  # clocks of this busy time
        last_clock, next_is_last = Signal(), Signal()
        waiting = Signal()
        start_table, dumps, start_dump, restarts, start = (Signal() for _ in range(5))
        started = Signal()  # the passes begin a clock later: that a busy time begins is known late in a clock
        m.d.comb += [
            counts.eq(hit & ~busy & ~hold),
            self.o_collected.eq(counts & ~reset),
            start_table.eq(self.o_collected & full_step),
            dumps.eq((asks | waiting) & (~busy | last_clock) & ~reset),
            restarts.eq(self.i_restart & ~busy & ~hold & ~reset),
            start_dump.eq(dumps & ~start_table),
            self.o_restarted.eq(restarts & ~start_table & ~dumps),
            start.eq(start_table | dumps | restarts | reset),
            self.o_accepted.eq(making & ~passes.o_refused & next_is_last & ~reset),
            self.o_busy.eq(busy),
        ]
        m.d.sync += [
            waiting.eq((asks | waiting) & ~start_dump),
            past.eq(next_state(past)),
            started.eq(start),
            next_is_last.eq((past == state_after(busy_clocks - 3, len(past))) & ~reset),
            last_clock.eq(next_is_last & ~reset),
        ]
        with m.If(~busy | last_clock | reset):
            m.d.sync += past.eq(past.init)
        # Flags of what a busy time is for are down when it begins.
        with m.If(last_clock):
            m.d.sync += [flag.eq(0) for flag in (busy, clearing, dumping)]
        with m.If(self.i_uneven):
            m.d.sync += self.o_nonuniform.eq(1)
        with m.If(making & next_is_last):
            m.d.sync += [making.eq(0), self.o_nonuniform.eq(passes.o_refused)]
        with m.If(self.o_accepted):
            m.d.sync += [self.o_bank.eq(~self.o_bank), self.o_calibrated.eq(1)]
        for begins, flag in ((start, busy), (start_table, making), (self.o_restarted, clearing), (start_dump, dumping)):
            with m.If(begins):
                m.d.sync += flag.eq(1)
        with m.If(reset):
            m.d.sync += [flag.eq(0) for flag in (self.o_calibrated, self.o_nonuniform, making, dumping)]
            m.d.sync += clearing.eq(1)

        word = passes.o_count_word | passes.o_entry_word
        m.d.comb += [
            passes.i_start.eq(started),
            passes.i_making.eq(making),
            passes.i_dumping.eq(dumping),
            passes.i_shared.eq(shared),
            passes.i_last.eq(self.i_last),
            passes.i_total.eq(total),
            passes.i_sum.eq(next_total),
            passes.i_scanned.eq(histogram.o_scanned),
            passes.i_count.eq(histogram.o_count),
            histogram.i_hit.eq(self.o_collected),
            histogram.i_bin.eq(place),
            histogram.i_scan.eq(passes.o_scan),
            histogram.i_scan_bin.eq(Cat(passes.o_code, passes.o_polarity)),
            histogram.i_rewrite.eq(passes.o_rewrite),
            histogram.i_halve.eq(passes.o_halve),
            histogram.i_clear.eq((clearing | passes.o_refused) & passes.o_rewrite),
            self.o_table_address.eq(Cat(passes.o_table_code, passes.o_polarity, self.o_bank ^ making)),
            passes.i_table_data.eq(self.i_table_data),
            self.o_table_write.eq(passes.o_table_write),
            self.o_table_data.eq(passes.o_table_data),
        ]
        idle = ~busy & histogram.o_idle & ~hit & ~asks & ~waiting & ~reset
        if self._echo_taps:
            forgets = start_table | (making & passes.o_refused & next_is_last) | reset
            m.d.comb += [self.o_found.eq(passes.o_found), self.o_forgets.eq(forgets)]
            idle &= ~self._count_echoes(m, passes, histogram, place)
        m.d.comb += self.o_idle.eq(idle)
        m.d.sync += [
            self.o_dump_done.eq(passes.o_dump_done),
            self.o_bin_write.eq(word),
            self.o_bin_address.eq(Cat(passes.o_entry_word, passes.o_code, passes.o_polarity)),
            self.o_bin_data.eq(Mux(passes.o_count_word, histogram.o_count, self.i_table_data)),
        ]
        with m.If(~word):
            m.d.sync += [self.o_bin_address.eq(0), self.o_bin_data.eq(0)]
        return m

    def _count_echoes(self, m: Module, passes: Passes, histogram: Histogram, place: Signal) -> Value:
        """A histogram of echoes beside that of hits, whose passes it shares. That of lane 0's hit came with it in lane 1; that of lane
        1's comes a clock later in lane 0. Returns whether one is on its way."""
        bits = self._code_bits
        m.submodules.echoes = echoes = Histogram(bin_bits=bits + 1, count_bits=tdc.H_BITS)
        beside, alone = Signal(bits), Signal()
        m.d.sync += [beside.eq(self.i_code[1]), alone.eq(~self.i_valid[1])]
        code, echo = Signal(bits), Signal()
        m.d.comb += [
            code.eq(Mux(self.o_lane, self.i_code[0], beside)),
            echo.eq(Mux(self.o_lane, ~self.i_valid[0], alone) & (code != self._echo_taps - 1)),
        ]
        counts, echo_place = Signal(), Signal(bits + 1)
        m.d.sync += [counts.eq(self.o_collected & echo), echo_place.eq(Cat(code, place[-1]))]
        m.d.comb += [
            echoes.i_hit.eq(counts),
            echoes.i_bin.eq(echo_place),
            *(
                getattr(echoes, name).eq(getattr(histogram, name))
                for name in ("i_scan", "i_scan_bin", "i_rewrite", "i_halve", "i_clear")
            ),
            passes.i_echoes.eq(echoes.o_count),
        ]
        return counts | ~echoes.o_idle
