"""The S-box of AES in block RAM, two bytes per clock from each."""

from amaranth.hdl import Module, Signal, unsigned
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

POLYNOMIAL = 0x11B
"""x^8 + x^4 + x^3 + x + 1, the field's modulus (FIPS-197, 4.2)."""
AFFINE_CONSTANT = 0x63


def doubled(value: int) -> int:
    """``value`` times x in GF(2^8) (FIPS-197, 4.2.1)."""
    value <<= 1
    return value ^ POLYNOMIAL if value >> 8 else value


def s_box() -> list[int]:
    """S-box by its definition: the inverse in GF(2^8), 0 for 0, and an affine map of its bits (FIPS-197, 5.1.1).

    The inverse is found among the powers of 3, which generates all 255 values but 0.
    """
    powers = [1]
    while len(powers) < 255:
        powers.append(doubled(powers[-1]) ^ powers[-1])
    table = [AFFINE_CONSTANT] * 256
    for exponent, value in enumerate(powers):
        inverse = powers[-exponent % 255]
        turned = (inverse << shift | inverse >> (8 - shift) for shift in range(5))
        mapped = AFFINE_CONSTANT
        for term in turned:
            mapped ^= term & 0xFF
        table[value] = mapped
    return table


class SubBytes(wiring.Component):
    """SubBytes of ``count`` bytes; with ``with_double`` also twice each result, as MixColumns wants it.

    Formula: ``o[k] = S(i[k])``, and in bits 15:8 ``2 S(i[k])`` in GF(2^8).

    Two bytes share a ROM with two read ports: one DP16KD of an ECP5, at 16 bits a word as well as at 8. The register is the one
    that the block RAM has of its own.

    Members
    -------
    i : In(ArrayLayout(8, count))
    o : Out(ArrayLayout(8 or 16, count)), for the ``i`` of ``latency`` clocks ago

    Latency: 2 clocks. Throughput: ``count`` bytes per clock. No overflow. Source: FIPS-197, 5.1.1 and 5.1.3.

    ``count``: even, from 2. ValueError otherwise.
    """

    latency = 2

    def __init__(self, *, count: int, with_double: bool) -> None:
        if count < 2 or count % 2:
            raise ValueError(f"SubBytes: count is {count}; allowed: an even number from 2")
        self._count = count
        self._width = 16 if with_double else 8
        super().__init__({"i": In(data.ArrayLayout(8, count)), "o": Out(data.ArrayLayout(self._width, count))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        init = [value | doubled(value) << 8 if self._width == 16 else value for value in s_box()]
        for pair in range(0, self._count, 2):
            rom = memory.Memory(shape=unsigned(self._width), depth=256, init=init, attrs={"rom_style": "block"})
            m.submodules[f"rom{pair}"] = rom
            for k in (pair, pair + 1):
                read = rom.read_port()
                # Never cleared: a reset would keep it out of the block RAM.
                held = Signal(self._width, name=f"held{k}", reset_less=True)
                m.d.comb += [read.addr.eq(self.i[k]), self.o[k].eq(held)]
                m.d.sync += held.eq(read.data)
        return m


def shifted_row(place: int) -> int:
    """Byte of the state that ShiftRows brings to ``place`` (FIPS-197, 5.1.2); byte r + 4c is row r of column c."""
    row, column = place % 4, place // 4
    return row + 4 * ((column + row) % 4)


def mixed(substituted: data.View, place: int) -> tuple:
    """The five terms whose sum is byte ``place`` after SubBytes, ShiftRows and MixColumns (FIPS-197, 5.1.3).

    ``substituted``: the state after `SubBytes` with doubles. ``2 a + 3 b + c + d = 2a + 2b + b + c + d``.
    """
    row, column = place % 4, place // 4
    a, b, c, d = (substituted[shifted_row((row + k) % 4 + 4 * column)] for k in range(4))
    return a[8:], b[8:], b[:8], c[:8], d[:8]


def word_bytes(word) -> list:
    """Bytes of a word of FIPS-197, whose first byte is the highest."""
    return [word[24:32], word[16:24], word[8:16], word[0:8]]


def key_bytes(words) -> list:
    """The 16 bytes of a key of four words."""
    return [byte for word in words for byte in word_bytes(word)]
