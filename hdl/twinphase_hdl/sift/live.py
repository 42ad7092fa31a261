"""Which windows are live: both detectors of the quantum band could have clicked."""

from itertools import pairwise

from amaranth.hdl import C, Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.types import Click, record_words
from twinphase_spec import frame, packets, units
from twinphase_spec.frame import SlotClass
from twinphase_spec.live import RECOVERY_BITS, SILENT_HEARTBEATS
from twinphase_spec.packets import Stream

from .runrecords import LENGTH_BITS, RECORDS, RunRecords

_JUDGED = 4
"""Stage in which the distance from the click before is known, so that it can be judged."""


class LiveWindows(wiring.Component):
    """Judges the clicks of the q band, one after the other, and records the runs of pulses that are not live.

    A click of pulse n at position x makes pulses ``n + 1 .. n + R`` not live, and n itself if ``x < i_gate_start`` (it is early). Pulses
    come in rising order, so that the click before, of pulse p, tells all. With ``d = n - p``: n is not live if ``0 < d <= R``, or if
    ``d = 0`` and p was not live or that click was early. The run that is open ends with ``e = p + R + 1``; the click joins it if
    ``d <= R`` (``d <= R + 1`` if it is early), and adds d to its length.

    Parameters
    ----------
    pulse_bits, recovery_bits, length_bits, records : int
        Of pulses, R and runs; records that may wait. Smaller ones than a node's are for proofs. A run is shorter than
        ``2^length_bits - 2^(recovery_bits + 1)``.

    Members
    -------
    i_run : In(1)
        0 forgets the open run; those that are closed still leave.
    i, i_valid : In(Click), In(1)
        A click of the framer, in the order of time; always taken.
    i_clock : In(51)
        Clock count.
    i_gate_start : In(17)
        First position of the q band's gate, in ticks.
    i_recovery : In(16)
        R; 0: every window is live. What it is when i_run rises counts.
    o_not_live : Out(1)
        Strobe: the click of `latency` clocks before is a gated one of the q band in a SIG slot, and its pulse is not live.
    o : Out(stream of LIVE record words)
        Runs, in rising order (`packets.LIVE_DTYPE`).
    o_lost : Out(1)
        Strobe: a run found ``records`` waiting and is lost.
    o_idle : Out(1)
        Nothing changes before the next click, or heartbeat tick.

    Latency: `latency` clocks, constant, to o_not_live. Throughput: a click per clock; a record in three clocks. Overflow: o_lost; pulses
    wrap.
    Source: docs/live.md.
    """

    def __init__(
        self,
        *,
        pulse_bits: int = frame.PULSE_BITS,
        recovery_bits: int = RECOVERY_BITS,
        length_bits: int = LENGTH_BITS,
        records: int = RECORDS,
    ) -> None:
        if not 1 <= recovery_bits < length_bits - 1:
            raise ValueError(f"LiveWindows: recovery_bits is {recovery_bits}; allowed: 1 to length_bits - 2")
        if not 2 * (recovery_bits + 1) <= pulse_bits <= frame.PULSE_BITS:
            raise ValueError(
                f"LiveWindows: pulse_bits is {pulse_bits}; allowed: 2 (recovery_bits + 1) to {frame.PULSE_BITS}"
            )
        self._pulse_bits, self._recovery_bits = pulse_bits, recovery_bits
        self._records = RunRecords(
            pulse_bits=pulse_bits, recovery_bits=recovery_bits, length_bits=length_bits, records=records
        )
        super().__init__(
            {
                "i_run": In(1),
                "i": In(Click),
                "i_valid": In(1),
                "i_clock": In(units.CLOCK_BITS),
                "i_gate_start": In(frame.PERIOD_INT_BITS),
                "i_recovery": In(recovery_bits),
                "o_not_live": Out(1),
                "o": Out(stream.Signature(record_words(Stream.LIVE))),
                "o_lost": Out(1),
                "o_idle": Out(1),
            }
        )

    @property
    def latency(self) -> int:
        """Clocks from a click to its judgement."""
        return _JUDGED + 1

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.records = records = self._records
        run, half, near_bits = self.i_run, self._pulse_bits // 2, self._recovery_bits + 1

        # R stands still while a run that it was used for is on its way.
        recovery = Signal(self._recovery_bits)
        beyond = Signal(near_bits)
        on = Signal()
        with m.If(~run & records.o_idle):
            m.d.sync += [recovery.eq(self.i_recovery), beyond.eq(self.i_recovery + 1), on.eq(self.i_recovery.any())]

        # 1: clicks of the q band. In every stage a click finds that of the one before in the registers that it goes into.
        comes = self.i_valid & self.i.framed & (self.i.channel[1:] == 0) & on & run
        valid = [comes, *(Signal(name=f"valid_{stage}") for stage in range(1, _JUDGED + 1))]
        m.d.sync += [after.eq(before & run) for before, after in pairwise(valid)]
        pulse = [self.i.pulse[: self._pulse_bits]]
        early, counts = [self.i.position < self.i_gate_start], [self.i.gated & (self.i.slot_class == SlotClass.SIG)]
        for stage in range(1, _JUDGED + 2):
            pulse.append(Signal(self._pulse_bits, name=f"pulse_{stage}"))
            early.append(Signal(name=f"early_{stage}"))
            counts.append(Signal(name=f"counts_{stage}"))
            with m.If(valid[stage - 1]):
                m.d.sync += [parts[stage].eq(parts[stage - 1]) for parts in (pulse, early, counts)]

        # 2, 3: the distance from the click before, its lower half first.
        low = Signal(half + 1)
        less = Signal(half)
        high = Signal(self._pulse_bits - half)
        with m.If(valid[1]):
            m.d.sync += low.eq(pulse[1][:half] - pulse[2][:half])
        reach = Signal(near_bits)
        """R, and one more for an early click: the largest distance that joins the open run."""
        with m.If(valid[2]):
            m.d.sync += [
                *(less.eq(low), high.eq(pulse[2][half:] - pulse[3][half:] - low[half])),
                reach.eq(Mux(early[2], beyond, recovery)),
            ]

        # 4: how far that is.
        far, near, joins, same = (Signal(name=name) for name in ("far", "near", "joins", "same"))
        distance, fresh = (Signal(near_bits, name=name) for name in ("distance", "fresh"))
        with m.If(valid[3]):
            m.d.sync += [
                far.eq(high.any() | less[near_bits:].any()),
                *(near.eq(less[:near_bits] <= recovery), joins.eq(less[:near_bits] <= reach)),
                *(same.eq(less[:near_bits] == 0), distance.eq(less), fresh.eq(reach)),
            ]

        # 5: judge the click by the one before.
        silent, due = self._silence(m, comes, valid[1])
        known, dead, is_dead = (Signal(name=name) for name in ("known", "dead", "is_dead"))
        m.d.comb += is_dead.eq(known & ~far & Mux(same, dead | early[-1], near))
        m.d.sync += self.o_not_live.eq(valid[_JUDGED] & counts[_JUDGED] & is_dead)
        with m.If(valid[_JUDGED]):
            m.d.sync += [dead.eq(is_dead), known.eq(1)]

        # Its run. A length is kept with 2^(recovery_bits + 1) added: the carry says that it is too long. That of a new run is R, one
        # more if the click is early; that of one that goes on where another was too long is the distance.
        is_open, extends, closes = (Signal(name=name) for name in ("is_open", "extends", "closes"))
        length = Signal(len(records.i_length))
        total = Signal(len(length) + 1)
        m.d.comb += [
            total.eq(length + distance),
            extends.eq(is_open & ~far & joins),
            closes.eq(is_open & Mux(valid[_JUDGED], ~extends | total[-1], silent[_JUDGED])),
        ]
        with m.If(valid[_JUDGED]):
            m.d.sync += is_open.eq(1)
            with m.If(extends & ~total[-1]):
                m.d.sync += length.eq(total)
            with m.Else():
                m.d.sync += length.eq(Cat(Mux(extends, distance, fresh), C(1, 1)))
        with m.Elif(silent[_JUDGED]):
            m.d.sync += is_open.eq(0)

        # 6: into the queue of records.
        m.d.sync += [records.i_valid.eq(closes), records.i_pulse.eq(pulse[-1]), records.i_length.eq(length)]
        m.d.comb += [records.i_beyond.eq(beyond), self.o_lost.eq(records.o_lost)]
        wiring.connect(m, records.o, wiring.flipped(self.o))

        with m.If(~run):
            m.d.sync += [v.eq(0) for v in (known, is_open, *silent[1:])]
        busy = (self.i_valid, *valid[1:], due, *silent[1:], self.o_not_live, ~records.o_idle)
        m.d.comb += self.o_idle.eq(~Cat(*busy).any())
        return m

    def _silence(self, m: Module, comes: Value, came: Value) -> tuple[list[Signal], Value]:
        """By stage, in place of a click: the sixth heartbeat tick since the last one. Whether a tick is being counted."""
        bits = packets.HEARTBEAT_BITS
        left = Signal(range(SILENT_HEARTBEATS + 1))
        zeros, tick = Signal(2), Signal()
        parts = self.i_clock[: bits // 2], self.i_clock[bits // 2 : bits]
        m.d.sync += [zeros.eq(Cat(part == 0 for part in parts)), tick.eq(zeros.all())]
        with m.If(~self.i_run):
            m.d.sync += left.eq(0)
        with m.Elif(came):
            m.d.sync += left.eq(SILENT_HEARTBEATS)
        with m.Elif(tick & left.any()):
            m.d.sync += left.eq(left - 1)
        silent = [Signal(name=f"silent_{stage}") for stage in range(_JUDGED + 1)]
        m.d.comb += silent[0].eq(tick & (left == 1) & ~(comes | came))
        m.d.sync += [after.eq(before) for before, after in pairwise(silent)]
        return silent, left.any() & ((self.i_clock[:bits] == 0) | zeros.all() | tick)
