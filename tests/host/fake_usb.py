"""libusb with nodes that are not there: a backend of pyusb whose devices answer requests and send what is in their outbox."""

from __future__ import annotations

import errno
import threading
import time
from collections import deque
from types import SimpleNamespace

from fake_node import Registers
from usb.backend import IBackend
from usb.core import USBError, USBTimeoutError

from twinphase.transport.slip import FrameReader, encode_frame
from twinphase_spec import usb
from twinphase_spec.packets import Stream

GONE = "No such device (it may have been disconnected)"


class FakeUsbNode:
    """A device on the bus; every byte to the host goes through ``out``, in packets of 512 bytes and a short one."""

    def __init__(self, serial="1", registers=None, *, maker=usb.MANUFACTURER, product=usb.PRODUCT, speed=3):
        self.registers = registers or Registers()
        self.strings = {1: maker, 2: product, 3: serial}
        self.speed = speed
        self.denied = self.busy = self.driverless = self.deaf = False
        self.configuration = 1
        self.log: list[str] = []
        self.claims = 0
        self.outbox: list[bytes] = []
        """Packets that go to the host, a few after each request and read."""
        self.unplugged = False
        self._reader = FrameReader()
        self._out: deque[bytes] = deque()
        self._changed = threading.Condition()

    def write(self, content, timeout_ms):
        with self._changed:
            self._check()
            if self.deaf:
                time.sleep(min(timeout_ms, 20) / 1e3)
                raise USBTimeoutError("Operation timed out", -7, errno.ETIMEDOUT)
            for packet in self._reader.feed(bytes(content)):
                if packet[0] == Stream.REGISTER_REQUEST:
                    self._send(encode_frame(self.registers.answer(packet)))
            self._changed.notify_all()

    def send_bytes(self, content):
        with self._changed:
            self._send(content)
            self._changed.notify_all()

    def read(self, size, timeout_ms):
        assert size % usb.PACKET_BYTES == 0
        with self._changed:
            self._check()
            if not self._out and self.outbox:
                self._send(b"".join(map(encode_frame, self.outbox[:20])))
                del self.outbox[:20]
            if not self._out and not self._changed.wait_for(lambda: self._out or self.unplugged, timeout_ms / 1e3):
                raise USBTimeoutError("Operation timed out", -7, errno.ETIMEDOUT)
            self._check()
            got = b""
            while self._out and len(got) + usb.PACKET_BYTES <= size:
                packet = self._out.popleft()
                got += packet
                if len(packet) < usb.PACKET_BYTES:
                    break
            return got

    def unplug(self):
        with self._changed:
            self.unplugged = True
            self._changed.notify_all()

    def _send(self, content):
        whole = range(0, len(content) + 1, usb.PACKET_BYTES)
        self._out.extend(content[at : at + usb.PACKET_BYTES] for at in whole)

    def _check(self):
        if self.unplugged:
            raise USBError(GONE, -4, errno.ENODEV)


class FakeLibusb(IBackend):
    """The backend: what pyusb asks of libusb."""

    def __init__(self, *nodes: FakeUsbNode):
        self.nodes = nodes

    def enumerate_devices(self):
        return iter(self.nodes)

    def get_parent(self, dev):
        return None

    def get_device_descriptor(self, dev):
        fields = {
            "bLength": 18,
            "bDescriptorType": 1,
            "bcdUSB": 0x200,
            "bDeviceClass": 0,
            "bDeviceSubClass": 0,
            "bDeviceProtocol": 0,
            "bMaxPacketSize0": 64,
            "idVendor": usb.VENDOR_ID,
            "idProduct": usb.PRODUCT_ID,
            "bcdDevice": 0,
            "iManufacturer": 1,
            "iProduct": 2,
            "iSerialNumber": 3,
            "bNumConfigurations": 1,
        }
        where = {"address": 5, "bus": 1, "port_number": 1, "port_numbers": (1,), "speed": dev.speed}
        return SimpleNamespace(**fields, **where)

    def get_configuration_descriptor(self, dev, config):
        if config:
            raise IndexError
        names = ("bLength", "bDescriptorType", "wTotalLength", "bNumInterfaces", "bConfigurationValue")
        values = dict(zip(names, (9, 2, 32, 1, 1), strict=True))
        return SimpleNamespace(**values, iConfiguration=0, bmAttributes=0x80, bMaxPower=250, extra_descriptors=b"")

    def get_interface_descriptor(self, dev, intf, alt, config):
        if intf or alt or config:
            raise IndexError
        names = ("bLength", "bDescriptorType", "bInterfaceNumber", "bAlternateSetting", "bNumEndpoints")
        values = dict(zip(names, (9, 4, 0, 0, 2), strict=True))
        kinds = {"bInterfaceClass": 255, "bInterfaceSubClass": 255, "bInterfaceProtocol": 255}
        return SimpleNamespace(**values, **kinds, iInterface=0, extra_descriptors=b"")

    def get_endpoint_descriptor(self, dev, ep, intf, alt, config):
        if ep > 1:
            raise IndexError
        address = (usb.ENDPOINT_IN, usb.ENDPOINT_OUT)[ep]
        values = {"bLength": 7, "bDescriptorType": 5, "bEndpointAddress": address, "bmAttributes": 2}
        return SimpleNamespace(
            **values, wMaxPacketSize=512, bInterval=0, bRefresh=0, bSynchAddress=0, extra_descriptors=b""
        )

    def open_device(self, dev):
        if dev.driverless:
            raise NotImplementedError("Operation not supported or unimplemented on this platform")
        if dev.denied:
            raise USBError("Access denied (insufficient permissions)", -3, errno.EACCES)
        dev._check()
        return dev

    def close_device(self, dev_handle):
        dev_handle.log.append("closed")

    def set_configuration(self, dev_handle, config_value):
        dev_handle.log.append(f"configuration {config_value}")
        dev_handle.configuration = config_value

    def get_configuration(self, dev_handle):
        return dev_handle.configuration

    def claim_interface(self, dev_handle, intf):
        if dev_handle.busy:
            raise USBError("Resource busy", -6, errno.EBUSY)
        dev_handle.claims += 1

    def release_interface(self, dev_handle, intf):
        dev_handle.claims -= 1

    def clear_halt(self, dev_handle, ep):
        dev_handle.log.append(f"toggle {ep:#04x}")

    def bulk_write(self, dev_handle, ep, intf, data, timeout):
        assert (ep, intf) == (usb.ENDPOINT_OUT, 0)
        dev_handle.write(data, timeout)
        return len(data)

    def bulk_read(self, dev_handle, ep, intf, buff, timeout):
        assert (ep, intf) == (usb.ENDPOINT_IN, 0)
        got = dev_handle.read(len(buff) * buff.itemsize, timeout)
        memoryview(buff).cast("B")[: len(got)] = got
        return len(got)

    def ctrl_transfer(self, dev_handle, bmRequestType, bRequest, wValue, wIndex, data, timeout):
        assert (bmRequestType, bRequest, wValue >> 8) == (0x80, 6, 3)  # a string
        number = wValue & 0xFF
        content = dev_handle.strings[number].encode("utf-16-le") if number else b"\x09\x04"
        answer = bytes([len(content) + 2, 3]) + content
        data_view = memoryview(data).cast("B")
        size = min(len(answer), len(data_view))
        data_view[:size] = answer[:size]
        return size
