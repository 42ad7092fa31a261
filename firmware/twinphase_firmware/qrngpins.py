"""The pins of a board at which the bits of a QRNG come to a client (docs/client_board.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from twinphase_spec.symbol_ring import QRNG_BITS_PER_PULSE

LINES = QRNG_BITS_PER_PULSE
"""Lines of data: the bits of a pulse."""
NAMES = ("data", "valid", "clock", "ready")
MOST_CLOCK_HZ = 133_333_333
"""The generator's clock at most, for which the path behind its pins is built: somewhat above the bus clock, so that a generator with an
oscillator of its own need not fall behind."""


@dataclass(frozen=True, kw_only=True)
class QrngPins:
    """Pins of a board's connectors for a QRNG, each as ``<connector>_<number>:<pin>``.

    ``data``: `LINES` pins, lowest bit first. ``valid``, ``clock``: inputs. ``ready``: an output. ``bus_clock``: further pins at which
    the bus clock comes out, for the generator. ValueError for another number of pins, or a pin named twice.
    """

    data: str
    valid: str
    clock: str
    ready: str
    bus_clock: str

    def __post_init__(self) -> None:
        for name, wanted in (("data", LINES), ("valid", 1), ("clock", 1), ("ready", 1)):
            if (found := len(getattr(self, name).split())) != wanted:
                raise ValueError(f"QRNG pins: {name} has {found} pins; allowed: {wanted}")
        pins = [pin for name in (*NAMES, "bus_clock") for pin in getattr(self, name).split()]
        if again := sorted({pin for pin in pins if pins.count(pin) > 1}):
            raise ValueError(f"QRNG pins: {', '.join(again)} named twice; allowed: every pin once")

    def resource(self, inputs: Any, outputs: Any) -> Any:
        """The Amaranth resource ``qrng``: subsignals `NAMES`; ``inputs``, ``outputs``: attributes of pins of either kind."""
        from amaranth.build import Clock, Pins, Resource, Subsignal

        return Resource(
            "qrng",
            0,
            Subsignal("data", Pins(self.data, dir="i"), inputs),
            Subsignal("valid", Pins(self.valid, dir="i"), inputs),
            Subsignal("clock", Pins(self.clock, dir="i"), Clock(MOST_CLOCK_HZ), inputs),
            Subsignal("ready", Pins(self.ready, dir="o"), outputs),
        )


def _on(connector: str, pins: str) -> str:
    return " ".join(f"{connector}:{pin}" for pin in pins.split())


ULX3S_QRNG = QrngPins(
    data=_on("gpio_0", " ".join(f"{4 + line // 2}{'+-'[line % 2]}" for line in range(LINES))),
    clock="gpio_0:12+",
    valid="gpio_0:12-",
    ready="gpio_0:13+",
    bus_clock="gpio_0:13-",
)
"""All on J1, beside clock, valid and two columns of the r band. GP12+ leads straight to the part's clock nets (ball G3, PCLKT7_1); it and
the pins from GP11+ on are shared with the ESP32."""
ECPIX5_QRNG = QrngPins(
    data=_on("pmod_6", "1 2 3 4 7 8 9 10") + " " + _on("pmod_5", "1 2 3 4 7 8 9 10"),
    clock="pmod_7:7",
    valid="pmod_7:1",
    ready="pmod_7:2",
    bus_clock="pmod_7:10",
)
"""A byte of data on each of Pmods 6 and 5, all else on Pmod 7. No pin of the Pmods leads straight to the clock nets; from pin 7 of Pmod 7
(ball C14, GR_PCLK1_1) the way there is short."""
