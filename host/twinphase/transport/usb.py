"""A node on USB (docs/usb.md): the frames of a serial port through two bulk endpoints, by libusb.

pyusb is imported when the first device is looked for, and only then, so that a host without it runs everything else.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from twinphase_spec import usb as wire

from ..errors import DeviceError, ExtraError
from ..packet_block import PacketBlock
from .link import LinkDevice
from .slip import FrameReader, encode_frame

READ_BYTES = 256 * wire.PACKET_BYTES
"""Of one read; the node ends it sooner with a short packet."""
POLL_MS = 100
"""A read that brings nothing ends after so long; how long `close` waits at most."""
WRITE_MS = 200
SPEED_HIGH = 3  # LIBUSB_SPEED_HIGH
RULE = (
    f'SUBSYSTEM=="usb", ATTRS{{idVendor}}=="{wire.VENDOR_ID:04x}", ATTRS{{idProduct}}=="{wire.PRODUCT_ID:04x}", '
    'MODE="0660", TAG+="uaccess"'
)
RULE_FILE = "/etc/udev/rules.d/70-twinphase.rules"
IDS = f"{wire.VENDOR_ID:04x}:{wire.PRODUCT_ID:04x}"
_NOT_ALLOWED = (errno.EACCES, errno.EPERM)


@dataclass(frozen=True, kw_only=True)
class FoundUsb:
    """A device with a node's identifiers. ``problem``: why its strings could not be read, else empty."""

    device: Any
    serial: str = ""
    problem: str = ""

    @property
    def url(self) -> str:
        return f"usb://{self.serial}"


def find_usb(backend: Any = None) -> list[FoundUsb]:
    """Nodes on this computer's USB, and devices that may be nodes but cannot be asked. Raises ExtraError (no pyusb) and DeviceError
    (no libusb)."""
    try:
        import usb.core
    except ModuleNotFoundError as error:
        raise ExtraError("pip install 'twinphase[usb]'") from error
    try:
        devices = list(
            usb.core.find(find_all=True, idVendor=wire.VENDOR_ID, idProduct=wire.PRODUCT_ID, backend=backend)
        )
    except usb.core.NoBackendError as error:
        raise DeviceError(
            "libusb is not on this computer, by which nodes on USB are reached: apt install libusb-1.0-0, brew install libusb, or put "
            "libusb-1.0.dll on PATH"
        ) from error
    except usb.core.USBError as error:
        raise DeviceError(f"libusb cannot list the devices on USB: {error.strerror or error}") from error
    return [found for device in devices if (found := _look_at(device)) is not None]


def _look_at(device: Any) -> FoundUsb | None:
    """What a device with our identifiers says; None for somebody else's, as these identifiers are for tests."""
    try:
        if (device.manufacturer, device.product) != (wire.MANUFACTURER, wire.PRODUCT):
            return None
        return FoundUsb(device=device, serial=device.serial_number or "")
    except (ValueError, OSError, NotImplementedError) as error:
        return FoundUsb(device=device, problem=_why_closed(device, error))


def _why_closed(device: Any, error: Exception) -> str:
    """pyusb says of strings only that there are none; opening the device says why."""
    try:
        device.get_active_configuration()
    except (OSError, NotImplementedError) as reason:
        error = reason
    if getattr(error, "errno", None) in _NOT_ALLOWED:
        return (
            f"it may not be opened by you: write the line {RULE} into {RULE_FILE}, run `sudo udevadm control --reload`, and plug the "
            "board in anew"
        )
    if isinstance(error, NotImplementedError):
        return "it has no driver that libusb can use: on Windows, install WinUSB for it with Zadig (zadig.akeo.ie)"
    return str(getattr(error, "strerror", None) or error)


def parse_usb_url(url: str) -> str:
    """The serial number in ``usb://`` or ``usb://SERIAL``, empty if none. Raises DeviceError."""
    parts = urlsplit(url)
    serial = parts.netloc
    try:
        if parts.scheme != "usb" or parts.path not in ("", "/") or parts.query or parts.fragment:
            raise ValueError
        if serial:
            wire.check_serial(serial)
    except ValueError as error:
        raise DeviceError(
            f"{url} is no address on USB; write usb://, or usb://SERIAL with a node's serial number"
        ) from error
    return serial


def choose(found: Sequence[FoundUsb], serial: str) -> FoundUsb:
    """The one node with the serial number, or the only one if that is empty. DeviceError says what else there is."""
    closed = [node for node in found if node.problem]
    nodes = [node for node in found if not node.problem]
    fitting = [node for node in nodes if serial in ("", node.serial)]
    names = ", ".join(sorted(node.url for node in nodes))
    if len(fitting) == 1:
        return fitting[0]
    if len(fitting) > 1:
        if len({node.serial for node in fitting}) < len(fitting):
            raise DeviceError(
                f"{len(fitting)} nodes are on USB that cannot be told apart ({names}): leave one plugged in, or build a bitstream for "
                "each with `twinphase build --usb-serial`"
            )
        raise DeviceError(f"{len(fitting)} nodes are on USB: say which one, {names}")
    if closed:
        raise DeviceError(f"a device {IDS} is on USB, but {closed[0].problem}")
    if nodes:
        raise DeviceError(f"no node on USB has the serial number {serial}; there is {names}")
    raise DeviceError(
        f"no Twinphase node is on USB ({IDS}): is the board plugged in with its own socket, powered, and its bitstream loaded?"
    )


class UsbDevice(LinkDevice):
    """``usb://``, or ``usb://SERIAL`` where several nodes are plugged in. Raises DeviceError when there is none, it may not be opened, or
    nothing answers. ``backend``: of pyusb; libusb if None."""

    def __init__(self, url: str, backend: Any = None) -> None:
        super().__init__(url)
        serial = parse_usb_url(url)
        node = choose(find_usb(backend), serial)
        import usb.core
        import usb.util

        self._usb_error, self._timeout_error = usb.core.USBError, usb.core.USBTimeoutError
        self._dispose = usb.util.dispose_resources
        self.url = node.url
        self._frames = FrameReader()
        self._device = node.device
        try:
            self._open(usb.util)
        except self._usb_error as error:
            self._dispose(self._device)
            if error.errno == errno.EBUSY:
                raise DeviceError(f"{self.url} is in use by another program: end that first") from error
            raise DeviceError(f"{self.url} cannot be opened ({error.strerror or error})") from error
        except DeviceError:
            self._dispose(self._device)
            raise
        self._start()

    def _open(self, util: Any) -> None:
        device = self._device
        if device.speed is not None and device.speed < SPEED_HIGH:
            raise DeviceError(
                f"{self.url} is not at high speed: plug it into a port, hub and cable for 480 Mb/s or more"
            )
        try:
            device.get_active_configuration()
        except self._usb_error:
            device.set_configuration()
        util.claim_interface(device, wire.INTERFACE)
        # Whatever program was there before: both ends begin with DATA0.
        device.clear_halt(wire.ENDPOINT_IN)
        device.clear_halt(wire.ENDPOINT_OUT)

    @property
    def transport_losses(self) -> dict[str, int]:
        return super().transport_losses | {"damaged frames": self._frames.damaged}

    def _send(self, packet: bytes) -> None:
        try:
            self._device.write(wire.ENDPOINT_OUT, encode_frame(packet), WRITE_MS)
        except self._timeout_error as error:
            raise BlockingIOError(str(error)) from error  # the node takes nothing just now; the next try may go

    def _collect(self) -> PacketBlock:
        try:
            data = self._device.read(wire.ENDPOINT_IN, READ_BYTES, POLL_MS)
        except self._timeout_error:
            return PacketBlock.of([])
        return PacketBlock.of(self._frames.feed(bytes(data)))

    def _release(self) -> None:
        self._dispose(self._device)
