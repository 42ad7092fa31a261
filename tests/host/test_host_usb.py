"""Nodes on USB, by pyusb with a backend whose devices are not there: streams, requests, and every way in which it can go wrong."""

import json
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import usb.backend.libusb0
import usb.backend.libusb1
import usb.backend.openusb
from fake_node import CLIENT, Registers, TaggerRegisters, heralds, random_tags, record_packets, tag_packets
from fake_usb import FakeLibusb, FakeUsbNode

from twinphase import cli, reachable
from twinphase.device import open_device
from twinphase.errors import DeviceError, ExtraError
from twinphase.recording.reader import Recording
from twinphase.recording.writer import METADATA
from twinphase.transport import usb as usb_transport
from twinphase.transport.slip import encode_frame
from twinphase.transport.usb import RULE, UsbDevice, find_usb
from twinphase_spec import usb as wire
from twinphase_spec.packets import Stream


@pytest.fixture
def bus(monkeypatch):
    """Puts nodes on the bus that pyusb finds by itself; none: no libusb at all."""

    def plug(*nodes):
        backend = FakeLibusb(*nodes) if nodes else None
        monkeypatch.setattr(usb.backend.libusb1, "get_backend", lambda *_, **__: backend)
        return nodes

    monkeypatch.setattr(usb.backend.libusb0, "get_backend", lambda *_, **__: None)
    monkeypatch.setattr(usb.backend.openusb, "get_backend", lambda *_, **__: None)
    return plug


def test_registers_and_streams(bus):
    records = heralds(4000)
    (node,) = bus(FakeUsbNode("7", Registers(CLIENT)))
    with open_device("usb://") as device:
        assert device.url == "usb://7"
        assert device.identity().node.name == "CLIENT"
        for value in (1, 0, 1):
            device.write("ROLE", value)
        node.outbox = record_packets(Stream.HERALD, records, 40, 1 << 17, 600_000)
        got, deadline = [], time.monotonic() + 10
        for batch in device.batches(0.05):
            got += [batch[Stream.HERALD]] if Stream.HERALD in batch.records else []
            if sum(map(len, got)) == len(records) or time.monotonic() > deadline:
                break
        assert np.array_equal(np.concatenate(got), records)
        assert device.transport_losses == {"receive queue": 0, "damaged frames": 0}
        assert device.read("ROLE") == 1
        assert node.registers.writes[CLIENT["ROLE"].address] == 3
        assert node.claims == 1
    assert node.claims == 0
    assert [word for word in node.log if word != "closed"] == ["toggle 0x81", "toggle 0x01"]
    assert node.log[-1] == "closed"


def test_an_unconfigured_device_is_configured(bus):
    (node,) = bus(FakeUsbNode())
    node.configuration = 0
    with open_device("usb://1"):
        assert "configuration 1" in node.log


def test_what_lies_in_the_pipe_from_before_is_no_answer(bus):
    """Half a frame, answers to a host that has gone, a frame that a bus reset has doubled: the node is opened all the same."""
    (node,) = bus(FakeUsbNode())
    tags = random_tags(500, 1)
    frame = node.registers.answer(np.array([0, 5, 0, 0, 6 << 0, 0, 0, 0], "<u4").tobytes())
    node.send_bytes(bytes(frame)[5:])
    node.outbox = tag_packets(tags, 50)
    with open_device("usb://") as device:
        got = []
        for batch in device.batches(0.05):
            got += [batch[Stream.TAG]] if Stream.TAG in batch.records else []
            if sum(map(len, got)) == len(tags):
                break
        assert np.array_equal(np.concatenate(got), tags)


def test_a_board_that_is_unplugged_ends_a_recording_that_stays_valid(bus, tmp_path, capsys):
    tags = random_tags(3000, 1)
    (node,) = bus(FakeUsbNode())
    node.outbox = tag_packets(tags, 30)

    def pull():
        """In the middle of a frame, when all else has gone."""
        while node.outbox:
            time.sleep(0.01)
        time.sleep(0.3)
        node.send_bytes(encode_frame(tag_packets(tags, 30)[0])[:50])
        time.sleep(0.2)
        node.unplug()

    threading.Thread(target=pull, daemon=True).start()
    code = cli.main(["record", "usb://1", "--out", str(tmp_path / "run")])
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert "usb://1 is gone: No such device" in err
    with Recording(str(tmp_path / "run")) as recording:
        got = [batch[Stream.TAG] for batch in recording.batches() if Stream.TAG in batch.records]
    assert np.array_equal(np.concatenate(got), tags)
    assert json.loads((tmp_path / "run" / METADATA).read_text())["ended"] == "device error"


def ask_for_ever(device):
    while True:
        device.read("SNAPSHOT_COUNT")


def test_unplugged_while_a_request_waits(bus):
    (node,) = bus(FakeUsbNode())
    with open_device("usb://") as device:
        threading.Timer(0.1, node.unplug).start()
        with pytest.raises(DeviceError, match=r"usb://1 (is gone|cannot be reached): No such device"):
            ask_for_ever(device)
        with pytest.raises(DeviceError, match="is gone"):
            list(device.batches(0.01))


def test_a_node_that_takes_nothing_is_asked_again(bus):
    (node,) = bus(FakeUsbNode())
    with open_device("usb://") as device:
        node.deaf = True
        threading.Timer(0.3, lambda: setattr(node, "deaf", False)).start()
        assert device.read("SNAPSHOT_COUNT") == 0
        node.deaf = True
        device._tries = 2
        with pytest.raises(DeviceError, match="does not answer"):
            device.read("SNAPSHOT_COUNT")


@pytest.mark.parametrize(
    ("change", "url", "says"),
    [
        ({}, "usb://2", "no node on USB has the serial number 2; there is usb://1"),
        ({"denied": True}, "usb://", "udev"),
        ({"denied": True}, "usb://1", RULE),
        ({"driverless": True}, "usb://", "Zadig"),
        ({"busy": True}, "usb://", "usb://1 is in use by another program"),
        ({"speed": 2}, "usb://", "not at high speed"),
        ({"unplugged": True}, "usb://", "No such device"),
        ({"strings": {1: "ACME", 2: "Thing", 3: "1"}}, "usb://", "no Twinphase node is on USB"),
    ],
)
def test_what_is_wrong_is_said(bus, change, url, says):
    (node,) = bus(FakeUsbNode())
    vars(node).update(change)
    with pytest.raises(DeviceError) as error:
        open_device(url)
    assert says in str(error.value)
    assert "\n" not in str(error.value)
    assert node.claims == 0


def test_several_nodes_are_told_apart_by_serial_number(bus):
    bus(FakeUsbNode("b"), FakeUsbNode("a", Registers(CLIENT)), FakeUsbNode("x", maker="ACME"))
    with pytest.raises(DeviceError, match=r"2 nodes are on USB: say which one, usb://a, usb://b$"):
        open_device("usb://")
    with open_device("usb://a") as device:
        assert device.identity().node.name == "CLIENT"
    bus(FakeUsbNode("a"), FakeUsbNode("a"))
    with pytest.raises(DeviceError, match="cannot be told apart"):
        open_device("usb://a")


def test_one_that_is_shut_does_not_hide_another(bus):
    shut = FakeUsbNode("a")
    shut.denied = True
    bus(shut, FakeUsbNode("b"))
    with open_device("usb://b") as device:
        assert device.url == "usb://b"


@pytest.mark.parametrize("url", ["usb:///dev/x", "usb://a/b", "usb://a?b=1", "usb://a b", "usb://1#2"])
def test_strange_addresses_are_refused(bus, url):
    bus(FakeUsbNode("a"))
    with pytest.raises(DeviceError, match="is no address on USB; write usb://"):
        open_device(url)


def test_no_libusb_and_no_pyusb(bus, monkeypatch, capsys):
    bus()
    assert cli.main(["record", "usb://", "--out", "x"]) == 2
    assert "libusb is not on this computer" in capsys.readouterr().err
    assert "libusb is not on this computer" in reachable.on_usb()[0]["what"]
    monkeypatch.setitem(sys.modules, "usb.core", None)
    monkeypatch.setitem(sys.modules, "usb", None)
    with pytest.raises(ExtraError, match=r"pip install 'twinphase\[usb\]'"):
        UsbDevice("usb://")
    assert "pip install 'twinphase[usb]'" in reachable.on_usb()[0]["what"]


def test_devices_lists_nodes_on_usb(bus):
    shut = FakeUsbNode("b")
    shut.denied = True
    bus(FakeUsbNode("a", TaggerRegisters()), shut, FakeUsbNode("c", product="Thing"))
    found = reachable.on_usb()
    assert found[0] == {"url": "usb://a", "what": "node on USB"}
    assert len(found) == 2
    assert RULE in found[1]["what"]
    assert [node.serial for node in find_usb()] == ["a", ""]


def test_the_pages_quote_what_is_said():
    docs = Path(__file__).resolve().parents[2] / "docs"
    boards, contract = ((docs / name).read_text() for name in ("boards.md", "usb.md"))
    source = Path(usb_transport.__file__).read_text()
    for sentence in ("no Twinphase node is on USB", "is not at high speed"):
        assert sentence in boards
        assert sentence in source
    assert f"{wire.VENDOR_ID:04x}:{wire.PRODUCT_ID:04x}" in boards
    assert f"{wire.VENDOR_ID:04x}:{wire.PRODUCT_ID:04x}" in contract
    assert f"for {wire.IDLE_SECONDS * 1e6:g} us" in contract
    assert f"lasted {wire.TRANSFER_SECONDS * 1e3:g} ms" in contract
    assert f"{usb_transport.READ_BYTES >> 10} KiB at a time" in contract
    for address in (wire.ENDPOINT_IN, wire.ENDPOINT_OUT):
        assert f"| {address:#04x} | bulk" in contract
