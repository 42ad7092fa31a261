"""A front end of delay lines with its ports in two words, so that a bench in Python runs at some 20 k clocks per second."""

from __future__ import annotations

from unittest import mock

from amaranth.hdl import Cat, Fragment, Module, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.timetag.delayline import DelayLineFrontEnd
from twinphase_spec import tdc

WINDOW_LOG = 9
"""Windows of the scale are short enough that a bench sees many. Longer than SCALE_CLOCKS, as in the real one."""
INPUTS = ("i_valid", "i_polarity", "i_hold", "i_reset", "i_shared", "i_dump", "i_select", "i_code")
OUTPUTS = (
    "valid",
    "fine",
    "o_uncalibrated",
    "o_calibrated",
    "o_nonuniform",
    "o_scale_limit",
    "o_busy",
    "o_scale",
    "o_bin_write",
    "o_bin_address",
    "o_bin_data",
    "o_dump_done",
    "o_idle",
)


class LineRig(wiring.Component):
    """``i``: `INPUTS`, the first lowest; ``o``: `OUTPUTS` likewise."""

    def __init__(self, *, channels: int, lanes: int, chains: int, taps: int) -> None:
        self.frontend = DelayLineFrontEnd(channels=channels, lanes=lanes, chains=chains, taps=taps)
        super().__init__(
            {
                "i": In(sum(self.widths(INPUTS))),
                "i_step": In(5),
                "i_last": In(5),
                "o": Out(sum(self.widths(OUTPUTS))),
            }
        )

    def ports(self, names: tuple[str, ...]) -> list[Value]:
        frontend = self.frontend
        return [Value.cast(getattr(frontend.o if name in ("valid", "fine") else frontend, name)) for name in names]

    def widths(self, names: tuple[str, ...]) -> list[int]:
        return [len(port) for port in self.ports(names)]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        with mock.patch.multiple(tdc, WINDOW_LOG=WINDOW_LOG):
            m.submodules.frontend = Fragment.get(self.frontend, platform)
        m.d.comb += [
            Cat(self.ports(INPUTS)).eq(self.i),
            self.frontend.i_step.eq(self.i_step),
            self.frontend.i_last.eq(self.i_last),
            self.o.eq(Cat(self.ports(OUTPUTS))),
        ]
        return m


SIZES = {
    "line": {"channels": 1, "lanes": 1, "chains": 1, "taps": 128},
    "lines": {"channels": 2, "lanes": 2, "chains": 2, "taps": 128},
    "twins": {"channels": 1, "lanes": 2, "chains": 1, "taps": 512},
}


def line_rigs() -> dict[str, LineRig]:
    """For the shelf."""
    return {name: LineRig(**sizes) for name, sizes in SIZES.items()}
