"""The common scale of a delay line, followed from the hits near the end of its span."""

from amaranth.hdl import C, Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.core.along import delayed
from twinphase_hdl.core.shiftcounter import next_state, state_after, width_for
from twinphase_spec import tdc

ERROR_BITS = 31
"""Of the error of a window, and of its mean: the sum of phi is below 2^14 (9/8 (2^16 - 1) - 31/32 2^15) < 2^30."""
TURNS = ERROR_BITS + tdc.MEAN_SHIFT
"""Bits of a serial sum, and clocks of a phase: so many that the last is the sign of every sum."""
SHIFT_CLOCKS = 10
"""Longest right shift of the error, and a clock more."""
SUM_PHASES = tuple(f"{ring}_{step}" for ring in ("rate", "scale") for step in ("shift", "sum", "limit"))
PHASES = ("idle", "mean", "gear", *SUM_PHASES, "move", "wait", "act", "follow")
"""One after the other, but that ``follow`` is left out without a restart; a flip-flop each."""
RESTART_BIT = tdc.RESTART.bit_length() - 1


class Scale(wiring.Component):
    """A loop of second order over windows of 2^14 hits; all of docs/timetagger.md, "Scale".

    Only ``phi = max(0, y4 - THETA)``, the tent and their sums are made at once. At a window's end mean, rate, scale and the restart's
    condition follow one bit per clock, lowest first, from registers that turn, in phases of `TURNS` clocks and with one adder
    of three bits::

        4 mean = error + 4 mean - mean          rate = rate + error >> k
        extended = extended + rate + error >> l          not (extended - start) = not extended + start

    Rate and scale turn once more after their sum, to be saturated. An uneven window's sums are made, but nothing turns. All of it
    takes the same number of clocks, whatever it finds.

    Parameters
    ----------
    lanes : int
    y4_clocks : int
        Clocks from a hit at the fine time's input to ``i_y4``.
    sigma_clocks : int
        Clocks from a hit at the fine time's input to the one in which its multiplier's register takes ``o_sigma``.

    Members
    -------
    i_valid, i_y4 : 1, 16
        A collected hit of a calibrated chain, ``y4_clocks`` after it was at the input, and its quarter ticks.
    i_accepted : 1
        Strobe in the last clock before hits at the input use a new table.
    i_reset : 1
    o_restart : 1
        Strobe one clock after the clock before that in which the new sigma begins to act.
    i_restarted : 1
        In the same clock: it is granted.
    o_sigma : signed 16
        2^-18; ``sigma_clocks`` late.
    o_limit : 1
    o_uneven : 1
        Strobe: the window whose scale begins to act was uneven.
    o_idle : 1
        No window is being worked on.

    Throughput: a hit per clock.
    """

    def __init__(self, *, lanes: int = 1, y4_clocks: int, sigma_clocks: int):
        if sigma_clocks != 2:
            raise ValueError(f"Scale: sigma_clocks is {sigma_clocks}; allowed: 2 (table and its register)")
        self._lanes, self._y4_clocks, self._sigma_clocks = lanes, y4_clocks, sigma_clocks
        super().__init__(
            {
                "i_valid": In(1),
                "i_y4": In(tdc.X_BITS + 1),
                "i_accepted": In(1),
                "i_reset": In(1),
                "o_restart": Out(1),
                "i_restarted": In(1),
                "o_sigma": Out(signed(tdc.SIGMA_BITS)),
                "o_limit": Out(1),
                "o_uneven": Out(1),
                "o_idle": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        gains, bits = tdc.gains(self._lanes), tdc.EXTENDED_BITS

        # The window. Its sums start below zero by what is expected, and a unit: they end as the inverse of what is missing.
        theta, hits_log = tdc.theta(self._lanes), tdc.WINDOW_LOG
        unit_log = theta.bit_length() - 5  # theta is 31 of these units
        units = self.i_y4[unit_log:]
        added, tent, phi = Signal(), Signal(unit_log), Signal(len(self.i_y4) - 1)
        m.d.sync += [
            added.eq(self.i_valid),
            tent.eq(self.i_y4[:unit_log] ^ units[0].replicate(unit_log)),
            phi.eq(Cat(self.i_y4[:unit_log], units - 31)),
        ]
        with m.If(~self.i_valid | ~(units[5:].any() | units[:5].all())):
            m.d.sync += phi.eq(0)
        with m.If(~self.i_valid | units[5:].any() | ~units[1:5].all()):
            m.d.sync += tent.eq(0)
        hits = Signal(width_for(1 << hits_log), init=1)
        phis = Signal(ERROR_BITS, init=~tdc.scale_target(self._lanes) & (1 << ERROR_BITS) - 1)
        tents = Signal(unit_log + hits_log + 1, init=~tdc.tent_target(self._lanes) & (1 << unit_log + hits_log + 1) - 1)
        next_phis, next_tents = Signal.like(phis), Signal.like(tents)
        one_left = Signal()
        ends = added & one_left
        restart_window = Signal()
        m.d.comb += [next_phis.eq(phis + phi), next_tents.eq(tents + tent)]
        m.d.sync += [phis.eq(next_phis), tents.eq(next_tents)]
        with m.If(added):
            m.d.sync += [hits.eq(next_state(hits)), one_left.eq(hits == state_after((1 << hits_log) - 2, len(hits)))]
        with m.If(ends | restart_window):
            m.d.sync += [phis.eq(phis.init), tents.eq(tents.init), hits.eq(hits.init), one_left.eq(0)]

        # Registers that turn by one enable, lowest bit first; ``comes`` enters as the highest.
        error, mean = Signal(ERROR_BITS), Signal(ERROR_BITS)
        rate, extended, start = (Signal(bits, name=name) for name in ("rate", "extended", "start"))
        turns, comes = {}, {}
        for ring in (mean, rate, extended, start):
            turns[ring.name], comes[ring.name] = Signal(name=f"turn_{ring.name}"), Signal(name=f"comes_{ring.name}")
            m.d.comb += comes[ring.name].eq(ring[0])
            with m.If(turns[ring.name]):
                m.d.sync += ring.eq(Cat(ring[1:], comes[ring.name]))

        # Phases. What a phase finds is forgotten at its end, but for the sign, and whether a sum is over.
        place, last, next_phase = Signal(range(64)), Signal(), Signal()
        m.d.sync += place.eq(place + 1)
        with m.If(next_phase):
            m.d.sync += place.eq(0)
        known: dict[range, Signal] = {}

        def at_place(places: range) -> Value:
            """``place`` is one of those: a register, as much hangs on it. All are driven at the end."""
            if places and places not in known:
                known[places] = Signal(init=0 in places, name=f"at_{places.start}_{places.stop}")
            return known.get(places, C(0, 1))

        def at_one_place(number: int) -> Value:
            return at_place(range(number, number + 1))

        m.d.comb += last.eq(at_one_place(TURNS - 1))

        # Numbers of fewer bits than places are turned once, and then stay; their sign is still to be had.
        stays = at_place(range(bits, TURNS))

        def bit_of(ring: Signal) -> Value:
            """That of ``ring`` at ``place``, as it was before this phase."""
            was = Signal(name=f"{ring.name}_was")
            with m.If(~stays):
                m.d.sync += was.eq(ring[0])
            return Mux(stays, was, ring[0])

        def turn(ring: Signal, bit: Value | None = None) -> None:
            """Moves ``ring`` on, with ``bit`` coming in, or its own lowest."""
            m.d.comb += turns[ring.name].eq(1 if ring is mean else ~stays)
            if bit is not None:
                m.d.comb += comes[ring.name].eq(bit)

        old_rate, old_extended, old_start = bit_of(rate), bit_of(extended), bit_of(start)

        # The error turns until it is where it began; from there on its last bit is its sign. ``turned`` is back at 1 with it.
        turned, in_place = Signal(width_for(ERROR_BITS), init=1), Signal(init=1)
        turn_error, begun, ended = Signal(), Signal(), Signal()
        whole = in_place & begun
        error_bit, error_before = Signal(), Signal()
        m.d.comb += error_bit.eq(Mux(whole, error_before, error[0]))
        m.d.sync += [error_before.eq(error_bit), begun.eq(begun | turn_error), ended.eq(ends)]
        with m.If(ends | (turn_error & ~whole)):
            m.d.sync += [
                error.eq(Mux(ends, ~next_phis, Cat(error[1:], error[0]))),
                turned.eq(next_state(turned)),
                in_place.eq(turned == state_after(ERROR_BITS - 1, len(turned))),
            ]
        with m.If(ends):
            m.d.sync += [turned.eq(turned.init), in_place.eq(1)]
        with m.If(next_phase):
            m.d.sync += begun.eq(0)

        # Uneven: bits that an even window's error and bend have as their sign are not all the same.
        even_log = tdc.uneven_err(self._lanes).bit_length() - 1
        bent, uneven, seen = Signal(), Signal(), Signal()
        m.d.sync += bent.eq(next_tents[even_log + 1 :].any() & ~next_tents[even_log + 1 :].all())
        with m.If(ended):
            m.d.sync += uneven.eq(bent | (error[even_log:].any() & ~error[even_log:].all()))

        # The adder.
        a, b, c, carry = Signal(), Signal(), Signal(), Signal(2)
        total, before = Signal(3), Signal()
        summing, clear_over = Signal(), Signal()
        # This bit, and the one before it, are from that on in which a sum must not change.
        top, beyond_top = Signal(), Signal()
        at_top = Signal()
        over, low = Signal(), Signal(init=1)
        m.d.comb += total.eq(a + b + c + carry)
        m.d.sync += [carry.eq(total >> 1), top.eq(top | at_top), beyond_top.eq(top), low.eq(low & (top | total[0]))]
        with m.If(summing):
            m.d.sync += [before.eq(total[0]), over.eq(over | (beyond_top & (total[0] ^ before)))]
        with m.If(next_phase):
            m.d.sync += [carry.eq(0), top.eq(0), beyond_top.eq(0)]
        with m.If(clear_over):
            m.d.sync += [over.eq(0), low.eq(1)]

        windows = Signal(range(tdc.FAST_WINDOWS + 1))  # since the mean was large; FAST_WINDOWS is a power of two
        quick, large = ~windows[-1], Signal()  # ``large``: the mean is so in this window
        limit = tdc.gear_limit(self._lanes) - 1
        above, not_below = Signal(), Signal()  # mean > limit, and mean < -limit
        limit_bit = C(limit << tdc.MEAN_SHIFT, 64).bit_select(place, 1)
        delayed_bits = Signal(tdc.MEAN_SHIFT)
        moved, clear, idle = Signal(), Signal(), Signal()
        m.d.sync += [
            delayed_bits.eq(Cat(mean[0], delayed_bits)),
            above.eq(Mux(total[0] == limit_bit, above, total[0])),
            not_below.eq(Mux(total[0] == limit_bit, ~total[0], not_below)),
        ]
        with m.If(idle):
            m.d.sync += delayed_bits.eq(
                1 << tdc.MEAN_SHIFT - 1
            )  # what is added to the inverse of mean to make it -mean
        m.d.comb += [
            self.o_idle.eq(idle & ~added & ~ended),
            restart_window.eq(clear | self.i_reset),
            clear.eq(delayed(m, self.i_accepted, self._sigma_clocks, "accepted")),
        ]

        at = {name: Signal(name=f"at_{name}", init=name == "idle") for name in PHASES}
        enters: dict[str, list[Value]] = {name: [] for name in PHASES}
        leaves: dict[str, list[Value]] = {name: [] for name in PHASES}

        def go(source: str, target: str, when: Value | int = 1) -> None:
            with m.If(at[source] & when):
                m.d.comb += next_phase.eq(1)
            leaves[source].append(Value.cast(when))
            enters[target].append(at[source] & when)

        def in_gear(bits: dict[str, Value]) -> Value:
            return Mux(quick, Mux(large, bits["fastest"], bits["fast"]), bits["slow"])

        ahead = at_place(range(tdc.MEAN_SHIFT))
        with m.If(at["idle"]):
            m.d.comb += [idle.eq(1), next_phase.eq(1)]
        with m.If(at["mean"]):
            # The sum's lowest bits are left out; meanwhile the sign comes in, so that it follows the highest bit.
            m.d.comb += [turn_error.eq(1), summing.eq(1), b.eq(error_bit), a.eq(delayed_bits[-1]), c.eq(~mean[0])]
            with m.If(~uneven):
                turn(mean, Mux(ahead, mean[-1], total[0]))
            with m.If(ahead):
                m.d.sync += [above.eq(0), not_below.eq(1)]
        with m.If(at["gear"]):
            m.d.sync += [
                windows.eq(Mux(quick & ~uneven, windows + 1, windows)),
                large.eq(Mux(before, not_below, above)),
            ]
            with m.If(Mux(before, not_below, above) & ~uneven):
                m.d.sync += windows.eq(0)
        for ring, old, name, gain in ((rate, old_rate, "rate", 1), (extended, old_extended, "scale", 0)):
            shifts = {gear: gains[gear][gain] for gear in gains}
            with m.If(at[f"{name}_shift"]):
                # Leave out the error's lowest bits.
                skips = {gear: at_place(range(max(0, -shift))) for gear, shift in shifts.items()}
                m.d.comb += [turn_error.eq(in_gear(skips)), clear_over.eq(1)]
            with m.If(at[f"{name}_sum"]):
                # Zeros come before it where it is shifted to the left.
                zeros = {gear: at_place(range(max(0, shift))) for gear, shift in shifts.items()}
                first = in_gear(zeros)
                m.d.comb += [turn_error.eq(~first), summing.eq(1), b.eq(error_bit & ~first), a.eq(old)]
                m.d.comb += at_top.eq(at_one_place(bits - 2))
                with m.If(~uneven):
                    turn(ring, total[0])
                if ring is extended:
                    m.d.comb += c.eq(old_rate)
                    turn(rate)
            with m.If(at[f"{name}_limit"]):
                # The largest number of this sign if the sum is over.
                m.d.comb += at_top.eq(at_one_place(bits - 2))
                with m.If(~uneven):
                    turn(ring, Mux(over, before ^ ~top, ring[0]))
                if ring is extended:
                    m.d.sync += self.o_limit.eq(self.o_limit | (over & ~uneven))
                    m.d.comb += clear_over.eq(last)
        with m.If(at["move"]):
            # extended - start: at least 2^17 if its inverse's bits from there on differ, or for exactly -2^17.
            m.d.comb += [summing.eq(1), a.eq(~old_extended), c.eq(old_start), at_top.eq(at_one_place(RESTART_BIT - 1))]
            turn(extended)
            turn(start)
        work = 6 * TURNS + 2 * SHIFT_CLOCKS + 1
        asked = tdc.SCALE_CLOCKS - self._y4_clocks - 3 - work
        asks = at_one_place(asked)
        m.d.sync += self.o_restart.eq(0)
        with m.If(at["wait"]):
            # Known a clock before, so that the question begins with a register.
            m.d.sync += self.o_restart.eq(at_one_place(asked - 1) & (over | (~before & low) | (uneven != seen)))
            m.d.sync += moved.eq(self.i_restarted)
        with m.If(at["act"]):
            # The first hit that the new sigma acts on is at the input in the clock after the question.
            m.d.sync += self.o_sigma.eq(extended[tdc.EXTENDED_SHIFT :])
            m.d.comb += self.o_uneven.eq(uneven)
            with m.If(moved):
                m.d.sync += seen.eq(uneven)
        with m.If(at["follow"]):
            turn(extended)
            turn(start, extended[0])
        go("idle", "mean", ended)
        go("mean", "gear", last)
        go("gear", "rate_shift")
        for name, following in (("rate", "scale_shift"), ("scale", "move")):
            go(f"{name}_shift", f"{name}_sum", at_one_place(SHIFT_CLOCKS - 1))
            go(f"{name}_sum", f"{name}_limit", last)
            go(f"{name}_limit", following, last)
        go("move", "wait", last)
        go("wait", "act", asks)
        go("act", "idle", ~moved)
        go("act", "follow", moved)
        go("follow", "idle", last)
        # Without reset or enable of their own, which would take each of these flip-flops to where a slice is left for it.
        for name, phase in at.items():
            following = Cat(*enters[name]).any() | (phase & ~Cat(*leaves[name]).any())
            m.d.sync += phase.eq((following | self.i_reset) if name == "idle" else (following & ~self.i_reset))
        for places, flag in known.items():
            before = sum(1 << p - 1 for p in places if p)
            following = C(before, 64).bit_select(place, 1) if len(places) > 1 else place == places.start - 1
            m.d.sync += flag.eq(Mux(next_phase, 0 in places, following))
        with m.If(clear | self.i_reset):
            m.d.sync += [signal.eq(0) for signal in (extended, start, seen, self.o_limit)]
        # The hit of the clock before a reset, the last one with an edge, still has the sigma of its clock.
        was_reset = Signal()
        m.d.sync += was_reset.eq(self.i_reset)
        with m.If(clear | was_reset):
            m.d.sync += self.o_sigma.eq(0)
        with m.If(self.i_reset):
            m.d.sync += [added.eq(0), ended.eq(0), rate.eq(0), mean.eq(0), windows.eq(0)]
        return m
