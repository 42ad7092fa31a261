"""The pins of a node with delay lines: chains, encoders and gearboxes of all channels."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, DomainRenamer, Module
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.timetag.gearbox import Gearbox
from twinphase_hdl.timetag.taps import TapEncoder
from twinphase_spec.tagger import TaggerOptions
from twinphase_spec.tdc import chain_taps, code_bits

from .chain_sites import Site, chain_sites
from .chain_span import check_span
from .delayline import DelayLine, TestOscillator


class LineInputs(wiring.Component):
    """Pins in, what the tap encoders find out, at the system clock: the node's `twinphase_hdl.nodes.lines.line_members`.

    Parameters
    ----------
    part : str
        Of the board; says where chains fit (`chain_sites`).
    options : TaggerOptions
        channels, lanes, chains and taps.

    Members
    -------
    i_pins : channels, asynchronous
    i_source, i_invert : channels
        Test oscillator instead of the pin; falling edges.
    o_valid, o_polarity, o_code, o_runt, o_level
        As the node's inputs of these names.

    Latency: `latency` system clocks from the TDC clock of a hit, constant. Raises ValueError for more than the part holds.
    """

    def __init__(self, part: str, options: TaggerOptions) -> None:
        check_span(part, options)
        self._options = options
        taps = chain_taps(options.taps, options.twins)
        self._sites = chain_sites(
            part, channels=options.channels, chains=options.chains, taps=taps, twins=options.twins
        )
        self.delay_lines: dict[Site, int] = {site: taps for sites in self._sites for site in sites}
        inputs = options.channels * options.lanes
        self._encoders = [
            [
                TapEncoder(
                    taps=options.taps,
                    per_clock=3 - options.lanes,
                    follower=chain > 0,
                    registered=options.lanes == 1 or options.twins,
                )
                for chain in range(len(sites))
            ]
            for sites in self._sites
        ]
        bits = code_bits(options.taps)
        self._gearboxes = [
            Gearbox(width=3 + bits * options.chains, before=self._encoders[0][0].latency) for _ in self._sites
        ]
        self.latency = self._gearboxes[0].latency if options.lanes == 2 else self._encoders[0][0].latency + 1
        super().__init__(
            {
                "i_pins": In(options.channels),
                "i_source": In(options.channels),
                "i_invert": In(options.channels),
                "o_valid": Out(inputs),
                "o_polarity": Out(inputs),
                "o_code": Out(data.ArrayLayout(bits, inputs * options.chains)),
                "o_runt": Out(data.ArrayLayout(range(options.lanes + 1), options.channels)),
                "o_level": Out(options.channels),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        lanes, chains = self._options.lanes, self._options.chains
        m.submodules.oscillator = oscillator = TestOscillator()
        for channel, (sites, encoders) in enumerate(zip(self._sites, self._encoders, strict=True)):
            m.submodules[f"line_{channel}"] = line = DelayLine(taps=self._options.taps, sites=sites)
            m.d.comb += [
                line.i_pin.eq(self.i_pins[channel]),
                line.i_test.eq(oscillator.o_clock),
                line.i_source.eq(self.i_source[channel]),
                line.i_invert.eq(self.i_invert[channel]),
                self.o_level[channel].eq(line.o_level),
            ]
            for chain, encoder in enumerate(encoders):
                m.submodules[f"encoder_{channel}_{chain}"] = DomainRenamer("tdc")(encoder)
                m.d.comb += encoder.i_taps.eq(line.o_taps[chain])
                if chain:
                    m.d.comb += encoder.i_detector.eq(line.o_taps[0][0])
            first = encoders[0]
            word = Cat(first.o_valid, first.o_polarity, first.o_runt, *(encoder.o_code for encoder in encoders))
            if lanes == 2:
                m.submodules[f"gearbox_{channel}"] = gearbox = self._gearboxes[channel]
                m.d.comb += gearbox.i.eq(word)
                words = [gearbox.o[lane] for lane in range(lanes)]
            else:
                words = [word]
            bits = len(first.o_code)
            for lane, found in enumerate(words):
                index = channel * lanes + lane
                m.d.comb += [
                    self.o_valid[index].eq(found[0]),
                    self.o_polarity[index].eq(found[1]),
                    *(
                        self.o_code[(channel * chains + chain) * lanes + lane].eq(found[3 + bits * chain :][:bits])
                        for chain in range(chains)
                    ),
                ]
            m.d.comb += self.o_runt[channel].eq(sum((found[2] for found in words[1:]), start=words[0][2]))
        return m
