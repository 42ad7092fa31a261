"""The link over USB against LUNA's model of a host."""

from functools import partial

import numpy as np
import pytest
from amaranth.back import rtlil
from amaranth.hdl import ClockDomain, Module
from amaranth.lib import wiring
from link_bench import collect, packet, send, split, word, words_of
from link_bench import run as run_words
from luna.gateware.interface.utmi import UTMIInterface
from usb_bench import ADDRESS, NAK, PACKET_BYTES, UsbHost, frames, packets_in, run
from usb_protocol.types import DescriptorTypes, USBStandardRequests

from twinphase_hdl.link.crc import CrcAppender
from twinphase_hdl.link.slip import SlipEncoder
from twinphase_hdl.link.transferend import TransferEnd
from twinphase_hdl.link.usb import UsbLink, make_descriptors
from twinphase_spec import usb
from twinphase_spec.packets import SLIP_END, SLIP_ESC, Stream

IDLE, TRANSFER = 30, 100_000


def some_packets(count, seed=4, longest=40):
    random = np.random.default_rng(seed)
    special = [SLIP_END * 0x01010101, SLIP_ESC * 0x01010101]
    return [
        packet(Stream.TAG, [*special, *random.integers(0, 1 << 32, random.integers(0, longest))], sequence=n)
        for n in range(count)
    ]


def make_host(**options):
    return UsbHost(**{"idle_clocks": IDLE, "transfer_clocks": TRANSFER} | options)


def sender(host, packets, *, idle=0.0):
    return send(host.link.tx, [w for p in packets for w in words_of(p)], idle=idle)


def test_the_device_says_what_it_is():
    host = make_host(serial="bench-7_A", packet_bytes=usb.PACKET_BYTES)
    seen = {}

    def script():
        yield from host.idle()
        _, seen["first"] = yield from host.get_descriptor(DescriptorTypes.DEVICE, length=8)
        yield from host.set_address(ADDRESS)
        _, device = yield from host.get_descriptor(DescriptorTypes.DEVICE)
        _, seen["configuration"] = yield from host.get_descriptor(DescriptorTypes.CONFIGURATION)
        for name, index in zip(("maker", "product", "serial"), device[14:17], strict=True):
            _, text = yield from host.get_descriptor(DescriptorTypes.STRING, index=index)
            seen[name] = bytes(text[2:]).decode("utf-16-le")
        yield from host.set_configuration(1)
        _, seen["set"] = yield from host.get_configuration()
        seen["device"] = device

    run(host, script)
    device = bytes(seen["device"])
    assert bytes(seen["first"]) == device[:8]
    assert (device[0], len(device)) == (18, 18)
    assert int.from_bytes(device[8:10], "little") == usb.VENDOR_ID
    assert int.from_bytes(device[10:12], "little") == usb.PRODUCT_ID
    assert (seen["maker"], seen["product"], seen["serial"]) == (usb.MANUFACTURER, usb.PRODUCT, "bench-7_A")
    assert seen["set"] == [1]
    configuration = bytes(seen["configuration"])
    assert int.from_bytes(configuration[2:4], "little") == len(configuration) == 9 + 9 + 7 + 7
    assert configuration[9 + 5] == usb.VENDOR_CLASS
    endpoints = configuration[18:25], configuration[25:32]
    assert [e[2] for e in endpoints] == [usb.ENDPOINT_IN, usb.ENDPOINT_OUT]
    assert all(e[3] == 2 and int.from_bytes(e[4:6], "little") == 512 for e in endpoints)


@pytest.mark.parametrize("serial", ["", "a" * 33, "a b", "ä", "a\n"])
def test_strange_serial_numbers_are_refused(serial):
    with pytest.raises(ValueError, match="USB serial number"):
        make_descriptors(serial=serial)


@pytest.mark.parametrize(
    ("idle", "bad", "seed"),
    [
        (0.0, 0.0, 1),
        (0.5, 0.3, 2),
        pytest.param(0.95, 0.5, 3, marks=pytest.mark.long),
        pytest.param(0.0, 0.6, 4, marks=pytest.mark.long),
    ],
)
def test_nothing_is_lost_or_doubled_on_the_way_to_the_host(idle, bad, seed):
    """Whatever of data and ACK is lost, and however slow the host is."""
    host, sent, got = make_host(), some_packets(6, seed), []
    random = np.random.default_rng(seed)

    def script():
        yield from host.idle()
        yield from host.configure()
        while len(packets_in(b"".join(got))[0]) < len(sent):
            yield from host.advance_cycles(int(random.integers(0, 100 if bad else 3)))
            content = yield from host.take(hears=random.random() >= bad, answered=random.random() >= bad)
            if content not in (None, NAK):
                got.append(content)

    run(host, script, sender(host, sent, idle=idle))
    assert packets_in(b"".join(got)) == (sent, 0)
    assert (host.repetitions > 0) == (bad > 0)


@pytest.mark.parametrize(
    ("pause", "lost", "seed"), [(0.0, 0.0, 1), (0.0, 0.5, 2), pytest.param(0.9, 0.3, 3, marks=pytest.mark.long)]
)
def test_nothing_is_lost_or_doubled_on_the_way_to_the_node(pause, lost, seed):
    host, sent, out = make_host(), some_packets(6, seed), []
    random = np.random.default_rng(seed)

    def script():
        yield from host.idle()
        yield from host.configure()
        content = frames(sent)
        while content:
            size = int(random.integers(0, PACKET_BYTES + 1))
            yield from host.give(content[:size], answered=random.random() >= lost)
            content = content[size:]
        yield from host.advance_cycles(600 if pause < 0.5 else 3000)

    run(host, script, collect(host.link.rx, out, pause=pause, read=word))
    assert split(out) == sent


def test_damaged_frames_never_reach_the_node():
    host, sent, out, dropped = make_host(), some_packets(5), [], []
    content = bytearray(frames(sent))
    starts = [len(frames(sent[:n])) for n in range(len(sent))]
    content[starts[1] + 9] ^= 4
    del content[starts[3] + 17]

    async def count(context):
        async for _, _, strobe in context.tick("usb").sample(host.link.o_dropped):
            dropped.extend([1] * strobe)

    def script():
        yield from host.idle()
        yield from host.configure()
        yield from host.give_frames(bytes(content))
        yield from host.advance_cycles(400)

    run(host, script, count, collect(host.link.rx, out, read=word))
    assert split(out) == [sent[0], sent[2], sent[4]]
    assert len(dropped) == 2


def test_a_transfer_of_whole_packets_ends_with_an_empty_one():
    """Two frames of 62 and 66 bytes fill two packets."""
    host, got = make_host(), []
    sent = [packet(Stream.TAG, [0] * n, sequence=n) for n in (6, 7)]
    assert len(frames(sent)) == 2 * PACKET_BYTES

    def script():
        yield from host.idle()
        yield from host.configure()
        got.append((yield from host.take_transfer()))

    run(host, script, sender(host, sent))
    assert packets_in(got[0]) == (sent, 0)
    assert host.packets == [PACKET_BYTES, PACKET_BYTES, 0]


def test_a_short_packet_comes_as_soon_as_the_stream_pauses():
    host, sent, waited = make_host(), [packet(Stream.TAG, [])], []

    async def late(context):
        await context.delay(400 / 60e6)  # in no step with the tokens
        await sender(host, sent)(context)

    def script():
        yield from host.idle()
        yield from host.configure()
        clocks = 0
        while (content := (yield from host.take())) == NAK:
            clocks += 1
            yield
        waited.append(clocks)
        assert packets_in(content) == (sent, 0)

    run(host, script, late)
    assert 0 < host.naks <= 60


def test_the_first_packet_after_a_configuration_is_data0():
    """Twice configured with an odd number of packets between, in both directions, and once CLEAR_FEATURE(ENDPOINT_HALT)."""
    host, sent, out, got = make_host(), some_packets(4, longest=2), [], []

    def both(number):
        yield from host.give(frames([sent[number]]))
        got.append((yield from host.take_transfer()))

    def script():
        yield from host.idle()
        for number in range(3):
            yield from host.configure()
            yield from both(number)
        for address in (usb.ENDPOINT_IN, usb.ENDPOINT_OUT):
            yield from host.control_request_out(0x02, USBStandardRequests.CLEAR_FEATURE, value=0, index=address)
        host.toggle_in = host.toggle_out = 0
        yield from both(3)
        yield from host.advance_cycles(200)

    async def echo(context):
        for number in range(4):
            while len([1 for _, last in out if last]) <= number:
                await context.tick()
            await sender(host, [sent[number]])(context)

    run(host, script, echo, collect(host.link.rx, out, read=word))
    assert split(out) == sent
    assert packets_in(b"".join(got)) == (sent, 0)
    assert host.repetitions == 0
    assert [length % PACKET_BYTES > 0 for length in host.packets].count(True) == 4


@pytest.mark.parametrize("answered", [True, False], ids=["acknowledged", "lost_ack"])
def test_bus_reset_in_the_middle_of_a_stream(answered):
    """What the host has acknowledged does not come again, what it has not does: as a part of a frame that its checksum then refuses."""
    host, sent, got = make_host(), some_packets(12), []

    def script():
        yield from host.idle()
        yield from host.configure()
        while len(host.packets) < 7:
            content = yield from host.take(answered=answered or len(host.packets) < 6)
            if content not in (None, NAK):
                got.append(content)
        yield from host.reset_bus()
        yield from host.configure()
        while len(host.packets) < 8 or host.packets[-1] == PACKET_BYTES:
            content = yield from host.take()
            if content not in (None, NAK):
                got.append(content)

    run(host, script, sender(host, sent))
    found, damaged = packets_in(b"".join(got))
    content = frames(sent)
    if answered:
        assert (found, damaged) == (sent, 0)
        assert b"".join(got) == content
        return
    # The seventh packet has come twice. Frames that lie before or behind its end are whole.
    assert b"".join(got) == content[: 7 * PACKET_BYTES] + content[6 * PACKET_BYTES :]
    assert damaged >= 1
    ends = [len(frames(sent[: n + 1])) for n in range(len(sent))]
    whole = [p for p, end in zip(sent, ends, strict=True) if not 6 * PACKET_BYTES < end <= 7 * PACKET_BYTES + 200]
    assert [p for p in found if p in whole] == whole


def test_a_frame_that_a_reset_cut_costs_only_itself():
    """The host dies in the middle of a request; the next one's first frame comes behind half a frame, and is taken."""
    host, sent, out = make_host(), some_packets(3), []

    def script():
        yield from host.idle()
        yield from host.configure()
        yield from host.give(frames([sent[0]])[:40])
        yield from host.reset_bus()
        yield from host.configure()
        yield from host.give_frames(frames(sent[1:]))
        yield from host.advance_cycles(400)

    run(host, script, collect(host.link.rx, out, read=word))
    assert split(out) == sent[1:]


def test_no_host_no_progress():
    """Without a host that fetches, the link takes what its buffers hold, and then none: the node sees it, and counts."""
    host, sent, taken = make_host(), some_packets(40), []

    async def stuff(context):
        for item in [w for p in sent for w in words_of(p)]:
            await partial(send, idle=0.0)(host.link.tx, [item])(context)
            taken.append(1)

    def script():
        yield from host.idle()
        yield from host.advance_cycles(4000)
        taken.append(len(taken))
        yield from host.advance_cycles(400)

    run(host, script, stuff)
    assert taken[-1] == len(taken) - 1
    assert 2 * PACKET_BYTES // 4 <= taken[-1] <= 2 * PACKET_BYTES // 4 + 24


def test_its_rtl_is_the_same_every_time():
    """LUNA names a second endpoint of one class by its place in memory, which would make two bitstreams of one source."""

    def rtl():
        m = Module()
        m.domains.sync, m.domains.usb = ClockDomain("sync"), ClockDomain("usb")
        m.submodules.link = UsbLink(bus=UTMIInterface())
        return rtlil.convert(m, ports=(), emit_src=False)

    first = rtl()
    assert "PipeIn" in first
    assert rtl() == first


def test_a_full_packet_takes_1329_clocks():
    """The link's own parts: four bytes in 5 clocks, and few for what is escaped. At 60 MHz that are 11.5 million tags a second."""
    m = Module()
    m.submodules.appender, m.submodules.encoder = appender, encoder = CrcAppender(), SlipEncoder()
    m.submodules.end = end = TransferEnd(idle_clocks=1920, transfer_clocks=120_000)
    wiring.connect(m, appender.o, encoder.i)
    wiring.connect(m, encoder.o, end.i)
    random = np.random.default_rng(1)
    sent = [packet(Stream.TAG, random.integers(0, 1 << 31, 255), sequence=n) for n in range(2)]
    clocks = []

    async def watch(context):
        context.set(end.o.ready, 1)
        clock = 0
        async for _, _, valid, payload in context.tick().sample(end.o.valid, end.o.payload):
            clock += 1
            if valid and payload.data == SLIP_END:
                clocks.append(clock)

    watch.background = True
    run_words(m, send(appender.i, [w for p in sent for w in words_of(p)]), watch)
    # Ends of the first frame and of the second one's beginning; the last byte waits for a pause that has not come yet.
    assert len(clocks) == 3
    assert 1320 <= clocks[2] - clocks[0] <= 1329
