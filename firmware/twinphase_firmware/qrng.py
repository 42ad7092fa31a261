"""Bits of a QRNG from pins to a client: parallel, with the generator's clock beside them. Wiring: docs/client_board.md."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, ClockDomain, ClockSignal, Module
from amaranth.lib import io, stream, wiring
from amaranth.lib.wiring import Out

from twinphase_hdl.sift.qrngqueue import QrngQueue

from .clientoptions import RING_LANES
from .qrngpins import LINES, NAMES

DOMAIN = "qrng"
"""Clock domain of what the generator's clock moves."""


class QrngPads(wiring.Component):
    """The platform's resource ``qrng``: words of ``lanes`` pulses out of input registers at the generator's clock, through a `QrngQueue`.

    Data and valid are taken by registers of one kind (double data rate): with one lane at the clock's rising edge, with two lanes lane 0
    at the rising edge and lane 1 at the falling edge behind it; valid at the rising edge, for both. Ready comes out of an output register
    at the rising edge.

    Members
    -------
    o : Out(stream of 16 * lanes bits), domain sync; lane i in bits 16 i to 16 i + 15

    Overflow: `SLACK_WORDS` words (of 16 bits per lane) may come behind the edge with which ready falls; what comes beyond is dropped.
    ``lanes``: 1 or 2. ValueError otherwise.
    """

    def __init__(self, *, lanes: int) -> None:
        if lanes not in RING_LANES:
            raise ValueError(f"QrngPads: lanes is {lanes}; allowed: 1 or 2")
        self._lanes = lanes
        super().__init__({"o": Out(stream.Signature(LINES * lanes))})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        pins = platform.request("qrng", 0, dir=dict.fromkeys(NAMES, "-"))
        m.domains += ClockDomain(DOMAIN, reset_less=True)
        m.submodules.clock_pin = clock = io.Buffer("i", pins.clock)
        m.submodules.data_pins = bits = io.DDRBuffer("i", pins.data, i_domain=DOMAIN)
        m.submodules.valid_pin = valid = io.DDRBuffer("i", pins.valid, i_domain=DOMAIN)
        m.submodules.ready_pin = ready = io.FFBuffer("o", pins.ready, o_domain=DOMAIN)
        m.submodules.queue = queue = QrngQueue(width=LINES * self._lanes, source=DOMAIN)
        m.d.comb += [
            ClockSignal(DOMAIN).eq(clock.i),
            queue.i_valid.eq(valid.i[0]),
            queue.i_word.eq(Cat(bits.i[half] for half in range(self._lanes))),
            ready.o.eq(queue.o_go),
        ]
        wiring.connect(m, queue.o, wiring.flipped(self.o))
        return m
