"""Registers of the link over UDP itself: its addresses, counters and group, behind a port of their own."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from twinphase_spec.udp_registers import COUNTERS, UDP_LINK

from .asked import Asker
from .control import RegisterControl
from .registers import RegisterBank
from .replaystore import ReplayStore
from .udpport import ReceivedWord, SentWord
from .udpreceiver import Drop, UdpReceiver

STORE_WORDS = 128
"""A request or an answer of 64 words and its header fit in."""


class UdpRegisters(wiring.Component):
    """Answers register requests to ``port`` from the map `twinphase_spec.udp_registers.UDP_LINK`, one at a time.

    Everything is in the clock of the UDP core, so that nothing of it crosses to the node's, whose map and gateware are what they are
    without it.

    Members
    -------
    source : In(stream of ReceivedWord, always ready) - what the core has received for this port, and nothing else.
    sink : Out(stream of SentWord) - answers; ``valid`` stays high through a datagram.
    i_events : In(len(COUNTERS)) - one bit per counter that goes up by one in this clock.
    i_mac_address, i_ip_address, i_live : In(48), In(32), In(places) - as the registers of these names.
    i_group_address, i_group_port : In(32), In(16) - the build's.
    o_group_address, o_group_port : Out(32), Out(16) - what holds: what has been written, or the build's if that is 0.
    o_dropped : Out(REFUSED) - see `UdpReceiver`; FULL while an answer is under way.

    Latency: about 70 clocks from the last word of a read of one register to the first one of its answer. Throughput: a request at a time.
    Overflow: dropped as FULL.
    """

    def __init__(self, *, port: int, places: int, clock_hz: int):
        self._port = port
        self._receiver = UdpReceiver(port=None, register_port=port)
        self._bank = RegisterBank(UDP_LINK, clock_hz=clock_hz)
        super().__init__(
            {
                "source": In(stream.Signature(ReceivedWord, always_ready=True)),
                "sink": Out(stream.Signature(SentWord)),
                "i_events": In(len(COUNTERS)),
                "i_mac_address": In(48),
                "i_ip_address": In(32),
                "i_live": In(places),
                "i_group_address": In(32),
                "i_group_port": In(16),
                "o_group_address": Out(32),
                "o_group_port": Out(16),
                "o_dropped": Out(int(Drop.REFUSED)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.receiver, m.submodules.bank = receiver, bank = self._receiver, self._bank
        m.submodules.control = control = RegisterControl(bank_latency=bank.latency)
        m.submodules.requests = requests = ReplayStore(depth=STORE_WORDS)
        m.submodules.answers = answers = ReplayStore(depth=STORE_WORDS)
        wiring.connect(m, wiring.flipped(self.source), receiver.source)

        # One request, from its last word to the last one of its answer.
        busy = Signal()
        asker = Signal(Asker)
        sent = Signal()
        with m.If(receiver.o_keep):
            m.d.sync += [busy.eq(1), asker.eq(receiver.o_entry.asker)]
        with m.Elif(sent):
            m.d.sync += busy.eq(0)
        m.d.comb += [
            *(receiver.i_room.eq(requests.o_room), receiver.i_asked_room.eq(~busy)),
            *(requests.i_put.eq(receiver.o_put), requests.i_word.eq(receiver.o_word)),
            *(requests.i_keep.eq(receiver.o_keep), requests.i_forget.eq(receiver.o_forget)),
            self.o_dropped.eq(receiver.o_dropped),
        ]
        played = self._play_once(m, requests)
        first = Signal(init=1)
        """The next word is w0, of which the receiver has seen all."""
        word = requests.o.payload
        m.d.comb += [
            control.i.valid.eq(requests.o.valid & ~first),
            control.i.payload.eq(word),
            requests.o.ready.eq(first | control.i.ready),
        ]
        with m.If(requests.o.valid & requests.o.ready):
            m.d.sync += first.eq(played)

        # Its answer.
        put = Signal()
        m.d.comb += [
            *(control.o.ready.eq(answers.o_room), put.eq(control.o.valid & answers.o_room)),
            *(answers.i_put.eq(put), answers.i_word.eq(control.o.payload.data)),
            answers.i_keep.eq(put & control.o.payload.last),
            sent.eq(self._play_once(m, answers)),
            *(self.sink.valid.eq(answers.o.valid), answers.o.ready.eq(self.sink.ready)),
            self.sink.payload.data.eq(answers.o.payload.data),
            self.sink.payload.last.eq(answers.o.payload.last),
            self.sink.payload.last_be.eq(answers.o.payload.last << 3),
            self.sink.payload.length.eq(answers.o_head.words << 2),
            *(self.sink.payload.ip_address.eq(asker.ip_address), self.sink.payload.dst_port.eq(asker.port)),
            self.sink.payload.src_port.eq(self._port),
        ]

        # The bank.
        m.d.comb += [
            *(bank.i_address.eq(control.o_address), bank.i_write.eq(control.o_write)),
            *(bank.i_write_data.eq(control.o_write_data), control.i_read_data.eq(bank.o_read_data)),
            *(bank.i_mac_address.eq(self.i_mac_address), bank.i_ip_address.eq(self.i_ip_address)),
            bank.i_live.eq(self.i_live),
            *(bank.i_group_address_now.eq(self.o_group_address), bank.i_group_port_now.eq(self.o_group_port)),
        ]
        m.d.sync += Cat(self.o_group_address, self.o_group_port).eq(Cat(self.i_group_address, self.i_group_port))
        with m.If(bank.o_group_address.any()):
            m.d.sync += Cat(self.o_group_address, self.o_group_port).eq(Cat(bank.o_group_address, bank.o_group_port))
        for k, (name, _) in enumerate(COUNTERS):
            count = Signal(32, name=name.lower())
            m.d.sync += count.eq(count + self.i_events[k])
            m.d.comb += getattr(bank, f"i_{name.lower()}").eq(count)
        return m

    def _play_once(self, m: Module, store: ReplayStore) -> Signal:
        """Each kept packet is played once and freed. Returns whether its last word is taken."""
        done, played = Signal(), Signal()
        m.d.comb += [
            played.eq(store.o.valid & store.o.ready & store.o.payload.last),
            store.i_free.eq(store.o_waits & done),
            store.i_play.eq(store.o_waits & ~done),
        ]
        with m.If(played):
            m.d.sync += done.eq(1)
        with m.Elif(store.o_waits):
            m.d.sync += done.eq(0)
        return played
