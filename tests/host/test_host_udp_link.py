"""Registers of a board's link as the host reads them, and what is taken for none."""

import json
import socket

import pytest
from fake_node import CLIENT, SERVER, FakeNode, Registers, random_tags, tag_packets

from twinphase import cli
from twinphase.errors import DeviceError
from twinphase.transport import link_watch
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
        for wrong in (("10.0.0.1", 9760), ("0.0.0.0", 1), ("239.1.2.3", 0), ("224.0.0.1", 9760), ("239.1.2", 9760)):
            with pytest.raises(DeviceError, match="allowed: an IPv4 group's address"):
                link.set_group(*wrong)
        assert link.state()["group"] == ""


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


def test_the_command_line_sets_says_and_clears_a_group(port, capsys):
    url = f"udp://{HOST}:{port}"
    registers = LinkRegisters()
    where = UDP_LINK["GROUP_ADDRESS"].address

    def say(*arguments):
        code = cli.main(["group", *arguments])
        out, err = capsys.readouterr()
        assert not (out and err)
        return code, out or err

    with FakeNode(registers=registers, host=HOST, port=port + 2):
        assert say(url) == (0, f"{url} sends to each of its 2 subscribers\n")
        told = f"{url} sends to 239.1.2.3:9760: open {url}?group=239.1.2.3:9760\n"
        assert say(url, "239.1.2.3") == say(url) == (0, told)
        assert [registers.words[where], registers.words[where + 1]] == [0xEF010203, 9760]
        code, out = say(url, "224.0.1.0:7000", "--json")
        assert (code, json.loads(out)["group"], json.loads(out)["url"]) == (0, "224.0.1.0:7000", url)
        assert json.loads(out)["counters"]["DISCARDED"] == 7
        for wrong in (
            *("10.0.0.1", "224.0.0.251", "240.0.0.1", "255.255.255.255", "0.0.0.0", "ff02::1", "239.1.2", "name"),
            *("239.1.2.3:", "239.1.2.3:0", "239.1.2.3:65536", "239.1.2.3:+1", "239.1.2.3:1:2"),
        ):
            code, err = say(url, wrong)
            assert (code, err.count("\n")) == (2, 1)
            assert err.startswith(f"{wrong} is no group; allowed: an IPv4 group's address from 224.0.1.0 to 239.")
        code, err = say(url, "239.1.2.3", "--clear")
        assert (code, "--clear" in err) == (2, True)
        assert json.loads(say(url, "--json")[1])["group"] == "224.0.1.0:7000"
        code, out = say(url, "--clear", "--json")
        assert (code, json.loads(out)["group"], registers.words[where]) == (0, "", 0)
    with FakeNode(CLIENT, host=HOST, port=port + 2):
        code, err = say(url, "239.1.2.3")
        assert (code, "virtual nodes have none" in err) == (2, True)
    code, err = say(url)
    assert (code, err.count("\n")) == (2, 1)
    assert err.endswith("(virtual nodes have no link of their own)\n")
    assert say("serial:///dev/ttyUSB0", "239.1.2.3")[0] == 2


def test_the_monitor_shows_the_link_and_what_it_counts_meanwhile(port, capsys, monkeypatch):
    """Its counters go on, across their wrap, while the monitor runs; a client beside a server, and a recording, are no links."""
    monkeypatch.setenv("COLUMNS", "160")
    registers = LinkRegisters()
    sent, struck = (UDP_LINK[name].address for name in ("SENT", "STRUCK"))
    registers.words[sent] = 0xFFFFFFFE
    command = ["monitor", f"udp://{HOST}:{port}", "--seconds", "0.8", "--interval", "0.02"]
    packets = tag_packets(random_tags(4000, 1, 1 << 28), 20)
    with FakeNode(SERVER, host=HOST, port=port, paced=True) as node:
        node.outbox = packets
        with FakeNode(registers=registers, host=HOST, port=port + 2) as link:

            class Grow(list):
                """Read by the node as it sends: the link counts meanwhile."""

                def __getitem__(self, place):
                    link.registers.words[sent] = (0xFFFFFFFE + place.start) & 0xFFFFFFFF
                    link.registers.words[struck] = 28 + place.start // 16
                    return super().__getitem__(place)

            node.outbox = Grow(packets)
            assert cli.main([*command, "--json"]) == 0
            seen = [json.loads(line)["devices"][0]["link"] for line in capsys.readouterr().out.splitlines()]
            assert seen[0]["mac"] == "02:54:50:00:00:01"
            assert all(state["age_s"] == 0 for state in seen)
            for state in seen:
                grown = state["since_opened"]
                assert grown["SENT"] == (state["counters"]["SENT"] - 0xFFFFFFFE) & 0xFFFFFFFF
                assert grown["DISCARDED"] == 0
            assert 0 < seen[-1]["since_opened"]["SENT"] < len(packets)
            assert seen[-1]["since_opened"]["STRUCK"] > 0
            node.restart(packets)
            assert cli.main(command) == 0
            shown = " ".join(capsys.readouterr().out.split())
            assert "link │ 02:54:50:00:00:01 at 127.9.1.1, 2 subscribers" in shown
            assert "discarded 7 unasked 14" in shown
        with FakeNode(CLIENT, host=HOST, port=port + 2):
            node.restart(packets)
            assert cli.main([*command, "--json"]) == 0
            assert json.loads(capsys.readouterr().out.splitlines()[-1])["devices"][0]["link"] is None


def test_a_link_that_falls_silent_keeps_its_last_words_and_holds_nobody_up(port, monkeypatch):
    monkeypatch.setattr("twinphase.transport.link.ANSWER_TIMEOUT_S", 0.02)
    assert link_watch.watch_link("lab:mini") is link_watch.watch_link("run1") is None
    assert link_watch.watch_link(f"udp://{HOST}:{port}") is link_watch.watch_link("udp://[::1]:9") is None
    with FakeNode(registers=LinkRegisters(), host=HOST, port=port + 2) as node:
        watch = link_watch.watch_link(f"udp://{HOST}:{port}")
        node.cut = True
        asked = node.requests
        states = [watch.state() for _ in range(20)]
        assert node.requests == asked
        assert 0 < states[0]["age_s"] < states[-1]["age_s"]
        assert states[-1]["counters"]["DISCARDED"] == 7
        (name, text, well), _ = link_watch.link_rows(states[-1])
        assert (name, well) == ("link", False)
        assert text.endswith("has not answered for 0 s")
        node.cut = False
        node.registers.words[UDP_LINK["STRUCK"].address] += 3
        monkeypatch.setattr(link_watch, "AGAIN_S", 0.0)
        again = watch.state()
        assert (again["age_s"], again["since_opened"]["STRUCK"]) == (0, 3)
        assert "struck 31 (+3)" in link_watch.link_rows(again)[1][1]
        watch.close()
