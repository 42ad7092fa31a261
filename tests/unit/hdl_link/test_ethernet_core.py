"""The Ethernet core's Verilog: the same from everywhere, and refusals in one sentence."""

import os
import re
import subprocess
import sys

import pytest

from twinphase_hdl.link.ethernet import Address, EthernetCore
from twinphase_hdl.link.liteethcore import CoreOptions, core_verilog

WRITE = "from twinphase_hdl.link.liteethcore import *; print(core_verilog(CoreOptions(phy='rgmii')), end='')"


def test_the_text_depends_on_the_options_alone(tmp_path):
    here = core_verilog(CoreOptions(phy="rgmii"))
    paths = os.pathsep.join(os.path.abspath(path) for path in sys.path)
    there = subprocess.run(
        [sys.executable, "-c", WRITE],
        cwd=tmp_path,
        env={**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert there == here
    assert "//" not in here
    assert os.getcwd() not in here


def test_delays_are_in_steps_of_25_ps():
    text = core_verilog(CoreOptions(phy="rgmii", tx_delay_ns=1.0, rx_delay_ns=0.5))
    steps = re.findall(r"DEL_VALUE\s*\(\s*(?:\d+'d)?(\d+)", text)
    assert sorted(map(int, steps)) == [0] * 5 + [20] * 5 + [40]
    assert text.count("ODDRX1F") > 5
    assert core_verilog(CoreOptions(phy="rgmii", tx_delay_ns=1.0)) != text
    assert "DELAYG" not in core_verilog(CoreOptions())


@pytest.mark.parametrize(
    "mac",
    [
        "",
        "02:54:50:00:00",
        "01:54:50:00:00:01",
        "02-54-50-00-00-01",
        "02:54:50:00:00:0x",
        "00:00:00:00:00:00",
        "2:5:5:0:0:1",
    ],
)
def test_what_is_no_mac_of_a_station_is_refused(mac):
    with pytest.raises(ValueError, match=r"^MAC address '.*'; allowed: six bytes like [^\n]*$"):
        Address(mac=mac)


@pytest.mark.parametrize(
    "ip", ["", "192.168.1", "192.168.1.256", "224.0.0.1", "0.0.0.0", "192.168.1.255", "127.0.0.1", "fe80::1"]
)
def test_what_is_no_address_of_a_station_is_refused(ip):
    with pytest.raises(ValueError, match=r"^IP address '.*'; allowed: four bytes like [^\n]*$"):
        Address(ip=ip)


def test_addresses_as_numbers():
    address = Address(mac="02:54:50:00:0a:ff", ip="10.77.0.50")
    assert (address.mac_number, address.ip_number) == (0x025450000AFF, 0x0A4D0032)


@pytest.mark.parametrize(
    "wrong",
    [
        {"phy": "mii"},
        {"udp_ports": ()},
        {"udp_ports": (0,)},
        {"tx_delay_ns": 3.2},
        {"rx_delay_ns": -0.1},
        {"timer_hz": 1},
    ],
)
def test_wrong_options_are_refused(wrong):
    with pytest.raises(ValueError, match=r"; allowed: "):
        CoreOptions(**wrong)


def test_a_core_without_pins_for_rgmii_is_refused():
    with pytest.raises(ValueError, match="allowed: 'rgmii' with, 'gmii' without"):
        EthernetCore(options=CoreOptions(phy="rgmii"), address=Address())
