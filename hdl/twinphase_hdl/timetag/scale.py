"""The common scale of a delay line, followed from the hits near the end of its span."""

from collections.abc import Iterator
from contextlib import contextmanager

from amaranth.hdl import C, Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.core.add import with_carry
from twinphase_hdl.core.along import delayed
from twinphase_spec import tdc

ERROR_BITS = 31
"""Of the error of a window, and of its mean: the sum of phi is below 2^14 (9/8 (2^16 - 1) - 31/32 2^15) < 2^30."""
SUM_BITS = ERROR_BITS + 4
"""Of a serial sum: so many that its last is the sign."""
RESTART_BIT = tdc.RESTART.bit_length() - 1


class Scale(wiring.Component):
    """A loop of second order over windows of 2^14 hits; all of docs/timetagger.md, "Scale".

    Only ``phi = max(0, y4 - THETA)`` and its sum are made at once. At a window's end mean, gear, rate, scale and the restart's condition
    follow one bit per clock, lowest first, from registers that turn: an addition is two LUT. Each sum is made in full, then
    turned once more if it has to be saturated.

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
                "o_idle": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        gains = tdc.gains(self._lanes)
        bits = tdc.EXTENDED_BITS

        # The window: its sum counts down from the target, so that it ends as the error.
        theta = tdc.theta(self._lanes)
        below = theta.bit_length() - 5  # theta is 31 of these units
        units = self.i_y4[below:]
        phi, added = Signal(len(self.i_y4) - 1), Signal()
        m.d.sync += [
            added.eq(self.i_valid),
            phi.eq(Cat(self.i_y4[:below], units - 31)),
        ]
        with m.If(~self.i_valid | ~(units[5:].any() | units[:5].all())):
            m.d.sync += phi.eq(0)
        hits = Signal(tdc.WINDOW_LOG)
        rest = Signal(signed(ERROR_BITS), init=tdc.scale_target(self._lanes))
        next_rest = with_carry(rest.as_unsigned(), ~Cat(phi, C(0, ERROR_BITS - len(phi))), C(1, 1))
        ends = added & hits.all()
        restart_window = Signal()
        m.d.sync += [rest.eq(next_rest), hits.eq(hits + added)]
        with m.If(ends | restart_window):
            m.d.sync += rest.eq(rest.init)
        with m.If(restart_window):
            m.d.sync += hits.eq(0)

        # Registers that turn, lowest bit first.
        error = Signal(ERROR_BITS)
        mean = Signal(ERROR_BITS)
        rate, extended, start = (Signal(bits, name=name) for name in ("rate", "extended", "start"))
        tick = Signal(range(tdc.SCALE_CLOCKS))  # since the window's end
        place = Signal(6)  # bits of this sum that are done
        error_place = Signal(6)
        fast = Signal(range(tdc.FAST_WINDOWS + 1), init=tdc.FAST_WINDOWS)
        quick = Signal()  # fast > 0
        carry, borrow, sign = Signal(2), Signal(), Signal()
        error_sign, ring_sign, other_sign = Signal(), Signal(), Signal()
        over, low_zero, moved = Signal(), Signal(), Signal()
        turn_error = Signal()
        delayed_bits = [Signal(name=f"mean_{k}") for k in range(tdc.MEAN_SHIFT)]
        m.d.sync += [tick.eq(tick + 1), place.eq(place + 1)]

        # Each turns by one enable, so that a register bit costs no LUT; what comes in is its own lowest bit if nothing else is said.
        turns, comes = {}, {}
        for ring in (mean, rate, extended, start):
            turns[ring.name], comes[ring.name] = Signal(name=f"turn_{ring.name}"), Signal(name=f"comes_{ring.name}")
            m.d.comb += comes[ring.name].eq(ring[0])
            with m.If(turns[ring.name]):
                m.d.sync += ring.eq(Cat(ring[1:], comes[ring.name]))

        def turn(ring: Signal, bit: Value | None = None) -> None:
            """Moves ``ring`` on, with ``bit`` coming in."""
            m.d.comb += turns[ring.name].eq(1)
            if bit is not None:
                m.d.comb += comes[ring.name].eq(bit)

        def among(*places: int) -> Value:
            """``place`` is one of these: a LUT or two, where a comparison would be a carry chain."""
            return C(sum(1 << k for k in places), 64).bit_select(place, 1)

        error_inside = error_place != ERROR_BITS
        error_bit = Mux(error_inside, error[0], error_sign)
        with m.If(turn_error & error_inside):
            m.d.sync += [error.eq(Cat(error[1:], error[0])), error_sign.eq(error[0]), error_place.eq(error_place + 1)]

        def begin(name: str) -> None:
            """To the next sum."""
            m.d.sync += [place.eq(0), carry.eq(0), over.eq(0)]
            m.next = name

        def serial_sum(ring: Signal, values: list[Value], signs: Signal) -> None:
            """``ring += values``, with ``over`` if it does not fit, and ``sign``."""
            inside = among(*range(bits))
            own = Mux(inside, ring[0], signs)
            total = own + sum(values) + carry
            m.d.sync += [carry.eq(total >> 1), sign.eq(total[0])]
            with m.If(inside):
                turn(ring, total[0])
                m.d.sync += signs.eq(ring[0])
            with m.Elif(total[0] != sign):
                m.d.sync += over.eq(1)

        def saturate(ring: Signal) -> None:
            """One turn: the largest number of this sign if the sum was over."""
            turn(ring, Mux(over, sign ^ (place != bits - 1), ring[0]))

        limit = tdc.gear_limit(self._lanes) - 1
        gear_up, gear_down = Signal(2), Signal(2)  # carry and sum of mean + (limit - 1), and of mean - limit
        gear_bit = Signal()
        clear = Signal()
        idle = Signal()
        m.d.comb += [self.o_idle.eq(idle & ~added), restart_window.eq(clear | self.i_reset)]

        @contextmanager
        def state(name: str) -> Iterator[None]:
            """A state that a reset leaves, whatever else is due."""
            with m.State(name):
                yield
                with m.If(self.i_reset):
                    m.next = "IDLE"

        m.d.comb += clear.eq(delayed(m, self.i_accepted, self._sigma_clocks, "accepted"))
        with m.FSM():
            with state("IDLE"):
                m.d.comb += idle.eq(1)
                with m.If(ends):
                    m.d.sync += [error.eq(next_rest), tick.eq(0), borrow.eq(0)]
                    m.d.sync += [gear_up.eq(0), gear_down.eq(0), error_place.eq(0)]
                    begin("MEAN")
            with state("MEAN"):
                # mean += (error - mean) >> 3: the difference is three bits ahead of the sum.
                m.d.comb += turn_error.eq(1)
                difference = error_bit - mean[0] - borrow
                ahead = among(*range(tdc.MEAN_SHIFT))
                behind = delayed_bits[-1]
                total = difference[0] + behind + carry[0]
                m.d.sync += [
                    borrow.eq(difference[-1]),
                    Cat(*delayed_bits).eq(Cat(mean[0], *delayed_bits[:-1])),
                ]
                turn(mean, Mux(ahead, mean[-1], total[0]))
                m.d.comb += gear_bit.eq(among(*(k + tdc.MEAN_SHIFT for k in range(ERROR_BITS) if limit >> k & 1)))
                with m.If(~ahead):
                    up = total[0] + gear_bit + gear_up[1]
                    down = total[0] + ~gear_bit + gear_down[1]
                    m.d.sync += [carry.eq(total[1]), gear_up.eq(up), gear_down.eq(down)]
                with m.If(place == ERROR_BITS + tdc.MEAN_SHIFT - 1):
                    begin("GEAR")
            with state("GEAR"):
                with m.If(gear_up[0] | ~gear_down[0]):
                    m.d.sync += fast.eq(tdc.FAST_WINDOWS)
                with m.Elif(fast != 0):
                    m.d.sync += fast.eq(fast - 1)
                m.next = "GEARED"
            with state("GEARED"):
                m.d.sync += [quick.eq(fast != 0), error_place.eq(0)]
                begin("RATE_SHIFT")
            for ring, name, gain, following in ((rate, "RATE", 1, "SCALE_SHIFT"), (extended, "SCALE", 0, "MOVE")):
                shifts = {gear: gains[gear][gain] for gear in gains}
                with state(f"{name}_SHIFT"):
                    # Leave out the error's lowest bits, or put one before them.
                    skips = {gear: max(0, -shift) for gear, shift in shifts.items()}
                    m.d.comb += turn_error.eq(Mux(quick, *(among(*range(skips[gear])) for gear in ("fast", "slow"))))
                    with m.If(~turn_error):
                        begin(f"{name}_SUM")
                with state(f"{name}_SUM"):
                    first = among(0) & quick & (shifts["fast"] == 1)
                    m.d.comb += turn_error.eq(~first)
                    values = [error_bit & ~first]
                    if ring is extended:
                        inside = among(*range(bits))
                        rate_bit = Mux(inside, rate[0], other_sign)
                        values.append(rate_bit)
                        with m.If(inside):
                            turn(rate)
                            m.d.sync += other_sign.eq(rate[0])
                    serial_sum(ring, values, ring_sign)
                    with m.If(place == SUM_BITS - 1):
                        m.d.sync += [place.eq(0), error_place.eq(0)]
                        m.next = f"{name}_LIMIT"
                with state(f"{name}_LIMIT"):
                    saturate(ring)
                    if ring is extended:
                        m.d.sync += self.o_limit.eq(self.o_limit | over)
                    with m.If(place == bits - 1):
                        begin(following)
                        if ring is extended:
                            m.d.sync += [borrow.eq(0), low_zero.eq(1)]
            with state("MOVE"):
                # extended - start: beyond 2^18 if the bits from there on differ, or for exactly -2^18.
                inside = among(*range(bits))
                difference = Mux(inside, extended[0], ring_sign) - Mux(inside, start[0], other_sign) - borrow
                m.d.sync += borrow.eq(difference[-1])
                with m.If(inside):
                    turn(extended)
                    turn(start)
                    m.d.sync += [ring_sign.eq(extended[0]), other_sign.eq(start[0])]
                m.d.sync += sign.eq(difference[0])
                with m.If(among(*range(RESTART_BIT)) & difference[0]):
                    m.d.sync += low_zero.eq(0)
                with m.If(among(*range(RESTART_BIT + 1, bits + 1)) & (difference[0] != sign)):
                    m.d.sync += over.eq(1)
                with m.If(place == bits):
                    m.next = "WAIT"
            with state("WAIT"):
                asks_at = tdc.SCALE_CLOCKS - self._y4_clocks - 2
                m.d.comb += self.o_restart.eq((tick == asks_at) & (over | (sign & low_zero)))
                m.d.sync += moved.eq(self.i_restarted)
                with m.If(tick == asks_at):
                    m.next = "ACT"
            with state("ACT"):
                # The first hit that the new sigma acts on is at the input in the clock after the question.
                m.d.sync += [self.o_sigma.eq(extended[tdc.EXTENDED_SHIFT :]), place.eq(0)]
                m.next = "IDLE"
                with m.If(moved):
                    m.next = "FOLLOW"
            with state("FOLLOW"):
                turn(extended)
                turn(start, extended[0])
                with m.If(place == bits - 1):
                    m.next = "IDLE"
        with m.If(clear | self.i_reset):
            m.d.sync += [signal.eq(0) for signal in (extended, start, self.o_sigma, self.o_limit)]
        with m.If(self.i_reset):
            m.d.sync += [added.eq(0), rate.eq(0), mean.eq(0), fast.eq(fast.init)]
        return m
