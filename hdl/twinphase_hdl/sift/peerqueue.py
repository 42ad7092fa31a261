"""The queue in which the peer's messages wait for the state that reads them."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from twinphase_spec.packets import Stream

from ..types import record_words
from .columns import ColumnMemory

PEER_QUEUE = 4096
"""PEER records that fit."""


class PeerMessage(data.Struct):
    """A PEER record; ``kind`` 0 stands for every kind above 7."""

    kind: 3
    number: 32
    value: 32


class PeerQueue(wiring.Component):
    """First in, first out, PEER_QUEUE records in block RAM.

    Members
    -------
    i_peer : In(stream of PEER records), always ready
    o_peer : Out(stream of PeerMessage), registered
    o_taken, o_refused : Out(1), strobes: a record entered, found the queue full
    o_settled : Out(1), nothing moves inside

    Latency: 3 clocks from empty. Throughput: one per clock. Overflow: refused, counted by the owner.
    Source: docs/contract.md, block sifter.
    """

    i_peer: In(stream.Signature(record_words(Stream.PEER), always_ready=True))
    o_peer: Out(stream.Signature(PeerMessage))
    o_taken: Out(1)
    o_refused: Out(1)
    o_settled: Out(1)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.records = records = ColumnMemory(shape=PeerMessage, depth=PEER_QUEUE)
        words = self.i_peer.payload
        write_index, read_index = Signal(range(PEER_QUEUE)), Signal(range(PEER_QUEUE))
        in_memory, level = Signal(range(PEER_QUEUE + 1)), Signal(range(PEER_QUEUE + 1))
        fetched = Signal()
        fetch, advance, leave = Signal(), Signal(), Signal()
        full = level == PEER_QUEUE
        m.d.comb += [
            self.o_taken.eq(self.i_peer.valid & ~full),
            self.o_refused.eq(self.i_peer.valid & full),
            leave.eq(self.o_peer.valid & self.o_peer.ready),
            advance.eq(fetched & (~self.o_peer.valid | self.o_peer.ready)),
            fetch.eq(in_memory.any() & (~fetched | advance)),
            records.i_write.eq(self.o_taken),
            records.i_write_address.eq(write_index),
            records.i_write_data.kind.eq(Mux(words[0][3:].any(), 0, words[0][:3])),
            records.i_write_data.number.eq(words[1]),
            records.i_write_data.value.eq(words[2]),
            records.i_read.eq(fetch),
            records.i_read_address.eq(read_index),
            self.o_settled.eq(~fetch & ~advance),
        ]
        m.d.sync += [
            level.eq(level + self.o_taken - leave),
            in_memory.eq(in_memory + self.o_taken - fetch),
            write_index.eq(write_index + self.o_taken),
            read_index.eq(read_index + fetch),
            fetched.eq(fetch | (fetched & ~advance)),
            self.o_peer.valid.eq(advance | (self.o_peer.valid & ~self.o_peer.ready)),
        ]
        with m.If(advance):
            m.d.sync += self.o_peer.payload.eq(records.o_data)
        return m
