"""Keys of the block digest, and the pads that cover its tags."""

from itertools import pairwise

from amaranth.hdl import C, Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from twinphase_spec.digest import BLOCK_COUNT_BITS, DIGEST_BITS, LIVE_KEY_BLOCK, PAD_FIRST

from .keyschedule import KEY_LAYOUT
from .serialaes import SerialAes
from .subbytes import word_bytes

NONCE_WORDS = 2


class DigestSettings(data.Struct):
    """Key and nonce in words, the first byte highest in word 0: DIGEST_KEY_0 .. 3, DIGEST_NONCE_0, 1."""

    key: KEY_LAYOUT
    nonce: data.ArrayLayout(32, NONCE_WORDS)


def of_place(values: list[Value], place: Value) -> Value:
    """``values[place]``, two to one for each bit of ``place``."""
    for bit in place:
        values = [Mux(bit, odd, even) for even, odd in zip(values[::2], values[1::2], strict=True)]
    return values[0]


class DigestPads(wiring.Component):
    """Keys h, k and g, and the pads of one block after the other.

    Formula: docs/digest.md: ``h | k = AES(0)``, ``g | unused = AES(1)``, ``pad_A | pad_B = AES(nonce, 2^63 + b)`` for b = 0, 1, 2 ...,
    each half with its first byte highest. While a block's pads are shown, the next one's are made up to the last round.

    Members
    -------
    i_settings : In(DigestSettings)
    i_written : In(1), strobe, in the first clock of what was written to them: everything begins anew
    i_stop : In(1), blocks are counted from 0 again, and no pads are made
    o_ready : Out(1), h, k and g are those of the settings; low from the clock after ``i_written``
    o_herald_key, o_psi_key, o_live_key : Out(64), h, k and g
    o_valid, o_pads : Out(1), Out(ArrayLayout(64, 2)), pads (Alice's, Bob's) of the block whose turn it is
    i_next : In(1), strobe, only with ``o_valid``: the next block's turn
    o_idle : Out(1), nothing is being made

    Latency: `latency` clocks from reset or ``i_written`` to ``o_ready``, `SerialAes.latency` + 2 from ``i_stop``'s end to ``o_valid``, 26
    from ``i_next``. Throughput: a block in `SerialAes.latency` + 2 clocks. No overflow. Source: docs/digest.md, FIPS-197.
    """

    i_settings: In(DigestSettings)
    i_written: In(1)
    i_stop: In(1)
    o_ready: Out(1)
    o_herald_key: Out(DIGEST_BITS)
    o_psi_key: Out(DIGEST_BITS)
    o_live_key: Out(DIGEST_BITS)
    o_valid: Out(1)
    o_pads: Out(data.ArrayLayout(DIGEST_BITS, 2))
    i_next: In(1)
    o_idle: Out(1)

    latency = 3 * (SerialAes.latency + 2)
    """Clocks from reset or ``i_written`` to o_ready."""

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.aes = aes = SerialAes()
        number = Signal(BLOCK_COUNT_BITS)
        block = Cat(number, C(PAD_FIRST >> BLOCK_COUNT_BITS, DIGEST_BITS - BLOCK_COUNT_BITS))
        key, pads, live_key = Signal(), Signal(), Signal()

        # A byte is chosen in two steps, a word of key or counter block, then its byte. The block of h and k is all zeros, that of g has a
        # last byte that is not.
        words = [*self.i_settings.nonce, block[32:], block[:32], *self.i_settings.key]
        word, place = Signal(32, reset_less=True), Signal(2)
        byte = Signal(8, reset_less=True)
        ends = Signal()
        m.d.sync += [
            ends.eq(aes.o_place.all()),
            word.eq(of_place(words, Cat(aes.o_place[2:], key))),
            place.eq(aes.o_place[:2]),
            byte.eq(Mux(key | pads, of_place(word_bytes(word), place), Mux(live_key & ends, LIVE_KEY_BLOCK, 0))),
        ]
        m.d.comb += aes.i_byte.eq(byte)

        both_keys, live_keys, both_pads = (
            Signal(2 * DIGEST_BITS, reset_less=True, name=name) for name in ("both_keys", "live_keys", "both_pads")
        )
        m.d.comb += [
            self.o_herald_key.eq(both_keys[DIGEST_BITS:]),
            self.o_psi_key.eq(both_keys[:DIGEST_BITS]),
            self.o_live_key.eq(live_keys[DIGEST_BITS:]),
            self.o_pads[0].eq(both_pads[DIGEST_BITS:]),
            self.o_pads[1].eq(both_pads[:DIGEST_BITS]),
            aes.i_hold.eq(self.o_valid),
        ]
        # A byte goes in a clock after it came, so that only registers move so many: the last is there when its block is told to be.
        made, of_keys, of_live_key, of_pads = Signal(8, reset_less=True), Signal(), Signal(), Signal()
        m.d.sync += [
            *(made.eq(aes.o_byte), of_keys.eq(aes.o_valid & ~pads & ~live_key)),
            *(of_live_key.eq(aes.o_valid & live_key), of_pads.eq(aes.o_valid & pads)),
        ]
        for given, target in ((of_keys, both_keys), (of_live_key, live_keys), (of_pads, both_pads)):
            with m.If(given):
                m.d.sync += target.eq(Cat(made, target))
        with m.If(self.i_next):
            m.d.sync += self.o_valid.eq(0)
        with m.FSM(name="pads_fsm"):
            for state, following in pairwise(("EXPAND", "KEYS", "LIVE_KEY", "PADS")):
                with m.State(state):
                    m.d.comb += [aes.i_start.eq(1), aes.i_expands.eq(state == "EXPAND")]
                    m.d.sync += [key.eq(state == "EXPAND"), live_key.eq(state == "LIVE_KEY"), pads.eq(0)]
                    m.next = f"MAKES_{state}"
                    with m.If(self.i_written):
                        m.next = "EXPAND"
                with m.State(f"MAKES_{state}"):
                    with m.If(~aes.o_busy):
                        m.d.sync += self.o_ready.eq(following == "PADS")
                        m.next = following
                    with m.If(self.i_written):
                        m.next = "EXPAND"
            with m.State("PADS"):
                m.d.comb += [aes.i_start.eq(~self.i_stop), self.o_idle.eq(self.i_stop)]
                m.d.sync += [pads.eq(1), live_key.eq(0)]
                with m.If(~self.i_stop):
                    m.next = "MAKES_PADS"
                with m.If(self.i_written):
                    m.next = "EXPAND"
            with m.State("MAKES_PADS"):
                m.d.comb += self.o_idle.eq(aes.o_holds & ~self.i_stop)
                with m.If(~aes.o_busy):
                    m.d.sync += [self.o_valid.eq(1), number.eq(number + 1)]
                    m.next = "PADS"
                with m.If(self.i_stop):
                    m.next = "PADS"
                with m.If(self.i_written):
                    m.next = "EXPAND"
        with m.If(self.i_stop):
            m.d.sync += [self.o_valid.eq(0), number.eq(number.init)]
        with m.If(self.i_written):
            m.d.sync += [self.o_ready.eq(0), self.o_valid.eq(0)]
        return m
