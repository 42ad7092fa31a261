"""Register requests from the link, executed on the register bank, and their responses."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.types import word_stream
from twinphase_spec import packets
from twinphase_spec.packets import RegisterOp, RegisterStatus, Stream

from .registers import ADDRESS_BITS

READ_AHEAD = 8
"""Words, where LUT RAM holds them."""


class RegisterControl(wiring.Component):
    """Answers every request with one response, and executes it at most once (`twinphase_spec.packets`, registers).

    BAD_REQUEST: an unknown operation, a count of 0 or above MAX_REGISTER_WORDS, a write whose payload is not count
    words; then nothing is executed. A write whose id equals that of the last write executed is answered OK and not executed.
    The payload of a read is ignored. Word i of a request is at address + i; addresses from 2^16 are unmapped (read 0, ignore
    writes).

    Members
    -------
    i : In(word_stream()) - whole request packets from w1 on, as from `Depacketizer`.
    o : Out(word_stream()) - response packets.
    o_address : Out(16), o_write : Out(1), o_write_data : Out(32) - to the `RegisterBank`.
    i_read_data : In(32) - from it, ``bank_latency`` clocks after the address.
    o_idle : Out(1) - nothing changes before the next request.

    Latency: about 20 clocks from the last word of a read of one word to that of its response. Throughput: a word per clock.
    Overflow: none, ``i`` waits while a response is under way. ``read_ahead``: words read from the bank before the link has taken them.
    """

    def __init__(self, *, bank_latency: int, read_ahead: int = READ_AHEAD):
        if bank_latency < 1:
            raise ValueError(f"control: bank_latency is {bank_latency}; allowed: at least 1")
        self._bank_latency = bank_latency
        self._read_ahead = read_ahead
        super().__init__(
            {
                "i": In(word_stream()),
                "o": Out(word_stream()),
                "o_address": Out(ADDRESS_BITS),
                "o_write": Out(1),
                "o_write_data": Out(32),
                "i_read_data": In(32),
                "o_idle": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.ahead = ahead = fifo.SyncFIFO(width=32, depth=self._read_ahead)
        # Both ways through a register.
        request, response = word_stream().create(), word_stream().create()
        held = [self._through(m, source, target) for source, target in ((self.i, request), (response, self.o))]
        request_id = Signal(32)
        operation = Signal(16)
        payload_words = Signal(16)
        address = Signal(32)
        count = Signal(32)
        last_write = Signal(32)
        any_write = Signal()
        index = Signal(3)
        ended = Signal()
        """The request's last word has been taken."""
        count_good = Signal()
        length_good = Signal()
        repeated = Signal()
        reads = Signal()
        writes = Signal()
        """The request is a good one, executed or repeated."""
        mapped = Signal()
        waits = Signal()
        """For a request."""
        next_address = Signal(ADDRESS_BITS + 1)
        left = Signal(range(packets.MAX_REGISTER_WORDS + 1))
        """Words of the response's payload still to be sent."""
        to_issue = Signal.like(left)
        credit = Signal(range(self._read_ahead + 1), init=self._read_ahead)
        under_way = Signal(self._bank_latency + 1)
        issue = Signal()

        header = Array(
            [
                Const(packets.MAGIC << 16 | packets.VERSION << 8 | int(Stream.REGISTER_RESPONSE), 32),
                request_id,
                Cat(
                    Mux(reads, count[:16], 0),
                    Const(0, 16) | Mux(reads | writes, RegisterStatus.OK, RegisterStatus.BAD_REQUEST),
                ),
                address,
                count,
                Const(0, 32),
                Const(0, 32),
                Const(0, 32),
            ]
        )
        # A request is seven words long at least: what follows from its header is there before its payload.
        m.d.sync += [
            count_good.eq(
                count[: len(left)].any()
                & (count[: len(left)] <= packets.MAX_REGISTER_WORDS)
                & ~count[len(left) :].any()
            ),
            length_good.eq(self._equal(m, count, payload_words)),
            repeated.eq(any_write & self._equal(m, request_id, last_write)),
            mapped.eq(address[ADDRESS_BITS:] == 0),
            reads.eq((operation == RegisterOp.READ) & count_good),
            writes.eq((operation == RegisterOp.WRITE) & count_good & length_good),
        ]
        any_left, one_left = self._known(m, left != 0), self._known(m, left == 1)
        m.d.comb += [ahead.w_data.eq(self.i_read_data), ahead.w_en.eq(under_way[-1])]
        m.d.sync += under_way.eq(Cat(issue, under_way))
        with m.If(issue ^ (ahead.r_en & ahead.r_rdy)):
            m.d.sync += credit.eq(credit + Mux(issue, -1, 1))
        m.d.sync += [self.o_write.eq(0), self.o_write_data.eq(request.payload.data), self.o_address.eq(next_address)]
        with m.FSM():
            with m.State("HEADER"):
                m.d.comb += [request.ready.eq(1), waits.eq(index == 0)]
                with m.If(request.valid):
                    m.d.sync += [index.eq(index + 1), ended.eq(request.payload.last)]
                    with m.Switch(index):
                        with m.Case(0):
                            m.d.sync += request_id.eq(request.payload.data)
                        with m.Case(1):
                            m.d.sync += Cat(payload_words, operation).eq(request.payload.data)
                        with m.Case(2):
                            m.d.sync += address.eq(request.payload.data)
                        with m.Case(3):
                            m.d.sync += count.eq(request.payload.data)
                        with m.Case(6):
                            m.d.sync += [index.eq(0), next_address.eq(address[:ADDRESS_BITS])]
                            m.next = "PAYLOAD"
            with m.State("PAYLOAD"):
                m.d.comb += request.ready.eq(~ended)
                with m.If(request.valid & ~ended):
                    m.d.sync += [
                        ended.eq(request.payload.last),
                        self.o_write.eq(writes & ~repeated & mapped & ~next_address[-1]),
                        next_address.eq(next_address + 1),
                    ]
                with m.If(ended):
                    with m.If(writes):
                        m.d.sync += [last_write.eq(request_id), any_write.eq(1)]
                    m.d.sync += [left.eq(Mux(reads, count, 0)), to_issue.eq(Mux(reads, count, 0))]
                    m.d.sync += next_address.eq(address[:ADDRESS_BITS])
                    m.next = "RESPONSE"
            with m.State("RESPONSE"):
                m.d.comb += [
                    response.valid.eq(1),
                    response.payload.data.eq(header[index]),
                    response.payload.last.eq((index == packets.HEADER_WORDS - 1) & (left == 0)),
                ]
                with m.If(response.ready):
                    m.d.sync += index.eq(index + 1)
                    with m.If(index == packets.HEADER_WORDS - 1):
                        m.next = "HEADER"
                        with m.If(any_left):
                            m.next = "WORDS"
            with m.State("WORDS"):
                m.d.comb += [
                    response.valid.eq(ahead.r_rdy),
                    response.payload.data.eq(ahead.r_data),
                    response.payload.last.eq(one_left),
                    ahead.r_en.eq(response.ready),
                ]
                with m.If(response.valid & response.ready):
                    m.d.sync += left.eq(left - 1)
                    with m.If(one_left):
                        m.next = "HEADER"

        # Reads run ahead of the response as far as the queue has room.
        unmapped = Signal(self._bank_latency + 1)
        self._issue(m, issue, (to_issue != 0) & (credit != 0))
        with m.If(issue):
            m.d.sync += [next_address.eq(next_address + 1), to_issue.eq(to_issue - 1)]
        m.d.sync += unmapped.eq(Cat(next_address[-1] | ~mapped, unmapped))
        with m.If(unmapped[-1]):
            m.d.comb += ahead.w_data.eq(0)
        m.d.comb += self.o_idle.eq(waits & ~(self.i.valid | held[0] | held[1]))
        return m

    # What parts with slow logic do otherwise.

    def _through(self, m: Module, source: stream.Interface, target: stream.Interface) -> Value:
        """``source`` to ``target`` through a register. Returns whether it holds a word."""
        m.d.comb += source.ready.eq(~target.valid | target.ready)
        with m.If(source.ready):
            m.d.sync += [target.valid.eq(source.valid), target.payload.eq(source.payload)]
        return target.valid

    def _equal(self, m: Module, a: Value, b: Value) -> Value:
        """``a == b`` of words of a header."""
        return a == b

    def _known(self, m: Module, flag: Value) -> Value:
        """``flag``, which changes with words of a response."""
        return flag

    def _issue(self, m: Module, issue: Signal, may: Value) -> None:
        """``issue``: a word is read from the bank. ``may``: one is to be read, and the queue has room."""
        m.d.comb += issue.eq(may)
