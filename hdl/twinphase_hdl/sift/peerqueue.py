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

    A record waits in the block RAM, its output, the register behind that, and the head; each moves on when the next has room.

    Members
    -------
    i_peer : In(stream of PEER records), always ready
    o_peer : Out(stream of PeerMessage), registered
    o_taken, o_refused : Out(1), strobes: a record entered, found the queue full
    o_settled : Out(1), nothing moves inside

    Latency: 6 clocks from empty. Throughput: one per clock in, one per two clocks out. Overflow: refused, counted by the owner.
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
        given, record = Signal(), Signal(PeerMessage, reset_less=True)
        beyond = Signal(reset_less=True)
        m.d.sync += given.eq(self.i_peer.valid)
        with m.If(self.i_peer.valid):
            m.d.sync += [
                record.kind.eq(words[0][:3]),
                beyond.eq(words[0][3:].any()),
                record.number.eq(words[1]),
                record.value.eq(words[2]),
            ]

        # Counts have one bit more than an address, so that full and empty differ.
        write_count, read_count = Signal(range(2 * PEER_QUEUE)), Signal(range(2 * PEER_QUEUE))
        level = Signal(range(PEER_QUEUE + 1))
        full = level[-1]
        differ, unread = Signal(), Signal()
        loaded, staged = Signal(), Signal()
        behind, head = Signal(PeerMessage, reset_less=True), Signal(PeerMessage, reset_less=True)
        fetch, stage, advance, leave = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            self.o_taken.eq(given & ~full),
            self.o_refused.eq(given & full),
            leave.eq(self.o_peer.valid & self.o_peer.ready),
            advance.eq(staged & (~self.o_peer.valid | self.o_peer.ready)),
            stage.eq(loaded & (~staged | advance)),
            # ``unread`` is what the counts said a clock ago: right here, since there is no fetch in two clocks that follow each other.
            fetch.eq(unread & ~loaded),
            differ.eq(write_count != read_count),
            records.i_write.eq(self.o_taken),
            records.i_write_address.eq(write_count),
            records.i_write_data.kind.eq(Mux(beyond, 0, record.kind)),
            records.i_write_data.number.eq(record.number),
            records.i_write_data.value.eq(record.value),
            records.i_read.eq(fetch),
            records.i_read_address.eq(read_count),
            self.o_peer.payload.eq(head),
            self.o_settled.eq(~(given | (differ & ~loaded) | stage | advance)),
        ]
        m.d.sync += [
            unread.eq(differ),
            loaded.eq(fetch | (loaded & ~stage)),
            staged.eq(stage | (staged & ~advance)),
            self.o_peer.valid.eq(advance | (self.o_peer.valid & ~self.o_peer.ready)),
        ]
        with m.If(self.o_taken ^ leave):
            m.d.sync += level.eq(level + Mux(leave, -1, 1))
        with m.If(self.o_taken):
            m.d.sync += write_count.eq(write_count + 1)
        with m.If(fetch):
            m.d.sync += read_count.eq(read_count + 1)
        with m.If(stage):
            m.d.sync += behind.eq(records.o_data)
        with m.If(advance):
            m.d.sync += head.eq(behind)
        return m
