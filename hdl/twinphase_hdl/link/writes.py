"""Which register writes have come, so that a late copy of one is not executed again."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

WRITERS = 8
WINDOW = 16
"""Ids up to a writer's newest one of which each is known to have come or not."""
OLD_BITS = 16
"""An id is old if it is further behind, and less than two to the power of this."""
AGES = 3


class Writes(wiring.Component):
    """Judges the id of a write against those that its writer (address and port) has sent before.

    With d = newest id of this writer - id, mod 2^id_bits:

    * d < ``window``: ``o_repeated`` if it has come, otherwise it is new, overtaken by later ones;
    * ``window`` <= d < 2^old_bits: ``o_old``; whether it has come is not known any more;
    * else it is new and the newest. So is every id of a writer that is not known.

    Known are the ``writers`` that wrote last, each for ``memory_clocks`` and at most half as long again from its last write: what has
    begun anew with any id (another process behind the same address and port) is taken for new unless that id is less than 2^old_bits
    behind, or the other one has been silent for so long.

    Members
    -------
    i_first, i_writer : In(1), In(address_bits) - strobe: a request begins, from there.
    i_id : In(id_bits) - its id; from 2 clocks later on at the earliest, held until ``i_keep``.
    o_repeated, o_old : Out(1) - the verdict, 5 clocks after ``i_first`` and 2 after the first clock of ``i_id``.
    i_keep : In(1) - strobe, not before the verdict: the request is a write and goes to the node.

    Latency: see above; the next ``i_first`` may come in the clock after ``i_keep``. Throughput: a request in 8 clocks. Overflow: of
    more writers the one who has been silent longest is forgotten, and is not known then.
    """

    def __init__(
        self,
        *,
        memory_clocks: int,
        writers: int = WRITERS,
        window: int = WINDOW,
        old_bits: int = OLD_BITS,
        id_bits: int = 32,
        address_bits: int = 48,
    ):
        if writers < 2 or writers & (writers - 1):
            raise ValueError(f"writes: writers is {writers}; allowed: powers of 2 from 2")
        if window < 2 or window & (window - 1):
            raise ValueError(f"writes: window is {window}; allowed: powers of 2 from 2")
        if not window < 1 << old_bits < 1 << id_bits:
            raise ValueError(
                f"writes: old_bits is {old_bits}; allowed: 2^old_bits above {window} and below 2^{id_bits}"
            )
        if memory_clocks < 2:
            raise ValueError(f"writes: memory_clocks is {memory_clocks}; allowed: at least 2")
        self._tick_clocks = -(-memory_clocks // (AGES - 1))
        self._writers, self._window, self._old_bits = writers, window, old_bits
        super().__init__(
            {
                "i_first": In(1),
                "i_writer": In(address_bits),
                "i_id": In(id_bits),
                "o_repeated": Out(1),
                "o_old": Out(1),
                "i_keep": In(1),
            }
        )
        # State, here so that a proof can speak of it. Addresses are in the order of their last writes, the last one first; all
        # differ, and so do the places of their ids in memory.
        self.entry = data.StructLayout({"newest": id_bits, "seen": window})
        self.entries = memory.Memory(shape=self.entry, depth=writers, init=[], attrs={"ram_style": "distributed"})
        self.address = [Signal(address_bits, name=f"address_{k}", init=k) for k in range(writers)]
        self.place = [Signal(range(writers), name=f"place_{k}", init=k) for k in range(writers)]
        self.age = [Signal(range(AGES + 1), name=f"age_{k}") for k in range(writers)]
        """Ticks for which the writer is known."""
        self.asks = Signal(address_bits)
        self.wait = Signal(range(self._tick_clocks), init=self._tick_clocks - 1)
        self.mine = Signal(self.entry)
        """What is known of the writer once this request has gone to the node."""

    def elaborate(self, platform):
        m = Module()
        writers, window = range(self._writers), self._window
        m.submodules.entries = entries = self.entries
        read, write = entries.read_port(domain="comb"), entries.write_port()
        tick = Signal()
        m.d.comb += tick.eq(self.wait == 0)
        m.d.sync += self.wait.eq(Mux(tick, self._tick_clocks - 1, self.wait - 1))

        # Who: one clock per line.
        equal, passed = Signal(self._writers), Signal(self._writers)
        known, place = Signal(), Signal(range(self._writers))
        with m.If(self.i_first):
            m.d.sync += self.asks.eq(self.i_writer)
        m.d.sync += equal.eq(Cat(address == self.asks for address in self.address))
        fresh = Cat(equal[k] & self.age[k].any() for k in writers)
        m.d.sync += [
            # Those that have not written after this one; all but the last one move on if it is not there.
            passed.eq(Cat(~equal[:k].any() if k else Const(1, 1) for k in writers)),
            known.eq(fresh.any()),
            place.eq(self.place[-1]),
        ]
        for k in writers:
            with m.If(equal[k]):
                m.d.sync += place.eq(self.place[k])

        # Its ids.
        held, behind, is_known = Signal(self.entry), Signal(len(self.i_id)), Signal()
        m.d.comb += read.addr.eq(place)
        m.d.sync += [held.eq(read.data), behind.eq(read.data.newest - self.i_id), is_known.eq(known)]
        ahead = Signal.like(behind)
        within, follows = Signal(), Signal()
        at = behind[: (window - 1).bit_length()]
        m.d.comb += [
            ahead.eq(-behind),
            within.eq(is_known & (behind < window)),
            follows.eq(is_known & (ahead < window)),
        ]
        mine = self.mine
        m.d.sync += [
            self.o_repeated.eq(within & held.seen.bit_select(at, 1)),
            self.o_old.eq(is_known & ~within & (behind[self._old_bits :] == 0)),
            mine.newest.eq(self.i_id),
            mine.seen.eq(Mux(follows, (held.seen << ahead[: len(at)])[:window], 0) | 1),
        ]
        with m.If(within):
            m.d.sync += [mine.newest.eq(held.newest), mine.seen.eq(held.seen | (Const(1, 1) << at))]

        m.d.comb += [write.en.eq(self.i_keep), write.addr.eq(place), write.data.eq(mine)]
        left = [self._older(age, tick) for age in self.age]
        for k in writers:
            m.d.sync += self.age[k].eq(left[k])
            with m.If(self.i_keep & passed[k]):
                source = (self.address[k - 1], self.place[k - 1], left[k - 1]) if k else (self.asks, place, AGES)
                m.d.sync += [
                    target.eq(value)
                    for target, value in zip((self.address[k], self.place[k], self.age[k]), source, strict=True)
                ]
        return m

    def _older(self, age: Signal, tick: Value) -> Value:
        """``age`` after this clock."""
        return (age - (tick & age.any()))[: len(age)]
