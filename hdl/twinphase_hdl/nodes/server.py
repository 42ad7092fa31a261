"""The server node of one pair: four detector streams in, packets out."""

from typing import Literal

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.core.framer import Framer
from twinphase_hdl.core.rarecounts import RareCounts
from twinphase_hdl.core.rooms import CONTROL, Rooms
from twinphase_hdl.core.timebase import Timebase
from twinphase_hdl.link.link import NodeLink, link_rooms
from twinphase_hdl.link.snapshot import Snapshot
from twinphase_hdl.link.widebank import WideBank
from twinphase_hdl.phase.record import RecordRegister
from twinphase_hdl.phase.tracker import PhaseTracker
from twinphase_hdl.sift.arrival import ArrivalCounts
from twinphase_hdl.sift.flushgate import FlushGate
from twinphase_hdl.sift.herald import HeraldFinder
from twinphase_hdl.sift.join import PsiJoin
from twinphase_hdl.sift.live import LiveWindows
from twinphase_hdl.timetag.delayline import DelayLineFrontEnd
from twinphase_hdl.timetag.frontend import DdrFrontEnd, SimulationFrontEnd
from twinphase_hdl.timetag.tagger import Tagger, channel_rooms
from twinphase_spec import actuator, tracking, units
from twinphase_spec.packets import Stream
from twinphase_spec.register_groups import TRACK_EVENTS, TRACK_STATES
from twinphase_spec.registers import CHANNELS, SERVER
from twinphase_spec.smoothing import PsiSource

from .actuation import ROOM as DRIVE
from .common import NODE_MEMBERS, connect_core
from .heraldout import heralds_out, heralds_wait
from .lines import connect_lines, connect_pins, frontend_constants, line_members, pin_members
from .liveway import live_way
from .phaseway import PARTS as PHASE_PARTS
from .phaseway import PhaseWay, phase_way
from .steps import count_steps

SENT = (
    Stream.TAG,
    Stream.PHASE,
    Stream.DPHASE,
    Stream.HERALD,
    Stream.PSI,
    Stream.TRACK,
    Stream.PSI_CAUSAL,
    Stream.HERALD_CODE,
    Stream.ARRIVAL,
    Stream.LIVE,
)
PARTS = ("tagger", "framer", "tracker", "finder", "join", *PHASE_PARTS)
"""Rooms beside those of the link."""


class ServerNode(wiring.Component):
    """Edges to tags, phases, heralds and psi; all of docs/contract.md's and docs/phase.md's server.

    Members
    -------
    rx, tx, sim_load, sim_anchor, o_idle, o_clock : see `twinphase_hdl.nodes`.
    i_valid, i_fine : In(4), In(ArrayLayout(13, 4)) - frontend "simulation": edges of this clock, ticks into it.
    i_samples : In(ArrayLayout(2, 4)) - frontend "ddr": each pin in the first (bit 0) and second half of a clock.
    i_valid, i_polarity, i_code : frontend "delay line", at 125 MHz (one lane): see `lines.line_members`.
    i_level, i_runt, o_source, o_invert : frontend "delay line": see `lines.pin_members`.
    o_code, o_acting, o_blank : Out(actuator_bits), Out(17), Out(1), only with ``actuator_bits`` - of `Actuator`.
    i_taken : In(1), only if not ``actuator_follows`` - strobe: the DAC's driver takes o_code.
    o_awake : Out(20, 21 with an actuator), only with ``rooms`` - which rooms are awake (`Rooms`).
    o_wait : Out(16), only with ``rooms`` - while o_idle is high, it stays so for that many clocks if the time alone goes on.

    Throughput: a tag per clock. Overflow: counted (register map, packet headers).
    """

    def __init__(
        self,
        *,
        frontend: Literal["simulation", "ddr", "delay line"] = "simulation",
        chains: int = 1,
        taps: int = 256,
        build_hash: int = 0,
        clock_hz: int = units.CLOCK_HZ,
        rooms: bool = False,
        actuator_bits: int = 0,
        actuator_follows: bool = True,
    ):
        channels = len(CHANNELS)
        if frontend == "simulation":
            self._frontend = SimulationFrontEnd(channels=channels)
            inputs = {"i_valid": In(channels), "i_fine": In(data.ArrayLayout(units.FRACTION_BITS, channels))}
        elif frontend == "ddr":
            self._frontend = DdrFrontEnd(channels=channels)
            inputs = {"i_samples": In(data.ArrayLayout(2, channels))}
        elif frontend == "delay line":
            lines = {"channels": channels, "lanes": 1, "chains": chains, "taps": taps}
            self._frontend = DelayLineFrontEnd(**lines)
            inputs = {**line_members(**lines), **pin_members(channels=channels, lanes=1)}
        else:
            raise ValueError(f"ServerNode: frontend is {frontend!r}; allowed: 'simulation', 'ddr' or 'delay line'")
        self._inputs = tuple(inputs)
        self._lines = frontend == "delay line"
        self._bank = WideBank(
            SERVER,
            build_hash=build_hash,
            clock_hz=clock_hz,
            constants={**frontend_constants(frontend, chains=chains, taps=taps), "ACT_BITS": actuator_bits},
        )
        self._actuator_bits = actuator_bits
        outputs = {}
        if actuator_bits:
            inputs |= {} if actuator_follows else {"i_taken": In(1)}
            outputs = {"o_code": Out(actuator_bits), "o_acting": Out(actuator.LIMIT_BITS), "o_blank": Out(1)}
        drive = (DRIVE,) if actuator_bits else ()
        self._rooms = Rooms((*PARTS, *drive, *channel_rooms(channels), *link_rooms(SENT)), separate=rooms)
        super().__init__(
            {
                **NODE_MEMBERS,
                **inputs,
                **outputs,
                **({"o_awake": Out(len(self._rooms)), "o_wait": Out(tracking.EPOCH_BITS)} if rooms else {}),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.frontend = frontend = self._frontend
        bank = self._bank
        tagger = Tagger(channels=len(CHANNELS), frontend_latency=frontend.latency, rooms=self._rooms)
        framer, live = Framer(), LiveWindows()
        tracker = PhaseTracker()
        finder = HeraldFinder()
        join = PsiJoin()
        arrival = ArrivalCounts()
        self._rooms.put(m, CONTROL, bank=bank)
        m.submodules.timebase = timebase = Timebase()
        self._rooms.put(m, "tagger", tagger.o_idle, tagger=tagger)
        framer_rests = ~(framer.i.valid | framer.o_busy)
        self._rooms.put(m, "framer", framer_rests & live.o_idle, framer=framer, live=live)
        self._rooms.put(m, "tracker", tracker.o_idle & arrival.o_idle, tracker=tracker, arrival=arrival)
        self._rooms.put(m, "finder", finder.o_idle, finder=finder)
        self._rooms.put(m, "join", join.o_idle, join=join)
        way = phase_way(m, self._rooms, bank, timebase, framer, actuator_bits=self._actuator_bits)
        m.submodules.gate = gate = FlushGate(waiting_max=finder.waiting_max)
        m.submodules.causal = causal = RecordRegister(record=Stream.PSI_CAUSAL)
        latched = len(SERVER.counters) - len(TRACK_EVENTS)
        snapshot = Snapshot(counters=latched, rare=len(TRACK_EVENTS))
        m.submodules.link = link = NodeLink(register_map=SERVER, send=SENT, rooms=self._rooms, snapshot=snapshot)
        m.submodules.rare = rare = RareCounts(
            counters=len(TRACK_EVENTS), levels=len(TRACK_STATES), first_word=2 * latched
        )
        wiring.connect(m, wiring.flipped(self.rx), link.rx)
        wiring.connect(m, link.tx, wiring.flipped(self.tx))

        # Pins to tags.
        if self._lines:
            connect_pins(m, self, bank)
            connect_lines(m, self, bank, frontend)
        else:
            m.d.comb += [getattr(frontend, name).eq(getattr(self, name)) for name in self._inputs]
        wiring.connect(m, frontend.o, tagger.i)
        m.d.comb += [tagger.i_clock.eq(timebase.o_anchor.clock), tagger.i_enable.eq(bank.o_channel_enable)]
        for channel, name in enumerate(CHANNELS):
            m.d.comb += [
                tagger.i_delay[channel].eq(getattr(bank, f"o_delay_{name.lower()}")),
                tagger.i_dead_time[channel].eq(getattr(bank, f"o_dead_time_{name.lower()}")),
            ]

        # Tags to the link and to clicks.
        for sink in (link.send_tag, framer.i):
            m.d.comb += [sink.valid.eq(tagger.o.valid), sink.payload.eq(tagger.o.payload)]
        m.d.comb += [
            framer.i_anchor.eq(timebase.o_anchor),
            framer.i_framing.eq(timebase.o_framing),
            framer.i_config.eq(timebase.i_config),
            *(
                getattr(framer, f"i_{gate}").eq(getattr(bank, f"o_{gate}"))
                for gate in ("gate_start_q", "gate_stop_q", "gate_start_r", "gate_stop_r")
            ),
            framer.i_table_address.eq(bank.o_frame_table_address),
            framer.i_table_data.eq(bank.o_frame_table_data),
            framer.i_table_en.eq(bank.o_frame_table_write),
        ]

        # Clicks to the phases of windows, and with their marks to heralds, if their windows are live.
        may_herald = live_way(m, live, bank, timebase, framer, way, link)
        for sink, click, valid in (
            (tracker, framer.o, framer.o_valid & framer.o.framed),
            (arrival, framer.o, framer.o_valid),
            (finder, way.marks.o, way.marks.o_valid & may_herald),
        ):
            m.d.comb += [sink.i_run.eq(bank.o_control), sink.i.eq(click), sink.i_valid.eq(valid)]
        smoothed = bank.o_psi_source == PsiSource.CLICKS
        m.d.comb += [
            tracker.i_close.eq(timebase.o_close),
            tracker.i_anchor.eq(timebase.o_anchor),
            tracker.i_swap.eq(bank.o_swap),
            tracker.i_ratio.eq(bank.o_ratio),
            arrival.i_close.eq(timebase.o_close),
            arrival.i_period.eq(bank.o_period),
            arrival.i_windows.eq(bank.o_arrival_windows),
            finder.i_swap.eq(bank.o_swap[0]),
            finder.i_period.eq(bank.o_period),
            join.i_run.eq(bank.o_control),
            join.i_window.eq(tracker.o_window),
            join.i_window_valid.eq(tracker.o_window_valid),
            join.i_dwindow.eq(tracker.o_dwindow),
            join.i_dwindow_valid.eq(tracker.o_dwindow_valid),
            gate.i_flush.eq(join.o_flush | way.join.o_flush),
            *(gate.i_waiting.eq(finder.o_waiting), gate.i_left.eq(finder.o.valid & finder.o.ready)),
            *(link.i_flush.eq(gate.o_flush), gate.i_flushed.eq(link.o_flushed)),
            link.send_psi.valid.eq(Mux(smoothed, way.join.o.valid, join.o.valid)),
            link.send_psi.payload.eq(Mux(smoothed, way.join.o.payload.as_value(), join.o.payload.as_value())),
        ]
        heralds_out(m, bank, finder, causal, link)
        unphased = heralds_wait(m, bank, finder, join, way.join)
        for waiting, chosen in ((join, ~smoothed), (way.join, smoothed)):
            m.d.comb += [waiting.i_flushed.eq(gate.o_flushed), waiting.o.ready.eq(link.send_psi.ready & chosen)]
        wiring.connect(m, tracker.o_phase, link.send_phase)
        wiring.connect(m, tracker.o_dphase, link.send_dphase)
        wiring.connect(m, way.tracker.o_record, link.send_track)
        wiring.connect(m, causal.o, link.send_psi_causal)
        wiring.connect(m, arrival.o, link.send_arrival)

        if way.actuation is not None:
            part = way.actuation.actuator
            m.d.comb += part.i_taken.eq(getattr(self, "i_taken", 1))
            m.d.comb += [self.o_code.eq(part.o_code), self.o_acting.eq(part.o_acting), self.o_blank.eq(part.o_blank)]

        # Counters.
        counters = {
            f"{kind}_{name}": getattr(tagger, f"o_{kind}")[channel]
            for channel, name in enumerate(CHANNELS)
            for kind in ("seen", "dead", "dropped", "tags", "in_flight")
        }
        unsent = Signal()
        m.d.sync += unsent.eq(tracker.o_lost | way.tracker.o_lost | causal.o_lost | arrival.o_lost)  # from far apart
        strobes = {
            **{
                name: getattr(framer, f"o_{name}") & framer.o_valid
                for name in ("unframed", "background", "signal", "reference_q", "reference_r", "other")
            },
            **{name: getattr(finder, f"o_{name}") for name in ("heralds", "multiple", "unjoined")},
            "unphased": unphased,
            "unsent": unsent,
            "not_live": live.o_not_live,
            "untracked": way.feed.o_untracked,
            **dict.fromkeys(("flybacks", "blanked", "limited"), Const(0)),
            **self._actuator_strobes(way),
            **{
                f"{kind}_{name}": self._line_strobe(kind, channel)
                for channel, name in enumerate(CHANNELS)
                for kind in ("uncalibrated", "runts")
            },
        }
        counters |= count_steps(m, strobes)
        counters |= {name: rare.o_levels[c] for c, (name, _) in enumerate(TRACK_STATES)}
        connect_core(m, self, SERVER, bank, link, timebase, counters)
        m.d.comb += [
            *(rare.i_steps.eq(way.tracker.o_events), rare.i_levels.eq(way.tracker.o_locked)),
            *(rare.i_hold.eq(snapshot.o_hold), snapshot.i_settled.eq(rare.o_settled)),
            *(rare.i_address.eq(snapshot.o_word), snapshot.i_word.eq(rare.o_data)),
            bank.i_track_locked.eq(way.tracker.o_locked),
        ]

        own_idle = rare.o_settled & ~way.tracker.o_events.any() & self._lines_idle
        if hasattr(self, "o_awake"):
            m.d.comb += [self.o_awake.eq(self._rooms.awake), self.o_idle.eq(~self.o_awake.any() & own_idle)]
            m.d.comb += self.o_wait.eq(way.feed.o_wait)
        else:
            own = (
                tagger.o_idle,
                ~framer.o_busy,
                live.o_idle,
                tracker.o_idle,
                finder.o_idle,
                join.o_idle,
                arrival.o_idle,
                link.o_idle,
            )
            quiet = Cat(*own, *way.idle)
            m.d.comb += self.o_idle.eq(quiet.all() & own_idle)
        return m

    @property
    def _lines_idle(self) -> Value:
        return self._frontend.o_idle if self._lines else Const(1)

    def _actuator_strobes(self, way: PhaseWay) -> dict[str, Value]:
        if way.actuation is None:
            return {}
        part = way.actuation.actuator
        return {"flybacks": part.o_flyback, "blanked": part.o_blanked, "limited": part.o_limited}

    def _line_strobe(self, kind: str, channel: int) -> Value:
        """A hit of an enabled channel that gave no edge for want of a table; a runt."""
        if not self._lines:
            return Const(0)
        if kind == "runts":
            return self.i_runt[channel]
        return self._frontend.o_uncalibrated[channel] & self._bank.o_channel_enable[channel]
