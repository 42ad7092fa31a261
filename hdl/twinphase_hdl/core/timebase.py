"""The one owner of every free-running count of a node."""

from amaranth.hdl import C, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.core.add import with_carry
from twinphase_hdl.types import Anchor, GridConfig
from twinphase_spec import frame, units


def tick(anchor_clock: Value, bits: int) -> Value:
    """High in the clocks whose count is a multiple of ``2**bits``. ValueError outside 0 .. CLOCK_BITS."""
    if not 0 <= bits <= len(anchor_clock):
        raise ValueError(f"tick: bits is {bits}; allowed: 0 to {len(anchor_clock)}")
    return ~anchor_clock[:bits].any() if bits else Const(1)


class Timebase(wiring.Component):
    """Counts clocks and steps the anchor, the frame position LAG_CLOCKS behind the clock count.

    In a clock with count c, ``o_anchor = FrameConfig.anchor_at(c)`` as long as the frame runs, with additions only::

        remainder += 8192 mod P, less P and carry = 1 if that reaches P
        n, l      += 8192 div P + carry;  l less L on reaching L, which steps frame, window and d-window

    l is also kept one clock ahead and the remainder two, so that the carry into n and l and the end of a frame are registers.

    The frame starts if ``i_run`` is high in the clock whose count is START + LAG_CLOCKS; later it has been missed and stays
    at rest until ``i_run`` has been low and a new START is set. ``i_run`` low returns the position to zero at the next edge. "Before"
    and "after" are modular, so a START lies less than 2^50 clocks (104 days) ahead.

    ``sim_load`` replaces counting by loading: outputs in the next clock are what counting would have given. Whether
    the frame runs follows from what is loaded: clock before or at START + LAG: it will start; after it: it runs if the position is
    not zero, and has been missed if it is zero. Loading a close clock gives ``o_close`` as well.

    Members
    -------
    i_config : GridConfig
        Must be stable from five clocks before ``i_run`` rises until it has fallen.
    i_run : 1
        CONTROL bit 0.
    sim_load, sim_anchor : 1, Anchor
        Simulation port. Tied to 0 in hardware.
    o_anchor : Anchor
        Position; zero, except for the clock, when the frame is at rest.
    o_framing : 1
        The frame runs or is going to: ``i_run`` and START + LAG not missed. What the framer goes by.
    o_running : 1
        The anchor is running: ``i_run`` and START + LAG reached in time. What the FRAMING register shows.
    o_close : 1
        First clock of a new window: ``clock == FrameConfig.close_clock(window - 1)``.
    o_close_last : 1
        With ``o_close``: the closed window was the last of its d-window.

    Latency: none, outputs belong to the clock they appear in. Overflow: clock, n, frame, window and d-window wrap.
    Source: `twinphase_spec.frame`.
    """

    i_config: In(GridConfig)
    i_run: In(1)
    sim_load: In(1)
    sim_anchor: In(Anchor)
    o_anchor: Out(Anchor)
    o_framing: Out(1)
    o_running: Out(1)
    o_close: Out(1)
    o_close_last: Out(1)

    def _count(self, m: Module) -> list:
        """Assignments of the clock count."""
        return [self.o_anchor.clock.eq(Mux(self.sim_load, self.sim_anchor.clock, self.o_anchor.clock + 1))]

    def elaborate(self, platform):
        m = Module()
        config, anchor, load, loaded = self.i_config, self.o_anchor, self.sim_load, self.sim_anchor

        # Clock count, and where it stands relative to the start.
        start = Signal(units.CLOCK_BITS)  # START + LAG
        until_start = Signal()  # clock <= START + LAG
        at_start = Signal()  # clock == START + LAG - 1
        before_start = Signal()  # clock == START + LAG - 2
        part = -(-units.CLOCK_BITS // 6)
        near_start = Signal(6)  # all: clock == START + LAG - 3; in sixths, as the comparison is wide

        def start_less(clocks: int) -> Value:
            """START + LAG - clocks, less one if the clock count that it is compared with at an edge is the one before the edge."""
            counted = Signal(units.CLOCK_BITS, name=f"start_less_{clocks + 1}")
            m.d.sync += counted.eq(config.start_clock + (frame.LAG_CLOCKS - clocks - 1))
            return Mux(load, start - clocks, counted)[: units.CLOCK_BITS]

        compared = Mux(load, loaded.clock, anchor.clock)
        differing = start_less(3) ^ compared
        m.d.sync += [
            start.eq(config.start_clock + frame.LAG_CLOCKS),
            *self._count(m),
            until_start.eq(~(start_less(0) - compared)[: units.CLOCK_BITS][-1]),
            at_start.eq(Mux(load, loaded.clock == start - 1, before_start)),
            before_start.eq(Mux(load, loaded.clock == start - 2, near_start.all())),
            near_start.eq(Cat(differing[place : place + part] == 0 for place in range(0, units.CLOCK_BITS, part))),
        ]

        # Does the anchor move at the coming edge, and at the two after it?
        moved = Signal()  # it has moved before
        advance = Signal()
        moves_on = Signal()
        moves_next = Signal()
        moves_then = Signal()
        loaded_moved = (loaded.pulse | loaded.remainder).any()
        m.d.comb += [
            moves_on.eq(self.i_run & Mux(load, loaded_moved, advance)),
            moves_next.eq(moves_on | Mux(load, loaded.clock == start, at_start)),
            moves_then.eq(moves_next | Mux(load, loaded.clock == start - 1, before_start)),
            self.o_running.eq(self.i_run & advance),
            self.o_framing.eq(self.i_run & (moved | until_start)),
        ]
        m.d.sync += [moved.eq(moves_on), advance.eq(moves_next)]

        # Position in the pulse. The register that the sums start from is two clocks ahead of what is shown.
        step_less_period = Signal(frame.PERIOD_BITS + 1)
        remainder_next = Signal(frame.PERIOD_BITS)
        remainder_then = Signal(frame.PERIOD_BITS)
        carry = Signal()  # of the step at the coming edge
        carry_next = Signal()

        def step(remainder: Value, name: str) -> tuple[Value, Value]:
            """Remainder and carry a clock later."""
            stepped = Signal(frame.PERIOD_BITS, name=f"{name}_stepped")
            wrapped = Signal(frame.PERIOD_BITS + 1, name=f"{name}_wrapped")
            m.d.comb += [stepped.eq(remainder + config.step_remainder), wrapped.eq(remainder + step_less_period)]
            return Mux(wrapped[-1], stepped, wrapped)[: frame.PERIOD_BITS], ~wrapped[-1]

        loaded_next, loaded_carry = step(loaded.remainder, "loaded")
        shown_next = Signal(frame.PERIOD_BITS)
        shown_carry = Signal()
        m.d.comb += [
            shown_next.eq(Mux(load, Mux(moves_next, loaded_next, 0), remainder_then)),
            shown_carry.eq(Mux(load, moves_next & loaded_carry, carry_next)),
        ]
        following, following_carry = step(shown_next, "shown")
        m.d.sync += [
            step_less_period.eq(config.step_remainder - config.period),
            anchor.remainder.eq(Mux(load, loaded.remainder, remainder_next)),
            remainder_next.eq(Mux(moves_next, shown_next, 0)),
            carry.eq(shown_carry),
            remainder_then.eq(Mux(moves_then, following, 0)),
            carry_next.eq(moves_then & following_carry),
        ]

        # Place in the frame, one clock ahead.
        step_less_frame = Signal(frame.FRAME_PULSE_BITS + 1)
        frame_pulse_next = Signal(frame.FRAME_PULSE_BITS)
        next_frame = Signal()  # the frame ends at the coming edge
        shown = Signal(frame.FRAME_PULSE_BITS)
        stepped = Signal(frame.FRAME_PULSE_BITS)
        wrapped = Signal(frame.FRAME_PULSE_BITS + 1)
        m.d.comb += [
            shown.eq(Mux(load, loaded.frame_pulse, frame_pulse_next)),
            stepped.eq(with_carry(shown, config.step_pulses, shown_carry)),
            wrapped.eq(with_carry(Cat(shown, C(0, 1)), step_less_frame, shown_carry)),
        ]
        m.d.sync += [
            step_less_frame.eq(config.step_pulses - config.frame_pulses),
            anchor.frame_pulse.eq(shown),
            frame_pulse_next.eq(Mux(moves_next, Mux(wrapped[-1], stepped, wrapped), 0)),
            next_frame.eq(moves_next & ~wrapped[-1]),
        ]

        # Pulse, frame, window, d-window.
        frames_less_1 = Signal(frame.FRAMES_PER_WINDOW_BITS)
        windows_less_1 = Signal(frame.WINDOWS_PER_DWINDOW_BITS)
        last_frame = Signal()  # a frame that ends here is its window's last
        last_window = Signal()  # a window that ends here is its d-window's last
        next_window = next_frame & last_frame
        next_dwindow = next_window & last_window
        m.d.sync += [
            frames_less_1.eq(config.frames_per_window - 1),
            windows_less_1.eq(config.windows_per_dwindow - 1),
            # A clock late, in time: a frame lasts at least two clocks.
            last_frame.eq(Mux(load, loaded.window_frame, anchor.window_frame) == frames_less_1),
            last_window.eq(Mux(load, loaded.dwindow_window, anchor.dwindow_window) == windows_less_1),
        ]
        counts = ("pulse", "frame", "window_frame", "window", "dwindow_window", "dwindow")
        with m.If(load):
            m.d.sync += [anchor[name].eq(loaded[name]) for name in counts]
        with m.Else():
            with m.If(advance):
                m.d.sync += anchor.pulse.eq(with_carry(anchor.pulse, config.step_pulses, carry))
            with m.If(next_frame):
                m.d.sync += [
                    anchor.frame.eq(anchor.frame + 1),
                    anchor.window_frame.eq(Mux(last_frame, 0, anchor.window_frame + 1)),
                ]
            with m.If(next_window):
                m.d.sync += [
                    anchor.window.eq(anchor.window + 1),
                    anchor.dwindow_window.eq(Mux(last_window, 0, anchor.dwindow_window + 1)),
                ]
            with m.If(next_dwindow):
                m.d.sync += anchor.dwindow.eq(anchor.dwindow + 1)
        # What is ahead needs no i_run here: it rests at zero until the frame starts.
        with m.If(~self.i_run):
            m.d.sync += [anchor[name].eq(0) for name in (*counts, "remainder", "frame_pulse")]

        # A clock is a window's first if the anchor is less than one clock into it.
        step_pulses, into = config.step_pulses, loaded.frame_pulse
        loaded_close = (
            loaded_moved
            & (loaded.window_frame == 0)
            & ((into < step_pulses) | ((into == step_pulses) & (loaded.remainder < config.step_remainder)))
        )
        m.d.sync += [
            self.o_close.eq(self.i_run & Mux(load, loaded_close, next_window)),
            self.o_close_last.eq(
                self.i_run & Mux(load, loaded_close & (loaded.dwindow_window == 0), next_dwindow),
            ),
        ]
        return m
