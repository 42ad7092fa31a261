"""The boards: their Amaranth platform, the detector inputs on it, its link, and the nodes that are built for it.

Every board takes detector pulses as LVCMOS33 logic on the pins listed in ``input_pins``: a server the first four (qL, qR, rL, rR in
this order), a time tagger as many as it has channels. A client drives ``modulator_pins`` or ``drive_pins``, some of which
other nodes use otherwise.
The delays of an RGMII PHY are those with which LiteX runs these boards (litex-boards, ``lambdaconcept_ecpix5``, ``lattice_versa_ecp5``,
``gsd_butterstick``).
The serial port runs at `BAUD`; no USB bridge of these boards is asked for more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from twinphase.errors import TwinphaseError
from twinphase_spec.tagger import TaggerOptions
from twinphase_spec.units import CLOCK_HZ

from .boardlink import Kind, RgmiiPins
from .clientoptions import RING_LANES, ClientOptions
from .drivepins import ECPIX5_DRIVE, ULX3S_DRIVE, DrivePins
from .family import ECP5, ICE40, Family
from .modulatorpins import ModulatorPins
from .qrngpins import ECPIX5_QRNG, ULX3S_QRNG, QrngPins

BAUD = 3_000_000
ACTUATOR_LINES = ("select", "clock", "data", "level")
RING_NUMBER = 1
"""Of the resource ``modulators`` of a client with symbols "ring"."""


@dataclass(frozen=True, kw_only=True)
class Board:
    """One lab board. ``platform`` makes its Amaranth platform; imported only when called."""

    name: str
    part: str
    family: Family = ECP5
    clock_hz: int = CLOCK_HZ
    platform: Callable[[], Any]
    connector: tuple[str, int]
    input_pins: str
    """Pins of the connector, in the order of channels."""
    output_pin: tuple[str, int, str]
    """The time tagger's test pulser: connector and pin."""
    actuator_pins: tuple[str, int, str] | None = None
    """The server's phase actuator: connector, and its pins for a serial DAC's select, clock and data and for a sigma-delta level."""
    modulator_pins: ModulatorPins | None = None
    """Of a client."""
    drive_pins: DrivePins | None = None
    """Of a client with outputs "dac", in the place of ``modulator_pins``."""
    qrng_pins: QrngPins | None = None
    """Of a client with symbols "ring", in the place of the pins of ``modulator_pins`` that it leaves free."""
    ring_clocks: str = ""
    """Where such a client has the bus clock, beside the generator's pins."""
    reference_pin: tuple[str, int, str] | None = None
    """Where a clock from outside comes in, in the place of the board's oscillator: connector and pin (`reference`)."""
    rgmii: RgmiiPins | None = None
    """Of its Ethernet PHY."""
    ulpi: tuple[str, int] | None = None
    """Its USB PHY: name and number of the resource."""
    link: Kind = "serial"
    """How packets leave it unless asked otherwise."""
    uart: int | None = 0
    """Its serial port, if it has one that a node can have."""
    uart_flow: dict[str, str] = field(default_factory=dict)
    """Further wires of the serial port, requested but unused."""
    port_volts: dict[str, float] = field(default_factory=dict)
    """Supplies of ports that the gateware sets (`portvolts`), in the order of their control pins."""
    samples: Literal["geared", "paired"] = "geared"
    """How an ECP5 takes four samples per clock from detector pins: `oversampling`, or at the top or bottom of the die `pairedpins`."""
    nodes: dict[str, TaggerOptions | ClientOptions]
    """Nodes that are built for this board, and what their front ends (of a client, its lanes) are, unless asked otherwise."""
    seeds: dict[tuple[str, Kind], int] = field(default_factory=dict)
    """Seed of the first placement of a node over a link, where it is not 1."""

    def prepare(self, channels: int = 4, *, reference_hz: int | None = None) -> Any:
        """The platform with the resources ``detectors`` (``channels`` pins, if any), ``pulser`` and, if it has pins for them,
        ``actuator``, ``modulators``, ``drive`` and ``qrng`` added; number 1 of ``modulators`` is what is left of it beside ``qrng``.
        With ``reference_hz`` its clock is that of `reference_pin`, the resource ``reference``, and not its oscillator.

        Raises TwinphaseError for more channels than pins.
        """
        from amaranth.build import Attrs, Clock, Pins, Resource, Subsignal

        pins = self.input_pins.split()
        if channels > len(pins):
            raise TwinphaseError(
                f"board {self.name}: {channels} channels were asked for; allowed: {len(pins)}, which it has pins for"
            )
        platform = self.platform()
        connector, number, pin = self.output_pin
        outputs = Attrs(**self.family.output_attributes)
        if channels:
            used, inputs = " ".join(pins[:channels]), Attrs(**self.family.input_attributes)
            platform.add_resources([Resource("detectors", 0, Pins(used, dir="i", conn=self.connector), inputs)])
        platform.add_resources([Resource("pulser", 0, Pins(pin, dir="o", conn=(connector, number)), outputs)])
        if self.actuator_pins is not None:
            connector, number, wires = self.actuator_pins
            lines = (
                Subsignal(name, Pins(pin, dir="o", conn=(connector, number)), outputs)
                for name, pin in zip(ACTUATOR_LINES, wires.split(), strict=True)
            )
            platform.add_resources([Resource("actuator", 0, *lines)])
        fast = Attrs(**self.family.output_attributes, SLEWRATE="FAST")
        client = (pins for pins in (self.modulator_pins, self.drive_pins) if pins is not None)
        platform.add_resources([pins.resource(fast) for pins in client])
        if self.modulator_pins is not None and self.qrng_pins is not None:
            clocks = f"{self.ring_clocks} {self.qrng_pins.bus_clock}"
            few = self.modulator_pins.resource(fast, number=RING_NUMBER, columns=max(RING_LANES), clocks=clocks)
            platform.add_resources([few, self.qrng_pins.resource(Attrs(**self.family.input_attributes), fast)])
        if reference_hz is not None and self.reference_pin is not None:
            connector, number, pin = self.reference_pin
            inputs = Attrs(**self.family.input_attributes)
            wire = Pins(pin, dir="i", conn=(connector, number))
            platform.add_resources([Resource("reference", 0, wire, Clock(reference_hz), inputs)])
            platform.default_clk = "reference"
        return platform


def _ecpix5() -> Any:
    from amaranth_boards.ecpix5 import ECPIX585Platform

    return ECPIX585Platform()


def _ulx3s(size: str) -> Callable[[], Any]:
    def platform() -> Any:
        from amaranth_boards import ulx3s

        return getattr(ulx3s, f"ULX3S_{size}_Platform")()

    return platform


def _versa() -> Any:
    from amaranth_boards.versa_ecp5_5g import VersaECP55GPlatform

    return VersaECP55GPlatform()


def _butterstick() -> Any:
    from amaranth_boards.butterstick import ButterStickPlatform

    return ButterStickPlatform()


def _hx8k() -> Any:
    from amaranth_boards.ice40_hx8k_b_evn import ICE40HX8KBEVNPlatform

    return ICE40HX8KBEVNPlatform()


def _cynthion() -> Any:
    from .cynthion import CynthionPlatform

    return CynthionPlatform()


def _on(connector: str, pins: str) -> str:
    return " ".join(f"{connector}:{pin}" for pin in pins.split())


ECPIX5_MODULATORS = ModulatorPins(
    clocks=" ".join(_on(f"pmod_{number}", "10") for number in range(6)),
    valid="pmod_4:9",
    q=tuple(_on(f"pmod_{number}", "1 2 3 4 7 8 9") for number in range(4)),
    r=tuple(_on(f"pmod_{4 + column // 2}", ("1 2 3", "4 7 8")[column % 2]) for column in range(4)),
)
"""A column of the q band on each of Pmods 0 to 3, two of the r band on each of 4 and 5, the bus clock on pin 10 of all."""
ULX3S_MODULATORS = ModulatorPins(
    clocks="gpio_0:0+",
    valid="gpio_0:0-",
    q=tuple(
        _on("gpio_0", " ".join(f"{14 + line // 2}{'+-'[line % 2]}" for line in range(7 * column, 7 * column + 7)))
        for column in range(4)
    ),
    r=tuple(
        _on("gpio_0", " ".join(f"{1 + line // 2}{'+-'[line % 2]}" for line in range(3 * column, 3 * column + 3)))
        for column in range(4)
    ),
)
"""The q band on GP14 to GP27, the 28 pins of one header, column after column; clock, valid and the r band on GP0 to GP6 of the other."""


BOARDS = {
    board.name: board
    for board in (
        Board(
            name="ecpix5-85f",
            part="LFE5UM5G-85F-8BG554",
            platform=_ecpix5,
            connector=("pmod", 0),
            input_pins="1 2 3 4 7 8 9 10",
            output_pin=("pmod", 1, "1"),
            actuator_pins=("pmod", 1, "7 8 9 10"),
            modulator_pins=ECPIX5_MODULATORS,
            drive_pins=ECPIX5_DRIVE,
            qrng_pins=ECPIX5_QRNG,
            ring_clocks="pmod_0:10 pmod_1:10 pmod_4:10",
            reference_pin=("pmod", 7, "7"),
            rgmii=RgmiiPins(control=("rx_ctrl", "tx_ctrl"), tx_delay_ns=2.0, rx_delay_ns=0.0),
            nodes={
                "server": TaggerOptions(channels=4, frontend="delay line", lanes=1, taps=416),
                "timetagger": TaggerOptions(frontend="delay line", lanes=2),
                "client": ClientOptions(),
            },
            seeds={("server", "udp"): 3},  # 1 misses, from 2 the router had not ended after 33 minutes of a core
        ),
        Board(
            name="ulx3s-85f",
            part="LFE5U-85F-6BG381",
            platform=_ulx3s("85F"),
            connector=("gpio", 0),
            input_pins="14+ 15+ 16+ 17+ 18+ 19+ 20+ 21+",
            output_pin=("gpio", 0, "22+"),
            modulator_pins=ULX3S_MODULATORS,
            drive_pins=ULX3S_DRIVE,
            qrng_pins=ULX3S_QRNG,
            ring_clocks="gpio_0:0+",
            reference_pin=("gpio", 0, "12+"),
            uart_flow={"rts": "-", "dtr": "-"},
            # A server reached 105 MHz of 125 at this speed grade.
            nodes={"timetagger": TaggerOptions(frontend="delay line", lanes=1), "client": ClientOptions()},
        ),
        Board(
            name="ulx3s-25f",
            part="LFE5U-25F-6BG381",
            platform=_ulx3s("25F"),
            connector=("gpio", 0),
            input_pins="14+ 15+ 16+ 17+ 18+ 19+ 20+ 21+",
            output_pin=("gpio", 0, "22+"),
            reference_pin=("gpio", 0, "12+"),
            uart_flow={"rts": "-", "dtr": "-"},
            nodes={"timetagger": TaggerOptions(frontend="oversampling", lanes=1)},
        ),
        Board(
            name="versa-ecp5-5g",
            part="LFE5UM5G-45F-8BG381",
            platform=_versa,
            connector=("expcon", 2),
            input_pins="4 5 6 7 21 23 25 27",
            output_pin=("expcon", 2, "8"),
            rgmii=RgmiiPins(tx_delay_ns=0.0, rx_delay_ns=0.0),
            # A server fills 92 % of this part's LUTs; no placement was found.
            nodes={"timetagger": TaggerOptions(channels=4, frontend="delay line", lanes=2)},
        ),
        Board(
            name="butterstick",
            part="LFE5UM5G-85F-8BG381",
            platform=_butterstick,
            connector=("syzygy", 0),
            input_pins="S0 S1 S2 S3 S4 S5 S6 S7",
            output_pin=("syzygy", 0, "S8"),
            rgmii=RgmiiPins(tx_delay_ns=2.0, rx_delay_ns=2.0),
            link="udp",
            uart=None,
            port_volts={"SYZYGY 0": 3.3, "SYZYGY 1": 1.8, "SYZYGY 2": 1.8},
            # At 250 MHz nextpnr puts the gearboxes 20 columns from the encoders, towards the pins on the left: with eight channels the
            # TDC clock reached 244 MHz, with four 237.
            nodes={"timetagger": TaggerOptions(frontend="delay line", lanes=1, taps=416)},
        ),
        Board(
            name="ice40-hx8k",
            part="iCE40HX8K-CT256",
            family=ICE40,
            clock_hz=120_000_000,  # the nearest to 125 MHz that the PLL makes from 12 MHz
            platform=_hx8k,
            connector=("j", 2),
            input_pins="4 5",
            output_pin=("j", 2, "6"),
            uart_flow=dict.fromkeys(("rts", "cts", "dtr", "dsr", "dcd"), "-"),
            nodes={
                "timetagger": TaggerOptions(
                    channels=2,
                    frontend="oversampling",
                    depth=1024,
                    burst=512,
                    small=True,
                )
            },
        ),
        Board(
            name="cynthion",
            part="LFE5U-12F-6BG256",
            platform=_cynthion,
            connector=("pmod", 0),
            input_pins="1 2 3 4 7 8 9 10",
            output_pin=("pmod", 1, "1"),
            ulpi=("aux_phy", 0),
            link="usb",
            uart=None,
            samples="paired",
            nodes={"timetagger": TaggerOptions(frontend="oversampling", lanes=1)},
        ),
    )
}


def find_board(name: str) -> Board:
    """The board called ``name``. TwinphaseError lists the boards there are."""
    if name not in BOARDS:
        raise TwinphaseError(f"board {name} is not known; allowed: {', '.join(sorted(BOARDS))}")
    return BOARDS[name]
