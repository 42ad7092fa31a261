"""The link room on one shelf: packers, arbiter, depacketizer with registers and snapshots, serial framing, UDP."""

from typing import Any

import pytest
from amaranth.hdl import Module, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from preset import Preset
from runner import Shelf, build, run
from twinphase_hdl.link import sender
from twinphase_hdl.link.arbiter import PacketArbiter
from twinphase_hdl.link.crc import CrcAppender, CrcChecker
from twinphase_hdl.link.link import NodeLink
from twinphase_hdl.link.packer import StreamPacker
from twinphase_hdl.link.registers import RegisterBank
from twinphase_hdl.link.serial import SerialLink
from twinphase_hdl.link.skid import Skid
from twinphase_hdl.link.slip import SlipDecoder, SlipEncoder
from twinphase_hdl.link.t2 import TagPacker
from twinphase_hdl.link.udplink import UdpLink
from twinphase_hdl.types import record_words, word_stream
from twinphase_spec.packets import Stream
from twinphase_spec.registers import CLIENT

from link_client import BUILD_HASH, CELLS_FACTOR, DECODED, LANES, SHOWN  # isort: skip
from bench_packer import FIRST_RECORD, FIRST_SEQUENCE  # isort: skip
from udp_rig import STREAMS, UDP  # isort: skip


class RegisterNode(wiring.Component):
    """A client's link and register bank, with counters, memories and streams as ports."""

    def __init__(self) -> None:
        received = (Stream.HERALD, Stream.PSI, Stream.PEER, Stream.HERALD_CODE)
        sent = (Stream.SIFTED, Stream.PEER)
        self.link = NodeLink(register_map=CLIENT, send=sent, receive=received)
        self.bank = RegisterBank(CLIENT, build_hash=BUILD_HASH, constants={"LANES": LANES})
        super().__init__(
            {
                "rx": In(word_stream()),
                "tx": Out(word_stream()),
                "i_clock": In(51),
                "i_framing": In(1),
                "i_counters": In(64 * len(CLIENT.counters)),
                **{f"send_{s.name.lower()}": In(stream.Signature(record_words(s))) for s in sent},
                **{
                    f"receive_{s.name.lower()}": Out(stream.Signature(record_words(DECODED.get(s, s))))
                    for s in received
                },
                **{f"o_{name.lower()}": Out(CLIENT[name].width) for name in SHOWN},
                "o_table_write": Out(1),
                "o_table_address": Out(13),
                "o_table_data": Out(32),
                "o_dropped": Out(2),
                "o_idle": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.link, m.submodules.bank = link, bank = self.link, self.bank
        for name in ("rx", "send_sifted", "send_peer"):
            wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(link, name))
        for name in ("tx", "receive_herald", "receive_psi", "receive_peer", "receive_herald_code"):
            wiring.connect(m, getattr(link, name), wiring.flipped(getattr(self, name)))
        m.d.sync += bank.i_cells_data.eq(bank.o_cells_address * CELLS_FACTOR)
        m.d.comb += [
            bank.i_address.eq(link.o_address),
            bank.i_write.eq(link.o_write),
            bank.i_write_data.eq(link.o_write_data),
            link.i_read_data.eq(bank.o_read_data),
            link.i_counters_address.eq(bank.o_counters_address),
            bank.i_counters_data.eq(link.o_counters_data),
            link.i_snapshot.eq(bank.o_snapshot),
            bank.i_snapshot_count.eq(link.o_snapshot_count),
            link.i_stream_enable.eq(bank.o_stream_enable),
            link.i_clock.eq(self.i_clock),
            bank.i_framing.eq(self.i_framing),
            *(link.snapshot.i_counters[k].eq(self.i_counters.word_select(k, 64)) for k in range(len(CLIENT.counters))),
            *(getattr(self, f"o_{name.lower()}").eq(getattr(bank, f"o_{name.lower()}")) for name in SHOWN),
            self.o_table_write.eq(bank.o_frame_table_write),
            self.o_table_address.eq(bank.o_frame_table_address),
            self.o_table_data.eq(bank.o_frame_table_data),
            self.o_dropped.eq(link.o_dropped),
            self.o_idle.eq(link.o_idle),
        ]
        return m


class Arbiter(wiring.Component):
    """A `PacketArbiter` of three inputs whose ports have names."""

    i0: In(word_stream())
    i1: In(word_stream())
    i2: In(word_stream())
    o: Out(word_stream())

    def __init__(self, preferred: int | None = None) -> None:
        self._preferred = preferred
        super().__init__()

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.arbiter = arbiter = PacketArbiter(inputs=3, preferred=self._preferred)
        for k in range(3):
            wiring.connect(m, wiring.flipped(getattr(self, f"i{k}")), arbiter.i[k])
        wiring.connect(m, arbiter.o, wiring.flipped(self.o))
        return m


class Framer(wiring.Component):
    """Packets to SLIP bytes: `SerialLink`'s way out without the line."""

    i: In(word_stream())
    o: Out(stream.Signature(unsigned(8)))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.appender, m.submodules.encoder = appender, encoder = CrcAppender(), SlipEncoder()
        wiring.connect(m, wiring.flipped(self.i), appender.i)
        wiring.connect(m, appender.o, encoder.i)
        wiring.connect(m, encoder.o, wiring.flipped(self.o))
        return m


class Deframer(wiring.Component):
    """SLIP bytes to packets: `SerialLink`'s way in without the line."""

    i: In(stream.Signature(unsigned(8), always_ready=True))
    o: Out(word_stream())
    o_dropped: Out(1)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.decoder, m.submodules.checker = decoder, checker = SlipDecoder(), CrcChecker()
        wiring.connect(m, wiring.flipped(self.i), decoder.i)
        wiring.connect(m, decoder.o, checker.i)
        wiring.connect(m, checker.o, wiring.flipped(self.o))
        m.d.comb += self.o_dropped.eq(checker.o_dropped)
        return m


def shelf() -> Shelf:
    """All components of the room; depths are the smallest allowed, so that full buffers are soon reached."""
    wrapped = {
        sender: {"sequence": FIRST_SEQUENCE, "records": FIRST_RECORD},
    }
    return Shelf(
        {
            "tag": TagPacker(depth=512),
            "herald": StreamPacker(Stream.HERALD),
            "phase": StreamPacker(Stream.PHASE),
            "sifted": StreamPacker(Stream.SIFTED, lossless=True),
            "peer": StreamPacker(Stream.PEER, lossless=True),
            "psi": Preset(StreamPacker(Stream.PSI), wrapped),
            "arbiter": Arbiter(),
            "preferring": Arbiter(1),
            "skid": Skid(),
            "node": RegisterNode(),
            "framer": Framer(),
            "deframer": Deframer(),
            "serial": SerialLink(divisor=4),
            "udp": UdpLink(**UDP),
            "udp_client": UdpLink(**UDP, streams=STREAMS),
        }
    )


@pytest.fixture(scope="module")
def link() -> Any:
    return build("link", shelf())


@pytest.mark.parametrize(
    "bench",
    [
        *("bench_packer", "bench_tags", "bench_registers", "bench_serial", "bench_arbiter"),
        *("bench_udp", "bench_udp_streams"),
    ],
)
def test_link(link: Any, bench: str) -> None:
    run(link, "link", bench)
