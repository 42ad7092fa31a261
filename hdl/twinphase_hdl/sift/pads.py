"""Keys of the block digest, and the pads that cover its tags."""

from amaranth.hdl import C, Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from twinphase_spec.digest import BLOCK_COUNT_BITS, DIGEST_BITS, PAD_FIRST

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
    """Keys h and k, and the pads of one block after the other.

    Formula: docs/digest.md: ``h | k = AES(0)``, ``pad_A | pad_B = AES(nonce, 2^63 + b)`` for b = 0, 1, 2 ..., each half with its first
    byte highest. While a block's pads are shown, the next one's are made up to the last round.

    Members
    -------
    i_settings : In(DigestSettings)
    i_written : In(1), strobe, in the first clock of what was written to them: everything begins anew
    i_stop : In(1), blocks are counted from 0 again, and no pads are made
    o_ready : Out(1), h and k are those of the settings; low from the clock after ``i_written``
    o_herald_key, o_psi_key : Out(64), h and k
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
    o_valid: Out(1)
    o_pads: Out(data.ArrayLayout(DIGEST_BITS, 2))
    i_next: In(1)
    o_idle: Out(1)

    latency = 2 * (SerialAes.latency + 2)
    """Clocks from reset or ``i_written`` to o_ready."""

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.aes = aes = SerialAes()
        number = Signal(BLOCK_COUNT_BITS)
        block = Cat(number, C(PAD_FIRST >> BLOCK_COUNT_BITS, DIGEST_BITS - BLOCK_COUNT_BITS))
        key, pads = Signal(), Signal()

        # A byte is chosen in two steps, a word of key or counter block, then its byte. The block of h and k is all zeros.
        words = [*self.i_settings.nonce, block[32:], block[:32], *self.i_settings.key]
        word, place = Signal(32, reset_less=True), Signal(2)
        byte = Signal(8, reset_less=True)
        m.d.sync += [
            word.eq(of_place(words, Cat(aes.o_place[2:], key))),
            place.eq(aes.o_place[:2]),
            byte.eq(Mux(key | pads, of_place(word_bytes(word), place), 0)),
        ]
        m.d.comb += aes.i_byte.eq(byte)

        both_keys, both_pads = Signal(2 * DIGEST_BITS, reset_less=True), Signal(2 * DIGEST_BITS, reset_less=True)
        m.d.comb += [
            self.o_herald_key.eq(both_keys[DIGEST_BITS:]),
            self.o_psi_key.eq(both_keys[:DIGEST_BITS]),
            self.o_pads[0].eq(both_pads[DIGEST_BITS:]),
            self.o_pads[1].eq(both_pads[:DIGEST_BITS]),
            aes.i_hold.eq(self.o_valid),
        ]
        # A byte goes in a clock after it came, so that only registers move so many: the last is there when its block is told to be.
        made, of_keys, of_pads = Signal(8, reset_less=True), Signal(), Signal()
        m.d.sync += [made.eq(aes.o_byte), of_keys.eq(aes.o_valid & ~pads), of_pads.eq(aes.o_valid & pads)]
        with m.If(of_keys):
            m.d.sync += both_keys.eq(Cat(made, both_keys))
        with m.If(of_pads):
            m.d.sync += both_pads.eq(Cat(made, both_pads))
        with m.If(self.i_next):
            m.d.sync += self.o_valid.eq(0)
        with m.FSM(name="pads_fsm"):
            for state, under_way, following in (("EXPAND", "EXPANDS", "KEYS"), ("KEYS", "MAKES_KEYS", "PADS")):
                with m.State(state):
                    m.d.comb += [aes.i_start.eq(1), aes.i_expands.eq(state == "EXPAND")]
                    m.d.sync += [key.eq(state == "EXPAND"), pads.eq(0)]
                    m.next = under_way
                    with m.If(self.i_written):
                        m.next = "EXPAND"
                with m.State(under_way):
                    with m.If(~aes.o_busy):
                        m.d.sync += self.o_ready.eq(following == "PADS")
                        m.next = following
                    with m.If(self.i_written):
                        m.next = "EXPAND"
            with m.State("PADS"):
                m.d.comb += [aes.i_start.eq(~self.i_stop), self.o_idle.eq(self.i_stop)]
                m.d.sync += pads.eq(1)
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
