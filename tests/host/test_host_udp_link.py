"""Registers of a board's link as the host reads them, and what is taken for none."""

import json
import socket

import pytest
from fake_node import SERVER, FakeNode, Registers

from twinphase import cli
from twinphase.errors import DeviceError
from twinphase.transport.udp_link import UdpLinkDevice, describe, link_state
from twinphase_spec.udp_registers import COUNTERS, UDP_LINK

HOST = "127.9.1.1"


class LinkRegisters(Registers):
    """Of a link."""

    def __init__(self):
        super().__init__(UDP_LINK)
        values = {"MAC_ADDRESS": 0x025450000001, "IP_ADDRESS": 0x7F090101, "LIVE": 0b1010}
        for name, value in values.items():
            self.words |= {
                UDP_LINK[name].address + k: value >> 32 * k & 0xFFFFFFFF for k in range(2 if value >> 32 else 1)
            }
        for k, (name, _) in enumerate(COUNTERS):
            self.words[UDP_LINK[name].address] = 7 * k

    def write(self, address, value):
        self.words[address] = self.words[address + 2] = value


@pytest.fixture
def port():
    """Free, with the two behind it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind((HOST, 0))
        return free.getsockname()[1]


def test_a_link_is_read_by_name_and_its_group_set(port):
    with FakeNode(registers=LinkRegisters(), host=HOST, port=port + 2), UdpLinkDevice(f"udp://{HOST}:{port}") as link:
        assert link.read("MAC_ADDRESS") == 0x025450000001
        assert link.counters() == {name: 7 * k for k, (name, _) in enumerate(COUNTERS)}
        state = link.state()
        assert (state["mac"], state["ip"], state["group"], state["subscribers"]) == ("02:54:50:00:00:01", HOST, "", 2)
        link.set_group("239.1.2.3", 9760)
        assert link.state()["group"] == "239.1.2.3:9760"
        assert describe(link.state()).startswith(
            "link 02:54:50:00:00:01, group 239.1.2.3:9760, 2 subscribers: discarded 7, "
        )
        link.set_group("0.0.0.0", 0)
        assert link.state()["group"] == ""
        with pytest.raises(DeviceError, match="allowed: an IPv4 group's address"):
            link.set_group("10.0.0.1", 9760)


def test_what_is_no_link_is_none(port):
    url = f"udp://{HOST}:{port}"
    assert link_state(url) is None
    with FakeNode(host=HOST, port=port + 2):
        assert link_state(url) is None
        with pytest.raises(DeviceError, match="virtual nodes have none"):
            UdpLinkDevice(url)
    other = LinkRegisters()
    other.words[UDP_LINK["MAP_HASH"].address] ^= 1
    with FakeNode(registers=other, host=HOST, port=port + 2), pytest.raises(DeviceError, match="build and load a new"):
        UdpLinkDevice(url)


def test_devices_shows_links_that_are_asked_for(port, capsys):
    command = ["devices", "--network", f"{HOST}/32", "--port", str(port), "--no-broadcast"]
    with FakeNode(SERVER, host=HOST, port=port), FakeNode(registers=LinkRegisters(), host=HOST, port=port + 2):
        assert cli.main([*command, "--links", "--json"]) == 0
        found = {entry["url"]: entry for entry in json.loads(capsys.readouterr().out)}
        assert found[f"udp://{HOST}:{port}"]["link"]["counters"]["DISCARDED"] == 7
        assert cli.main([*command, "--links"]) == 0
        assert "link 02:54:50:00:00:01, 2 subscribers: discarded 7" in capsys.readouterr().out
        assert cli.main(command) == 0
        assert "subscribers" not in capsys.readouterr().out
