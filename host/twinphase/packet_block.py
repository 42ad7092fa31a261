"""Many packets in one array, as a transport received them: nothing is copied or touched one by one until somebody asks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class PacketBlock:
    """Packet i is ``sizes[i]`` bytes from word ``starts[i]`` of ``words`` on; what lies between packets means nothing."""

    words: NDArray[np.uint32]
    starts: NDArray[np.int64]
    sizes: NDArray[np.int64]
    """Bytes; of a damaged packet any number."""

    @classmethod
    def of(cls, packets: Sequence[bytes]) -> PacketBlock:
        """Packets one behind the other; those that are not whole words are padded."""
        sizes = np.fromiter(map(len, packets), np.int64, len(packets))
        whole = (sizes + 3) & -4
        padded = packets if np.array_equal(whole, sizes) else [packet + bytes(-len(packet) & 3) for packet in packets]
        return cls(np.frombuffer(b"".join(padded), "<u4"), (np.cumsum(whole) - whole) >> 2, sizes)

    @classmethod
    def join(cls, blocks: Iterable[PacketBlock]) -> PacketBlock:
        """All packets in order, those of the first block first."""
        full = [block for block in blocks if len(block)]
        if len(full) == 1:
            return full[0]
        if not full:
            return cls.of([])
        lengths = np.array([len(block.words) for block in full])
        offsets = np.cumsum(lengths) - lengths
        return cls(
            np.concatenate([block.words for block in full]),
            np.concatenate([block.starts + offset for block, offset in zip(full, offsets, strict=True)]),
            np.concatenate([block.sizes for block in full]),
        )

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, chosen: slice | NDArray[np.bool_] | NDArray[np.intp]) -> PacketBlock:
        """Some of the packets, on the same memory."""
        return PacketBlock(self.words, self.starts[chosen], self.sizes[chosen])

    def first_words(self) -> NDArray[np.uint32]:
        """The first word of each packet, 0 of one that has none."""
        found = np.zeros(len(self), np.uint32)
        there = self.sizes >= 4
        found[there] = self.words[self.starts[there]]
        return found

    def packets(self) -> list[bytes]:
        """Copies of the packets, one by one."""
        memory = np.ascontiguousarray(self.words).data.cast("B")
        begins = (4 * self.starts).tolist()
        return [memory[begin : begin + size].tobytes() for begin, size in zip(begins, self.sizes.tolist(), strict=True)]
