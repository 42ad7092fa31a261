"""Who has asked what a node has not answered yet."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out


class Asker(data.Struct):
    """Sender of a register request."""

    ip_address: 32
    port: 16
    apart: 1
    """It came to the register port, and is answered from there."""


class AskedEntry(data.Struct):
    """A request under way."""

    request_id: 32
    asker: Asker
    repeated: 1
    """It went to the node as one that does nothing (`UdpLink`)."""


class Asked(wiring.Component):
    """Requests under way, oldest first: a node answers in their order, but those that are malformed to it not at all.

    An answer belongs to the oldest request with its id, and all before that are forgotten: two hosts that use the same id, and one that
    asks again, all get theirs. A request that stays the oldest for ``patience_clocks`` is forgotten, so that what is never answered does
    not keep its place.

    Members
    -------
    i_put, i_entry : In(1), In(AskedEntry) - strobe, only with ``o_room``: a request goes to the node.
    o_room : Out(1) - another may come.
    i_find, i_id : In(1), In(32) - strobe: an answer came; the id holds until ``o_done``.
    o_done, o_found : Out(1), Out(1) - strobe, and with it whether someone waits for the answer.
    o_asker, o_repeated : Out(Asker), Out(1) - who, and whether the request was marked so; hold until the next.

    Latency: 2 clocks from ``i_find`` to ``o_done``, and one per request before the right one, at most ``depth`` in all. Overflow: none,
    ``o_room`` is heeded.
    """

    def __init__(self, *, depth: int, patience_clocks: int):
        if depth < 2 or depth & (depth - 1):
            raise ValueError(f"asked: depth is {depth}; allowed: powers of 2 from 2")
        if patience_clocks < 2 * depth:
            raise ValueError(f"asked: patience_clocks is {patience_clocks}; allowed: at least {2 * depth}")
        self._depth = depth
        self._patience = patience_clocks
        super().__init__(
            {
                "i_put": In(1),
                "i_entry": In(AskedEntry),
                "o_room": Out(1),
                "i_find": In(1),
                "i_id": In(32),
                "o_done": Out(1),
                "o_found": Out(1),
                "o_asker": Out(Asker),
                "o_repeated": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.entries = entries = memory.Memory(
            shape=AskedEntry, depth=self._depth, init=[], attrs={"ram_style": "distributed"}
        )
        write, read = entries.write_port(), entries.read_port(domain="comb")
        # One bit more than an address, so that full and empty differ.
        newest, oldest, at = (Signal(range(2 * self._depth)) for _ in range(3))
        patience = Signal(range(self._patience))
        waits = Signal()
        m.d.comb += [
            waits.eq(oldest != newest),
            self.o_room.eq((newest - oldest)[: len(newest)] != self._depth),
            write.en.eq(self.i_put),
            write.addr.eq(newest[:-1]),
            write.data.eq(self.i_entry),
            read.addr.eq(at[:-1]),
        ]
        with m.If(self.i_put):
            m.d.sync += newest.eq(newest + 1)
        m.d.sync += [self.o_done.eq(0), self.o_found.eq(0)]
        with m.If(~waits):
            m.d.sync += patience.eq(0)
        with m.Elif(patience != self._patience - 1):
            m.d.sync += patience.eq(patience + 1)
        with m.FSM():
            with m.State("REST"):
                m.d.sync += at.eq(oldest)
                with m.If(self.i_find):
                    m.next = "SEARCH"
                with m.Elif(waits & (patience == self._patience - 1)):
                    m.d.sync += [oldest.eq(oldest + 1), patience.eq(0)]
            with m.State("SEARCH"):
                m.d.sync += at.eq(at + 1)
                with m.If(at == newest):
                    m.d.sync += self.o_done.eq(1)
                    m.next = "REST"
                with m.Elif(read.data.request_id == self.i_id):
                    m.d.sync += [
                        *(self.o_done.eq(1), self.o_found.eq(1)),
                        *(self.o_asker.eq(read.data.asker), self.o_repeated.eq(read.data.repeated)),
                        *(oldest.eq(at + 1), patience.eq(0)),
                    ]
                    m.next = "REST"
        return m
