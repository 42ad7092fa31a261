"""Many packet streams onto one link."""

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.types import word_stream

from .skid import Skid

TURNS = 31
"""Packets of the preferred input, one after the other, while others wait; then one of theirs."""


class PacketArbiter(wiring.Component):
    """Passes packets of ``inputs`` streams to one, round robin: after a packet of input k, input k + 1 is asked first.

    A packet is never interleaved with another. Input ``preferred``, if there is one, has `TURNS` packets of 32 where it has as
    many; the others have the rest, round robin among them.

    Parameters
    ----------
    inputs : int
        1 or more.
    preferred : int, optional
        The input that has precedence.

    Members
    -------
    i : array of In(word_stream()), ``inputs`` long.
    o : Out(word_stream()) - registered; ``i[k].ready`` does not depend combinationally on ``o.ready``.
    o_idle : Out(1) - no packet is under way.

    Latency: 4 clocks to the first word of a packet when idle. Throughput: a word per clock within a packet; between packets one
    clock when another input has waited for two, up to three clocks otherwise, and behind one of the preferred input. Overflow: none,
    the inputs wait.
    """

    def __init__(self, *, inputs: int, preferred: int | None = None):
        if inputs < 1:
            raise ValueError(f"arbiter: inputs is {inputs}; allowed: at least 1")
        if preferred is not None and not 0 <= preferred < inputs:
            raise ValueError(f"arbiter: preferred is {preferred}; allowed: 0 to {inputs - 1}")
        self._inputs, self._preferred = inputs, preferred
        super().__init__({"i": In(word_stream()).array(inputs), "o": Out(word_stream()), "o_idle": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.skid = skid = Skid()
        wiring.connect(m, skid.o, wiring.flipped(self.o))
        # One bit per input in each: every step of the arbitration has a clock of its own.
        valid = Signal(self._inputs)
        asking = Signal(self._inputs)
        """A word waits that is not of the packet under way; an input that asks goes on asking until it is granted."""
        choice = Signal(self._inputs)
        """The next one to be granted, or none."""
        granted = Signal(self._inputs)
        """Whose packet is under way, if any."""
        in_turn = [k for k in range(self._inputs) if k != self._preferred]
        latest = Signal(self._inputs, init=1 << min(in_turn, default=0))
        """Whose packet is or was under way."""
        m.d.comb += valid.eq(Cat(port.valid for port in self.i))
        m.d.sync += [asking.eq(valid & ~granted), choice.eq(0)]
        for k in in_turn:
            for before in in_turn:
                # Input ``before`` was the latest one, and k is the first to ask among those behind it.
                between = range(before + 1, before + 1 + (k - before - 1) % self._inputs)
                ahead = Cat(asking[place % self._inputs] for place in between if place % self._inputs in in_turn)
                with m.If(latest[before] & asking[k] & ~granted[k] & ~ahead.any()):
                    m.d.sync += choice[k].eq(1)
        with m.If(~granted.any() & choice.any()):
            m.d.sync += [granted.eq(choice), latest.eq(choice)]
            if self._preferred is not None:
                m.d.sync += latest.eq(Mux(choice[self._preferred], latest, choice))
        if self._preferred is not None:
            self._prefer(m, self._preferred, asking, choice, granted)

        words = []
        for k, port in enumerate(self.i):
            m.d.comb += port.ready.eq(granted[k] & skid.i.ready)
            word = Cat(port.valid, port.payload)
            words.append(word & granted[k].replicate(len(word)))
            with m.If(port.valid & port.ready & port.payload.last):
                m.d.sync += granted[k].eq(0)
        m.d.comb += [
            Cat(skid.i.valid, skid.i.payload).eq(reduce(or_, words)),
            self.o_idle.eq(~(Cat(valid, asking, choice, granted).any() | self.o.valid)),
        ]
        return m

    def _prefer(self, m: Module, own: int, asking: Signal, choice: Signal, granted: Signal) -> None:
        """Input ``own`` is the choice while it asks and has turns left, or others do not ask; those go on where they were."""
        turns = Signal(range(TURNS + 1))
        since = Signal(2)
        """Its packets in a row while others asked; it had one up to two clocks ago, so that its next may not have asked yet."""
        others = Cat(asking[k] for k in range(self._inputs) if k != own).any()
        m.d.sync += since.eq(Cat(granted[own], since))
        with m.If(((turns != TURNS) | ~others) & (asking[own] | granted[own] | since.any())):
            m.d.sync += choice.eq((asking[own] & ~granted[own]) << own)
        with m.If(~granted.any() & choice.any()):
            m.d.sync += turns.eq(Mux(choice[own] & others, Mux(turns == TURNS, TURNS, turns + 1), 0))
