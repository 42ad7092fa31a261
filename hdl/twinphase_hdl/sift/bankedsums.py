"""Many sums in a little LUT RAM, in two banks that are forgotten at once."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out


class BankedSums(wiring.Component):
    """``sum[bank, word] += add`` modulo ``2**bits``, from 0 since its bank was forgotten.

    LUT RAM cannot be cleared at once: a bit per word says whether it has been written. Read and addition are a clock each; the sum that
    is being written is taken from where it is made.

    Parameters
    ----------
    words : int
        Of a bank, a power of two.
    bits, add_bits : int
        Of a sum, and of what is added to it.

    Members
    -------
    i_run : In(1)
        0 forgets all, and what is on its way.
    i_valid, i_bank, i_word, i_add : In(1), In(1), In(log2 words), In(add_bits)
        Adds.
    i_read_bank, i_read_word, o_data : In(1), In(log2 words), Out(bits)
        The sum, a clock after its address.
    i_forget : In(1)
        Strobe: forgets bank ``i_read_bank``, to which nothing is being added.
    o_idle : Out(1)

    Latency: an addition is read 2 clocks after it came. Throughput: one addition and one read per clock. Overflow: sums wrap.
    """

    def __init__(self, *, words: int, bits: int, add_bits: int) -> None:
        if words < 2 or words & (words - 1):
            raise ValueError(f"BankedSums: words is {words}; allowed: powers of two from 2 up")
        if not 1 <= add_bits <= bits:
            raise ValueError(f"BankedSums: add_bits is {add_bits}; allowed: 1 to bits, {bits}")
        self._words, self._bits = words, bits
        address = words.bit_length() - 1
        super().__init__(
            {
                "i_run": In(1),
                "i_valid": In(1),
                "i_bank": In(1),
                "i_word": In(address),
                "i_add": In(add_bits),
                "i_read_bank": In(1),
                "i_read_word": In(address),
                "o_data": Out(bits),
                "i_forget": In(1),
                "o_idle": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.store = store = memory.Memory(
            shape=self._bits, depth=2 * self._words, init=[], attrs={"ram_style": "distributed"}
        )
        write, old, read = store.write_port(), store.read_port(domain="comb"), store.read_port(domain="comb")
        written = Signal(2 * self._words)

        # Read.
        added = Signal()
        add, before, known, again = Signal.like(self.i_add), Signal(self._bits), Signal(), Signal()
        at, total = Signal(len(write.addr)), Signal(self._bits)
        m.d.comb += old.addr.eq(Cat(self.i_word, self.i_bank))
        m.d.sync += [
            added.eq(self.i_valid & self.i_run),
            *(at.eq(old.addr), add.eq(self.i_add), before.eq(old.data)),
            known.eq(written.bit_select(old.addr, 1)),
            again.eq(added & (old.addr == at)),
        ]

        # Add and write.
        m.d.comb += [
            *(write.addr.eq(at), write.en.eq(added)),
            write.data.eq(Mux(again, total, Mux(known, before, 0)) + add),
        ]
        m.d.sync += total.eq(write.data)
        with m.If(added):
            m.d.sync += written.bit_select(at, 1).eq(1)
        for bank in range(2):
            with m.If(~self.i_run | (self.i_forget & (self.i_read_bank == bank))):
                m.d.sync += written[bank * self._words : (bank + 1) * self._words].eq(0)

        there, data = Signal(), Signal(self._bits)
        m.d.comb += read.addr.eq(Cat(self.i_read_word, self.i_read_bank))
        m.d.sync += [there.eq(written.bit_select(read.addr, 1)), data.eq(read.data)]
        m.d.comb += [self.o_data.eq(Mux(there, data, 0)), self.o_idle.eq(~(self.i_valid | added))]
        return m
