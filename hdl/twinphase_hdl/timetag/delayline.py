"""The front end of delay lines: from codes to edges, each line calibrated while it runs."""

from functools import reduce
from operator import add, and_, or_

from amaranth.hdl import C, Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.core.along import delayed
from twinphase_hdl.timetag.calibration import STEP_HIGH, STEP_LOW, Calibration, decode_step
from twinphase_hdl.timetag.finetime import SIGMA_CLOCKS, Y4_CLOCKS, FineTime
from twinphase_hdl.timetag.frontend import Edges
from twinphase_hdl.timetag.scale import Scale
from twinphase_hdl.timetag.spanend import SpanEnd
from twinphase_hdl.timetag.table import Tables
from twinphase_spec import tagger, tdc


class DelayLineFrontEnd(wiring.Component):
    """Fine time, calibration and scale of every delay line; docs/timetagger.md. Encoders and gearbox come before it.

    Parameters
    ----------
    channels, lanes, chains, taps : int
        1 to 32; 1 or 2; 1, 2, 4 or 8 delay lines per channel; a multiple of 16 from 32 to 512.
    tdc_clock : bool
        With 2 lanes: there is a domain ``tdc``, at which tables are read (`Tables`): one copy does for both lanes. Nothing else
        differs, so that a simulation with one clock leaves it out.

    Members
    -------
    i_valid, i_polarity : channels * lanes, index c * lanes + k
        Hits and polarities, of chain 0 of each channel. With twins the code of a TDC clock behind a hit matters, too.
    i_code : array of channels * chains * lanes times log2 taps, index (c * chains + h) * lanes + k
    i_hold, i_reset : channels
    i_shared, i_step, i_last : 1, 5, 5
        Of all channels. ``i_step`` and ``i_last`` above 25 are 25.
    i_dump, i_select : 1, 8
        Strobe: the delay line ``i_select`` = channel * chains + chain is to be copied. One that does not exist is not copied.
    o : Edges with lanes
    o_uncalibrated : array of channels, 0 to lanes
        Hits that gave no edge, one clock after they were at the input.
    o_calibrated, o_nonuniform, o_scale_limit, o_busy : channels
        All chains; any chain; any; any.
    o_scale : array of channels, signed 16
        Scale of chain 0 less 1, in 2^-18.
    o_bin_write, o_bin_address, o_bin_data : 1, log2 taps + 2, 32
        Of the copy: word 2 i is the count, word 2 i + 1 the table entry of bin i.
    o_dump_done : 1
        Strobe behind the last word.
    o_idle : 1
        No hit is inside, no busy time, no scale is being worked on, nothing asked for.

    Latency: `latency` clocks. Throughput: a hit per channel and lane in every clock. ValueError for other parameters than these.
    """

    def __init__(self, *, channels: int = 1, lanes: int = 1, chains: int = 1, taps: int = 256, tdc_clock: bool = False):
        if not 1 <= channels <= tagger.MAX_CHANNELS:
            raise ValueError(f"DelayLineFrontEnd: channels is {channels}; allowed: 1 to {tagger.MAX_CHANNELS}")
        if tdc_clock and lanes != 2:
            raise ValueError(
                f"DelayLineFrontEnd: tdc_clock with lanes {lanes}; allowed: 2, whose TDC clock is not the system clock"
            )
        code_bits = tdc.code_bits(taps)
        self._fine = [FineTime(lanes=lanes, chains=chains) for _ in range(channels)]
        self.latency = self._fine[0].latency
        self._channels, self._lanes, self._chains, self._code_bits = channels, lanes, chains, code_bits
        self._group_codes = tdc.group_codes(taps, lanes)
        self._echo_taps = taps if tdc.has_twins(taps, lanes) else 0
        self._tdc_clock = tdc_clock
        super().__init__(
            {
                "i_valid": In(channels * lanes),
                "i_polarity": In(channels * lanes),
                "i_code": In(data.ArrayLayout(code_bits, channels * chains * lanes)),
                "i_hold": In(channels),
                "i_reset": In(channels),
                "i_shared": In(1),
                "i_step": In(5),
                "i_last": In(5),
                "i_dump": In(1),
                "i_select": In(8),
                "o": Out(Edges(channels, lanes=lanes)),
                "o_uncalibrated": Out(data.ArrayLayout(range(lanes + 1), channels)),
                "o_calibrated": Out(channels),
                "o_nonuniform": Out(channels),
                "o_scale_limit": Out(channels),
                "o_busy": Out(channels),
                "o_scale": Out(data.ArrayLayout(signed(tdc.SIGMA_BITS), channels)),
                "o_bin_write": Out(1),
                "o_bin_address": Out(code_bits + 2),
                "o_bin_data": Out(32),
                "o_dump_done": Out(1),
                "o_idle": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        lanes, chains = self._lanes, self._chains
        # Configuration, decoded once for all; 26 and more are 25.
        step, last = Signal(STEP_LOW + STEP_HIGH), Signal(5)
        m.d.sync += [
            step.eq(Cat(decode_step(self.i_step))),
            last.eq(Mux(self.i_last[3:].all() & self.i_last[1:3].any(), tdc.MAX_CAL_LAST, self.i_last)),
        ]
        lines = []
        idles = [~self.i_valid.any(), ~self.i_reset.any(), ~self.i_dump]
        for channel in range(self._channels):
            first = channel * lanes
            valid = self.i_valid[first : first + lanes]
            polarity = self.i_polarity[first : first + lanes]
            m.submodules[f"fine_{channel}"] = fine = self._fine[channel]
            of_channel = []
            for chain in range(chains):
                codes = [self.i_code[(channel * chains + chain) * lanes + k] for k in range(lanes)]
                y4 = [fine.o_y4[chain * lanes + k] for k in range(lanes)]
                number = channel * chains + chain
                line, scale, tables = self._line(m, number, channel, valid, polarity, codes, y4)
                # A copy beside each line, as they lie all over the part; reset values that differ keep synthesis from joining them.
                step_here = Signal.like(step, name=f"step_{number}", init=number)
                m.d.sync += step_here.eq(step)
                m.d.comb += [
                    Cat(line.i_step_low, line.i_step_high).eq(step_here),
                    line.i_last.eq(last),
                    fine.i_sigma[chain].eq(scale.o_sigma),
                ]
                words = [tables.o_word[k] for k in range(lanes)]
                if self._echo_taps:
                    end = self._span_end(m, number, line, tables)
                    words = [Mux(end.o_takes[k], end.o_entry[k], words[k]) for k in range(lanes)]
                m.d.comb += [fine.i_x[chain * lanes + k].eq(words[k]) for k in range(lanes)]
                of_channel.append((line, scale))
                idles += [line.o_idle, scale.o_idle]
            calibrated = reduce(and_, (line.o_calibrated for line, _ in of_channel)) & ~self.i_reset[channel]
            edges = Signal(lanes, name=f"edges_{channel}")
            missed = valid & ~calibrated.replicate(lanes)
            m.d.comb += [edges.eq(valid & calibrated.replicate(lanes)), fine.i_valid.eq(edges)]
            m.d.sync += self.o_uncalibrated[channel].eq(reduce(add, (missed[k] for k in range(lanes))))
            m.d.comb += [
                self.o_calibrated[channel].eq(calibrated),
                self.o_nonuniform[channel].eq(Cat(line.o_nonuniform for line, _ in of_channel).any()),
                self.o_busy[channel].eq(Cat(line.o_busy for line, _ in of_channel).any()),
                self.o_scale_limit[channel].eq(Cat(scale.o_limit for _, scale in of_channel).any()),
                self.o_scale[channel].eq(of_channel[0][1].o_sigma),
                self.o.valid[first : first + lanes].eq(fine.o_valid),
                *(self.o.fine[first + k].eq(fine.o_fine[k]) for k in range(lanes)),
            ]
            lines += [line for line, _ in of_channel]
        # One line at a time copies; the others' words are 0. They come from all over the part.
        for name in ("o_bin_write", "o_bin_address", "o_bin_data", "o_dump_done"):
            m.d.sync += getattr(self, name).eq(reduce(or_, (getattr(line, name) for line in lines)))
        copied = Cat(self.o_bin_write, self.o_dump_done, *(Cat(line.o_bin_write, line.o_dump_done) for line in lines))

        # Behind a hit at the input: until its edge and its part in a window are out.
        coming = Signal(range(self.latency + 3))
        with m.If(self.i_valid.any()):
            m.d.sync += coming.eq(self.latency + 2)
        with m.Elif(coming != 0):
            m.d.sync += coming.eq(coming - 1)
        m.d.comb += self.o_idle.eq(Cat(*idles).all() & (coming == 0) & ~copied.any())
        return m

    def _line(self, m: Module, number: int, channel: int, valid, polarity, codes, y4):
        """Calibration, scale and tables of a delay line."""
        lanes = self._lanes
        line = Calibration(
            code_bits=self._code_bits, lanes=lanes, group_codes=self._group_codes, echo_taps=self._echo_taps
        )
        scale = Scale(lanes=lanes, y4_clocks=Y4_CLOCKS, sigma_clocks=SIGMA_CLOCKS)
        tables = Tables(code_bits=self._code_bits, lanes=lanes, twice=self._tdc_clock)
        m.submodules[f"calibration_{number}"] = line
        m.submodules[f"scale_{number}"] = scale
        m.submodules[f"tables_{number}"] = tables
        m.d.comb += [
            line.i_valid.eq(valid),
            line.i_polarity.eq(polarity),
            *(line.i_code[k].eq(codes[k]) for k in range(lanes)),
            line.i_hold.eq(self.i_hold[channel]),
            line.i_reset.eq(self.i_reset[channel]),
            line.i_shared.eq(self.i_shared),
            line.i_dump.eq(self.i_dump & (self.i_select == C(number, 8))),
            line.i_restart.eq(scale.o_restart),
            line.i_uneven.eq(scale.o_uneven),
            line.i_table_data.eq(tables.o_data),
            *(tables.i_read[k].eq(Cat(codes[k], polarity[k] & ~self.i_shared, line.o_bank)) for k in range(lanes)),
            tables.i_address.eq(line.o_table_address),
            tables.i_write.eq(line.o_table_write),
            tables.i_data.eq(line.o_table_data),
            scale.i_valid.eq(
                delayed(
                    m, line.o_collected & line.o_calibrated & ~self.i_reset[channel], Y4_CLOCKS - 1, f"taken_{number}"
                )
            ),
            scale.i_y4.eq(
                Mux(delayed(m, line.o_lane, Y4_CLOCKS - 1, f"lane_{number}"), y4[-1], y4[0]) if lanes == 2 else y4[0]
            ),
            scale.i_accepted.eq(line.o_accepted),
            scale.i_reset.eq(self.i_reset[channel]),
            scale.i_restarted.eq(line.o_restarted),
        ]
        return line, scale, tables

    def _span_end(self, m: Module, number: int, line: Calibration, tables: Tables) -> SpanEnd:
        """The bin of a chain with twins in which the span ends."""
        m.submodules[f"span_end_{number}"] = end = SpanEnd(code_bits=self._code_bits, lanes=self._lanes)
        m.d.comb += [
            *(end.i_place[k].eq(tables.i_read[k][:-1]) for k in range(self._lanes)),
            end.i_busy.eq(line.o_busy),
            end.i_found.eq(line.o_found),
            end.i_found_place.eq(line.o_table_address[:-1]),
            end.i_found_entry.eq(line.o_table_data),
            end.i_forgets.eq(line.o_forgets),
            end.i_opens.eq(line.o_restarted),
        ]
        return end
