"""A USB host on the UTMI bus of a `UsbLink`: LUNA's simulation model with its transactions, and what a bulk pipe makes of them.

The host keeps the data toggles as the standard asks (USB 2.0, 8.6): it drops a packet whose toggle is not the one it waits for, and
acknowledges it. Generators are processes of domain ``usb`` as LUNA writes them.
"""

import warnings
from collections.abc import Callable, Generator, Iterable

import numpy as np
from amaranth.hdl import Elaboratable, Module
from amaranth.sim import Simulator
from luna.gateware.test.contrib import usb_packet
from luna.gateware.test.usb2 import USBDeviceTest
from luna.gateware.usb.usb2 import USBPacketID

from twinphase.transport.slip import FrameReader, encode_frame
from twinphase_hdl.link.usb import CONFIGURATION, UsbLink
from twinphase_spec.usb import ENDPOINT

ADDRESS = 23
PACKET_BYTES = 64
"""Of a bulk endpoint at full speed, which LUNA's model speaks."""
DATA = (USBPacketID.DATA0, USBPacketID.DATA1)
NAK = "nak"
RESET_CLOCKS = 700
"""Of SE0 on the bus; a device takes 2.5 us and more for a reset."""


class UsbHost(USBDeviceTest):
    """LUNA's host with two bulk pipes."""

    __test__ = False  # no case of unittest, although LUNA has its host as one
    FRAGMENT_UNDER_TEST = UsbLink

    def __init__(self, **link: object):
        super().__init__()
        self.FRAGMENT_ARGUMENTS = {"packet_bytes": PACKET_BYTES, **link}
        self.link = self.instantiate_dut()
        self.toggle_in = self.toggle_out = 0
        self.naks = 0
        self.repetitions = 0
        """Packets that came twice."""
        self.packets: list[int] = []
        """Lengths of the packets from the device that counted."""

    def runTest(self) -> None:
        raise NotImplementedError  # unittest wants one

    def idle(self) -> Generator:
        """The bus at rest, a device attached."""
        yield self.utmi.line_state.eq(1)
        yield from self.advance_cycles(20)

    def configure(self) -> Generator:
        """SET_ADDRESS and SET_CONFIGURATION."""
        yield from self.set_address(ADDRESS)
        yield from self.set_configuration(CONFIGURATION)
        self.toggle_in = self.toggle_out = 0

    def reset_bus(self) -> Generator:
        """SE0, until the device has gone back to address 0."""
        yield self.utmi.line_state.eq(0)
        yield from self.advance_cycles(RESET_CLOCKS)
        yield from self.idle()
        self.address = 0

    def take(self, *, hears: bool = True, answered: bool = True) -> Generator:
        """An IN transaction: the bytes, b"" too, of a new packet; NAK; or None for a repetition or what was not heard.

        ``hears``: the data arrive whole. ``answered``: the host's ACK arrives at the device.
        """
        yield from self.send_token(USBPacketID.IN, endpoint=ENDPOINT)
        packet = yield from self.receive_packet()
        if len(packet) == 1:
            assert USBPacketID.from_byte(packet) == USBPacketID.NAK
            self.naks += 1
            yield from self.interpacket_delay()
            return NAK
        pid, *content = packet[:-2]
        assert list(packet[-2:]) == usb_packet.crc16(content)
        yield from self.interpacket_delay()
        if not hears:
            return None
        if answered:
            yield from self.send_handshake(USBPacketID.ACK)
            yield from self.interpacket_delay()
        if pid != DATA[self.toggle_in].byte():
            assert pid == DATA[1 - self.toggle_in].byte()
            self.repetitions += 1
            return None
        self.toggle_in ^= 1
        self.packets.append(len(content))
        return bytes(content)

    def give(self, content: bytes, *, tries: int = 50, answered: bool = True) -> Generator:
        """An OUT transaction, again until it is acknowledged. ``answered``: the device's first ACK arrives at the host."""
        for _ in range(tries):
            yield from self.send_token(USBPacketID.OUT, endpoint=ENDPOINT)
            yield from self.interpacket_delay()
            yield from self.send_data(DATA[self.toggle_out], *content)
            answer = USBPacketID.from_byte((yield from self.receive_packet()))
            yield from self.interpacket_delay()
            if answer == USBPacketID.NAK:
                self.naks += 1
                yield from self.advance_cycles(40)
                continue
            assert answer == USBPacketID.ACK
            if answered:
                self.toggle_out ^= 1
                return
            answered = True
        raise AssertionError(f"the device took nothing in {tries} tries")

    def give_frames(self, content: bytes) -> Generator:
        """A transfer of as many packets as it takes."""
        for at in range(0, len(content), PACKET_BYTES):
            yield from self.give(content[at : at + PACKET_BYTES])

    def take_transfer(self, *, most_naks: int = 60) -> Generator:
        """Packets until a short one, or until so many tokens in a row brought none."""
        content, waited = b"", 0
        while waited < most_naks:
            packet = yield from self.take()
            if packet == NAK:
                waited += 1
                yield from self.advance_cycles(10)
                continue
            content += packet or b""
            if packet is not None and len(packet) < PACKET_BYTES:
                return content
        return content


class Node(Elaboratable):
    """A link and what is connected to it."""

    def __init__(self, link: UsbLink, connect: Callable[[Module, UsbLink], None] = lambda m, link: None):
        self._link, self._connect = link, connect

    def elaborate(self, platform):
        m = Module()
        m.submodules.link = self._link
        self._connect(m, self._link)
        return m


def run(
    host: UsbHost,
    script: Callable[[], Generator],
    *benches: Callable,
    connect: Callable[[Module, UsbLink], None] = lambda m, link: None,
) -> None:
    """Runs the host's ``script`` in domain ``usb``, and ``benches`` in the background in domain ``sync``, until the script has ended."""
    simulator = Simulator(Node(host.link, connect))
    simulator.add_clock(1 / 60e6, domain="usb")
    simulator.add_clock(8e-9)
    ended = []

    def process() -> Generator:
        yield from script()
        ended.append(True)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # LUNA's generators
        simulator.add_sync_process(process, domain="usb")
        for bench in benches:
            simulator.add_testbench(bench, background=True)
        simulator.run()
    assert ended


def frames(packets: Iterable[Iterable[int]]) -> bytes:
    """Packets of words as the bytes of their frames."""
    return b"".join(encode_frame(np.array(list(packet), "<u4").tobytes()) for packet in packets)


def packets_in(content: bytes) -> tuple[list[list[int]], int]:
    """Packets that the host library finds, and how many frames were damaged."""
    reader = FrameReader()
    found = [np.frombuffer(packet, "<u4").tolist() for packet in reader.feed(content)]
    return found, reader.damaged
