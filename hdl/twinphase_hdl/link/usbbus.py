"""A register between LUNA's USB device and its bus."""

from amaranth.hdl import DomainRenamer, Elaboratable, Module, Signal

from .skid import Skid


class RegisteredBus(Elaboratable):
    """A UTMI bus whose bytes to send go through a `Skid`, domain ``usb``; all else is the bus' own.

    LUNA decides within a clock what is sent next, from its timers through all endpoints to the pins of an ULPI PHY, and on from the
    PHY's pins, which say whether a byte has gone, to the endpoints' memories. Nobody checks these ways (pins have no constraint that
    nextpnr knows), and at the slowest speed grade both together were longer than the two periods that they have. With this they end at
    its registers.

    A byte waits a clock, sometimes two; a packet begins a clock later, which is 8 of the 192 bit times that a device has for its answer
    at high speed (USB 2.0, 7.1.18.2). No packet follows another so closely that both would be in here: between them is one of the host.

    ``bus``: a UTMI bus; where that is a translator of LUNA's (for ULPI), it becomes a submodule of this.
    """

    def __init__(self, bus):
        self._bus = bus
        self.tx_data, self.tx_valid, self.tx_ready = Signal(8), Signal(), Signal()

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._bus, name)

    def elaborate(self, platform):
        m = Module()
        if isinstance(self._bus, Elaboratable):
            m.submodules.bus = self._bus
        bus = self._bus
        skid = Skid()
        m.submodules.skid = DomainRenamer("usb")(skid)
        m.d.comb += [
            *(skid.i.payload.data.eq(self.tx_data), skid.i.valid.eq(self.tx_valid), self.tx_ready.eq(skid.i.ready)),
            *(bus.tx_data.eq(skid.o.payload.data), bus.tx_valid.eq(skid.o.valid), skid.o.ready.eq(bus.tx_ready)),
        ]
        return m
