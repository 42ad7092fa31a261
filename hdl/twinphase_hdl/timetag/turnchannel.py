"""One channel of a small time tagger: it examines one edge after another, in turns of five clocks."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.core.add import keep_carry, with_carry
from twinphase_spec import tagger

from .input import config_members, strobe_members
from .sizes import Sizes
from .turnqueue import TurnQueue

TURN_CLOCKS = 5
"""Of an edge."""
FAR_UNIT_BITS = 11
FAR_UNITS = 6
"""An edge is certainly far when the count of so many clocks (as a power of 2) has gone on by so much since the last one: five of them are
more than the 2^13 clocks that dead time and veto reach."""


class TurnChannel(wiring.Component):
    """As `InputChannel` without time walk, for parts whose carry chains are too slow for an edge per clock.

    An edge waits while the one before it is examined, one more may wait behind it; a third is counted `overrun`. So edges that are
    `TURN_CLOCKS` apart in the mean, two at most closer together, all pass. Distance, comparisons and delay have clocks of their own,
    additions of 32 bits two.

    Without walk no correction puts an edge before the last one, so that the order of tags needs no comparison.

    Parameters
    ----------
    depth : int
        Tags of the queue, a power of two, at least what `tagger.check_depth` asks for.
    burst : int
        Of that.

    Members
    -------
    As of `InputChannel`, but for ``i_walk_*``, and instead of ``o``:

    o_valid, o_time : 1, order_bits
        The oldest tag; it stays until ``i_pop``.
    i_pop : 1
        Only with ``o_valid``.
    o_bound : order_bits
        No tag that has not been at ``o_time`` yet is below this.

    Latency: 13 clocks from an edge to ``o_time`` when nothing waits. Throughput: an edge in `TURN_CLOCKS`. Overflow: as above; a full
    queue drops.
    """

    def __init__(self, *, depth: int, burst: int = tagger.BURST):
        tagger.check_depth(depth, burst)
        self._sizes = sizes = Sizes()
        self._depth = depth
        config = {name: member for name, member in config_members(sizes).items() if not name.startswith("i_walk")}
        super().__init__(
            {
                "i_valid": In(1),
                "i_fine": In(sizes.fine_bits),
                "i_clock": In(sizes.coarse_bits),
                "i_pulse": In(1),
                "i_pulse_fine": In(sizes.fine_bits),
                **config,
                "o_valid": Out(1),
                "o_time": Out(sizes.order_bits),
                "i_pop": In(1),
                "o_bound": Out(sizes.order_bits, init=3 << (sizes.order_bits - 2)),
                **strobe_members(1),
                "o_idle": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        bits, fine_bits, half = self._sizes.order_bits, self._sizes.fine_bits, self._sizes.order_bits // 2
        near_bits = self._sizes.dead_time_bits
        m.submodules.queue = queue = TurnQueue(width=bits, depth=self._depth)

        # Edges, their times inverted so that a subtraction is an addition.
        edge, fine = Signal(), Signal(fine_bits)
        waiting, working = Signal(bits), Signal(bits)
        waits, works = Signal(), Signal()
        turn = Signal(TURN_CLOCKS)
        """One bit: the clock of the turn."""
        next_turn = Signal()
        m.d.comb += [
            edge.eq(self.i_enable & Mux(self.i_pulser, self.i_pulse, self.i_valid)),
            fine.eq(Mux(self.i_pulser, self.i_pulse_fine, self.i_fine)),
            next_turn.eq(~works | turn[-1]),
        ]
        m.d.sync += [
            self.o_seen.eq(edge & ~self.i_pulser),
            self.o_generated.eq(edge & self.i_pulser),
            self.o_overrun.eq(edge & waits & ~next_turn),
            waits.eq(edge | (waits & ~next_turn)),
            turn.eq(Cat(next_turn & waits, turn)),
        ]
        with m.If(~waits | next_turn):
            m.d.sync += waiting.eq(~Cat(fine, self.i_clock))
        with m.If(next_turn):
            m.d.sync += [works.eq(waits), working.eq(waiting)]

        # First and second clock: the inverted distance. Third: what it is below. Fourth: the decision, which acts in the fifth.
        last = Signal(bits)
        inverted, no_carry = Signal(bits), Signal()
        far, is_far = Signal(init=1), Signal()
        reaches = {}
        """It is not below the limit. (What the carry is inverted in is the LUT beside the flip-flop.)"""
        m.d.sync += keep_carry(inverted[:half], no_carry, last[:half] + working[:half])
        m.d.sync += inverted[half:].eq(with_carry(last[half:], working[half:], ~no_carry))
        for name in ("dead_time", "veto_from", "veto_to"):
            reaches[name] = Signal(name=f"reaches_{name}")
            m.d.sync += reaches[name].eq(~(getattr(self, f"i_{name}") + inverted[:near_bits])[near_bits])
        m.d.sync += is_far.eq(far | ~inverted[near_bits:].all())
        dead, vetoed, accepted = Signal(), Signal(), Signal()
        is_dead, is_vetoed = Signal(), Signal()
        m.d.sync += [
            is_dead.eq(~is_far & ~reaches["dead_time"]),
            is_vetoed.eq(~is_far & reaches["dead_time"] & reaches["veto_from"] & ~reaches["veto_to"]),
        ]
        m.d.comb += [
            dead.eq(turn[-1] & is_dead),
            vetoed.eq(turn[-1] & is_vetoed),
            accepted.eq(turn[-1] & ~is_dead & ~is_vetoed),
        ]
        age = Signal(self._sizes.coarse_bits - FAR_UNIT_BITS)
        accepted_before, long_ago = Signal(), Signal()
        m.d.sync += [
            age.eq(self.i_clock[FAR_UNIT_BITS:] - last[fine_bits + FAR_UNIT_BITS :]),
            accepted_before.eq(accepted),
            long_ago.eq((age >= FAR_UNITS) & ~(accepted | accepted_before)),
        ]
        with m.If(accepted):
            m.d.sync += [last.eq(~working), far.eq(0)]
        with m.Elif(long_ago):
            m.d.sync += far.eq(1)

        # Divider.
        number = Signal(self._sizes.divider_bits, init=2)  # of the next edge; 1 is that which passes
        passes, all_pass, comes_round = Signal(init=1), Signal(), Signal()
        tags = Signal(3)
        """A tag's delay is being added, low half and high half; it is being queued."""
        same = Signal(2)
        """Halves of the number and the divider."""
        for k in range(2):
            m.d.sync += same[k].eq(
                number.word_select(k, len(number) // 2) == self.i_divider.word_select(k, len(number) // 2)
            )
        m.d.sync += [all_pass.eq(~self.i_divider[1:].any()), comes_round.eq(same.all())]
        with m.If(accepted):
            m.d.sync += [number.eq(number + 1), passes.eq(Mux(passes, all_pass, comes_round))]
            with m.If(passes):
                m.d.sync += number.eq(2)
        with m.If(self.i_divider_restart):
            m.d.sync += passes.eq(1)
        m.d.sync += tags.eq(Cat(accepted & passes, tags))

        # Delay, queue and bound.
        time, no_time_carry = Signal(bits), Signal()
        wide = Signal(bits)
        m.d.comb += wide.eq(self.i_delay)  # sign-extended
        m.d.sync += keep_carry(time[:half], no_time_carry, last[:half] + wide[:half])
        m.d.sync += time[half:].eq(with_carry(last[half:], wide[half:], ~no_time_carry))
        coarse = Signal(self._sizes.coarse_bits)
        m.d.comb += [
            # That of an absent channel lies a quarter of the range ahead: it holds nobody up.
            coarse.eq(self.i_clock + Cat(wide[fine_bits:-2], (wide[-2:] + ~self.i_enable)[:2])),
            queue.i_push.eq(tags[-1] & ~queue.o_full),
            queue.i_data.eq(time),
            queue.i_pop.eq(self.i_pop),
            self.o_valid.eq(queue.o_valid),
            self.o_time.eq(queue.o_head),
            self.o_idle.eq(
                ~(
                    Cat(waits, works, tags, queue.o_valid, queue.o_behind).any()
                    | Cat(
                        self.o_seen, self.o_generated, self.o_overrun, self.o_dead, self.o_vetoed, self.o_divided
                    ).any()
                    | self.o_dropped
                )
            ),
        ]
        m.d.sync += [
            self.o_queued.eq(queue.i_push),
            self.o_dropped.eq(tags[-1] & queue.o_full),
            self.o_dead.eq(dead),
            self.o_vetoed.eq(vetoed),
            self.o_divided.eq(accepted & ~passes),
        ]
        with m.If(~(waits | works | tags.any() | queue.o_behind)):
            m.d.sync += self.o_bound.eq(Cat(wide[:fine_bits], coarse))
        return m
