"""The phase's way through the server node: marks, feed, click tracker with its nodes, smoother with its gains, and the join."""

from dataclasses import dataclass

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data

from twinphase_hdl.core.framer import Framer
from twinphase_hdl.core.rooms import Rooms
from twinphase_hdl.core.timebase import Timebase
from twinphase_hdl.link.registers import RegisterBank
from twinphase_hdl.phase.bands import BandTracker
from twinphase_hdl.phase.clickepoch import CHOICE_BITS
from twinphase_hdl.phase.feed import TrackerFeed
from twinphase_hdl.phase.marks import PhaseMarks
from twinphase_hdl.phase.smooth import Smoother
from twinphase_hdl.phase.smoothfollow import GainFollower
from twinphase_hdl.sift.smoothjoin import SmoothJoin
from twinphase_spec import smoothing, tracking
from twinphase_spec.smoothing import PsiSource, SmoothGains

from .actuation import Actuation, actuation

PARTS = ("marks", "feed", "clicktracker", "smoothfollow", "smoother", "smoothjoin")
"""Their rooms; both followers share one, as they look at the same outputs."""


@dataclass(frozen=True, kw_only=True)
class PhaseWay:
    """The parts, whose outputs the node sends and counts."""

    marks: PhaseMarks
    feed: TrackerFeed
    tracker: BandTracker
    join: SmoothJoin
    actuation: Actuation | None
    latency: int
    """Clocks from the framer's click to the marked one."""
    idle: tuple[Value, ...]


def epoch_bits(m: Module, bank: RegisterBank) -> Value:
    """TRACK_EPOCH, held between the shortest and the longest epoch that there is."""
    asked, taken = bank.o_track_epoch, Signal(CHOICE_BITS, init=tracking.EPOCH_LEAST)
    least, most = tracking.EPOCH_LEAST, tracking.EPOCH_BITS
    m.d.sync += taken.eq(Mux(asked < least, least, Mux(asked > most, most, asked)))
    return taken


def phase_way(
    m: Module, rooms: Rooms, bank: RegisterBank, timebase: Timebase, framer: Framer, *, actuator_bits: int = 0
) -> PhaseWay:
    """Makes the parts submodules of m, each in its room, and connects them with framer, timebase and registers.

    The join's heralds, its records and the HERALD packer's flush are left to the node. Without an actuator (``actuator_bits`` 0) the
    inputs of marks and records that speak of it stay 0.
    """
    marks, feed, tracker, smoother, join = PhaseMarks(), TrackerFeed(), BandTracker(), Smoother(), SmoothJoin()
    followers = [GainFollower(c) for c in range(len(smoothing.CHANNELS))]
    alone = {"marks": marks, "feed": feed, "clicktracker": tracker, "smoother": smoother, "smoothjoin": join}
    for name, part in alone.items():
        rooms.put(m, name, part.o_idle, **{name: part})
    of_channels = {f"smoothfollow_{name}": part for name, part in zip(smoothing.CHANNELS, followers, strict=True)}
    rooms.put(m, "smoothfollow", Cat(part.o_idle for part in followers).all(), **of_channels)

    parts = (*followers, *alone.values())
    bits = epoch_bits(m, bank)
    m.d.comb += [part.i_run.eq(bank.o_control) for part in parts if part is not join]
    # A join that nothing waits in would flush heralds for nobody.
    m.d.comb += join.i_run.eq(bank.o_control & (bank.o_psi_source == PsiSource.CLICKS))
    m.d.comb += [part.i_epoch_bits.eq(bits) for part in parts]
    m.d.comb += [
        *(marks.i_clock.eq(timebase.o_anchor.clock), marks.i_ratio.eq(bank.o_ratio)),
        *(marks.i_node.eq(tracker.o_node), marks.i_node_valid.eq(tracker.o_node_valid)),
        *(feed.i.eq(marks.o), feed.i_valid.eq(marks.o_valid)),
        *(feed.i_clock.eq(timebase.o_anchor.clock), feed.i_framing.eq(timebase.o_framing)),
        *(feed.i_start_clock.eq(bank.o_start_clock), feed.i_hold.eq(bank.o_track_hold), feed.i_swap.eq(bank.o_swap)),
        *(feed.i_steps[k].eq(getattr(bank, f"o_step_r_{k}")) for k in range(4)),
        *(tracker.i.payload.eq(feed.o.payload), tracker.i.valid.eq(feed.o.valid), feed.o.ready.eq(tracker.i.ready)),
        *(tracker.i_ratio.eq(bank.o_ratio), tracker.i_every.eq(bank.o_track_every)),
        *(smoother.i_node.eq(tracker.o_node), smoother.i_node_valid.eq(tracker.o_node_valid)),
        *(join.i_interval.eq(smoother.o_interval), join.i_interval_valid.eq(smoother.o_interval_valid)),
        *(join.i_cover.eq(smoother.o_cover), join.i_cover_valid.eq(smoother.o_cover_valid)),
    ]
    framed = framer.o_valid & framer.o.framed
    acting, latency = None, marks.latency
    if actuator_bits:
        acting = actuation(m, rooms, bank, timebase, tracker, bits=actuator_bits)
        clicks = acting.clicks
        latency += clicks.latency
        m.d.comb += [
            *(clicks.i.eq(framer.o), clicks.i_valid.eq(framed)),
            *(marks.i.eq(clicks.o), marks.i_valid.eq(clicks.o_valid)),
            *(
                marks.i_position.eq(Mux(acting.on, clicks.o_position, 0)),
                marks.i_blank.eq(clicks.o_changing & acting.on),
            ),
            tracker.i_applied.eq(Mux(acting.on, acting.actuator.o_acting, 0)),
        ]
    else:
        m.d.comb += [marks.i.eq(framer.o), marks.i_valid.eq(framed)]
    for c, channel in enumerate(smoothing.CHANNELS):
        words = tracker.i_words[c]
        for part in (words.early, words.late):
            m.d.comb += [
                part[name].eq(getattr(bank, f"o_{name}_{channel}")) for name, _ in data.Layout.cast(part.shape())
            ]
        step, follower, address = getattr(bank, f"o_smooth_step_{channel}"), followers[c], bank.o_smooth_table_address
        own = address[len(follower.i_address) :] == c
        """The table's half that is written."""
        m.d.comb += [
            *(follower.i.eq(tracker.o), follower.i_valid.eq(tracker.o_valid), follower.i_step.eq(step)),
            *(
                follower.i_follows.eq(bank.o_smooth_follows[c]),
                follower.i_from.eq(getattr(bank, f"o_smooth_from_{channel}")),
            ),
            *(follower.i_write.eq(bank.o_smooth_table_write & own), follower.i_address.eq(address)),
            *(follower.i_data.eq(bank.o_smooth_table_data), smoother.i_gains[c].eq(follower.o_gains)),
            *(smoother.i_step[c].eq(step), join.i_step[c].eq(step)),
            smoother.i_later[c].eq(getattr(bank, f"o_smooth_later_{channel}")),
            *(
                follower.i_gains[k].eq(getattr(bank, f"o_smooth_{name}_{channel}"))
                for k, name in enumerate(SmoothGains.__dataclass_fields__)
            ),
        ]
    idle = (*(part.o_idle for part in parts), *(() if acting is None else (acting.idle,)))
    return PhaseWay(marks=marks, feed=feed, tracker=tracker, join=join, actuation=acting, latency=latency, idle=idle)
