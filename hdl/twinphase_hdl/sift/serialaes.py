"""AES-128 a byte at a time, for what is wanted seldom: one S-box, one block RAM for the key schedule."""

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from .aes import BLOCK_BYTES
from .keyschedule import ROUNDS
from .subbytes import SubBytes, doubled

FIRST_STEP = 8
"""Of the 24 steps of a round, the one that gives byte 0: state's RAM, S-box and its register, four sums, their register take as long."""
ROUND_STEPS = FIRST_STEP + BLOCK_BYTES


class SerialAes(wiring.Component):
    """Expands a key, or encrypts a block with the key that was expanded last.

    Formula: FIPS-197, 5.1 (cipher) and 5.2 (key schedule).

    Both are 11 rounds of 24 steps, a clock each, of which the last 16 give a byte each: of the next round key, or of the state. A state
    byte's four terms of MixColumns are added to four sums that move on by one with each byte of a column, so that they are complete, and
    in order, when its last has come. Key bytes are ``w[k] = w[k - 16] ^ w[k - 4]``, the last four in a chain, into which the
    substituted word of the round before is shifted first.

    Members
    -------
    i_start, i_expands : In(1), In(1), begin to expand, or to encrypt, whatever is under way; the first one expands
    o_place, i_byte : Out(4), In(8), the key's or block's byte ``o_place`` of the last clock but one, for `ROUND_STEPS` clocks from
        ``i_start`` on
    i_hold : In(1), the last round does not begin
    o_holds : Out(1), it is all that remains, and does not
    o_valid, o_byte : Out(1), Out(8), bytes of the encrypted block in 16 clocks on end, the first first
    o_busy : Out(1), low from the clock after the last byte

    Latency: 264 clocks from ``i_start`` to the last byte, and for as long as it is held. Source: FIPS-197.
    """

    i_start: In(1)
    i_expands: In(1)
    o_place: Out(4)
    i_byte: In(8)
    i_hold: In(1)
    o_holds: Out(1)
    o_valid: Out(1)
    o_byte: Out(8)
    o_busy: Out(1)

    latency = (ROUNDS + 1) * ROUND_STEPS
    """Clocks for which it is busy, if it is not held."""

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.sub = sub = SubBytes(count=2, with_double=True)
        m.submodules.keys = keys = memory.Memory(shape=unsigned(8), depth=256, init=[], attrs={"ram_style": "block"})
        m.submodules.state = state = memory.Memory(
            shape=unsigned(8), depth=2 * BLOCK_BYTES, init=[], attrs={"ram_style": "distributed"}
        )
        key_write, key_read = keys.write_port(), keys.read_port()
        state_write, state_read = state.write_port(), state.read_port()

        expands, step = Signal(), Signal(range(ROUND_STEPS))
        number, before = Signal(range(ROUNDS + 1)), Signal(range(ROUNDS + 1))
        """Of the round, and of the one before it."""
        first, last, ends = Signal(), Signal(), Signal()
        m.d.comb += self.o_holds.eq(last & ~expands & (step == 0) & self.i_hold)
        m.d.sync += ends.eq(step == ROUND_STEPS - 2)
        with m.If(self.i_start):
            m.d.sync += [self.o_busy.eq(1), expands.eq(self.i_expands), first.eq(1), last.eq(0)]
            m.d.sync += [number.eq(0), step.eq(0), ends.eq(0)]
        with m.Elif(ends):
            m.d.sync += [number.eq(number + 1), before.eq(number), step.eq(0)]
            m.d.sync += [first.eq(0), last.eq(number == ROUNDS - 1)]
            with m.If(last):
                m.d.sync += [self.o_busy.eq(0), last.eq(0)]
        with m.Elif(self.o_busy & ~self.o_holds):
            m.d.sync += step.eq(step + 1)

        # Key bytes leave the block RAM's register two steps later; those of the word that is to be substituted begin with its second.
        rotated = step[2:] == 0
        place = Signal(4)
        m.d.comb += [
            place.eq(Mux(rotated, Cat((step[:2] + 1)[:2], Cat(1, 1)), (step[:4] - (FIRST_STEP - 2))[:4])),
            key_read.addr.eq(Cat(place, Mux(expands, before, number))),
        ]
        key = Signal(8, reset_less=True)
        m.d.sync += [key.eq(key_read.data), self.o_place.eq((step[:4] - (FIRST_STEP - 3))[:4])]

        # ShiftRows is in the order in which the state is read.
        row, column = step[:2], step[2:4]
        m.d.comb += [
            state_read.addr.eq(Cat(row, (column + row)[:2], ~number[0])),
            sub.i[0].eq(Mux(expands, key, state_read.data)),
        ]
        once, twice = sub.o[0][:8], sub.o[0][8:]
        begins = step[:2] == (SubBytes.latency + 1) % 4
        sums = [Signal(8, name=f"sum{k}", reset_less=True) for k in range(4)]
        terms = [Mux(last, once, twice), *(Mux(last, 0, term) for term in (once ^ twice, once, once))]
        m.d.sync += [sums[k].eq(terms[k] ^ Mux(begins, 0, sums[k - 1])) for k in range(4)]

        chain = [Signal(8, name=f"chain{k}", reset_less=True) for k in range(4)]
        constant = Signal(8)
        gives = Signal()
        result = Signal(8)
        m.d.comb += [
            gives.eq(step[3] | step[4]),
            result.eq(Mux(first, self.i_byte, chain[0]) ^ Mux(first & expands, 0, key)),
        ]
        substituted = once ^ Mux(step[:2] == 0, constant, 0)
        with m.If(~expands & (step[:2] == (FIRST_STEP - 1) % 4)):
            m.d.sync += [a.eq(b) for a, b in zip(chain, reversed(sums), strict=True)]
        with m.Else():
            m.d.sync += [a.eq(b) for a, b in zip(chain, [*chain[1:], Mux(gives, result, substituted)], strict=True)]
        with m.If(self.i_start):
            m.d.sync += constant.eq(1)
        with m.Elif(ends & ~first):
            m.d.sync += constant.eq(Mux(constant[7], constant << 1 ^ doubled(0x80), constant << 1))

        written = Cat(step[:3], ~step[3])
        m.d.comb += [
            key_write.en.eq(self.o_busy & expands & gives),
            key_write.addr.eq(Cat(written, number)),
            key_write.data.eq(result),
            state_write.en.eq(self.o_busy & ~expands & gives),
            state_write.addr.eq(Cat(written, number[0])),
            state_write.data.eq(result),
            self.o_valid.eq(self.o_busy & ~expands & gives & last),
            self.o_byte.eq(result),
        ]
        return m
