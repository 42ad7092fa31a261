"""Boards whose packets leave as UDP: what is refused, what the build gets, what the manifest says."""

import pytest
from amaranth.hdl import Module
from amaranth.lib import io, wiring
from amaranth.lib.wiring import In, Out

from twinphase.errors import TwinphaseError
from twinphase_firmware.boardlink import BoardLink
from twinphase_firmware.boards import BOARDS, find_board
from twinphase_firmware.build import describe_link, describe_ports, make_plan, source_hash
from twinphase_firmware.clocking import BoardClock
from twinphase_firmware.ethernet import NOT_CHECKED
from twinphase_firmware.pll import MAX_DIVIDER, solve_pll
from twinphase_firmware.ports import connect_link
from twinphase_firmware.portvolts import connect_port_volts
from twinphase_firmware.tops import make_top
from twinphase_hdl.link.ethernet import Address
from twinphase_hdl.types import word_stream
from twinphase_spec.tagger import TaggerOptions
from twinphase_spec.units import CLOCK_HZ

UDP = BoardLink(kind="udp", ip="10.1.2.3")
WITH_PHY = sorted(name for name, board in BOARDS.items() if board.rgmii is not None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "wire"},
        {"mac": "nonsense"},
        {"ip": "1.2.3"},
        {"fallback_ip": "10.1.2.3"},
        {"ip": "dhcp", "fallback_ip": "10.1.2.255"},
        {"ip": "dhcp", "fallback_ip": "dhcp"},
        {"ip": "dhcp", "mac": "01:00:00:00:00:00"},
    ],
)
def test_a_link_that_is_none_is_refused(wrong):
    with pytest.raises(ValueError, match="; allowed: "):
        BoardLink(**{"kind": "udp", **wrong})


@pytest.mark.parametrize(
    ("name", "node"), [("ulx3s-85f", "client"), ("ulx3s-25f", "timetagger"), ("ice40-hx8k", "timetagger")]
)
def test_a_board_without_ethernet_is_refused(name, node):
    with pytest.raises(TwinphaseError, match=rf"^{name}: link 'udp' [^\n]*; allowed: 'serial'$"):
        make_top(node, find_board(name), build_hash=0, link=UDP)


def test_a_board_without_a_serial_port_is_refused_one_and_has_udp_by_itself():
    board = find_board("butterstick")
    refused = r"^butterstick: link 'serial' on a board without a serial port for a node; allowed: 'udp'$"
    with pytest.raises(TwinphaseError, match=refused):
        make_top("timetagger", board, build_hash=0, link=BoardLink())
    with pytest.raises(ValueError, match="butterstick has no serial port"):
        connect_link(Module(), None, board, None, BoardLink())
    assert board.link == "udp"
    assert find_board("ecpix5-85f").link == "serial"


def test_an_oversampled_tagger_is_refused():
    options = TaggerOptions(frontend="oversampling", lanes=1)
    with pytest.raises(TwinphaseError, match="front end 'oversampling', whose clock has no half"):
        make_top("timetagger", find_board("ecpix5-85f"), build_hash=0, options=options, link=UDP)


@pytest.mark.parametrize("name", WITH_PHY)
def test_the_pll_halves_the_clock(name):
    dividers = solve_pll(find_board(name).platform().default_clk_frequency, CLOCK_HZ, second_hz=2 * CLOCK_HZ)
    assert dividers.vco_hz / dividers.half_div == CLOCK_HZ / 2
    assert dividers.half_div <= MAX_DIVIDER
    assert dividers.half_cphase == dividers.half_div - 1


def test_a_board_that_asks_for_its_address_has_another_one_meanwhile():
    link = BoardLink(kind="udp", ip="dhcp", mac="02:54:50:00:fe:ff")
    assert link.address == Address(mac=link.mac, ip="169.254.1.2", dhcp=True)
    assert BoardLink(ip="dhcp", mac="02:54:50:00:00:01").address.ip == "169.254.1.2"
    assert link.describe()["fallback_ip"] == "169.254.1.2"
    assert link.describe()["host_name"] == "twinphase-00feff"
    assert link.describe()["ip"] == "dhcp"
    asked = BoardLink(kind="udp", ip="dhcp", fallback_ip="10.1.2.3")
    assert asked.address == Address(ip="10.1.2.3", dhcp=True)
    assert BoardLink(kind="udp").address == Address()


def test_the_manifest_says_what_nobody_has_checked():
    manifest = {"not_checked": "pins", "tools": {"amaranth": "0.5.10"}}
    said = describe_link(UDP, manifest)
    assert said["link"] == {"kind": "udp", "mac": UDP.mac, "ip": "10.1.2.3", "ports": [9750, 9751, 9752]}
    assert said["not_checked"] == f"pins; {NOT_CHECKED}"
    assert "RGMII" in said["not_checked"]
    assert set(said["tools"]) == {"amaranth", "liteeth", "litex", "migen"}
    assert describe_link(BoardLink(), manifest) == {"link": {"kind": "serial"}}


class Mirror(wiring.Component):
    """In a node's place: what comes goes back."""

    rx: In(word_stream())
    tx: Out(word_stream())

    def elaborate(self, platform):
        m = Module()
        wiring.connect(m, wiring.flipped(self.rx), wiring.flipped(self.tx))
        return m


class MirrorTop(wiring.Component):
    """The way between PHY and node alone."""

    def __init__(self, board, link):
        self._board, self.link = board, link
        super().__init__({})

    def elaborate(self, platform):
        m = Module()
        m.submodules.clock = BoardClock(net=True)
        m.submodules.node = node = Mirror()
        connect_link(m, platform, self._board, node, self.link)
        connect_port_volts(m, platform, self._board)
        return m


@pytest.mark.parametrize("name", WITH_PHY)
def test_the_plan_has_the_core_and_its_clock(name):
    """Twice the same, and another with another address."""
    board = find_board(name)

    def planned(link):
        return make_plan(board.prepare(0), MirrorTop(board, link), seed=1)

    plan = planned(UDP)
    assert 'FREQUENCY PORT "eth_rgmii_0__rx_clk__io" 125000000.0 HZ' in str(plan.files["top.lpf"])
    assert "module twinphase_ethernet" in plan.files["twinphase_ethernet.v"]
    assert "CLKOS2_DIV" in plan.files["top.il"]
    assert source_hash(plan) == source_hash(planned(UDP)) != source_hash(planned(BoardLink(kind="udp", ip="10.1.2.4")))
    assert "dhcp" not in str(plan.files["top.il"])
    assert "top.udp.streams" not in str(plan.files["top.il"]), "a node that takes only requests has no queue for more"


def test_the_plan_of_a_board_that_asks_has_a_client():
    board = find_board("ecpix5-85f")
    plan = make_plan(board.prepare(0), MirrorTop(board, BoardLink(kind="udp", ip="dhcp")), seed=1)
    assert "top.ethernet.dhcp" in str(plan.files["top.il"])
    assert "broadcast_source" in plan.files["twinphase_ethernet.v"]


def test_butterstick_has_its_pins_clock_and_supplies():
    """Balls of SYZYGY port 0 from amaranth-boards, all of bank 6, whose supply is the port's."""
    board = find_board("butterstick")

    class Top(MirrorTop):
        def elaborate(self, platform):
            m = super().elaborate(platform)
            m.submodules.pins = io.Buffer("i", platform.request("detectors", dir="-"))
            m.submodules.pulser = io.Buffer("o", platform.request("pulser", dir="-"))
            return m

    plan = make_plan(board.prepare(8), Top(board, BoardLink(kind=board.link)), seed=1)
    constraints = str(plan.files["top.lpf"])
    for channel, ball in enumerate(["G2", "J3", "F1", "K3", "J4", "K2", "J5", "J1"]):
        assert f'LOCATE COMP "detectors_0__io[{channel}]" SITE "{ball}"' in constraints
    assert 'IOBUF PORT "detectors_0__io[7]"' in constraints
    assert 'LOCATE COMP "pulser_0__io" SITE "N2"' in constraints
    for pin, ball in enumerate(["V1", "E11", "T2"]):
        assert f'LOCATE COMP "vccio_ctrl_0__pdm__io[{pin}]" SITE "{ball}"' in constraints
    assert 'LOCATE COMP "vccio_ctrl_0__en__io" SITE "E12"' in constraints
    assert 'FREQUENCY PORT "clk30_0__io" 30000000.0 HZ' in constraints
    pll = str(plan.files["top.il"])
    assert '"INT_OS3"' in pll
    assert "CLKOS3_DIV" in pll


def test_the_manifest_says_the_volts_of_ports():
    manifest = {"not_checked": "pins"}
    said = describe_ports(find_board("butterstick"), manifest)
    assert said["port_volts"] == {"SYZYGY 0": 3.3, "SYZYGY 1": 1.8, "SYZYGY 2": 1.8}
    assert said["not_checked"].startswith("pins; the supplies of ports")
    assert describe_ports(find_board("ecpix5-85f"), manifest) == {}
