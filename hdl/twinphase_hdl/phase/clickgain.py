"""The gains of the click tracker's channels, one after the other, by one multiplier."""

from itertools import pairwise

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.phase.clickconfig import GainConfig, GainWords
from twinphase_hdl.phase.clickqueue import CHANNEL_BITS, check_channels
from twinphase_hdl.phase.clicksense import TOLD_BITS
from twinphase_hdl.phase.clicktime import PIECE
from twinphase_spec import tracking

SLOT = 8
"""Clocks per channel: it has seven products, and is under way for 30 clocks."""
ROUND_SHIFT = tracking.A_GAIN_OFFSET - 1
D_SQUARE_SHIFT = 2 * tracking.G_FRACTION - tracking.SQUARE_DROP


class Told(data.Struct):
    """What a turn hands over: ``aa = a >> 8``, and the channel's a_gain."""

    told: signed(TOLD_BITS)
    a_gain: tracking.A_GAIN_BITS


class ClickGain(wiring.Component):
    """g of each channel, and the words that follow from it, after every turn::

        g     = (g + ((g aa + 2^(11 + a_gain)) >> (12 + a_gain))) limited to 2^11 ... 2^17 - 1;   2^14 before the first
        d     = min((d ((g g) >> 12)) >> 16, 2^34 - 1)
        kappa = min((kappa g) >> 14, 2^17 - 1) with k_follows, kappa without

    A turn's channels come one per clock, and are worked on in slots of eight clocks, each begun while those before it go on. In clocks
    from a slot's begin the products are chosen so: 3 g aa, 12 g g, 18 kappa g, 21 to 24 the four of d in pieces of 17 bits. Each is known
    four clocks later, with two registers on either side of the multiplier, which may lie far from here. What is told while a turn is
    being worked on begins nothing.

    Parameters
    ----------
    channels : int
        1 to 32.

    Members
    -------
    i_run : In(1)
        0 forgets what is under way, and every g.
    i_channel, i, i_valid : In(5), In(Told), In(1)
        A channel's part of a turn; the channels in their order, from 0, one per clock.
    o_config, i_config : Out(5), In(GainConfig)
        A channel, and two clocks later its configuration.
    o_channel, o, o_valid : Out(5), Out(GainWords), Out(1)
        A channel's next words.
    o_ready : Out(1)
        With the last channel's words.

    Latency: `latency` clocks from channel 0's i_valid to o_ready. Throughput: a turn per `latency` + 2 clocks. Overflow: g and the
    words saturate.
    Source: docs/tracking.md, gains that adapt.
    """

    def __init__(self, *, channels: int) -> None:
        check_channels("ClickGain", channels)
        self._channels = channels
        super().__init__(
            {
                "i_run": In(1),
                "i_channel": In(CHANNEL_BITS),
                "i": In(Told),
                "i_valid": In(1),
                "o_config": Out(CHANNEL_BITS),
                "i_config": In(GainConfig),
                "o_channel": Out(CHANNEL_BITS),
                "o": Out(GainWords),
                "o_valid": Out(1),
                "o_ready": Out(1),
            }
        )

    @property
    def latency(self) -> int:
        """Clocks from channel 0's part of a turn to the last channel's words."""
        return SLOT * self._channels + 23

    def elaborate(self, platform) -> Module:
        m = Module()
        # Channels of this slot and of the three before it; and whether there is one.
        slots = [Signal(CHANNEL_BITS, name=f"channel_{k}", reset_less=True) for k in range(4)]
        valids = [Signal(name=f"valid_{k}") for k in range(len(slots))]
        phase = Signal(range(SLOT), reset_less=True)
        last = self._channels - 1
        with m.If(~self.i_run):
            m.d.sync += [valid.eq(0) for valid in valids]
        with m.Elif(Cat(valids).any()):
            m.d.sync += phase.eq(phase + 1)
            with m.If(phase == SLOT - 1):
                m.d.sync += [slots[0].eq(slots[0] + 1), valids[0].eq(valids[0] & (slots[0] != last))]
                m.d.sync += [after.eq(before) for part in (slots, valids) for before, after in pairwise(part)]
        with m.Else():
            m.d.sync += [phase.eq(0), slots[0].eq(0), valids[0].eq(self.i_valid & (self.i_channel == 0))]

        def stored(name: str, shape) -> tuple[memory.WritePort, Signal]:
            """Write port of a word per channel, and the slot's word, known two clocks after the slot's begin."""
            m.submodules[name] = words = memory.Memory(
                shape=shape, depth=max(self._channels, 2), init=[], attrs={"ram_style": "block"}
            )
            read, register = words.read_port(), Signal(shape, name=f"{name}_word", reset_less=True)
            m.d.comb += read.addr.eq(slots[0])
            m.d.sync += register.eq(read.data)
            return words.write_port(), register

        write_told, told = stored("told", Told)
        write_g, stored_g = stored("gains", tracking.G_BITS)
        # No g has been written since i_run rose.
        fresh = Signal(init=1)
        old, g = Signal(tracking.G_BITS, reset_less=True), Signal(tracking.G_BITS, reset_less=True)
        config = self.i_config
        m.d.comb += [
            self.o_config.eq(slots[2]),
            write_told.addr.eq(self.i_channel),
            write_told.data.eq(self.i),
            write_told.en.eq(self.i_valid),
            write_g.addr.eq(slots[1]),
            write_g.data.eq(g),
            write_g.en.eq(valids[1] & (phase == 3)),
        ]

        # One multiplier: operands that are chosen in a clock have their product four clocks later.
        square = Signal(2 * tracking.G_BITS - tracking.SQUARE_DROP, reset_less=True)
        x, y = Signal(PIECE, reset_less=True), Signal(signed(PIECE + 1), reset_less=True)
        left, right = Signal.like(x, name="left"), Signal.like(y, name="right")
        whole = Signal(signed(2 * PIECE + 1), reset_less=True)
        product = Signal.like(whole, name="product")
        m.d.sync += [left.eq(x), right.eq(y), whole.eq(left * right), product.eq(whole)]
        d_low, d_high = config.words.d[:PIECE], config.words.d[PIECE:]
        with m.Switch(phase):
            for number, (one, other) in {
                3: (old, told.told),
                4: (g, g),
                2: (config.words.kappa, g),
                5: (d_low, square[:PIECE]),
                6: (d_high, square[:PIECE]),
                7: (d_low, square[PIECE:]),
                0: (d_high, square[PIECE:]),
            }.items():
                with m.Case(number):
                    m.d.sync += [x.eq(one), y.eq(other)]

        # g: (P + 2^(k - 1)) >> k is ((P >> (k - 1)) + 1) >> 1.
        near, far = (
            Signal(signed(2 * PIECE + 1 - ROUND_SHIFT), name=name, reset_less=True) for name in ("near", "far")
        )
        moved = Signal(signed(len(far) + 1), reset_less=True)
        m.d.sync += [
            near.eq((product >> ROUND_SHIFT) >> told.a_gain[:2]),
            far.eq(near >> (told.a_gain[2:] << 2)),
            moved.eq((far + Cat(1, old)) >> 1),
        ]
        bits, low_bits = tracking.G_BITS, tracking.G_LEAST.bit_length() - 1
        low = (moved < 0) | ~moved[low_bits:].any()
        high = ~moved[-1] & moved[bits:].any()
        limited = Mux(low, tracking.G_LEAST, Mux(high, tracking.G_MOST, moved[:bits]))
        with m.If(phase == 2):
            m.d.sync += [old.eq(Mux(fresh, 1 << tracking.G_FRACTION, stored_g)), g.eq(limited)]
        with m.If(phase == 0):
            m.d.sync += square.eq(product[tracking.SQUARE_DROP :])

        # kappa.
        kappa = Signal(tracking.KAPPA_BITS, reset_less=True)
        scaled = product[tracking.G_FRACTION : 2 * PIECE]
        with m.If(phase == 6):
            m.d.sync += kappa.eq(
                Mux(
                    config.k_follows,
                    scaled[: tracking.KAPPA_BITS] | scaled[tracking.KAPPA_BITS :].any().replicate(tracking.KAPPA_BITS),
                    config.words.kappa,
                )
            )

        # d: the sum of its products from the lowest on, whose low bits are laid aside.
        total = Signal(2 * PIECE + 1, reset_less=True)
        lowest, middle = Signal(PIECE - D_SQUARE_SHIFT, reset_less=True), Signal(PIECE, reset_less=True)
        m.d.sync += total.eq(Mux(phase == 1, 0, Mux(phase[0], total, total >> PIECE)) + product[: 2 * PIECE])
        with m.If(phase == 2):
            m.d.sync += lowest.eq(total[D_SQUARE_SHIFT:PIECE])
        with m.If(phase == 4):
            m.d.sync += middle.eq(total[:PIECE])
        d = Cat(lowest, middle, total)
        over = d[tracking.D_BITS :].any()

        done = (phase == 5) & valids[-1] & self.i_run
        m.d.sync += [
            self.o_valid.eq(done),
            self.o_ready.eq(done & (slots[-1] == last)),
            self.o_channel.eq(slots[-1]),
            self.o.d.eq(d[: tracking.D_BITS] | over.replicate(tracking.D_BITS)),
            self.o.kappa.eq(kappa),
            fresh.eq(~self.i_run | (fresh & ~self.o_ready)),
        ]
        return m
