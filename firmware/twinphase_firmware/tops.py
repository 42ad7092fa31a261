"""What goes onto a board: a node with its pins, clock and serial link."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from amaranth.hdl import Cat, Module
from amaranth.lib import io, wiring

from twinphase.errors import TwinphaseError
from twinphase_hdl.drive.sigmadelta import SigmaDelta
from twinphase_hdl.drive.spi import SpiDac
from twinphase_hdl.nodes.server import ServerNode
from twinphase_hdl.nodes.timetagger import TimeTaggerNode
from twinphase_spec.registers import CHANNELS
from twinphase_spec.tagger import TaggerOptions

from .area import HERALD_PATH
from .boardlink import SERIAL, BoardLink
from .boards import ACTUATOR_LINES, Board
from .chain_sites import Site
from .clientoptions import ClientOptions
from .clienttop import ClientTop
from .clocking import BoardClock
from .family import ICE40
from .ice40 import Ice40Clock, Ice40Samples
from .lines import LineInputs
from .oversampling import OversampledPins, OversamplingClock
from .pairedpins import PairedClock, PairedPins
from .ports import check_link, connect_link
from .portvolts import connect_port_volts


def connect_lines(m: Module, platform: Any, node: Any, lines: LineInputs) -> None:
    """Detector pins to delay lines, and these to the node."""
    m.submodules.pins = pins = io.Buffer("i", platform.request("detectors", dir="-"))
    m.submodules.lines = lines
    m.d.comb += [
        lines.i_pins.eq(pins.i),
        lines.i_source.eq(node.o_source),
        lines.i_invert.eq(node.o_invert),
        *(
            getattr(node, f"i_{name}").eq(getattr(lines, f"o_{name}"))
            for name in ("valid", "polarity", "code", "runt", "level")
        ),
    ]


def connect_samples(node: Any, samples: Any) -> list[Any]:
    """Assignments of a node's four samples per pin and clock, of which the last one is the pin's level."""
    levels = (node.i_level[channel].eq(samples[channel][-1]) for channel in range(len(node.i_level)))
    return [node.i_samples.eq(samples), *levels]


DAC_BITS, DAC_HALF_CLOCKS = 16, 2
"""The serial DAC of the phase actuator: 16 bits, 31.25 MHz (AD5541A, DAC8831 and the like)."""


def connect_actuator(m: Module, platform: Any, node: ServerNode) -> None:
    """The actuator's code to a serial DAC, whose frames the node follows, and to a sigma-delta level on a pin of its own."""
    pins = platform.request("actuator", dir=dict.fromkeys(ACTUATOR_LINES, "-"))
    m.submodules.dac = dac = SpiDac(bits=DAC_BITS, half_clocks=DAC_HALF_CLOCKS)
    m.submodules.level = level = SigmaDelta(order=2, bits=DAC_BITS)
    m.d.comb += [
        *(dac.i.payload.eq(node.o_code), dac.i.valid.eq(1), node.i_taken.eq(dac.i.ready)),
        level.i.eq(node.o_code),
    ]
    values = (dac.o_select, dac.o_clock, dac.o_data, level.o)
    for name, value in zip(ACTUATOR_LINES, values, strict=True):
        m.submodules[f"{name}_pin"] = pin = io.FFBuffer("o", getattr(pins, name))
        m.d.comb += pin.o.eq(value)


class ServerTop(wiring.Component):
    """The server node on a board: four detector pins through delay lines at 125 MHz or DDR input registers, packets over the serial port,
    and its phase actuator on a serial DAC and a sigma-delta pin.

    What lies between pin and node delays all channels alike by a constant number of clocks (two behind DDR inputs, where one more
    register lets metastable samples settle), an offset of the node's time that no measurement between its channels sees.
    Raises ValueError for another front end, or more than the part holds.
    """

    channels = len(CHANNELS)
    parts: ClassVar[dict[str, re.Pattern[str]]] = {"herald_path": HERALD_PATH}
    """Parts whose area the manifest states, by the names of their cells."""

    def __init__(self, board: Board, options: TaggerOptions, *, build_hash: int, link: BoardLink = SERIAL) -> None:
        if options.frontend not in ("ddr", "delay line") or options.channels != self.channels or options.lanes != 1:
            raise ValueError(
                f"server: front end {options.frontend!r} with {options.channels} channels and {options.lanes} lanes; "
                f"allowed: 'ddr' or 'delay line', {self.channels} channels, 1 lane"
            )
        if options.merge != "one":
            raise ValueError(f"server: merge {options.merge!r}; allowed: 'one', its framer takes a tag per clock")
        self._board = board
        self.options = options
        self.link = link
        self._lines = LineInputs(board.part, options) if options.frontend == "delay line" else None
        self.delay_lines: dict[Site, int] = self._lines.delay_lines if self._lines else {}
        self._node = ServerNode(
            frontend=options.frontend,
            chains=options.chains,
            taps=options.taps,
            build_hash=build_hash,
            actuator_bits=DAC_BITS if board.actuator_pins is not None else 0,
            actuator_follows=False,
        )
        super().__init__({})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.node = node = self._node
        if self._lines is not None:
            m.submodules.clock = BoardClock(lanes=1, net=self.link.kind == "udp")
            connect_lines(m, platform, node, self._lines)
        else:
            m.submodules.clock = BoardClock(net=self.link.kind == "udp")
            m.submodules.pins = pins = io.DDRBuffer("i", platform.request("detectors", dir="-"))
            for channel in range(len(CHANNELS)):
                m.d.sync += node.i_samples[channel].eq(Cat(pins.i[0][channel], pins.i[1][channel]))
        if self._board.actuator_pins is not None:
            connect_actuator(m, platform, node)
        connect_link(m, platform, self._board, node, self.link)
        return m


class TimeTaggerTop(wiring.Component):
    """The time tagger on a board: pins through delay lines or four-fold oversampling, packets over the serial port.

    What lies between pin and node delays all channels alike by a constant number of clocks, an offset of the node's time.
    ``delay_lines``: site and taps of every chain, which the build places and proves.
    """

    def __init__(self, board: Board, options: TaggerOptions, *, build_hash: int, link: BoardLink = SERIAL) -> None:
        if board.family is ICE40 and not (options.small and options.frontend == "oversampling"):
            raise ValueError(
                f"time tagger of {options.channels} channels with front end {options.frontend!r}; allowed on {board.part}: a small one, "
                "oversampled"
            )
        if board.samples == "paired" and options.frontend != "oversampling":
            raise ValueError(f"time tagger with front end {options.frontend!r}; allowed: 'oversampling'")
        self._board = board
        self.options = options
        self.link = link
        self.channels = options.channels
        self._lines = LineInputs(board.part, options) if options.frontend == "delay line" else None
        self.delay_lines: dict[Site, int] = self._lines.delay_lines if self._lines else {}
        self._node = TimeTaggerNode(
            build_hash=build_hash,
            clock_hz=board.clock_hz,
            tdc_clock=options.frontend == "delay line" and options.lanes == 2,
            **vars(options),
        )
        super().__init__({})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.node = node = self._node
        if self._lines is not None:
            m.submodules.clock = BoardClock(lanes=self.options.lanes, net=self.link.kind == "udp")
            connect_lines(m, platform, node, self._lines)
        elif self._board.family is ICE40:
            m.submodules.clock = clock = Ice40Clock(clock_hz=self._board.clock_hz)
            m.submodules.samples = samples = Ice40Samples(platform.request("detectors", dir="-"))
            m.d.comb += [samples.i_take.eq(clock.o_take), *connect_samples(node, samples.o_samples)]
        elif self._board.samples == "paired":
            m.submodules.clock = PairedClock(usb=self.link.kind == "usb")
            m.submodules.samples = paired = PairedPins(platform.request("detectors", dir="-"))
            m.d.comb += connect_samples(node, paired.o_samples)
        else:
            m.submodules.pins = pins = io.Buffer("i", platform.request("detectors", dir="-"))
            m.submodules.clock = clock = OversamplingClock()
            m.submodules.samples = samples = OversampledPins(channels=self.channels)
            m.d.comb += [
                samples.i_pins.eq(pins.i),
                samples.i_edge_clock.eq(clock.o_edge_clock),
                samples.i_reset.eq(clock.o_reset),
                *connect_samples(node, samples.o_samples),
            ]
        m.submodules.pulser_pin = pulser = io.FFBuffer("o", platform.request("pulser", dir="-"))
        m.d.comb += pulser.o.eq(node.o_pulser)
        connect_link(m, platform, self._board, node, self.link, small=self.options.small)
        connect_port_volts(m, platform, self._board)
        return m


def make_top(
    node: str,
    board: Board,
    *,
    build_hash: int,
    options: TaggerOptions | ClientOptions | None = None,
    link: BoardLink | None = None,
) -> ServerTop | TimeTaggerTop | ClientTop:
    """The top of ``node`` for ``board``; ``options`` of its front end or its lanes and ``link``, the way of its packets: its own if None.

    TwinphaseError for a node that the board has no top of, or options that are another node's or that its part cannot hold.
    """
    if node not in board.nodes:
        raise TwinphaseError(f"node {node!r} has no top for {board.name}; allowed: {', '.join(board.nodes)}")
    wanted = options if options is not None else board.nodes[node]
    link = BoardLink(kind=board.link) if link is None else link
    if (node == "client") != isinstance(wanted, ClientOptions):
        raise TwinphaseError(
            f"node {node!r} was given {type(wanted).__name__}; allowed: {type(board.nodes[node]).__name__}"
        )
    try:
        check_link(board, wanted, link)
        if isinstance(wanted, ClientOptions):
            return ClientTop(board, wanted, build_hash=build_hash, link=link)
        return (ServerTop if node == "server" else TimeTaggerTop)(board, wanted, build_hash=build_hash, link=link)
    except ValueError as error:
        raise TwinphaseError(f"{board.name}: {error}") from error
