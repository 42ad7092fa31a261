"""From the time of a click to its place in the frame."""

from itertools import pairwise

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.core.along import carried, delayed
from twinphase_hdl.core.divide import ConstantDivide
from twinphase_hdl.types import Anchor, Click, GridConfig, Tag
from twinphase_spec import frame, smoothing, units

# Most that a tag can be ahead of the anchor, in ticks: the lag, 4 us of delay span and one pulse.
_AHEAD_MAX = (frame.LAG_CLOCKS + 512) * units.TICKS_PER_CLOCK + frame.MAX_PERIOD_TICKS + 1
_PULSES_AHEAD_BITS = (_AHEAD_MAX // frame.MIN_PERIOD_TICKS).bit_length()
_FRAMES_AHEAD_BITS = 13
_LAG_BIT = frame.LAG_CLOCKS.bit_length() - 1
_CLOCKS_AHEAD_BITS = frame.OFFSET_BITS - units.FRACTION_BITS


class Framer(wiring.Component):
    """Maps each tag to pulse, position, class, window and d-window, by its distance from the anchor.

    With the anchor of the clock in which the tag comes (pulse n0, remainder r0, l0, ...), and the anchor's time A =
    START * 8192 while it is at zero, otherwise (clock - LAG_CLOCKS) * 8192::

        x = (t - A) 2^32 + r0;    n = n0 + x div P,  position = (x mod P) >> 32
        l = (l0 + x div P) mod L; slot = l div M;    class = nibble of the band in table[slot]
        window += 1 if window_frame + (l0 + x div P) div L >= frames_per_window;  d-window likewise

    A tag is framed if ``i_framing`` is high in the clock in which it comes and t >= START * 8192. ``i_framing`` (`Timebase.o_framing`)
    is also high before START + LAG_CLOCKS, when the frame is going to start, so that all tags from START on are framed; a frame
    whose START + LAG_CLOCKS passed without ``i_run`` frames nothing. It is gated if framed, gate start <= position < gate
    stop of its band, and its class is not GUARD. Channels 0, 1 are the q band, 2, 3 the r band.

    Members
    -------
    i : stream of Tag
        Always ready. Its time is at most LAG_CLOCKS behind the clock count and less than 512 clocks ahead of it. The merge
        gives them so: it releases a tag below the clock count plus the smallest delay, which is at most 256 clocks.
    i_anchor, i_framing, i_config : of the timebase
    i_gate_start_q, i_gate_stop_q, i_gate_start_r, i_gate_stop_r : 17, 18, 17, 18, ticks
        First position that counts, first position that does not.
    i_table_address, i_table_data, i_table_en : 15, 8, 1
        Writes a slot byte.
    o, o_valid : Click
        `latency` clocks after the tag.
    o_unframed, o_background, o_signal, o_reference_q, o_reference_r, o_other : 1
        What counter this click goes to: exactly one is high with ``o_valid``.
    o_busy : 1
        A tag is inside or at the output.

    Latency: `latency` clocks, constant. Throughput: one tag per clock. Overflow: n, window and d-window wrap.
    Source: `twinphase_spec.frame`.
    """

    i: In(stream.Signature(Tag, always_ready=True))
    i_anchor: In(Anchor)
    i_framing: In(1)
    i_config: In(GridConfig)
    i_gate_start_q: In(frame.PERIOD_INT_BITS)
    i_gate_stop_q: In(frame.PERIOD_INT_BITS + 1)
    i_gate_start_r: In(frame.PERIOD_INT_BITS)
    i_gate_stop_r: In(frame.PERIOD_INT_BITS + 1)
    i_table_address: In(frame.TABLE_ADDRESS_BITS)
    i_table_data: In(8)
    i_table_en: In(1)
    o: Out(Click)
    o_valid: Out(1)
    o_unframed: Out(1)
    o_background: Out(1)
    o_signal: Out(1)
    o_reference_q: Out(1)
    o_reference_r: Out(1)
    o_other: Out(1)
    o_busy: Out(1)

    def __init__(self):
        super().__init__()
        self._pulse_divide = ConstantDivide(
            x_max=_AHEAD_MAX << frame.PERIOD_FRACTION_BITS,
            d_min=frame.MIN_PERIOD_TICKS << frame.PERIOD_FRACTION_BITS,
            d_max=frame.MAX_PERIOD_TICKS << frame.PERIOD_FRACTION_BITS,
            q_bits=_PULSES_AHEAD_BITS,
            shift=frame.PULSE_RECIPROCAL_SHIFT,
            add_bits=frame.FRAME_PULSE_BITS + 1,
        )
        self._frame_divide = ConstantDivide(
            x_max=(1 << frame.FRAME_PULSE_BITS) + (1 << _PULSES_AHEAD_BITS),
            d_min=frame.MIN_FRAME_PULSES,
            d_max=(1 << frame.FRAME_PULSE_BITS) - 1,
            q_bits=_FRAMES_AHEAD_BITS,
            shift=frame.FRAME_RECIPROCAL_SHIFT,
            add_bits=frame.FRAMES_PER_WINDOW_BITS + 1,
        )
        self._slot_divide = ConstantDivide(
            x_max=1 << frame.FRAME_PULSE_BITS,
            d_min=1,
            d_max=(1 << frame.SLOT_PULSES_BITS) - 1,
            q_bits=frame.TABLE_ADDRESS_BITS,
            shift=frame.SLOT_RECIPROCAL_SHIFT,
        )

    @property
    def _stages(self) -> tuple[int, int, int, int]:
        """Clocks after the tag at which x, pulse, place in the frame and slot are registers."""
        x = 2
        pulse = x + self._pulse_divide.latency
        place = pulse + self._frame_divide.latency
        return x, pulse, place, place + self._slot_divide.latency

    @property
    def latency(self) -> int:
        """Clocks from a tag to its click."""
        return self._stages[-1] + 4

    def elaborate(self, platform):
        m = Module()
        m.submodules.pulse_divide = pulse_divide = self._pulse_divide
        m.submodules.frame_divide = frame_divide = self._frame_divide
        m.submodules.slot_divide = slot_divide = self._slot_divide
        at_x, at_pulse, at_place, at_slot = self._stages
        anchor, config, tag = self.i_anchor, self.i_config, self.i.payload

        valids = [self.i.valid, *(Signal(name=f"valid_{stage}") for stage in range(1, self.latency + 1))]
        m.d.sync += [after.eq(before) for before, after in pairwise(valids)]
        end = self.latency

        # Distance of the clocks from the anchor's, and from the start. Only a tag moves these registers; what follows them comes to
        # rest behind the last tag.
        tag_clock = tag.time[units.FRACTION_BITS :]
        from_start = Signal(units.CLOCK_BITS)
        behind = Signal(_CLOCKS_AHEAD_BITS)
        fine = Signal(units.FRACTION_BITS)
        remainder = Signal(frame.PERIOD_BITS)
        zeros = Signal(2)
        framing = Signal()
        frame_pulse = Signal(frame.FRAME_PULSE_BITS)
        base = Signal(frame.PULSE_BITS)
        last_window = Signal()
        with m.If(self.i.valid):
            m.d.sync += [
                from_start.eq(tag_clock - config.start_clock),
                behind.eq(tag_clock - anchor.clock),
                fine.eq(tag.time),
                remainder.eq(anchor.remainder),
                zeros.eq(Cat(anchor.pulse == 0, anchor.remainder == 0)),
                framing.eq(self.i_framing),
                frame_pulse.eq(anchor.frame_pulse),
                base.eq(anchor.pulse - anchor.frame_pulse),
                last_window.eq(anchor.dwindow_window + 1 == config.windows_per_dwindow),
            ]

        # The distance itself. A resting anchor's remainder is zero. A tag is less than LAG_CLOCKS behind the clock and less than that
        # ahead of it, so that adding LAG_CLOCKS to the difference is to invert one bit.
        resting = zeros.all()
        clocks = Mux(resting, from_start[:_CLOCKS_AHEAD_BITS], Cat(behind[:_LAG_BIT], ~behind[_LAG_BIT:]))
        framed_x = framing & ~(resting & from_start[-1])
        ahead = Signal(frame.OFFSET_BITS)
        fraction = delayed(m, remainder[: frame.PERIOD_FRACTION_BITS], 1, "fraction")
        m.d.sync += ahead.eq(Cat(fine, clocks) + remainder[frame.PERIOD_FRACTION_BITS :])

        # Pulse and position; l0 is added on the way. n0 less l0 waits for l0 + x div P, of which n is the sum.
        m.d.comb += [
            pulse_divide.i_valid.eq(valids[at_x]),
            pulse_divide.i_x.eq(Cat(fraction, ahead)),
            pulse_divide.i_add.eq(delayed(m, frame_pulse, at_x - 1, "frame_pulse")),
            pulse_divide.i_d.eq(config.period),
            pulse_divide.i_reciprocal.eq(config.pulse_reciprocal),
        ]
        position = pulse_divide.o_r[frame.PERIOD_FRACTION_BITS :]
        band_r = delayed(m, tag.channel[1], at_pulse + 1, "band_r")
        framed = delayed(m, framed_x, at_pulse, "framed_x")
        gates = ((self.i_gate_start_q, self.i_gate_stop_q), (self.i_gate_start_r, self.i_gate_stop_r))
        in_gates = Signal(4)
        in_gate = Signal()  # there is a tag, framed and in the gate of its band
        m.d.sync += [
            in_gates.eq(Cat(Cat(position >= start, position < stop) for start, stop in gates)),
            in_gate.eq(valids[at_pulse + 1] & framed & Mux(band_r, in_gates[2:].all(), in_gates[:2].all())),
        ]

        # Place in the frame, and frames since the window's start.
        [window_frame] = carried(m, [anchor.window_frame], valids, 0, at_pulse, "window_frame")
        m.d.comb += [
            frame_divide.i_valid.eq(valids[at_pulse]),
            frame_divide.i_x.eq(pulse_divide.o_q),
            frame_divide.i_add.eq(window_frame),
            frame_divide.i_d.eq(config.frame_pulses),
            frame_divide.i_reciprocal.eq(config.frame_reciprocal),
            slot_divide.i_valid.eq(valids[at_place]),
            slot_divide.i_x.eq(frame_divide.o_r),
            slot_divide.i_d.eq(config.slot_pulses),
            slot_divide.i_reciprocal.eq(config.slot_reciprocal),
        ]
        next_window = Signal()
        m.d.sync += next_window.eq(frame_divide.o_q >= config.frames_per_window)

        # Classes. A memory's output goes straight into a register: its clock-to-output time is most of a clock. So the two
        # halves of the table are memories of their own, of a depth that needs no multiplexer behind the block RAMs.
        half = delayed(m, slot_divide.o_q[-1], 2, "half")
        band_r = delayed(m, band_r, at_slot + 2 - (at_pulse + 1), "class_band_r")
        halves = []
        for i in range(2):
            table = memory.Memory(shape=8, depth=frame.TABLE_SLOTS // 2, init=[])
            m.submodules[f"table_{i}"] = table
            write, read = table.write_port(), table.read_port()
            m.d.comb += [
                write.addr.eq(self.i_table_address),
                write.data.eq(self.i_table_data),
                write.en.eq(self.i_table_en & (self.i_table_address[-1] == i)),
                read.addr.eq(slot_divide.o_q),
                read.en.eq(valids[at_slot]),
            ]
            halves.append(delayed(m, read.data, 1, f"entry_{i}"))
        entry = Mux(half, halves[1], halves[0])
        slot_class = Signal(4)
        m.d.sync += slot_class.eq(Mux(band_r, entry[4:], entry[:4]))

        # What waited for the class: n, and the windows of the anchor. A window is longer than the anchor's lag: at most one ahead.
        last = end - 1
        anchor_windows = (anchor.window, anchor.dwindow, tag.channel, tag_clock[: smoothing.CLOCK_LOW_BITS])
        window, dwindow, channel, clock = carried(m, anchor_windows, valids, 0, last, "anchor_windows")
        last_window, base = carried(m, (last_window, base), valids, 1, last, "base")
        pulses, position = carried(m, (pulse_divide.o_q, position), valids, at_pulse, last, "pulse")
        next_window = delayed(m, next_window, last - (at_place + 1), "next_window")
        framed = delayed(m, framed, last - (at_pulse + 1), "framed")
        in_gate = delayed(m, in_gate, last - (at_pulse + 2), "in_gate")
        band_r = delayed(m, band_r, 1, "out_band_r")

        # Registers again, as it leaves for several rooms.
        gated = in_gate & (slot_class != frame.SlotClass.GUARD)
        # REF0 .. REF3 are 4 .. 7.
        reference = slot_class[2:] == frame.SlotClass.REF0 >> 2
        signal = ~band_r & (slot_class == frame.SlotClass.SIG)
        m.d.comb += [self.o_valid.eq(valids[end]), self.o_busy.eq(Cat(valids[1:]).any())]
        m.d.sync += [
            self.o.channel.eq(channel),
            self.o.framed.eq(framed),
            self.o.gated.eq(gated),
            self.o.slot_class.eq(slot_class),
            self.o.pulse.eq(base + pulses),
            self.o.position.eq(position),
            self.o.window.eq(window + next_window),
            self.o.dwindow.eq(dwindow + (next_window & last_window)),
            self.o.clock.eq(clock),
            self.o_unframed.eq(valids[last] & ~framed),
            self.o_background.eq(valids[last] & framed & ~gated),
            self.o_signal.eq(gated & signal),
            self.o_reference_q.eq(gated & reference & ~band_r),
            self.o_reference_r.eq(gated & reference & band_r),
            self.o_other.eq(gated & ~reference & ~signal),
        ]
        return m
