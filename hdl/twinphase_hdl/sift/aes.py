"""AES-128 encryption: a pipeline that takes a block per clock, and a core that turns four blocks in one round's logic."""

from functools import reduce
from operator import xor

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from .keyschedule import KEY_LAYOUT, ROUNDS, SCHEDULE_WORDS, ScheduleWord
from .subbytes import SubBytes, key_bytes, mixed, shifted_row, word_bytes

BLOCK_BYTES = 16
BLOCK = data.ArrayLayout(8, BLOCK_BYTES)
"""A block; byte 0 is the first of FIPS-197's input."""
PLACES = SubBytes.latency + 2
"""Blocks in an `AesCore`, which are the clocks of a round."""


class AesPipeline(wiring.Component):
    """Encrypts a block per clock.

    Formula: ``o_block = AES-128(key, i_block)`` (FIPS-197, 5.1).

    Each round is 8 block RAMs with their registers, and a register behind its sums: 80 block RAMs lie far apart, so that the way to a
    round's addresses is a clock of its own. The key schedule is kept in registers, a chain that the words are shifted into: all are
    used in every clock.

    Members
    -------
    i_word : In(ScheduleWord), the key schedule, all 44 words in order, before the first block
    i_block : In(ArrayLayout(8, 16))
    o_block : Out(ArrayLayout(8, 16)), of the ``i_block`` of ``latency`` clocks ago

    Latency: 31 clocks. Throughput: a block per clock. No overflow. Source: FIPS-197.
    """

    i_word: In(ScheduleWord)
    i_block: In(BLOCK)
    o_block: Out(BLOCK)

    latency = 1 + ROUNDS * (SubBytes.latency + 1)
    """Clocks from i_block to o_block."""

    def elaborate(self, platform: object) -> Module:
        m = Module()
        words = [Signal(32, name=f"word{k}") for k in range(SCHEDULE_WORDS)]
        with m.If(self.i_word.valid):
            m.d.sync += [a.eq(b) for a, b in zip(words, [*words[1:], self.i_word.word], strict=True)]
        keys = [key_bytes(words[4 * k : 4 * k + 4]) for k in range(ROUNDS + 1)]

        state = Signal(BLOCK, reset_less=True)
        m.d.sync += [state[k].eq(self.i_block[k] ^ keys[0][k]) for k in range(BLOCK_BYTES)]
        for number in range(1, ROUNDS + 1):
            last = number == ROUNDS
            m.submodules[f"sub{number}"] = sub = SubBytes(count=BLOCK_BYTES, with_double=not last)
            m.d.comb += sub.i.eq(state)
            state, key = Signal(BLOCK, name=f"state{number}", reset_less=True), keys[number]
            for k in range(BLOCK_BYTES):
                terms = [sub.o[shifted_row(k)]] if last else mixed(sub.o, k)
                m.d.sync += state[k].eq(reduce(xor, terms) ^ key[k])
        m.d.comb += self.o_block.eq(state)
        return m


class AesCore(wiring.Component):
    """Encrypts four blocks at a time with the logic of one round.

    Formula: ``o_block = AES-128(key, i_block)`` (FIPS-197, 5.1).

    A round takes four clocks, block RAM, its register, that of the columns' sums and that of the addresses, as block RAMs lie far apart.
    So four blocks take turns: each has every fourth clock. A block that comes out makes room for the next one in the same clock. The
    key schedule is in LUT RAM.

    Members
    -------
    i_key : In(ArrayLayout(32, 4)), the key itself
    i_word : In(ScheduleWord), its schedule, all 44 words, before the first block
    i_valid, i_block, i_tag : In(1), In(ArrayLayout(8, 16)), In(tag_bits), a block with what goes along with it; hold until ``o_ready``
    o_ready : Out(1)
    o_valid, o_block, o_tag : Out(1), Out(ArrayLayout(8, 16)), Out(tag_bits), in the order of the blocks

    Latency: 42 clocks from the transfer, up to 36 more while four other blocks are in the core. Throughput: four blocks in 40 clocks.
    No overflow. A reset drops the blocks that are in it. Source: FIPS-197.

    ``tag_bits``: from 1. ValueError otherwise.
    """

    latency = 1 + ROUNDS * PLACES + 1
    """Clocks from a block's transfer to o_valid, at least."""

    def __init__(self, *, tag_bits: int) -> None:
        if tag_bits < 1:
            raise ValueError(f"AesCore: tag_bits is {tag_bits}; allowed: from 1")
        self._tag_bits = tag_bits
        super().__init__(
            {
                "i_key": In(KEY_LAYOUT),
                "i_word": In(ScheduleWord),
                "i_valid": In(1),
                "i_block": In(BLOCK),
                "i_tag": In(tag_bits),
                "o_ready": Out(1),
                "o_valid": Out(1),
                "o_block": Out(BLOCK),
                "o_tag": Out(tag_bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # Rounds done by the block whose turn it is, 0 without one, and by those whose turn comes in the next clocks. ``free``: the place
        # whose turn it is takes a block in this clock. Whether the core takes one, ``~waits | free``, is known a clock before: it moves
        # much there and where blocks come from.
        done = [Signal(range(ROUNDS + 1), name=f"done{k}") for k in range(PLACES)]
        tags = [Signal(self._tag_bits, name=f"tag{k}", reset_less=True) for k in range(PLACES)]
        free, ends, waits, ready = Signal(init=1), Signal(), Signal(), Signal(init=1)
        block, tag = Signal(BLOCK, reset_less=True), Signal(self._tag_bits, reset_less=True)
        frees = (done[1] == 0) | (done[1] == ROUNDS)
        m.d.comb += self.o_ready.eq(ready)
        m.d.sync += [
            *(a.eq(b) for a, b in zip(done, [*done[1:], Mux(free, waits, done[0] + 1)], strict=True)),
            *(a.eq(b) for a, b in zip(tags, [*tags[1:], Mux(free, tag, tags[0])], strict=True)),
            *(free.eq(frees), ends.eq(done[1] == ROUNDS), ready.eq(frees | ~Mux(ready, self.i_valid, waits))),
        ]
        with m.If(self.o_ready):
            key = key_bytes(self.i_key)
            m.d.sync += [waits.eq(self.i_valid), tag.eq(self.i_tag)]
            m.d.sync += [block[k].eq(self.i_block[k] ^ key[k]) for k in range(BLOCK_BYTES)]

        # Round keys, read for the next turn.
        round_key = []
        for column in range(4):
            rows = memory.Memory(shape=unsigned(32), depth=16, init=[], attrs={"ram_style": "distributed"})
            m.submodules[f"keys{column}"] = rows
            write, read = rows.write_port(), rows.read_port()
            m.d.comb += [
                write.en.eq(self.i_word.valid & (self.i_word.index[:2] == column)),
                write.addr.eq(self.i_word.index[2:]),
                write.data.eq(self.i_word.word),
                read.addr.eq(done[1]),
            ]
            round_key += word_bytes(read.data)

        m.submodules.sub = sub = SubBytes(count=BLOCK_BYTES, with_double=True)
        addresses, sums, last = (Signal(BLOCK, name=name, reset_less=True) for name in ("addresses", "sums", "last"))
        m.d.comb += sub.i.eq(addresses)
        m.d.sync += [
            *(sums[k].eq(reduce(xor, mixed(sub.o, k))) for k in range(BLOCK_BYTES)),
            *(last[k].eq(sub.o[shifted_row(k)][:8]) for k in range(BLOCK_BYTES)),
            *(addresses[k].eq(Mux(free, block[k], sums[k] ^ round_key[k])) for k in range(BLOCK_BYTES)),
            self.o_valid.eq(ends),
            self.o_tag.eq(tags[0]),
            *(self.o_block[k].eq(last[k] ^ round_key[k]) for k in range(BLOCK_BYTES)),
        ]
        return m
