"""CRC-32 digests of the blocks of a record stream."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from twinphase_spec.sns import MAX_BLOCK_HERALDS, RING_HERALDS

POLYNOMIAL = 0xEDB88320
"""CRC-32/ISO-HDLC, reflected; start and final inversion 0xFFFFFFFF."""
BLOCK_BITS = MAX_BLOCK_HERALDS.bit_length()
HELD_BLOCKS = RING_HERALDS // 32
"""Most blocks that can be complete and not yet sifted."""
HELD_BITS = HELD_BLOCKS.bit_length()


def crc_masks(data_width: int) -> list[int]:
    """For each CRC bit, the mask of the bits of ``data ^ state`` (state in the low 32) whose parity it becomes.

    The CRC is linear, so the mask columns are the CRC steps of the unit vectors. ``data_width`` is a multiple of 32.
    """
    masks = [0] * 32
    for bit in range(data_width):
        word = 1 << bit
        for _ in range(data_width):
            word = (word >> 1) ^ (POLYNOMIAL if word & 1 else 0)
        for i in range(32):
            masks[i] |= (word >> i & 1) << bit
    return masks


def _parities(value: Value, masks: list[int]) -> Value:
    """For each mask, the parity of the bits of ``value`` under it."""
    return Cat((value & (mask & (1 << len(value)) - 1)).xor() for mask in masks)


class BlockDigest(wiring.Component):
    """CRC-32 over each run of ``i_block_heralds`` words, kept for the last 256 runs.

    Formula: ``zlib.crc32`` of the run's words, little-endian.

    Members
    -------
    i_block_heralds : In(12), words per block, constant while in use
    i_valid, i_data : In(1), In(data_width), one word
    o_blocks : Out(9), complete blocks so far, modulo 512
    o_busy : Out(1), a word or the end of a block is on its way
    i_index, o_digest : In(8), Out(32), digest of block ``i_index`` (number modulo 256), one clock later

    The words' share of the CRC is summed ahead, so that only the state's own step lies between its register and itself.

    Latency: a block counts in ``o_blocks``, and its digest can be read, from 4 clocks after its last word.
    Throughput: one word per clock. Overflow: a digest is overwritten 256 blocks later; the owner does not let more wait.
    Source: CRC-32/ISO-HDLC as in zlib; block rule of `twinphase_spec.sns`.

    ``data_width``: 32 or 64. ValueError otherwise.
    """

    def __init__(self, *, data_width: int) -> None:
        if data_width not in (32, 64):
            raise ValueError(f"BlockDigest: data_width is {data_width}; allowed: 32 or 64")
        self._data_width = data_width
        super().__init__(
            {
                "i_block_heralds": In(BLOCK_BITS),
                "i_valid": In(1),
                "i_data": In(data_width),
                "o_blocks": Out(HELD_BITS),
                "o_busy": Out(1),
                "i_index": In(HELD_BITS - 1),
                "o_digest": Out(32),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.digests = digests = memory.Memory(shape=32, depth=HELD_BLOCKS, init=[])
        write, read = digests.write_port(), digests.read_port()

        given, word = Signal(), Signal(self._data_width)
        m.d.sync += given.eq(self.i_valid)
        with m.If(self.i_valid):
            m.d.sync += word.eq(self.i_data)

        masks = crc_masks(self._data_width)
        position, last_position = Signal(BLOCK_BITS), Signal(BLOCK_BITS)
        ready, last, share = Signal(), Signal(), Signal(32)
        ends = position == last_position
        m.d.sync += [
            last_position.eq(self.i_block_heralds - 1),
            ready.eq(given),
            last.eq(given & ends),
            share.eq(_parities(word, masks)),
        ]
        with m.If(given):
            m.d.sync += position.eq(Mux(ends, 0, position + 1))

        state, step = Signal(32, init=0xFFFFFFFF), Signal(32)
        closed, digest = Signal(), Signal(32)
        m.d.comb += step.eq(_parities(state, masks) ^ share)
        m.d.sync += [closed.eq(last), digest.eq(~step)]
        with m.If(ready):
            m.d.sync += state.eq(Mux(last, 0xFFFFFFFF, step))
        m.d.sync += self.o_blocks.eq(self.o_blocks + closed)
        m.d.comb += [
            self.o_busy.eq(given | ready | closed),
            write.en.eq(closed),
            write.addr.eq(self.o_blocks),
            write.data.eq(digest),
            read.addr.eq(self.i_index),
            self.o_digest.eq(read.data),
        ]
        return m
