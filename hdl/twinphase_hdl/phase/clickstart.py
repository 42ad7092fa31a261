"""The cold start of a channel: what kind an event is, and the angle that a start takes."""

from amaranth.hdl import C, Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.core.stages import Stages
from twinphase_hdl.phase.clickqueue import CHANNEL_BITS, ClickEvent, check_channels
from twinphase_hdl.phase.clickword import ChannelWord
from twinphase_spec import tracking, units

KIND_BITS = tracking.TRACKING.bit_length()


class Sums(data.Struct):
    """Clicks of a cold start and their sums."""

    n: tracking.START_CLICKS.bit_length()
    c: signed(tracking.SUM_BITS)
    s: signed(tracking.SUM_BITS)


class ColdStart(wiring.Component):
    """Counts the first clicks of a channel by the quarter turn of their reference; the 24th one starts it at the angle of their sums::

        k = ((r + 2^13) >> 14) mod 4,  a = +1 for L, -1 for R:    (C, S) += a (1, 0), a (0, -1), a (-1, 0), a (0, 1)  for k = 0 ... 3
        f = ANGLE[|C| 2^5 + |S|];  if C < 0: f = 2^15 - 1 - f;  if S < 0: f = -1 - f

    Parameters
    ----------
    channels : int
        1 to 32.

    Members
    -------
    i_valid, i, i_again, i_twice : In(1), In(ClickEvent), In(1), In(1)
        An event, and whether the events of one and of two clocks before it are of its channel. Its reset takes back n, C, S.
    i_locked : In(1)
        locked of its channel, two clocks later.
    i_lost, i_lost_channel : In(1), In(5)
        A channel that was given up: n = C = S = 0 after the change of the event of two clocks ago.
    o_kind : Out(3)
        Kind of the event of three clocks ago.
    o_angle : Out(signed(17))
        f of the event of eight clocks ago, 2^-16 turn.

    Latency: `latency` = 8 clocks to o_angle. Throughput: an event per clock. Overflow: none.
    Source: docs/tracking.md, at issue.
    """

    def __init__(self, *, channels: int) -> None:
        check_channels("ColdStart", channels)
        self._channels = channels
        super().__init__(
            {
                "i_valid": In(1),
                "i": In(ClickEvent),
                "i_again": In(1),
                "i_twice": In(1),
                "i_locked": In(1),
                "i_lost": In(1),
                "i_lost_channel": In(CHANNEL_BITS),
                "o_kind": Out(KIND_BITS),
                "o_angle": Out(signed(units.TURN_BITS + 1)),
            }
        )

    @property
    def latency(self) -> int:
        """Clocks from event to angle."""
        return 8

    def elaborate(self, platform) -> Module:
        m = Module()
        stages = Stages(m)
        m.submodules.sums = sums = ChannelWord(channels=self._channels, bits=Sums.as_shape().size)
        m.d.comb += [sums.i_valid.eq(self.i_valid), sums.i_channel.eq(self.i.channel)]
        m.d.comb += [sums.i_again.eq(self.i_again), sums.i_twice.eq(self.i_twice)]

        reset = stages.given("reset", 0, self.i.reset)
        turn = stages.given("turn", 0, self.i.turn)
        port = stages.given("port", 0, self.i.port)
        channel = stages.given("channel", 0, self.i.channel)
        channel_1, channel_2 = channel.at(1), channel.at(2)
        valid_1, valid_2 = Signal(), Signal()
        m.d.sync += [valid_1.eq(self.i_valid), valid_2.eq(valid_1)]

        # A lost channel's sums are cleared by the next event that reads them, so that one write port does. What the event ahead leaves
        # for the same channel is cleared already. A bit that a loss makes unlike another one, and an event like it, says which are.
        again = stages.given("again", 0, self.i_again)
        lost, done = (
            memory.Memory(shape=1, depth=1 << CHANNEL_BITS, init=[], attrs={"ram_style": "distributed"})
            for _ in range(2)
        )
        m.submodules.lost, m.submodules.done = lost, done
        lost_port, done_port, done_of_lost = (words.read_port(domain="comb") for words in (lost, done, done))
        loses, does = lost.write_port(), done.write_port()
        lost_1, done_1 = lost_port.data, done_port.data
        lost_now = self.i_lost & (channel_1 == self.i_lost_channel)
        agreed = stages.after("agreed", 1, lambda: Mux(lost_now, loses.data, lost_1))
        m.d.comb += [
            *(lost_port.addr.eq(channel_1), done_port.addr.eq(channel_1), done_of_lost.addr.eq(self.i_lost_channel)),
            *(does.addr.eq(channel_2), does.data.eq(agreed.at(2)), does.en.eq(valid_2)),
            *(loses.addr.eq(self.i_lost_channel), loses.en.eq(self.i_lost)),
            loses.data.eq(~Mux(valid_2 & (channel_2 == self.i_lost_channel), agreed.at(2), done_of_lost.data)),
        ]
        clear = stages.after("clear", 1, lambda ahead: lost_now | (~ahead & (lost_1 ^ done_1)), again)

        quarter = stages.after(
            "quarter", 0, lambda: (self.i.reference + (units.QUARTER_TURN >> 1))[units.TURN_BITS - 2 : units.TURN_BITS]
        )
        of_sine = stages.after("of_sine", 1, lambda quarter: quarter[0], quarter)
        down = stages.after("down", 1, lambda quarter, port: port ^ quarter[0] ^ quarter[1], quarter, port)

        found, left = Signal(Sums), Signal(Sums)
        counts, last = Signal(), Signal()
        step = Cat(1, down.at(2)).as_signed()
        m.d.comb += [
            Value.cast(found).eq(Mux(clear.at(2), 0, sums.o_word)),
            counts.eq(~turn.at(2) & ~self.i_locked & (found.n != tracking.START_CLICKS)),
            last.eq(found.n == tracking.START_CLICKS - 1),
            left.n.eq(Mux(reset.at(2), 0, found.n + counts)),
            left.c.eq(Mux(reset.at(2), 0, found.c + Mux(counts & ~of_sine.at(2), step, 0))),
            left.s.eq(Mux(reset.at(2), 0, found.s + Mux(counts & of_sine.at(2), step, 0))),
            sums.i_word.eq(left),
        ]
        kind = stages.after(
            "kind",
            2,
            lambda turn: Mux(
                turn,
                tracking.TURN,
                Mux(
                    self.i_locked,
                    tracking.TRACKING,
                    Mux(counts, Mux(last, tracking.STARTING, tracking.ACQUIRING), tracking.IGNORED),
                ),
            )[:KIND_BITS],
            turn,
        )
        m.d.comb += self.o_kind.eq(kind.at(3))

        c = stages.after("c", 2, lambda: left.c)
        s = stages.after("s", 2, lambda: left.s)
        place = stages.after(
            "place", 3, lambda c, s: Cat(abs(s)[: tracking.SUM_BITS - 1], abs(c)[: tracking.SUM_BITS - 1]), c, s
        )
        m.submodules.angles = angles = memory.Memory(
            shape=units.TURN_BITS - 1, depth=len(tracking.ANGLE), init=tracking.ANGLE, attrs={"ram_style": "block"}
        )
        acute = stages.table("acute", 4, angles, place)
        above = stages.after("above", 6, lambda f, c: f ^ (c < 0).replicate(units.TURN_BITS - 1), acute, c)
        angle = stages.after(
            "angle", 7, lambda f, s: (Cat(f, C(0, 2)) ^ (s < 0).replicate(units.TURN_BITS + 1)).as_signed(), above, s
        )
        m.d.comb += self.o_angle.eq(angle.at(8))
        return m
