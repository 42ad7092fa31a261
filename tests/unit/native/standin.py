"""A small node with a real node's ports and a frame of its own: what the native engine needs, and compiled in seconds.

It sends one packet of two words for each edge (channel, time) and one for each multiple of 2^13 clocks and each window
close, and echoes every rx packet. Its frame runs from reset with the parameters of FRAME.
"""

from __future__ import annotations

from amaranth.back import verilog
from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from twinphase_spec import frame
from twinphase_spec.frame import LAG_CLOCKS, FrameConfig

FRAME = FrameConfig(
    period_q32=(1365 << 32) + 1431655765,
    slot_pulses=3,
    table=(1,) * 7,
    frames_per_window=2500,
    windows_per_dwindow=3,
    start_clock=1000,
)
WIDTHS = {
    "clock": 51,
    "pulse": frame.PULSE_BITS,
    "remainder": frame.PERIOD_BITS,
    "frame_pulse": frame.FRAME_PULSE_BITS,
    "frame": frame.FRAME_BITS,
    "window_frame": frame.FRAMES_PER_WINDOW_BITS,
    "window": frame.WINDOW_BITS,
    "dwindow_window": frame.WINDOWS_PER_DWINDOW_BITS,
    "dwindow": frame.WINDOW_BITS,
}


class StandIn(wiring.Component):
    """See the module."""

    def __init__(self) -> None:
        inputs = {"rx_data": 32, "rx_last": 1, "rx_valid": 1, "tx_ready": 1, "sim_load": 1, "i_valid": 4, "i_fine": 52}
        outputs = {"rx_ready": 1, "tx_data": 32, "tx_last": 1, "tx_valid": 1, "o_idle": 1, "o_clock": 51}
        super().__init__(
            {name: In(width) for name, width in inputs.items()}
            | {name: Out(width) for name, width in outputs.items()}
            | {f"sim_anchor_{name}": In(width) for name, width in WIDTHS.items()}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        now = {name: Signal(width, name=name) for name, width in WIDTHS.items()}
        step, rest = FRAME.step_pulses, FRAME.step_remainder
        raw = Signal(frame.PERIOD_BITS + 1)
        over = Signal()
        pulses = Signal(4)
        l_next = Signal(frame.FRAME_PULSE_BITS)
        running = Signal()
        m.d.comb += [
            raw.eq(now["remainder"] + rest),
            over.eq(raw >= FRAME.period_q32),
            pulses.eq(step + over),
            l_next.eq(now["frame_pulse"] + pulses),
        ]
        close = Signal()
        with m.If(self.sim_load):
            m.d.sync += [now[name].eq(getattr(self, f"sim_anchor_{name}")) for name in WIDTHS]
        with m.Else():
            m.d.sync += now["clock"].eq(now["clock"] + 1)
            with m.If(running):
                m.d.sync += [
                    now["remainder"].eq(Mux(over, raw - FRAME.period_q32, raw)),
                    now["pulse"].eq(now["pulse"] + pulses),
                    now["frame_pulse"].eq(l_next),
                ]
                with m.If(l_next >= FRAME.frame_pulses):
                    m.d.sync += [now["frame_pulse"].eq(l_next - FRAME.frame_pulses), now["frame"].eq(now["frame"] + 1)]
                    m.d.sync += now["window_frame"].eq(now["window_frame"] + 1)
                    with m.If(now["window_frame"] == FRAME.frames_per_window - 1):
                        m.d.comb += close.eq(1)
                        m.d.sync += [now["window_frame"].eq(0), now["window"].eq(now["window"] + 1)]
                        m.d.sync += now["dwindow_window"].eq(now["dwindow_window"] + 1)
                        with m.If(now["dwindow_window"] == FRAME.windows_per_dwindow - 1):
                            m.d.sync += [now["dwindow_window"].eq(0), now["dwindow"].eq(now["dwindow"] + 1)]
        with m.If(now["clock"] == FRAME.start_clock + LAG_CLOCKS - 1):
            m.d.sync += running.eq(1)

        # One queue of (last, word) for events; each event is several words, written over as many clocks.
        m.submodules.queue = queue = SyncFIFOBuffered(width=33, depth=256)
        pending = Signal(6)
        saved = [Signal(64, name=f"saved_{i}") for i in range(6)]
        for channel in range(4):
            with m.If(self.i_valid[channel]):
                m.d.sync += pending[channel].eq(1)
                m.d.sync += saved[channel].eq(Cat(self.i_fine.word_select(channel, 13), now["clock"]))
        with m.If(now["clock"][:13] == 0):
            m.d.sync += [pending[4].eq(1), saved[4].eq(now["frame_pulse"] | now["pulse"] << 24)]
        with m.If(close):
            m.d.sync += [pending[5].eq(1), saved[5].eq(Cat(now["window"], now["dwindow"]))]
        phase = Signal(2)
        echo = Signal()
        for kind in reversed(range(6)):
            with m.If(pending[kind] & ~echo):
                words = (Const(kind, 32), saved[kind][:32], saved[kind][32:])
                m.d.comb += queue.w_data.eq(Mux(phase == 2, words[2], Mux(phase == 1, words[1], words[0])))
                m.d.comb += queue.w_data[32].eq(phase == 2)
        busy = pending.any() & ~echo
        with m.If(busy & queue.w_rdy):
            m.d.sync += phase.eq(Mux(phase == 2, 0, phase + 1))
            with m.If(phase == 2):
                for kind in reversed(range(6)):
                    with m.If(pending[kind]):
                        lower = pending[:kind].any() if kind else Const(0)
                        with m.If(~lower):
                            m.d.sync += pending[kind].eq(0)
        m.d.comb += self.rx_ready.eq(~pending.any() & queue.w_rdy | echo & queue.w_rdy)
        with m.If(self.rx_valid & self.rx_ready):
            m.d.comb += queue.w_data.eq(Cat(self.rx_data, self.rx_last))
            m.d.sync += echo.eq(~self.rx_last)
        m.d.comb += queue.w_en.eq(busy | self.rx_valid & self.rx_ready)
        m.d.comb += [
            Cat(self.tx_data, self.tx_last).eq(queue.r_data),
            self.tx_valid.eq(queue.r_rdy),
            queue.r_en.eq(self.tx_ready),
            self.o_clock.eq(now["clock"]),
            self.o_idle.eq(~pending.any() & ~echo & (queue.level == 0)),
        ]
        return m


def standin_verilog() -> str:
    """Verilog of the stand-in, as module ``twinphase_server``."""
    return verilog.convert(StandIn(), name="twinphase_server", emit_src=False, strip_internal_attrs=True)
