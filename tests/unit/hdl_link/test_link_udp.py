"""Parts of the link over UDP: whatever datagrams come, wrong configurations, and the host's port."""

import numpy as np
import pytest
from amaranth.hdl import Const
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from twinphase.transport.udp import DEFAULT_PORT
from twinphase_hdl.link.asked import Asked
from twinphase_hdl.link.crossing import Crossing
from twinphase_hdl.link.replaystore import ReplayStore
from twinphase_hdl.link.subscribers import Subscribers
from twinphase_hdl.link.udplink import UdpLink
from twinphase_hdl.link.udpport import LINK_PORT, NODE_PORT, REGISTER_PORT, ReceivedWord
from twinphase_hdl.link.udpreceiver import Drop, UdpReceiver
from twinphase_hdl.link.udpsender import UdpSender
from twinphase_hdl.link.writes import Writes
from twinphase_hdl.nodes.client import RECEIVED
from twinphase_sim.model.link.udp import Datagram, Reason, UdpNode
from twinphase_spec.packets import MAGIC, VERSION, Stream
from twinphase_spec.udp_registers import DROPPED, UDP_REGISTER_PORT_OFFSET

HOST = (0x0A000002, 40000)


@st.composite
def datagrams(draw):
    """A datagram that is nearly a request, a subscription or a packet of a stream."""
    kinds = [Stream.REGISTER_REQUEST, Stream.SUBSCRIBE, Stream.HERALD_CODE, Stream.PEER, Stream.TAG, 0]
    stream = draw(st.sampled_from(kinds))
    payload = draw(st.lists(st.integers(0, 2**32 - 1), max_size=4))
    words = draw(st.one_of(st.just(len(payload)), st.integers(0, 6)))
    flip = draw(st.sampled_from([0, 0, 0, 0, 1 << 8, 1 << 31]))
    head = (MAGIC << 16 | VERSION << 8 | stream) ^ flip
    data = np.array([head, draw(st.integers(0, 3)), words, 0, 0, 0, 0, 0, *payload], "<u4").tobytes()
    said = draw(st.sampled_from([None, None, None, 0, 28, len(data) + 4, len(data) - 4]))
    kept = draw(st.one_of(st.just(len(data)), st.integers(0, len(data))))
    return Datagram(
        host=HOST,
        port=draw(st.sampled_from([NODE_PORT, NODE_PORT, REGISTER_PORT, 9753])),
        data=data[:kept],
        length=len(data) if said is None and kept < len(data) and draw(st.booleans()) else said,
        error=draw(st.sampled_from([False, False, False, True])),
    )


@pytest.mark.parametrize("streams", [(), RECEIVED], ids=["requests", "streams"])
@settings(max_examples=25)
@given(st.lists(st.tuples(datagrams(), st.integers(0, 2)), min_size=1, max_size=14))
def test_every_datagram_gets_the_verdict_of_the_reference(streams, received):
    """Also where datagrams follow each other without a pause: what one leaves behind decides nothing about the next."""
    dut = UdpReceiver(port=NODE_PORT, register_port=REGISTER_PORT, streams=streams)
    verdicts: list[str] = []
    kept: list[bytes] = []
    put: list[int] = []
    kept_streams: list[bytes] = []
    put_streams: list[int] = []

    async def feed(context):
        context.set(dut.i_room, 1)
        context.set(dut.i_asked_room, 1)
        if streams:
            context.set(dut.i_stream_room, 1)
        for datagram, pause in received:
            data = datagram.data
            count = max(1, -(-len(data) // 4))
            padded = data.ljust(4 * count, b"\0")
            for k in range(count):
                last = k == count - 1
                word = {
                    "data": int.from_bytes(padded[4 * k : 4 * k + 4], "little"),
                    "last": int(last),
                    "last_be": 1 << (len(data) - 1) % 4 if last else 0,
                    "error": int(datagram.error and last),
                    "length": len(data) if datagram.length is None else datagram.length,
                    "ip_address": datagram.host[0],
                    "src_port": datagram.host[1],
                    "dst_port": datagram.port,
                }
                context.set(dut.source.payload, ReceivedWord.const(word))
                context.set(dut.source.valid, 1)
                await context.tick()
                context.set(dut.source.valid, 0)
            for _ in range(pause):
                await context.tick()
        await context.tick().repeat(4)

    async def watch(context):
        strobes = (dut.o_put, dut.o_word, dut.o_keep, dut.o_forget, dut.o_subscribed, dut.o_dropped)
        of_streams = (dut.o_put_stream, dut.o_keep_stream) if streams else (Const(0), Const(0))
        async for (
            _,
            _,
            puts,
            word,
            keep,
            forget,
            subscribed,
            dropped,
            puts_stream,
            keep_stream,
        ) in context.tick().sample(*strobes, *of_streams):
            # Strobes tell of the datagram that ended in the clock before.
            if subscribed:
                verdicts.append("SUBSCRIBED")
            verdicts.extend(reason.name for reason in Drop if dropped >> reason & 1)
            if puts:
                put.append(int(word))
            if keep:
                kept.append(np.array(put, "<u4").tobytes())
                verdicts.append("KEPT")
            if puts_stream:
                put_streams.append(int(word))
            if keep_stream:
                kept_streams.append(np.array(put_streams, "<u4").tobytes())
                verdicts.append("KEPT")
            assert keep + forget + keep_stream <= 1
            if keep or forget or keep_stream:
                put.clear()
                put_streams.clear()

    simulator = Simulator(dut)
    simulator.add_clock(16e-9)
    simulator.add_testbench(feed)
    simulator.add_testbench(watch, background=True)
    simulator.run()

    model = UdpNode(places=1, port=NODE_PORT, register_port=REGISTER_PORT, streams=streams)
    want = []
    for datagram, _ in received:
        before = len(model.requests) + len(model.streamed)
        reason = model.receive(datagram)
        taken = "KEPT" if len(model.requests) + len(model.streamed) > before else "SUBSCRIBED"
        want.append(taken if reason is None else reason.name)
    assert kept == model.requests
    assert kept_streams == model.streamed
    # A request is kept a clock before the verdict on a datagram that ended in the same clock would come.
    assert [verdict for verdict in verdicts if verdict != "KEPT"] == [verdict for verdict in want if verdict != "KEPT"]
    assert verdicts.count("KEPT") == want.count("KEPT")


def test_a_writer_who_is_silent_is_forgotten_in_time():
    """Until ``memory_clocks`` have passed since its last write a copy is known for one, and half as many later it is not."""
    memory, moment = 64, 13
    dut = Writes(memory_clocks=memory)
    verdicts = {}

    async def ask(context, pause):
        """A write, and its copy so many clocks later."""
        for repeat in range(2):
            context.set(dut.i_first, 1)
            context.set(dut.i_writer, 0xA00000001)
            context.set(dut.i_id, pause)
            await context.tick()
            context.set(dut.i_first, 0)
            await context.tick().repeat(6)
            if repeat:
                verdicts[pause] = context.get(dut.o_repeated)
            context.set(dut.i_keep, 1)
            await context.tick()
            context.set(dut.i_keep, 0)
            if not repeat:
                await context.tick().repeat(pause - 8)
        await context.tick().repeat(2 * memory + moment)

    async def asks(context):
        for pause in range(memory - 20, 3 * memory // 2 + 20):
            await ask(context, pause)

    simulator = Simulator(dut)
    simulator.add_clock(16e-9)
    simulator.add_testbench(asks)
    simulator.run()
    assert all(verdicts[pause] for pause in verdicts if pause <= memory)
    assert not any(verdicts[pause] for pause in verdicts if pause > 3 * memory // 2 + 1)
    assert len({verdicts[pause] for pause in verdicts if memory < pause <= 3 * memory // 2}) == 2


def test_the_host_knocks_at_these_ports():
    assert NODE_PORT == DEFAULT_PORT
    assert NODE_PORT + UDP_REGISTER_PORT_OFFSET == LINK_PORT


def test_counters_of_the_link_are_all_reasons():
    assert [name for name, _ in DROPPED] == [*Drop.__members__] == [*Reason.__members__]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: UdpReceiver(port=0, register_port=1), "port is 0; allowed: 1 to 65535"),
        (lambda: UdpReceiver(port=1, register_port=1 << 16), "register_port is 65536; allowed: 1 to 65535"),
        (lambda: UdpReceiver(port=7, register_port=7), "port and register_port are both 7; allowed: two different"),
        (
            lambda: UdpReceiver(port=1, register_port=2, streams=(Stream.PSI, Stream.TAG)),
            "no node takes stream <Stream.TAG: 1>; allowed: HERALD, PSI, PEER, HERALD_CODE, LIVE",
        ),
        (
            lambda: UdpReceiver(port=1, register_port=2, streams=(Stream.REGISTER_REQUEST,)),
            "no node takes stream <Stream.REGISTER_REQUEST: 64>; allowed: HERALD",
        ),
        (
            lambda: UdpReceiver(port=1, register_port=2, streams=(Stream.PSI, Stream.PSI)),
            "are not all different; allowed: each once",
        ),
        (
            lambda: UdpReceiver(port=None, register_port=2, streams=(Stream.PSI,)),
            "streams without port; allowed: with one",
        ),
        (lambda: UdpLink(streams=(Stream.SUBSCRIBE,)), "no node takes stream <Stream.SUBSCRIBE: 80>"),
        (lambda: UdpLink(link_port=9751), "link_port is 9751; allowed: none of the node's, 9750 and 9751"),
        (lambda: UdpLink(places=0), "places is 0; allowed: 1 to 16"),
        (lambda: UdpLink(places=17), "places is 17; allowed: 1 to 16"),
        (lambda: UdpLink(depth=256), "depth is 256 words; allowed: powers of 2 from 512"),
        (lambda: UdpLink(net_hz=0.0), "net_hz is 0.0 Hz; allowed: at least 1000"),
        (lambda: UdpLink(stall_seconds=0.0), "stall_clocks is 0; allowed: at least 1"),
        (lambda: UdpLink(patience_seconds=1e-9), "patience_clocks is 0; allowed: at least 32"),
        (lambda: UdpSender(places=1, port=1, register_port=2, depth=600, stall_clocks=9), "depth is 600 words"),
        (lambda: ReplayStore(depth=8), "depth is 8 words; allowed: powers of 2 from 16"),
        (lambda: Subscribers(places=1, lease_clocks=63), "lease_clocks is 63; allowed: at least 64"),
        (lambda: Asked(depth=3, patience_clocks=100), "depth is 3; allowed: powers of 2 from 2"),
        (lambda: Writes(memory_clocks=1), "memory_clocks is 1; allowed: at least 2"),
        (lambda: Writes(memory_clocks=9, writers=3), "writers is 3; allowed: powers of 2 from 2"),
        (lambda: Writes(memory_clocks=9, window=1), "window is 1; allowed: powers of 2 from 2"),
        (lambda: Writes(memory_clocks=9, old_bits=4), "old_bits is 4; allowed: 2"),
        (lambda: Writes(memory_clocks=9, old_bits=32), "old_bits is 32; allowed: 2"),
        (lambda: Crossing(source="a", target="b", depth=12), "depth is 12 words; allowed: powers of 2 from 4"),
    ],
)
def test_wrong_configurations_are_refused(make, words):
    with pytest.raises(ValueError, match=words.replace("(", "\\(")):
        make()
