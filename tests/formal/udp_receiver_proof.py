"""Proof of the receiver of datagrams: each gets exactly one verdict, the one that its words deserve, and a request is kept only when
it was put word by word, all of it and nothing else. With streams, so is a packet of one, in its own queue.

By induction from any state that the lemmas allow: for any datagrams, of any length, one after the other at any pace. What a datagram
is comes from here: its words are counted, the first, the third and the last one looked at.
"""

from collections.abc import Collection

from amaranth.hdl import Assert, Assume, Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from twinphase_hdl.link.udpport import ReceivedWord
from twinphase_hdl.link.udpreceiver import Drop, UdpReceiver
from twinphase_spec.packets import HEADER_WORDS, MAGIC, MAX_PAYLOAD_WORDS, VERSION, RegisterOp, Stream

PORT, REGISTER_PORT = 9750, 9751
LONGEST = HEADER_WORDS + MAX_PAYLOAD_WORDS
START = (MAGIC << 16 | VERSION << 8) >> 8


class UdpReceiverProof(wiring.Component):
    """``streams`` are the receiver's. ``lemmas=False`` leaves out what is said of the inside, for wrong receivers in bounded runs;
    ``requests=False``: no request ever comes."""

    def __init__(
        self,
        receiver: type[UdpReceiver] = UdpReceiver,
        *,
        streams: Collection[Stream] = (),
        lemmas: bool = True,
        requests: bool = True,
    ):
        rooms = {"room": In(1), "asked_room": In(1), "stream_room": In(1)}
        super().__init__({"valid": In(1), "word": In(ReceivedWord), **rooms, "old": In(1)})
        self._streams = [int(number) for number in streams]
        self._receiver = receiver(port=PORT, register_port=REGISTER_PORT, streams=streams)
        self._lemmas, self._requests = lemmas, requests

    def elaborate(self, platform):
        m = Module()
        m.submodules.receiver = receiver = self._receiver
        word = self.word
        m.d.comb += [
            receiver.source.valid.eq(self.valid),
            receiver.source.payload.eq(word),
            receiver.i_room.eq(self.room),
            receiver.i_asked_room.eq(self.asked_room),
            receiver.i_old.eq(self.old),
        ]
        put_stream, keep_stream = Const(0, 1), Const(0, 1)
        if self._streams:
            m.d.comb += receiver.i_stream_room.eq(self.stream_room)
            put_stream, keep_stream = receiver.o_put_stream, receiver.o_keep_stream

        # The core's word: what it says of a datagram as a whole holds through it.
        said, held = Cat(word.length, word.ip_address, word.src_port, word.dst_port), Signal(96)
        inside = Signal()
        with m.If(self.valid):
            m.d.sync += [inside.eq(~word.last), held.eq(said)]
        with m.If(inside):
            m.d.comb += Assume(~self.valid | (said == held))

        if not self._requests:
            m.d.comb += Assume(word.data[:8] != int(Stream.REGISTER_REQUEST))

        # A datagram, seen a clock later, as the receiver acts then.
        came, at = Signal(), Signal(ReceivedWord)
        m.d.sync += came.eq(self.valid)
        with m.If(self.valid):
            m.d.sync += at.eq(word)
        count = Signal(range(LONGEST + 2))
        """Words of it before this one; LONGEST + 1 and more are one."""
        starts, request, subscribe, failed = (Signal() for _ in range(4))
        agrees, lacked, writes, high = (Signal() for _ in range(4))
        streamed, lacked_stream = Signal(), Signal()
        put, count_put_stream = Signal.like(count), Signal.like(count)
        first = count == 0
        words = at.length[2:]
        is_request = Mux(first, at.data[:8] == int(Stream.REGISTER_REQUEST), request)
        of_streams = Cat(at.data[:8] == number for number in self._streams).any()
        is_streamed = Mux(first, of_streams, streamed)
        here = (at.dst_port == PORT) | (at.dst_port == REGISTER_PORT)
        no_room = receiver.i_room == 0
        with m.If(came):
            m.d.sync += [
                count.eq(Mux(at.last, 0, count + (count <= LONGEST))),
                put.eq(Mux(at.last, 0, put + receiver.o_put)),
                failed.eq(~at.last & (failed | at.error)),
                lacked.eq(~at.last & (lacked | no_room)),
            ]
            with m.If(first):
                m.d.sync += [
                    starts.eq(at.data[8:] == START),
                    request.eq(at.data[:8] == int(Stream.REGISTER_REQUEST)),
                    subscribe.eq(at.data[:8] == int(Stream.SUBSCRIBE)),
                ]
            if self._streams:  # else they stay 0
                m.d.sync += [
                    count_put_stream.eq(Mux(at.last, 0, count_put_stream + put_stream)),
                    lacked_stream.eq(~at.last & (lacked_stream | ~self.stream_room)),
                    streamed.eq(is_streamed),
                ]
            with m.If(count == 2):
                m.d.sync += [
                    agrees.eq(at.data[:16] + HEADER_WORDS == words),
                    writes.eq(at.data[16:] == int(RegisterOp.WRITE)),
                ]
            with m.If(count == 3):
                m.d.sync += high.eq(at.data[31])
        whole = (
            (at.length[:2] == 0)
            & (words >= HEADER_WORDS)
            & (words <= LONGEST)
            & (count + 1 == words)
            & (at.last_be == 0b1000)
            & agrees
        )
        apart = at.dst_port == REGISTER_PORT
        ok = ~failed & ~at.error & here & whole & starts
        full = lacked | no_room | ~self.asked_room
        keep = came & at.last & ok & request & ~full & ~(writes & self.old)
        full_stream = lacked_stream | ~self.stream_room
        wanted = came & at.last & ok & streamed & ~apart & ~full_stream
        m.d.comb += [
            Assert(receiver.o_keep == keep, "kept what is no request, or dropped one"),
            Assert(~keep | (receiver.o_put & (put == count)), "a word of a request is missing"),
            Assert(
                ~receiver.o_put | (came & self.room & is_request & (put == count)), "put what does not belong to it"
            ),
            Assert(~receiver.o_put | (receiver.o_word == at.data), "changed a word"),
            Assert(~keep | (Cat(receiver.o_writes, receiver.o_high) == Cat(writes, high)), "told another request"),
            Assert(receiver.o_first == (came & first), "first word"),
            Assert(~came | (receiver.o_writer == Cat(at.ip_address, at.src_port)), "writer"),
            Assert(
                receiver.o_forget == (came & at.last & ~(keep | wanted)), "what was put is neither kept nor forgotten"
            ),
            Assert(keep_stream == wanted, "kept what is no packet of a stream, or dropped one"),
            Assert(~wanted | (put_stream & (count_put_stream == count)), "a word of a stream's packet is missing"),
            Assert(
                ~put_stream | (came & self.stream_room & is_streamed & (count_put_stream == count)),
                "put what does not belong to it",
            ),
            Assert(~put_stream | (at.dst_port == PORT), "a stream at another port"),
        ]

        # Strobes come a clock later.
        verdict, subscribes, kept, reasons = Signal(), Signal(), Signal(), Signal(int(Drop.REFUSED))
        goes_on = streamed & ~apart
        wrong = Signal(int(Drop.REFUSED))
        m.d.comb += [
            wrong[Drop.ERROR].eq(failed | at.error),
            wrong[Drop.PORT].eq(~here),
            wrong[Drop.LENGTH].eq(~whole),
            wrong[Drop.FOREIGN].eq(~starts),
            wrong[Drop.STREAM].eq(~(request | goes_on | (subscribe & ~apart))),
            wrong[Drop.FULL].eq(Mux(goes_on, full_stream, full)),
            wrong[Drop.OLD].eq(1),
        ]
        m.d.sync += [
            verdict.eq(came & at.last),
            kept.eq(keep | wanted),
            subscribes.eq(came & at.last & ok & subscribe & ~apart),
            reasons.eq(wrong & (~wrong + 1)[: len(wrong)]),  # the first one
        ]
        all_strobes = Cat(kept, receiver.o_subscribed, receiver.o_dropped)
        m.d.comb += [
            Assert(receiver.o_subscribed == subscribes, "subscribed"),
            Assert(receiver.o_dropped == Mux(verdict & ~kept & ~subscribes, reasons, 0), "reason"),
            Assert(Mux(verdict, all_strobes.any(), ~all_strobes.any()), "no verdict, or one of no datagram"),
            Assert((all_strobes & (all_strobes - 1)[: len(all_strobes)]) == 0, "two verdicts"),
        ]
        if self._lemmas:
            if self._streams:
                self._inside_streams(m, came, at, count, streamed, lacked_stream, count_put_stream)
            self._inside(
                *(m, came, at, count, starts, request, subscribe, failed, agrees, lacked, put, here, held, inside),
                *(writes, high, lacked_stream),
            )
        return m

    def _inside(
        self,
        m,
        came,
        at,
        count,
        starts,
        request,
        subscribe,
        failed,
        agrees,
        lacked,
        put,
        here,
        held,
        inside,
        writes,
        high,
        lacked_stream,
    ):
        """What holds in every state that can be reached."""
        receiver = self._receiver
        words = at.length[2:]
        true_left = Signal(range(LONGEST + 1))
        expected = Mux((words != 0) & (words <= LONGEST), words, 1)
        m.d.comb += true_left.eq(Mux(expected > count, expected - count, 0))
        begun = count != 0
        m.d.comb += [
            Assert(inside == Mux(came, ~at.last, begun), "inside"),
            Assert(~inside | (held == Cat(at.length, at.ip_address, at.src_port, at.dst_port)), "held"),
            Assert(receiver.came == came, "came"),
            Assert(~came | (Cat(receiver.last, receiver.data) == Cat(at.last, at.data)), "word"),
            Assert(~came | (receiver.starts_right == (at.data[8:] == START)), "start"),
            Assert(~came | (receiver.is_request == (at.data[:8] == int(Stream.REGISTER_REQUEST))), "request"),
            Assert(~came | (receiver.is_subscribe == (at.data[:8] == int(Stream.SUBSCRIBE))), "subscribe"),
            Assert(~came | (receiver.whole_word == (at.last_be == 8)), "whole word"),
            Assert(~came | (receiver.counts_agree == (at.data[:16] + HEADER_WORDS == words)), "counts"),
            Assert(
                ~came | (receiver.length_good == ((at.length[:2] == 0) & (words >= HEADER_WORDS) & (words <= LONGEST))),
                "length",
            ),
            Assert(~came | (receiver.here == here), "here"),
            Assert(~came | (receiver.apart == (at.dst_port == REGISTER_PORT)), "apart"),
            Assert(~came | (receiver.error == at.error), "error"),
            Assert(~came | (receiver.length_left == expected), "length left"),
            Assert(receiver.place == (1 << Mux(count > 4, 4, count))[:5], "place"),
            Assert(~came | (receiver.is_write == (at.data[16:] == int(RegisterOp.WRITE))), "write"),
            Assert((count < 3) | (receiver.o_writes == writes), "writes"),
            Assert((count < 4) | (receiver.o_high == high), "high"),
            Assert(receiver.failed == failed, "failed"),
            Assert(receiver.left == Mux(begun, true_left, 0), "left"),
            Assert(count <= LONGEST + 1, "count"),
            Assert(~begun | (Cat(receiver.requests, receiver.subscribes) == Cat(request, subscribe)), "what it is"),
            Assert(~(request & subscribe), "one of them"),
            Assert(~begun | (receiver.foreign == ~starts), "foreign"),
            Assert((count < 3) | (receiver.disagrees == ~agrees), "disagrees"),
            Assert(~begun | (receiver.endless == ((count > 1) & (count > expected))), "endless"),
            Assert(begun | ~receiver.endless, "endless at the start"),
            Assert(begun | ~receiver.full & ~lacked & ~lacked_stream & (put == 0), "full at the start"),
            Assert(~receiver.full | lacked | lacked_stream, "full"),
            Assert(~(begun & request & here & ~receiver.endless) | (receiver.full == lacked), "room"),
            Assert(~(begun & request & here & ~receiver.endless & ~lacked) | (put == count), "put"),
        ]

    def _inside_streams(self, m, came, at, count, streamed, lacked_stream, put_stream):
        """What holds besides."""
        receiver = self._receiver
        begun = count != 0
        goes = begun & streamed & (at.dst_port == PORT) & ~receiver.endless
        m.d.comb += [
            Assert(~begun | (receiver.streamed == streamed), "stream"),
            Assert(
                ~came | (receiver.is_streamed == Cat(at.data[:8] == number for number in self._streams).any()), "is one"
            ),
            Assert(begun | (put_stream == 0), "streams at the start"),
            Assert(~goes | (receiver.full == lacked_stream), "room of streams"),
            Assert(~(goes & ~lacked_stream) | (put_stream == count), "put of streams"),
            Assert(~(receiver.requests & receiver.streamed) | ~begun, "request or stream"),
            Assert(~(receiver.subscribes & receiver.streamed) | ~begun, "subscription or stream"),
        ]
