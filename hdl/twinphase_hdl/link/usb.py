"""The link over USB: the serial port's frames through two bulk endpoints of LUNA's USB 2.0 device."""

from amaranth.hdl import DomainRenamer, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from luna.gateware.usb.usb2.device import USBDevice
from usb_protocol.emitters import DeviceDescriptorCollection

from twinphase_hdl.types import word_stream
from twinphase_spec import usb

from .crc import CrcAppender, CrcChecker
from .crossing import Crossing
from .slip import SlipDecoder, SlipEncoder
from .transferend import TransferEnd
from .usbbus import RegisteredBus
from .usbpipes import PipeIn, PipeOut

USB_HZ = 60e6
"""Clock of an ULPI or 8-bit UTMI bus at high speed."""
CONFIGURATION = 1


def make_descriptors(*, serial: str, packet_bytes: int = usb.PACKET_BYTES) -> DeviceDescriptorCollection:
    """What the device says of itself (`twinphase_spec.usb`). ValueError for what cannot be a serial number."""
    usb.check_serial(serial)
    descriptors = DeviceDescriptorCollection()
    with descriptors.DeviceDescriptor() as device:
        device.bcdUSB = 2.0
        device.idVendor, device.idProduct = usb.VENDOR_ID, usb.PRODUCT_ID
        device.iManufacturer, device.iProduct = usb.MANUFACTURER, usb.PRODUCT
        device.iSerialNumber = serial
        device.bNumConfigurations = 1
    with descriptors.ConfigurationDescriptor() as configuration:
        configuration.bConfigurationValue = CONFIGURATION
        with configuration.InterfaceDescriptor() as interface:
            interface.bInterfaceNumber = usb.INTERFACE
            interface.bInterfaceClass = usb.VENDOR_CLASS
            for address in (usb.ENDPOINT_IN, usb.ENDPOINT_OUT):
                with interface.EndpointDescriptor() as endpoint:
                    endpoint.bEndpointAddress = address
                    endpoint.wMaxPacketSize = packet_bytes
                    endpoint.bInterval = 0
    return descriptors


class UsbLink(wiring.Component):
    """Packets to and from a host, as `host/twinphase/transport/usb.py` wants them (docs/usb.md).

    Two clocks: ``sync``, the node's, and ``usb``, the bus', of any ratio and phase; words cross in asynchronous queues, everything else
    runs in ``usb``.

    Parameters
    ----------
    bus :
        An ULPI resource as Amaranth's platform requests it, or a ``UTMIInterface`` of LUNA's; domain ``usb``.
    serial : str
        Serial number of the device.
    packet_bytes : int
        Longest packet of the bulk endpoints.
    idle_clocks, transfer_clocks : int
        Of `TransferEnd`.

    Members
    -------
    tx : In(word_stream()) - packets to send, from a node's ``tx``; domain ``sync``.
    rx : Out(word_stream()) - packets that came whole, to a node's ``rx``; domain ``sync``.
    o_dropped : Out(1) - strobe in ``usb``: a frame was dropped.

    Latency: a packet from the host is handed on after its checksum; one to the host comes with the USB packet that holds its end.
    Throughput: four bytes in 5 clocks of ``usb`` (48 MB/s; a bulk endpoint at high speed carries at most 13 packets of 512 bytes in
    125 us, 53 MB/s). Overflow: ``tx`` waits while the host does not fetch, so that the node counts its losses; frames from the host
    that find no room are dropped.
    """

    def __init__(
        self,
        *,
        bus,
        serial: str = usb.DEFAULT_SERIAL,
        packet_bytes: int = usb.PACKET_BYTES,
        idle_clocks: int = round(usb.IDLE_SECONDS * USB_HZ),
        transfer_clocks: int = round(usb.TRANSFER_SECONDS * USB_HZ),
    ):
        self._end = TransferEnd(idle_clocks=idle_clocks, transfer_clocks=transfer_clocks)
        self.device = USBDevice(bus=bus)
        self.device.utmi = self.device.translator = RegisteredBus(self.device.utmi)
        control = self.device.add_standard_control_endpoint(make_descriptors(serial=serial, packet_bytes=packet_bytes))
        configured = control.interface.config_changed
        self._to_host = PipeIn(packet_bytes=packet_bytes, configured=configured)
        self._from_host = PipeOut(packet_bytes=packet_bytes, configured=configured)
        self.device.add_endpoint(self._to_host)
        self.device.add_endpoint(self._from_host)
        super().__init__({"tx": In(word_stream()), "rx": Out(word_stream()), "o_dropped": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.device = self.device

        def put(name: str, part: wiring.Component) -> wiring.Component:
            m.submodules[name] = DomainRenamer("usb")(part)
            return part

        appender, encoder = put("appender", CrcAppender()), put("encoder", SlipEncoder())
        end = put("end", self._end)
        decoder, checker = put("decoder", SlipDecoder()), put("checker", CrcChecker())
        m.submodules.outwards = outwards = Crossing(source="sync", target="usb")
        m.submodules.inwards = inwards = Crossing(source="usb", target="sync")
        wiring.connect(m, wiring.flipped(self.tx), outwards.i)
        wiring.connect(m, outwards.o, appender.i)
        wiring.connect(m, appender.o, encoder.i)
        wiring.connect(m, encoder.o, end.i)
        wiring.connect(m, decoder.o, checker.i)
        wiring.connect(m, checker.o, inwards.i)
        wiring.connect(m, inwards.o, wiring.flipped(self.rx))
        to_host, from_host = self._to_host.stream, self._from_host.stream
        m.d.comb += [
            self.device.connect.eq(1),
            *(to_host.payload.eq(end.o.payload.data), to_host.last.eq(end.o.payload.last)),
            *(to_host.valid.eq(end.o.valid), end.o.ready.eq(to_host.ready)),
            *(decoder.i.payload.eq(from_host.payload), decoder.i.valid.eq(from_host.valid), from_host.ready.eq(1)),
            self.o_dropped.eq(checker.o_dropped),
        ]
        return m
