"""Register control of parts whose logic is slow."""

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import stream

from twinphase_hdl.types import Word

from .control import RegisterControl
from .stage import Stage

PART_BITS = 8
"""Bits that are compared in one clock."""


class PacedControl(RegisterControl):
    """As `RegisterControl`, but not more than a word in three clocks comes or leaves, and words are read from the bank four clocks apart.

    So what changes with a word need not be known before the second clock after it.
    """

    def _through(self, m: Module, source: stream.Interface, target: stream.Interface) -> Value:
        stage = Stage(Word)
        m.submodules += stage
        m.d.comb += [
            Cat(stage.i.valid, stage.i.payload).eq(Cat(source.valid, source.payload)),
            source.ready.eq(stage.i.ready),
            Cat(target.valid, target.payload).eq(Cat(stage.o.valid, stage.o.payload)),
            stage.o.ready.eq(target.ready),
        ]
        return ~stage.i.ready

    def _equal(self, m: Module, a: Value, b: Value) -> Value:
        parts = -(-max(len(a), len(b)) // PART_BITS)
        same = Signal(parts)
        places = [slice(k * PART_BITS, (k + 1) * PART_BITS) for k in range(parts)]
        m.d.sync += same.eq(Cat(a[place] == b[place] for place in places))
        return same.all()

    def _known(self, m: Module, flag: Value) -> Value:
        known = Signal()
        m.d.sync += known.eq(flag)
        return known

    def _issue(self, m: Module, issue: Signal, may: Value) -> None:
        may_issue, issued = Signal(), Signal(2)
        m.d.sync += [may_issue.eq(may), issued.eq(Cat(issue, issued)), issue.eq(may_issue & ~issue & ~issued.any())]
