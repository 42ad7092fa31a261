"""The length of an epoch, chosen while nothing runs."""

from amaranth.hdl import C, Cat, Module, Signal, Value

from twinphase_spec import tracking

CHOICE_BITS = tracking.EPOCH_BITS.bit_length()
UNIT_BITS = tracking.EPOCH_BITS + 1
LEAST = tracking.EPOCH_LEAST


class EpochLength:
    """2^E clocks, E = EPOCH_LEAST to EPOCH_BITS, decoded into registers, so that no path of an event begins at E.

    ``beyond`` is E - EPOCH_LEAST, ``unit`` is 2^E, ``mask`` is 2^E - 1; known a clock after ``epoch_bits``, which must stand still while
    events are under way.
    """

    def __init__(self, m: Module, epoch_bits: Value) -> None:
        choices = 1 + tracking.EPOCH_BITS - LEAST
        self.beyond = Signal(range(choices), reset_less=True)
        self._unit = Signal(choices, reset_less=True)
        self._mask = Signal(choices - 1, reset_less=True)
        m.d.sync += [
            self.beyond.eq(epoch_bits - LEAST),
            self._unit.eq(Cat(epoch_bits == LEAST + k for k in range(choices))),
            self._mask.eq(Cat(epoch_bits > LEAST + k for k in range(choices - 1))),
        ]

    @property
    def unit(self) -> Value:
        """2^E, 17 bits."""
        return Cat(C(0, LEAST), self._unit)

    def clocks(self, time: Value) -> Value:
        """x of a clock count, 16 bits."""
        return Cat(time[:LEAST], time[LEAST : tracking.EPOCH_BITS] & self._mask)

    def parity(self, time: Value) -> Value:
        """e mod 2 of a clock count."""
        return (time[LEAST:UNIT_BITS] & self._unit).any()
