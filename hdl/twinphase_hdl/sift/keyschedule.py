"""AES-128's round keys from its key, one word per clock."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from twinphase_spec.symbols import KEY_WORDS

from .subbytes import SubBytes, doubled, word_bytes

ROUNDS = 10
SCHEDULE_WORDS = 4 * (ROUNDS + 1)
SETTLE_CLOCKS = 64
"""For so long a key must not have changed before it is expanded: what was begun with the old one leaves the pipelines meanwhile."""
KEY_LAYOUT = data.ArrayLayout(32, KEY_WORDS)


class ScheduleWord(data.Struct):
    """A word of the key schedule on its way to who keeps it."""

    valid: 1
    index: range(SCHEDULE_WORDS)
    word: 32


class KeySchedule(wiring.Component):
    """Expands a key whenever it changes, and after reset.

    Formula (FIPS-197, 5.2): ``w[i] = w[i - 4] ^ (SubWord(RotWord(w[i - 1])) ^ Rcon[i / 4] if 4 divides i, else w[i - 1])``, the first
    four words being the key.

    Members
    -------
    i_key : In(ArrayLayout(32, 4)), the key in words of FIPS-197 (its first byte highest in word 0)
    o_word : Out(ScheduleWord), words 0 .. 43 in order
    o_ready : Out(1), all words of the key of two clocks ago have been given; low from two clocks after a change, at least
        SETTLE_CLOCKS clocks before the first new word

    Latency: ``latency`` clocks from a key that stays to ``o_ready``. Source: FIPS-197, 5.2.
    """

    i_key: In(KEY_LAYOUT)
    o_word: Out(ScheduleWord)
    o_ready: Out(1)

    latency = SETTLE_CLOCKS + 4 + 8 * ROUNDS + 5
    """Clocks from a key that stays to o_ready, at most."""

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.sub = sub = SubBytes(count=2, with_double=False)

        key = Signal(KEY_LAYOUT)
        differing = Signal(KEY_WORDS)
        changed = Signal()
        m.d.sync += [differing[k].eq(key[k] != self.i_key[k]) for k in range(KEY_WORDS)]
        m.d.comb += changed.eq(differing.any())

        # The last four words, oldest first; eight clocks a round: two to look up, two on the way, four words.
        last = [Signal(32, name=f"last{k}") for k in range(4)]
        step = Signal(3)
        number = Signal(range(SCHEDULE_WORDS))
        settle = Signal(range(SETTLE_CLOCKS), init=SETTLE_CLOCKS - 1)
        constant = Signal(8)
        first_pair, second_pair = Signal(16), Signal(16)
        word = Signal(32)
        given = Signal()
        rotated = [*word_bytes(last[3])[1:], word_bytes(last[3])[0]]
        substituted = Cat(second_pair[8:], second_pair[:8], first_pair[8:], first_pair[:8] ^ constant)
        m.d.comb += [sub.i[k].eq(Mux(step[0], rotated[2 + k], rotated[k])) for k in range(2)]
        with m.If(step == SubBytes.latency):
            m.d.sync += first_pair.eq(sub.o)
        with m.If(step == SubBytes.latency + 1):
            m.d.sync += second_pair.eq(sub.o)
        m.d.sync += [self.o_word.valid.eq(given), self.o_word.index.eq(number), self.o_word.word.eq(word)]
        with m.If(given):
            m.d.sync += [number.eq(number + 1), *(a.eq(b) for a, b in zip(last, [*last[1:], word], strict=True))]

        with m.FSM(name="schedule_fsm"):
            with m.State("SETTLE"):
                m.d.sync += [key.eq(self.i_key), settle.eq(settle - 1), number.eq(0), step.eq(0), constant.eq(1)]
                with m.If((settle == 0) & ~changed):
                    m.next = "KEY"
            with m.State("KEY"):
                m.d.comb += [given.eq(1), word.eq(key.as_value().word_select(number[:2], 32))]
                with m.If(number == KEY_WORDS - 1):
                    m.next = "ROUND"
                with m.If(changed):
                    m.next = "SETTLE"
            with m.State("ROUND"):
                m.d.sync += step.eq(step + 1)
                m.d.comb += [
                    given.eq(step[2]),
                    word.eq(last[0] ^ Mux(step[:2] == 0, substituted, last[3])),
                ]
                with m.If(step == 7):
                    m.d.sync += constant.eq(Mux(constant[7], constant << 1 ^ doubled(0x80), constant << 1))
                    with m.If(number == SCHEDULE_WORDS - 1):
                        m.next = "DONE"
                with m.If(changed):
                    m.next = "SETTLE"
            with m.State("DONE"):
                m.d.sync += self.o_ready.eq(1)
                with m.If(changed):
                    m.next = "SETTLE"
        with m.If(changed):
            m.d.sync += [self.o_ready.eq(0), settle.eq(SETTLE_CLOCKS - 1)]
        return m
