"""LUNA's bulk endpoints with the data toggles that a host expects after it has set the configuration."""

from copy import copy

from amaranth.hdl import Elaboratable, Module, Signal, Value
from luna.gateware.usb.usb2.endpoints.stream import USBStreamInEndpoint, USBStreamOutEndpoint

from twinphase_spec.usb import ENDPOINT

RESTART_CLOCKS = 4


class Pipe(Elaboratable):
    """An endpoint of LUNA's whose data toggle also begins anew when the host sets the configuration.

    USB 2.0, 9.1.1.5 and 9.4.5: after SET_CONFIGURATION a host sends and expects DATA0. LUNA's endpoints begin anew only at
    CLEAR_FEATURE(ENDPOINT_HALT); the first packet of every second host, or after every second bus reset, would be taken for a
    repetition, acknowledged and lost. Here the one is told to the endpoint as the other. It is told for `RESTART_CLOCKS` clocks, a
    fraction of what the host needs for the next token: in the very clock in which an IN endpoint turns to its next packet, it would not
    listen.

    What waits in the endpoint stays there: it belongs to the stream, and frames tell what a reset broke.

    ``configured``: strobe, the host sets the configuration. ``interface``, ``stream``: LUNA's. Domain ``usb``.
    """

    def __init__(self, endpoint, *, to_host: bool, configured: Value):
        self._endpoint, self._to_host, self._configured = endpoint, to_host, configured
        self._inner = endpoint.interface.clear_endpoint_halt_in
        # All of the endpoint's own wires but one.
        self.interface = copy(endpoint.interface)
        self.interface.clear_endpoint_halt_in = Signal.like(self._inner)
        self.stream = endpoint.stream

    def elaborate(self, platform):
        m = Module()
        m.submodules.endpoint = self._endpoint
        cleared = self.interface.clear_endpoint_halt_in
        left = Signal(range(RESTART_CLOCKS + 1))
        own = (cleared.direction == self._to_host) & (cleared.number == ENDPOINT)
        with m.If(self._configured | (cleared.enable & own)):
            m.d.usb += left.eq(RESTART_CLOCKS)
        with m.Elif(left != 0):
            m.d.usb += left.eq(left - 1)
        m.d.comb += [
            self._inner.enable.eq(left != 0),
            self._inner.direction.eq(self._to_host),
            self._inner.number.eq(ENDPOINT),
        ]
        return m


class PipeIn(Pipe):
    """Bulk to the host: ``stream`` is what it is given."""

    def __init__(self, *, packet_bytes: int, configured: Value):
        endpoint = USBStreamInEndpoint(endpoint_number=ENDPOINT, max_packet_size=packet_bytes)
        super().__init__(endpoint, to_host=True, configured=configured)


class PipeOut(Pipe):
    """Bulk from the host: ``stream`` is what came; a packet that finds no room for it whole is refused, and comes again."""

    def __init__(self, *, packet_bytes: int, configured: Value):
        endpoint = USBStreamOutEndpoint(
            endpoint_number=ENDPOINT, max_packet_size=packet_bytes, buffer_size=2 * packet_bytes
        )
        super().__init__(endpoint, to_host=False, configured=configured)
