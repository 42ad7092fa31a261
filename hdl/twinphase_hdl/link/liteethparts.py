"""The Ethernet core in migen, the language of LiteEth; imported only by `twinphase_hdl.link.liteethcore`.

Changed against LiteEth 2024.12, as a peer can otherwise stop, mislead or misdirect the node:

* Its receive path in bytes looks at the check sequence in the byte that ``last_be`` marks, which its PHYs of 8 bits mark nowhere, so
  that no damage is found. Here the PHY marks it.
* It ends a datagram where its header says and an ARP packet before its padding, when it is not known yet whether the frame was
  damaged; and of frames of some lengths it tells so too late. Here the last word, and what ARP has learnt, wait for the frame's end.
* Its ARP table compares an entry's address and then reads the MAC of entry 0 (``LiteEthARPCache``, state RESPONSE), so that of two
  hosts one gets what is the other's. Here the entry that was found stays selected.
* Its ping buffer stops reception while it is taken, and with it the ARP answer that the packet in front of the reply waits for; and a
  ping whose frame is longer than its header says fills the buffer for good. Here a ping that comes while one is being answered is
  dropped, and what is beyond its length cut off (`PingGate`).
* It sends the first packet after one whose receiver answered no ARP request with that one's header checksum, so that it is dropped.
  Here the checksum is computed anew.
* It takes each fragment of an IP packet for a whole one. Here they are dropped.
"""

from __future__ import annotations

from functools import reduce
from operator import and_, or_

from liteeth.common import (
    arp_hwtype_ethernet,
    arp_opcode_reply,
    arp_opcode_request,
    arp_proto_ip,
    eth_icmp_user_description,
    eth_udp_user_description,
    icmp_protocol,
    udp_protocol,
)
from liteeth.core import LiteEthUDPIPCore
from liteeth.core.icmp import LiteEthICMPEcho, LiteEthICMPRX, LiteEthICMPTX
from liteeth.phy.ecp5rgmii import LiteEthPHYRGMIIRX, LiteEthPHYRGMIITX
from liteeth.phy.gmii import LiteEthPHYGMIIRX, LiteEthPHYGMIITX
from litex.build.io import DDROutput
from litex.build.lattice.common import lattice_ecp5_trellis_special_overrides
from litex.gen import LiteXModule
from litex.gen.fhdl import verilog
from litex.soc.interconnect import stream
from migen import (
    FSM,
    ClockDomain,
    ClockDomainsRenamer,
    If,
    Instance,
    Memory,
    NextState,
    NextValue,
    Record,
    Replicate,
    Signal,
)
from migen.fhdl.specials import _MemoryPort

from .dhcpwords import BROADCAST, CLIENT_PORT
from .liteethcore import ARP_ENTRIES, PING_BYTES, CoreOptions

TX_WORDS = 16
"""Words of the queue to the PHY's clock: of more, LUT RAM has a choice behind it, and it is read at the end of that clock's longest path.
It is filled twice as fast as it is emptied, a frame's words come one in each clock but for some between headers, and the 8 bytes of
preamble go ahead of them: it does not run empty within a frame."""

WORD_BYTES = 4
STEP_NS = 0.025


class Phy(LiteXModule):
    """LiteEth's registers of a PHY between its MAC and the ports, in clocks that come from the ports.

    Without a reset: the part holds registers at their first values until its clocks run.
    """

    dw = 8

    def __init__(self, options: CoreOptions, port: dict[str, Signal]) -> None:
        self.cd_eth_rx = ClockDomain(reset_less=True)
        self.cd_eth_tx = ClockDomain(reset_less=True)
        if options.phy == "gmii":
            names = ("rx_dv", "rx_data", "tx_en", "tx_data")
            pads = Record([(name, len(port[f"gmii_{name}"])) for name in names])
            self.comb += [
                self.cd_eth_rx.clk.eq(port["gmii_rx_clk"]),
                self.cd_eth_tx.clk.eq(port["gmii_tx_clk"]),
                *(getattr(pads, name).eq(port[f"gmii_{name}"]) for name in names[:2]),
                *(port[f"gmii_{name}"].eq(getattr(pads, name)) for name in names[2:]),
            ]
            tx, rx = LiteEthPHYGMIITX(pads), LiteEthPHYGMIIRX(pads)
        else:
            pads = Record([("rx_ctl", 1), ("rx_data", 4), ("tx_ctl", 1), ("tx_data", 4)])
            for name in ("rx_ctl", "rx_data", "tx_ctl", "tx_data"):
                setattr(pads, name, port[f"rgmii_{name}"])
            ahead = Signal()
            self.comb += [
                self.cd_eth_rx.clk.eq(port["rgmii_rx_clk"]),
                self.cd_eth_tx.clk.eq(port["rgmii_rx_clk"]),
            ]
            self.specials += [
                DDROutput(clk=self.cd_eth_tx.clk, i1=1, i2=0, o=ahead),
                Instance(
                    "DELAYG",
                    p_DEL_MODE="SCLK_ALIGNED",
                    p_DEL_VALUE=round(options.tx_delay_ns / STEP_NS),
                    i_A=ahead,
                    o_Z=port["rgmii_tx_clk"],
                ),
            ]
            tx = LiteEthPHYRGMIITX(pads)
            rx = LiteEthPHYRGMIIRX(pads, rx_delay=options.rx_delay_ns * 1e-9, with_inband_status=False)
        self.tx = ClockDomainsRenamer("eth_tx")(tx)
        self.rx = ClockDomainsRenamer("eth_rx")(rx)
        self.sink, self.source = self.tx.sink, self.rx.source
        self.comb += self.source.last_be.eq(self.source.last)


class PingGate(LiteXModule):
    """Lets one ping through until ``answered``, cut where its length ends; takes and drops all else. Always ready.

    ``source`` must take `PING_BYTES` without a pause when no ping is in work.
    """

    def __init__(self) -> None:
        layout = eth_icmp_user_description(8 * WORD_BYTES)
        self.sink = sink = stream.Endpoint(layout)
        self.source = source = stream.Endpoint(layout)
        self.answered = Signal()
        taken = Signal()
        left = Signal(16)  # bytes of the ping from this word on
        self.comb += [
            sink.connect(source, omit={"valid", "ready", "last", "last_be"}),
            source.last.eq(sink.last | (left <= WORD_BYTES)),
            If(source.last, source.last_be.eq(1 << (WORD_BYTES - 1))),
            sink.ready.eq(1),
        ]
        self.sync += If(self.answered, taken.eq(0))
        self.fsm = fsm = FSM(reset_state="FIRST")
        after = Signal(16)
        fsm.act(
            "FIRST",
            left.eq(sink.length),
            source.valid.eq(sink.valid & ~taken & (sink.length <= PING_BYTES)),
            NextValue(after, sink.length - WORD_BYTES),
            If(source.valid, NextValue(taken, 1)),
            If(
                sink.valid & ~sink.last,
                If(source.valid & ~source.last, NextState("REST")).Else(NextState("DROP")),
            ),
        )
        fsm.act(
            "REST",
            left.eq(after),
            source.valid.eq(sink.valid),
            If(
                sink.valid,
                NextValue(after, after - WORD_BYTES),
                If(sink.last, NextState("FIRST")).Elif(source.last, NextState("DROP")),
            ),
        )
        fsm.act("DROP", If(sink.valid & sink.last, NextState("FIRST")))


class Ping(LiteXModule):
    """Answers pings of up to `PING_BYTES`, one at a time, and never stops reception."""

    def __init__(self, ip: LiteXModule, address: Signal) -> None:
        width = 8 * WORD_BYTES
        depth = 1 << (PING_BYTES - 1).bit_length()
        self.tx, self.rx = LiteEthICMPTX(address, width), LiteEthICMPRX(address, width)
        self.gate, self.echo = PingGate(), LiteEthICMPEcho(width, fifo_depth=depth)
        port = ip.crossbar.get_port(icmp_protocol, width)
        self.comb += [
            port.source.connect(self.rx.sink),
            self.rx.source.connect(self.gate.sink),
            self.gate.source.connect(self.echo.sink),
            self.echo.source.connect(self.tx.sink),
            self.tx.source.connect(port.sink),
            self.gate.answered.eq(self.echo.source.valid & self.echo.source.ready & self.echo.source.last),
        ]


def keep_found_entry(cache: LiteXModule) -> None:
    """Makes an ARP cache answer with the entry that its search has found."""
    memory = next(special for special in cache._fragment.specials if isinstance(special, Memory))
    found = Signal(max=memory.depth)
    read = next(p for p in cache._fragment.specials if isinstance(p, _MemoryPort) and p.async_read)
    cache.sync += If(cache.fsm.ongoing("MEM_SEARCH"), found.eq(read.adr))
    cache.fsm.act("RESPONSE", read.adr.eq(found))


def drop_fragments(receiver: LiteXModule) -> None:
    """Makes an IP receiver drop packets with "more fragments" or an offset in bytes 6 and 7 of their header."""
    header = receiver.depacketizer.header
    fragment = (header[48:54] != 0) | (header[56:64] != 0)
    receiver.fsm.act(
        "IDLE", If(receiver.depacketizer.source.valid & receiver.checksum.done & fragment, NextState("DROP"))
    )


def take_broadcasts(receiver: LiteXModule) -> None:
    """Makes an IP receiver take what is sent to everybody's `CLIENT_PORT`, and nothing else of what is."""
    words = receiver.depacketizer.source
    sound = (words.version == 4) & (words.ihl == 5) & (receiver.checksum.value == 0)
    to_client = (words.protocol == udp_protocol) & (words.data[16:24] == 0) & (words.data[24:32] == CLIENT_PORT)
    receiver.fsm.act(
        "IDLE",
        If(
            words.valid & receiver.checksum.done & (words.target_ip == BROADCAST) & sound & to_client,
            NextState("RECEIVE"),
        ),
    )


def name_broadcasts(sender: LiteXModule, source: Signal) -> None:
    """Makes an IP sender give broadcasts the address ``source``."""
    words = sender.packetizer.sink
    sender.comb += If(words.target_ip == BROADCAST, words.sender_ip.eq(source))


def forget_checksum(sender: LiteXModule) -> None:
    """Makes an IP sender compute the next header's checksum also after a packet that it dropped."""
    words, source, anew = sender.packetizer.source, sender.source, sender.checksum.reset.eq(1)
    # Said again of what is sent: the statement of LiteEth's comes to stand before those that it reads from, as Verilator takes them.
    sender.fsm.act("SEND", If(source.valid & source.last & source.ready, anew))
    sender.fsm.act("DROP", If(words.valid & words.last, anew))


class FrameError(LiteXModule):
    """``o`` at the end of a frame, and until the next one's: its check sequence was wrong. ``mac``: where frames come from."""

    def __init__(self, mac: stream.Endpoint) -> None:
        self.o = Signal()
        before = Signal()
        ends = mac.valid & mac.last
        self.comb += If(ends, self.o.eq(mac.error != 0)).Else(self.o.eq(before))
        self.sync += before.eq(self.o)


class WholeDatagrams(LiteXModule):
    """Keeps the last word of each datagram until its frame has ended, and marks it with ``error`` if that was damaged.

    ``frame`` is the stream of the frame's words that UDP takes. What comes next is at least a frame gap away.
    """

    def __init__(self, sink: stream.Endpoint, frame: stream.Endpoint, error: Signal) -> None:
        self.source = source = stream.Endpoint(eth_udp_user_description(8 * WORD_BYTES))
        data, last_be = Signal(8 * WORD_BYTES), Signal(WORD_BYTES)
        ended = frame.valid & frame.ready & frame.last
        self.comb += [
            sink.connect(source, omit={"valid", "ready", "error"}),
            source.error.eq(Replicate(error & source.last, WORD_BYTES)),
        ]
        self.fsm = fsm = FSM(reset_state="WORDS")
        fsm.act(
            "WORDS",
            source.valid.eq(sink.valid & (~sink.last | frame.last)),
            sink.ready.eq(source.ready),
            If(
                sink.valid & sink.ready & sink.last & ~frame.last,
                NextValue(data, sink.data),
                NextValue(last_be, sink.last_be),
                NextState("END"),
            ),
        )
        fsm.act("END", If(ended, NextState("LAST")))
        fsm.act(
            "LAST",
            source.valid.eq(1),
            source.last.eq(1),
            source.data.eq(data),
            source.last_be.eq(last_be),
            If(source.ready, NextState("WORDS")),
        )


def learn_at_the_end(receiver: LiteXModule, address: Signal, error: Signal) -> None:
    """Makes an ARP receiver hand on a packet when its frame has ended, unless it was damaged. ``address``: the node's."""
    frame, source = receiver.depacketizer.source, receiver.source
    right = Signal()
    fields = (("hwtype", arp_hwtype_ethernet), ("proto", arp_proto_ip), ("hwsize", 6), ("protosize", 4))
    receiver.sync += right.eq(
        reduce(and_, (getattr(frame, name) == value for name, value in (*fields, ("target_ip", address))))
    )
    receiver.fsm.act("CHECK", source.valid.eq(0))
    receiver.fsm.act(
        "TERMINATE",
        source.valid.eq(frame.valid & frame.last & right & ~error),
        source.request.eq(frame.opcode == arp_opcode_request),
        source.reply.eq(frame.opcode == arp_opcode_reply),
    )


class Core(LiteXModule):
    """The module: everything between the ports."""

    def __init__(self, options: CoreOptions, port: dict[str, Signal]) -> None:
        self.cd_sys = ClockDomain(reset_less=True)
        self.comb += self.cd_sys.clk.eq(port["net_clk"])
        self.phy = Phy(options, port)
        self.core = core = LiteEthUDPIPCore(
            self.phy,
            mac_address=port["mac_address"],
            ip_address=port["ip_address"],
            clk_freq=options.timer_hz,
            arp_entries=ARP_ENTRIES,
            dw=8 * WORD_BYTES,
            with_icmp=False,
            with_ip_broadcast=False,
            with_sys_datapath=False,
            tx_cdc_depth=TX_WORDS,
            rx_cdc_depth=64,
        )
        keep_found_entry(core.arp.table.cache)
        if options.dhcp:
            take_broadcasts(core.ip.rx)
            name_broadcasts(core.ip.tx, port["broadcast_source"])
        drop_fragments(core.ip.rx)
        forget_checksum(core.ip.tx)
        self.ping = Ping(core.ip, port["ip_address"])
        # Its crossbar has no users of its own: each would have one port.
        self.error = error = FrameError(core.mac.core.source)
        learn_at_the_end(core.arp.rx, port["ip_address"], error.o)
        rx = core.udp.rx
        self.whole = WholeDatagrams(core.udp.crossbar.master.sink, rx.depacketizer.source, error.o)
        source, sink = self.whole.source, core.udp.crossbar.master.source
        claimed = Signal()
        claimed_by = (
            source.dst_port == number for number in (*options.udp_ports, *([CLIENT_PORT] if options.dhcp else []))
        )
        received = ("last", "data", "last_be", "error", "length", "ip_address", "src_port", "dst_port")
        sent = ("valid", "last", "data", "last_be", "length", "ip_address", "src_port", "dst_port")
        self.comb += [
            claimed.eq(reduce(or_, claimed_by)),
            port["rx_valid"].eq(source.valid & claimed),
            source.ready.eq(port["rx_ready"] | ~claimed),
            *(port[f"rx_{name}"].eq(getattr(source, name)) for name in received),
            *(getattr(sink, name).eq(port[f"tx_{name}"]) for name in sent),
            port["tx_ready"].eq(sink.ready),
        ]


def convert(options: CoreOptions, name: str, ports: tuple[tuple[str, str, int], ...]) -> str:
    """Verilog as LiteX writes it, with a banner."""
    port = {port_name: Signal(width, name_override=port_name) for _, port_name, width in ports}
    core = Core(options, port)
    return str(
        verilog.convert(
            core, set(port.values()), name=name, special_overrides=lattice_ecp5_trellis_special_overrides
        ).main_source
    )
