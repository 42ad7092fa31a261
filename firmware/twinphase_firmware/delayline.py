"""ECP5 carry-chain delay lines: from a detector's pin to sampled taps.

A hit clocks a toggle flip-flop. Its output runs along a carry chain whose every cell shows it to a flip-flop beside the cell, and
all of these sample at the TDC clock: how many taps agree says how long ago the hit was. With twins each tap goes to another flip-flop
too, in the row beside, by a longer way through the fabric: what comes at nearly the same time in the chain, as the two taps of a cell
do in the tools' model, comes at others there.

A chain cell is a private black box, `CELL`: synthesis knows the carry cell CCU2C as logic, finds out that all taps are the same
signal, and drives all flip-flops from one LUT. `place_chains` turns the black boxes into placed carry cells between synthesis and
placement; a build without it stops at the unknown cell. `delayline_check` proves the result.

Source of the cells: Lattice FPGA-TN-02200 (sysCLOCK: OSCG) and FPGA-DS-02012 (slices) for ECP5 and ECP5-5G.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import ClockSignal, Const, Instance, Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from twinphase_spec.tdc import CHAINS, CHAINS_ALLOWED, chain_taps, sample_order

from .chain_sites import Site
from .manifest import HIT_CLOCK
from .place_chains import CELL, CHAIN, PLACE, SAMPLE, TAPS
from .place_twins import TWIN, TWINS

CELL_FILE = f"{CELL.lower()}.v"
CELL_VERILOG = f"""\
(* blackbox *)
module {CELL} (input CIN, A0, B0, C0, D0, A1, B1, C1, D1, output S0, S1, COUT);
  parameter [15:0] INIT0 = 16'h0000;
  parameter [15:0] INIT1 = 16'h0000;
  parameter INJECT1_0 = "NO";
  parameter INJECT1_1 = "NO";
endmodule
"""

PASS = Const(0xFFFF, 16)
"""Carry out is carry in, and the cell shows the complement of its carry in."""
INJECT_COMPLEMENT = Const(0x0005, 16)
"""Carry out is the complement of input A (B = C = D = 1), so that the cells behind show A itself."""

_FLIP_FLOP = {
    "p_GSR": "ENABLED",
    "p_CEMUX": "1",
    "p_CLKMUX": "CLK",
    "p_LSRMUX": "LSR",
    "p_REGSET": "RESET",
    "p_SRMODE": "LSR_OVER_CE",
    "i_LSR": Const(0),
    "a_keep": "1",
}
"""A plain one that starts at 0."""

OSCILLATOR_HZ = 310e6
OSCILLATOR_DIVIDER = 32


class TestOscillator(wiring.Component):
    """The part's own oscillator, for a calibration without photons: about 9.7 MHz, and in no phase with the board's clock.

    Members
    -------
    o_clock : 1, square wave of `OSCILLATOR_HZ` / `OSCILLATOR_DIVIDER` (nominal, +-15 %)
    """

    def __init__(self) -> None:
        super().__init__({"o_clock": Out(1)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.oscg = Instance("OSCG", p_DIV=OSCILLATOR_DIVIDER, o_OSC=self.o_clock)
        return m


class DelayLine(wiring.Component):
    """One channel's delay lines: a toggle flip-flop and a carry chain per site that it drives, each sampled by ``taps`` flip-flops.

    With T(t) the toggle, 0 at first and inverted by every selected edge, and D[h][i] the delay from the toggle to flip-flop i of chain h
    (which is in `twinphase_spec.tdc.sample_order`), what it samples at the TDC edge at time K is ``o_taps[h][i] = T(K - D[h][i])``, out
    at the same edge.

    Parameters
    ----------
    taps : int
        Flip-flops per chain: a multiple of 16, 32 to 512; of 32 with twins.
    sites : one `Site` per chain (1, 2, 4 or 8)
        Where each chain lies, and its twins if it has any; the first also says where the toggle is.

    Members
    -------
    i_pin : 1, asynchronous
        The pin behind its input buffer.
    i_test : 1, asynchronous
        The test oscillator.
    i_source : 1
        0: pin, 1: test oscillator. A change may toggle once.
    i_invert : 1
        0: rising edges toggle, 1: falling ones (of the pin; the oscillator is not inverted). A change may toggle once.
    o_taps : array of ``chains`` x ``taps`` bits, domain ``tdc``
        1: the toggle's 1 has reached the tap. Before the first edge: 0. Taps near the transition can be
        metastable and need another register.
    o_level : 1, domain ``sync``
        The pin's level, synchronised.

    Latency: 0 TDC clocks to the sampling flip-flops; from pin to toggle a constant route, alike for all builds of a placement.
    Throughput: edges 1 TDC clock apart; closer ones put two transitions into the chain at once (a runt).
    Raises ValueError for other numbers of taps or sites.
    """

    def __init__(self, *, taps: int = 256, sites: tuple[Site, ...]) -> None:
        for site in sites:
            chain_taps(taps, site.twin_row is not None)
        if len(sites) not in CHAINS:
            raise ValueError(f"delay line: {len(sites)} chains; allowed: {CHAINS_ALLOWED}")
        self._taps, self._sites = taps, sites
        super().__init__(
            {
                "i_pin": In(1),
                "i_test": In(1),
                "i_source": In(1),
                "i_invert": In(1),
                "o_taps": Out(data.ArrayLayout(taps, len(sites))),
                "o_level": Out(1),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        if CELL_FILE not in platform.extra_files:
            platform.add_file(CELL_FILE, CELL_VERILOG)
        m = Module()
        # A LUT as the clock's source: nothing faster leads from a pin to a flip-flop's clock by way of a choice.
        hit, toggle, toggle_next = (Signal(name=name) for name in (HIT_CLOCK, "toggle", "toggle_next"))
        m.submodules.source = Instance(
            "LUT4",
            p_INIT=Const(sum(_source(index) << index for index in range(16)), 16),
            i_A=self.i_pin,
            i_B=self.i_test,
            i_C=self.i_source,
            i_D=self.i_invert,
            o_Z=hit,
            a_keep="1",
            **{f"a_{PLACE}": str(self._sites[0])},
        )
        m.submodules.invert = Instance(
            "LUT4",
            p_INIT=Const(0x5555, 16),
            i_A=toggle,
            **dict.fromkeys(("i_B", "i_C", "i_D"), Const(1)),
            o_Z=toggle_next,
            a_keep="1",
            **{f"a_{PLACE}": str(self._sites[0])},
        )
        m.submodules.toggle_ff = Instance(
            "TRELLIS_FF",
            **_FLIP_FLOP,
            i_CLK=hit,
            i_DI=toggle_next,
            o_Q=toggle,
            **{f"a_{PLACE}": str(self._sites[0])},
        )
        clock = Signal()
        m.d.comb += clock.eq(ClockSignal("tdc"))
        for chain, site in enumerate(self._sites):
            m.submodules[f"chain{chain}"] = _Chain(toggle, clock, self.o_taps[chain], self._taps, site)
        m.submodules.level = FFSynchronizer(self.i_pin, self.o_level, reset_less=True)
        return m


def _source(index: int) -> int:
    """Truth table of the source: inputs pin, test, source, invert in the bits of ``index``."""
    pin, test, source, invert = (index >> bit & 1 for bit in range(4))
    return test if source else pin ^ invert


class _Chain(wiring.Component):
    """Injector, carry cells, sampling flip-flops."""

    def __init__(self, hit: Signal, clock: Signal, taps: Any, count: int, site: Site) -> None:
        twins = site.twin_row is not None
        self._hit, self._clock, self._site = hit, clock, site
        self._count = chain_taps(count, twins)
        self._sampled = {what: taps[index] for index, what in enumerate(sample_order(count, twins))}
        super().__init__({})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        carry = Signal()
        # The chain's first carry in must not be open.
        m.submodules.inject = Instance(
            CELL,
            p_INIT0=INJECT_COMPLEMENT,
            p_INIT1=PASS,
            p_INJECT1_0="NO",
            p_INJECT1_1="NO",
            i_CIN=Const(0),
            i_A0=self._hit,
            **{f"i_{pin}": Const(1) for pin in ("B0", "C0", "D0", "A1", "B1", "C1", "D1")},
            o_COUT=carry,
            a_keep="1",
            **{f"a_{CHAIN}": str(self._site), f"a_{TAPS}": str(self._count)},
        )
        for cell in range(self._count // 2):
            shown, following = Signal(2), Signal()
            m.submodules[f"cell{cell}"] = Instance(
                CELL,
                p_INIT0=PASS,
                p_INIT1=PASS,
                p_INJECT1_0="NO",
                p_INJECT1_1="NO",
                i_CIN=carry,
                **{f"i_{pin}{half}": Const(1) for pin in "ABCD" for half in "01"},
                o_S0=shown[0],
                o_S1=shown[1],
                o_COUT=following,
                a_keep="1",
            )
            for half in range(2):
                # An instance, whose name stays: it says which tap this is when the placement is checked.
                m.submodules[f"{SAMPLE}{2 * cell + half}"] = Instance(
                    "TRELLIS_FF",
                    **_FLIP_FLOP,
                    i_CLK=self._clock,
                    i_DI=shown[half],
                    o_Q=self._sampled[2 * cell + half, False],
                )
                if self._site.twin_row is not None:
                    m.submodules[f"{TWIN}{2 * cell + half}"] = Instance(
                        "TRELLIS_FF",
                        **_FLIP_FLOP,
                        i_CLK=self._clock,
                        i_DI=shown[half],
                        o_Q=self._sampled[2 * cell + half, True],
                        **{f"a_{TWINS}": str(Site(self._site.column, self._site.twin_row))},
                    )
            carry = following
        return m
