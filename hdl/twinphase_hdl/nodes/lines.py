"""What a node with delay lines connects: hits in, calibration registers, the copy of a delay line's table for the host."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.link.registers import RegisterBank
from twinphase_hdl.timetag.delayline import DelayLineFrontEnd
from twinphase_spec.tagger import FRONTENDS
from twinphase_spec.tdc import code_bits


def line_members(*, channels: int, lanes: int, chains: int, taps: int) -> dict[str, wiring.Member]:
    """Inputs of a node with delay lines: what their encoders found, at the system clock.

    ``i_valid``, ``i_polarity``: bit channel * lanes + lane; ``i_code``: index (channel * chains + chain) * lanes + lane.
    """
    return {
        "i_valid": In(channels * lanes),
        "i_polarity": In(channels * lanes),
        "i_code": In(data.ArrayLayout(code_bits(taps), channels * chains * lanes)),
    }


PIN_MEMBERS = ("i_level", "i_runt", "o_source", "o_invert")


def pin_members(*, channels: int, lanes: int) -> dict[str, wiring.Member]:
    """Between a node and its pins: levels and runts for status and counters, edge and source as the registers want them.

    ``i_level``: the pin, synchronised. ``i_runt``: runts of this clock, 0 to ``lanes`` per channel. ``o_source``: the test oscillator
    instead of the pin. ``o_invert``: falling edges.
    """
    return {
        "i_level": In(channels),
        "i_runt": In(data.ArrayLayout(range(lanes + 1), channels)),
        "o_source": Out(channels),
        "o_invert": Out(channels),
    }


def frontend_constants(frontend: str, *, chains: int = 0, taps: int = 0) -> dict[str, int]:
    """Values of the registers that say what the front end is."""
    lines = frontend == "delay line"
    return {
        "FRONTEND": FRONTENDS.index(frontend),
        "CHAINS": chains if lines else 0,
        "TAPS": taps if lines else 0,
    }


def connect_pins(m: Module, node, bank: RegisterBank) -> None:
    """Edge and source of every channel, from their registers."""
    if hasattr(bank, "o_cal_source"):
        m.d.comb += node.o_source.eq(bank.o_cal_source)
    m.d.comb += node.o_invert.eq(bank.o_edge)


def connect_lines(m: Module, node, bank: RegisterBank, frontend: DelayLineFrontEnd) -> None:
    """Hits of the node to the front end, registers and CAL_BINS to its calibration."""
    m.d.comb += [
        frontend.i_valid.eq(node.i_valid),
        frontend.i_polarity.eq(node.i_polarity),
        frontend.i_code.eq(node.i_code),
        frontend.i_hold.eq(bank.o_cal_hold),
        frontend.i_reset.eq(bank.o_cal_reset),
        frontend.i_shared.eq(bank.o_cal_shared),
        frontend.i_step.eq(bank.o_cal_step),
        frontend.i_last.eq(bank.o_cal_last),
        frontend.i_dump.eq(bank.o_cal_dump),
        frontend.i_select.eq(bank.o_cal_select),
    ]
    m.submodules.bins = bins = memory.Memory(shape=32, depth=1 << len(frontend.o_bin_address), init=[])
    write, read = bins.write_port(), bins.read_port()
    dumps = Signal(32)
    with m.If(frontend.o_dump_done):
        m.d.sync += dumps.eq(dumps + 1)
    m.d.comb += [
        write.en.eq(frontend.o_bin_write),
        write.addr.eq(frontend.o_bin_address),
        write.data.eq(frontend.o_bin_data),
        read.addr.eq(bank.o_cal_bins_address),
        bank.i_cal_bins_data.eq(read.data),
        bank.i_cal_dumps.eq(dumps),
    ]
    for channel in range(len(node.i_level)):
        flags = (frontend.o_calibrated, frontend.o_nonuniform, frontend.o_scale_limit, frontend.o_busy, node.i_level)
        m.d.comb += [
            getattr(bank, f"i_cal_status_{channel}").eq(Cat(flag[channel] for flag in flags)),
            getattr(bank, f"i_scale_{channel}").eq(frontend.o_scale[channel]),
        ]
