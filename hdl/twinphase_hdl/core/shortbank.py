"""The counter bank of parts with little memory and slow carry chains, which have only the first counters of their register map."""

from collections.abc import Mapping

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.types import KeptRecord
from twinphase_spec import units

from .add import with_carry
from .counterbank import MEMORY_WORDS, CounterBank
from .steps import Balance


class EarlyBalanceBank(CounterBank):
    """As `CounterBank`; words are written a clock later, balances are added up in halves, and strobes are counted as numbers.

    Between a counter's lower word and the balance over it lies the counter's higher word; with the later write, these are the two clocks
    of the halves. Without large LUT, the table behind shift registers costs more than the carry chains that they save.
    """

    def __init__(self, *, steps: Mapping[str, range | Balance], width: int = 64, words: int = MEMORY_WORDS):
        super().__init__(steps=steps, width=width, words=words)
        self.writes = Signal()
        """A word goes to memory, perhaps the last one of a sweep: not idle, whatever ``o_idle`` says."""

    def _add_strobe(self, m: Module, accumulator: Signal, strobe: Value) -> None:
        with m.If(strobe):
            m.d.sync += accumulator.eq(accumulator + 1)

    def _strobes(self, m: Module, state: Value) -> Value:
        return state

    def _old_word(self, m: Module, word: Value, clears: Value) -> Value:
        old = Signal(self._word_bits)
        m.d.sync += old.eq(Mux(clears, 0, word))
        return old

    def _count_snapshot(self, m: Module, done: Value, snapshot: Value) -> None:
        # Snapshots are far apart: by the next one it has long been known whether it fills the lower half.
        count, half, full = self.o_snapshot_count, len(self.o_snapshot_count) // 2, Signal()
        m.d.sync += full.eq(count[:half].all())
        with m.If(done & snapshot):
            m.d.sync += [count[:half].eq(count[:half] + 1), count[half:].eq(count[half:] + full)]

    def _write(self, m: Module, port, address: Value, total: Value, kind: data.View, valid: Value) -> None:
        bits, half = self._word_bits, self._word_bits // 2
        word, is_low_balance, is_high_balance = Signal(bits), Signal(), Signal()
        m.d.sync += [
            word.eq(total),
            is_low_balance.eq(kind.is_balance & ~kind.is_high),
            is_high_balance.eq(kind.is_balance & kind.is_high),
            port.addr.eq(address),
            self.writes.eq(valid),
        ]
        m.d.comb += port.en.eq(self.writes)

        # Low half of the sum first, high half a clock later.
        rest, term, high_term = Signal(bits), Signal(bits), Signal(bits - half)
        adds, adds_high, subtracts, no_carry = Signal(), Signal(), Signal(), Signal()
        low = with_carry(Cat(rest[:half], Const(0)), Cat(term[:half], Const(0)), subtracts)
        m.d.sync += [
            term.eq(total ^ kind.went.replicate(bits)),
            high_term.eq(term[half:]),
            subtracts.eq(kind.went),
            adds.eq(valid & ~kind.is_high & (kind.came | kind.went)),
            adds_high.eq(adds),
            no_carry.eq(~low[half]),
        ]
        with m.If(self.writes & is_low_balance):
            m.d.sync += rest.eq(0)
        with m.Else():
            with m.If(adds):
                m.d.sync += rest[:half].eq(low)
            with m.If(adds_high):
                m.d.sync += rest[half:].eq(with_carry(rest[half:], high_term, ~no_carry))
        with m.If(is_low_balance):
            m.d.comb += port.data.eq(rest)
        with m.Elif(~is_high_balance):
            m.d.comb += port.data.eq(word)


class ShortBank(wiring.Component):
    """An `EarlyBalanceBank` with the address space of a `CounterBank` for all counters: words of those behind its own are 0.

    Parameters
    ----------
    steps : as of `CounterBank`, of the first counters of the register map

    Members
    -------
    As of `CounterBank`, and its timing; ``status.sent`` acts a clock later inside.
    """

    def __init__(self, *, steps: Mapping[str, range | Balance]):
        words = 1 << (2 * len(steps) + 1).bit_length()
        self.bank = EarlyBalanceBank(steps=steps, words=words)
        address_bits = (MEMORY_WORDS - 1).bit_length()
        super().__init__(
            {
                "i_clock": In(units.CLOCK_BITS),
                "i_steps": In(data.StructLayout(self.bank.i_steps.shape().members)),
                "i_status_enable": In(1),
                "i_snapshot": In(1),
                "i_address": In(address_bits),
                "o_data": Out(32),
                "o_snapshot_count": Out(32),
                "status": Out(KeptRecord(address_bits=address_bits)),
                "o_idle": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.bank = bank = self.bank
        bits = len(bank.i_address)
        beyond, status_beyond, sent = Signal(), Signal(), Signal()
        m.d.sync += [beyond.eq(self.i_address[bits:].any()), sent.eq(self.status.sent)]
        with m.If(self.status.read):
            m.d.sync += status_beyond.eq(self.status.address[bits:].any())
        m.d.comb += [
            *(
                getattr(bank, name).eq(getattr(self, name))
                for name in ("i_clock", "i_steps", "i_status_enable", "i_snapshot")
            ),
            self.o_snapshot_count.eq(bank.o_snapshot_count),
            self.o_idle.eq(bank.o_idle & ~bank.writes & ~sent),
            bank.i_address.eq(self.i_address),
            self.o_data.eq(Mux(beyond, 0, bank.o_data)),
            self.status.waits.eq(bank.status.waits & ~sent),
            self.status.clock.eq(bank.status.clock),
            bank.status.address.eq(self.status.address),
            bank.status.read.eq(self.status.read),
            bank.status.sent.eq(sent),
            self.status.data.eq(Mux(status_beyond, 0, bank.status.data)),
        ]
        return m
