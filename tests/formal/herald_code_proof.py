"""Proof of the herald code's round trip: what a coder writes, a reader reads.

Coder, pairs, packer and reader are the gateware's, for gaps of few bits in words of few bits: all sizes are parameters of the same
code. Gaps and detector bits are any. The number of heralds is bounded, and so is the depth.
"""

from amaranth.hdl import Array, Assert, Cat, Const, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In

from twinphase_hdl.sift.codepacker import CodePacker
from twinphase_hdl.sift.codepairs import CodePairs
from twinphase_hdl.sift.golomb import CodeShape, GolombCoder
from twinphase_hdl.sift.golombreader import GolombReader

SMALL = CodeShape(gap_bits=4, divisor_bits=2, escape=4, word_bits=4)
"""m = 1, 2, 3: of b = 0, 1 and 2 bits, of no and of one short remainder. A gap in full takes three words."""


WAITS = ("valid", "room", "offer", "take")
"""What may wait: gaps for the coder, words for room behind the packer, words for the reader, decoded gaps."""
PATIENCE = 1
"""Clocks in which something waits, any and whatever of it: so every packet ends within the depth."""


class HeraldCodeProof(wiring.Component):
    """A packet of ``heralds`` heralds, the first of which is nothing but its detector bit, and divisor ``m``; ``waits`` of WAITS.

    Asserts in clock ``depth`` - 1 that until then gaps and detector bits have come out as they went in, in order and each once, that the
    packet has not been found malformed, and that its end has been told, and not before its last herald.
    """

    def __init__(
        self,
        coder: type[GolombCoder] = GolombCoder,
        pairs: type[CodePairs] = CodePairs,
        packer: type[CodePacker] = CodePacker,
        *,
        m: int,
        depth: int,
        heralds: int = 2,
        waits: tuple[str, ...] = (),
        shape: CodeShape = SMALL,
    ) -> None:
        self.done = Signal()
        """The packet has ended well."""
        self._m, self._depth = m, depth
        self._coder, self._pairs, self._packer = coder, pairs, packer
        self._heralds, self._waits, self._shape = heralds, waits, shape
        super().__init__(
            {
                "gap": In(shape.gap_bits),
                "detector": In(1),
                **{name: In(1, init=1) for name in waits},
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        shape, heralds = self._shape, self._heralds
        m.submodules.coder = coder = self._coder(shape=shape)
        m.submodules.pairs = pairs = self._pairs(shape=shape)
        m.submodules.packer = packer = self._packer(shape=shape, depth=4)
        m.submodules.reader = reader = GolombReader(shape=shape, count_bits=3)

        waited, patient = Signal(range(PATIENCE + 1)), Signal()
        m.d.comb += patient.eq(waited != PATIENCE)
        asked = [getattr(self, name) for name in self._waits]
        m.d.sync += waited.eq(waited + (patient & ~Cat(asked).all()))
        go = {name: getattr(self, name) | ~patient if name in self._waits else Const(1) for name in WAITS}
        divisor = coder.i_divisor
        b = (self._m - 1).bit_length()
        started = Signal()
        m.d.sync += started.eq(1)
        m.d.comb += [
            *(divisor.m.eq(self._m), divisor.t.eq((1 << b) - self._m), divisor.b.eq(b)),
            *(divisor.at.eq((1 << b) >> 1), divisor.mask.eq(((1 << b) - 1) >> 1), reader.i_divisor.eq(divisor)),
        ]

        # Heralds: the first at once, the others when they like; an end when all are coded.
        record = data.StructLayout({"gap": shape.gap_bits, "detector": 1})
        sent = [Signal(record, name=f"sent_{k}") for k in range(heralds)]
        many, coded, finished = Signal(range(heralds + 1)), Signal(range(heralds + 1)), Signal()
        begin, issue = Signal(), Signal()
        end = Signal()
        m.d.comb += [
            begin.eq(started & (many == 0)),
            issue.eq(go["valid"] & (many != 0) & (many != heralds)),
            end.eq((coded == heralds) & ~finished),
            *(coder.i_valid.eq(issue), coder.i_gap.eq(self.gap), coder.i_detector.eq(self.detector)),
            *(pairs.i_push.eq(begin | end | coder.o_valid), pairs.i_whole.eq(~coder.o_valid), pairs.i_end.eq(end)),
            pairs.i_bits.eq(Mux(coder.o_valid, coder.o_code, begin & self.detector)),
            pairs.i_length.eq(Mux(coder.o_valid, coder.o_code_length, begin)),
            *(packer.i_push.eq(pairs.o_push), packer.i_end.eq(pairs.o_end)),
            *(packer.i_bits.eq(pairs.o_bits), packer.i_length.eq(pairs.o_length)),
            packer.i_room.eq(go["room"]),
        ]
        m.d.sync += [
            many.eq(many + (begin | issue)),
            coded.eq(coded + (begin | coder.o_valid)),
            finished.eq(finished | end),
        ]
        for k in range(heralds):
            with m.If((begin | issue) & (many == k)):
                m.d.sync += [sent[k].gap.eq(self.gap), sent[k].detector.eq(self.detector)]

        # Words wait until it is known whether they are the last.
        most = -(-(1 + (heralds - 1) * shape.code_bits) // shape.word_bits)
        words = [Signal(shape.word_bits, name=f"word_{k}") for k in range(most + 1)]
        put, got = Signal(range(most + 2)), Signal(range(most + 2))
        ended = Signal()
        m.d.sync += [put.eq(put + packer.o_put), ended.eq(ended | packer.o_end)]
        m.d.comb += packer.i_ended.eq(packer.o_end)
        waiting = Signal(range(most + 2))
        offered = Signal()
        """A word that is offered stays so."""
        m.d.comb += [
            waiting.eq(put - got),
            reader.i.valid.eq((offered | go["offer"]) & ((waiting > 1) | (ended & (waiting == 1)))),
            reader.i.payload.last.eq(ended & (waiting == 1)),
        ]
        m.d.sync += [
            offered.eq(reader.i.valid & ~reader.i.ready),
            got.eq(got + (reader.i.valid & reader.i.ready)),
        ]
        for k, word in enumerate(words):
            with m.If(packer.o_put & (put == k)):
                m.d.sync += word.eq(packer.o_word)
            with m.If(got == k):
                m.d.comb += reader.i.payload.data.eq(word)

        # What comes out.
        read, done = Signal(range(heralds + 1)), self.done
        given = reader.o.payload
        m.d.comb += [
            *(reader.i_start.eq(~started), reader.i_count.eq(heralds)),
            reader.o.ready.eq(go["take"]),
        ]
        m.d.sync += [read.eq(read + (reader.o.valid & reader.o.ready)), done.eq(done | reader.o_done)]
        # One question at the end, whether anything has ever been wrong: in between there is nothing to solve.
        recorded = Array(sent)[read]
        wrong, failed, clock = Signal(6), Signal(), Signal(range(self._depth + 1))
        m.d.comb += [
            wrong[0].eq(put > most),
            wrong[1].eq(reader.o.valid & (read >= many)),
            wrong[2].eq(reader.o.valid & (given.detector != recorded.detector)),
            wrong[3].eq(reader.o.valid & Mux(read == 0, ~given.first, given.first | (given.gap != recorded.gap))),
            wrong[4].eq(reader.o_bad | (reader.o_done & ~((read == heralds) & ended))),
            wrong[5].eq(done & reader.o.valid),
            Assert(~((clock == self._depth - 1) & (failed | ~done))),
        ]
        m.d.sync += [failed.eq(failed | wrong.any()), clock.eq(clock + 1)]
        return m
