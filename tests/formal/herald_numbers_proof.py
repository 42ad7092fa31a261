"""What is to be proven of `PendingRoom` and `HeraldNumbers`: heralds leave a psi queue with the numbers with which they entered it."""

from itertools import pairwise

from amaranth.hdl import Assert, Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from twinphase_hdl.sift.heraldnumbers import HeraldNumbers
from twinphase_hdl.sift.pendingroom import PendingRoom


class HeraldNumbersProof(wiring.Component):
    """A queue of ``most`` heralds that keeps their numbers, beside one that keeps a bit of each."""

    BITS = 5

    comes: In(1)
    wanted: In(1)

    def __init__(self, *, most: int, ends: int) -> None:
        self.most = most
        self.room, self.numbers = PendingRoom(most=(most, most)), HeraldNumbers(ends=ends, bits=self.BITS)
        super().__init__()

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.room, m.submodules.numbers = room, numbers = self.room, self.numbers
        number, level = Signal(self.BITS), Signal(range(self.most + 1))
        waiting = [Signal(self.BITS + 1, name=f"waiting_{k}") for k in range(self.most)]
        """Number and whether others before it were passed over, the oldest first."""
        leaves = self.wanted & (level != 0)
        m.d.comb += [
            *(room.i_comes.eq(self.comes), room.i_leaves.eq(leaves)),
            *(numbers.i_end.eq(room.o_enters & room.o_resumes), numbers.i_number.eq(number)),
            *(numbers.i_leaves.eq(leaves), numbers.i_resumes.eq(waiting[0][-1])),
            Assert(~leaves | (numbers.o_number == waiting[0][:-1]), "leaves with its number"),
            Assert(~room.o_enters | (level != self.most), "enters where there is room"),
            Assert(room.o_enters | room.o_skipped | ~self.comes, "enters or is passed over"),
        ]
        m.d.sync += [number.eq(number + self.comes), level.eq(level + room.o_enters - leaves)]
        with m.If(leaves):
            m.d.sync += [this.eq(following) for this, following in pairwise(waiting)]
        for k, place in enumerate(waiting):
            with m.If(room.o_enters & (level - leaves == k)):
                m.d.sync += place.eq(Cat(number, room.o_resumes))
        return m
