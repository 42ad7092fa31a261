"""From runs of pulses as their clicks close them to LIVE records."""

from amaranth.hdl import C, Cat, Module, Mux, Signal, signed
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.types import record_words
from twinphase_spec.frame import PULSE_BITS
from twinphase_spec.live import RECOVERY_BITS
from twinphase_spec.packets import Stream

LENGTH_BITS = 32
RECORDS = 16
"""Runs that may wait: clicks close them at up to one per clock, a record takes three."""


class RunRecords(wiring.Component):
    """Records ``(first, length)`` of runs that are given by the pulse p of their last click::

        length = i_length - 2^(recovery_bits + 1),    first = p + i_beyond - length    mod 2^pulse_bits

    Members
    -------
    i_pulse, i_length, i_valid : In(pulse_bits), In(length_bits), In(1)
        A run, offered for one clock: p, and its length plus ``2^(recovery_bits + 1)``.
    i_beyond : In(recovery_bits + 1)
        R + 1; stands still while o_idle is low.
    o : Out(stream of LIVE record words)
        `packets.LIVE_DTYPE`.
    o_lost : Out(1)
        Strobe: the run offered in this clock found ``records`` waiting.
    o_idle : Out(1)

    Latency: `latency` clocks from a run to o.valid if none waits. Throughput: a record in three clocks. Overflow: o_lost.
    """

    def __init__(
        self,
        *,
        pulse_bits: int = PULSE_BITS,
        recovery_bits: int = RECOVERY_BITS,
        length_bits: int = LENGTH_BITS,
        records: int = RECORDS,
    ) -> None:
        if records < 2 or records & (records - 1):
            raise ValueError(f"RunRecords: records is {records}; allowed: a power of two from 2")
        if not pulse_bits // 2 < length_bits <= LENGTH_BITS:
            raise ValueError(
                f"RunRecords: length_bits is {length_bits}; allowed: more than {pulse_bits // 2}, at most {LENGTH_BITS}"
            )
        super().__init__(
            {
                "i_pulse": In(pulse_bits),
                "i_length": In(length_bits),
                "i_valid": In(1),
                "i_beyond": In(recovery_bits + 1),
                "o": Out(stream.Signature(record_words(Stream.LIVE))),
                "o_lost": Out(1),
                "o_idle": Out(1),
            }
        )
        run = data.StructLayout({"pulse": pulse_bits, "length": length_bits})
        self.waiting = memory.Memory(shape=run, depth=records, init=[], attrs={"ram_style": "distributed"})

    @property
    def latency(self) -> int:
        """Clocks from a run to its record: written, read, lower half, upper half."""
        return 4

    def elaborate(self, platform) -> Module:
        m = Module()
        pulse_bits, length_bits, above = len(self.i_pulse), len(self.i_length), len(self.i_beyond)
        m.submodules.waiting = waiting = self.waiting
        write = waiting.write_port()
        read = waiting.read_port(domain="comb")
        level = Signal(range(waiting.depth + 1))
        waits, pop = Signal(), Signal()
        m.d.comb += [
            *(write.data.pulse.eq(self.i_pulse), write.data.length.eq(self.i_length)),
            write.en.eq(self.i_valid & ~level[-1]),
            self.o_lost.eq(self.i_valid & level[-1]),
            waits.eq(level.any()),
        ]
        with m.If(write.en):
            m.d.sync += write.addr.eq(write.addr + 1)
        with m.If(pop):
            m.d.sync += read.addr.eq(read.addr + 1)
        with m.If(write.en ^ pop):
            m.d.sync += level.eq(level + Mux(write.en, 1, -1))

        # The oldest, in three steps: from the memory its length and how far p lies behind its first pulse, the lower half of that pulse,
        # the upper half with the whole record.
        half = pulse_bits // 2
        halfway = Signal()
        ready_next = Signal()
        pulse = Signal(pulse_bits)
        length = Signal(length_bits)
        back = Signal(signed(length_bits + 1))
        low = Signal(half + 1)
        first = Cat(low[:half], (pulse[half:] - back[half:].as_signed() - low[half])[: pulse_bits - half])
        takes = Signal()
        m.d.comb += [
            takes.eq(ready_next & (~self.o.valid | self.o.ready)),
            pop.eq(waits & ~halfway & ~ready_next),
            self.o_idle.eq(~(self.i_valid | waits | halfway | ready_next | self.o.valid)),
        ]
        m.d.sync += halfway.eq(pop)
        with m.If(pop):
            m.d.sync += [
                pulse.eq(read.data.pulse),
                length.eq(read.data.length - (1 << above)),
                back.eq(read.data.length - Cat(self.i_beyond, C(1, 1))),
            ]
        with m.If(halfway):
            m.d.sync += [low.eq(pulse[:half] - back[:half]), ready_next.eq(1)]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(takes):
            m.d.sync += [
                *(ready_next.eq(0), self.o.valid.eq(1)),
                self.o.payload.as_value().eq(Cat(first, C(0, 64 - pulse_bits), length)),
            ]
        return m
