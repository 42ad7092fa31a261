"""Codes of any length to words."""

from itertools import pairwise

from amaranth.hdl import C, Cat, Module, Mux, Signal
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from .golomb import HERALDS, CodeShape

DEPTH = 32
"""Entries of the queue: of two LUT RAMs. What is on its way to it has a place."""
ROTATED_BITS = 2
"""Of a place, for which a stage rotates."""


class CodePacker(wiring.Component):
    """Queue of codes, and words of their bits: bit i of all codes between two ends is bit ``i mod w`` of word ``i div w``.

    What is left over in the last word is 0. The queue is pushed by one who counts its entries.

    Members
    -------
    i_push, i_bits, i_length : In - an entry: a code, its first bit lowest, 0 from bit ``i_length`` on; at most ``depth`` are inside.
    i_end : In(1) - there is an end before the code, which may have no bits.
    o_popped : Out(1) - strobe: an entry has left the queue.
    i_room : In(1) - there is room for AHEAD words more.
    o_put, o_word : Out(1), Out(w) - a word.
    o_end : Out(1) - all words before an end have come; holds until ``i_ended``.
    i_ended : In(1) - only with ``o_end``.
    o_idle : Out(1) - nothing changes before the next entry.

    Latency: free. Throughput: an entry in ``ceil(length / w)`` clocks, but one clock at least; an end takes AHEAD more. Overflow: none.
    """

    AHEAD = 8
    """Words that may come after ``i_room`` has gone."""

    def __init__(self, *, shape: CodeShape = HERALDS, depth: int = DEPTH) -> None:
        if depth < 2 or depth & (depth - 1):
            raise ValueError(f"code packer: depth is {depth} entries; allowed: powers of 2 from 2")
        self._shape = shape
        self._depth = depth
        super().__init__(
            {
                "i_push": In(1),
                "i_bits": In(shape.code_bits),
                "i_length": In(shape.length_bits),
                "i_end": In(1),
                "o_popped": Out(1),
                "i_room": In(1),
                "o_put": Out(1),
                "o_word": Out(shape.word_bits),
                "o_end": Out(1),
                "i_ended": In(1),
                "o_idle": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        shape, width = self._shape, self._shape.word_bits
        place_bits = (width - 1).bit_length()
        layout = data.StructLayout({"bits": shape.code_bits, "length": shape.length_bits, "end": 1})
        m.submodules.queue = queue = memory.Memory(
            shape=layout, depth=self._depth, init=[], attrs={"ram_style": "distributed"}
        )
        write, read = queue.write_port(), queue.read_port(domain="comb")
        written, fetched = Signal(self._depth.bit_length()), Signal(self._depth.bit_length())
        waits = Signal()
        m.d.comb += [
            *(write.en.eq(self.i_push), write.addr.eq(written)),
            *(write.data.bits.eq(self.i_bits), write.data.length.eq(self.i_length), write.data.end.eq(self.i_end)),
            *(read.addr.eq(fetched), waits.eq(written != fetched)),
        ]
        with m.If(self.i_push):
            m.d.sync += written.eq(written + 1)

        # A word of the entry at hand per clock. What is behind an end waits until that has been taken.
        held, more, ending = Signal(), Signal(), Signal()
        bits, length, end = Signal(shape.code_bits), Signal(shape.length_bits), Signal()
        room, load, pop = Signal(), Signal(), Signal()
        piece, piece_length = Signal(width), Signal(range(width + 1))
        piece_valid, piece_end = Signal(), Signal()
        m.d.comb += [load.eq(~held | (room & ~more & ~end)), pop.eq(load & waits)]
        m.d.sync += [
            *(room.eq(self.i_room), self.o_popped.eq(pop)),
            *(piece_valid.eq(held & room & ~ending), piece_end.eq(held & room & end & ~ending)),
            piece.eq(Mux(end, 0, bits[:width])),
            piece_length.eq(Mux(end, 0, Mux(more, width, length))),
        ]
        with m.If(load):
            m.d.sync += [
                *(held.eq(waits), bits.eq(read.data.bits), length.eq(read.data.length), end.eq(read.data.end)),
                more.eq(read.data.length > width),
            ]
        with m.Elif(room & end):
            m.d.sync += ending.eq(1)
        with m.Elif(room & more):
            m.d.sync += [bits.eq(bits >> width), length.eq(length - width), more.eq(length > 2 * width)]
        with m.If(self.i_ended):
            m.d.sync += [ending.eq(0), held.eq(length.any()), end.eq(0), self.o_end.eq(0)]
        with m.If(pop):
            m.d.sync += fetched.eq(fetched + 1)

        # Where a piece goes in its word, and whether it fills it.
        place, total = Signal(place_bits), Signal(place_bits + 1)
        m.d.comb += total.eq(place + piece_length)
        valids = [Signal(name="placed")]
        wraps, ends, shifts = [Signal(name="wraps")], [Signal(name="ends")], [Signal(place_bits, name="shift")]
        words = [Signal(width, name="placed_word")]
        m.d.sync += [
            *(valids[0].eq(piece_valid), words[0].eq(piece), shifts[0].eq(place), ends[0].eq(piece_end)),
            wraps[0].eq(piece_valid & Mux(piece_end, place.any(), total[-1])),
        ]
        with m.If(piece_valid):
            m.d.sync += place.eq(Mux(piece_end, 0, total[:place_bits]))
        for k, low in enumerate(range(0, place_bits, ROTATED_BITS)):
            turned = Signal(width, name=f"turned_{k}")
            part = shifts[-1][low : low + ROTATED_BITS]
            with m.Switch(part):
                for turn in range(1 << len(part)):
                    with m.Case(turn):
                        m.d.sync += turned.eq(words[-1].rotate_left(turn << low))
            words.append(turned)
            for kept in (valids, wraps, ends, shifts):
                kept.append(Signal.like(kept[-1], name=f"{kept[0].name}_{k}"))
        for kept in (valids, wraps, ends, shifts):
            m.d.sync += [after.eq(before) for before, after in pairwise(kept)]
        # Bits from the place on belong to this word; those that were turned round, to the next.
        mask = Signal(width)
        m.d.sync += mask.eq(C(-1, width) << shifts[-2])
        open_word = Signal(width)
        m.d.sync += [
            self.o_put.eq(wraps[-1]),
            self.o_word.eq(open_word | (words[-1] & mask)),
        ]
        with m.If(valids[-1]):
            m.d.sync += open_word.eq(Mux(wraps[-1], words[-1] & ~mask, open_word | (words[-1] & mask)))
        done = Signal()
        m.d.sync += done.eq(ends[-1])
        with m.If(done):
            m.d.sync += self.o_end.eq(1)
        m.d.comb += self.o_idle.eq(~Cat(self.i_push, waits, held, piece_valid, *valids, self.o_put).any())
        return m
