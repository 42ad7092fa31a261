"""The time tagger: edges of many channels in, tags with every edge accounted for out."""

from dataclasses import replace

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.core.along import delayed
from twinphase_hdl.core.counterbank import CounterBank
from twinphase_hdl.core.shortbank import ShortBank
from twinphase_hdl.core.splittimebase import SplitTimebase
from twinphase_hdl.core.steps import Balance
from twinphase_hdl.core.timebase import Timebase
from twinphase_hdl.link.earlyknown import EarlyKnownBank
from twinphase_hdl.link.earlytables import EarlyTableBank
from twinphase_hdl.link.link import NodeLink
from twinphase_hdl.timetag.countdown import CountdownPulser
from twinphase_hdl.timetag.delayline import DelayLineFrontEnd
from twinphase_hdl.timetag.frontend import SimulationFrontEnd
from twinphase_hdl.timetag.oversample import OversamplingFrontEnd
from twinphase_hdl.timetag.pulser import Pulser
from twinphase_hdl.timetag.source import TagSource
from twinphase_hdl.timetag.turnsource import TurnSource
from twinphase_spec import tagger, units
from twinphase_spec.packets import Stream
from twinphase_spec.register_map import Register, RegisterMap
from twinphase_spec.registers import TIMETAGGER, TIMETAGGER_CHANNELS

from .common import NODE_MEMBERS, connect_bus
from .lines import connect_lines, connect_pins, frontend_constants, line_members, pin_members
from .selection import Selected, one_by_one, pass_all, select

CONFIG = ("delay", "dead_time", "veto_from", "veto_to", "divider")
"""Registers of every channel that the input channels take as they are."""
REGISTERED_CLOCKS = 2
"""Up to that many clocks the clock count waits for the edges in registers; for more, it is smaller to subtract them."""
REMOVED = ("overrun", "dead", "vetoed", "divided", "dropped", "gated", "filtered", "tags")
"""Where an edge ends."""


def counter_steps(lanes: int) -> dict[str, range | Balance]:
    """What each counter of the map but the clock can move by in a clock; what is in flight is what came less what went."""
    several = {"seen", "overrun", "uncalibrated", "runts"}
    steps: dict[str, range | Balance] = {}
    for name in TIMETAGGER.counter_names[1:]:
        kind, _, channel = name.rpartition("_")
        if kind == "in_flight":
            steps[name] = Balance(
                came=(f"seen_{channel}", f"generated_{channel}"),
                went=tuple(f"{removed}_{channel}" for removed in REMOVED),
            )
        else:
            steps[name] = range(lanes + 1 if kind in several else 2)
    return steps


PART_REGISTERS = ("FILTER_", "WINDOW_", "WALK_", "COINCIDENCE_", "CAL_")
"""What the names of the registers of parts begin with that a small build leaves out, but for the pins' state in CAL_STATUS."""


def map_of(options: tagger.TaggerOptions) -> RegisterMap:
    """The registers that a build has. A small one has none of channels and parts that it leaves out: they read 0 and ignore writes."""
    if not options.small:
        return TIMETAGGER

    def is_there(register: Register) -> bool:
        kind, _, number = register.name.rpartition("_")
        if kind in (*map(str.upper, CONFIG), "CAL_STATUS", "SCALE"):
            return int(number) < options.channels
        return not register.name.startswith(PART_REGISTERS)

    return replace(TIMETAGGER, registers=tuple(filter(is_there, TIMETAGGER.registers)))


class TimeTaggerNode(wiring.Component):
    """Front end, input channels, merge, selector, coincidences and counters; all of docs/timetagger.md.

    Parameters are those of `twinphase_spec.tagger.TaggerOptions`, with at most as many channels as the register map has. ``tdc_clock``:
    of delay lines with 2 lanes, see `DelayLineFrontEnd`.

    Members
    -------
    rx, tx, sim_load, sim_anchor, o_idle, o_clock : see `twinphase_hdl.nodes`.
    i_valid, i_fine : frontend "simulation": edges of this clock and ticks into it, index channel * lanes + lane.
    i_samples : frontend "oversampling": four samples of each pin per clock, the earliest in bit 0.
    i_valid, i_polarity, i_code : frontend "delay line": see `lines.line_members`.
    i_level, i_runt, o_source, o_invert : see `lines.pin_members`.
    o_pulser : Out(1) - the test pulser's output pin.

    Latency: an edge belongs to the clock in which it is presented, whatever the front end; see docs/timetagger.md. Throughput: a tag
    per clock, whatever the merge. Overflow: counted (register map, packet headers).
    """

    def __init__(
        self, *, build_hash: int = 0, clock_hz: int = units.CLOCK_HZ, tdc_clock: bool = False, **options: object
    ):
        self.options = wanted = tagger.TaggerOptions(**options)
        channels, lanes = wanted.channels, wanted.lanes
        if not 2 <= channels <= TIMETAGGER_CHANNELS:
            raise ValueError(f"TimeTaggerNode: channels is {channels}; allowed: 2 to {TIMETAGGER_CHANNELS}")
        if wanted.waiting_tags * tagger.SLOWEST_CLOCKS >= 1 << tagger.HOLD_BITS:
            raise ValueError(
                f"TimeTaggerNode: queues of {wanted.waiting_tags} tags, {wanted.depth} per channel; allowed: less than "
                f"{(1 << tagger.HOLD_BITS) // tagger.SLOWEST_CLOCKS} tags in all, so that none waits for longer than times compare"
            )
        if tdc_clock and wanted.frontend != "delay line":
            raise ValueError(f"TimeTaggerNode: tdc_clock with frontend {wanted.frontend!r}; allowed: 'delay line'")
        if wanted.frontend == "simulation":
            self._frontend = SimulationFrontEnd(channels=channels, lanes=lanes)
            inputs = {
                "i_valid": In(channels * lanes),
                "i_fine": In(data.ArrayLayout(units.FRACTION_BITS, channels * lanes)),
            }
        elif wanted.frontend == "oversampling":
            self._frontend = OversamplingFrontEnd(channels=channels, lanes=lanes)
            inputs = {"i_samples": In(data.ArrayLayout(4, channels))}
        elif wanted.frontend == "delay line":
            lines = {"channels": channels, "lanes": lanes, "chains": wanted.chains, "taps": wanted.taps}
            self._frontend = DelayLineFrontEnd(**lines, tdc_clock=tdc_clock)
            inputs = line_members(**lines)
        else:
            raise ValueError(
                f"TimeTaggerNode: frontend is {wanted.frontend!r}; allowed: 'simulation', 'oversampling' or 'delay line'"
            )
        self._inputs = tuple(inputs)
        self._bank = (EarlyTableBank if wanted.small else EarlyKnownBank)(
            map_of(wanted),
            build_hash=build_hash,
            clock_hz=clock_hz,
            constants={
                "CHANNELS": channels,
                "LANES": lanes,
                "PARTS": wanted.parts,
                "MAP_HASH": TIMETAGGER.hash,
                **frontend_constants(wanted.frontend, chains=wanted.chains, taps=wanted.taps),
            },
            strobes=[f"DIVIDER_{channel}" for channel in range(channels)],
        )
        super().__init__({**NODE_MEMBERS, **inputs, **pin_members(channels=channels, lanes=lanes), "o_pulser": Out(1)})

    def elaborate(self, platform):
        m = Module()
        channels, lanes = range(self.options.channels), self.options.lanes
        m.submodules.frontend = frontend = self._frontend
        m.submodules.bank = bank = self._bank
        small = self.options.small
        m.submodules.timebase = timebase = SplitTimebase() if small else Timebase()
        m.submodules.pulser = pulser = CountdownPulser() if small else Pulser()
        m.submodules.source = source = self._source()
        steps = counter_steps(lanes)
        if small:
            absent = (TIMETAGGER_CHANNELS - self.options.channels) * len(tagger.CHANNEL_COUNTERS)
            counters = ShortBank(steps=dict([*steps.items()][:-absent]))
        else:
            counters = CounterBank(steps=steps)
        m.submodules.link = link = NodeLink(register_map=TIMETAGGER, send=(Stream.TAG,), snapshot=counters, small=small)
        wiring.connect(m, wiring.flipped(self.rx), link.rx)
        wiring.connect(m, link.tx, wiring.flipped(self.tx))
        connect_bus(m, self, bank, link, timebase)
        connect_pins(m, self, bank)

        # Pins to edges.
        if self.options.frontend == "delay line":
            connect_lines(m, self, bank, frontend)
            m.d.comb += [source.i.fine.eq(frontend.o.fine), source.i.valid.eq(frontend.o.valid)]
        else:
            m.d.comb += [getattr(frontend, name).eq(getattr(self, name)) for name in self._inputs]
            m.d.comb += [getattr(bank, f"i_cal_status_{channel}")[4].eq(self.i_level[channel]) for channel in channels]
            if self.options.frontend == "oversampling":
                m.d.comb += frontend.i_invert.eq(bank.o_edge)
            wiring.connect(m, frontend.o, source.i)
        clock = timebase.o_anchor.clock
        if isinstance(source, TurnSource):
            m.d.comb += source.i_now.eq(clock)
            clock = delayed(m, clock[: len(source.i_clock)], frontend.latency, "edge_clock")
        elif frontend.latency <= REGISTERED_CLOCKS:
            clock = delayed(m, clock, frontend.latency, "edge_clock")
        else:
            edge_clock = Signal.like(clock)
            m.d.sync += edge_clock.eq(clock - (frontend.latency - 1))
            clock = edge_clock
        pulsed = Signal(len(channels))
        m.d.comb += [
            pulsed.eq(bank.o_pulser_mask),
            pulser.i_enable.eq(pulsed.any()),
            pulser.i_period.eq(bank.o_pulser_period),
            pulser.i_fine.eq(bank.o_pulser_fine),
            self.o_pulser.eq(pulser.o_pin),
        ]

        # Edges to tags.
        walk_channel = Signal(range(TIMETAGGER.memory("WALK").words // tagger.WALK_ENTRIES))
        m.d.comb += [
            source.i_clock.eq(clock),
            source.i_pulse.eq(pulser.o_pulse),
            source.i_pulse_fine.eq(pulser.o_fine),
        ]
        if isinstance(source, TagSource):
            m.d.comb += [
                source.i_walk_shift.eq(bank.o_walk_shift),
                Cat(source.i_walk_address, walk_channel).eq(bank.o_walk_address),
                source.i_walk_data.eq(bank.o_walk_data),
                *(source.i_walk_write[c].eq(bank.o_walk_write & (walk_channel == c)) for c in channels),
            ]
        for channel in channels:
            m.d.comb += [
                *(getattr(source, f"i_{name}")[channel].eq(getattr(bank, f"o_{name}_{channel}")) for name in CONFIG),
                source.i_enable[channel].eq(bank.o_channel_enable[channel]),
                source.i_pulser[channel].eq(pulsed[channel]),
                source.i_divider_restart[channel].eq(getattr(bank, f"o_divider_{channel}_written")),
            ]

        # Tags that are sent on.
        waiting = []
        if isinstance(source, TurnSource):
            selected = pass_all(m, source, link.send_tag)
        else:
            tags = source
            if self.options.merge == "wide":
                tags = one_by_one(m, source)
                waiting.append(tags.o_idle)
            selected = select(m, bank, tags, link.send_tag, channels=self.options.channels)
        self._count(m, counters, frontend, source, selected, link.o_dropped)
        m.d.comb += self.o_idle.eq(
            Cat(
                link.o_idle,
                source.o_idle,
                *waiting,
                *selected.idle,
                ~pulser.i_enable & pulser.o_idle,
                *([frontend.o_idle] if self.options.frontend == "delay line" else []),
            ).all()
        )
        return m

    def _source(self) -> TagSource | TurnSource:
        """What makes tags of edges."""
        if self.options.small:
            return TurnSource(depth=self.options.depth, burst=self.options.burst)
        options = self.options
        return TagSource(channels=options.channels, lanes=options.lanes, depth=options.depth, merge=options.merge)

    def _count(self, m: Module, counters, frontend, source, selected: Selected, malformed) -> None:
        """Steps of all counters, in the clock after the strobes, so that the identity holds at every clock."""
        steps = counters.i_steps
        m.d.sync += steps["malformed"].eq(malformed)
        m.d.sync += [steps[f"virtual_{v}"].eq(selected.virtual[v]) for v in range(tagger.COINCIDENCES)]

        def of(event: tuple[Value, Value], channel: int):
            strobe, number = event
            return strobe & (number == channel)

        for channel in range(self.options.channels):
            kinds = {
                **{
                    name: getattr(source, f"o_{name}")[channel]
                    for name in ("seen", "generated", "overrun", "dead", "vetoed", "divided", "dropped")
                },
                "gated": of(selected.gated, channel),
                "filtered": of(selected.filtered, channel),
                "tags": of(selected.left, channel),
                "runts": self.i_runt[channel],
            }
            if self.options.frontend == "delay line":
                kinds["uncalibrated"] = Mux(self._bank.o_channel_enable[channel], frontend.o_uncalibrated[channel], 0)
            m.d.sync += [steps[f"{name}_{channel}"].eq(value) for name, value in kinds.items()]
