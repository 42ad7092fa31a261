"""A time tagger behind the link over USB: registers by requests, tags against the times at which its pulser made them."""

import numpy as np
import pytest
from usb_bench import NAK, UsbHost, packets_in, run

from twinphase.device import IDENTITY_WORDS, check_identity
from twinphase.packets import pack
from twinphase.transport.slip import encode_frame
from twinphase_hdl.nodes.timetagger import TimeTaggerNode
from twinphase_spec import packets, units
from twinphase_spec.packets import HEADER_DTYPE, RegisterOp, RegisterStatus, Stream
from twinphase_spec.registers import TIMETAGGER, NodeType

PERIOD = 2
"""Clocks between two tags: 62 million a second, six times what any USB 2.0 takes away."""


class NodeHost(UsbHost):
    """Speaks to a node: `ask` for registers, `packets` for what else came."""

    def __init__(self):
        super().__init__(idle_clocks=30, transfer_clocks=2000)
        self.content = b""
        self.identifier = 100

    def receive(self):
        """One IN transaction."""
        packet = yield from self.take()
        if packet not in (None, NAK):
            self.content += packet

    def came(self, *, answers: bool):
        """Packets of the node, whole ones."""
        found, damaged = packets_in(self.content)
        assert damaged == 0
        return [p for p in found if ((p[0] & 0xFF) == Stream.REGISTER_RESPONSE) == answers]

    def ask(self, op, address, count, words=(), times=1):
        """A request, sent so many ``times``: the words of its answer."""
        self.identifier += 1
        payload = np.array(words, "<u4").tobytes()
        request = pack(
            Stream.REGISTER_REQUEST, self.identifier, payload, base_ticks=address | count << 32, flags=int(op)
        )
        yield from self.give_frames(encode_frame(request) * times)
        for _ in range(600):
            found = [p for p in self.came(answers=True) if p[1] == self.identifier]
            if len(found) == times:
                assert all(p == found[0] for p in found)
                assert found[0][2] >> 16 == RegisterStatus.OK
                return found[0][packets.HEADER_WORDS :]
            yield from self.receive()
        raise AssertionError("no answer")

    def write(self, name, value):
        yield from self.ask(RegisterOp.WRITE, TIMETAGGER[name].address, 1, [value])


def connect_node(node):
    def connect(m, link):
        m.submodules.node = node
        m.d.comb += [
            *(node.rx.payload.eq(link.rx.payload), node.rx.valid.eq(link.rx.valid), link.rx.ready.eq(node.rx.ready)),
            *(link.tx.payload.eq(node.tx.payload), link.tx.valid.eq(node.tx.valid), node.tx.ready.eq(link.tx.ready)),
        ]

    return connect


def tag_clocks(packet):
    """Clock of each tag of a packet."""
    header = np.array(packet[: packets.HEADER_WORDS], "<u4").view(HEADER_DTYPE)[0]
    at, clocks = int(header["base_ticks"]), []
    for word in packet[packets.HEADER_WORDS :]:
        time = word & ((1 << packets.T2_TIME_BITS) - 1)
        if word & packets.T2_SPECIAL:
            assert word >> packets.T2_CHANNEL_SHIFT & 63 == packets.T2_OVERFLOW_CHANNEL
            at += time << packets.T2_TIME_BITS
        else:
            clocks.append((at + time) // units.TICKS_PER_CLOCK)
    return header, clocks


def test_requests_are_answered_once_each():
    host, node, seen = NodeHost(), TimeTaggerNode(channels=2, small=True, depth=1024, burst=512), {}

    def script():
        yield from host.idle()
        yield from host.configure()
        seen["identity"] = yield from host.ask(RegisterOp.READ, 0, IDENTITY_WORDS)
        yield from host.write("PULSER_PERIOD", 77)
        seen["period"] = yield from host.ask(RegisterOp.READ, TIMETAGGER["PULSER_PERIOD"].address, 1)
        # As a host that had no answer: the write is executed once, whatever.
        yield from host.ask(RegisterOp.WRITE, TIMETAGGER["PULSER_MASK"].address, 1, [3], times=3)
        seen["mask"] = yield from host.ask(RegisterOp.READ, TIMETAGGER["PULSER_MASK"].address, 1)

    run(host, script, connect=connect_node(node))
    assert check_identity(seen["identity"], "usb://").node is NodeType.TIMETAGGER
    assert (seen["period"], seen["mask"]) == ([77], [3])
    assert host.came(answers=False) == []


@pytest.mark.long
def test_every_tag_that_the_bus_did_not_take_is_counted_where_it_misses():
    """A host that is too slow, and for a while reads nothing at all, loses tags; the packets say which."""
    host, node = NodeHost(), TimeTaggerNode(channels=2)

    def script():
        yield from host.idle()
        yield from host.configure()
        for name, value in {
            "PULSER_PERIOD": PERIOD,
            "PULSER_MASK": 1,
            "CHANNEL_ENABLE": 1,
            "STREAM_ENABLE": 1 << Stream.TAG,
        }.items():
            yield from host.write(name, value)
        for _ in range(40):
            yield from host.receive()
        yield from host.advance_cycles(2500)
        for _ in range(40):
            yield from host.receive()
        # Requests are answered while tags flood: between two packets.
        assert (yield from host.ask(RegisterOp.READ, TIMETAGGER["PULSER_MASK"].address, 1)) == [1]
        yield from host.write("PULSER_MASK", 0)
        # What is on its way, all of it.
        while host.packets[-1] == 64 or len(host.came(answers=False)) < 12:
            yield from host.receive()

    run(host, script, connect=connect_node(node))
    came = [tag_clocks(p) for p in host.came(answers=False)]
    assert [int(header["sequence"]) for header, _ in came] == list(range(len(came)))
    numbers = [(np.array(clocks) - came[0][1][0]) // PERIOD for _, clocks in came]
    accepted = 0
    missing = []
    for (header, _), tags in zip(came, numbers, strict=True):
        assert int(header["first_record"]) == accepted
        missing.append((tags[0] - accepted, tags[-1] - accepted - len(tags) + 1))
        accepted += len(tags)
    # A packet's count is that of the clock in which it was closed: after its last tag, before the first one of the next.
    lost = [int(header["lost"]) for header, _ in came]
    assert all(last <= count for (_, last), count in zip(missing, lost, strict=True))
    assert all(count <= first for (first, _), count in zip(missing[1:], lost[:-1], strict=True))
    assert lost[0] == 0
    assert lost[-1] > 1000
    assert accepted > 2048
