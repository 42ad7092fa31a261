"""Small circuits around components for the benches, and the two shelves."""

from unittest import mock

from amaranth.hdl import Assert, Fragment, Module, ResetInserter, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from runner import Shelf
from twinphase_hdl.core.divide import ConstantDivide
from twinphase_hdl.core.framer import Framer
from twinphase_hdl.core.queue import Queue
from twinphase_hdl.core.timebase import Timebase
from twinphase_hdl.phase.cordic import Cordic
from twinphase_hdl.phase.counts import ReferenceCounts
from twinphase_hdl.phase.multiply import PhaseScaler
from twinphase_hdl.phase.tracker import PhaseTracker
from twinphase_hdl.sift.herald import HeraldFinder
from twinphase_hdl.sift.join import PsiJoin
from twinphase_hdl.sift.pendingroom import PendingRoom
from twinphase_hdl.timetag.channel import Channel
from twinphase_hdl.timetag.frontend import DdrFrontEnd, SimulationFrontEnd
from twinphase_hdl.timetag.merge import Merge
from twinphase_hdl.timetag.source import TagSource
from twinphase_hdl.timetag.tagger import Tagger
from twinphase_hdl.types import Anchor, GridConfig, Herald, Tag, record_words
from twinphase_spec import fixed, frame, tagger, units
from twinphase_spec.packets import Stream

SMALL_DEPTH = 8
SMALL_PENDING = 16
BOUNDED_COUNT, BOUNDED_TOTAL = 21, 60

DIVIDERS = {
    "pulse_divide": {
        "x_max": ((frame.LAG_CLOCKS + 512) * units.TICKS_PER_CLOCK + frame.MAX_PERIOD_TICKS + 1) << 32,
        "d_min": frame.MIN_PERIOD_TICKS << 32,
        "d_max": frame.MAX_PERIOD_TICKS << 32,
        "q_bits": 16,
        "shift": frame.PULSE_RECIPROCAL_SHIFT,
        "add_bits": frame.FRAME_PULSE_BITS + 1,
    },
    "frame_divide": {
        "x_max": (1 << frame.FRAME_PULSE_BITS) + (1 << 16),
        "d_min": frame.MIN_FRAME_PULSES,
        "d_max": (1 << frame.FRAME_PULSE_BITS) - 1,
        "q_bits": 13,
        "shift": frame.FRAME_RECIPROCAL_SHIFT,
    },
    "slot_divide": {
        "x_max": 1 << frame.FRAME_PULSE_BITS,
        "d_min": 1,
        "d_max": (1 << frame.SLOT_PULSES_BITS) - 1,
        "q_bits": 15,
        "shift": frame.SLOT_RECIPROCAL_SHIFT,
    },
    "small_divide": {"x_max": 200, "d_min": 3, "d_max": 17, "q_bits": 7, "shift": 8},
}
"""What the framer divides by period, frame and slot, and one small enough for every case."""


SOURCE_CHANNELS = {"source": (4, 1), "lanes": (3, 2), "sixteen": (16, 1), "wide": (8, 1)}
"""Channels and lanes of the tag sources."""
SOURCE_DEPTHS = {"source": tagger.QUEUE_DEPTH, "lanes": 16, "sixteen": 64, "wide": 64}
WIDE = ("wide",)
"""Tag sources with two tags per clock."""


def tag_source(name: str) -> TagSource:
    """A tag source of the shelf."""
    channels, lanes = SOURCE_CHANNELS[name]
    return TagSource(
        channels=channels,
        lanes=lanes,
        depth=SOURCE_DEPTHS[name],
        for_proof=True,
        merge="wide" if name in WIDE else "one",
    )


class ChannelRig(wiring.Component):
    """A channel whose head is taken wherever ``i_permit``."""

    def __init__(self, *, depth: int) -> None:
        self.channel = Channel(depth=depth)
        members = {name: self.channel.signature.members[name] for name in self.channel.signature.members}
        del members["i_take"]
        super().__init__({**members, "i_permit": In(1), "o_taken": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.channel = channel = self.channel
        for name, member in self.signature.members.items():
            if name in ("i_permit", "o_taken"):
                continue
            inner, outer = getattr(channel, name), getattr(self, name)
            m.d.comb += inner.eq(outer) if member.flow is In else outer.eq(inner)
        m.d.comb += [self.o_taken.eq(self.i_permit & channel.o_valid), channel.i_take.eq(self.o_taken)]
        return m


class MergeRig(wiring.Component):
    """A merge behind queues that take whatever is pushed; the horizon comes from outside."""

    def __init__(self, *, channels: int, depth: int) -> None:
        self._channels, self._depth = channels, depth
        super().__init__(
            {
                "i_push": In(channels),
                "i_time": In(data.ArrayLayout(units.TIME_BITS, channels)),
                "i_horizon": In(units.TIME_BITS),
                "o": Out(stream.Signature(Tag, always_ready=True)),
                "o_refused": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.merge = merge = Merge(channels=self._channels)
        for i in range(self._channels):
            queue = Queue(width=units.TIME_BITS, depth=self._depth)
            m.submodules[f"queue_{i}"] = queue
            m.d.comb += [
                queue.i_push.eq(self.i_push[i] & ~queue.o_full),
                queue.i_data.eq(self.i_time[i]),
                queue.i_pop.eq(merge.o_take[i]),
                merge.i_valid[i].eq(queue.o_valid),
                merge.i_pending[i].eq(queue.o_pending),
                merge.i_time[i].eq(queue.o_head),
            ]
            with m.If(self.i_push[i] & queue.o_full):
                m.d.comb += self.o_refused.eq(1)
        m.d.comb += merge.i_horizon.eq(self.i_horizon)
        wiring.connect(m, merge.o, wiring.flipped(self.o))
        return m


class LossIdentity(wiring.Component):
    """Asserts ``seen = dead + dropped + tags + in_flight`` of each channel in every clock, and that idle means empty."""

    def __init__(self, tagger: Tagger, channels: int) -> None:
        self._tagger, self._channels = tagger, channels
        super().__init__({})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        tagger = self._tagger
        for i in range(self._channels):
            lost = tagger.o_dead[i] + tagger.o_dropped[i]
            kept = tagger.o_tags[i] + tagger.o_in_flight[i]
            m.d.comb += Assert(
                tagger.o_seen[i] == (lost + kept)[:64], f"channel {i}: seen is not dead + dropped + tags + in flight"
            )
            m.d.comb += Assert(~tagger.o_idle | (tagger.o_in_flight[i] == 0), f"channel {i}: idle with tags in flight")
        return m


class PinTagger(wiring.Component):
    """Double-data-rate pins and their tagger."""

    def __init__(self, *, channels: int) -> None:
        self._channels = channels
        super().__init__(
            {
                "i_samples": In(data.ArrayLayout(2, channels)),
                "i_clock": In(units.CLOCK_BITS),
                "o": Out(stream.Signature(Tag, always_ready=True)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.pins = pins = DdrFrontEnd(channels=self._channels)
        m.submodules.tagger = tagger = Tagger(channels=self._channels, depth=64, frontend_latency=pins.latency)
        m.submodules.identity = LossIdentity(tagger, self._channels)
        wiring.connect(m, pins.o, tagger.i)
        wiring.connect(m, tagger.o, wiring.flipped(self.o))
        m.d.comb += [
            pins.i_samples.eq(self.i_samples),
            tagger.i_clock.eq(self.i_clock),
            tagger.i_enable.eq(-1),
        ]
        return m


class BoundedCounts(wiring.Component):
    """Reference counts of the q band whose bounds are low enough to be reached often."""

    def __init__(self, *, count_max: int, total_max: int) -> None:
        self._bounds = {"COUNT_MAX": count_max, "TOTAL_MAX": total_max}
        self._counts = ReferenceCounts(band="q")
        super().__init__({name: member for name, member in self._counts.signature.members.items()})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        counts = self._counts
        with mock.patch.multiple(fixed, **self._bounds):
            m.submodules.counts = Fragment.get(counts, platform)
        wiring.connect(m, wiring.flipped(self), counts)
        return m


class HeraldRig(wiring.Component):
    """Finder, room and psi join with small queues; phases come from outside."""

    def __init__(self, *, queue_heralds: int, pending_heralds: int) -> None:
        self.finder = HeraldFinder(queue_heralds=queue_heralds)
        self.join = PsiJoin(pending_heralds=pending_heralds)
        finder, join = self.finder.signature.members, self.join.signature.members
        members = {name: finder[name] for name in ("i_run", "i", "i_valid", "i_swap", "i_period", "o")}
        members |= {name: finder[name] for name in ("o_heralds", "o_multiple", "o_unjoined")}
        members |= {name: join[name] for name in ("i_window", "i_window_valid", "i_dwindow", "i_dwindow_valid")}
        members |= {"i_refuse": In(1), **{name: Out(1) for name in ("o_idle", "o_judged", "o_closed", "o_skipped")}}
        super().__init__({**members, "psi": join["o"]})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.finder = finder = self.finder
        m.submodules.join = join = self.join
        m.submodules.room = room = ResetInserter(~self.i_run)(PendingRoom(most=(join.pending_heralds,) * 2))
        m.d.comb += [
            *(
                getattr(finder, name).eq(getattr(self, name))
                for name in ("i_run", "i", "i_valid", "i_swap", "i_period")
            ),
            *(getattr(self, name).eq(getattr(finder, name)) for name in ("o_heralds", "o_multiple", "o_unjoined")),
            *(
                getattr(join, name).eq(getattr(self, name))
                for name in ("i_run", "i_window", "i_window_valid", "i_dwindow", "i_dwindow_valid")
            ),
            join.i_flushed.eq(1),  # heralds leave at once
            *(room.i_comes.eq(finder.o_pending_valid), room.i_leaves.eq(join.o_leaves)),
            finder.i_refuse.eq(room.o_closed & self.i_refuse),
            *(join.i.eq(finder.o_pending), join.i_valid.eq(room.o_enters)),
            *(join.i_number.eq(finder.o_number), join.i_resumes.eq(room.o_resumes)),
            *(self.o_closed.eq(room.o_closed), self.o_skipped.eq(room.o_skipped)),
            self.o_judged.eq(finder.o_heralds | finder.o_multiple | finder.o_unjoined),
            self.o_idle.eq(finder.o_idle & join.o_idle),
        ]
        wiring.connect(m, finder.o, wiring.flipped(self.o))
        wiring.connect(m, join.o, wiring.flipped(self.psi))
        return m


class ServerCore(wiring.Component):
    """The server node without link and registers: edges in, records out."""

    i_config: In(GridConfig)
    i_run: In(1)
    sim_load: In(1)
    sim_anchor: In(Anchor)
    i_valid: In(4)
    i_fine: In(data.ArrayLayout(units.FRACTION_BITS, 4))
    i_enable: In(4)
    i_delay: In(data.ArrayLayout(signed(22), 4))
    i_dead_time: In(data.ArrayLayout(32, 4))
    i_gate_start_q: In(17)
    i_gate_stop_q: In(18)
    i_gate_start_r: In(17)
    i_gate_stop_r: In(18)
    i_table_address: In(frame.TABLE_ADDRESS_BITS)
    i_table_data: In(8)
    i_table_en: In(1)
    i_swap: In(2)
    i_ratio: In(signed(32))
    o_tag: Out(Tag)
    o_tag_valid: Out(1)
    o_dropped: Out(4)
    """Channels whose drop counter has just moved."""
    o_counts: Out(data.ArrayLayout(32, 9))
    """unframed, background, signal, reference_q, reference_r, other, heralds, multiple, unjoined."""
    o_seen: Out(data.ArrayLayout(64, 4))
    o_dead: Out(data.ArrayLayout(64, 4))
    o_drops: Out(data.ArrayLayout(64, 4))
    o_tags: Out(data.ArrayLayout(64, 4))
    phase: Out(stream.Signature(record_words(Stream.PHASE)))
    dphase: Out(stream.Signature(record_words(Stream.DPHASE)))
    herald: Out(stream.Signature(Herald))
    psi: Out(stream.Signature(record_words(Stream.PSI)))
    o_lost: Out(1)
    """A phase record was lost at any time."""
    o_idle: Out(1)
    o_clock: Out(units.CLOCK_BITS)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.frontend = frontend = SimulationFrontEnd(channels=4)
        m.submodules.timebase = timebase = Timebase()
        m.submodules.tagger = tagger = Tagger()
        m.submodules.framer = framer = Framer()
        m.submodules.tracker = tracker = PhaseTracker()
        m.submodules.finder = finder = HeraldFinder()
        m.submodules.join = join = PsiJoin()
        m.submodules.room = room = ResetInserter(~self.i_run)(PendingRoom(most=(join.pending_heralds,) * 2))
        m.submodules.identity = LossIdentity(tagger, 4)
        wiring.connect(m, frontend.o, tagger.i)
        for name in ("i_gate_start_q", "i_gate_stop_q", "i_gate_start_r", "i_gate_stop_r"):
            m.d.comb += getattr(framer, name).eq(getattr(self, name))
        for name in ("i_table_address", "i_table_data", "i_table_en"):
            m.d.comb += getattr(framer, name).eq(getattr(self, name))
        m.d.comb += [
            timebase.i_config.eq(self.i_config),
            timebase.i_run.eq(self.i_run),
            timebase.sim_load.eq(self.sim_load),
            timebase.sim_anchor.eq(self.sim_anchor),
            frontend.i_valid.eq(self.i_valid),
            frontend.i_fine.eq(self.i_fine),
            tagger.i_clock.eq(timebase.o_anchor.clock),
            tagger.i_enable.eq(self.i_enable),
            tagger.i_delay.eq(self.i_delay),
            tagger.i_dead_time.eq(self.i_dead_time),
            framer.i.valid.eq(tagger.o.valid),
            framer.i.payload.eq(tagger.o.payload),
            framer.i_anchor.eq(timebase.o_anchor),
            framer.i_framing.eq(timebase.o_framing),
            framer.i_config.eq(self.i_config),
            tracker.i_run.eq(self.i_run),
            tracker.i.eq(framer.o),
            tracker.i_valid.eq(framer.o_valid & framer.o.framed),
            tracker.i_close.eq(timebase.o_close),
            tracker.i_anchor.eq(timebase.o_anchor),
            tracker.i_swap.eq(self.i_swap),
            tracker.i_ratio.eq(self.i_ratio),
            finder.i_run.eq(self.i_run),
            finder.i.click.eq(framer.o),
            finder.i_valid.eq(framer.o_valid & framer.o.framed),
            finder.i_swap.eq(self.i_swap[0]),
            finder.i_period.eq(self.i_config.period),
            join.i_flushed.eq(1),  # heralds leave at once
            join.i_run.eq(self.i_run),
            *(room.i_comes.eq(finder.o_pending_valid), room.i_leaves.eq(join.o_leaves)),
            finder.i_refuse.eq(room.o_closed),
            *(join.i.eq(finder.o_pending), join.i_valid.eq(room.o_enters)),
            *(join.i_number.eq(finder.o_number), join.i_resumes.eq(room.o_resumes)),
            join.i_window.eq(tracker.o_window),
            join.i_window_valid.eq(tracker.o_window_valid),
            join.i_dwindow.eq(tracker.o_dwindow),
            join.i_dwindow_valid.eq(tracker.o_dwindow_valid),
            self.o_tag.eq(tagger.o.payload),
            self.o_tag_valid.eq(tagger.o.valid),
            self.o_seen.eq(tagger.o_seen),
            self.o_dead.eq(tagger.o_dead),
            self.o_drops.eq(tagger.o_dropped),
            self.o_tags.eq(tagger.o_tags),
            self.o_clock.eq(timebase.o_anchor.clock),
            self.o_idle.eq(tagger.o_idle & ~framer.o_busy & tracker.o_idle & finder.o_idle & join.o_idle),
        ]
        with m.If(tracker.o_lost):
            m.d.sync += self.o_lost.eq(1)
        wiring.connect(m, tracker.o_phase, wiring.flipped(self.phase))
        wiring.connect(m, tracker.o_dphase, wiring.flipped(self.dphase))
        wiring.connect(m, finder.o, wiring.flipped(self.herald))
        wiring.connect(m, join.o, wiring.flipped(self.psi))
        for channel in range(4):
            before = Signal(64, name=f"dropped_before_{channel}")
            m.d.sync += before.eq(tagger.o_dropped[channel])
            m.d.comb += self.o_dropped[channel].eq(before != tagger.o_dropped[channel])
        strobes = [
            *(framer.o_unframed, framer.o_background, framer.o_signal, framer.o_reference_q, framer.o_reference_r),
            *(framer.o_other, finder.o_heralds, finder.o_multiple, finder.o_unjoined),
        ]
        for i, strobe in enumerate(strobes):
            with m.If(strobe):
                m.d.sync += self.o_counts[i].eq(self.o_counts[i] + 1)
        return m


def timetag_shelf() -> Shelf:
    """core and timetag."""
    return Shelf(
        {
            "timebase": Timebase(),
            "framer": Framer(),
            **{name: ConstantDivide(**sizes) for name, sizes in DIVIDERS.items()},
            "ddr": DdrFrontEnd(channels=4),
            "channel": ChannelRig(depth=SMALL_DEPTH),
            "merge": MergeRig(channels=3, depth=64),
            "small": Tagger(depth=SMALL_DEPTH),
            "pins": PinTagger(channels=2),
            **{name: tag_source(name) for name in SOURCE_CHANNELS},
        }
    )


def phase_shelf() -> Shelf:
    """phase and the server's part of sift, and all of the server core together."""
    return Shelf(
        {
            "cordic": Cordic(),
            "scaler": PhaseScaler(),
            "counts_q": ReferenceCounts(band="q"),
            "counts_r": ReferenceCounts(band="r"),
            "bounded": BoundedCounts(count_max=BOUNDED_COUNT, total_max=BOUNDED_TOTAL),
            "tracker": PhaseTracker(),
            "join": PsiJoin(pending_heralds=SMALL_PENDING),
            "heralds": HeraldRig(queue_heralds=SMALL_PENDING, pending_heralds=SMALL_PENDING),
            "server": ServerCore(),
        }
    )
