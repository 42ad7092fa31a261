"""Proof of the loss identity of a selector: at every clock ``came = left + gated + filtered + inside``, with inside = the tags that are
in the gate, the filter's entry, beside the lookahead, in it and at the output, and the strobes that are not counted yet.

By induction over `STEPS` clocks from any state that the lemmas allow: two channels, a lookahead of four tags, counters of 4 bits that
wrap. Tags, settings, bounds and pauses behind it are free in every clock, so nothing of this depends on which tags pass. That each tag
leaves unchanged and in order, and is left out under its channel's name, is what `GateProof` and `FilterProof` show.
"""

from amaranth.hdl import Assert, Cat, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In
from queue_counts import assert_counts

from twinphase_hdl.core.along import delayed
from twinphase_hdl.core.queue import FRONT_DEPTH
from twinphase_hdl.timetag.gate import Gate
from twinphase_hdl.timetag.selector import Selector
from twinphase_hdl.types import Tag

COUNTER_BITS = 4
DEPTH = 4
STEPS = 8
"""The room that is told is five clocks old when the tag that it let in is in the entry; induction must see those clocks."""


class SelectorAccounts(wiring.Component):
    """All inputs of the selector are free."""

    def __init__(self, make: type[Selector] = Selector):
        self.selector = make(channels=2, depth=DEPTH)
        members = self.selector.signature.members
        self._inputs = [
            name
            for name, member in members.items()
            if name not in ("i", "o") and (member.is_signature or member.flow is In)
        ]
        super().__init__(
            {name: members[name] for name in self._inputs} | {"valid": In(1), "tag": In(Tag), "ready": In(1)}
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.selector = selector = self.selector
        for name in self._inputs:
            if self.selector.signature.members[name].is_signature:
                wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(selector, name))
            else:
                m.d.comb += Value.cast(getattr(selector, name)).eq(Value.cast(getattr(self, name)))
        m.d.comb += [
            selector.i.valid.eq(self.valid),
            selector.i.payload.eq(self.tag),
            selector.o.ready.eq(self.ready),
        ]
        came = selector.i.valid & selector.i.ready
        left = selector.o.valid & selector.o.ready

        def count(name: str, event: Value) -> Signal:
            counter = Signal(COUNTER_BITS, name=f"count_{name}")
            m.d.sync += counter.eq(counter + event)
            return counter

        ended = count("left", left) + count("gated", selector.o_gated) + count("filtered", selector.o_filtered)
        filter_, gate = selector.filter, selector.gate
        in_gate = Cat(delayed(m, came, k, f"came_{k}") for k in range(1, Gate.latency + 1))
        assert_counts(m, filter_.queue, depth=DEPTH, front_depth=FRONT_DEPTH)
        in_entry = Signal.like(filter_.written)
        inside = Signal(COUNTER_BITS)
        m.d.comb += [
            in_entry.eq(filter_.written - filter_.taken),
            inside.eq(
                sum(in_gate[:-1], in_gate[-1])
                + selector.o_gated
                + in_entry
                + filter_.there
                + filter_.queue.o_level
                + selector.o.valid
                + selector.o_filtered
            ),
            Assert(count("came", came) == (ended + inside)[:COUNTER_BITS], "identity"),
            Assert(~selector.o_idle | (inside == 0), "idle with tags inside"),
            # Lemmas.
            Assert((gate.o_passed ^ gate.o_gated) == in_gate[-1], "the gate decides all"),
            Assert(~(gate.o_passed & gate.o_gated), "and once"),
            Assert(gate.o_idle == ~in_gate.any(), "the gate's idle"),
            Assert(filter_.waiting == (in_entry != 0), "in the entry"),
            Assert(filter_.empty == (filter_.queue.o_level == 0), "the lookahead is empty"),
            Assert(~filter_.examined | filter_.queue.o_valid, "only a head is examined"),
        ]
        return m
