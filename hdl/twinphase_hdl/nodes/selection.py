"""What a time tagger does with its ordered tags before they are sent: gate, time window, filter and coincidences, or nothing."""

from dataclasses import dataclass

from amaranth.hdl import Const, Module, Signal, Value
from amaranth.lib import stream, wiring

from twinphase_hdl.link.registers import RegisterBank
from twinphase_hdl.timetag.coincidence import Coincidences
from twinphase_hdl.timetag.pairqueue import PairQueue
from twinphase_hdl.timetag.selector import Selector
from twinphase_hdl.timetag.source import TagSource
from twinphase_hdl.timetag.turnsource import TurnSource
from twinphase_spec import tagger

TABLES = ("gate_table", "gate_from", "gate_to", "filter_mask")


@dataclass(frozen=True, kw_only=True)
class Selected:
    """What happened to tags: each strobe with the number of the channel that it is of."""

    gated: tuple[Value, Value]
    filtered: tuple[Value, Value]
    left: tuple[Value, Value]
    """Tags of real channels that are sent."""
    virtual: Value
    """A bit per coincidence."""
    idle: tuple[Value, ...]


def pass_all(m: Module, source: TurnSource, sink: stream.Interface) -> Selected:
    """All tags go on to ``sink``, as they leave the merge; they wait for it."""
    none, payload = (Const(0, 1), Const(0, 1)), source.o.payload
    left, channel = Signal(), Signal.like(payload.channel)
    m.d.comb += [sink.valid.eq(source.o.valid), sink.payload.eq(payload), source.o.ready.eq(sink.ready)]
    m.d.sync += [left.eq(source.o.valid & source.o.ready), channel.eq(payload.channel)]
    return Selected(
        gated=none,
        filtered=none,
        left=(left, channel),
        virtual=Const(0, tagger.COINCIDENCES),
        idle=(~left,),
    )


def one_by_one(m: Module, source: TagSource) -> PairQueue:
    """Queues the pairs of a wide ``source`` in ``singles``, which becomes a submodule; that holds the source when it is full."""
    m.submodules.singles = singles = PairQueue()
    wiring.connect(m, source.o, singles.i)
    m.d.comb += singles.i_bound.eq(source.o_bound)
    return singles


def select(
    m: Module, bank: RegisterBank, source: TagSource | PairQueue, sink: stream.Interface, *, channels: int
) -> Selected:
    """Tags through ``selector`` and ``coincidences``, which become submodules, set by the registers of ``bank``, to ``sink``.

    That takes a tag in every clock; what finds no room is counted in the packets' headers.
    """
    m.submodules.selector = selector = Selector(channels=channels)
    m.submodules.coincidences = coincidences = Coincidences(channels=channels)
    for name in TABLES:
        port = getattr(selector, name)
        m.d.comb += [
            port.enable.eq(getattr(bank, f"o_{name}_write")),
            port.address.eq(getattr(bank, f"o_{name}_address")),
            port.data.eq(getattr(bank, f"o_{name}_data")),
        ]
    virtual = range(tagger.COINCIDENCES)
    m.d.comb += [
        selector.i_bound.eq(source.o_bound),
        selector.i_filter_window.eq(bank.o_filter_window),
        selector.i_window_from.eq(bank.o_window_from),
        selector.i_window_until.eq(bank.o_window_until),
        selector.i_window_enable.eq(bank.o_window_enable),
        coincidences.i_epochs.eq(selector.o_epochs),
        *(coincidences.i_mask[v].eq(getattr(bank, f"o_coincidence_mask_{v}")) for v in virtual),
        *(coincidences.i_window[v].eq(getattr(bank, f"o_coincidence_window_{v}")) for v in virtual),
        sink.valid.eq(coincidences.o.valid),
        sink.payload.eq(coincidences.o.payload),
    ]
    wiring.connect(m, source.o, selector.i)
    wiring.connect(m, selector.o, coincidences.i)
    return Selected(
        gated=(selector.o_gated, selector.o_gated_channel),
        filtered=(selector.o_filtered, selector.o_filtered_channel),
        left=(coincidences.o_left, coincidences.o_left_channel),
        virtual=coincidences.o_virtual,
        idle=(selector.o_idle, coincidences.o_idle),
    )
