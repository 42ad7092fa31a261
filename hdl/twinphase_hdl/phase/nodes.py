"""The click tracker's phases at the turns to epochs: nodes for what uses them in the server, TRACK records for the host."""

from amaranth.hdl import C, Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from twinphase_hdl.phase.clickepoch import CHOICE_BITS, LEAST, EpochLength
from twinphase_hdl.phase.clicktracker import ClickPhase
from twinphase_hdl.phase.record import RecordRegister
from twinphase_hdl.types import NODE_EPOCH_BITS, PhaseNode, record_words
from twinphase_spec import fixed, packets, smoothing, tracking, units
from twinphase_spec.packets import Stream

RATIO_BITS = fixed.RATIO_FRACTION_BITS
CHANNELS = len(smoothing.CHANNELS)
_CLICKS_BITS = 32
_MOST_SHIFT = tracking.EPOCH_BITS - LEAST
_EVERY_BITS = _MOST_SHIFT + (1 << smoothing.EVERY_BITS) - 1
"""Bits of e, counted from the shortest epoch's, that may have to be 0 for a record."""


class _Turn(data.Struct):
    """What is kept of the output of a channel's turn until its node and its record have left."""

    phase: tracking.A_BITS
    slope: smoothing.SLOPE_BITS
    p: tracking.P_BITS
    visibility: tracking.VISIBILITY_BITS
    locked: 1
    broke: 1


class PhaseNodes(wiring.Component):
    """From the output of channel c's turn to epoch e (phase U, slope B), with the ratio C in 2^-32::

        F = (U + ((U C) >> 32)) mod 2^32  for channel 0,  U mod 2^32  for channel 1
        G = B >> 8

    The product is taken bit by bit of U, lowest first, with C added where the bit is 1, so that its bits come out one by one, and F is
    their sum with U's own bits: 64 clocks, an adder of 33 bits and one of a bit. U turns round in its register meanwhile.

    Every 2^EVERY-th turn (``e mod 2^EVERY = 0``) also gives a TRACK record of each channel.

    Members
    -------
    i_run : In(1)
        0 forgets turns under way, counts of clicks, and records that have not left.
    i, i_valid : In(ClickPhase), In(1)
        Outputs of a `ClickTracker` of two channels: clicks, and turns, channel 0 a clock before channel 1. From turn to turn at
        least ``latency + 2`` clocks, of which the records have what is more.
    i_ratio : In(signed(32))
    i_epoch_bits, i_every : In(5), In(4)
        E and EVERY; they stand still while i_run is 1.
    i_applied : In(16)
        Phase of the actuator that acts in this clock, 2^-16 turn.
    o, o_valid : Out(PhaseNode), Out(1)
    o_record : Out(stream of TRACK record words)
    o_lost : Out(1)
        Strobe: a record had not found room until its channel's next turn, and is lost. Of a packer that takes at once never.
    o_idle : Out(1)

    Latency: `latency` clocks from a turn's output to its node. Throughput: an output per clock, of turns as above. Overflow: U and the
    count of clicks wrap; records as above.
    Source: docs/phase.md, nodes of time.
    """

    i_run: In(1)
    i: In(ClickPhase)
    i_valid: In(1)
    i_ratio: In(signed(RATIO_BITS))
    i_epoch_bits: In(CHOICE_BITS)
    i_every: In(smoothing.EVERY_BITS)
    i_applied: In(units.TURN_BITS)
    o: Out(PhaseNode)
    o_valid: Out(1)
    o_record: Out(stream.Signature(record_words(Stream.TRACK)))
    o_lost: Out(1)
    o_idle: Out(1)

    @property
    def latency(self) -> int:
        """Clocks from a turn's output to its node: taken, started, one per bit of U, node."""
        return tracking.A_BITS + 3

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.record = record = RecordRegister(record=Stream.TRACK)
        connect(m, record.o, flipped(self.o_record))
        length = EpochLength(m, self.i_epoch_bits)
        clocks = self.i.time

        # Taken: what a turn shows, and whether it has records. All bits of t below 2^E are 0.
        turns = [Signal(_Turn, name=f"turn_{c}", reset_less=True) for c in range(CHANNELS)]
        time = Signal(units.CLOCK_BITS, reset_less=True)
        compared = Signal(_EVERY_BITS, reset_less=True)
        came, is_turn, channel, broke, recorded = Signal(), Signal(), Signal(), Signal(), Signal()
        low_bits = Signal(range(_EVERY_BITS + 1), reset_less=True)
        m.d.sync += [
            low_bits.eq(length.beyond + self.i_every),
            compared.eq(Cat(low_bits > k for k in range(_EVERY_BITS))),
            came.eq(self.i_valid & self.i_run),
            is_turn.eq(self.i.kind == tracking.TURN),
            channel.eq(self.i.channel[0]),
            broke.eq(self.i.broke),
            recorded.eq(~(clocks[LEAST:][:_EVERY_BITS] & compared).any()),
        ]
        turned = self.i_valid & (self.i.kind == tracking.TURN)
        with m.If(turned):
            m.d.sync += time.eq(clocks)
        for c in range(CHANNELS):
            with m.If(turned & (self.i.channel[0] == c)):
                m.d.sync += [
                    turns[c].phase.eq(self.i.phase),
                    turns[c].slope.eq(self.i.slope[tracking.B_DROP :]),
                    turns[c].p.eq(self.i.p),
                    turns[c].visibility.eq(self.i.v[tracking.V_BITS - tracking.VISIBILITY_BITS :]),
                    turns[c].locked.eq(self.i.locked),
                    turns[c].broke.eq(self.i.broke),
                ]

        # What has been since a channel's last record.
        waits = Signal(CHANNELS)
        clicks = [Signal(_CLICKS_BITS, name=f"clicks_{c}") for c in range(CHANNELS)]
        broken = Signal(CHANNELS)
        counted = [Signal(_CLICKS_BITS, name=f"counted_{c}", reset_less=True) for c in range(CHANNELS)]
        shown = Signal(CHANNELS)
        """A broke output among those that the record that waits speaks of."""
        m.d.sync += self.o_lost.eq(0)
        busy, offer, first = Signal(), Signal(), Signal()
        with m.If(offer):
            m.d.sync += waits.eq(Mux(first, waits & 0b10, 0))
        for c in range(CHANNELS):
            with m.If(came & (channel == c)):
                with m.If(~is_turn):
                    m.d.sync += clicks[c].eq(clicks[c] + 1)
                with m.Else():
                    m.d.sync += [waits[c].eq(recorded), self.o_lost.eq(waits[c]), broken[c].eq(broken[c] | broke)]
                    with m.If(recorded):
                        m.d.sync += [
                            *(counted[c].eq(clicks[c]), clicks[c].eq(0)),
                            *(shown[c].eq(broken[c] | broke), broken[c].eq(0)),
                        ]

        # F of channel 0, and e.
        left = Signal(range(tracking.A_BITS))
        epoch = Signal(NODE_EPOCH_BITS + _MOST_SHIFT, reset_less=True)
        shifts = Signal(range(_MOST_SHIFT + 1))
        part = Signal(signed(RATIO_BITS), reset_less=True)
        total = Signal(signed(RATIO_BITS + 1))
        carry = Signal(reset_less=True)
        phase = Signal(smoothing.STEP_BITS, reset_less=True)
        unwrapped = turns[0].phase
        scaled, own = total[0], unwrapped[RATIO_BITS]
        high = ~left[-1]
        """The product's low 32 bits have gone by; the bit of U that belongs to this one lies in the middle."""
        m.d.comb += total.eq(part + Mux(unwrapped[0], self.i_ratio, 0))
        done = Signal()
        m.d.sync += done.eq(busy & (left == 0))
        with m.If(busy):
            m.d.sync += [
                *(left.eq(left - 1), busy.eq(left != 0), part.eq(total >> 1)),
                unwrapped.eq(unwrapped.rotate_right(1)),
                phase.eq(Cat(phase[1:], own ^ scaled ^ (carry & high))),
                carry.eq(high & Mux(own ^ scaled, carry, own)),
            ]
        with m.If(shifts != 0):
            m.d.sync += [shifts.eq(shifts - 1), epoch.eq(epoch >> 1)]
        with m.If(came & is_turn & (channel == 0)):
            m.d.sync += [
                *(busy.eq(1), left.eq(tracking.A_BITS - 1), part.eq(0), carry.eq(0)),
                *(epoch.eq(time[LEAST:]), shifts.eq(length.beyond)),
            ]

        # Nodes: channel 0, and channel 1 a clock later.
        second = Signal()
        m.d.sync += [second.eq(done), self.o_valid.eq(done | second)]
        node = Mux(second, turns[1].as_value(), turns[0].as_value())
        node = data.View(_Turn, node)
        m.d.sync += [
            self.o.channel.eq(second),
            self.o.epoch.eq(epoch),
            self.o.phase.eq(Mux(second, turns[1].phase, phase)),
            *(self.o[name].eq(node[name]) for name in ("slope", "locked", "broke")),
        ]

        # Records, while U stands as it came and no turn is just being taken: its fields would be of two turns.
        m.d.comb += [
            first.eq(waits[0]),
            offer.eq(waits.any() & ~busy & ~done & ~(came & is_turn) & ~record.o.valid),
        ]
        of = data.View(_Turn, Mux(first, turns[0].as_value(), turns[1].as_value()))
        slope_drop = tracking.B_BITS - tracking.B_DROP - 32
        m.d.comb += [
            record.i_valid.eq(offer),
            record.i.eq(
                Cat(
                    *(time[:32], time[32:], C(0, packets.TRACK_CHANNEL_SHIFT - (units.CLOCK_BITS - 32))),
                    *(~first, C(0, packets.TRACK_FLAGS_SHIFT - packets.TRACK_CHANNEL_SHIFT - 1)),
                    *(of.locked, Mux(first, shown[0], shown[1])),
                    *(of.phase, of.slope[slope_drop:], of.p, of.visibility, self.i_applied),
                    Mux(first, counted[0], counted[1]),
                )
            ),
        ]
        with m.If(~self.i_run):
            m.d.sync += [v.eq(0) for v in (came, waits, broken, busy, done, second, self.o_valid, shifts, *clicks)]
        m.d.comb += self.o_idle.eq(
            ~(self.i_valid | came | busy | done | second | self.o_valid | self.o_lost | waits.any() | record.o.valid)
        )
        return m
